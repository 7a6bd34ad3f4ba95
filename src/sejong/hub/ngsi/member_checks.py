"""Checks of members that several data types of the standard share; each gives the value as it is kept, or a Fault.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.2.8-5.2.10 (registrations), 5.2.12-5.2.15 (subscriptions), 5.2.22 (pairs).
"""

from __future__ import annotations

from typing import Any

from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.fault import Fault, shown
from sejong.hub.ngsi.grammar import is_uri, known_instant
from sejong.hub.ngsi.members import Doc


def text(value: Any, _: Context) -> str:
    """A text with something in it."""
    if not isinstance(value, str) or not value:
        raise Fault("must be a text")
    return value


def uri(value: Any, _: Context) -> str:
    """A URI."""
    if not is_uri(value):
        raise Fault(f"{shown(value)} is not a URI")
    return value


def flag(value: Any, _: Context) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Fault("must be true or false")
    return value


def instant(value: Any, _: Context) -> str:
    """A moment in UTC."""
    if not isinstance(value, str) or not known_instant(value):
        raise Fault(f"{shown(value)} is not a UTC DateTime (YYYY-MM-DDThh:mm:ss[.ffffff]Z)")
    return value


def array(value: Any) -> list[Any]:
    """A list with something in it."""
    if not isinstance(value, list) or not value:
        raise Fault("must be a list with at least one item")
    return value


def pairs(value: Any, _: Context) -> list[Doc]:
    """KeyValuePairs, which become header fields: one line each, so that nobody adds lines of their own."""
    for pair in array(value):
        if not isinstance(pair, dict) or pair.keys() != {"key", "value"}:
            raise Fault("every item is an object with key and value")
        if not all(isinstance(part, str) and part for part in pair.values()):
            raise Fault("key and value are texts")
        if any(char in "\r\n\x00" for part in pair.values() for char in part):
            raise Fault("key and value are one line each")
    return value
