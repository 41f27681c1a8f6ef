"""From a dataflow graph to a checked program: II from the bound upward."""

import re
from collections.abc import Callable
from dataclasses import replace

from compiler.check.loop import check_loop
from compiler.errors import CompileError
from compiler.ir.dataflow import MAX_OPERANDS, Dataflow, from_json
from compiler.ir.operations import check_kernel, mode_of, places
from compiler.map.loop.budget import MOST_SECONDS, SECONDS, Budget, OutOfTimeError
from compiler.map.loop.contexts import CODES, EMITTED, assemble
from compiler.map.loop.ii_search import EFFORTS, IISearch, map_at_ii, search_ii
from compiler.map.loop.kernel import complete, note_complete
from compiler.map.loop.lower_bound import LowerBound, lower_bound
from compiler.map.loop.mapped import Mapped
from compiler.map.loop.schedule import Grid, Request, Scarce, choose_registered
from compiler.passes.legalise import legalise
from spu.arch import bitstream, timing
from spu.arch.operations import CONSTANT, OPERATIONS
from spu.arch.params import CONFIGS, CONSTANTS, MODES, STAGES, Architecture

#: Columns whose tiles have a data memory.
MEMORY_COLUMNS = ("west", "both", "all")
#: Contexts of a tile of ``grid_architecture``: the largest II.
CONTEXTS = 64
#: Iterations that a program is executed for before it is handed out; chosen, not tuned.
ITERATIONS = 100
#: Seconds that an operation and its routes take in an iteration of that; measured on
#: verif/stimulus/dataflows.py: 4e-6.
SECONDS_PER_STEP = 8e-6


class NotMapped(CompileError):
    """A graph that is too large for an array, or for the search in its time."""


def parse_grid(text: str) -> tuple[int, int]:
    """Rows and columns of ``4x4``; ``CompileError`` for another form."""
    match = re.fullmatch(r"(\d{1,3})x(\d{1,3})", text)
    if not match:
        raise CompileError(f"a grid is rows x columns like 4x4, not {text!r}")
    return int(match[1]), int(match[2])


def grid_architecture(rows: int, cols: int, memory_columns: str) -> Architecture:
    """An array for dataflow graphs: tiles with memory in some columns, the rest without.

    Raises ``CompileError`` for columns that are none of ``MEMORY_COLUMNS``, and for a number of
    rows or columns that no array has.
    """
    if memory_columns not in MEMORY_COLUMNS:
        raise CompileError(
            f"memory columns must be one of {', '.join(MEMORY_COLUMNS)}, not {memory_columns!r}"
        )
    chosen = {"west": {0}, "both": {0, cols - 1}, "all": set(range(cols))}[memory_columns]
    row = "".join("V" if c in chosen else "v" for c in range(cols))
    base = CONFIGS["basic"]
    try:
        return Architecture(
            f"grid-{rows}x{cols}-{memory_columns}",
            (row,) * rows,
            base.lanes,
            base.columns,
            CONTEXTS,
            base.memory_words,
            base.weight_rows,
        )
    except ValueError as error:
        raise CompileError(str(error)) from None


def map_dataflow(
    graph: Dataflow,
    arch: Architecture,
    unit_latency: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    seconds: float = SECONDS,
) -> Mapped:
    """Map a graph with uninterpreted operations of one cycle, and execute the program on tokens.

    ``unit_latency``: on an idealised array, in which an operation's word is at the neighbours
    one cycle later: its way over the first link is part of the operation's cycle.  ``seconds``:
    when the search is stopped.

    Raises
    ------
    CompileError: the graph is too large, or no mapping was found; names what binds, and what was
        in the way.
    """
    prepare()
    legal, budget = legalise(graph), Budget(seconds)
    iterations = _iterations(legal)
    budget.keep(len(legal.operations) * (iterations + STAGES) * SECONDS_PER_STEP)
    mapped = _map(
        graph,
        _uninterpreted(graph, arch, unit_latency, seed, budget),
        _uninterpreted(legal, arch, unit_latency, seed, budget),
        arch,
        iterations,
        False,
        progress,
    )
    check_loop(mapped)
    return replace(mapped, seconds=budget.spent)


def prepare(tell: Callable[[], None] = lambda: None) -> None:
    """Compile the searches, once on a machine: no budget pays for that."""
    if complete():
        return
    tell()
    body = from_json(
        {
            "nodes": [{"id": i, "op": "x"} for i in range(2)],
            "edges": [{"src": 0, "dst": 1, "distance": distance} for distance in range(3)],
        }
    )
    request = _uninterpreted(body, grid_architecture(2, 2, "all"), True, 0, Budget(3600))
    map_at_ii(choose_registered(request, 1), 3, EFFORTS[:1])
    note_complete()


def _iterations(graph: Dataflow) -> int:
    """Iterations that a program is executed for: all words of before the first ones are gone."""
    return max(ITERATIONS, STAGES + 2 * max((e.distance for e in graph.edges), default=0))


def minimum_ii(
    graph: Dataflow,
    arch: Architecture,
    kernel: bool = False,
    unit_latency: bool = True,
    seconds: float = MOST_SECONDS,
) -> LowerBound:
    """What is proven about a graph on an array, without search, in so many seconds.

    Raises ``CompileError`` where an operation has no tile.
    """
    request = (
        _kernel(graph, arch, 0, Budget(seconds))
        if kernel
        else _uninterpreted(graph, arch, unit_latency, 0, Budget(seconds))
    )
    return lower_bound(request, arch.contexts, search=False)


def _uninterpreted(
    graph: Dataflow, arch: Architecture, unit_latency: bool, seed: int, budget: Budget
) -> Request:
    memory = dict.fromkeys(graph.memory, frozenset(arch.memory_tiles))
    scarce = [_constants(graph)]
    # A tile tells so many operations apart, which matters where it has more slots.
    kinds = {
        n: n
        if n in graph.wide
        else (
            graph.nodes[n].op,
            tuple((graph.nodes[e.src].op == CONSTANT, e.distance > 0) for e in edges),
        )
        for n, edges in graph.operands.items()
    }
    if arch.contexts >= CODES and len(set(kinds.values())) >= CODES:
        scarce.append(Scarce("different operations", CODES - 1, kinds))
    return Request(
        graph,
        Grid(arch.rows, arch.cols, memory),
        dict.fromkeys(graph.operations, timing.ALU),
        int(unit_latency),
        seed=seed,
        scarce=tuple(scarce),
        budget=budget,
    )


def _constants(graph: Dataflow) -> Scarce:
    return Scarce(
        "constants",
        CONSTANTS,
        {e.dst: e.src for e in graph.edges if graph.nodes[e.src].op == CONSTANT},
    )


def ii_with_registers(
    graph: Dataflow, arch: Architecture, unit_latency: bool, registers: int, below: int
) -> int | None:
    """II at which a graph would be mapped if tiles had so many registers, if less than ``below``.

    Schedules and routes as ``map_dataflow`` does; there is no program, since contexts cannot name
    more registers than ``REGISTERS``.
    """
    prepare()
    request = replace(
        _uninterpreted(legalise(graph), arch, unit_latency, 0, Budget()), registers=registers
    )
    first = lower_bound(request, arch.contexts).ii
    request = choose_registered(request, first)
    made = search_ii(request, first, below - 1, lambda _: None)
    return made.best.placed.ii if made.best else None


def map_kernel(
    graph: Dataflow,
    arch: Architecture,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    seconds: float | None = None,
) -> Mapped:
    """Map a graph of the array's own operations (``OPERATIONS``), and execute it on tokens.

    The words of all ``in`` of a tile are one stream, in the order of their cycles; ``out`` alike.
    ``seconds``: when the clock stops the search; None: it is stopped by its work, and the result
    depends on what is given alone.

    Raises
    ------
    CompileError: as for ``map_dataflow``; an array of several regions; an operation that the array
        does not have, or with another number of operands.
    """
    if arch.region_count > 1:
        raise CompileError(f"{arch.name} has {arch.region_count} regions, a kernel takes one")
    check_kernel(graph)
    prepare()
    legal = legalise(graph)
    budget = Budget(clocked=False) if seconds is None else Budget(seconds)
    mapped = _map(
        graph,
        _kernel(graph, arch, seed, budget),
        _kernel(legal, arch, seed, budget),
        arch,
        _iterations(legal),
        True,
        progress,
    )
    check_loop(mapped)
    return mapped


def _kernel(graph: Dataflow, arch: Architecture, seed: int, budget: Budget) -> Request:
    latency = {n: OPERATIONS[graph.nodes[n].op].latency for n in graph.operations}
    # The third operand is the one in a register.
    third = frozenset(e for edges in graph.operands.values() for e in edges[MAX_OPERANDS - 1 :])
    mode = {n: mode_of(graph, n) for n in graph.operations}
    modes = Scarce(
        "vector modes",
        MODES,
        {n: tuple(fields.items()) for n, fields in mode.items() if fields is not None},
    )
    return Request(
        graph,
        Grid(arch.rows, arch.cols, places(arch)),
        latency,
        registered=third,
        seed=seed,
        leaving=EMITTED,
        scarce=(_constants(graph), modes),
        budget=budget,
    )


def _map(
    graph: Dataflow,
    given: Request,
    request: Request,
    arch: Architecture,
    iterations: int,
    kernel: bool,
    progress: Callable[[str], None],
) -> Mapped:
    """Map ``request``, the legalised form of ``given``."""
    most, tiles = arch.contexts, len(request.grid.tiles)
    progress("bounds")
    least = lower_bound(given, most)
    if least.ii > most:
        raise NotMapped(_too_large(least, arch))
    for scarce in request.scarce:
        if (different := len(set(scarce.of.values()))) > scarce.most * tiles:
            raise NotMapped(
                f"{graph.name} has {different} {scarce.name}, {tiles} tiles hold {scarce.most} each"
            )
    legal = lower_bound(request, most) if len(request.graph.nodes) > len(graph.nodes) else least
    if legal.ii > most:
        raise NotMapped(f"{_added(given, request)}: {_too_large(legal, arch)}")
    try:
        if not kernel:
            request = choose_registered(request, legal.ii)
        made = search_ii(request, legal.ii, most, progress)
    except OutOfTimeError:
        made = IISearch(stopped=True)
    failures = [f"II {ii}: {reason}" for ii, reason in sorted(made.failures.items())]
    if legal.ii > least.ii:
        failures.insert(0, f"II {least.ii}: {_added(given, request)}, and {legal.what}")
    if made.stopped:
        failures.append(given.budget.stopped)
    if made.best is None:
        raise NotMapped(
            f"{graph.name} was not mapped on {arch.rows}x{arch.cols}: no II below "
            f"{least.ii} is possible: {least.what}; {'; '.join(failures[-2:])}"
        )
    found = made.best
    assembled = assemble(
        replace(request, registered=found.registered), found.placed, found.routes, arch, kernel
    )
    return Mapped(
        graph,
        request.graph,
        arch,
        least,
        legal.bounds.mii,
        found.placed,
        found.routes,
        bitstream.encode(assembled.image),
        assembled.functions,
        tuple(f for f in failures),
        given.budget.spent,
        bool(request.early),
        assembled.span,
        made.exact,
        iterations,
    )


def _too_large(least: LowerBound, arch: Architecture) -> str:
    return f"{least.what}: needs an II of {least.ii}, a tile has {arch.contexts} contexts"


def _added(given: Request, request: Request) -> str:
    """What legalisation added."""
    added = [str(node) for n, node in request.graph.nodes.items() if n not in given.graph.nodes]
    more = f" and {len(added) - 3} more" if len(added) > 3 else ""
    return f"legalisation adds {', '.join(added[:3])}{more}"
