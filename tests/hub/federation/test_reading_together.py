"""Several hubs answering one question. Source: CIM 009 v1.9.1 clauses 4.3.6, 4.5.5.3, 5.7.1, 5.7.2, 6.3.17, 6.3.18."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from tests.hub.federation.towns import Town, Wire, lamp, told

from sejong.hub.federation.journey import Journey
from sejong.hub.federation.reads import Asked, candidates, united
from sejong.hub.ngsi.typeselect import TypeSelection
from sejong.hub.selection import Selection, Who

pytestmark = pytest.mark.anyio

LAMP = "/entities/urn:ngsi-ld:Lamp:1"


def power(value: float, at: str | None = None) -> dict[str, Any]:
    return {"type": "Property", "value": value, **({"observedAt": at} if at else {})}


async def names(town: Town, **params: str) -> list[str]:
    return [one["id"].rpartition(":")[2] for one in await town.ask.find(**params)]


async def test_three_towns_answer_one_question_together(towns: Any) -> None:
    sejong, osong, jochiwon = await towns("sejong", "osong", "jochiwon")
    await sejong.ask.make(lamp("s1", power=power(1)), lamp("s2", power=power(2)))
    await osong.ask.make(lamp("o1", power=power(3)), {"id": "urn:ngsi-ld:Car:1", "type": "Car", "speed": 3})
    await jochiwon.ask.make(lamp("j1", power=power(4)), lamp("j2", power=power(5)))
    for town in (sejong, osong, jochiwon):
        for other in (sejong, osong, jochiwon):
            if other is not town:
                await town.knows(other)
    everything = ["j1", "j2", "o1", "s1", "s2"]
    for town in (sejong, osong, jochiwon):
        answer = await town.ask("GET", "/entities", 200, type="Lamp", count="true")
        assert sorted(one["id"].rpartition(":")[2] for one in answer.json()) == everything
        assert answer.headers["ngsild-results-count"] == "5"
        assert "ngsild-warning" not in answer.headers
    assert sorted(await names(sejong, type="Lamp", local="true")) == ["s1", "s2"]
    assert sorted(await names(sejong, type="Lamp", q="power>2")) == ["j1", "j2", "o1"]
    assert sorted(await names(sejong, type="Lamp", q="power>2", splitEntities="true")) == ["j1", "j2", "o1"]
    assert await names(sejong, type="Lamp", id="urn:ngsi-ld:Lamp:j2") == ["j2"]
    assert await names(sejong, type="Car") == []
    # Pages are pages of the whole.
    pages = [await names(sejong, type="Lamp", limit="2", offset=str(offset)) for offset in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert pages[0] == ["s1", "s2"]
    assert sorted(one for page in pages for one in page) == everything
    first = await sejong.ask("GET", "/entities", 200, type="Lamp", limit="4")
    assert 'rel="next"' in first.headers["link"]
    assert 'rel="next"' not in (await sejong.ask("GET", "/entities", 200, type="Lamp", limit="5")).headers["link"]
    assert (await sejong.ask.see("urn:ngsi-ld:Lamp:j1"))["power"]["value"] == 4
    await sejong.ask("GET", "/entities/urn:ngsi-ld:Lamp:j1", 404, local="true")
    posted = {"type": "Query", "entities": [{"type": "Lamp"}, {"type": "Bus"}], "q": "power>=4"}
    found = await sejong.ask("POST", "/entityOperations/query", 200, json=posted)
    assert sorted(one["id"] for one in found.json()) == ["urn:ngsi-ld:Lamp:j1", "urn:ngsi-ld:Lamp:j2"]
    assert await names(sejong, type="Lamp", csf='contextSourceAlias=="nobody"') == ["s1", "s2"]
    assert sorted(await names(sejong, type="Lamp", csf='contextSourceAlias=="osong"')) == everything  # by way of Osong


async def test_parts_of_one_entity_are_united_by_age(towns: Any) -> None:
    sejong, osong, jochiwon = await towns("sejong", "osong", "jochiwon")
    await sejong.ask.make(lamp("1", power=power(1, "2026-01-01T00:00:00Z"), colour="white", scope="/Sejong"))
    await osong.ask.make(
        {
            **lamp("1", power=power(2, "2026-02-01T00:00:00Z"), colour="red"),
            "type": ["Lamp", "Signal"],
            "scope": "/Osong",
        }
    )
    await jochiwon.ask.make(lamp("1", power=power(9, "2026-03-01T00:00:00Z"), colour="blue", height=4))
    await sejong.knows(osong)
    await sejong.knows(jochiwon, mode="auxiliary")
    for seen in (await sejong.ask.see("urn:ngsi-ld:Lamp:1"), (await sejong.ask.find(type="Lamp"))[0]):
        assert seen["power"] == power(2, "2026-02-01T00:00:00Z")
        assert seen["colour"]["value"] == "red"
        assert seen["height"]["value"] == 4
        assert seen["type"] == ["Lamp", "Signal"]
        assert seen["scope"] == ["/Sejong", "/Osong"]
    assert await names(sejong, type="Lamp", q="power==2") == ["1"]
    assert await names(sejong, type="Lamp", q="power==1", splitEntities="true") == []
    assert (await sejong.ask.find(type="Lamp", pick="height"))[0].keys() == {"height"}
    # Split over two hubs: only the whole entity meets the condition.
    await osong.ask("PATCH", LAMP + "/attrs", 204, json={"height": 5, "width": 1})
    await sejong.ask("PATCH", LAMP + "/attrs", 204, json={"depth": 2})
    assert await names(sejong, type="Lamp", q="width==1;depth==2") == []
    assert await names(sejong, type="Lamp", q="width==1;depth==2", splitEntities="true") == ["1"]


async def test_a_source_that_is_down_or_hangs_is_flagged(towns: Any, wire: Wire) -> None:
    sejong, osong, jochiwon = await towns("sejong", "osong", "jochiwon", source_timeout=0.3)
    for town in (sejong, osong, jochiwon):
        await town.ask.make(lamp(town.name))
    for other in (osong, jochiwon):
        await sejong.knows(other)
    await osong.wire.stop()
    jochiwon.wire.hangs = True
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await sejong.ask("GET", "/entities", 200, type="Lamp", count="true")
    assert 0.25 < loop.time() - began < 6
    assert [one["id"] for one in answer.json()] == ["urn:ngsi-ld:Lamp:sejong"]
    down, hanging = answer.headers["ngsild-warning"].split(", ")
    assert down.startswith('199 osong "it cannot be reached')
    assert hanging == '199 jochiwon "no answer within 0.3 seconds"'
    seen = await sejong.ask("GET", "/entities/urn:ngsi-ld:Lamp:sejong", 200)
    assert "199 osong" in seen.headers["ngsild-warning"]
    missing = await sejong.ask("GET", "/entities/urn:ngsi-ld:Lamp:osong", 404, error="ResourceNotFound")
    assert missing.json()["status"] == 404
    shown = (await sejong.ask("GET", "/csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:osong", 200)).json()
    assert shown["status"] == "failed"
    assert shown["timesFailed"] == shown["timesSent"] == 3


async def test_five_towns_and_one_of_them_down(towns: Any) -> None:
    built = await towns("sejong", "osong", "jochiwon", "yeongi", "geumnam", source_timeout=2.0)
    for town in built:
        await town.ask.make(lamp(town.name, power=power(len(town.name))))
    for other in built[1:]:
        await built[0].knows(other)
        await other.knows(built[0], contextSourceAlias=None, information=[{"entities": [{"type": "Bus"}]}])
    assert sorted(await names(built[0], type="Lamp")) == sorted(town.name for town in built)
    await built[4].wire.stop()
    answer = await built[0].ask("GET", "/entities", 200, type="Lamp", limit="3", offset="2", count="true")
    assert answer.headers["ngsild-results-count"] == "4"
    assert len(answer.json()) == 2
    assert answer.headers["ngsild-warning"].startswith("199 geumnam")


async def test_circles_end(towns: Any) -> None:
    sejong, osong = await towns("sejong", "osong")
    await sejong.ask.make(lamp("s"))
    await osong.ask.make(lamp("o"))
    await sejong.knows(osong)
    # Osong does not know by what name Sejong goes: only Sejong can notice that the question came back.
    await osong.knows(sejong, contextSourceAlias=None)
    answer = await sejong.ask("GET", "/entities", 200, type="Lamp")
    assert sorted(one["id"] for one in answer.json()) == ["urn:ngsi-ld:Lamp:o", "urn:ngsi-ld:Lamp:s"]
    assert answer.headers["ngsild-warning"].startswith("199 ")
    assert "come through" in answer.headers["ngsild-warning"]
    via = [headers["via"] for _, _, headers, _ in sejong.wire.requests]
    assert via == ["1.1 sejong, 1.1 osong"]
    await sejong.ask("GET", "/entities", 508, type="Lamp", headers={"Via": "1.1 sejong"})
    # It would match, but it is where the question comes from.
    count = len(osong.wire.requests)
    await sejong.ask("GET", "/entities", 200, type="Lamp", headers={"Via": "1.1 osong, 1.1 jochiwon"})
    assert len(osong.wire.requests) == count


async def test_only_what_matches_is_asked_and_as_the_source_wishes(towns: Any, wire: Wire) -> None:
    (sejong,) = await towns("sejong")
    context = await sejong.hub.library.host(0, {"Leuchte": "https://ex.org/Lamp", "leistung": "https://ex.org/power"})
    await sejong.knows(
        wire,
        information=[
            {"entities": [{"type": "https://ex.org/Lamp"}], "propertyNames": ["https://ex.org/power", "colour"]}
        ],
        tenant="streets",
        management={"localOnly": True, "cacheDuration": "PT60S"},
        contextSourceInfo=[
            {"key": "jsonldContext", "value": context},
            {"key": "Authorization", "value": "urn:ngsi-ld:request"},
            {"key": "X-Key", "value": "secret"},
            {"key": "NGSILD-Tenant", "value": "other"},
            {"key": "Content-Length", "value": "7"},
        ],
    )
    wire.answer = told({"id": "urn:ngsi-ld:Lamp:1", "type": "Leuchte", "leistung": power(5)})
    params = {"type": "https://ex.org/Lamp|Car", "pick": "id,https://ex.org/power,height", "limit": "2"}
    headers = {"Authorization": "Bearer x"}
    found = (await sejong.ask("GET", "/entities", 200, headers=headers, **params)).json()
    assert found == [{"id": "urn:ngsi-ld:Lamp:1", "https://ex.org/power": power(5)}]
    ((method, target, sent, _),) = wire.requests
    assert (method, urlsplit(target).path) == ("GET", "/ngsi-ld/v1/entities")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
    assert asked == {"type": "Leuchte", "attrs": "leistung", "options": "sysAttrs", "limit": "3", "local": "true"}
    assert sent["ngsild-tenant"] == "streets"
    assert sent["authorization"] == "Bearer x"
    assert sent["x-key"] == "secret"
    assert context in sent["link"]
    assert sent["accept"] == "application/json"
    # Within a minute it is not asked again; when it fails, what it said is shown as old.
    await sejong.ask("GET", "/entities", 200, **params)
    assert len(wire.requests) == 1
    # A question that concerns no source asks none.
    for other in ({"type": "Car"}, {"type": "https://ex.org/Lamp", "attrs": "height"}):
        await sejong.ask("GET", "/entities", 200, **other)
    await sejong.ask("GET", "/entities", 200, type="https://ex.org/Lamp", local="true")
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((500, b'{"detail": "no luck"}'), 299),
        ((403, b""), 299),
        ((508, b""), 199),
        ((200, b"<html>"), 111),
        ((200, b'{"id": "urn:a:b"}'), 111),
        ((200, b'[{"id": "urn:a:b"}]'), 111),
        ((200, b'[{"id": "urn:a:b", "type": "Lamp", "power": {"type": "Nonsense"}}]'), 111),
        ((404, b""), None),
    ],
)
async def test_what_a_source_does_wrong_is_a_warning(
    towns: Any, wire: Wire, answer: tuple[int, bytes], code: int | None
) -> None:
    (sejong,) = await towns("sejong")
    await sejong.ask.make(lamp("1"))
    await sejong.knows(wire)
    wire.answer = answer
    for path, params in (("/entities", {"type": "Lamp"}), (LAMP, {})):
        seen = await sejong.ask("GET", path, 200, **params)
        warning = seen.headers.get("ngsild-warning")
        if path == LAMP and answer[1].startswith(b'{"id"'):
            code = 111
        assert (warning is None) if code is None else (warning or "").startswith(f"{code} 127.0.0.1"), warning
        assert len(wire.requests) >= 1


async def test_cooldown_stale_answers_and_forbidden_addresses(towns: Any, wire: Wire) -> None:
    (sejong,) = await towns("sejong", source_timeout=0.2)
    (osong,) = await towns("osong")
    await sejong.knows(wire, management={"cooldown": 60_000})
    wire.hangs = True
    for _ in range(2):
        answer = await sejong.ask("GET", "/entities", 200, type="Lamp")
        assert answer.headers["ngsild-warning"].startswith("199 ")
    assert len(wire.requests) == 1
    (jochiwon,) = await towns("jochiwon", source_egress="public")
    await jochiwon.knows(osong)
    refused = await jochiwon.ask("GET", "/entities", 200, type="Lamp")
    assert "private addresses" in refused.headers["ngsild-warning"]
    assert not osong.wire.requests
    wire.hangs = False
    await osong.knows(wire, management={"cacheDuration": "PT0.05S"})
    wire.answer = told(lamp("w", power=power(1)))
    assert await names(osong, type="Lamp") == ["w"]
    await asyncio.sleep(0.06)
    wire.answer = (500, b"")
    old = await osong.ask("GET", "/entities", 200, type="Lamp")
    assert [one["id"] for one in old.json()] == ["urn:ngsi-ld:Lamp:w"]
    assert old.headers["ngsild-warning"].startswith("110 ")


async def test_operations_a_source_does_not_offer_are_not_asked_of_it(towns: Any, wire: Wire) -> None:
    (sejong,) = await towns("sejong")
    await sejong.knows(wire, operations=["updateOps"])
    await sejong.ask("GET", LAMP, 404)
    assert await names(sejong, type="Lamp") == []
    assert not wire.requests
    await sejong.ask("DELETE", "/csourceRegistrations/urn:ngsi-ld:ContextSourceRegistration:wire", 204)
    await sejong.knows(wire, operations=["queryBatch"])
    wire.answer = told(lamp("1", power=power(5)))
    assert (await sejong.ask.see("urn:ngsi-ld:Lamp:1"))["power"] == power(5)
    found = await sejong.ask.find(type="Lamp", q="power==5", attrs="power", scopeQ="/A/#,(/B;/C)")
    assert len(found) == 1
    method, target, _, body = wire.requests[-1]
    assert (method, urlsplit(target).path) == ("POST", "/ngsi-ld/v1/entityOperations/query")
    default = "https://uri.etsi.org/ngsi-ld/default-context/"
    assert msgspec.json.decode(body) == {
        "type": "Query",
        "entities": [{"type": "Lamp"}],
        "attrs": ["power"],
        "q": "power==5",
        "scopeQ": "/A/#,(/B;/C)",
    }
    assert default not in body.decode()


async def test_a_source_is_believed_only_in_what_it_registered(towns: Any, wire: Wire) -> None:
    (sejong,) = await towns("sejong")
    await sejong.ask.make(lamp("1", power=power(1), colour="red"))
    await sejong.knows(
        wire, information=[{"entities": [{"type": "Lamp", "id": LAMP[10:]}], "propertyNames": ["power"]}]
    )
    newer = {"modifiedAt": "2100-01-01T00:00:00Z"}
    mine = lamp("1", power={**power(2), **newer}, colour={"type": "Property", "value": "blue", **newer})
    wire.answer = told(mine, lamp("2", power=power(3)), {"id": LAMP[10:], "type": "Car", "power": power(4)})
    (seen,) = await sejong.ask.find(type="Lamp")
    assert (seen["power"]["value"], seen["colour"]["value"]) == (2, "red")


async def test_a_fixed_set_of_entities_can_be_asked_for_again(towns: Any) -> None:
    sejong, osong = await towns("sejong", "osong")
    await sejong.ask.make(lamp("1", power=power(1)), lamp("2", power=power(2)))
    await osong.ask.make(lamp("2", height=5), lamp("3", power=power(3)))
    registration = await sejong.knows(osong)
    journey = Journey(sejong.hub, 0, "", {})
    kind = TypeSelection((("https://uri.etsi.org/ngsi-ld/default-context/Lamp",),))
    asked = Asked(selection=Selection(who=(Who(types=kind),)), names=None, limit=0, offset=0)
    known = await candidates(journey, asked)
    prefix = "urn:ngsi-ld:Lamp:"
    assert known == {
        f"{prefix}1": ["@none"],
        f"{prefix}2": ["@none", registration],
        f"{prefix}3": [registration],
    }
    await osong.ask("DELETE", f"/entities/{prefix}3", 204)
    whole = await united(journey, list(known), asked)
    assert [one["id"][-1] for one in whole] == ["1", "2"]
    assert whole[1].keys() >= {
        "https://uri.etsi.org/ngsi-ld/default-context/height",
        "https://uri.etsi.org/ngsi-ld/default-context/power",
    }


async def test_many_entities_come_in_pages(towns: Any) -> None:
    sejong, osong = await towns("sejong", "osong")
    many = [lamp(f"{n:04}", power=power(n)) for n in range(1, 1301)]
    await osong.ask("POST", "/entityOperations/create", 201, json=many)
    await sejong.ask.make(*(lamp(f"{n:04}", colour="red") for n in (5, 1290)))
    await sejong.knows(osong)
    counted = await sejong.ask("GET", "/entities", 200, type="Lamp", limit="3", count="true")
    assert counted.headers["ngsild-results-count"] == "1300"
    page = await sejong.ask.find(type="Lamp", limit="3")
    # Ours come first, whole, although the source's first page holds only one of them.
    assert [(one["id"][-4:], one["power"]["value"]) for one in page] == [("0005", 5), ("1290", 1290), ("0001", 1)]
    last = await names(sejong, type="Lamp", limit="10", offset="1295")
    assert last == ["1296", "1297", "1298", "1299", "1300"]
