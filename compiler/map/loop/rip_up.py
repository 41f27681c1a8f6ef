"""Moves of operations whose nets meet at an overused resource, by rip-up and re-route.

Annealing by the cost of the routing itself: a move rips up the nets of the operations that move,
and routes them again from where those are then (S. Friedman et al., "SPR: an
architecture-adaptive CGRA mapping tool", FPGA 2009, which gives the idea).  It is kept or taken
back by Metropolis's rule, at one temperature.
"""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.map.loop.kernel import Integer, kernel
from compiler.map.loop.maze import route_net
from compiler.map.loop.mrrg import (
    NO_DEPENDENCE,
    OCCUPY,
    OVERUSE_COST,
    READ,
    RELEASE,
    occupies,
    occupy,
    occupy_tree,
    update_costs,
)
from compiler.map.loop.placement import (
    NOBODY,
    REFUSED,
    excess,
    guard_conflicts,
    propose,
    slack,
    swap,
)
from spu.arch import timing

#: Moves in all, those without less overuse after which it is given up, and nodes that routes of
#: moves may expand in all; chosen, not tuned.
MOVES, PATIENCE, EXPANSIONS = 400_000, 100_000, 1e8
#: Nodes expanded between two looks at the clock, which need some tenths of a second.
PIECE = 2e6
#: Resources that are looked through in the time of an expansion; chosen, not tuned.
SCANNED = 20
#: Moves between two increments of history, the increment, the factor of present congestion and the
#: temperature meanwhile, in units of cost; chosen, not tuned.
HISTORY_PERIOD, HISTORY_INCREMENT, PRESENT_FACTOR, TEMPERATURE = 50, 0.1, 4.0, 3.0
#: Share of moves of routes alone, of those of an operation that has the choice that take another
#: word from a register, and proposals that are drawn until one is timely; chosen, not tuned.
STAY, CHOOSE, TRIES = 0.3, 0.2, 30
WRITE_TIME = timing.WRITE
#: Scarce things too many in all tiles; the least that is wrong so far, with overuse; moves since
#: then, and in all.
PROGRESS = np.dtype(
    [("excess", np.int64), ("least", np.int64), ("since", np.int64), ("moves", np.int64)],
    align=True,
)


class NetOrder(NamedTuple):
    """Nets in the order in which they are routed, those of operations, and room to undo a move."""

    #: (nets,) int64: those with least slack first.
    order: NDArray
    #: (operations + 1,) int64: where in ``incident`` the nets of an operation begin.
    incident_begin: NDArray
    #: int64: nets that an operation is source or sink of.
    incident: NDArray
    #: (nets + 1,) int64: those that a move rips up.
    ripped: NDArray
    #: As ``Mrrg.branch`` and ``Mrrg.tree_size``: route trees before a move.
    branch: NDArray
    tree_size: NDArray


class Move(NamedTuple):
    """An operation's new cycle and tile, and the cycle of the one that was there.

    Or else, where ``n`` is ``NOBODY``, the sink ``new`` takes its word from a register in place of
    ``old``, if any.
    """

    n: Integer
    time: Integer
    tile: Integer
    other: Integer
    other_time: Integer
    old: Integer
    new: Integer


def rip_up_and_reroute(
    mrrg, nets, order, constraints, placement, constant, seed: int, expansions: float
) -> Generator[float]:
    """Move operations and routes until nothing is overused, or patience ends.

    ``constant`` (operations,) bool: those that read a constant, which takes a port.
    ``expansions``: nodes that routes may expand.  Yields those of each part of the work.
    """
    progress = np.zeros(1, PROGRESS)[0]
    most, done, last = mrrg.totals["expanded"] + expansions, False, float(mrrg.totals["expanded"])
    _start(mrrg, constraints, placement, progress, seed)
    while not done:
        done = _piece(mrrg, nets, order, constraints, placement, constant, progress, most)
        yield float(mrrg.totals["expanded"]) - last
        last = float(mrrg.totals["expanded"])


@kernel
def _start(mrrg, constraints, placement, progress, seed):
    """Count what is wrong before the first move."""
    np.random.seed(seed)
    progress.since = progress.moves = progress.excess = 0
    for tile in range(len(placement.reservation)):
        progress.excess += excess(constraints, placement, tile)
    progress.least = mrrg.totals.overuse + progress.excess


@kernel
def _piece(mrrg, nets, order, constraints, placement, constant, progress, most):
    """Moves between two looks at the clock; returns whether it is over."""
    totals = mrrg.totals
    now = totals.expanded + PIECE
    while totals.expanded < now:
        wrong = totals.overuse + progress.excess
        if (
            wrong == 0
            or progress.since > PATIENCE
            or totals.expanded > most
            or totals.given_up
            or progress.moves == MOVES
        ):
            return True
        progress.since += 1
        progress.moves += 1
        if wrong < progress.least:
            progress.least, progress.since = wrong, 0
        if progress.moves % HISTORY_PERIOD == 0:
            update_costs(mrrg, PRESENT_FACTOR, HISTORY_INCREMENT)
        totals.expanded += mrrg.occupancy.size / SCANNED
        possible, move, net = _propose(mrrg, nets, order, constraints, placement)
        if possible:
            progress.excess += _try(mrrg, nets, order, constraints, placement, constant, move, net)
    return False


@kernel
def _propose(mrrg, nets, order, constraints, placement):
    """Whether there is a move against what is overused, the move, and a net if it has none."""
    n, net = _choose(mrrg, nets, order, constraints, placement)
    nothing = Move(NOBODY, 0, 0, NOBODY, 0, NOBODY, NOBODY)
    if n == NOBODY:
        return True, nothing, net
    if nets.choice_begin[n] < nets.choice_begin[n + 1] and np.random.random() < CHOOSE:
        old, new = _other_register(nets, constraints, placement, n)
        return new != NOBODY, Move(NOBODY, 0, 0, NOBODY, 0, old, new), net
    for _ in range(TRIES):
        other, time, tile, other_time = propose(constraints, placement, n, False)
        if other != REFUSED:
            move = Move(n, time, tile, other, other_time, NOBODY, NOBODY)
            if _timely(constraints, placement, move):
                return True, move, net
    return False, nothing, net


@kernel
def _choose(mrrg, nets, order, constraints, placement):
    """An operation at an overused resource, or ``NOBODY`` and a net that goes through one."""
    kind, tile, slot = _overused(mrrg)
    if kind < 0:
        return _crowded(constraints, placement), np.int64(0)
    # There is one: constants alone fill no read ports.
    net, met = -1, 0
    for k in range(len(order.order)):
        if occupies(mrrg, k, kind, tile, slot):
            met += 1
            if np.random.randint(met) == 0:
                net = k
    if np.random.random() < STAY:
        return NOBODY, net
    begin = nets.sink_begin[net]
    end = np.random.randint(begin - 1, nets.sink_begin[net + 1])
    return (nets.source[net] if end < begin else nets.sink[end]), net


@kernel
def _overused(mrrg):
    """One of the overused resources, any of them, or none."""
    kinds, tiles, slots = mrrg.occupancy.shape
    found, number = (-1, -1, -1), 0
    for kind in range(kinds):
        for tile in range(tiles):
            for slot in range(slots):
                if mrrg.occupancy[kind, tile, slot] > mrrg.capacity[kind, tile, slot]:
                    number += 1
                    if np.random.randint(number) == 0:
                        found = kind, tile, slot
    return found


@kernel
def _crowded(constraints, placement):
    """An operation of a tile that does not hold what its operations need."""
    found, number = np.int64(0), 0
    for n in range(len(placement.tile)):
        if excess(constraints, placement, placement.tile[n]):
            number += 1
            if np.random.randint(number) == 0:
                found = np.int64(n)
    return found


@kernel
def _other_register(nets, constraints, placement, n):
    """The sink of an operation that is a register, and another that has the time to be."""
    old, new, met = NOBODY, NOBODY, 0
    for k in range(nets.choice_begin[n], nets.choice_begin[n + 1]):
        sink = nets.choice[k]
        if nets.registered[sink]:
            old = sink
            continue
        ready = nets.ready[nets.net[sink]] + WRITE_TIME
        if nets.dependence[sink] == NO_DEPENDENCE:
            spare = nets.offset[sink] - ready
        else:
            _, hops, between = slack(
                constraints, placement, constraints.dependence[nets.dependence[sink]]
            )
            spare = between - ready - hops
        if spare >= 0:
            met += 1
            if np.random.randint(met) == 0:
                new = sink
    return old, new


@kernel
def _timely(constraints, placement, move):
    """Whether no dependence is short after a move, and guards are enough."""
    n, other = move.n, move.other
    back = _inverse(placement, move)
    swap(constraints, placement, n, move.time, move.tile, other, move.other_time)
    good = guard_conflicts(placement, back.tile) + guard_conflicts(placement, move.tile) == 0
    for op in (n, other):
        if op >= 0 and good:
            for k in range(constraints.incident_begin[op], constraints.incident_begin[op + 1]):
                edge = constraints.dependence[constraints.incident[k]]
                good &= slack(constraints, placement, edge).short == 0
    swap(constraints, placement, n, back.time, back.tile, other, back.other_time)
    return good


@kernel
def _inverse(placement, move):
    """The move that takes a move back."""
    n, other = max(move.n, 0), max(move.other, 0)
    return Move(
        move.n,
        placement.time[n],
        placement.tile[n],
        move.other,
        placement.time[other],
        move.new,
        move.old,
    )


@kernel
def _try(mrrg, nets, order, constraints, placement, constant, move, net):
    """Make a move and re-route, or take it back if that costs too much; returns the excess more."""
    size = _list_ripped(nets, order, move, net)
    ripped = order.ripped[:size]
    back, before, more = _inverse(placement, move), mrrg.totals.cost, 0
    for k in ripped:
        order.tree_size[k] = mrrg.tree_size[k]
        _copy(mrrg.branch, order.branch, mrrg.tree_begin[k], order.tree_size[k])
        occupy_tree(mrrg, nets, k, placement, RELEASE)
    if move.n >= 0:
        more -= _excess(constraints, placement, move.tile, back.tile)
    _make(mrrg, nets, constraints, placement, constant, move)
    if move.n >= 0:
        more += _excess(constraints, placement, move.tile, back.tile)
    # In any order, so that none is always last.
    for i in range(size):
        j = np.random.randint(i, size)
        ripped[i], ripped[j] = ripped[j], ripped[i]
        route_net(mrrg, nets, ripped[i], placement)
    worse = mrrg.totals.cost - before + OVERUSE_COST * more
    if worse <= 0 or np.random.random() < np.exp(-worse / TEMPERATURE):
        return more
    for k in ripped:
        occupy_tree(mrrg, nets, k, placement, RELEASE)
    _make(mrrg, nets, constraints, placement, constant, back)
    for k in ripped:
        mrrg.tree_size[k] = order.tree_size[k]
        _copy(order.branch, mrrg.branch, mrrg.tree_begin[k], order.tree_size[k])
        occupy_tree(mrrg, nets, k, placement, OCCUPY)
    return 0


@kernel
def _list_ripped(nets, order, move, net):
    """List the nets of a move, or else one net; returns how many."""
    if move.new >= 0:
        order.ripped[0], order.ripped[1] = nets.net[move.old], nets.net[move.new]
        return 1 + (order.ripped[0] != order.ripped[1])
    if move.n < 0:
        order.ripped[0] = net
        return 1
    size = 0
    for op in (move.n, move.other):
        if op >= 0:
            for k in order.incident[order.incident_begin[op] : order.incident_begin[op + 1]]:
                new = True
                for i in range(size):
                    new &= order.ripped[i] != k
                if new:
                    order.ripped[size] = k
                    size += 1
    return size


@kernel
def _copy(branches, to, begin, size):
    """Copy the branches of a net."""
    for k in range(begin, begin + size):
        to[k] = branches[k]


@kernel
def _excess(constraints, placement, one, other):
    """Scarce things too many of one or two tiles."""
    over = excess(constraints, placement, one)
    return over + excess(constraints, placement, other) if other != one else over


@kernel
def _make(mrrg, nets, constraints, placement, constant, move):
    """Make a move, but for the routes."""
    if move.new >= 0:
        for sink, registered in ((move.old, False), (move.new, True)):
            nets.registered[sink] = registered
            if nets.dependence[sink] != NO_DEPENDENCE:
                net, edge = nets.net[sink], constraints.dependence[nets.dependence[sink]]
                ready = nets.ready[net] + WRITE_TIME * registered
                edge.latency, edge.route_latency = max(nets.latency[net], ready), ready
    if move.n < 0:
        return
    for op in (move.n, move.other):
        if op >= 0 and constant[op]:
            occupy(mrrg, READ, placement.tile[op], placement.time[op] % constraints.ii, RELEASE)
    swap(constraints, placement, move.n, move.time, move.tile, move.other, move.other_time)
    for op in (move.n, move.other):
        if op >= 0 and constant[op]:
            occupy(mrrg, READ, placement.tile[op], placement.time[op] % constraints.ii, OCCUPY)
