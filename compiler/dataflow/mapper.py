"""From a dataflow graph to a checked program: II from the bound upward."""

import re
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, replace

from compiler.dataflow.anneal import AGAIN, anneal
from compiler.dataflow.bounds import Bounds, bounds
from compiler.dataflow.contexts import EMITTED, Assembled, Function, assemble
from compiler.dataflow.execute import check_execution
from compiler.dataflow.graph import (
    CONSTANT,
    MAX_OPERANDS,
    MEMORY_OPS,
    Dataflow,
    to_json,
)
from compiler.dataflow.legalise import legalise
from compiler.dataflow.negotiate import Routed, negotiate
from compiler.dataflow.operations import OPERATIONS, check_kernel, mode_of, places
from compiler.dataflow.route import Hop, Routes, Wait
from compiler.dataflow.schedule import (
    Grid,
    Placed,
    Request,
    Scarce,
    schedule,
    with_registered,
)
from compiler.errors import CompileError
from spu.arch import bitstream, timing
from spu.arch.params import CONFIGS, CONSTANTS, MODES, Architecture

#: Columns whose tiles have a data memory.
MEMORY_COLUMNS = ("west", "both", "all")
#: Schedules of one II that may turn out not to be routable: effort of annealing, or the exact
#: search, which takes graphs of so many operations; above the bound, larger ones get one.
#: Annealing of graphs that the exact search takes is warmed up again a few times only.
EXACT, FEW = 0.0, 2
EFFORTS, MOST_EXACT, LARGE_EFFORTS = (1.0, EXACT, 2.0, EXACT, 4.0), 150, (1.0, 1.0, 1.0, 1.0)
#: IIs that are tried above the bound.
MOST_ABOVE = 8
#: Contexts of a tile of ``grid_architecture``: the largest II.
CONTEXTS = 64
#: Operations beyond which the search would take too long.
MOST_OPERATIONS = 600
#: Iterations that a program is executed for before it is handed out.
ITERATIONS = 100
#: File with the places of all operations.
MAPPING = "mapping.json"


class NotMapped(CompileError):
    """A graph that is too large for an array or for the search; another array may take it."""


@dataclass(frozen=True)
class Mapped:
    """A mapping that was executed.

    ``failures``: what happened at smaller IIs.  ``exact``: the schedule is by CP-SAT, else by
    annealing.
    """

    graph: Dataflow
    arch: Architecture
    bounds: Bounds
    placed: Placed
    routes: Routes
    content: bytes
    functions: dict[int, Function]
    failures: tuple[str, ...]
    seconds: float
    unit_latency: bool
    span: int
    exact: bool

    def cycles(self, iterations: int) -> int:
        """Executed cycles of a run."""
        return (iterations - 1) * self.placed.ii + self.span

    def report(self) -> dict:
        """Figures for people and programs; ``latency`` in cycles, ``seconds`` to map."""
        operations = len(self.graph.operations)
        tiles = self.arch.rows * self.arch.cols
        return {
            "name": self.graph.name, "operations": operations,
            "grid": f"{self.arch.rows}x{self.arch.cols}", "unit_latency": self.unit_latency,
            "kernel": not self.functions,
            "ii": self.placed.ii, "mii": self.bounds.mii,
            "res_mii": self.bounds.res, "rec_mii": self.bounds.rec,
            "latency": 1 + max(self.placed.time.values()) - min(self.placed.time.values()),
            "utilisation": operations / (tiles * self.placed.ii),
            "links": self.routes.wire / (4 * tiles * self.placed.ii),
            "optimal": self.placed.ii == self.bounds.mii,
            "search": "exact" if self.exact else "heuristic",
            "binding": self.bounds.binding(self.graph), "failures": list(self.failures),
            "span": self.span, "bytes": len(self.content), "seconds": round(self.seconds, 3),
        }

    def details(self) -> dict:
        """The report, but for the time that it took, the graph, and where everything is."""
        report = self.report()
        del report["seconds"]
        nets = [(net.source, [step for step in net.into.values() if step is not None])
                for net in self.routes.nets]
        return report | {
            "memory_tiles": [list(tile) for tile in self.arch.memory_tiles],
            "graph": to_json(self.graph),
            "cycle": list(self.bounds.cycle),
            "routes": [{"source": source, "hops": [
                [*step.start[0], step.link, step.start[1]] for step in steps
                if isinstance(step, Hop)], "waits": [
                [*step.start[0], step.start[1], step.end[1], self.routes.register[step.start]]
                for step in steps if isinstance(step, Wait)]} for source, steps in nets],
            "places": [{"id": n, "op": self.graph.nodes[n].op, "tile": list(tile),
                        "cycle": self.placed.time[n]} for n, tile in self.placed.tile.items()],
            "codes": {code: {"op": f.op, "ports": list(f.ports), "needs": list(f.needs)}
                      for code, f in self.functions.items()}}


def parse_grid(text: str) -> tuple[int, int]:
    """Rows and columns of ``4x4``."""
    match = re.fullmatch(r"(\d{1,3})x(\d{1,3})", text)
    if not match:
        raise CompileError(f"a grid is rows x columns like 4x4, not {text!r}")
    return int(match[1]), int(match[2])


def grid_architecture(rows: int, cols: int, memory_columns: str) -> Architecture:
    """An array for dataflow graphs: tiles with memory in some columns, the rest without."""
    if memory_columns not in MEMORY_COLUMNS:
        raise CompileError(f"memory columns must be one of {', '.join(MEMORY_COLUMNS)}, "
                           f"not {memory_columns!r}")
    chosen = {"west": {0}, "both": {0, cols - 1}, "all": set(range(cols))}[memory_columns]
    row = "".join("V" if c in chosen else "v" for c in range(cols))
    base = CONFIGS["basic"]
    try:
        return Architecture(f"grid-{rows}x{cols}-{memory_columns}", (row,) * rows, base.lanes,
                            base.columns, CONTEXTS, base.memory_words, base.weight_rows)
    except ValueError as error:
        raise CompileError(str(error)) from None


def map_dataflow(graph: Dataflow, arch: Architecture, unit_latency: bool = False, seed: int = 0,
                 progress: Callable[[str], None] = lambda _: None) -> Mapped:
    """Map a graph with uninterpreted operations of one cycle, and execute the program on tokens.

    ``unit_latency``: on an idealised array, in which an operation's word is at the neighbours
    one cycle later: its way over the first link is part of the operation's cycle.

    Raises
    ------
    CompileError: the graph is too large, or no mapping was found; names what binds, and what was
        in the way at each II.
    """
    graph = legalise(graph)
    mapped = _map(_uninterpreted(graph, arch, unit_latency, seed), arch, False, progress)
    where = {n: (mapped.placed.tile[n], mapped.placed.time[n]) for n in graph.operations}
    image = bitstream.decode(mapped.content, arch).image
    check_execution(graph, Assembled(image, mapped.functions), image, where, ITERATIONS,
                    unit_latency)
    return mapped


def minimum_ii(graph: Dataflow, arch: Architecture, kernel: bool = False) -> int:
    """The lower bound on an array; raises ``CompileError`` where an operation has no tile."""
    request = _kernel(legalise(graph), arch, 0) if kernel else \
        _uninterpreted(legalise(graph), arch, True, 0)
    return bounds(request.graph, request.grid, request.latency).mii


def _uninterpreted(graph: Dataflow, arch: Architecture, unit_latency: bool, seed: int) -> Request:
    memory = dict.fromkeys(MEMORY_OPS, frozenset(arch.memory_tiles))
    return Request(graph, Grid(arch.rows, arch.cols, memory),
                   dict.fromkeys(graph.operations, timing.ALU), int(unit_latency), seed=seed,
                   scarce=(_constants(graph),))


def _constants(graph: Dataflow) -> Scarce:
    return Scarce("constants", CONSTANTS, {
        e.dst: e.src for e in graph.edges if graph.nodes[e.src].op == CONSTANT})


def ii_with_registers(graph: Dataflow, arch: Architecture, unit_latency: bool, registers: int,
                      below: int) -> int | None:
    """II at which a graph would be mapped if tiles had so many registers, if less than ``below``.

    Schedules and routes as ``map_dataflow`` does; there is no program, since contexts cannot name
    more registers than ``REGISTERS``.
    """
    graph = legalise(graph)
    request = replace(_uninterpreted(graph, arch, unit_latency, 0), registers=registers)
    first = bounds(graph, request.grid, request.latency).mii
    request = with_registered(request, first)
    for ii in range(first, below):
        if _attempt(request, ii, ii == first)[0] is not None:
            return ii
    return None


def map_kernel(graph: Dataflow, arch: Architecture, seed: int = 0,
               progress: Callable[[str], None] = lambda _: None) -> Mapped:
    """Map a graph of the array's own operations (``OPERATIONS``), with their latencies.

    The words of all ``in`` of a tile are one stream, in the order of their cycles; ``out`` alike.

    Raises
    ------
    CompileError: as for ``map_dataflow``; an array of several regions; an operation that the array
        does not have, or with another number of operands.
    """
    if arch.region_count > 1:
        raise CompileError(f"{arch.name} has {arch.region_count} regions, a kernel takes one")
    check_kernel(graph)
    return _map(_kernel(legalise(graph), arch, seed), arch, True, progress)


def _kernel(graph: Dataflow, arch: Architecture, seed: int) -> Request:
    latency = {n: OPERATIONS[graph.nodes[n].op].latency for n in graph.operations}
    # The third operand is the one in a register.
    third = frozenset(e for edges in graph.operands.values() for e in edges[MAX_OPERANDS - 1:])
    mode = {n: mode_of(graph, n) for n in graph.operations}
    modes = Scarce("vector modes", MODES, {
        n: tuple(fields.items()) for n, fields in mode.items() if fields is not None})
    return Request(graph, Grid(arch.rows, arch.cols, places(arch)), latency, registered=third,
                   seed=seed, leaving=EMITTED, scarce=(_constants(graph), modes))


def _map(request: Request, arch: Architecture, kernel: bool, progress: Callable[[str], None]
         ) -> Mapped:
    start, graph = clock.monotonic(), request.graph
    if len(graph.operations) > MOST_OPERATIONS:
        raise NotMapped(f"{graph.name} has {len(graph.operations)} operations, the search takes "
                           f"at most {MOST_OPERATIONS}")
    bound = bounds(graph, request.grid, request.latency)
    if bound.mii > arch.contexts:
        raise NotMapped(f"{bound.binding(graph)}: needs an II of {bound.mii}, a tile has "
                           f"{arch.contexts} contexts")
    tiles = len(request.grid.tiles)
    for scarce in request.scarce:
        if (different := len(set(scarce.of.values()))) > scarce.most * tiles:
            raise NotMapped(f"{graph.name} has {different} {scarce.name}, {tiles} tiles hold "
                            f"{scarce.most} each")
    if not kernel:
        request = with_registered(request, bound.mii)
    failures: list[str] = []
    for ii in range(bound.mii, min(bound.mii + MOST_ABOVE, arch.contexts) + 1):
        progress(f"II {ii}")
        found, exact, reason = _attempt(request, ii, ii == bound.mii)
        if found is not None:
            assembled = assemble(replace(request, registered=found.registered), found.placed,
                                 found.routes, arch, kernel)
            return Mapped(graph, arch, bound, found.placed, found.routes,
                          bitstream.encode(assembled.image), assembled.functions, tuple(failures),
                          clock.monotonic() - start, bool(request.early), assembled.span, exact)
        failures.append(f"II {ii}: {reason}")
    raise NotMapped(f"{graph.name} was not mapped on {arch.rows}x{arch.cols}: "
                       f"{bound.binding(graph)}; {'; '.join(failures)}")


def _attempt(request: Request, ii: int, thorough: bool) -> tuple[Routed | None, bool, str]:
    """A mapping at an II and whether it was searched exactly, or why none was found.

    ``thorough``: several attempts for a large graph, too.
    """
    reason, size = "no schedule was found", len(request.graph.operations)
    efforts = EFFORTS if size <= MOST_EXACT else LARGE_EFFORTS if thorough else LARGE_EFFORTS[:1]
    tired = False
    for attempt, effort in enumerate(efforts):
        if tired and effort == EXACT:
            continue
        # Another seed, so that what comes is really different.
        now = replace(request, seed=len(EFFORTS) * request.seed + attempt)
        placed = schedule(now, ii) if effort == EXACT else \
            anneal(now, ii, effort, FEW if size <= MOST_EXACT else AGAIN)
        if isinstance(placed, Placed):
            found = negotiate(now, placed)
            if isinstance(found, Routed):
                return found, effort == EXACT, ""
            reason = found.reason
            if found.hopeless:
                break
        elif placed.proven:
            return None, True, "there is no schedule within the latency allowed"
        else:
            # The exact search would take as long again.
            tired |= effort == EXACT
    return None, False, reason
