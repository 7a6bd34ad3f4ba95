"""Asking which context sources there are: the question of a discovery, and of a subscription to registrations.

Source: ETSI GS CIM 009 v1.9.1 clauses 5.10.2 (discovery), 5.11 (subscriptions), 5.12 (matching), 4.9 (csf).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from sejong.hub.ngsi.context import CORE
from sejong.hub.ngsi.geo import shape_test
from sejong.hub.ngsi.geometry import GeoQuery, read_shape
from sejong.hub.ngsi.instants import TemporalFilter
from sejong.hub.ngsi.members import NGSILD, Doc
from sejong.hub.ngsi.q import Query, compile_predicate
from sejong.hub.ngsi.registration import GEOMETRIES, MEMBERS
from sejong.hub.ngsi.scope import ScopeQuery, scope_predicate
from sejong.hub.ngsi.sourcing import ANYTHING, Names, Source, Wanted, covers_time

_PLACES: Final = {NGSILD + name: name for name in GEOMETRIES}


class SourceQuery(Struct, frozen=True, kw_only=True):
    """Everything that decides whether a registration is meant. `names`: attributes of which one must be offered."""

    who: tuple[Wanted, ...] = ANYTHING
    names: Names | None = None
    geo: GeoQuery | None = None
    csf: Query | None = None
    scope: ScopeQuery | None = None
    interval: TemporalFilter | None = None
    datasets: Names | None = None

    @property
    def is_wide(self) -> bool:
        """Whether neither a type, an attribute nor a place narrows it (5.10.2.4)."""
        typed = all(wanted.types is not None for wanted in self.who)
        return not (typed or self.names or self.geo)

    def admits(self, source: Source, times: Mapping[str, Any]) -> bool:
        """Whether a registration (`times`: its createdAt and modifiedAt) is meant."""
        doc = source.doc
        if source.part(self.who, self.names) is None or not covers_time(doc, self.interval):
            return False
        if self.datasets is not None and source.datasets is not None and self.datasets.isdisjoint(source.datasets):
            return False
        if self.geo is not None and not _lies(doc, self.geo):
            return False
        if self.scope is not None and "scope" in doc and not scope_predicate(self.scope)(_listed(doc["scope"])):
            return False
        return self.csf is None or compile_predicate(self.csf)(csf_view(doc, times))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _lies(doc: Doc, geo: GeoQuery) -> bool:
    name = _PLACES.get(geo.geoproperty)
    shape = read_shape(doc.get(name)) if name is not None else None
    return shape is not None and shape_test(geo)(shape)


def csf_view(doc: Doc, times: Mapping[str, Any]) -> Doc:
    """A registration as an entity, so that `csf` can be asked of it as `q` is of any other."""
    view: Doc = {"id": doc["id"], "type": [], **times}
    for name, value in doc.items():
        key = CORE.expand(name) if name in MEMBERS else name
        reified = isinstance(value, dict) and value.get("type") in ("Property", "Relationship")
        view[key] = [value if reified else {"type": "Property", "value": value}]
    return view
