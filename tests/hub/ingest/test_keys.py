"""A key opens the doors to its own things only, and nothing readable of its secret is kept."""

from __future__ import annotations

import bcrypt
import pytest

from sejong.hub.ingest import keys
from sejong.hub.ingest.keys import KeyExists, Keyring
from sejong.kernel.clock import ManualClock
from sejong.kernel.errors import Invalid, NotFound
from sejong.kit.act import Record
from sejong.kit.postgres import Pool

pytestmark = pytest.mark.anyio


async def make(record: Record, name: str, **more: object) -> keys.Created:
    async with record.act("operator", "hub.device_key.create") as act:
        return await keys.create(act, name, **more)  # pyright: ignore[reportArgumentType]


async def ring(pool: Pool, clock: ManualClock, known: Keyring | None = None) -> Keyring:
    known = known or Keyring(rate=10, burst=20)
    async with pool.acquire() as connection:
        await known.refresh(connection, clock.monotonic())
    return known


async def test_secret_is_shown_once_and_kept_as_hashes(record: Record, pool: Pool) -> None:
    created = await make(record, "gw-bike", ids=["urn:a:*"], note="bikes")
    assert created.topic == "sejong/v1/gw-bike/readings"
    async with pool.acquire() as connection:
        everything = await connection.fetch("select k::text from hub.device_key k")
        audit = await connection.fetchval("select count(*) from kit.act where name = 'hub.device_key.create'")
        (row,) = await keys.list_keys(connection)
    assert created.secret not in str(everything)
    assert audit == 1
    assert row.bcrypt is not None
    assert bcrypt.checkpw(created.secret.encode(), row.bcrypt.encode())
    (user,) = keys.broker_users([row])
    assert (user.name, user.publish) == ("gw-bike", ("sejong/v1/gw-bike/readings",))


async def test_key_is_found_by_secret_topic_and_name(record: Record, pool: Pool, clock: ManualClock) -> None:
    created = await make(record, "gw-lora", topic_filters=["application/+/device/+/event/up"], rate=5)
    found = await ring(pool, clock)
    key = found.by_secret(created.secret)
    assert key is not None
    assert key.name == "gw-lora"
    assert found.by_secret(created.secret + "x") is None
    assert found.by_secret("") is None
    assert found.by_topic(created.topic) is key
    assert found.by_topic("application/1/device/x/event/up") is key
    assert found.by_topic("sejong/v1/other/readings") is None
    assert found.by_name("gw-lora") is key
    assert (key.bucket.rate, key.bucket.burst) == (5, 10)


async def test_revoked_key_opens_nothing_and_its_name_may_be_given_again(
    record: Record, pool: Pool, clock: ManualClock
) -> None:
    first = await make(record, "gw")
    with pytest.raises(KeyExists):
        await make(record, "gw")
    found = await ring(pool, clock)
    async with record.act("operator", "hub.device_key.revoke") as act:
        await keys.revoke(act, "gw")
    with pytest.raises(NotFound):
        async with record.act("operator", "hub.device_key.revoke") as act:
            await keys.revoke(act, "gw")
    await ring(pool, clock, found)
    assert found.by_secret(first.secret) is None
    assert found.by_topic(first.topic) is None
    async with pool.acquire() as connection:
        assert keys.broker_users(await keys.list_keys(connection)) == []
    second = await make(record, "gw")
    await ring(pool, clock, found)
    assert second.secret != first.secret
    assert found.by_secret(first.secret) is None
    assert found.by_secret(second.secret) is not None


async def test_refresh_leaves_buckets_as_they_are(record: Record, pool: Pool, clock: ManualClock) -> None:
    created = await make(record, "gw")
    found = await ring(pool, clock)
    key = found.by_secret(created.secret)
    assert key is not None
    key.bucket.spend(1000, clock.monotonic())
    found.note_seen("gw", clock.now())
    async with pool.acquire() as connection:
        await found.save_seen(connection)
        (row,) = await keys.list_keys(connection)
    assert row.seen == clock.now()
    await ring(pool, clock, found)
    again = found.by_secret(created.secret)
    assert again is key
    assert not key.bucket.is_open(clock.monotonic())


async def test_simulator_keys_have_no_secret(record: Record, pool: Pool, clock: ManualClock) -> None:
    for expected in (True, False):
        async with record.act("simulator", "hub.device_key.ensure") as act:
            assert await keys.ensure(act, "sim-air", rate=1e5, burst=1e6) is expected
    found = await ring(pool, clock)
    assert found.by_topic("sejong/v1/sim-air/readings") is not None
    async with pool.acquire() as connection:
        assert keys.broker_users(await keys.list_keys(connection)) == []


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("", {}),
        ("a b", {}),
        ("a/b", {}),
        ("a" * 65, {}),
        ("ingest", {}),
        ("simulator", {}),
        ("키", {}),
        ("gw", {"topic_filters": ["sejong/v1/other/readings"]}),
        ("gw", {"topic_filters": ["#"]}),
        ("gw", {"topic_filters": ["a/#/b"]}),
        ("gw", {"ids": [""]}),
        ("gw", {"rate": 0}),
        ("gw", {"burst": -1}),
    ],
)
async def test_keys_that_cannot_be(record: Record, name: str, more: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        await make(record, name, **more)
