"""Keys and limits: a key is shown once, kept as a hash, counted, limited and taken away; strangers get less."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from sejong.field import add_key, revoke_key, show_keys
from sejong.hub.opendata.keys import PREFIX, Keys, digest
from sejong.hub.opendata.limits import Allowance, Visitors
from sejong.kernel.clock import ManualClock
from sejong.kernel.errors import NotAuthenticated, NotFound
from sejong.kit.city import City
from sejong.settings import Settings

from .conftest import key_of

pytestmark = pytest.mark.anyio
MINE = "/data/v1/keys/mine"
ENTITIES = "/ngsi-ld/v1/entities?type=Nothing"


async def test_a_key_is_made_used_shown_and_taken_away(city: City, web: httpx.AsyncClient) -> None:
    made = await web.post("/data/v1/keys", json={"name": "  나의   앱 "})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    secret, name = made.json()["key"], made.json()["name"]
    assert (secret.startswith(PREFIX), len(secret) > 40, name) == (True, True, "나의 앱")
    rows = await city.pool.fetch("select * from hub.api_key")
    assert rows[0]["sha256"] == digest(secret)
    assert secret not in str([dict(row) for row in rows])
    shown = {"X-API-Key": secret}
    assert (await web.get(ENTITIES, headers=shown)).status_code == 200
    assert (await web.get(ENTITIES, headers={"Authorization": f"Bearer {secret}"})).status_code == 200
    mine = (await web.get(MINE, headers=shown)).json()
    assert (mine["name"], mine["role"], mine["today"]) == ("나의 앱", "reader", 3)
    assert mine["seen"]
    assert (await web.delete(MINE, headers=shown)).status_code == 204
    for path in (MINE, ENTITIES, "/data/v1/sets"):
        gone = await web.get(path, headers=shown)
        assert (gone.status_code, gone.headers["www-authenticate"]) == (401, "Bearer")
        assert gone.json()["detail_ko"]


async def test_tokens_of_others_are_nobody_elses_business(web: httpx.AsyncClient) -> None:
    assert (await web.get(ENTITIES, headers={"Authorization": "Bearer eyJhbGciOi"})).status_code == 200
    assert (await web.get(ENTITIES, headers={"X-API-Key": "guess"})).status_code == 401


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 81}, {"name": 3}, {"name": "a\u0000b"}, [], "x"])
async def test_keys_need_a_name(web: httpx.AsyncClient, body: Any) -> None:
    assert (await web.post("/data/v1/keys", json=body)).status_code == 400


async def test_one_address_makes_a_class_of_keys_not_a_million(web: httpx.AsyncClient) -> None:
    answers = [(await web.post("/data/v1/keys", json={"name": "x"})).status_code for _ in range(21)]
    assert answers == [201] * 20 + [429]


async def test_beyond_the_limit_everybody_is_told_when_to_come_back(city: City, web: httpx.AsyncClient) -> None:
    keys = city.part(Keys)
    keys.visitors = Visitors(0.5, 3)
    assert [(await web.get(ENTITIES)).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = await web.get("/data/v1/sets", headers={"accept-language": "ko"})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 4
    assert "키가 있으면" in refused.json()["detail"]
    assert "With a key" in (await web.get(ENTITIES, headers={"accept-language": "en"})).json()["detail"]
    slow = await key_of(city, "reader", rate=0.001)
    fast = await key_of(city, "reader", rate=100.0)
    assert [(await web.get(ENTITIES, headers=fast)).status_code for _ in range(20)] == [200] * 20
    assert [(await web.get(ENTITIES, headers=slow)).status_code for _ in range(2)] == [200, 429]


async def test_the_quota_of_a_day_is_counted_for_all_processes(city: City, web: httpx.AsyncClient) -> None:
    key = await key_of(city, "reader", daily=3)
    other = Keys(city.pool, city.clock, city.settings)
    scope = {"headers": [(b"x-api-key", key["X-API-Key"].encode())]}
    await other.admit(scope)
    await other.flush()
    assert [(await web.get(ENTITIES, headers=key)).status_code for _ in range(3)] == [200, 200, 429]
    refused = await web.get(ENTITIES, headers=key)
    assert "3" in refused.json()["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    await city.part(Keys).flush()
    day = await city.pool.fetchrow("select requests, refused from hub.api_key_day")
    assert (day["requests"], day["refused"]) == (3, 2)


async def test_the_machine_itself_is_not_limited_and_a_proxy_speaks_for_others(city: City) -> None:
    keys = city.part(Keys)
    keys.visitors = Visitors(0.001, 1)
    own = {"client": ("127.0.0.1", 1), "headers": []}
    behind = {"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"6.6.6.6, 203.0.113.9")]}
    liar = {"client": ("198.51.100.1", 1), "headers": [(b"x-forwarded-for", b"1.1.1.1")]}
    assert [keys.address(scope) for scope in (own, behind, liar)] == [None, "203.0.113.9", "198.51.100.1"]
    for _ in range(5):
        assert await keys.admit(own) is None


def test_an_allowance_never_gives_more_than_its_rate() -> None:
    allowance = Allowance(rate=5, burst=10, now=0.0)
    taken = sum(allowance.take(n / 100) for n in range(1000))
    assert 10 + 5 * 9.99 - 1 <= taken <= 10 + 5 * 10
    assert allowance.take(1e9)
    assert allowance.wait_s() == 0.0


def test_visitors_are_forgotten_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sejong.hub.opendata.limits.MOST_VISITORS", 10)
    visitors = Visitors(1, 5)
    busy = visitors.of("busy", 0.0)
    for n in range(5):
        assert busy.take(0.001 * n)
    for n in range(30):
        visitors.of(f"v{n}", 0.01)
    assert visitors.of("busy", 0.01) is busy
    assert len(visitors._by_address) <= 10


async def test_a_key_stops_in_other_processes_too(city: City, web: httpx.AsyncClient) -> None:
    clock = ManualClock(city.clock.now())
    other = Keys(city.pool, clock, city.settings)
    key = await key_of(city, "reader")
    scope = {"headers": [(b"x-api-key", key["X-API-Key"].encode())]}
    assert await other.admit(scope)
    assert (await web.delete(MINE, headers=key)).status_code == 204
    clock.advance(6)
    with pytest.raises(Exception, match="revoked"):
        await other.admit(scope)


async def test_operators_make_keys_on_the_command_line(
    city: City, web: httpx.AsyncClient, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await add_key(settings, "운영자", operator=True, rate=None, daily=None)
    secret = re.search(r"sjk_[\w-]+", capsys.readouterr().out)
    assert secret
    shown = {"X-API-Key": secret[0]}
    assert (await web.get(MINE, headers=shown)).json()["role"] == "operator"
    await show_keys(settings)
    told = capsys.readouterr().out
    assert "operator" in told
    assert secret[0] not in told
    await revoke_key(settings, "운영자")
    with pytest.raises(NotFound):
        await revoke_key(settings, "운영자")
    clean = Keys(city.pool, city.clock, settings)
    with pytest.raises(NotAuthenticated):
        await clean.admit({"headers": [(b"x-api-key", secret[0].encode())]})
