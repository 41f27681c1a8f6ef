"""Times and tiles of operations by simulated annealing; what it misses, ``schedule`` may find.

S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, "Optimization by simulated annealing", Science 220,
1983.  An operation moves to another cycle and tile, and what is there takes its place; words
that come too late cost more and more than ways and waits.
"""

from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray

from compiler.dataflow.schedule import Failure, Placed, Request, windows
from spu.arch.params import STAGES

#: Moves for each operation in all, and first and last temperature.
MOVES = 40_000
HOT, COLD = 20.0, 0.15
#: Share of moves next to an operation that gives or takes a word.
LOCAL = 0.9
#: Cost of a cycle that a word comes too late, of a hop beyond the first, of an II of waiting, of a
#: way without a cycle to spare, and of a tile whose sources are in different stages.
LATE, HOP, WAIT, TIGHT, GUARD = 12.0, 2.0, 0.3, 1.0, 12.0
#: What an edge counts for: being in time, in time and near, in time with a way, near.
ORDER, WORD, TIMELY, NEAR = 0, 1, 2, 3
NEVER = -(1 << 40)


def anneal(request: Request, ii: int, effort: float = 1.0) -> Placed | Failure:
    """Times and tiles at an II, by the rules of ``schedule``, but for cuts.

    ``effort``: share of ``MOVES``.  The same request gives the same answer.
    """
    window = windows(request, ii)
    if window is None:
        return Failure(True)
    graph, grid = request.graph, request.grid
    number = {n: i for i, n in enumerate(graph.operations)}
    table = np.array(_edges(request, ii, number), np.int64).reshape(-1, 6)
    adjacent: list[list[int]] = [[] for _ in number]
    for i, (src, dst, *_) in enumerate(table.tolist()):
        adjacent[src].append(i)
        adjacent[dst].append(i)
    first = np.cumsum([0, *map(len, adjacent)])
    sources = frozenset(graph.sources)
    times, tiles = np.zeros((2, len(number)), np.int64)
    late = _anneal(
        (table, first, np.array([i for part in adjacent for i in part], np.int64)),
        (grid.cols, ii, request.early), np.array([window[n] for n in number], np.int64),
        *_allowed(request),
        np.array([n in sources for n in number]), request.seed,
        int(MOVES * effort * len(number)), times, tiles)
    if late:
        return Failure(False)
    return Placed(ii, {n: int(times[i]) for n, i in number.items()},
                  {n: grid.tiles[tiles[i]] for n, i in number.items()})


def _edges(request: Request, ii: int, number: Mapping[int, int]) -> list[tuple[int, ...]]:
    """Rows of the table of ``_anneal``: source, destination, cycles that the distance gives, least
    cycles without and with the way, and what counts.
    """
    out: list[tuple[int, ...]] = []
    for e in request.graph.dependences:
        if e.src == e.dst:
            continue
        station = request.graph.stations.get(e)
        kind = ORDER if station is None else WORD if station == e.src else TIMELY
        out.append((number[e.src], number[e.dst], ii * e.distance, request.least(e),
                    request.least_way(e), kind))
        if kind == TIMELY and station != e.dst:
            assert station is not None
            out.append((number[station], number[e.dst], 0, NEVER, NEVER, NEAR))
    return out


def _allowed(request: Request) -> tuple[NDArray, NDArray]:
    """Group of each operation, the choosiest first, and tiles that take each group."""
    grid, graph = request.grid, request.graph
    wanted = [grid.takes(graph.nodes[n].op) for n in graph.operations]
    groups = sorted(set(wanted), key=lambda tiles: (len(tiles), sorted(tiles)))
    return (np.array([groups.index(tiles) for tiles in wanted]),
            np.array([[tile in tiles for tile in grid.tiles] for tiles in groups]))


@njit(cache=True)
def _anneal(edges, shape, window, group, allowed, source, seed, moves, times, tiles):
    """Fill ``times`` and ``tiles`` of operations; returns how much is against the rules.

    ``edges``: table, and the rows of each operation (from ``first``, in ``adjacent``); ``shape``:
    columns of the grid, II, hops of an operation's own cycle; ``window`` (operations, 2),
    ``group`` and ``source`` by operation, ``allowed`` (groups, tiles).
    """
    np.random.seed(seed)
    table, first, adjacent = edges
    cols, ii, _ = shape
    count, places = len(times), allowed.shape[1]
    there = np.full((places, ii), -1, np.int64)
    guards = np.zeros((places, STAGES), np.int64)
    if not _begin(window, group, allowed, ii, there, times, tiles):
        return 1
    for n in range(count):
        if source[n]:
            guards[tiles[n], times[n] // ii] += 1
    cooling = (COLD / HOT) ** (1.0 / moves)
    heat = HOT
    for _ in range(moves):
        heat *= cooling
        n = np.random.randint(count)
        time, tile = times[n], tiles[n]
        new_tile = np.random.randint(places)
        if first[n + 1] > first[n] and np.random.random() < LOCAL:
            # Next to where one of its words comes from or goes.
            edge = table[adjacent[np.random.randint(first[n], first[n + 1])]]
            friend = tiles[edge[0] + edge[1] - n]
            row = friend // cols + np.random.randint(-1, 2)
            col = friend % cols + np.random.randint(-1, 2)
            if not (0 <= row < places // cols and 0 <= col < cols):
                continue
            new_tile = row * cols + col
        if not allowed[group[n], new_tile]:
            continue
        new_time = _time(n, edges, ii, window, times)
        if new_time == time and new_tile == tile:
            continue
        # What is there goes where this one was, in the nearest cycle of that slot.
        other = there[new_tile, new_time % ii]
        other_time, was = np.int64(0), np.int64(0)
        if other == n:
            other = -1
        if other >= 0:
            was = times[other]
            other_time = was + time % ii - new_time % ii
            if other_time < window[other, 0]:
                other_time += ii
            if other_time > window[other, 1]:
                other_time -= ii
            if other_time < window[other, 0] or not allowed[group[other], tile]:
                continue
        before = _both(n, other, tile, new_tile, edges, shape, times, tiles, guards)
        _move(n, new_time, new_tile, ii, times, tiles, source, guards)
        if other >= 0:
            _move(other, other_time, tile, ii, times, tiles, source, guards)
        after = _both(n, other, tile, new_tile, edges, shape, times, tiles, guards)
        if after <= before or np.random.random() < np.exp((before - after) / heat):
            there[tile, time % ii] = other
            there[new_tile, new_time % ii] = n
        else:
            _move(n, time, tile, ii, times, tiles, source, guards)
            if other >= 0:
                _move(other, was, new_tile, ii, times, tiles, source, guards)
    wrong = 0
    for edge in table:
        wrong += _late(edge, times, tiles, cols)[0]
    for p in range(places):
        wrong += int(_stages(p, guards) > 0)
    return wrong


@njit(cache=True)
def _begin(window, group, allowed, ii, there, times, tiles):
    """Each operation at its earliest cycle with a free tile, the choosiest first."""
    places = allowed.shape[1]
    for wanted in range(len(allowed)):
        for n in range(len(times)):
            if group[n] != wanted:
                continue
            tile, start = -1, np.random.randint(places)
            for t in range(window[n, 0], window[n, 0] + ii):
                for k in range(places):
                    p = (start + k) % places
                    if there[p, t % ii] < 0 and allowed[wanted, p]:
                        tile = p
                        break
                if tile >= 0:
                    if t > window[n, 1]:
                        t -= ii
                    if t < 0:
                        t += ii
                    times[n], tiles[n] = t, tile
                    there[tile, t % ii] = n
                    break
            if tile < 0:
                return False
    return True


@njit(cache=True)
def _time(n, edges, ii, window, times):
    """A cycle in which the words of an operation are in time, if there is one, else near that."""
    table, first, adjacent = edges
    low, high = window[n]
    lower, upper = low, high
    for k in range(first[n], first[n + 1]):
        src, dst, passed, least, _, _ = table[adjacent[k]]
        if dst == n:
            lower = max(lower, times[src] + least - passed)
        else:
            upper = min(upper, times[dst] + passed - least)
    if upper < lower:
        lower = max(low, min(lower, upper) - 1)
        upper = min(high, max(lower, upper) + 1)
        if upper < lower:
            lower, upper = low, high
    return np.random.randint(lower, min(upper, lower + 2 * ii) + 1)


@njit(cache=True, inline="always")
def _late(edge, times, tiles, cols):
    """Cycles that an edge is short of, hops of its way, cycles that it has."""
    src, dst, passed, least, ready, kind = edge
    between = times[dst] + passed - times[src]
    hops = 0
    need = least
    if kind != ORDER:
        a, b = tiles[src], tiles[dst]
        hops = abs(a // cols - b // cols) + abs(a % cols - b % cols)
        need = max(least, ready + hops)
    return max(need - between, 0), hops, between


@njit(cache=True)
def _cost(n, skip, edges, shape, times, tiles):
    """Cost of the edges of an operation, but for those to ``skip``."""
    table, first, adjacent = edges
    cols, ii, early = shape
    cost = 0.0
    for k in range(first[n], first[n + 1]):
        edge = table[adjacent[k]]
        if edge[0] == skip or edge[1] == skip:
            continue
        late, hops, between = _late(edge, times, tiles, cols)
        cost += LATE * late
        if edge[5] == WORD:
            cost += WAIT / ii * max(between, 0)
            if hops > early and between == edge[4] + hops:
                cost += TIGHT
        if edge[5] == WORD or edge[5] == NEAR:
            cost += HOP * max(hops - early, 0)
    return cost


@njit(cache=True)
def _both(n, other, tile, new_tile, edges, shape, times, tiles, guards):
    """Cost of an operation, of the one whose place it takes, and of sources of both tiles."""
    cost = _cost(n, -1, edges, shape, times, tiles) + _stages(tile, guards)
    if new_tile != tile:
        cost += _stages(new_tile, guards)
    if other >= 0:
        cost += _cost(other, n, edges, shape, times, tiles)
    return cost


@njit(cache=True)
def _stages(tile, guards):
    """Cost of the stages that sources of a tile are in: a tile has one guard."""
    used = 0
    for count in guards[tile]:
        used += count > 0
    return GUARD * max(used - 1, 0)


@njit(cache=True, inline="always")
def _move(n, time, tile, ii, times, tiles, source, guards):
    """Put an operation elsewhere."""
    if source[n]:
        guards[tiles[n], times[n] // ii] -= 1
        guards[tile, time // ii] += 1
    times[n], tiles[n] = time, tile
