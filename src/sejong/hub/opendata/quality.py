"""How good a data set is, measured on what lies in the record: never stated by its owner.

Source: the dimensions of ISO/IEC 25012 and the W3C Data Quality Vocabulary (completeness, timeliness, conformity).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import msgspec

from sejong.hub.indexing import SYSTEM
from sejong.hub.ngsi.instants import parse_instant
from sejong.hub.opendata.model import Schema, faults_of

LATE = 3.0
"""A thing is late when it has been silent for so many of its usual intervals. Chosen: one lost message is no fault."""
COMMON = 0.5
"""Where no attributes are named, those that at least this share of the entities has are expected of all. Chosen."""
DAY = timedelta(hours=24)
SAMPLE = 200
"""Things whose last day is searched for silences. Chosen: a second of work at most."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The quality of a data set at one time. Shares go from 0 to 1; None: there is nothing to measure it by."""

    measured: datetime
    entities: int
    completeness: float | None = None
    """Share of the expected attributes that are there."""
    freshness: float | None = None
    """Share of the things whose newest value is not late."""
    conformity: float | None = None
    """Share of the entities that fit the declared model."""
    newest: datetime | None = None
    median_age_s: float | None = None
    gaps: int = 0
    """Silences longer than three usual intervals within the last day, in a sample of things."""
    gap_s: float = 0.0
    """Seconds of those silences."""


class Tally:
    """Counts entities one by one, so that a data set of any size needs little memory."""

    def __init__(self, now: datetime, expected: Iterable[str], update_s: float | None, model: Schema | None) -> None:
        self._now, self._expected, self._update_s, self._model = now, tuple(expected), update_s, model
        self.entities = 0
        self._has: Counter[str] = Counter()
        self._fits = 0
        self._ages: list[float] = []
        self._fresh = 0
        self._newest: datetime | None = None
        self.faults: Counter[tuple[str, str]] = Counter()
        self.example: dict[tuple[str, str], str] = {}
        self.sample: list[int] = []
        self.measured: set[str] = set()
        """Attributes (IRIs) that carry a time of observation."""

    def see(self, no: int, entity: Mapping[str, Any], plain: Mapping[str, Any] | None) -> None:
        """One more entity: expanded, and simplified when there is a model."""
        self.entities += 1
        newest = ""
        for key, instances in entity.items():
            if key in SYSTEM:
                continue
            self._has[key] += 1
            at = max((one.get("observedAt", "") for one in instances), default="")
            if at and (not self._expected or key in self._expected):
                self.measured.add(key)
                newest = max(newest, at)
        if newest:
            self._aged(no, parse_instant(newest))
        if self._model is not None and plain is not None:
            self._fit(entity["id"], plain, self._model)

    def _aged(self, no: int, at: datetime) -> None:
        age = (self._now - at).total_seconds()
        self._ages.append(age)
        self._fresh += self._update_s is not None and age <= LATE * self._update_s
        self._newest = at if self._newest is None else max(self._newest, at)
        if len(self.sample) < SAMPLE:
            self.sample.append(no)

    def _fit(self, entity_id: str, plain: Mapping[str, Any], model: Schema) -> None:
        found = faults_of(plain, model)
        self._fits += not found
        for fault in set(found):
            self.faults[fault] += 1
            self.example[fault] = entity_id

    def result(self, gaps: int = 0, gap_s: float = 0.0) -> Quality:
        """What came of it."""
        n = self.entities
        expected = self._expected or tuple(key for key, count in self._has.items() if count >= COMMON * n)
        there = sum(self._has[key] for key in expected)
        return Quality(
            measured=self._now,
            entities=n,
            completeness=there / (n * len(expected)) if n and expected else None,
            freshness=self._fresh / n if n and self._update_s is not None else None,
            conformity=self._fits / n if n and self._model is not None else None,
            newest=self._newest,
            median_age_s=median(self._ages) if self._ages else None,
            gaps=gaps,
            gap_s=gap_s,
        )
