"""Histories are kept as long as promised: the longest promise counts, present values stay, empty months are dropped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sejong.hub.jobs import keep_promises
from sejong.hub.ngsi.change import Change
from sejong.hub.opendata.catalogue import Catalogue
from sejong.hub.service import Hub
from sejong.kit.city import City

from .conftest import BIKES, bike, tell

pytestmark = pytest.mark.anyio
DAYS = (400, 200, 100, 20, 0)


async def declare(city: City, catalogue: Catalogue, set_id: str, days: int | None, **query: Any) -> None:
    async with city.record.act("test", "declare") as act:
        body = {**BIKES, "id": set_id, "query": {"type": "BikeHireDockingStation", **query}}
        await catalogue.create(act, body if days is None else {**body, "retention_days": days})


async def ages(city: City, attribute: str, n: int) -> list[int]:
    """How old (days) the rows are that remain of an attribute of a station."""
    rows = await city.pool.fetch(
        """select h.t from hub.hist h join hub.entity e on e.no = h.eno join hub.term t on t.no = h.ano
        where t.iri like '%/' || $1 and e.id like '%' || $2 order by h.t""",
        attribute,
        f"{n:04}",
    )
    return [round((city.clock.now() - row["t"]).total_seconds() / 86_400) for row in rows]


async def keep(city: City) -> None:
    async with city.record.act("work", "job") as act:
        await keep_promises(city, act)


async def test_the_longest_promise_counts(city: City, catalogue: Catalogue) -> None:
    for days in DAYS:
        await tell(city, *(bike(city, n, days + n, days * 86_400, status="open") for n in (1, 2)))
    await declare(city, catalogue, "all-free", 150, attrs=["availableBikeNumber"])
    await declare(city, catalogue, "second", 300, idPattern=".*0002$", attrs=["availableBikeNumber"])
    await keep(city)
    assert await ages(city, "availableBikeNumber", 1) == [100, 20, 0]
    assert await ages(city, "availableBikeNumber", 2) == [200, 100, 20, 0]
    assert (await city.part(Hub).retrieve(0, "urn:ngsi-ld:BikeHireDockingStation:test:0001"))["id"]
    await declare(city, catalogue, "everything", 50)
    await keep(city)
    assert await ages(city, "availableBikeNumber", 1) == [100, 20, 0]
    await declare(city, catalogue, "for-ever", None, idPattern=".*0001$")
    await city.pool.execute("delete from hub.data_set where id in ('all-free', 'second')")
    await keep(city)
    assert await ages(city, "availableBikeNumber", 1) == [100, 20, 0]
    assert await ages(city, "availableBikeNumber", 2) == [20, 0]


async def test_deleted_things_are_forgotten_too_and_strangers_are_not(city: City, catalogue: Catalogue) -> None:
    await tell(city, bike(city, 1, 3, 100 * 86_400), {"id": "urn:x:0009", "type": "Other", "size": 1})
    await city.part(Hub).change(0, "urn:ngsi-ld:BikeHireDockingStation:test:0001", lambda old, _: Change(None))
    await city.pool.execute("update hub.hist set t = t - interval '300 days' where ano in "
                            "(select no from hub.term where iri like '%/size')")  # fmt: skip
    await declare(city, catalogue, "bikes", 30)
    await keep(city)
    assert [age for age in await ages(city, "availableBikeNumber", 1) if age > 30] == []
    assert await ages(city, "size", 9) == [300]


async def test_empty_months_are_dropped_and_made_again(city: City, catalogue: Catalogue) -> None:
    old = city.clock.now() - timedelta(days=200)
    await city.pool.fetchval("select hub.ensure_month($1)", old.date())
    name = f"hist_{old:%Y_%m}"
    await tell(city, bike(city, 1, 3, 200 * 86_400), bike(city, 2, 3, 1))
    assert await city.pool.fetchval(f"select count(*) from hub.{name}") == 1
    await declare(city, catalogue, "bikes", 250)
    await keep(city)
    assert await city.pool.fetchval("select to_regclass($1)", f"hub.{name}") is not None
    await city.pool.execute("update hub.data_set set declared = declared || '{\"retention_days\": 30}'")
    await keep(city)
    assert await city.pool.fetchval("select to_regclass($1)", f"hub.{name}") is None
    await tell(city, bike(city, 1, 4, 199 * 86_400))
    assert await city.pool.fetchval("select hub.ensure_month($1)", old.date())


async def test_without_promises_nothing_is_read(city: City, catalogue: Catalogue) -> None:
    await tell(city, bike(city, 1, 3, 1000 * 86_400))
    await declare(city, catalogue, "bikes", None)
    await keep(city)
    assert await ages(city, "availableBikeNumber", 1) == [1000]
