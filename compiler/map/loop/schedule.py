"""Modulo schedules with placement: what is asked, mobility of operations, and the exact search.

The exact search gives each operation a cycle and a tile by constraint programming (CP-SAT), or
proves that there is no schedule at an II.  Its constraints are those of modulo scheduling (B. R.
Rau, "Iterative modulo scheduling", MICRO 27, 1994), dependences and one operation a slot of the
modulo reservation table, with time for the hops between tiles.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ortools.sat.python import cp_model

from compiler.ir.dataflow import Dataflow, Edge
from compiler.map.loop.budget import MOST_SECONDS, Budget
from compiler.map.loop.cycles import longest_paths
from spu.arch import timing
from spu.arch.params import REGISTERS, STAGES
from spu.arch.program import Tile

#: Deterministic seconds that a search may take, and those that shorten the routes; chosen, not
#: tuned.
FIND, SHORTEN = 1.5, 0.3
#: A hop costs as much as this many cycles of waiting: links are fewer than registers; chosen, not
#: tuned.
HOP_CYCLES = 4
#: Mobility: by operation, earliest and latest cycle.
Window = Mapping[int, tuple[int, int]]
#: Cycles beyond the longest path that an iteration may take, in initiation intervals; chosen, not
#: tuned.
SPARE_STAGES = 2


@dataclass(frozen=True)
class Grid:
    """Tiles, and for operations that not all of them take, those that do."""

    rows: int
    cols: int
    places: Mapping[str, frozenset[Tile]]

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """All tiles, row by row."""
        return tuple((r, c) for r in range(self.rows) for c in range(self.cols))

    def takes(self, op: str) -> frozenset[Tile]:
        """Tiles that take an operation."""
        return self.places.get(op, self.all_tiles)

    @cached_property
    def all_tiles(self) -> frozenset[Tile]:
        """All tiles, as a set."""
        return frozenset(self.tiles)

    def part(self, rows: int, cols: int) -> "Grid":
        """The first rows and columns of it."""
        inside = frozenset((r, c) for r in range(rows) for c in range(cols))
        return Grid(rows, cols, {op: tiles & inside for op, tiles in self.places.items()})


@dataclass(frozen=True)
class Placed:
    """A modulo schedule with placement: cycle of iteration 0 and tile of each operation."""

    ii: int
    time: dict[int, int]
    tile: dict[int, Tile]


@dataclass(frozen=True)
class Scarce:
    """Things of which a tile holds at most so many different ones: by operation, what it needs."""

    name: str
    most: int
    of: Mapping[int, Hashable]


@dataclass(frozen=True)
class Failure:
    """Why there is no schedule: it is ``proven`` that there is none, or work ran out."""

    proven: bool


@dataclass(frozen=True)
class Request:
    """What is to be scheduled.

    ``latency``: cycles from an operation to those that take its word.  ``early``: cycles before
    that in which the word can already go on its way.
    ``registered``: edges whose word waits in a register of the consumer's tile, for operand c;
    ``free_choice``: of three words, any may.
    ``leaving``: cycles of an iteration after its last operation, in which a word may leave.
    ``registers``: of a tile; a program can name ``REGISTERS``.
    ``scarce``: things of operations of which a tile holds few.
    ``budget``: time for all searches; they raise ``OutOfTimeError`` when it is over.
    """

    graph: Dataflow
    grid: Grid
    latency: Mapping[int, int]
    early: int = 0
    registered: frozenset[Edge] = frozenset()
    free_choice: bool = False
    seed: int = 0
    leaving: int = 0
    registers: int = REGISTERS
    scarce: tuple[Scarce, ...] = ()
    budget: Budget = field(default_factory=lambda: Budget(MOST_SECONDS), compare=False)

    def ready(self, n: int) -> int:
        """Cycles from an operation to its word being at the crossbar."""
        return self.latency[n] - self.early

    def least(self, edge: Edge) -> int:
        """Least cycles between the operations at the ends of an edge."""
        write = timing.WRITE if edge in self.registered else 0
        return max(self.latency[edge.src], self.ready(edge.src) + write)

    def least_routed(self, edge: Edge) -> int:
        """Least cycles between them with a route, but for its hops."""
        return self.ready(edge.src) + timing.WRITE * (edge in self.registered)


def constraint_arcs(request: Request, ii: int) -> list[tuple[int, int, int]]:
    """Dependences as arcs: source, destination, least cycles between them at an II.

    In an order in which longest paths settle soon.
    """
    return [
        (e.src, e.dst, request.least(e) - ii * e.distance)
        for e in request.graph.dependences_in_order
    ]


def asap(request: Request, ii: int) -> dict[int, int] | None:
    """Earliest cycle of each operation (ASAP), None if a recurrence is too long for the II."""
    early = dict.fromkeys(request.graph.operations, 0)
    arcs = constraint_arcs(request, ii)
    return early if longest_paths(early, arcs, request.budget.check) else None


def mobility(request: Request, ii: int, spare: int | None = SPARE_STAGES) -> Window | None:
    """Earliest and latest cycle of each operation (ASAP, ALAP), None if there is none for some.

    ``spare``: initiation intervals beyond the longest path that an iteration may take, None for
    as many as there are stages.
    """
    early = asap(request, ii)
    if early is None:
        return None
    end = STAGES * ii - 1 - request.leaving
    if spare is not None:
        end = min(end, max(early.values()) + spare * ii + request.grid.rows + request.grid.cols)
    before = dict.fromkeys(early, -end)
    arcs = [(d, s, w) for s, d, w in reversed(constraint_arcs(request, ii))]
    longest_paths(before, arcs, request.budget.check)
    if any(early[n] > -before[n] for n in early):
        return None
    return {n: (early[n], -before[n]) for n in early}


def choose_registered(request: Request, ii: int) -> Request:
    """Of three words into an operation, choose the one that waits in a register.

    The one that can be there first of those that make no cycle too long for the II.
    """
    wide = request.graph.wide
    request = replace(request, free_choice=True)
    window = mobility(request, ii) if wide else None
    for words in wide.values():
        choices = []
        for edge in words:
            trial = replace(request, registered=request.registered | {edge})
            if not request.early:  # the first hop hides the time of a register
                window = mobility(trial, ii)
            if window is not None:
                choices.append(
                    (
                        window[edge.dst][0],
                        window[edge.src][0] - ii * edge.distance,
                        edge.operand,
                        trial,
                    )
                )
        if choices:
            request = min(choices, key=lambda choice: choice[:-1])[-1]
        else:
            request = replace(request, registered=request.registered | {words[-1]})
        request.budget.spend(0)
    return request


class _Model:
    """Variables of every operation, and the rules they follow."""

    def __init__(self, request: Request, ii: int, window: Window) -> None:
        self.request, self.ii = request, ii
        self.model = model = cp_model.CpModel()
        grid, graph = request.grid, request.graph
        self.count = count = grid.rows * grid.cols
        self.row, self.col, self.time, self.stage, self.number = (
            dict[int, cp_model.IntVar]() for _ in range(5)
        )
        keys = []  # slots of the modulo reservation table
        for n in graph.operations:
            low, high = window[n]
            row = self.row[n] = model.new_int_var(0, grid.rows - 1, f"row{n}")
            col = self.col[n] = model.new_int_var(0, grid.cols - 1, f"col{n}")
            self.time[n] = model.new_int_var(low, high, f"time{n}")
            slot = model.new_int_var(0, ii - 1, f"slot{n}")
            self.stage[n] = model.new_int_var(low // ii, high // ii, f"stage{n}")
            model.add(self.time[n] == ii * self.stage[n] + slot)
            domain = cp_model.Domain.from_values(
                sorted(r * grid.cols + c for r, c in grid.takes(graph.nodes[n].op))
            )
            self.number[n] = model.new_int_var_from_domain(domain, f"tile{n}")
            model.add(self.number[n] == grid.cols * row + col)
            key = model.new_int_var(0, ii * count - 1, f"key{n}")
            model.add(key == count * slot + self.number[n])
            keys.append(key)
        model.add_all_different(keys)
        self.waits: list[cp_model.LinearExpr] = []
        self.lengths: list[cp_model.IntVar] = []
        for edge in graph.dependences:
            self._dependence(edge)
        stages = [model.new_int_var(0, STAGES - 1, f"guard{p}") for p in range(count)]
        # Sources of a tile are in one stage: a tile has one guard for operations.
        for n in graph.sources:
            model.add_element(self.number[n], stages, self.stage[n])

    def _dependence(self, edge: Edge) -> None:
        """A word has the cycles that its route takes."""
        model, request = self.model, self.request
        if edge.src == edge.dst:
            if self.ii * edge.distance < request.least(edge):
                model.add_bool_or([])
            return
        between = self.time[edge.dst] + self.ii * edge.distance - self.time[edge.src]
        model.add(between >= request.least(edge))
        if edge.kind == "order":
            return
        hops = self._hops(edge.src, edge.dst)
        model.add(between >= request.least_routed(edge) + timing.HOP * hops)
        station = request.graph.stations[edge]
        if station == edge.src:
            self.waits.append(between)
        elif station != edge.dst:
            hops = self._hops(station, edge.dst)
        # Beyond the hop that an operation's cycle includes; next door is as near as at home.
        far = model.new_int_var(0, request.grid.rows + request.grid.cols, "far")
        model.add(far >= hops - request.early)
        self.lengths.append(far)

    def _hops(self, src: int, dst: int) -> cp_model.LinearExpr:
        """At least the hops between two operations."""
        along = []
        for axis, size in ((self.row, self.request.grid.rows), (self.col, self.request.grid.cols)):
            hops = self.model.new_int_var(0, size - 1, "hops")
            self.model.add(hops >= axis[src] - axis[dst])
            self.model.add(hops >= axis[dst] - axis[src])
            along.append(hops)
        return along[0] + along[1]

    def solve(self) -> cp_model.CpSolver | Failure:
        """Any schedule."""
        solver = solver_for(self.request, FIND)
        status = solver.solve(self.model)
        self.request.budget.spend_exact(solver.response_proto.deterministic_time)
        if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return solver
        return Failure(status == cp_model.INFEASIBLE)

    def shorten(self, known: cp_model.CpSolver) -> cp_model.CpSolver:
        """The schedule with the shortest waits and routes that is found from a known one."""
        wires = (HOP_CYCLES * length for length in self.lengths)
        cost = cp_model.LinearExpr.sum([*self.waits, *wires])
        self.model.minimize(cost)
        for i in range(len(self.model.proto.variables)):
            variable = self.model.get_int_var_from_proto_index(i)
            self.model.add_hint(variable, known.value(variable))
        solver = solver_for(self.request, SHORTEN)
        status = solver.solve(self.model)
        self.request.budget.spend_exact(solver.response_proto.deterministic_time)
        return solver if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else known

    def placed(self, solver: cp_model.CpSolver) -> Placed:
        order = self.request.graph.operations
        return Placed(
            self.ii,
            {n: solver.value(self.time[n]) for n in order},
            {n: (solver.value(self.row[n]), solver.value(self.col[n])) for n in order},
        )


def solver_for(request: Request, limit: float) -> cp_model.CpSolver:
    """One worker and deterministic time: the same answer everywhere, if the clock does not stop it.

    ``limit`` in deterministic seconds.
    """
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = request.seed
    deterministic, seconds = request.budget.limits(limit)
    solver.parameters.max_deterministic_time = deterministic
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.linearization_level = 0  # nothing here is helped by relaxations
    return solver


def schedule(request: Request, ii: int) -> Placed | Failure:
    """A modulo schedule with placement at an II; words have the time for their hops, if links are
    free."""
    window = mobility(request, ii)
    if window is None:
        return Failure(True)
    model = _Model(request, ii, window)
    found = model.solve()
    if isinstance(found, Failure):
        return found
    return model.placed(model.shorten(found))
