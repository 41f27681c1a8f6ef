"""Longest paths, and the maximum cycle ratio, which is RecMII, in integers."""

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from compiler.map.loop.budget import OutOfTimeError
from compiler.map.loop.kernel import kernel

#: Source, destination, cycles that pass between them at least, iterations that pass.
Arc = tuple[int, int, int, int]
#: Value of a node that no path has reached.
UNREACHED = -(1 << 62)
#: Arcs that are relaxed before the clock is looked at, some ten milliseconds.
PIECE = 1 << 22
#: What ``_relax`` returns where it has found no cycle.
SETTLED, UNSETTLED = -1, -2


@dataclass(frozen=True)
class Cycle:
    """Nodes of a cycle in order, the least first, and cycles and iterations of the way round."""

    nodes: tuple[int, ...]
    length: int
    distance: int

    @property
    def ratio(self) -> Fraction:
        """Cycles for each iteration, ``length / distance``; no II is less."""
        return Fraction(self.length, self.distance)


def _no_clock() -> None:
    pass


def critical_cycle(arcs: Sequence[Arc], check: Callable[[], None] = _no_clock) -> Cycle | None:
    """The cycle with the largest ratio of length to distance, None if there is no cycle.

    Exact: of a cycle that is known, one with a larger ratio is looked for, until there is none
    (W. Dinkelbach, "On nonlinear fractional programming", Management Science 13, 1967; for cycles
    E. L. Lawler, "Combinatorial optimization", 1976).  Arcs of distance 0 must have no cycle.
    ``check`` is called now and then; if it raises ``OutOfTimeError``, it is the best cycle so far.
    """
    best: Cycle | None = None
    for part in _components(arcs):
        paths = Paths([arc[:3] for arc in part])
        cycles, passed = paths.weight, np.array([arc[3] for arc in part], np.int64)
        while True:
            ratio = best.ratio if best else Fraction(0)
            paths.weight = ratio.denominator * cycles - ratio.numerator * passed
            try:
                found = paths.relax(np.zeros(len(paths.nodes), np.int64), check)
            except OutOfTimeError:
                return best
            if not found:
                break
            best = _cycle([part[i] for i in found])
    return best


def _cycle(arcs: list[Arc]) -> Cycle:
    """The cycle of arcs that follow each other, from the least on."""
    least = arcs.index(min(arcs))
    arcs = arcs[least:] + arcs[:least]
    return Cycle(
        tuple(arc[0] for arc in arcs), sum(arc[2] for arc in arcs), sum(arc[3] for arc in arcs)
    )


def _components(arcs: Sequence[Arc]) -> list[list[Arc]]:
    """Arcs that are in cycles, by strongly connected component, each in ``ordered`` order."""
    graph = nx.DiGraph((arc[0], arc[1]) for arc in arcs)
    of = {n: i for i, part in enumerate(nx.strongly_connected_components(graph)) for n in part}
    parts: dict[int, list[Arc]] = {}
    for arc in arcs:
        if of[arc[0]] == of[arc[1]]:
            parts.setdefault(of[arc[0]], []).append(arc)
    return [ordered(parts[i]) for i in sorted(parts, key=lambda i: min(parts[i])[0])]


def ordered(arcs: Iterable[Arc]) -> list[Arc]:
    """Arcs in the order of their sources along the arcs of distance 0.

    Paths then settle in one round for each arc with a distance on them.
    """
    arcs = list(arcs)
    flow = nx.DiGraph()
    flow.add_nodes_from(arc[0] for arc in arcs)
    flow.add_edges_from(arc[:2] for arc in arcs if not arc[3])
    place = {n: i for i, n in enumerate(nx.topological_sort(flow))}
    return sorted(arcs, key=lambda arc: place[arc[0]])


class Paths:
    """Arcs with weights, as arrays, along which the values of their ends rise.

    ``nodes``: the ends, in order, by whose places values are; sums of weights must fit 62 bits.
    """

    def __init__(self, arcs: Sequence[tuple[int, int, int]]) -> None:
        table = np.array(arcs, np.int64).reshape(-1, 3)
        self.nodes, ends = np.unique(table[:, :2], return_inverse=True)
        self.src, self.dst = np.ascontiguousarray(ends.reshape(-1, 2).T)
        self.weight = table[:, 2].copy()

    def place(self, node: int) -> int:
        """Where a node is in ``nodes``."""
        return int(np.searchsorted(self.nodes, node))

    def relax(
        self, value: NDArray[np.int64], check: Callable[[], None], turn: bool = False
    ) -> list[int]:
        """Raise values of destinations to those of sources and weights, until nothing rises.

        Longest paths by R. Bellman and L. R. Ford.  Returns arcs of a cycle of positive weight,
        which lets values rise for ever, if there is one: of those by which nodes were last
        reached.  ``turn``: every second round in the other direction, which settles soonest, but
        does not find the same cycles.
        """
        count = len(self.nodes)
        into, seen, first = np.full(count, -1), np.empty(count, np.int64), np.zeros(count + 1, int)
        rounds = max(2, PIECE // max(1, len(self.src)))
        while True:
            end = _relax(self.src, self.dst, self.weight, value, into, seen, first, rounds, turn)
            if end != UNSETTLED:
                break
            check()
        if end == SETTLED:
            return []
        back, at = [int(into[end])], self.src[into[end]]
        while at != end:
            back.append(int(into[at]))
            at = self.src[into[at]]
        return back[::-1]


@kernel
def _relax(src, dst, weight, value, into, seen, first, rounds, turn):
    """Rounds over all arcs: a node of a positive cycle, ``SETTLED``, or ``UNSETTLED`` yet.

    ``into``: the arc by which a node was last reached, -1 if by none.  ``first``: nodes in the
    order in which they were first reached, behind their number.
    """
    arcs = len(src)
    for number in range(rounds):
        settled = True
        for i in range(arcs):
            arc = arcs - 1 - i if turn and number % 2 else i
            a, b = src[arc], dst[arc]
            if value[a] > UNREACHED and value[a] + weight[arc] > value[b]:
                value[b] = value[a] + weight[arc]
                if into[b] < 0:
                    first[0] += 1
                    first[first[0]] = b
                into[b] = arc
                settled = False
        if settled:
            return SETTLED
        seen[:] = -1
        for i in range(first[0]):
            n = first[1 + i]
            while into[n] >= 0 and seen[n] < 0:
                seen[n] = i
                n = src[into[n]]
            if seen[n] == i:
                return n
    return UNSETTLED


def longest_paths(
    value: MutableMapping[int, int],
    arcs: Sequence[tuple[int, int, int]],
    check: Callable[[], None] = _no_clock,
) -> bool:
    """Raise ``value`` of destinations to that of sources and weights, until nothing rises.

    Nodes without a value are unreached yet.  False if a cycle of positive weight lets values rise
    for ever.  ``check`` is called now and then, and may raise.
    """
    paths = Paths(arcs)
    nodes = paths.nodes.tolist()
    values = np.array([value.get(n, UNREACHED) for n in nodes], np.int64)
    if paths.relax(values, check, turn=True):
        return False
    value.update((n, v) for n, v in zip(nodes, values.tolist(), strict=True) if v > UNREACHED)
    return True
