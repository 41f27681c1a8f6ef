"""Modulo reservation table: who uses which resource in which slot, and free routes."""

from collections import deque
from collections.abc import Iterable, Sequence

from compiler.mapping import STEPS, Action
from spu.arch import timing
from spu.arch.context import Close, Op, Source
from spu.arch.params import Architecture
from spu.arch.program import Tile

#: Path to a tile: (tile, link) of each hop from the origin.
Path = tuple[tuple[Tile, str], ...]


class Unschedulable(Exception):
    """Something was full in its slots; the message names it."""


def arrival(path: Path, source: Source) -> tuple[int, Source]:
    """Cycles on the way, and the source from which the last tile takes the word."""
    return len(path) * timing.HOP, STEPS[path[-1][1]][2] if path else source


class ReservationTable:
    """Resources of all tiles by slot modulo II, and the actions that claim them."""

    def __init__(self, arch: Architecture, ii: int) -> None:
        self.arch, self.ii = arch, ii
        self.used: set[tuple[str, Tile, int]] = set()
        self.actions: list[Action] = []
        self.wire = 0

    def copy(self) -> "ReservationTable":
        """An independent table with the same contents."""
        other = ReservationTable(self.arch, self.ii)
        other.used, other.actions, other.wire = set(self.used), list(self.actions), self.wire
        return other

    def free(self, resource: str, tile: Tile, times: Iterable[int]) -> bool:
        """Whether a resource has all these times, in different slots, to give."""
        slots = [t % self.ii for t in times]
        return len(set(slots)) == len(slots) and not any(
            (resource, tile, s) in self.used for s in slots)

    def take(self, resource: str, tile: Tile, times: Iterable[int]) -> None:
        """Claim a resource at these times; ``Unschedulable`` if it is not free."""
        times = list(times)
        if not self.free(resource, tile, times):
            raise Unschedulable(f"{resource} of tile {tile}")
        self.used |= {(resource, tile, t % self.ii) for t in times}

    def act(self, tile: Tile, time: int, **fields: Source | Op | Close | int) -> None:
        """Set context fields of a tile at a time."""
        values = tuple((k, v.value if isinstance(v, (Source, Op, Close)) else int(v))
                       for k, v in fields.items())
        self.actions.append(Action(tile, time, values))

    def paths(self, origin: Tile, times: Sequence[int], spare: str | None = None
              ) -> dict[Tile, Path]:
        """Shortest free paths to every tile for words that are at ``origin`` at ``times``.

        ``spare`` is a link of the origin that stays out of all paths.
        """
        paths: dict[Tile, Path] = {origin: ()}
        queue = deque([origin])
        while queue:
            tile = queue.popleft()
            delay = len(paths[tile]) * timing.HOP
            for link, (dr, dc, _) in STEPS.items():
                neighbour = (tile[0] + dr, tile[1] + dc)
                if (tile, link) == (origin, spare):
                    continue
                if neighbour in self.arch.tiles and neighbour not in paths and self.free(
                        f"{link} link", tile, (t + delay for t in times)):
                    paths[neighbour] = (*paths[tile], (tile, link))
                    queue.append(neighbour)
        return paths

    def route(self, source: Source, times: Sequence[int], paths: Iterable[Path]) -> None:
        """Claim the links of paths that share their beginnings, and set the crossbars."""
        hops = {}
        for path in paths:
            incoming = source
            for depth, (tile, link) in enumerate(path):
                hops[tile, link] = (depth, incoming)
                incoming = STEPS[link][2]
        for (tile, link), (depth, incoming) in hops.items():
            at = [t + depth * timing.HOP for t in times]
            self.take(f"{link} link", tile, at)
            for t in at:
                self.act(tile, t, **{link: incoming})
            self.wire += len(at)
