"""The meaning of names: compiling contexts, expanding and compacting, against the JSON-LD reference implementation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyld import jsonld

from sejong.hub.ngsi.context import (
    CORE,
    CORE_URL,
    CORE_URLS,
    RESERVED_IRIS,
    Context,
    MissingDocument,
    compile_context,
    context_urls,
    core_documents,
)
from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.members import DEFAULT_CONTEXT, NGSILD

CITY = "https://city.example/context.jsonld"
CORE_DOCUMENT = msgspec.json.decode(dict(core_documents())[CORE_URL])


def test_core_words_and_unknown_words() -> None:
    assert CORE.expand("location") == NGSILD + "location"
    assert CORE.expand("description") == "http://purl.org/dc/terms/description"
    assert CORE.expand("speed") == DEFAULT_CONTEXT + "speed"
    assert CORE.compact(DEFAULT_CONTEXT + "speed") == "speed"
    assert CORE.compact(NGSILD + "location") == "location"
    assert CORE.source == CORE_URL


@pytest.mark.parametrize("value", [None, [], CORE_URL, [CORE_URL], sorted(CORE_URLS)])
def test_the_core_alone(value: Any) -> None:
    ctx = compile_context(value, {})
    assert ctx.expand("speed") == DEFAULT_CONTEXT + "speed"
    assert ctx.source == (value or CORE_URL)


def test_every_embedded_core_context_is_known_by_its_url() -> None:
    embedded = dict(core_documents())
    assert CORE_URL in embedded
    assert embedded.keys() <= CORE_URLS
    assert all("@context" in msgspec.json.decode(content) for content in embedded.values())


def test_another_address_of_etsi_is_not_the_core() -> None:
    with pytest.raises(MissingDocument):
        compile_context("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v9.9.jsonld", {})


def test_missing_document_names_the_url_and_then_compiles() -> None:
    with pytest.raises(MissingDocument) as missing:
        compile_context([CITY, CORE_URL], {})
    assert missing.value.url == CITY
    ctx = compile_context([CITY, CORE_URL], {CITY: {"@context": {"speed": "https://x.example/speed"}}})
    assert ctx.expand("speed") == "https://x.example/speed"
    assert ctx.compact("https://x.example/speed") == "speed"
    assert ctx.source == [CITY, CORE_URL]


@pytest.mark.parametrize("order", [1, -1])
def test_the_core_has_the_last_word_wherever_it_stands(order: int) -> None:
    mine = {
        "Property": "https://evil.example/P",
        "location": "https://evil.example/l",
        "id": "https://evil.example/i",
    }
    ctx = compile_context([mine, CORE_URL][::order], {})
    assert ctx.expand("Property") == NGSILD + "Property"
    assert ctx.expand("location") == NGSILD + "location"
    assert ctx.compact("https://evil.example/l") == "https://evil.example/l"
    assert ctx.compact(NGSILD + "location") == "location"


def test_user_vocab_serves_definitions_but_unknown_names_stay_in_the_default_vocabulary() -> None:
    ctx = compile_context({"@vocab": "https://v.example/", "known": {"@type": "@id"}}, {})
    assert ctx.expand("known") == "https://v.example/known"
    assert ctx.expand("unknown") == DEFAULT_CONTEXT + "unknown"


def test_prefixes() -> None:
    ctx = compile_context({"sdm": "https://sdm.example/", "speed": "sdm:speed", "s": {"@id": "sdm:s#"}}, {})
    assert ctx.expand("sdm:other") == "https://sdm.example/other"
    assert ctx.expand("speed") == "https://sdm.example/speed"
    assert ctx.expand("s:1") == "https://sdm.example/s#1"
    assert ctx.expand("nobody:x") == "nobody:x"
    assert ctx.expand("ngsi-ld:thing") == NGSILD + "thing"
    assert ctx.expand("https://sdm.example/abs") == "https://sdm.example/abs"
    assert ctx.compact("https://sdm.example/other") == "https://sdm.example/other"


def test_a_prefix_never_swallows_an_absolute_iri() -> None:
    ctx = compile_context({"https": "https://trap.example/"}, {})
    assert ctx.expand("https://sdm.example/abs") == "https://sdm.example/abs"


def test_shortest_term_wins_and_default_names_step_aside() -> None:
    ctx = compile_context(
        {
            "longer": "https://x.example/a",
            "ab": "https://x.example/a",
            "aa": "https://x.example/a",
            "speed": "https://x.example/s",
        },
        {},
    )
    assert ctx.compact("https://x.example/a") == "aa"
    assert ctx.compact(DEFAULT_CONTEXT + "speed") == "ngsi-ld:default-context/speed"
    assert ctx.expand("ngsi-ld:default-context/speed") == DEFAULT_CONTEXT + "speed"
    assert ctx.compact(DEFAULT_CONTEXT) == DEFAULT_CONTEXT
    assert ctx.compact(DEFAULT_CONTEXT + "location") == "ngsi-ld:default-context/location"
    assert ctx.compact(DEFAULT_CONTEXT + "id") == "ngsi-ld:default-context/id"


def test_later_definitions_override_and_null_takes_back() -> None:
    ctx = compile_context(
        [{"a": "https://x.example/1", "b": "https://x.example/b"}, {"a": "https://x.example/2", "b": None}],
        {},
    )
    assert ctx.expand("a") == "https://x.example/2"
    assert ctx.expand("b") == DEFAULT_CONTEXT + "b"
    assert compile_context([{"a": "https://x.example/1"}, None], {}).expand("a") == DEFAULT_CONTEXT + "a"


def test_nested_arrays_and_relative_includes() -> None:
    documents = {
        CITY: {
            "@context": [[["parts/one.jsonld"]], {"c": "https://x.example/c"}],
            "note": "other members do not matter",
        },
        "https://city.example/parts/one.jsonld": {"@context": {"d": "https://x.example/d"}},
    }
    ctx = compile_context([[CITY], CITY], documents)
    assert (ctx.expand("c"), ctx.expand("d")) == ("https://x.example/c", "https://x.example/d")


def test_keyword_aliases_and_reverse_terms_name_nothing() -> None:
    ctx = compile_context({"identifier": "@id", "back": {"@reverse": "https://x.example/b"}, "gone": {"@id": None}}, {})
    for name in ("identifier", "back", "gone"):
        assert ctx.expand(name) == DEFAULT_CONTEXT + name


@pytest.mark.parametrize(
    "value",
    [
        5,
        True,
        {"a": 5},
        {"a": ["https://x.example/a"]},
        {"a": {"@id": 5}},
        {"a": {"@id": "https://x.example/a", "@context": {}}},
        {"a": {"@id": "https://x.example/a", "@unknown": 1}},
        {"a": {"@id": "https://x.example/a", "@container": "@bag"}},
        {"a": {"@id": "https://x.example/a", "@type": None}},
        {"a": {"@id": "https://x.example/a", "@prefix": "yes"}},
        {"a": "b:x", "b": "a:y"},
        {"a": "a:b", "x": "@context"},
        {"@id": "https://x.example/a"},
        {"@context": {"a": "https://x.example/a"}},
        {"": "https://x.example/a"},
        {"@vocab": 5},
        {"@version": 1.0},
        {"@version": True},
        {"@import": CITY},
        {"@protected": "yes"},
        {"@base": 3},
        "parts/one.jsonld",
        "not a url",
        [[[[[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]]]]],
    ],
)
def test_invalid_contexts(value: Any) -> None:
    with pytest.raises(BadRequestData) as refused:
        compile_context(value, {})
    assert refused.value.detail.startswith("@context")


@pytest.mark.parametrize("document", [[], {}, "text", None, {"context": {}}])
def test_fetched_documents_without_a_context(document: Any) -> None:
    with pytest.raises(BadRequestData):
        compile_context(CITY, {CITY: document})


def test_cyclic_includes() -> None:
    other = "https://city.example/b.jsonld"
    documents = {CITY: {"@context": [other]}, other: {"@context": ["context.jsonld"]}}
    with pytest.raises(BadRequestData, match="includes itself"):
        compile_context(CITY, documents)


def test_context_urls() -> None:
    assert context_urls([CORE_URL, CITY, [{"a": "https://x.example/a"}, "https://b.example/c"], CITY, "relative"]) == [
        CITY,
        "https://b.example/c",
    ]
    assert context_urls(None) == []
    assert context_urls(CITY) == [CITY]
    assert context_urls({"a": CITY}) == []


def test_the_key_tells_contexts_apart() -> None:
    one = compile_context({"a": "https://x.example/a"}, {})
    assert one.key == compile_context({"a": "https://x.example/a"}, {}).key
    assert one.key != compile_context({"a": "https://x.example/b"}, {}).key
    before = compile_context(CITY, {CITY: {"@context": {"a": "https://x.example/a"}}})
    after = compile_context(CITY, {CITY: {"@context": {"a": "https://x.example/b"}}})
    assert before.key != after.key


@pytest.mark.parametrize("name", ["speed", "Škola", "자전거_2", "sdm:bike", "https://x.example/a-b", "urn:x:y", "a1"])
def test_good_names(name: str) -> None:
    assert ":" in CORE.attribute(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "my attr",
        "9lives",
        "_x",
        "a.b",
        "a-b",
        "a/b",
        "@id",
        "a:",
        ":a",
        "_:b",
        "x:a b",
        "speed\n",
        "a<b>:c",
        "😀",
    ],
)
def test_bad_names(name: str) -> None:
    with pytest.raises(BadRequestData):
        CORE.attribute(name)


def test_reserved_words_are_recognised_by_iri() -> None:
    assert NGSILD + "hasValue" in RESERVED_IRIS
    assert NGSILD + "observedAt" in RESERVED_IRIS
    assert NGSILD + "location" not in RESERVED_IRIS


def test_memos_are_bounded() -> None:
    ctx = compile_context({"a": "https://x.example/a"}, {})
    for number in range(21_000):
        assert ctx.expand(f"x{number}") == f"{DEFAULT_CONTEXT}x{number}"
    assert len(ctx.expand.__self__) < 21_000  # type: ignore[attr-defined]


# --- laws ------------------------------------------------------------------------------------------------------------

TERMS = st.from_regex(r"[a-zA-Z가-힣][a-zA-Z0-9_가-힣]{0,8}", fullmatch=True).filter(
    lambda term: term not in ("id", "type")
)
PREFIXES = {"p0": "https://p0.example/", "p1": "https://p1.example/ns#", "p2": "urn:p2:"}
TARGETS = st.one_of(
    TERMS.map(lambda name: f"https://x.example/{name}"),
    st.builds(lambda prefix, name: f"{prefix}:{name}", st.sampled_from(sorted(PREFIXES)), TERMS),
)
DEFINITIONS = st.one_of(
    TARGETS,
    st.builds(lambda iri: {"@id": iri}, TARGETS),
    st.builds(lambda iri: {"@id": iri, "@type": "@vocab"}, TARGETS),
    st.just({"@type": "@id"}),
    st.just({"@container": "@set"}),
)
FLAT = st.builds(
    lambda terms, vocab: {**PREFIXES, **({"@vocab": vocab} if vocab else {}), **terms},
    st.dictionaries(TERMS.filter(lambda term: term not in PREFIXES), DEFINITIONS, max_size=6),
    st.sampled_from([None, "https://v.example/", "p1:"]),
)


def _no_network(url: str, _options: Any = None) -> Any:
    raise AssertionError(f"pyld asked for {url}")


def _by_pyld(user: dict[str, Any], name: str) -> str:
    document = {"@context": [user, CORE_DOCUMENT["@context"]], name: {"@type": "Property", "value": 1}}
    expanded = jsonld.expand(document, {"documentLoader": _no_network})
    return next(iter(expanded[0]))


@settings(max_examples=60, deadline=None)
@given(FLAT, st.data())
def test_expansion_agrees_with_the_reference_implementation(user: dict[str, Any], data: st.DataObject) -> None:
    ctx = compile_context(user, {})
    names = [
        *(key for key in user if key[0] != "@" and key not in PREFIXES),
        "p0:x",
        "p1:x",
        "unknownName",
        "https://abs.example/x",
    ]
    name = data.draw(st.sampled_from(names))
    user = {
        "@vocab": DEFAULT_CONTEXT,
        **user,
    }  # without it pyld has no vocabulary yet when it reads the user's terms
    assert ctx.expand(name) == _by_pyld(user, name)


@settings(max_examples=60)
@given(FLAT, TERMS)
def test_compaction_undoes_expansion(user: dict[str, Any], unknown: str) -> None:
    ctx = compile_context(user, {})
    for name in [*user, unknown, "location", "speed"]:
        if name[0] == "@":
            continue
        iri = ctx.expand(name)
        short = ctx.compact(iri)
        assert ctx.expand(short) == iri
        assert len(short) <= len(name) or ":" in short


@given(st.text(max_size=30).filter(lambda text: text not in ("id", "type")))
def test_any_vocabulary_word_survives(word: str) -> None:
    ctx: Context = CORE
    iri = ctx.expand(word)
    assert ctx.expand(ctx.compact(iri)) == iri
