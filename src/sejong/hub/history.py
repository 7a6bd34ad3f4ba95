"""From history rows to the instances they stand for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from sejong.hub import shapes
from sejong.hub.ngsi.instants import format_instant
from sejong.hub.ngsi.temporal import Row
from sejong.hub.store.history import DELETED, Instance

Doc = dict[str, Any]
INSTANCE_ID = "urn:ngsi-ld:instance:"


class Evolution(msgspec.Struct, frozen=True):
    """One entity's head (id, type, its own times) and its recorded instances."""

    entity: Doc
    rows: list[Row]


def row_of(instance: Instance, attribute: str, dataset: str | None, shape: Doc | None) -> Row:
    """The recorded instance as the temporal representation needs it."""
    body = shapes.join(instance.num, shape, instance.val)
    moment = format_instant(instance.modified)
    if instance.observed:
        body["observedAt"] = as_written(instance.t)
    if dataset is not None:
        body["datasetId"] = dataset
    body["createdAt"] = body["modifiedAt"] = moment
    if instance.op == DELETED:
        body["deletedAt"] = moment
    return Row(attribute, body, f"{INSTANCE_ID}{instance.no}")


def as_written(moment: datetime) -> str:
    """A moment with as many digits as senders write: none, three or six behind the second.

    >>> as_written(datetime(2026, 11, 22, 10, tzinfo=UTC))
    '2026-11-22T10:00:00Z'
    """
    digits = "seconds" if not moment.microsecond else "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.astimezone(UTC).isoformat(timespec=digits).removesuffix("+00:00") + "Z"
