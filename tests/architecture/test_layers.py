"""Down only; through `api.py` only; only what the manifest names; in no circle; and nobody knows the portal."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

from sejong.app import services
from sejong.kit.service import Service

SERVICES = {service.home: service for service in services() if service.home.startswith("sejong.")}
DOORS = {"cli", "app", "loading", "work", "field", "backups", "__main__", "up", "settings", "kit", "kernel"}
"""Parts of the package that are no services."""


def part_of(module: str) -> str:
    """The part of the house a module lies in: `sejong.hub.web.batch` → `sejong.hub`."""
    return ".".join(module.split(".")[:2])


def parts(graph: grimp.ImportGraph) -> set[str]:
    """Every part that is a service, with a manifest or without."""
    return {part_of(module) for module in graph.modules if module != "sejong"} - {f"sejong.{name}" for name in DOORS}


def test_import_linter_contracts_hold(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    broken = lint_imports(no_cache=True, no_logo=True)
    assert not broken, capsys.readouterr().out


def test_a_service_knows_another_by_its_api_alone(graph: grimp.ImportGraph) -> None:
    found = parts(graph)
    assert len(found) > 3
    around = [
        f"{importer} imports {imported}"
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if part_of(importer) in found
        and part_of(imported) in found - {part_of(importer)}
        and imported != f"{part_of(imported)}.api"
    ]
    assert not around, "\n".join(sorted(around))


@pytest.mark.parametrize("home", SERVICES)
def test_a_manifest_names_exactly_what_is_used(graph: grimp.ImportGraph, home: str) -> None:
    used = {
        part_of(imported)
        for importer in graph.find_descendants(home) | {home}
        for imported in graph.find_modules_directly_imported_by(importer)
        if part_of(imported) in parts(graph) - {home}
    }
    assert {SERVICES[home].name, *SERVICES[home].depends} == {part.removeprefix("sejong.") for part in used | {home}}


def test_what_has_no_manifest_uses_no_service(graph: grimp.ImportGraph) -> None:
    undeclared = [
        f"{importer} imports {imported}"
        for part in parts(graph) - SERVICES.keys()
        for importer in graph.find_descendants(part) | {part}
        for imported in graph.find_modules_directly_imported_by(importer)
        if part_of(imported) in parts(graph) - {part}
    ]
    assert not undeclared, "\n".join(undeclared)


def test_no_service_knows_the_portal(graph: grimp.ImportGraph) -> None:
    portal = graph.find_descendants("sejong.portal") | {"sejong.portal"}
    knowing = {importer for module in portal for importer in graph.find_modules_that_directly_import(module)} - portal
    assert {part_of(module) for module in knowing} <= {"sejong.app"}


def test_no_imports_run_in_a_circle() -> None:
    real = grimp.build_graph("sejong", cache_dir=None, exclude_type_checking_imports=True)
    sorter = TopologicalSorter({module: real.find_modules_directly_imported_by(module) for module in real.modules})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_a_manifest_holds_nothing_else(trees: Mapping[Path, ast.Module], service: Service) -> None:
    """Reading it costs nothing and cannot make a circle: one import, one SERVICE."""
    body = trees[Path(*service.home.split(".")[1:]) / "__init__.py"].body
    imported = [node.module for node in body if isinstance(node, ast.ImportFrom)]
    assert set(imported) <= {"__future__", "sejong.kit.service"}
    assigned = [node.targets[0].id for node in body if isinstance(node, ast.Assign)]  # type: ignore[attr-defined]
    assert assigned == ["SERVICE"]
    assert all(isinstance(node, ast.Expr | ast.ImportFrom | ast.Assign) for node in body)


def test_an_api_only_hands_on(trees: Mapping[Path, ast.Module]) -> None:
    """`api.py` is a list of names, each from the service itself."""
    for path, tree in trees.items():
        if path.name == "api.py" and len(path.parts) == 2:
            own = f"sejong.{path.parts[0]}."
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.module != "__future__":
                    assert (node.module or "").startswith(own), f"{path}: {node.module}"
            (exported,) = [node for node in tree.body if isinstance(node, ast.Assign)]
            names = {element.value for element in exported.value.elts}  # type: ignore[attr-defined]
            imported = {
                alias.asname or alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names
            }
            assert names == imported - {"annotations"}, path


PURE = ("sejong.kernel", "sejong.hub.ngsi")
OUTSIDE = {
    "asyncio",
    "anyio",
    "asyncpg",
    "httpx",
    "socket",
    "starlette",
    "structlog",
    "subprocess",
    "sqlite3",
    "aiomqtt",
}


@pytest.mark.parametrize("pure", PURE)
def test_pure_parts_touch_nothing_outside(trees: Mapping[Path, ast.Module], pure: str) -> None:
    folder = Path(*pure.split(".")[1:])
    for path, tree in trees.items():
        if path.is_relative_to(folder):
            for node in ast.walk(tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & OUTSIDE, path
                assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{path}:{node.lineno} waits"
                assert not (
                    isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("open", "print", "input")
                ), path
