"""Modulo reservation table: who uses which resource in which slot."""

from collections.abc import Iterable

from compiler.map.pipeline.mapping import Action
from spu.arch.context import Close, Op, Source
from spu.arch.params import Architecture
from spu.arch.program import Tile


class Unschedulable(Exception):
    """Something was full in its slots; the message names it."""


class ReservationTable:
    """Resources of all tiles by slot modulo II, and the actions that claim them."""

    def __init__(self, arch: Architecture, ii: int) -> None:
        self.arch, self.ii = arch, ii
        self.used: set[tuple[str, Tile, int]] = set()
        self.actions: list[Action] = []

    def copy(self) -> "ReservationTable":
        """An independent table with the same contents."""
        other = ReservationTable(self.arch, self.ii)
        other.used, other.actions = set(self.used), list(self.actions)
        return other

    def free(self, resource: str, tile: Tile, times: Iterable[int]) -> bool:
        """Whether a resource has all these times, in different slots, to give."""
        slots = [t % self.ii for t in times]
        return len(set(slots)) == len(slots) and not any(
            (resource, tile, s) in self.used for s in slots
        )

    def take(self, resource: str, tile: Tile, times: Iterable[int]) -> None:
        """Claim a resource at these times; ``Unschedulable`` if it is not free."""
        times = list(times)
        if not self.free(resource, tile, times):
            raise Unschedulable(f"{resource} of tile {tile}")
        self.used |= {(resource, tile, t % self.ii) for t in times}

    def act(self, tile: Tile, time: int, **fields: Source | Op | Close | int) -> None:
        """Set context fields of a tile at a time."""
        self.actions.append(Action(tile, time, fields))
