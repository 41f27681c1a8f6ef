"""Kernels that move operations whose words meet at a full resource, until nothing is too full."""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.kernel import kernel
from compiler.dataflow.moves import NOBODY, REFUSED, excess, late, propose, stages, swap
from compiler.dataflow.search import route_net
from compiler.dataflow.ways import (
    GIVE,
    NO_ROW,
    OVER,
    READ,
    TAKE,
    count,
    learn,
    use,
    uses,
)
from spu.arch import timing

#: Moves in all, those without fewer users too many after which it is given up, and places that the
#: ways of moves may look at, in all and between two looks at the clock.
MOVES, PATIENCE, LOOKS, PIECE = 400_000, 100_000, 1e8, 2e6
#: Resources that are looked through in the time of a place.
SCANNED = 20
#: Moves between two lessons, what full resources learn in each, pressure and temperature meanwhile.
LESSON, LEARNED, FIRM, HEAT = 50, 0.1, 4.0, 3.0
#: Share of moves of ways alone, of those of an operation that has the choice that take another
#: word from a register, and times that another place is looked for.
STAY, CHOOSE, TRIES = 0.3, 0.2, 30
WRITE_TIME = timing.WRITE
Integer = int | np.integer


class Nets(NamedTuple):
    """Nets in the ``order`` in which they are routed; ``of`` each operation, from ``first``.

    ``listed``: nets of a move; ``steps``, ``length``: room for their ways as they were.
    """

    order: NDArray
    first: NDArray
    of: NDArray
    listed: NDArray
    steps: NDArray
    length: NDArray


class Move(NamedTuple):
    """An operation's new cycle and tile, and the cycle of the one that was there.

    Or else, where ``n`` is ``NOBODY``, the word ``new`` comes from a register in place of ``old``,
    if any.
    """

    n: Integer
    time: Integer
    tile: Integer
    other: Integer
    other_time: Integer
    old: Integer
    new: Integer


def mend(ways, words, nets, rules, places, constant, seed: int, looks: float
         ) -> Generator[float]:
    """Move operations and ways until nothing is too full, or patience ends.

    ``constant``: operations that read a constant, which takes a port.  ``looks``: places that ways
    may look at.  Yields the looks of each part of the work.
    """
    state = np.zeros(4)
    most, done, last = ways.sums[3] + looks, False, float(ways.sums[3])
    _start(ways, rules, places, state, seed)
    while not done:
        done = _some(ways, words, nets, rules, places, constant, state, most)
        yield float(ways.sums[3]) - last
        last = float(ways.sums[3])


@kernel
def _start(ways, rules, places, state, seed):
    """Things too many, the least users too many so far, moves since then, and in all."""
    np.random.seed(seed)
    state[:] = 0
    for tile in range(len(places.there)):
        state[0] += excess(rules, places, tile)
    state[1] = ways.sums[1] + state[0]


@kernel
def _some(ways, words, nets, rules, places, constant, state, most):
    """Moves between two looks at the clock; returns whether it is over."""
    now = ways.sums[3] + PIECE
    while ways.sums[3] < now:
        if ways.sums[1] + state[0] == 0 or state[2] > PATIENCE or ways.sums[3] > most \
                or ways.sums[4] or state[3] == MOVES:
            return True
        state[2] += 1
        state[3] += 1
        if ways.sums[1] + state[0] < state[1]:
            state[1], state[2] = ways.sums[1] + state[0], 0
        if state[3] % LESSON == 0:
            learn(ways, FIRM, LEARNED)
        ways.sums[3] += ways.used.size / SCANNED
        possible, move, net = _move(ways, words, nets, rules, places)
        if possible:
            state[0] += _try(ways, words, nets, rules, places, constant, move, net)
    return False


@kernel
def _move(ways, words, nets, rules, places):
    """Whether there is a move against what is too full, the move, and a net if it has none."""
    n, net = _choose(ways, words, nets, rules, places)
    nothing = Move(NOBODY, 0, 0, NOBODY, 0, NOBODY, NOBODY)
    if n == NOBODY:
        return True, nothing, net
    if words.of[n] < words.of[n + 1] and np.random.random() < CHOOSE:
        old, new = _register(words, rules, places, n)
        return new != NOBODY, Move(NOBODY, 0, 0, NOBODY, 0, old, new), net
    for _ in range(TRIES):
        other, time, tile, other_time = propose(rules, places, n, False)
        if other != REFUSED:
            move = Move(n, time, tile, other, other_time, NOBODY, NOBODY)
            if _in_time(rules, places, move):
                return True, move, net
    return False, nothing, net


@kernel
def _choose(ways, words, nets, rules, places):
    """An operation next to something too full, or ``NOBODY`` and a net that goes through."""
    kind, tile, slot = _full(ways)
    if kind < 0:
        return _crowded(rules, places), np.int64(0)
    # There is one: constants alone fill no read ports.
    net, met = -1, 0
    for k in range(len(nets.order)):
        if uses(ways, k, kind, tile, slot):
            met += 1
            if np.random.randint(met) == 0:
                net = k
    if np.random.random() < STAY:
        return NOBODY, net
    end = np.random.randint(words.first[net] - 1, words.first[net + 1])
    return (words.source[net] if end < words.first[net] else words.taker[end]), net


@kernel
def _full(ways):
    """One of the full resources, any of them, or none."""
    kinds, tiles, slots = ways.used.shape
    found, number = (-1, -1, -1), 0
    for kind in range(kinds):
        for tile in range(tiles):
            for slot in range(slots):
                if ways.used[kind, tile, slot] > ways.limit[kind, tile, slot]:
                    number += 1
                    if np.random.randint(number) == 0:
                        found = kind, tile, slot
    return found


@kernel
def _crowded(rules, places):
    """An operation of a tile that does not hold what its operations need."""
    found, number = np.int64(0), 0
    for n in range(len(places.tile)):
        if excess(rules, places, places.tile[n]):
            number += 1
            if np.random.randint(number) == 0:
                found = np.int64(n)
    return found


@kernel
def _register(words, rules, places, n):
    """The word of an operation that comes from a register, and another that is there in time."""
    old, new, met = NOBODY, NOBODY, 0
    for k in range(words.of[n], words.of[n + 1]):
        word = words.choice[k]
        if words.register[word]:
            old = word
            continue
        ready = words.ready[words.net[word]] + WRITE_TIME
        if words.row[word] == NO_ROW:
            spare = words.passed[word] - ready
        else:
            _, hops, between = late(rules, places, rules.table[words.row[word]])
            spare = between - ready - hops
        if spare >= 0:
            met += 1
            if np.random.randint(met) == 0:
                new = word
    return old, new


@kernel
def _in_time(rules, places, move):
    """Whether no word is late after a move, and guards are enough."""
    n, other = move.n, move.other
    back = _back(places, move)
    swap(rules, places, n, move.time, move.tile, other, move.other_time)
    good = stages(places, back.tile) + stages(places, move.tile) == 0
    for op in (n, other):
        if op >= 0 and good:
            for k in range(rules.first[op], rules.first[op + 1]):
                good &= late(rules, places, rules.table[rules.edges[k]])[0] == 0
    swap(rules, places, n, back.time, back.tile, other, back.other_time)
    return good


@kernel
def _back(places, move):
    """The move that takes a move back."""
    n, other = max(move.n, 0), max(move.other, 0)
    return Move(move.n, places.time[n], places.tile[n], move.other, places.time[other], move.new,
                move.old)


@kernel
def _try(ways, words, nets, rules, places, constant, move, net):
    """Make a move, and take it back if it costs too much; returns things more that are too many."""
    size = _affected(words, nets, move, net)
    listed = nets.listed[:size]
    back, before, more = _back(places, move), ways.sums[0], 0
    for k in listed:
        nets.length[k] = ways.length[k]
        _copy(ways.steps, nets.steps, ways.room[k], nets.length[k])
        count(ways, words, k, places, GIVE)
    if move.n >= 0:
        more -= _excess(rules, places, move.tile, back.tile)
    _make(ways, words, rules, places, constant, move)
    if move.n >= 0:
        more += _excess(rules, places, move.tile, back.tile)
    # In any order, so that none is always last.
    for i in range(size):
        j = np.random.randint(i, size)
        listed[i], listed[j] = listed[j], listed[i]
        route_net(ways, words, listed[i], places)
    worse = ways.sums[0] - before + OVER * more
    if worse <= 0 or np.random.random() < np.exp(-worse / HEAT):
        return more
    for k in listed:
        count(ways, words, k, places, GIVE)
    _make(ways, words, rules, places, constant, back)
    for k in listed:
        ways.length[k] = nets.length[k]
        _copy(nets.steps, ways.steps, ways.room[k], nets.length[k])
        count(ways, words, k, places, TAKE)
    return 0


@kernel
def _affected(words, nets, move, net):
    """List the nets of a move, or else one net; returns how many."""
    if move.new >= 0:
        nets.listed[0], nets.listed[1] = words.net[move.old], words.net[move.new]
        return 1 + (nets.listed[0] != nets.listed[1])
    if move.n < 0:
        nets.listed[0] = net
        return 1
    size = 0
    for op in (move.n, move.other):
        if op >= 0:
            for k in nets.of[nets.first[op]:nets.first[op + 1]]:
                new = True
                for i in range(size):
                    new &= nets.listed[i] != k
                if new:
                    nets.listed[size] = k
                    size += 1
    return size


@kernel
def _copy(steps, to, begin, length):
    """Copy the steps of a net."""
    for k in range(begin, begin + length):
        for part in range(steps.shape[1]):
            to[k, part] = steps[k, part]


@kernel
def _excess(rules, places, one, other):
    """Things too many of one or two tiles."""
    over = excess(rules, places, one)
    return over + excess(rules, places, other) if other != one else over


@kernel
def _make(ways, words, rules, places, constant, move):
    """Make a move, but for the ways of words."""
    if move.new >= 0:
        for word, register in ((move.old, False), (move.new, True)):
            words.register[word] = register
            if words.row[word] != NO_ROW:
                net, row = words.net[word], words.row[word]
                ready = words.ready[net] + WRITE_TIME * register
                rules.table[row, 3], rules.table[row, 4] = max(words.latency[net], ready), ready
    if move.n < 0:
        return
    for op in (move.n, move.other):
        if op >= 0 and constant[op]:
            use(ways, READ, places.tile[op], places.time[op] % rules.ii, GIVE)
    swap(rules, places, move.n, move.time, move.tile, move.other, move.other_time)
    for op in (move.n, move.other):
        if op >= 0 and constant[op]:
            use(ways, READ, places.tile[op], places.time[op] % rules.ii, TAKE)
