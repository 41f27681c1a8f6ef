"""ResMII and RecMII, the usual lower bounds of the initiation interval."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler.errors import CompileError
from compiler.ir.dataflow import Dataflow, path_text
from compiler.map.loop.cycles import critical_cycle
from compiler.map.loop.schedule import Grid
from spu.arch.program import Tile


@dataclass(frozen=True)
class Bounds:
    """Bounds of a graph on a grid, and what they come from.

    ``res_mii``: operations by the tiles that can hold them, ``resource`` in words.  ``rec_mii``:
    cycles of the critical recurrence by its distance, 1 if there is none; its operations are
    ``cycle``.
    """

    res_mii: int
    rec_mii: int
    resource: str
    cycle: tuple[int, ...]

    @property
    def mii(self) -> int:
        """The minimum initiation interval."""
        return max(self.res_mii, self.rec_mii)

    def binding(self, graph: Dataflow) -> str:
        """What makes the bound, by name."""
        if self.rec_mii > self.res_mii:
            return f"cycle {path_text(graph, self.cycle)}"
        return self.resource


def bounds(
    graph: Dataflow,
    grid: Grid,
    latency: Mapping[int, int],
    check: Callable[[], None] = lambda: None,
) -> Bounds:
    """Resource and recurrence bound (B. R. Rau, "Iterative modulo scheduling", MICRO 27, 1994).

    ``latency``: cycles of each operation.  ``check``: see ``critical_cycle``; a bound holds, if not
    the largest, when that raises ``OutOfTimeError``.  Raises ``CompileError`` for an operation that
    no tile takes.
    """
    count, tiles = len(graph.operations), len(grid.tiles)
    res, resource = -(-count // tiles), f"{count} operations on {tiles} tiles"
    groups: dict[frozenset[Tile], list[str]] = {}
    for n in graph.operations:
        groups.setdefault(grid.takes(graph.nodes[n].op), []).append(graph.nodes[n].op)
    for places, names in groups.items():
        if not places:
            raise CompileError(f"no tile takes {', '.join(sorted(set(names)))}")
        ops = [op for part, inside in groups.items() if part <= places for op in inside]
        if -(-len(ops) // len(places)) > res:
            res = -(-len(ops) // len(places))
            resource = (
                f"{len(ops)} operations ({', '.join(sorted(set(ops)))}) on the "
                f"{len(places)} tiles that take them"
            )
    critical = critical_cycle(
        [(e.src, e.dst, latency[e.src], e.distance) for e in graph.dependences], check
    )
    if critical is None:
        return Bounds(res, 1, resource, ())
    return Bounds(res, math.ceil(critical.ratio), resource, critical.nodes)
