"""The query language: what is read, what is refused, and which entities it finds."""

from __future__ import annotations

import contextlib
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.hub.ngsi.errors import BadRequestData, NgsiLdError, TooComplexQuery
from sejong.hub.ngsi.names import AttributePath, Name
from sejong.hub.ngsi.q import (
    And,
    OneOf,
    Or,
    Query,
    Range,
    Regex,
    Term,
    Value,
    attributes,
    compile_predicate,
    link_depth,
    links,
    needs_join,
    parse_q,
    render,
)

D = "https://city.test/"
ATTRIBUTE_KINDS = {
    "Property": "value", "GeoProperty": "value", "Relationship": "object", "LanguageProperty": "languageMap",
    "VocabProperty": "vocab", "JsonProperty": "json", "ListProperty": "valueList",
    "ListRelationship": "objectList",
}  # fmt: skip


def expand(term: str) -> str:
    return term if ":" in term else D + term


def instance(value: Any, kind: str = "Property", /, **more: Any) -> dict[str, Any]:
    return {"type": kind, ATTRIBUTE_KINDS[kind]: value} | more


def entity(**attributes: Any) -> dict[str, Any]:
    """An expanded entity; a bare value becomes a Property, a list of dicts the instances themselves."""
    made: dict[str, Any] = {
        "id": "urn:ngsi-ld:T:1",
        "type": [D + "T"],
        "createdAt": "2026-11-22T10:00:00.000000Z",
        "modifiedAt": "2026-11-22T11:30:00.250000Z",
    }
    for name, value in attributes.items():
        is_instances = (
            isinstance(value, list) and bool(value) and all(isinstance(v, dict) and "type" in v for v in value)
        )
        made[D + name] = value if is_instances else [instance(value)]
    return made


def finds(q: str, document: dict[str, Any], **options: Any) -> bool:
    return compile_predicate(parse_q(q, expand, **options))(document)


# --- reading ---


def path(*names: str, members: tuple[str, ...] = ()) -> AttributePath:
    return AttributePath(tuple(Name(name, D + name) for name in names), members)


def number(value: float) -> Value:
    return Value("number", value)


@pytest.mark.parametrize(
    ("q", "root"),
    [
        ("a", Term(path("a"))),
        ("속도==1", Term(path("속도"), "==", number(1))),
        ("a.b>1.5e3", Term(path("a", "b"), ">", number(1500.0))),
        ("a[b.c-d]<=-2", Term(path("a", members=("b", "c-d")), "<=", number(-2))),
        ('a=="x;y|z"', Term(path("a"), "==", Value("string", "x;y|z"))),
        (r'a=="\"é\\"', Term(path("a"), "==", Value("string", '"é\\'))),
        ("a!=true", Term(path("a"), "!=", Value("boolean", True))),
        ("a==urn:x:y", Term(path("a"), "==", Value("uri", "urn:x:y"))),
        ("a==http://x/y?z=1#u", Term(path("a"), "==", Value("uri", "http://x/y?z=1#u"))),
        ("a==2026-11-22", Term(path("a"), "==", Value("date", "2026-11-22"))),
        ("a>=10:00:00Z", Term(path("a"), ">=", Value("time", "10:00:00Z"))),
        ("a<2026-11-22T10:00:00,5Z", Term(path("a"), "<", Value("dateTime", "2026-11-22T10:00:00,5Z"))),
        ("a==1..5", Term(path("a"), "==", Range(number(1), number(5)))),
        ("a!=1.5..2.5", Term(path("a"), "!=", Range(number(1.5), number(2.5)))),
        (
            'a==1,"b",false',
            Term(path("a"), "==", OneOf((number(1), Value("string", "b"), Value("boolean", False)))),
        ),
        ("a~=^x(y|z)$", Term(path("a"), "~=", Regex("^x(y|z)$"))),
        (r'a!~="a\"\d;b"', Term(path("a"), "!~=", Regex(r'a"\d;b'))),
        ("a;b|c", Or((And((Term(path("a")), Term(path("b")))), Term(path("c"))))),
        ("a;(b|c)", And((Term(path("a")), Or((Term(path("b")), Term(path("c"))))))),
        ("a&b", And((Term(path("a")), Term(path("b"))))),
        ("((a))", Term(path("a"))),
        (" a == 1 ; b ", And((Term(path("a"), "==", number(1)), Term(path("b"))))),
        ("a~=x;b", And((Term(path("a"), "~=", Regex("x")), Term(path("b"))))),
        ("(a~=x)", Term(path("a"), "~=", Regex("x"))),
    ],
)
def test_reading(q: str, root: Any) -> None:
    assert parse_q(q, expand).root == root


def test_names_may_be_prefixed_or_whole_iris() -> None:
    assert attributes(parse_q("ex:speed>1;https://x.test/a#b.c==2", expand)) == {
        "ex:speed",
        "https://x.test/a#b.c",
    }


def test_system_members_are_not_expanded_and_no_attributes() -> None:
    query = parse_q('createdAt>2026-01-01T00:00:00Z;speed.observedAt<2026-01-01T00:00:00Z|x.unitCode=="KMH"', expand)
    assert attributes(query) == {D + "speed", D + "x"}
    assert not attributes(parse_q("modifiedAt", expand))


def test_linked_entity_paths() -> None:
    query = parse_q("sensor{Device,Meter:inRoom{floor[no]}}>3|a", expand)
    assert needs_join(query)
    assert link_depth(query) == 2
    assert links(query) == {D + "sensor"}
    assert attributes(query) == {D + "sensor", D + "a"}
    assert not needs_join(parse_q("a", expand))


@pytest.mark.parametrize(
    ("q", "column"),
    [
        ("", 1),
        ("a==", 4),
        ("a=1", 2),
        ("a==x", 4),
        ("1a", 1),
        ("_a", 1),
        ("a;", 3),
        ("a;;b", 3),
        ("|a", 1),
        ("(a", 3),
        ("a)", 2),
        ("()", 2),
        ("a b", 3),
        ("a.", 3),
        ("a[", 3),
        ("a[]", 3),
        ("a[b", 4),
        ("a[b..c]", 3),
        ("a{", 3),
        ("a{b", 4),
        ('a=="x', 4),
        ('a=="\\x"', 4),
        ('a=="\\ud800"', 4),
        ("a>true", 3),
        ("a>urn:x", 3),
        ("a>1,2", 4),
        ("a>1..2", 4),
        ('a==1.."b"', 4),
        ("a==true..false", 4),
        ("a==1,", 6),
        ("a==1e999", 4),
        ("a==01", 4),
        ("a==2026-13-01", 4),
        ("a==2026-02-30T00:00:00Z", 4),
        ("a==25:00:00Z", 4),
        ("a~=", 4),
        ("createdAt.x", 10),
        ("a.observedAt.x", 13),
        ("a.unitCode[x]", 11),
        ('type=="T"', 1),
        ("id", 1),
    ],
)
def test_errors_name_the_column(q: str, column: int) -> None:
    with pytest.raises(BadRequestData, match=rf"^.*q: .* at column {column}\b"):
        parse_q(q, expand)


@pytest.mark.parametrize(
    "q",
    [
        "a" * 9000,
        ";".join(["a"] * 101),
        "(" * 21 + "a" + ")" * 21,
        "(" * 3000 + "a" + ")" * 3000,
        "a==" + ",".join(["1"] * 201),
        ".".join(["a"] * 11),
        "a{" * 5 + "b" + "}" * 5,
        "a~=" + "x" * 300,
    ],
)
def test_there_are_limits(q: str) -> None:
    with pytest.raises(TooComplexQuery):
        parse_q(q, expand)


def test_bad_patterns_are_refused_when_read() -> None:
    for q in ("a~=(", 'a~="(?=x)"', r"a~=\1"):
        with pytest.raises(BadRequestData, match="pattern"):
            parse_q(q, expand)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    with contextlib.suppress(NgsiLdError):
        parse_q(text, expand, expand_values="a", json_keys="b")


fragments = st.sampled_from(
    ["a", "b.c", "[x]", "{", "}", "==", "!=", ">", "~=", "!~=", "1", "1..2", ",", '"x"', ";", "|", "(", ")",
    "&",
     "true", "urn:a:b", "2026-01-01", "T00:00:00Z", "observedAt", "createdAt", ".", '"', "\\", " ", "*",
     "rel{A:b}"]
)  # fmt: skip


@given(st.lists(fragments, max_size=12).map("".join))
def test_any_pieces_are_read_or_refused_by_name(text: str) -> None:
    try:
        query = parse_q(text, expand)
    except NgsiLdError:
        return
    assert parse_q(render(query), expand) == query
    compile_predicate(query)(entity(a="x", b=2))


# --- round trip ---

names = st.text(alphabet=string.ascii_letters + "가나_7", min_size=1, max_size=4).filter(
    lambda n: n[0].isalpha() and n not in ("id", "type", "scope")
)
plain_paths = st.builds(
    lambda ns, ms: path(*ns, members=tuple(ms)),
    st.lists(names, min_size=1, max_size=3),
    st.lists(st.sampled_from(["x", "ko", "zh-Hans", "*", "긴 이름"]), max_size=2),
)
paths = st.recursive(
    plain_paths,
    lambda inner: st.builds(
        lambda ns, linked, hint: AttributePath(
            tuple(Name(n, D + n) for n in ns), (), linked, tuple(Name(h, D + h) for h in hint)
        ),
        st.lists(names, min_size=1, max_size=2),
        inner,
        st.lists(names, max_size=2),
    ),
    max_leaves=3,
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
moments = st.sampled_from(
    [Value("dateTime", "2026-11-22T10:00:00.5Z"), Value("dateTime", "2026-11-22T10:00:00,5Z"),
     Value("date", "2026-11-22"), Value("time", "10:00:00Z")]
)  # fmt: skip
comparable = st.one_of(
    st.integers(-(10**30), 10**30).map(number),
    st.floats(allow_nan=False, allow_infinity=False).map(number),
    texts.map(lambda t: Value("string", t)),
    moments,
)
values = st.one_of(
    comparable, st.booleans().map(lambda b: Value("boolean", b)), st.sampled_from(["urn:a:b",
    "http://x/y"]).map(
        lambda u: Value("uri", u)
    )
)  # fmt: skip
ranges = st.tuples(comparable, comparable).filter(lambda p: p[0].kind == p[1].kind).map(lambda p: Range(*p))
regexes = st.sampled_from(['a"b', "^x", r"\d+\\", "[ab]|c", r'\\"']).map(Regex)
lists = st.lists(values, min_size=2, max_size=4).map(lambda v: OneOf(tuple(v)))
conditions = st.one_of(
    st.builds(Term, paths),
    st.builds(Term, paths, st.sampled_from(["==", "!="]), st.one_of(values, ranges, lists)),
    st.builds(Term, paths, st.sampled_from([">", ">=", "<", "<="]), comparable),
    st.builds(Term, paths, st.sampled_from(["~=", "!~="]), regexes),
)
trees = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda items: And(tuple(items))),
        st.lists(inner, min_size=2, max_size=3).map(lambda items: Or(tuple(items))),
    ),
    max_leaves=6,
)


@given(trees)
def test_what_is_rendered_is_read_back(root: Any) -> None:
    query = Query(root)
    assert parse_q(render(query), expand) == query


# --- finding ---


@pytest.mark.parametrize(
    ("q", "value", "found"),
    [
        ("a==5", 5, True),
        ("a==5", 5.0, True),
        ("a==5", "5", False),
        ('a=="5"', 5, False),
        ("a==1", True, False),
        ("a==true", True, True),
        ("a==true", 1, False),
        ('a=="true"', True, False),
        ("a!=5", 6, True),
        ("a!=5", "5", True),
        ("a!=5", 5, False),
        ("a!=5", [4, 5], False),
        ("a!=5", [4, 6], True),
        ("a==5", [4, 5], True),
        ("a==5", [[5]], False),
        ("a==5", {"x": 5}, False),
        ("a!=5", {"x": 5}, True),
        ("a==5,7", 7, True),
        ("a==5,7", [1, 7], True),
        ("a!=5,7", 6, True),
        ("a!=5,7", 7, False),
        ("a==5..7", 7, True),
        ("a==5..7", 7.01, False),
        ("a==5..7", [6], False),
        ("a!=5..7", 8, True),
        ("a!=5..7", "6", True),
        ('a=="b".."d"', "cx", True),
        ("a>5", 6, True),
        ("a>5", 5, False),
        ("a>=5", 5, True),
        ("a>5", "6", False),
        ("a>5", [6], False),
        ('a>"b"', "c", True),
        ('a>"b"', 9, False),
        ('a<"나"', "가", True),
        ("a~=^se.*g$", "sejong", True),
        ("a~=jong", "sejong", True),
        ("a~=jong", 5, False),
        ("a~=jong", ["sejong"], False),
        ("a!~=jong", "seoul", True),
        ("a!~=jong", "sejong", False),
        ("a!~=jong", 5, False),
        ("a==2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000Z", True),
        ("a>2026-11-22T10:00:00Z", "2026-11-22T10:00:00.001Z", True),
        ("a>2026-11-22T10:00:00Z", "later", False),
        ("a==2026-11-22T10:00:00Z", {"@type": "DateTime", "@value": "2026-11-22T10:00:00,0Z"}, True),
        ("a==2026-11-22", "2026-11-22", True),
        ("a==2026-11-22", "2026-11-22T00:00:00Z", False),
        ("a<12:00:00Z", "11:59:59.5Z", True),
        ("a[x.y]==1", {"x": {"y": 1}}, True),
        ("a[x.y]==1", {"x": [{"y": 1}]}, False),
        ("a[x]==2", {"x": [1, 2]}, True),
        ("a[x]", {"x": None}, True),
        ("a[x]!=1", {"x": None}, True),
        ("a[x]!=1", {"y": 2}, False),
        ("a[긴 이름]", {"긴 이름": 1}, True),
        ("a==100000000000000000000000", 1e23, True),
        ("a==9007199254740993", 9007199254740992.0, False),
    ],
)
def test_a_property(q: str, value: Any, found: bool) -> None:
    assert finds(q, entity(a=value)) is found


@pytest.mark.parametrize("q", ["a", "a==1", "a!=1", "a!~=x", "a.b", "a.b!=1", "a[x]!=1", "a.observedAt", "a{b}!=1"])
def test_the_target_must_exist_for_every_operator(q: str) -> None:
    assert not finds(q, entity(other=1))


def test_sub_attributes_and_their_members() -> None:
    document = entity(
        speed=[instance(50, unitCode="KMH", observedAt="2026-11-22T10:00:00Z", **{D + "accuracy": [instance(0.9)]})]
    )
    assert finds("speed.accuracy>=0.9", document)
    assert finds('speed.unitCode=="KMH"', document)
    assert finds("speed.observedAt>=2026-11-22T09:00:00Z", document)
    assert finds('speed.observedAt=="2026-11-22T10:00:00.0Z"', document), "a quoted moment is a moment"
    assert not finds('speed.observedAt=="noon"', document)
    assert finds('speed.observedAt!="noon"', document)
    assert not finds("speed.observedAt~=2026", document)
    assert not finds("speed.accuracy.x", document)


def test_any_instance_may_match() -> None:
    document = entity(a=[instance(1), instance(2, datasetId="urn:d:2")])
    assert finds("a==1", document)
    assert finds("a==2", document)
    assert finds("a!=1", document)
    assert finds("a.datasetId==urn:d:2", document)
    assert not finds("a==3", document)


def test_relationships_know_only_equality_with_uris() -> None:
    one, many = instance("urn:p:1", "Relationship"), instance(["urn:p:1", "urn:p:2"], "Relationship")
    listed = instance([{"object": "urn:p:1"}, {"object": "urn:p:2"}], "ListRelationship")
    for link in (one, many, listed):
        document = entity(a=[link])
        assert finds("a==urn:p:1", document)
        assert finds('a=="urn:p:1"', document)
        assert finds("a==urn:p:0,urn:p:1", document)
        assert not finds("a!=urn:p:1", document)
        assert finds("a!=urn:p:3", document)
        assert finds("a!=1", document)
        for q in ('a>"urn:a"', "a~=urn", "a!~=xyz", "a[x]", 'a>="urn:p:1"'):
            assert not finds(q, document)


def test_language_properties_offer_every_language() -> None:
    document = entity(name=[instance({"ko": "세종", "en": ["Sejong", "King Sejong"]}, "LanguageProperty")])
    assert finds('name=="세종"', document)
    assert finds('name[*]=="Sejong"', document)
    assert finds('name[EN]=="King Sejong"', document)
    assert not finds('name[ko]=="Sejong"', document)
    assert not finds('name!="Sejong"', document)
    assert finds('name[ko]!="Sejong"', document)
    assert not finds('name[fr]!="Sejong"', document)
    assert finds("name~=^King", document)
    assert not finds("name!~=^King", document)
    assert finds("name[ko]", document)
    assert not finds("name[ko.x]", document)


def test_vocabularies_compare_as_iris() -> None:
    document = entity(gender=[instance([D + "Male", D + "Other"], "VocabProperty")])
    assert finds("gender==Male", document, expand_values="gender")
    assert finds('gender=="Male"', document, expand_values=["gender"])
    assert finds(f"gender=={D}Male", document)
    assert not finds('gender=="Male"', document)
    assert not finds("gender!=Male", document, expand_values="gender")
    with pytest.raises(BadRequestData):
        finds("gender==Male", document)


def test_json_and_lists() -> None:
    document = entity(
        ticket=[instance({"value": "Overstay", "n": [1, 2]}, "JsonProperty")],
        queue=[instance([3, "x"], "ListProperty")],
    )
    assert finds('ticket[value]=="Overstay"', document, json_keys="ticket")
    assert finds("ticket[n]==2", document)
    assert finds("queue==3", document)
    assert not finds("queue!=3", document)
    assert not finds("queue[x]", document)


def test_the_moments_of_the_entity_itself() -> None:
    document = entity()
    assert finds("createdAt==2026-11-22T10:00:00Z", document)
    assert finds("modifiedAt>2026-11-22T11:30:00.2Z", document)
    assert finds('createdAt<"2026-11-22T10:00:00.1Z"', document)
    assert not finds("expiresAt", document)
    assert not finds("createdAt>2026-01-01", document), "a day is no moment"
    assert finds("createdAt==2026-11-22T09:00:00Z..2026-11-22T11:00:00Z", document)


def test_and_binds_tighter_than_or() -> None:
    assert finds("a==1;b==9|c==3", entity(a=1, b=2, c=3))
    assert not finds("a==1;(b==9|c==9)", entity(a=1, b=2, c=3))


def test_linked_entities_are_looked_up() -> None:
    others = {
        "urn:d:1": entity(humidity=40) | {"type": [D + "Device"]},
        "urn:d:2": entity(humidity=10, room=[instance("urn:d:1", "Relationship")]) | {"type": [D + "Meter"]},
    }
    document = entity(sensor=[instance(["urn:d:0", "urn:d:2", "urn:d:1"], "Relationship")], plain="urn:d:1")

    def found(q: str) -> bool:
        return compile_predicate(parse_q(q, expand), others.get)(document)

    assert found("sensor{humidity}==40")
    assert found("sensor{Device:humidity}==40")
    assert not found("sensor{Meter:humidity}==40")
    assert found("sensor{Meter,Device:humidity}==40")
    assert found("sensor{room{humidity}}==40")
    assert not found("plain{humidity}==40")
    assert not compile_predicate(parse_q("sensor{humidity}==40", expand))(document), "nothing is linked without a join"


def test_expand_values_wants_names() -> None:
    for bad in ("", "a,,b", "1a", ["a", 5]):
        with pytest.raises(BadRequestData, match="expandValues"):
            parse_q("a", expand, expand_values=bad)  # type: ignore[arg-type]


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "value", "object", "languageMap", "objectList", "observedAt", "x", "ko", D + "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
some_queries = st.sampled_from(
    ["a", "a==1", "a!=1", "a>1.5", 'a=="x"', 'a<"x"', "a~=x", "a!~=x", "a.a>1", "a[x]==1", "a[ko]",
    "a.observedAt>1",
     "a==1..2", 'a!="a".."b"', "a==2026-01-01", "a>2026-01-01T00:00:00Z", "a==urn:x", "a{a}==1",
     "createdAt>1"]
)  # fmt: skip


@given(documents, some_queries, st.sampled_from([*ATTRIBUTE_KINDS, "Nonsense"]))
def test_no_document_is_too_strange(value: Any, q: str, kind: str) -> None:
    test = compile_predicate(parse_q(q, expand), lambda uri: {D + "a": value})
    test({D + "a": value, "createdAt": value})
    test({D + "a": [{"type": kind, ATTRIBUTE_KINDS.get(kind, "value"): value, D + "a": value, "observedAt": value}]})
