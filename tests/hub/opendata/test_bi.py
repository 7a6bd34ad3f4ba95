"""The views for BI tools say what docs/guides/bi.md promises, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sejong.hub.opendata.catalogue import Catalogue
from sejong.kit.city import City

from .conftest import BIKES, bike, tell

pytestmark = pytest.mark.anyio
GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "bi.md").read_text(encoding="utf-8")


async def test_the_views_have_the_columns_of_the_guide(city: City) -> None:
    told = dict(re.findall(r"^\| `(bi\.\w+)` \|.*\| `([^`]+)` \|$", GUIDE, re.MULTILINE))
    rows = await city.pool.fetch(
        "select table_name, string_agg(column_name, ', ' order by ordinal_position) as names "
        "from information_schema.columns where table_schema = 'bi' group by 1"
    )
    assert {f"bi.{row['table_name']}": row["names"] for row in rows} == told


async def test_the_views_show_the_record(city: City, catalogue: Catalogue) -> None:
    nasty = {"type": "Property", "value": "a\u0000b"}
    await tell(city, bike(city, 1, 3, status="open"), bike(city, 2, 5, remark=nasty))
    async with city.record.act("test", "declare") as act:
        await catalogue.create(act, BIKES)
    await catalogue.measure((await catalogue.one("bikes")).data_set)
    entity = await city.pool.fetchrow("select * from bi.entity where id like '%0001'")
    assert (entity["type"], entity["name_ko"], entity["name_en"], entity["lon"]) == (
        "BikeHireDockingStation", "대여소 1", "Station 1", 127.001)  # fmt: skip
    assert await city.pool.fetchval("select name_ko from bi.entity where id like '%0002'") is None
    value = "select number, text from bi.attribute where entity_id like '%0001' and attribute = "
    assert tuple(await city.pool.fetchrow(value + "'availableBikeNumber'")) == (3.0, "3")
    assert tuple(await city.pool.fetchrow(value + "'status'")) == (None, "open")
    seen = "select number from bi.observation where attribute = 'availableBikeNumber' order by entity_id"
    assert [row["number"] for row in await city.pool.fetch(seen)] == [3.0, 5.0]
    kept = await city.pool.fetchrow("select * from bi.data_set")
    assert (kept["title_en"], kept["entities"], kept["freshness"]) == ("Bikes", 2, 1.0)


async def test_the_examples_of_the_guide_run(city: City) -> None:
    await tell(city, bike(city, 1, 3))
    queries = [sql for sql in re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL) if sql.startswith("select")]
    assert len(queries) == 2
    assert [len(await city.pool.fetch(sql)) for sql in queries] == [0, 1]
