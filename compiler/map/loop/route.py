"""Route trees of nets through links and registers, and the registers of their waits."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from spu.arch import timing
from spu.arch.params import neighbour
from spu.arch.program import Tile

#: A node of the modulo routing resource graph, not yet folded by the II: a tile whose crossbar has
#: a word, and when: a result, from a link, or read from a register.
Place = tuple[Tile, int]


@dataclass(frozen=True)
class Hop:
    """From one place to the next over a link."""

    start: Place
    link: str

    @property
    def end(self) -> Place:
        """The neighbour that the link leads to, ``timing.HOP`` cycles later."""
        (row, col), time = self.start
        return neighbour(row, col, self.link), time + timing.HOP


@dataclass(frozen=True)
class Wait:
    """Written to a register of the tile at ``start``, read at ``end``."""

    start: Place
    end: Place


Step = Hop | Wait


@dataclass
class RouteTree:
    """The route of a net: of the word of operation ``source`` to all its sinks.

    ``into``: by place, the step that brings the word there, none at its first.
    """

    source: int
    into: dict[Place, Step | None] = field(default_factory=dict)

    def registers(self) -> dict[Place, int]:
        """When each write of a register is read for the last time."""
        last: dict[Place, int] = {}
        for step in self.into.values():
            if isinstance(step, Wait):
                last[step.start] = max(last.get(step.start, 0), step.end[1])
        return last


@dataclass(frozen=True)
class Routes:
    """Route trees of all nets, and the registers of their waits: ``register[tile, cycle]``."""

    trees: tuple[RouteTree, ...]
    register: dict[Place, int]

    @property
    def link_slots(self) -> int:
        """Link slots in use."""
        return sum(isinstance(step, Hop) for tree in self.trees for step in tree.into.values())


def allocate(
    trees: Iterable[RouteTree], ii: int, registers: int
) -> tuple[dict[Place, int], list[tuple[Tile, int]]]:
    """Registers of all waits, or tile and slots of one for which there is none.

    Waits are arcs of a circle of slots, and colours are registers: first fit from the slot that the
    fewest are in (the problem: A. Tucker, "Coloring a family of circular arcs", SIAM Journal on
    Applied Mathematics 29, 1975).
    """
    waits: dict[Tile, list[tuple[int, int]]] = {}
    for tree in trees:
        for (tile, time), last in tree.registers().items():
            waits.setdefault(tile, []).append((time, last))
    register: dict[Place, int] = {}
    for tile, arcs in waits.items():
        slots = {arc: {t % ii for t in range(arc[0] + 1, arc[1] + 1)} for arc in arcs}
        load = Counter(s for covered in slots.values() for s in covered)
        cut = min(range(ii), key=lambda s: (load[s], s))
        taken: list[set[int]] = [set() for _ in range(registers)]
        for arc in sorted(arcs, key=lambda arc: (cut not in slots[arc], (arc[0] + 1 - cut) % ii)):
            number = next((i for i, used in enumerate(taken) if not used & slots[arc]), None)
            if number is None:
                return {}, [(tile, s) for s in sorted(slots[arc])]
            taken[number] |= slots[arc]
            register[tile, arc[0]] = number
    return register, []
