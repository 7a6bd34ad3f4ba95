"""What every family of devices has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sejong.kernel.chance import Chance
from sejong.simulator.luck import keys_of
from sejong.simulator.moment import Calendar, Moment
from sejong.simulator.places import Entity
from sejong.simulator.rows import DeviceRow
from sejong.simulator.sky import Sky

City = Mapping[str, Sequence[Entity]]
"""All entities of the pack by short type, for families that need more than their own (a bus needs its stops)."""


class World(msgspec.Struct, frozen=True):
    """What all families share: the run's chance, its calendar, the weather and the middle of the city (lon, lat)."""

    chance: Chance
    calendar: Calendar
    sky: Sky
    centre: tuple[float, float]


RESTING = 30
"""A device out of use (a bus in its depot) reports so many times more rarely. Chosen."""


class Family:
    """All devices of one kind and the state of what they measure.

    A subclass sets `row`, picks its entities in `chosen`, reads what it needs of them in `__init__`, makes the state
    of an instant from nothing in `begin` (new containers, so that a copy of a family can begin anew beside it) and
    moves it on in `advance`. Both depend on the seed, the entity and the instant only.
    """

    row: ClassVar[DeviceRow]

    def __init__(self, world: World, entities: Sequence[Entity], city: City) -> None:
        self.world = world
        self.ids: list[str] = [e["id"] for e in entities]
        self.keys = keys_of(world.chance, self.row.name, self.ids)

    @classmethod
    def chosen(cls, entity: Entity) -> bool:
        """Whether this entity is a device of the family (its type already is `row.kind`)."""
        return True

    def join(self, families: Mapping[str, Family]) -> None:
        """Meet the families built before, by name of their row, for things that belong together."""

    def begin(self, m: Moment) -> None:
        """Make the state at that moment, whatever was before."""
        self.advance(m)

    def advance(self, m: Moment) -> None:
        """Move the state on to that moment, a multiple of `row.step_s`."""
        raise NotImplementedError

    def look(self, index: NDArray[np.int64], m: Moment) -> None:
        """Called before these devices are read, for families that work out one device at a time."""

    rests: ClassVar[bool] = False
    """Whether `resting` may say yes."""

    def resting(self, i: int, t: int) -> bool:
        """Whether this device is out of use just now and reports `RESTING` times more rarely."""
        return False

    def changed(self) -> list[int]:
        """The devices that have something new to say since the last call, for `row.on_change`."""
        return []
