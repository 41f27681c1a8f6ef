"""A mapping: its figures, and where everything is."""

from dataclasses import asdict, dataclass

from compiler.ir.dataflow import Dataflow, to_json
from compiler.ir.operations import Function
from compiler.map.loop.bounds import Bounds
from compiler.map.loop.lower_bound import LowerBound
from compiler.map.loop.route import Hop, Routes, Wait
from compiler.map.loop.schedule import Placed
from spu.arch.params import Architecture
from spu.arch.program import Tile, executed_cycles


@dataclass(frozen=True)
class Mapped:
    """A mapping that was executed, for so many iterations.

    ``given``: the graph; ``graph``: with the operations that legalisation added, as it is mapped.
    ``least``: what is proven of the graph as given.  ``failures``: what happened at smaller IIs.
    ``exact``: the schedule is by CP-SAT, else by annealing.
    """

    given: Dataflow
    graph: Dataflow
    arch: Architecture
    least: LowerBound
    legalised_mii: int
    placed: Placed
    routes: Routes
    content: bytes
    functions: dict[tuple[Tile, int], Function]
    failures: tuple[str, ...]
    seconds: float
    unit_latency: bool
    span: int
    exact: bool
    executed: int

    @property
    def bounds(self) -> Bounds:
        """The usual bounds of the graph as given."""
        return self.least.bounds

    @property
    def added(self) -> list[str]:
        """Operations that legalisation added, by name."""
        return [
            str(self.graph.nodes[n]) for n in self.graph.operations if n not in self.given.nodes
        ]

    def cycles(self, iterations: int) -> int:
        """Executed cycles of a run."""
        return executed_cycles(iterations, self.placed.ii, self.span)

    def report(self) -> dict:
        """Figures for people and programs; ``latency`` in cycles, ``seconds`` to map.

        ``mii``, ``res_mii``, ``rec_mii``: the usual bounds of the graph as given; ``bound``: no
        mapping of it on this array has a smaller II, since ``binding``, so that one that has it is
        ``optimal``.
        """
        operations = len(self.graph.operations)
        tiles = self.arch.rows * self.arch.cols
        return {
            "name": self.graph.name,
            "operations": operations,
            "grid": f"{self.arch.rows}x{self.arch.cols}",
            "unit_latency": self.unit_latency,
            "kernel": not self.functions,
            "ii": self.placed.ii,
            "mii": self.bounds.mii,
            "res_mii": self.bounds.res_mii,
            "rec_mii": self.bounds.rec_mii,
            "latency": 1 + max(self.placed.time.values()) - min(self.placed.time.values()),
            "utilisation": operations / (tiles * self.placed.ii),
            "links": self.routes.link_slots / (4 * tiles * self.placed.ii),
            "bound": self.least.ii,
            "optimal": self.placed.ii == self.least.ii,
            "given_operations": len(self.given.operations),
            "added": self.added,
            "legalised_mii": self.legalised_mii,
            "search": "exact" if self.exact else "heuristic",
            "binding": self.least.what,
            "iterations": self.executed,
            "failures": list(self.failures),
            "span": self.span,
            "bytes": len(self.content),
            "seconds": round(self.seconds, 3),
        }

    def details(self) -> dict:
        """The report, but for the time that it took, the graph, and where everything is."""
        report = self.report()
        del report["seconds"]
        nets = [
            (net.source, [step for step in net.into.values() if step is not None])
            for net in self.routes.trees
        ]
        return report | {
            "array": asdict(self.arch),
            "memory_tiles": [list(tile) for tile in self.arch.memory_tiles],
            "graph": to_json(self.graph),
            "cycle": list(self.bounds.cycle),
            "routes": [
                {
                    "source": source,
                    "hops": [
                        [*step.start[0], step.link, step.start[1]]
                        for step in steps
                        if isinstance(step, Hop)
                    ],
                    "waits": [
                        [
                            *step.start[0],
                            step.start[1],
                            step.end[1],
                            self.routes.register[step.start],
                        ]
                        for step in steps
                        if isinstance(step, Wait)
                    ],
                }
                for source, steps in nets
            ],
            "places": [
                {
                    "id": n,
                    "op": self.graph.nodes[n].op,
                    "tile": list(tile),
                    "cycle": self.placed.time[n],
                }
                for n, tile in self.placed.tile.items()
            ],
            "codes": [
                {
                    "tile": list(tile),
                    "code": code,
                    "op": f.op,
                    "ports": list(f.ports),
                    "needs": list(f.needs),
                }
                for (tile, code), f in self.functions.items()
            ],
        }
