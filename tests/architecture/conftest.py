"""What the checks of the house's shape look at: its files as trees, its imports as a graph."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import grimp
import pytest

import sejong

SOURCE = Path(sejong.__file__).parent
ROOT = Path(__file__).parents[2]


def trees_below(folder: Path) -> dict[Path, ast.Module]:
    """Every Python file below a folder, read."""
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("*.py"))}


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def trees() -> Mapping[Path, ast.Module]:
    """Every file of the package by its path inside it."""
    return {file.relative_to(SOURCE): tree for file, tree in trees_below(SOURCE).items()}


@pytest.fixture(scope="session")
def graph() -> grimp.ImportGraph:
    """Who imports whom, imports that only types need included."""
    return grimp.build_graph("sejong", cache_dir=None)
