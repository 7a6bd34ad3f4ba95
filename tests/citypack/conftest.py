"""Packs to test with: Sejong as shipped, Testville, and a town that may be broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sejong.citypack.api import CityPack, open_pack

CITIES = Path(__file__).parents[2] / "cities"


@pytest.fixture(scope="session")
def sejong_pack() -> CityPack:
    return open_pack("sejong")


@pytest.fixture(scope="session")
def sejong_entities(sejong_pack: CityPack) -> list[dict[str, Any]]:
    return list(sejong_pack.entities())


@pytest.fixture(scope="session")
def testville() -> CityPack:
    return open_pack("testville")


@pytest.fixture
def town(tmp_path: Path) -> Callable[..., CityPack]:
    """Testville in a folder of its own, with some texts replaced: `town(("data/bikes.csv", "Y", "?"))`."""

    def build(*edits: tuple[str, str, str]) -> CityPack:
        folder = tmp_path / "town"
        if not folder.exists():
            shutil.copytree(CITIES / "testville", folder)
        for file, old, new in edits:
            path = folder / file
            text = path.read_text(encoding="utf-8")
            assert old in text, f"{old!r} is not in {file}"
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return open_pack(folder)

    return build
