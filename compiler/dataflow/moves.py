"""Kernels that move operations: what may go where, and what is in its place."""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.graph import Dataflow, Edge
from compiler.dataflow.kernel import inlined, kernel
from compiler.dataflow.schedule import Placed, Request, Scarce, Window
from spu.arch.params import STAGES

#: What an edge counts for: being in time, in time and near, in time with a way, near.
ORDER, WORD, TIMELY, NEAR = 0, 1, 2, 3
NEVER = -(1 << 40)
#: Share of moves next to an operation that gives or takes a word.
LOCAL = 0.9
#: Instead of the number of a thing.
NOTHING = np.int64(-1)
#: In place of an operation: none, and a move that is not allowed.
NOBODY, REFUSED = np.int64(-1), np.int64(-2)


class Rules(NamedTuple):
    """What schedules keep to.  Operations and tiles are numbered in their order.

    ``table``: rows of an edge's source, destination, cycles that its distance gives, least cycles
    without and with the way, and what counts; ``edges``: those of each operation, from ``first``.
    ``window`` (operation, 2): earliest and latest cycle.  ``group`` of each operation, the
    choosiest first, and ``allowed`` (group, tile).  ``source``: operations that need their tile's
    guard.  ``thing`` (kind, operation): what it needs in its tile, or ``NOTHING``, of which a tile
    holds at most so many different.  ``cols`` of the grid; ``early``: hops of an operation's own
    cycle.
    """

    ii: int
    cols: int
    early: int
    table: NDArray
    first: NDArray
    edges: NDArray
    window: NDArray
    group: NDArray
    allowed: NDArray
    source: NDArray
    thing: NDArray
    most: NDArray


class Places(NamedTuple):
    """Cycle and tile of each operation, who is ``there`` (tile, slot), sources (tile, stage)."""

    time: NDArray
    tile: NDArray
    there: NDArray
    guards: NDArray


def rules(request: Request, ii: int, window: Window) -> Rules:
    """The rules of a request, as arrays."""
    grid, graph = request.grid, request.graph
    number = {n: i for i, n in enumerate(graph.operations)}
    table = _table(request, ii)
    around: list[list[int]] = [[] for _ in number]
    for i, (src, dst, *_) in enumerate(table):
        around[src].append(i)
        around[dst].append(i)
    wanted = [grid.takes(graph.nodes[n].op) for n in graph.operations]
    groups = sorted(set(wanted), key=lambda tiles: (len(tiles), sorted(tiles)))
    sources = frozenset(graph.sources)
    return Rules(
        ii, grid.cols, request.early, np.array(table, np.int64).reshape(-1, 6),
        np.cumsum([0, *map(len, around)]),
        np.array([i for part in around for i in part], np.int64),
        np.array([window[n] for n in number], np.int64),
        np.array([groups.index(tiles) for tiles in wanted]),
        np.array([[tile in tiles for tile in grid.tiles] for tiles in groups]),
        np.array([n in sources for n in number]),
        np.array([_things(scarce, number) for scarce in request.scarce],
                 np.int64).reshape(-1, len(number)),
        np.array([scarce.most for scarce in request.scarce], np.int64))


def _things(scarce: Scarce, operations: Iterable[int]) -> list[int]:
    """What each operation needs, numbered."""
    number: dict[Hashable, int] = {}
    return [number.setdefault(scarce.of[n], len(number)) if n in scarce.of else int(NOTHING)
            for n in operations]


def rows(graph: Dataflow) -> dict[Edge, int]:
    """Row of each edge in ``Rules.table``."""
    return {e: i for i, e in enumerate(e for e in graph.dependences if e.src != e.dst)}


def _table(request: Request, ii: int) -> list[tuple[int, ...]]:
    number = {n: i for i, n in enumerate(request.graph.operations)}
    out, near = list[tuple[int, ...]](), list[tuple[int, ...]]()
    for e in rows(request.graph):
        station = request.graph.stations.get(e)
        kind = ORDER if station is None else WORD if station == e.src else TIMELY
        out.append((number[e.src], number[e.dst], ii * e.distance, request.least(e),
                    request.least_way(e), kind))
        if kind == TIMELY and station != e.dst:
            assert station is not None
            near.append((number[station], number[e.dst], 0, NEVER, NEVER, NEAR))
    return out + near


def nowhere(rules: Rules) -> Places:
    """Places without operations in them."""
    count, tiles = len(rules.group), rules.allowed.shape[1]
    return Places(np.zeros(count, np.int64), np.zeros(count, np.int64),
                  np.full((tiles, rules.ii), NOBODY, np.int64),
                  np.zeros((tiles, STAGES), np.int64))


def places_of(request: Request, rules: Rules, placed: Placed) -> Places:
    """A schedule as arrays."""
    places, cols = nowhere(rules), request.grid.cols
    for i, n in enumerate(request.graph.operations):
        row, col = placed.tile[n]
        put(rules, places, i, placed.time[n], row * cols + col)
    return places


def placed_of(request: Request, rules: Rules, places: Places) -> Placed:
    """Inverse of ``places_of``."""
    order, tiles = request.graph.operations, request.grid.tiles
    return Placed(rules.ii, {n: int(places.time[i]) for i, n in enumerate(order)},
                  {n: tiles[places.tile[i]] for i, n in enumerate(order)})


@inlined
def put(rules, places, n, time, tile):
    """Put an operation that was nowhere."""
    places.time[n], places.tile[n] = time, tile
    places.there[tile, time % rules.ii] = n
    places.guards[tile, time // rules.ii] += rules.source[n]


@inlined
def swap(rules, places, n, time, tile, other, other_time):
    """Put an operation elsewhere, and what is there where that was, or ``NOBODY``."""
    ii, was, at = rules.ii, places.time[n], places.tile[n]
    places.guards[at, was // ii] -= rules.source[n]
    places.there[at, was % ii] = NOBODY
    if other >= 0:
        places.guards[tile, places.time[other] // ii] -= rules.source[other]
        put(rules, places, other, other_time, at)
    put(rules, places, n, time, tile)


@inlined
def late(rules, places, edge):
    """Cycles that an edge is short of, hops of its way, cycles that it has."""
    src, dst, passed, least, ready, kind = edge
    between = places.time[dst] + passed - places.time[src]
    hops = 0
    need = least
    if kind != ORDER:
        a, b, cols = places.tile[src], places.tile[dst], rules.cols
        hops = abs(a // cols - b // cols) + abs(a % cols - b % cols)
        need = max(least, ready + hops)
    return max(need - between, 0), hops, between


@kernel
def stages(places, tile):
    """Stages that sources of a tile are in beyond the first: a tile has one guard."""
    used = 0
    for count in places.guards[tile]:
        used += count > 0
    return max(used - 1, 0)


@kernel
def excess(rules, places, tile):
    """Different things that a tile would need and does not hold."""
    over = 0
    for kind in range(len(rules.most)):
        different = 0
        for slot in range(rules.ii):
            n = places.there[tile, slot]
            if n == NOBODY or rules.thing[kind, n] == NOTHING:
                continue
            new = True
            for before in range(slot):
                m = places.there[tile, before]
                if m != NOBODY and rules.thing[kind, m] == rules.thing[kind, n]:
                    new = False
            different += new
        over += max(different - rules.most[kind], 0)
    return over


@inlined
def propose(rules, places, n, anywhere):
    """Another cycle and tile of an operation, who is there, and a cycle for that one.

    The tile is next to where one of its words comes from or goes, or else ``anywhere``, or next
    to its own.  Instead of who is there, ``NOBODY`` or ``REFUSED``.
    """
    ii, cols, tiles = rules.ii, rules.cols, rules.allowed.shape[1]
    time, tile = places.time[n], places.tile[n]
    refused = REFUSED, time, tile, time
    near, local = tile, True
    if rules.first[n + 1] > rules.first[n] and np.random.random() < LOCAL:
        edge = rules.table[rules.edges[np.random.randint(rules.first[n], rules.first[n + 1])]]
        near = places.tile[edge[0] + edge[1] - n]
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
    if not rules.allowed[rules.group[n], new_tile]:
        return refused
    new_time = _time(rules, places, n)
    if new_time == time and new_tile == tile:
        return refused
    other = places.there[new_tile, new_time % ii]
    if other in (NOBODY, n):
        return NOBODY, new_time, new_tile, time
    # The nearest cycle of the slot that becomes free.
    other_time = places.time[other] + time % ii - new_time % ii
    low, high = rules.window[other]
    if other_time < low:
        other_time += ii
    if other_time > high:
        other_time -= ii
    if other_time < low or not rules.allowed[rules.group[other], tile]:
        return refused
    return other, new_time, new_tile, other_time


@inlined
def _time(rules, places, n):
    """A cycle in which the words of an operation are in time, if there is one, else near that."""
    low, high = rules.window[n]
    lower, upper = low, high
    for k in range(rules.first[n], rules.first[n + 1]):
        src, dst, passed, least, _, _ = rules.table[rules.edges[k]]
        if dst == n:
            lower = max(lower, places.time[src] + least - passed)
        else:
            upper = min(upper, places.time[dst] + passed - least)
    if upper < lower:
        lower = max(low, min(lower, upper) - 1)
        upper = min(high, max(lower, upper) + 1)
        if upper < lower:
            lower, upper = low, high
    return np.random.randint(lower, min(upper, lower + 2 * rules.ii) + 1)
