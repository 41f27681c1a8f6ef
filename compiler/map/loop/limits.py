"""Lower bounds of the initiation interval that the array's own sizes give."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from compiler.ir.dataflow import MAX_OPERANDS, Edge
from compiler.map.loop.cycles import UNREACHED, Paths
from compiler.map.loop.schedule import Request, asap, constraint_arcs, mobility
from spu.arch.params import STAGES

#: Words that are counted, those that are kept longest; chosen, not tuned.
MOST = 32


@dataclass(frozen=True)
class Limit:
    """The least II that something allows, and what that is."""

    ii: int
    what: str


def limits(request: Request, least: int, most: int) -> Iterator[Limit]:
    """What allows no II below its own, of those from ``least`` on; one above ``most`` allows none.

    ``least`` must be the recurrence bound or more.  Raises ``OutOfTimeError``.
    """
    request.budget.check()
    # Any of three words may be the one that waits in a register.
    request = replace(request, registered=frozenset()) if request.free_choice else request
    # Whatever has time at an II has it at larger ones.
    stages = least + bisect_left(
        range(least, most + 1), True, key=lambda ii: mobility(request, ii, None) is not None
    )
    if stages > least:
        yield Limit(stages, _late(request, stages - 1))
    held = _Held(request)
    kept = next(
        (ii for ii in range(stages, most + 1) if held.need(ii) <= held.capacity(ii) * ii),
        max(stages, most + 1),
    )
    if kept > stages:
        words = -(-held.need(kept - 1) // (kept - 1))
        yield Limit(
            kept,
            f"words that wait: at least {words} at a time, links and "
            f"registers hold {held.capacity(kept - 1)}",
        )


def _late(request: Request, ii: int) -> str:
    """What does not fit the stages of an iteration at an II."""
    early = asap(request, ii)
    if early is None:
        return "cycles of operations, with the time that third words take into a register"
    last = max(early, key=lambda n: (early[n], n))
    return (
        f"{request.graph.nodes[last]} comes in cycle {early[last]} of an iteration at the "
        f"earliest, which lasts {STAGES} intervals at most"
    )


class _Held:
    """Words that must be kept, by those kept for iterations, and room for them.

    A word is in a link or in a register in each cycle between its operation and the last that
    takes it.  A tile writes one register a cycle, so that at most as many hold a word as an II has
    cycles.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        rows, cols = request.grid.rows, request.grid.cols
        self.links = 2 * (rows * (cols - 1) + cols * (rows - 1))
        self.tiles = rows * cols
        operands = request.graph.operands
        kept: dict[int, list[Edge]] = {}
        for edge in request.graph.words:
            # Parts of an operation of many words take theirs earlier.
            if edge.distance and len(operands[edge.dst]) <= MAX_OPERANDS:
                kept.setdefault(edge.src, []).append(edge)
        longest = sorted(kept, key=lambda n: (-max(e.distance for e in kept[n]), n))[:MOST]
        self.kept = {n: kept[n] for n in longest}
        self.most = sum(max(e.distance for e in edges) for edges in self.kept.values())

    def capacity(self, ii: int) -> int:
        """Words that links and registers hold in a cycle."""
        return self.links + self.tiles * min(self.request.registers, ii)

    def need(self, ii: int) -> int:
        """Cycles, at least, that words of an iteration are kept for."""
        # No path between two operations takes more than an iteration.
        if self.most + len(self.kept) * STAGES <= self.capacity(ii):
            return 0
        window = mobility(self.request, ii, None)
        assert window is not None
        paths = Paths(constraint_arcs(self.request, ii))
        return sum(self._wait(src, edges, ii, window, paths) for src, edges in self.kept.items())

    def _wait(
        self,
        src: int,
        edges: list[Edge],
        ii: int,
        window: Mapping[int, tuple[int, int]],
        paths: Paths,
    ) -> int:
        """Cycles from a word being made to its being taken for the last time, at least."""
        self.request.budget.check()
        after = np.full(len(paths.nodes), UNREACHED)
        after[paths.place(src)] = 0
        paths.relax(after, self.request.budget.check, turn=True)
        # No operation comes as much later than another.
        after = np.maximum(after, -STAGES * ii)
        return max(
            0,
            *(
                ii * e.distance
                - self.request.ready(src)
                + max(window[e.dst][0] - window[src][1], int(after[paths.place(e.dst)]))
                for e in edges
            ),
        )
