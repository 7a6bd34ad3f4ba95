"""`sejong load`: a city pack into the record, its base map into the state folder, with progress."""

from __future__ import annotations

import sys

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sejong.app import open_city
from sejong.citypack.load import LoadReport, load, prepare_basemap
from sejong.settings import Settings
from sejong.up.words import chosen, language_of


async def load_pack(settings: Settings, *, again: bool) -> LoadReport:
    """Load the pack the settings name; says what happened. Raises PackError, DatabaseAway."""
    language = language_of()
    async with open_city(settings) as city:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            disable=not sys.stderr.isatty(),
        ) as bar:
            task = bar.add_task(chosen(("도시 자료", "city pack"), language), total=None)
            report = await load(city, settings.city, again=again, progress=lambda n: bar.update(task, completed=n))
        prepare_basemap(settings.city, settings.state)
    said = (
        (
            f"{report.city}: {report.entities}개 — 이미 들어 있습니다",
            f"{report.city}: {report.entities} entities, there already",
        )
        if report.skipped
        else (
            f"{report.city}: {report.entities}개를 기록했고 {report.rejected}줄은 읽지 못했습니다",
            f"{report.city}: {report.entities} entities written, {report.rejected} rows refused",
        )
    )
    print(chosen(said, language))
    return report
