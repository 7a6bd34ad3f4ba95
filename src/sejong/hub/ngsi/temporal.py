"""How a thing has changed: history rows as the temporal representations of NGSI-LD.

A row is one recorded instance of one attribute. `chosen` and `cut` decide which rows an answer holds,
`present_temporal` writes them as instances, as value-time pairs, or hands them to `aggregation.py`.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.5.6-4.5.9 (temporal representations), 4.5.19 (aggregation), 4.11 (temporal
query), 6.3.10 (partial answers).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct

from sejong.hub.ngsi.aggregation import Aggregation, Summaries, aggregated
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.grammar import instant_key
from sejong.hub.ngsi.instants import TemporalFilter, format_instant
from sejong.hub.ngsi.languages import parse_lang
from sejong.hub.ngsi.members import SCOPE, Doc
from sejong.hub.ngsi.present import Writer, head, projected

TemporalFormat = Literal["normalized", "concise", "temporalValues", "aggregatedValues"]

_SERIES: Final[dict[str, str]] = {
    "Property": "values",
    "GeoProperty": "values",
    "Relationship": "objects",
    "LanguageProperty": "languageMaps",
    "VocabProperty": "vocabs",
    "JsonProperty": "jsons",
    "ListProperty": "valueLists",
    "ListRelationship": "objectLists",
}


class Row(NamedTuple):
    """One recorded instance: the attribute's IRI, the instance with its times, and its `instanceId`."""

    attribute: str
    instance: Doc
    instance_id: str


class Page(Struct, frozen=True):
    """The rows that fit into one answer. `start` and `end` (DateTime text) are set when rows were left out (206)."""

    rows: list[Row]
    start: str | None = None
    end: str | None = None


def chosen(rows: Iterable[Row], temporal: TemporalFilter | None, last_n: int | None = None) -> list[Row]:
    """The rows a temporal query asks for, oldest first: inside its interval, and the newest `last_n` per attribute.

    With a filter, rows that lack its time property are left out.
    """
    moment = "observedAt" if temporal is None else temporal.timeproperty
    kept = list(rows) if temporal is None else [row for row in rows if _inside(row.instance, temporal)]
    kept.sort(key=lambda row: time_of(row.instance, moment))
    if last_n is None:
        return kept
    seen: dict[str, int] = {}
    newest: list[Row] = []
    for row in reversed(kept):
        count = seen[row.attribute] = seen.get(row.attribute, 0) + 1
        if count <= last_n:
            newest.append(row)
    newest.reverse()
    return newest


def _inside(instance: Doc, temporal: TemporalFilter) -> bool:
    text = instance.get(temporal.timeproperty)
    if text is None:
        return False
    key = instant_key(text)
    start, end = temporal.start, temporal.end
    return (start is None or key >= format_instant(start)) and (end is None or key < format_instant(end))


def time_of(instance: Doc, timeproperty: str) -> str:
    """When a row counts as having happened, as sortable text: its time property, else its last change."""
    text = instance.get(timeproperty) or instance.get("modifiedAt") or instance.get("createdAt") or ""
    return instant_key(text) if text else ""


def scopes_within(rows: Sequence[Row], temporal: TemporalFilter | None) -> list[Sequence[str]]:
    """The scopes an entity had at some time of an interval, from the whole history of its scope (oldest first).

    A scope holds from its observedAt, else from when it was written, until the next one.
    """
    start = None if temporal is None or temporal.start is None else format_instant(temporal.start)
    end = None if temporal is None or temporal.end is None else format_instant(temporal.end)
    found: list[Sequence[str]] = []
    for row in rows:
        moment = time_of(row.instance, "observedAt")
        if end is not None and moment >= end:
            break
        if start is not None and moment <= start:
            found.clear()
        if "deletedAt" not in row.instance:
            found.append(row.instance["value"])
    return found


def cut(
    rows: Sequence[Row], maximum: int, temporal: TemporalFilter | None = None, *, last_n: int | None = None
) -> Page:
    """At most `maximum` rows, cut between two moments so that no attribute is ahead of another.

    `rows` as `chosen` gives them. Without `last_n` the oldest remain, with it the newest. If all of the first
    `maximum` rows share one moment they are kept together with all others of that moment.
    """
    if len(rows) <= maximum:
        return Page(list(rows))
    moment = "observedAt" if temporal is None else temporal.timeproperty
    ordered = list(rows) if last_n is None else list(reversed(rows))
    times = [time_of(row.instance, moment) for row in ordered]
    size = maximum
    while size and times[size - 1] == times[maximum]:
        size -= 1
    if size == 0:
        size = times.count(times[0])
        if size == len(rows):
            return Page(list(rows))
    kept, newest_or_oldest = ordered[:size], times[size - 1]
    if last_n is None:
        start = None if temporal is None else temporal.start
        return Page(kept, _text(start, times[0]), newest_or_oldest)
    kept.reverse()
    return Page(kept, _text(None if temporal is None else temporal.end, times[0]), newest_or_oldest)


def _text(moment: datetime | None, otherwise: str) -> str:
    return otherwise if moment is None else format_instant(moment)


def present_temporal(
    entity: Doc,
    rows: Iterable[Row],
    ctx: Context,
    *,
    fmt: TemporalFormat = "normalized",
    temporal: TemporalFilter | None = None,
    timeproperty: str | None = None,
    aggregation: Aggregation | None = None,
    summaries: Summaries | None = None,
    attributes: Iterable[str] = (),
    sys_attrs: bool = False,
    keep: frozenset[str] | None = None,
    drop: frozenset[str] | None = None,
    dataset_ids: frozenset[str] | None = None,
    lang: str | None = None,
) -> Doc:
    """The temporal evolution of one thing, without `@context`; `entity` gives id, type and the entity's own times.

    `attributes` names those to show even if no row is left of them (as `[]`, when an answer was cut). `temporal`
    gives the time property and, for aggregation, the interval; `timeproperty` the former alone. `summaries` are the
    attributes whose figures are known already (only those that are to be shown). The other options are
    those of `present`. Raises BadRequestData for a bad `lang`.
    """
    moment = timeproperty or (temporal.timeproperty if temporal else "observedAt")
    series = _by_attribute(rows, attributes, keep, drop, dataset_ids)
    out: Doc = {}
    head({key: value for key, value in entity.items() if key != "scope"}, ctx, sys_attrs, out)
    out = projected(out, keep, drop)
    if fmt == "aggregatedValues":
        if aggregation is None:
            raise ValueError("aggregatedValues needs an Aggregation")
        for name, found in aggregated(series, aggregation, temporal, moment, summaries).items():
            out[_name(name, ctx)] = found
        return out
    languages = None if lang is None else parse_lang(lang)
    for attribute, instances in series.items():
        if fmt == "temporalValues":
            writer = Writer(ctx, "simplified", languages=languages)
            out[_name(attribute, ctx)] = _pairs(instances, writer, moment)
        else:
            writer = Writer(ctx, fmt, sys_attrs=sys_attrs, languages=languages)
            out[_name(attribute, ctx)] = [writer.instance(instance) for instance in instances]
    return out


def _name(attribute: str, ctx: Context) -> str:
    return "scope" if attribute == SCOPE else ctx.compact(attribute)


def _by_attribute(
    rows: Iterable[Row],
    attributes: Iterable[str],
    keep: frozenset[str] | None,
    drop: frozenset[str] | None,
    dataset_ids: frozenset[str] | None,
) -> dict[str, list[Doc]]:
    series: dict[str, list[Doc]] = {attribute: [] for attribute in attributes}
    for attribute, instance, instance_id in rows:
        if dataset_ids is None or instance.get("datasetId", "@none") in dataset_ids:
            series.setdefault(attribute, []).append({**instance, "instanceId": instance_id})
    shown = projected({"scope" if name == SCOPE else name: name for name in series}, keep, drop)
    return {name: series[name] for name in shown.values()}


def _pairs(instances: list[Doc], writer: Writer, moment: str) -> Any:
    """The instances as [value, time] pairs: one series, or one per kind and dataset."""
    groups: dict[tuple[str, str | None], list[Any]] = {}
    for instance in instances:
        if moment not in instance:
            continue
        shown = writer.in_language(instance)
        value = writer.simplified(shown)
        groups.setdefault((shown["type"], shown.get("datasetId")), []).append([value, instance[moment]])
    found = [
        {"type": kind, **({} if dataset is None else {"datasetId": dataset}), _SERIES[kind]: pairs}
        for (kind, dataset), pairs in groups.items()
    ]
    return found[0] if len(found) == 1 else found
