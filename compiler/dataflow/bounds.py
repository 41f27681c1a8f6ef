"""Lower bounds of the initiation interval, and what they come from."""

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx

from compiler.dataflow.graph import Dataflow, path_text
from compiler.dataflow.schedule import Grid
from compiler.errors import CompileError
from compiler.place import Tile


@dataclass(frozen=True)
class Bounds:
    """``res``: operations by the tiles that can hold them.  ``rec``: longest cycle."""

    res: int
    rec: int
    resource: str
    cycle: tuple[int, ...]

    @property
    def mii(self) -> int:
        return max(self.res, self.rec)

    def binding(self, graph: Dataflow) -> str:
        """What makes the bound, by name."""
        if self.rec > self.res:
            return f"cycle {path_text(graph, self.cycle)}"
        return self.resource


def bounds(graph: Dataflow, grid: Grid, latency: Mapping[int, int]) -> Bounds:
    """Resource and recurrence bound (B. R. Rau, "Iterative modulo scheduling", MICRO 27, 1994).

    ``latency``: cycles of each operation.  Raises ``CompileError`` for an operation that no tile
    takes.
    """
    count, tiles = len(graph.operations), len(grid.tiles)
    res, resource = -(-count // tiles), f"{count} operations on {tiles} tiles"
    groups: dict[frozenset[Tile], list[str]] = {}
    for n in graph.operations:
        groups.setdefault(grid.takes(graph.nodes[n].op), []).append(graph.nodes[n].op)
    for places, ops in groups.items():
        if not places:
            raise CompileError(f"no tile takes {', '.join(sorted(set(ops)))}")
        if -(-len(ops) // len(places)) > res:
            res = -(-len(ops) // len(places))
            resource = f"{len(ops)} operations ({', '.join(sorted(set(ops)))}) on the " \
                       f"{len(places)} tiles that take them"
    rec, cycle = _recurrence(graph, latency)
    return Bounds(res, rec, resource, cycle)


def _recurrence(graph: Dataflow, latency: Mapping[int, int]) -> tuple[int, tuple[int, ...]]:
    """The least II at which no cycle is late, and a cycle that is late at one less."""
    ii = 1
    critical: tuple[int, ...] = ()
    while True:
        late = _late_cycle(graph, latency, ii)
        if late is None:
            return ii, critical
        critical = late
        # The cycle's own bound: at least one more than what it is late at.
        ii = max(ii + 1, _ratio(graph, latency, late))


def _late_cycle(graph: Dataflow, latency: Mapping[int, int], ii: int) -> tuple[int, ...] | None:
    """A cycle whose latencies are more than II times its distance, if there is one."""
    late = nx.DiGraph()
    for edge in graph.dependences:
        weight = ii * edge.distance - latency[edge.src]
        if edge.src == edge.dst:
            if weight < 0:
                return (edge.src,)
            continue
        known = late.get_edge_data(edge.src, edge.dst)
        if known is None or known["weight"] > weight:
            late.add_edge(edge.src, edge.dst, weight=weight)
    for component in nx.strongly_connected_components(late):
        if len(component) > 1:
            part = late.subgraph(component)
            try:
                return tuple(nx.find_negative_cycle(part, min(component))[:-1])
            except nx.NetworkXError:
                continue  # it has none
    return None


def _ratio(graph: Dataflow, latency: Mapping[int, int], cycle: tuple[int, ...]) -> int:
    """Cycles that the nodes take by the iterations that pass, rounded up."""
    least: dict[tuple[int, int], int] = {}
    for edge in graph.dependences:
        key = edge.src, edge.dst
        least[key] = min(least.get(key, edge.distance), edge.distance)
    steps = zip(cycle, (*cycle[1:], cycle[0]), strict=True)
    return -(-sum(latency[n] for n in cycle) // sum(least[step] for step in steps))
