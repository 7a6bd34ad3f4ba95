"""Opening a city pack and turning it into the entities of a city."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from sejong.citypack import synthetic
from sejong.citypack.areas import AreaIndex
from sejong.citypack.declaration import Dataset, Declaration, Lines, read_data_sets, read_declaration
from sejong.citypack.domain import City, Entity, PackNotFound, Rejected
from sejong.citypack.lines import Route, line_entity, read_routes
from sejong.citypack.mapping import Mapper
from sejong.citypack.readers import Row, Table, read_table
from sejong.citypack.rules import Rule
from sejong.citypack.world import World
from sejong.kernel.chance import Chance

PACKAGE = Path(__file__).resolve().parents[1]
CONTEXT_FILE = Path(__file__).resolve().parent / "context" / "city.jsonld"
"""The @context that gives every short name of a pack its IRI."""


MOVING = "Vehicle"
"""Moves, so it lies in no area for good."""


def open_pack(name: str | Path) -> CityPack:
    """Open a city pack by the path of its folder or by its name.

    A name is looked for in `cities/` of a source checkout, then in the installed package.
    Raises PackNotFound, PackDeclarationWrong.
    """
    given = Path(name)
    looked = [given, PACKAGE.parents[1] / "cities" / name, PACKAGE / "_cities" / name]
    for folder in looked:
        if (folder / "city.toml").is_file():
            return CityPack(folder)
    raise PackNotFound(name=name, looked=", ".join(str(folder) for folder in looked))


class CityPack:
    """One city: its description, and its entities made from files and declared rules.

    Nothing is kept between two readings, so a changed file shows at once and memory stays free.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.declared: Declaration = read_declaration(folder)
        self.city: City = self.declared.city()
        self._rejected: tuple[Rejected, ...] | None = None

    @cached_property
    def context(self) -> dict[str, Any]:
        """The JSON-LD document whose terms the entities use."""
        return msgspec.json.decode(CONTEXT_FILE.read_bytes())

    def entities(self, types: Collection[str] | None = None) -> Iterator[Entity]:
        """The entities of the city (of some types only), always the same ones in the same order.

        Normalized NGSI-LD with short names and no @context. Raises PackError when a whole file is unusable;
        single bad rows are left out and listed by `rejected`.
        """
        world = self._build(None if types is None else frozenset(types))
        if types is None:
            self._rejected = tuple(world.rejected)
        for kind, found in world.entities.items():
            if types is None or kind in types:
                yield from found

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Every row the whole pack refuses. Reads the pack the first time it is asked."""
        if self._rejected is None:
            self._rejected = tuple(self._build(None).rejected)
        return self._rejected

    def data_sets(self) -> list[dict[str, Any]]:
        """The data sets the pack declares in `datasets.toml`, as they stand there; the hub checks them."""
        return read_data_sets(self.folder)

    def boundaries(self) -> list[Entity]:
        """The areas of the city, with polygons."""
        return list(self.entities({self.declared.areas.type}))

    def routes(self) -> list[Route]:
        """The bus lines with their paths and the distance of each stop along them."""
        return self._build(frozenset({self.declared.lines.type})).routes if self.declared.lines else []

    def outside(self) -> list[Entity]:
        """Entities that have a point outside the city's box: true to the source, but not on the map."""
        box = self.city.bbox
        found: list[Entity] = []
        for entity in self.entities():
            shape = entity.get("location", {}).get("value")
            if shape and not all(box.contains(lon, lat) for lon, lat in _places(shape["coordinates"])):
                found.append(entity)
        return found

    def _build(self, types: frozenset[str] | None) -> World:
        """Run the steps that the wanted types need, in the order of city.toml."""
        rejected: list[Rejected] = []
        tables: dict[str, Table] = {}

        def table(file: str) -> Table:
            if file not in tables:
                tables[file] = read_table(self.folder, file, rejected)
            return tables[file]

        world = World(
            city=self.city.id,
            chance=Chance(self.declared.seed),
            glossary=self.declared.glossary,
            table=table,
            rejected=rejected,
        )
        for run in self._steps(types):
            run(world)
        placeless = {
            self.declared.areas.type,
            MOVING,
            self.declared.lines.type if self.declared.lines else "",
        }
        for kind, found in world.entities.items():
            if kind not in placeless and (types is None or kind in types):
                world.areas.mark(found)
        return world

    def _steps(self, types: frozenset[str] | None) -> list[Callable[[World], None]]:
        """What to do, in order: files, areas, lines, rules; only what leads to `types`."""
        wanted = None if types is None else set(types) | {self.declared.areas.type}
        rules: list[Rule] = []
        for rule in reversed(self.declared.synthetic):
            if wanted is None or wanted & synthetic.gives(rule):
                rules.append(rule)
                if wanted is not None:
                    wanted |= synthetic.needs(rule)
        lines = self.declared.lines
        if lines and (wanted is None or lines.type in wanted):
            if wanted is not None:
                wanted |= {lines.network, lines.stops}
        else:
            lines = None
        steps: list[Callable[[World], None]] = [
            self._dataset_step(d) for d in self.declared.dataset if wanted is None or d.type in wanted
        ]
        steps.append(self._areas_step)
        if lines:
            steps.append(self._lines_step(lines))
        return [*steps, *(_rule_step(rule) for rule in reversed(rules))]

    def _dataset_step(self, dataset: Dataset) -> Callable[[World], None]:
        def run(world: World) -> None:
            table = _joined(dataset, world)
            mapper = Mapper(self.declared, dataset)
            table.demand(*mapper.columns())
            if dataset.rows is not None and len(table) != dataset.rows:
                found = f"{len(table)} ≠ {dataset.rows}"
                world.rejected.append(Rejected(dataset.file, 0, "*", found, "rows"))
            world.of(dataset.type).extend(mapper.entities(table, world.rejected))

        return run

    def _areas_step(self, world: World) -> None:
        world.areas = AreaIndex(world.of(self.declared.areas.type), self.declared.areas)

    def _lines_step(self, lines: Lines) -> Callable[[World], None]:
        def run(world: World) -> None:
            stops = {stop["id"]: stop for stop in world.of(lines.stops) if "location" in stop}
            table = world.table(lines.file)
            links = world.of(lines.network)
            world.routes = read_routes(lines, table, world.city, stops, links, world.glossary, world.rejected)
            world.of(lines.type).extend(line_entity(route, lines) for route in world.routes)

        return run


def _rule_step(rule: Rule) -> Callable[[World], None]:
    return lambda world: synthetic.apply(rule, world)


def _joined(dataset: Dataset, world: World) -> Table:
    """The table of a dataset with the columns of its joined files; its own columns win."""
    table = world.table(dataset.file)
    for join in dataset.join:
        other = world.table(join.file)
        other.demand(join.key)
        table.demand(join.on)
        empty: Row = dict.fromkeys(other.columns, "")
        by_key = {str(row[join.key]): row for _, row in other}
        rows = [(number, {**by_key.get(str(row[join.on]), empty), **row}) for number, row in table]
        table = Table(table.file, tuple(dict.fromkeys((*table.columns, *other.columns))), rows)
    return table


def _places(coordinates: list[Any]) -> Iterator[tuple[float, float]]:
    if isinstance(coordinates[0], list):
        for inner in coordinates:
            yield from _places(inner)
    else:
        yield coordinates[0], coordinates[1]
