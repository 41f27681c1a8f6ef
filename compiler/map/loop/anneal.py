"""Modulo scheduling with placement by simulated annealing; what it misses, ``schedule`` may find.

S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, "Optimization by simulated annealing", Science 220,
1983; for modulo schedules of arrays B. Mei et al., "Exploiting loop-level parallelism on
coarse-grained reconfigurable architectures using modulo scheduling", DATE 2003.  A move gives an
operation another cycle and tile, and what is there takes its place; acceptance is by Metropolis's
rule.  Dependences that are short in the end weigh more when it is reheated.  Routes are not
searched yet: a dependence has to have the cycles that the hops between its tiles take.
"""

import numpy as np

from compiler.map.loop.kernel import inlined, kernel
from compiler.map.loop.placement import (
    NEAR,
    NOBODY,
    REFUSED,
    ROUTED,
    constraints_of,
    empty_placement,
    guard_conflicts,
    place,
    placed_of,
    propose,
    slack,
    swap,
)
from compiler.map.loop.schedule import Failure, Placed, Request, mobility

#: Moves for each operation at full effort, and first and last temperature, in units of cost;
#: chosen, not tuned.
MOVES, HOT, COLD = 40_000, 20.0, 0.15
#: Times that it is reheated, to which temperature, and the share of moves that it then takes, one
#: in so many; chosen, not tuned.
REHEATS, REHEAT, REHEAT_PART = 16, 1.5, 4
#: Costs, chosen, not tuned: of a cycle that a dependence is short of, of a hop beyond the first, of
#: an II of waiting, of a route without a cycle to spare, and of a stage that a tile's guard lacks.
SHORT, HOP, WAIT, TIGHT, GUARD = 12.0, 2.0, 0.3, 1.0, 12.0
#: Moves between two looks at the clock, which need some tenths of a second.
PIECE = 400_000
#: Seconds of a move, to count work by; measured on verif/stimulus/dataflows.py: 3.5e-7.
SECONDS_PER_MOVE = 5e-7


def anneal(
    request: Request, ii: int, effort: float = 1.0, reheats: int = REHEATS
) -> Placed | Failure:
    """A modulo schedule with placement at an II, by the constraints of ``schedule``.

    ``effort``: share of ``MOVES``; ``reheats``: times that it is reheated at most.  The same
    request gives the same answer.
    """
    window = mobility(request, ii)
    if window is None:
        return Failure(True)
    constraints = constraints_of(request, ii, window)
    placement = empty_placement(constraints)
    weight = np.full(len(constraints.dependence), SHORT)
    moves = max(REHEAT_PART, int(MOVES * effort * len(request.graph.operations)))
    if not _initial(constraints, placement, request.seed):
        return Failure(False)
    for temperature, part in ((HOT, moves), *((REHEAT, moves // REHEAT_PART),) * reheats):
        cooling = (COLD / temperature) ** (1.0 / part)
        for done in range(0, part, PIECE):
            piece = min(PIECE, part - done)
            temperature = _cool(constraints, placement, weight, temperature, cooling, piece)
            request.budget.spend(piece * SECONDS_PER_MOVE)
        if not _violations(constraints, placement, weight):
            return placed_of(request, constraints, placement)
    return Failure(False)


@kernel
def _initial(constraints, placement, seed):
    """Each operation at its first cycle with a free tile, those that few tiles take first."""
    np.random.seed(seed)
    tiles = constraints.allowed.shape[1]
    for wanted in range(len(constraints.allowed)):
        for n in range(len(constraints.tile_class)):
            if constraints.tile_class[n] != wanted:
                continue
            tile, start = -1, np.random.randint(tiles)
            low, high = constraints.asap[n], constraints.alap[n]
            for t in range(low, low + constraints.ii):
                for k in range(tiles):
                    p = (start + k) % tiles
                    if (
                        placement.reservation[p, t % constraints.ii] == NOBODY
                        and constraints.allowed[wanted, p]
                    ):
                        tile = p
                        break
                if tile >= 0:
                    if t > high:
                        t -= constraints.ii
                    if t < 0:
                        t += constraints.ii
                    place(constraints, placement, n, t, tile)
                    break
            if tile < 0:
                return False
    return True


@kernel
def _cool(constraints, placement, weight, temperature, cooling, moves):
    """Moves at falling temperature; returns the one reached.  ``weight`` (dependences,) float64."""
    for _ in range(moves):
        temperature *= cooling
        n = np.random.randint(len(constraints.tile_class))
        time, tile = placement.time[n], placement.tile[n]
        move = propose(constraints, placement, n, True)
        other = move.other
        if other == REFUSED:
            continue
        was = placement.time[other] if other >= 0 else 0
        before = _move_cost(constraints, placement, weight, n, other, tile, move.tile)
        swap(constraints, placement, n, move.time, move.tile, other, move.other_time)
        after = _move_cost(constraints, placement, weight, n, other, tile, move.tile)
        if after > before and np.random.random() >= np.exp((before - after) / temperature):
            swap(constraints, placement, n, time, tile, other, was)
    return temperature


@kernel
def _violations(constraints, placement, weight):
    """Cycles short and guards that lack; dependences that are short weigh more from now on."""
    count = 0
    for k in range(len(constraints.dependence)):
        short = slack(constraints, placement, constraints.dependence[k]).short
        count += short
        weight[k] += SHORT * (short > 0)
    for tile in range(len(placement.guards)):
        count += guard_conflicts(placement, tile)
    return count


@inlined
def _move_cost(constraints, placement, weight, n, other, tile, new_tile):
    """Cost of an operation, of the one in its way, and of the guards of both tiles."""
    cost = _cost(constraints, placement, weight, n, NOBODY)
    cost += GUARD * guard_conflicts(placement, tile)
    if new_tile != tile:
        cost += GUARD * guard_conflicts(placement, new_tile)
    if other >= 0:
        cost += _cost(constraints, placement, weight, other, n)
    return cost


@inlined
def _cost(constraints, placement, weight, n, skip):
    """Cost of the dependences of an operation, but for those with ``skip``."""
    cost = 0.0
    for k in range(constraints.incident_begin[n], constraints.incident_begin[n + 1]):
        number = constraints.incident[k]
        edge = constraints.dependence[number]
        if edge.src == skip or edge.dst == skip:
            continue
        kind = edge.kind
        short, hops, between = slack(constraints, placement, edge)
        cost += weight[number] * short
        if kind == ROUTED:
            cost += WAIT / constraints.ii * max(between, 0)
            if hops > constraints.free_hops and between == edge.route_latency + hops:
                cost += TIGHT
        if kind in (ROUTED, NEAR):
            cost += HOP * max(hops - constraints.free_hops, 0)
    return cost
