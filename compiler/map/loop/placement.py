"""A modulo schedule with placement as arrays, the constraints on it, and moves of annealing.

The modulo reservation table (B. R. Rau, "Iterative modulo scheduling", MICRO 27, 1994) has a slot
for each tile and cycle modulo II; a dependence has slack if its cycles are enough for its route.
"""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.ir.dataflow import Dataflow, Edge
from compiler.map.loop.kernel import Integer, inlined, kernel
from compiler.map.loop.schedule import Placed, Request, Scarce, Window
from spu.arch.params import STAGES

#: What a dependence counts for: latency alone, latency and wire length, latency with a route, wire
#: length alone.
ORDER, ROUTED, TIMED, NEAR = 0, 1, 2, 3
#: Least cycles of a dependence that has none.
NEVER = -(1 << 40)
#: Share of moves next to the other end of one of an operation's dependences; chosen, not tuned.
LOCAL = 0.9
#: Instead of the number of a thing.
NOTHING = np.int64(-1)
#: In place of an operation: none, and a move that is not allowed.
NOBODY, REFUSED = np.int64(-1), np.int64(-2)
#: A dependence: operations at its ends; cycles that its distance gives; least cycles between the
#: ends, and with a route, but for its hops; what it counts for.
DEPENDENCE = np.dtype(
    [
        ("src", np.int64),
        ("dst", np.int64),
        ("offset", np.int64),
        ("latency", np.int64),
        ("route_latency", np.int64),
        ("kind", np.int64),
    ],
    align=True,
)


class Constraints(NamedTuple):
    """What modulo schedules keep to, for operations and tiles numbered in their order."""

    #: Initiation interval, cycles.
    ii: int
    #: Columns of the grid.
    cols: int
    #: Hops that an operation's own latency includes.
    free_hops: int
    #: (dependences,) of ``DEPENDENCE``.
    dependence: NDArray
    #: (operations + 1,) int64: where in ``incident`` an operation's dependences begin.
    incident_begin: NDArray
    #: int64: numbers of dependences, by operation.
    incident: NDArray
    #: (operations,) int64: earliest and latest cycle.
    asap: NDArray
    alap: NDArray
    #: (operations,) int64: class of operations that the same tiles take, those of fewest first.
    tile_class: NDArray
    #: (classes, tiles) bool.
    allowed: NDArray
    #: (operations,) bool: needs its tile's guard, since it would make words too early.
    guarded: NDArray
    #: (kinds, operations) int64: the scarce thing that an operation needs, or ``NOTHING``.
    need: NDArray
    #: (kinds,) int64: different things that a tile holds.
    held: NDArray


class Placement(NamedTuple):
    """A modulo schedule with placement, partial or whole."""

    #: (operations,) int64: cycle in iteration 0.
    time: NDArray
    #: (operations,) int64.
    tile: NDArray
    #: (tiles, ii) int64, the modulo reservation table: an operation, or ``NOBODY``.
    reservation: NDArray
    #: (tiles, stages) int64: how many guarded operations.
    guards: NDArray


class Slack(NamedTuple):
    """Cycles that a dependence is short of, hops between its ends, cycles that it has."""

    short: Integer
    hops: Integer
    between: Integer


class Proposal(NamedTuple):
    """A move: who is in the way (``NOBODY``, ``REFUSED``), a cycle and a tile, and a cycle for the
    one in the way, whose tile is the one that becomes free."""

    other: Integer
    time: Integer
    tile: Integer
    other_time: Integer


def constraints_of(request: Request, ii: int, window: Window) -> Constraints:
    """The constraints of a request, as arrays."""
    grid, graph = request.grid, request.graph
    number = {n: i for i, n in enumerate(graph.operations)}
    table = _dependences(request, ii)
    incident: list[list[int]] = [[] for _ in number]
    for i, (src, dst, *_) in enumerate(table):
        incident[src].append(i)
        incident[dst].append(i)
    wanted = [grid.takes(graph.nodes[n].op) for n in graph.operations]
    classes = sorted(set(wanted), key=lambda tiles: (len(tiles), sorted(tiles)))
    sources = frozenset(graph.sources)
    return Constraints(
        ii,
        grid.cols,
        request.early,
        np.array(table, DEPENDENCE),
        np.cumsum([0, *map(len, incident)]),
        np.array([i for part in incident for i in part], np.int64),
        np.array([window[n][0] for n in number], np.int64),
        np.array([window[n][1] for n in number], np.int64),
        np.array([classes.index(tiles) for tiles in wanted]),
        np.array([[tile in tiles for tile in grid.tiles] for tiles in classes]),
        np.array([n in sources for n in number]),
        np.array([_things(scarce, number) for scarce in request.scarce], np.int64).reshape(
            -1, len(number)
        ),
        np.array([scarce.most for scarce in request.scarce], np.int64),
    )


def _things(scarce: Scarce, operations: Iterable[int]) -> list[int]:
    """What each operation needs, numbered."""
    number: dict[Hashable, int] = {}
    return [
        number.setdefault(scarce.of[n], len(number)) if n in scarce.of else int(NOTHING)
        for n in operations
    ]


def dependence_numbers(graph: Dataflow) -> dict[Edge, int]:
    """Number of each edge in ``Constraints.dependence``."""
    return {e: i for i, e in enumerate(e for e in graph.dependences if e.src != e.dst)}


def _dependences(request: Request, ii: int) -> list[tuple[int, ...]]:
    number = {n: i for i, n in enumerate(request.graph.operations)}
    out, near = list[tuple[int, ...]](), list[tuple[int, ...]]()
    for e in dependence_numbers(request.graph):
        station = request.graph.stations.get(e)
        kind = ORDER if station is None else ROUTED if station == e.src else TIMED
        out.append(
            (
                number[e.src],
                number[e.dst],
                ii * e.distance,
                request.least(e),
                request.least_routed(e),
                kind,
            )
        )
        if kind == TIMED and station != e.dst:
            assert station is not None
            near.append((number[station], number[e.dst], 0, NEVER, NEVER, NEAR))
    return out + near


def empty_placement(constraints: Constraints) -> Placement:
    """A placement of no operations."""
    count, tiles = len(constraints.tile_class), constraints.allowed.shape[1]
    return Placement(
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full((tiles, constraints.ii), NOBODY, np.int64),
        np.zeros((tiles, STAGES), np.int64),
    )


def placement_of(request: Request, constraints: Constraints, placed: Placed) -> Placement:
    """A schedule as arrays."""
    placement, cols = empty_placement(constraints), request.grid.cols
    for i, n in enumerate(request.graph.operations):
        row, col = placed.tile[n]
        place(constraints, placement, i, placed.time[n], row * cols + col)
    return placement


def placed_of(request: Request, constraints: Constraints, placement: Placement) -> Placed:
    """Inverse of ``placement_of``."""
    order, tiles = request.graph.operations, request.grid.tiles
    return Placed(
        constraints.ii,
        {n: int(placement.time[i]) for i, n in enumerate(order)},
        {n: tiles[placement.tile[i]] for i, n in enumerate(order)},
    )


@inlined
def place(constraints, placement, n, time, tile):
    """Reserve a slot for an operation that has none."""
    placement.time[n], placement.tile[n] = time, tile
    placement.reservation[tile, time % constraints.ii] = n
    placement.guards[tile, time // constraints.ii] += constraints.guarded[n]


@inlined
def swap(constraints, placement, n, time, tile, other, other_time):
    """Move an operation, and what is in its way, or ``NOBODY``, to where it was."""
    ii, was, at = constraints.ii, placement.time[n], placement.tile[n]
    placement.guards[at, was // ii] -= constraints.guarded[n]
    placement.reservation[at, was % ii] = NOBODY
    if other >= 0:
        placement.guards[tile, placement.time[other] // ii] -= constraints.guarded[other]
        place(constraints, placement, other, other_time, at)
    place(constraints, placement, n, time, tile)


@inlined
def slack(constraints, placement, edge):
    """``Slack`` of a dependence."""
    src, dst, need = edge.src, edge.dst, edge.latency
    between = placement.time[dst] + edge.offset - placement.time[src]
    hops = 0
    if edge.kind != ORDER:
        a, b, cols = placement.tile[src], placement.tile[dst], constraints.cols
        hops = abs(a // cols - b // cols) + abs(a % cols - b % cols)
        need = max(need, edge.route_latency + hops)
    return Slack(max(need - between, 0), hops, between)


@kernel
def guard_conflicts(placement, tile):
    """Stages that guarded operations of a tile are in beyond the first: a tile has one guard."""
    used = 0
    for count in placement.guards[tile]:
        used += count > 0
    return max(used - 1, 0)


@kernel
def excess(constraints, placement, tile):
    """Different scarce things that a tile would need and does not hold."""
    over = 0
    for kind in range(len(constraints.held)):
        different = 0
        for slot in range(constraints.ii):
            n = placement.reservation[tile, slot]
            if n == NOBODY or constraints.need[kind, n] == NOTHING:
                continue
            new = True
            for before in range(slot):
                m = placement.reservation[tile, before]
                if m != NOBODY and constraints.need[kind, m] == constraints.need[kind, n]:
                    new = False
            different += new
        over += max(different - constraints.held[kind], 0)
    return over


@inlined
def propose(constraints, placement, n, anywhere):
    """A random move of an operation, as ``Proposal``.

    The tile is next to one at the other end of a dependence, or else ``anywhere``, or next to its
    own.
    """
    ii, cols, tiles = constraints.ii, constraints.cols, constraints.allowed.shape[1]
    time, tile = placement.time[n], placement.tile[n]
    refused = Proposal(REFUSED, time, tile, time)
    near, local = tile, True
    begin, end = constraints.incident_begin[n], constraints.incident_begin[n + 1]
    if end > begin and np.random.random() < LOCAL:
        edge = constraints.dependence[constraints.incident[np.random.randint(begin, end)]]
        near = placement.tile[edge.src + edge.dst - n]
    else:
        local = not anywhere
    if local:
        row = near // cols + np.random.randint(-1, 2)
        col = near % cols + np.random.randint(-1, 2)
        if not (0 <= row < tiles // cols and 0 <= col < cols):
            return refused
        new_tile = row * cols + col
    else:
        new_tile = np.random.randint(tiles)
    if not constraints.allowed[constraints.tile_class[n], new_tile]:
        return refused
    new_time = _random_time(constraints, placement, n)
    if new_time == time and new_tile == tile:
        return refused
    other = placement.reservation[new_tile, new_time % ii]
    if other in (NOBODY, n):
        return Proposal(NOBODY, new_time, new_tile, time)
    # The nearest cycle of the slot that becomes free.
    other_time = placement.time[other] + time % ii - new_time % ii
    if other_time < constraints.asap[other]:
        other_time += ii
    if other_time > constraints.alap[other]:
        other_time -= ii
    if (
        other_time < constraints.asap[other]
        or not constraints.allowed[constraints.tile_class[other], tile]
    ):
        return refused
    return Proposal(other, new_time, new_tile, other_time)


@inlined
def _random_time(constraints, placement, n):
    """A cycle in which no dependence of an operation is short, if there is one, else near that."""
    low, high = constraints.asap[n], constraints.alap[n]
    lower, upper = low, high
    for k in range(constraints.incident_begin[n], constraints.incident_begin[n + 1]):
        edge = constraints.dependence[constraints.incident[k]]
        if edge.dst == n:
            lower = max(lower, placement.time[edge.src] + edge.latency - edge.offset)
        else:
            upper = min(upper, placement.time[edge.dst] + edge.offset - edge.latency)
    if upper < lower:
        lower = max(low, min(lower, upper) - 1)
        upper = min(high, max(lower, upper) + 1)
        if upper < lower:
            lower, upper = low, high
    return np.random.randint(lower, min(upper, lower + 2 * constraints.ii) + 1)
