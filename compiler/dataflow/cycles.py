"""Longest paths and the cycle with the largest ratio, in integers."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import networkx as nx

#: Source, destination, cycles that pass between them at least, iterations that pass.
Arc = tuple[int, int, int, int]


@dataclass(frozen=True)
class Cycle:
    """Nodes of a cycle in order, the least first, and cycles and iterations of the way round."""

    nodes: tuple[int, ...]
    length: int
    distance: int

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.length, self.distance)


def critical_cycle(arcs: Sequence[Arc]) -> Cycle | None:
    """The cycle with the largest ratio of length to distance, None if there is no cycle.

    Exact: of a cycle that is known, one with a larger ratio is looked for, until there is none
    (W. Dinkelbach, "On nonlinear fractional programming", Management Science 13, 1967; for cycles
    E. L. Lawler, "Combinatorial optimization", 1976).  Arcs of distance 0 must have no cycle.
    """
    best: Cycle | None = None
    for part in _components(arcs):
        while True:
            length, distance = (best.length, best.distance) if best else (0, 1)
            better = _positive_cycle(
                [(s, d, distance * cycles - length * passed) for s, d, cycles, passed in part],
                part)
            if better is None:
                break
            best = better
    return best


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


def _positive_cycle(weighted: Sequence[tuple[int, int, int]], arcs: Sequence[Arc]) -> Cycle | None:
    """A cycle whose weights have a positive sum, None if there is none.

    Longest paths by R. Bellman and L. R. Ford; a cycle among the arcs by which nodes were last
    reached is positive, and there will be one if any is.
    """
    value = {n: 0 for arc in arcs for n in arc[:2]}
    into: dict[int, Arc] = {}
    while True:
        settled = True
        for (src, dst, weight), arc in zip(weighted, arcs, strict=True):
            if value[src] + weight > value[dst]:
                value[dst], into[dst], settled = value[src] + weight, arc, False
        if settled:
            return None
        cycle = _around(into)
        if cycle:
            least = cycle.index(min(cycle))
            cycle = cycle[least:] + cycle[:least]
            return Cycle(tuple(arc[0] for arc in cycle), sum(arc[2] for arc in cycle),
                         sum(arc[3] for arc in cycle))


def _around(into: Mapping[int, Arc]) -> list[Arc]:
    """Arcs of a cycle, in order, among the last arcs into nodes; none if there is no cycle."""
    seen: dict[int, int] = {}
    for start in into:
        n = start
        while n in into and n not in seen:
            seen[n] = start
            n = into[n][0]
        if seen.get(n) == start:
            back, at = [into[n]], into[n][0]
            while at != n:
                back.append(into[at])
                at = into[at][0]
            return back[::-1]
    return []


def settle(value: MutableMapping[int, int], arcs: Sequence[tuple[int, int, int]]) -> bool:
    """Raise ``value`` of destinations to that of sources and weights, until nothing rises.

    Nodes without a value are unreached yet.  False if a cycle of positive weight lets values rise
    for ever.
    """
    for _ in range(len(arcs) + 2):
        settled = True
        for src, dst, weight in arcs:
            if src in value and (dst not in value or value[src] + weight > value[dst]):
                value[dst], settled = value[src] + weight, False
        if settled:
            return True
    return False
