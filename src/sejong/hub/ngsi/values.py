"""What may stand as the value of each kind of attribute, and how it is stored.

Every check returns the value to store (names expanded, lists in one shape) and raises Fault with the path inside the
value. Source: ETSI GS CIM 009 v1.9.1 clauses 4.5.2, 4.5.3, 4.5.18, 4.5.20-4.5.24, 5.5.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.fault import Fault, shown
from sejong.hub.ngsi.geojson import check_geometry
from sejong.hub.ngsi.grammar import is_language_tag, is_uri
from sejong.hub.ngsi.members import NULL, Doc

MAX_DEPTH: Final = 64
"""How deep a compound value or a chain of sub-attributes may go."""


class Rules(Struct, frozen=True):
    """What an operation lets a message do.

    `null`: NGSI-LD Null removes attributes and members; `deep_null`: also inside compound values; `fragment`: an
    attribute may come without its value; `history`: several instances may share one datasetId.
    """

    null: bool = False
    deep_null: bool = False
    fragment: bool = False
    history: bool = False


def check_json(value: Any, deep_null: bool, depth: int = 0) -> None:
    """Raises Fault if null, or a Null that may not be there, hides anywhere in a compound value."""
    if depth > MAX_DEPTH:
        raise Fault(f"nested more than {MAX_DEPTH} levels deep")
    if value.__class__ is dict:
        for key, part in value.items():
            if part.__class__ is dict or part.__class__ is list:
                _check_part(part, key, deep_null, depth)
            elif part is None or (part == NULL and not deep_null):
                raise Fault(_no_null(part), key)
    elif value.__class__ is list:
        for number, part in enumerate(value):
            if part.__class__ is dict or part.__class__ is list:
                _check_part(part, f"[{number}]", deep_null, depth)
            elif part is None or part == NULL:
                raise Fault(_no_null(part), f"[{number}]")


def _check_part(part: Any, step: str, deep_null: bool, depth: int) -> None:
    try:
        check_json(part, deep_null, depth + 1)
    except Fault as fault:
        raise fault.within(step) from None


def _no_null(part: Any) -> str:
    return "null is not allowed here" if part is None else f"{NULL} is not allowed here"


def _property(value: Any, _: Context, rules: Rules) -> Any:
    if value is None:
        raise Fault(_no_null(value))
    check_json(value, rules.deep_null)
    return value


def _geometry(value: Any, _: Context, rules: Rules) -> Any:
    if rules.deep_null and isinstance(value, dict) and "type" not in value:
        check_json(value, True)
        return value
    return check_geometry(value)


def _object(value: Any, _: Context, rules: Rules) -> Any:
    if isinstance(value, list):
        if not value:
            raise Fault("a relationship needs at least one object")
        for number, one in enumerate(value):
            if not is_uri(one) or one == NULL:
                raise Fault(f"{shown(one)} is not a URI", f"[{number}]")
    elif not is_uri(value):
        raise Fault(f"{shown(value)} is not a URI")
    return value


def _language_map(value: Any, _: Context, rules: Rules) -> Any:
    if not isinstance(value, dict) or not value:
        raise Fault("a languageMap is an object of language tags with texts")
    if rules.null and len(value) == 1 and value.get("@none") == NULL:
        return NULL
    for tag, text in value.items():
        if not is_language_tag(tag):
            raise Fault(f"{shown(tag)} is not a language tag")
        texts = text if isinstance(text, list) else (text,)
        for one in texts:
            if not isinstance(one, str):
                raise Fault(f"{shown(one)} is not a text", tag)
            if one == NULL and (not rules.deep_null or isinstance(text, list)):
                raise Fault(_no_null(one), tag)
    return value


def _vocab(value: Any, ctx: Context, rules: Rules) -> Any:
    if isinstance(value, str) and value:
        return ctx.expand(value)
    if not isinstance(value, list) or not value:
        raise Fault("vocab is a word or a non-empty array of words")
    for number, word in enumerate(value):
        if not isinstance(word, str) or not word or word == NULL:
            raise Fault(f"{shown(word)} is not a word", f"[{number}]")
    return [ctx.expand(word) for word in value]


def _json(value: Any, _: Context, rules: Rules) -> Any:
    # Clause 4.5.24: opaque, so whatever JSON knows; only a value there must be.
    if value is None:
        raise Fault(_no_null(value))
    return value


def _value_list(value: Any, _: Context, rules: Rules) -> Any:
    if not isinstance(value, list):
        raise Fault("valueList is an array")
    if rules.null and value == [NULL]:
        return NULL
    check_json(value, False)
    return value


def _object_list(value: Any, _: Context, rules: Rules) -> Any:
    if not isinstance(value, list):
        raise Fault("objectList is an array of objects")
    if rules.null and value in ([NULL], [{"object": NULL}]):
        return NULL
    return [_listed_object(one, number) for number, one in enumerate(value)]


def _listed_object(one: Any, number: int) -> Doc:
    uri = one.get("object") if isinstance(one, dict) and len(one) == 1 else one
    if not is_uri(uri) or uri == NULL:
        raise Fault(f"{shown(one)} is neither a URI nor an object with one", f"[{number}]")
    return {"object": uri}


CHECKS: Final[dict[str, Callable[[Any, Context, Rules], Any]]] = {
    "Property": _property,
    "GeoProperty": _geometry,
    "Relationship": _object,
    "LanguageProperty": _language_map,
    "VocabProperty": _vocab,
    "JsonProperty": _json,
    "ListProperty": _value_list,
    "ListRelationship": _object_list,
}
