"""Times and tiles of operations by simulated annealing; what it misses, ``schedule`` may find.

S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, "Optimization by simulated annealing", Science 220,
1983.  An operation moves to another cycle and tile, and what is there takes its place.  Words that
are still too late in the end weigh more when it is warmed up again.
"""

import numpy as np

from compiler.dataflow.kernel import inlined, kernel
from compiler.dataflow.moves import (
    NEAR,
    NOBODY,
    REFUSED,
    WORD,
    late,
    nowhere,
    placed_of,
    propose,
    put,
    rules,
    stages,
    swap,
)
from compiler.dataflow.schedule import Failure, Placed, Request, windows

#: Moves for each operation in all, and first and last temperature.
MOVES = 40_000
HOT, COLD = 20.0, 0.15
#: Times that it is warmed up again, how far, and the share of moves that it then takes.
AGAIN, WARM, PART = 16, 1.5, 4
#: Cost of a cycle that a word comes too late, of a hop beyond the first, of an II of waiting, of a
#: way without a cycle to spare, and of a tile whose sources are in different stages.
LATE, HOP, WAIT, TIGHT, GUARD = 12.0, 2.0, 0.3, 1.0, 12.0
#: Moves between two looks at the clock, and seconds of one.
PIECE, SECONDS_A_MOVE = 400_000, 5e-7


def anneal(request: Request, ii: int, effort: float = 1.0, again: int = AGAIN
           ) -> Placed | Failure:
    """Times and tiles at an II, by the rules of ``schedule``.

    ``effort``: share of ``MOVES``; ``again``: times that it is warmed up.  The same request gives
    the same answer.
    """
    window = windows(request, ii)
    if window is None:
        return Failure(True)
    arrays = rules(request, ii, window)
    places, weight = nowhere(arrays), np.full(len(arrays.table), LATE)
    moves = max(PART, int(MOVES * effort * len(request.graph.operations)))
    if not _begin(arrays, places, request.seed):
        return Failure(False)
    for heat, part in ((HOT, moves), *((WARM, moves // PART),) * again):
        cooling = (COLD / heat) ** (1.0 / part)
        for done in range(0, part, PIECE):
            piece = min(PIECE, part - done)
            heat = _cool(arrays, places, weight, heat, cooling, piece)
            request.budget.spend(piece * SECONDS_A_MOVE)
        if not _wrong(arrays, places, weight):
            return placed_of(request, arrays, places)
    return Failure(False)


@kernel
def _begin(rules, places, seed):
    """Each operation at its earliest cycle with a free tile, the choosiest first."""
    np.random.seed(seed)
    tiles = rules.allowed.shape[1]
    for wanted in range(len(rules.allowed)):
        for n in range(len(rules.group)):
            if rules.group[n] != wanted:
                continue
            tile, start = -1, np.random.randint(tiles)
            low, high = rules.window[n]
            for t in range(low, low + rules.ii):
                for k in range(tiles):
                    p = (start + k) % tiles
                    if places.there[p, t % rules.ii] == NOBODY and rules.allowed[wanted, p]:
                        tile = p
                        break
                if tile >= 0:
                    if t > high:
                        t -= rules.ii
                    if t < 0:
                        t += rules.ii
                    put(rules, places, n, t, tile)
                    break
            if tile < 0:
                return False
    return True


@kernel
def _cool(rules, places, weight, heat, cooling, moves):
    """Move operations, at less heat each time; returns what is left of it."""
    for _ in range(moves):
        heat *= cooling
        n = np.random.randint(len(rules.group))
        time, tile = places.time[n], places.tile[n]
        other, new_time, new_tile, other_time = propose(rules, places, n, True)
        if other == REFUSED:
            continue
        was = places.time[other] if other >= 0 else 0
        before = _both(rules, places, weight, n, other, tile, new_tile)
        swap(rules, places, n, new_time, new_tile, other, other_time)
        after = _both(rules, places, weight, n, other, tile, new_tile)
        if after > before and np.random.random() >= np.exp((before - after) / heat):
            swap(rules, places, n, time, tile, other, was)
    return heat


@kernel
def _wrong(rules, places, weight):
    """How much is against the rules; edges that are late weigh more from now on."""
    wrong = 0
    for k in range(len(rules.table)):
        short = late(rules, places, rules.table[k])[0]
        wrong += short
        weight[k] += LATE * (short > 0)
    for tile in range(len(places.guards)):
        wrong += stages(places, tile)
    return wrong


@inlined
def _both(rules, places, weight, n, other, tile, new_tile):
    """Cost of an operation, of the one whose place it takes, and of sources of both tiles."""
    cost = _cost(rules, places, weight, n, NOBODY) + GUARD * stages(places, tile)
    if new_tile != tile:
        cost += GUARD * stages(places, new_tile)
    if other >= 0:
        cost += _cost(rules, places, weight, other, n)
    return cost


@inlined
def _cost(rules, places, weight, n, skip):
    """Cost of the edges of an operation, but for those to ``skip``."""
    cost = 0.0
    for k in range(rules.first[n], rules.first[n + 1]):
        number = rules.edges[k]
        edge = rules.table[number]
        if edge[0] == skip or edge[1] == skip:
            continue
        short, hops, between = late(rules, places, edge)
        cost += weight[number] * short
        if edge[5] == WORD:
            cost += WAIT / rules.ii * max(between, 0)
            if hops > rules.early and between == edge[4] + hops:
                cost += TIGHT
        if edge[5] == WORD or edge[5] == NEAR:
            cost += HOP * max(hops - rules.early, 0)
    return cost
