"""The filing of registrations finds exactly what looking at every one of them finds, and units of uniting parts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.calls import Origin, headers_for
from sejong.hub.federation.identity import passed_through
from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.gathering import Told, read_told, unite
from sejong.hub.ngsi.sourcing import Wanted, source_of
from sejong.hub.registry import Registry
from sejong.kernel.clock import SystemClock

TYPES = [f"https://ex.org/T{n}" for n in range(3)]
IDS = [f"urn:a:{n}" for n in range(3)]
NAMES = [f"https://ex.org/p{n}" for n in range(3)]
NOW = "2026-11-22T09:00:00.000000Z"


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


ENTITY = st.fixed_dictionaries(
    {}, optional={"type": some(TYPES), "id": st.sampled_from(IDS), "idPattern": st.sampled_from([":1", ":[12]$"])}
)
INFO = st.fixed_dictionaries(
    {}, optional={"entities": st.lists(ENTITY, min_size=1, max_size=2), "propertyNames": some(NAMES)}
)
REGISTRATIONS = st.lists(st.lists(INFO, min_size=1, max_size=2), max_size=6)
WANTED = st.builds(
    Wanted,
    ids=st.none() | some(IDS).map(frozenset),
    pattern=st.none() | st.just(":2"),
    types=st.none() | some(TYPES).map(frozenset),
)


def filed(informations: list[Any]) -> tuple[Registry, list[Any]]:
    registry = Registry(None, SystemClock())  # type: ignore[arg-type]  # no database is asked
    docs = [{"id": f"urn:r:{n}", "endpoint": "http://x", "information": info} for n, info in enumerate(informations)]
    for doc in docs:
        registry.know(0, doc["id"], doc)
    registry.know(0, "urn:r:gone", {**docs[0], "id": "urn:r:gone"} if docs else None)
    registry.know(0, "urn:r:gone", None)
    assert registry.has(0) is bool(docs)
    return registry, [source_of(doc) for doc in docs]


@given(REGISTRATIONS, st.lists(WANTED, min_size=1, max_size=2), st.none() | some(NAMES).map(frozenset))
def test_filing_overlooks_nothing(informations: list[Any], who: list[Wanted], names: Any) -> None:
    registry, sources = filed(informations)
    expected = [(one.id, part) for one in sources if (part := one.part(who, names)) is not None]
    assert [(one.id, part) for one, part in registry.matching(0, who, names)] == expected


INSTANT = st.sampled_from([f"2026-01-0{n}T00:00:00.000000Z" for n in range(1, 5)])
INSTANCE = st.fixed_dictionaries(
    {"type": st.just("Property"), "value": st.integers(0, 9), "modifiedAt": INSTANT},
    optional={"observedAt": INSTANT, "datasetId": st.sampled_from(["urn:d:1", "urn:d:2"])},
)
ENTITIES = st.dictionaries(st.sampled_from(NAMES), st.lists(INSTANCE, min_size=1, max_size=1)).map(
    lambda attributes: {"id": "urn:a:1", "type": TYPES[:1], **attributes}
)


@given(st.lists(st.builds(Told, ENTITIES, st.booleans()), min_size=1, max_size=4))
def test_uniting_takes_the_newest_and_lets_auxiliary_sources_fill_gaps_only(parts: list[Told]) -> None:
    whole = unite(parts)
    given = [(part, key, one) for part in parts for key in NAMES for one in part.entity.get(key, ())]
    for key in NAMES:
        for instance in whole.get(key, ()):
            same = [(p, one) for p, k, one in given if k == key and one.get("datasetId") == instance.get("datasetId")]
            assert instance in [one for _, one in same]
            ours = [one for part, one in same if not part.auxiliary]
            if ours:
                assert instance in ours
                if all("observedAt" in one for one in ours):
                    assert instance["observedAt"] == max(one["observedAt"] for one in ours)
                if not any("observedAt" in one for one in ours):
                    assert instance["modifiedAt"] == max(one["modifiedAt"] for one in ours)
    assert {(key, one.get("datasetId")) for _, key, one in given} == {
        (key, one.get("datasetId")) for key in NAMES for one in whole.get(key, ())
    }


def test_what_has_expired_elsewhere_is_not_taken_over() -> None:
    past, later = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
    body: dict[str, Any] = {
        "id": "urn:a:1",
        "type": "T",
        "createdAt": past,
        "gone": {"type": "Property", "value": 1, "expiresAt": past},
        "half": [
            {"type": "Property", "value": 1, "expiresAt": past},
            {"type": "Property", "value": 2, "datasetId": "urn:d:1", "expiresAt": later, "modifiedAt": past},
        ],
    }
    entity = read_told(body, CORE, NOW)
    assert entity is not None
    assert CORE.expand("gone") not in entity
    (half,) = entity[CORE.expand("half")]
    assert (half["value"], half["modifiedAt"]) == (2, "2020-01-01T00:00:00.000000Z")
    assert read_told({**body, "expiresAt": past}, CORE, NOW) is None


def test_headers_of_calls() -> None:
    pairs = {"Accept": "application/ld+json", "X-A": "1", "Via": "x", "Host": "y", "ngsildConformance": "1.6"}
    source = source_of(
        {
            "id": "urn:r:1",
            "endpoint": "http://x",
            "information": [{}],
            "contextSourceInfo": [{"key": k, "value": v} for k, v in pairs.items()]
            + [
                {"key": "Authorization", "value": "urn:ngsi-ld:request"},
                {"key": "X-B", "value": "urn:ngsi-ld:request"},
            ],
        }
    )
    came = {"via": "1.1 osong", "authorization": "Bearer z"}
    assert headers_for(Origin(0, "sejong", came, ("osong",)), source, with_body=False) == {
        "Accept": "application/ld+json",
        "Via": "1.1 osong, 1.1 sejong",
        "X-A": "1",
        "Prefer": "ngsi-ld=1.6",
        "Authorization": "Bearer z",
    }
    assert passed_through({"via": "1.1 a:1 (x), HTTP/2 b, nonsense, 1.0 c+d"}) == ["a:1", "b", "c+d"]
