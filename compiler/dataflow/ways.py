"""Kernels of routing: cheapest ways of an operation's word to all its consumers.

A word is at a place ``(tile, cycle)`` when the tile's crossbar has it: an operation's result, from
a link, or read from a register.  Every step takes time, so that a search in the order of cycles
finds the cheapest way to each place.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.kernel import inlined, kernel
from compiler.dataflow.schedule import Grid
from spu.arch import timing
from spu.arch.context import LINKS
from spu.arch.params import NEIGHBOURS, neighbour

#: Resources of a tile in a slot: links out of it, the write port of its registers, read ports,
#: registers.  Numbers of numpy are not constants to numba, which would compile a kernel for each.
KINDS = (*LINKS, "write", "read", "hold")
WRITE, READ, HOLD = (np.int64(KINDS.index(kind)) for kind in ("write", "read", "hold"))
#: Words that a tile reads from its registers in a slot; a constant is one.
READ_PORTS = 2
#: Kind of a step that waits in a register; the others are links.
WAIT = WRITE
#: A hop takes a link of which there are few, a register is cheap to keep.
COSTS = (*[1.0] * len(LINKS), 0.6, 0.4, 0.1)
#: Cost of a user too many, when schedules are compared.
OVER = 8.0
HOP = timing.HOP
#: Row of a word from an operation to itself.
NO_ROW = -1
#: Changes of the number of users.
TAKE, GIVE = np.int64(1), np.int64(-1)
#: Whether a way that meets its word of another iteration counts twice there.
PLAIN, CAREFUL = np.int64(0), np.int64(1)
FAR = 1e30


class Words(NamedTuple):
    """What is to be routed: a net for each ``source`` whose word others take.

    ``latency``, ``ready``: cycles from the source to others, and to its word being at the
    crossbar.  Consumers of a net from ``first`` on: operations ``taker``, cycles ``passed`` that
    their distance gives, whether they take the word from a ``register``, their ``row`` in
    ``Rules.table`` or ``NO_ROW``, and ``net``.  ``choice``, from ``of`` by operation: consumers of
    which any may take its word from a register.
    """

    source: NDArray
    latency: NDArray
    ready: NDArray
    first: NDArray
    taker: NDArray
    passed: NDArray
    register: NDArray
    row: NDArray
    net: NDArray
    of: NDArray
    choice: NDArray


class Ways(NamedTuple):
    """State of a router.  Users, limit, history and price of resources (kind, tile, slot).

    ``sums``: cost of all that is used, users too many, pressure on full resources.  ``steps``:
    kind, tile and cycle from which and to which a step leads; a net has ``length`` of them, from
    ``room`` on.
    ``best``, ``came`` (cycle, tile) are of one search, ``own`` (kind, tile, cycle) of one net;
    their cycles count from the net's first.
    """

    ii: int
    used: NDArray
    limit: NDArray
    history: NDArray
    price: NDArray
    base: NDArray
    sums: NDArray
    steps: NDArray
    room: NDArray
    length: NDArray
    beside: NDArray
    hops: NDArray
    best: NDArray
    came: NDArray
    own: NDArray
    tree: NDArray
    done: NDArray
    facing: NDArray


def ways(grid: Grid, ii: int, registers: int, words: Words, latest: NDArray) -> Ways:
    """Nothing used; ``latest`` cycle that each net may be wanted in."""
    rows, cols = grid.rows, grid.cols
    tiles, cycles = rows * cols, int(latest.max(initial=0)) + 1
    shape = len(KINDS), tiles, ii
    limit = np.ones(shape, np.int64)
    limit[READ], limit[HOLD] = READ_PORTS, registers
    base = np.array(COSTS)
    row, col = np.divmod(np.arange(tiles), cols)
    beside = np.full((len(LINKS), tiles), -1)
    for k, link in enumerate(LINKS):
        for tile in range(tiles):
            r, c = neighbour(int(row[tile]), int(col[tile]), link)
            if 0 <= r < rows and 0 <= c < cols:
                beside[k, tile] = r * cols + c
    # A step takes a cycle at least.
    room = np.cumsum([0, *(np.diff(words.first) * (latest + 1))])
    return Ways(
        ii, np.zeros(shape, np.int64), limit, np.zeros(shape),
        np.repeat(base, tiles * ii).reshape(shape), base, np.zeros(3),
        np.zeros((int(room[-1]), 5), np.int64), room, np.zeros(len(words.source), np.int64),
        beside, abs(row[:, None] - row) + abs(col[:, None] - col), np.zeros((cycles, tiles)),
        np.zeros((cycles, tiles, 3), np.int64), np.zeros((len(KINDS), tiles, cycles), np.bool_),
        np.zeros((cycles, tiles), np.bool_), np.zeros(len(words.taker), np.bool_),
        np.array([LINKS.index(NEIGHBOURS[link][2]) for link in LINKS]))


@kernel
def use(ways, kind, tile, slot, change):
    """Count users of a resource more, or less."""
    before, limit = ways.used[kind, tile, slot], ways.limit[kind, tile, slot]
    after = before + change
    ways.used[kind, tile, slot] = after
    over = max(after - limit, 0) - max(before - limit, 0)
    base = ways.base[kind] * (1.0 + ways.history[kind, tile, slot])
    ways.sums[0] += change * base + over * OVER
    ways.sums[1] += over
    ways.price[kind, tile, slot] = base * (1.0 + ways.sums[2] * max(after + 1 - limit, 0))


@kernel
def learn(ways, pressure, more):
    """Set the pressure, and make full resources dearer for good."""
    ways.sums[:2] = 0
    ways.sums[2] = pressure
    kinds, tiles, slots = ways.used.shape
    for kind in range(kinds):
        for tile in range(tiles):
            for slot in range(slots):
                used, limit = ways.used[kind, tile, slot], ways.limit[kind, tile, slot]
                over = max(used - limit, 0)
                if over:
                    ways.history[kind, tile, slot] += more
                base = ways.base[kind] * (1.0 + ways.history[kind, tile, slot])
                ways.sums[0] += used * base + over * OVER
                ways.sums[1] += over
                ways.price[kind, tile, slot] = base * (1.0 + pressure * max(used + 1 - limit, 0))


@kernel
def _take(ways, step, begin, change):
    """Use what a step needs and its net does not use yet, or give it back."""
    kind, tile, start, _, end = step
    if not ways.own[kind, tile, start - begin]:
        ways.own[kind, tile, start - begin] = True
        use(ways, kind, tile, start % ways.ii, change)
    if kind == WAIT:
        for t in range(start + 1, end + 1):
            if not ways.own[HOLD, tile, t - begin]:
                ways.own[HOLD, tile, t - begin] = True
                use(ways, HOLD, tile, t % ways.ii, change)
        # Two reads of the same write in the same cycle are one.
        if not ways.own[READ, tile, end - begin]:
            ways.own[READ, tile, end - begin] = True
            use(ways, READ, tile, end % ways.ii, change)


@kernel
def _forget(ways, net, begin):
    """Clear ``own`` and ``tree`` after the steps of a net."""
    for k in range(ways.length[net]):
        kind, tile, start, to, end = ways.steps[ways.room[net] + k]
        ways.tree[start - begin, tile] = ways.tree[end - begin, to] = False
        ways.own[kind, tile, start - begin] = False
        if kind == WAIT:
            for t in range(start + 1, end + 1):
                ways.own[HOLD, tile, t - begin] = False
            ways.own[READ, tile, end - begin] = False


@kernel
def count(ways, words, net, places, change):
    """Use all that the ways of a net need, or give it back."""
    begin = places.time[words.source[net]] + words.ready[net]
    for k in range(ways.length[net]):
        _take(ways, ways.steps[ways.room[net] + k], begin, change)
    _forget(ways, net, begin)


@kernel
def uses(ways, net, kind, tile, slot):
    """Whether a net uses a resource."""
    for k in range(ways.length[net]):
        what, at, start, _, end = ways.steps[ways.room[net] + k]
        if at != tile:
            continue
        if what == kind and start % ways.ii == slot:
            return True
        if what == WAIT:
            if kind == READ and end % ways.ii == slot:
                return True
            if kind == HOLD and (slot - start - 1) % ways.ii < end - start:
                return True
    return False


@kernel
def route_net(ways, words, net, places):
    """Cheapest ways, at the time, of a net that uses nothing, from its first consumer on."""
    source = words.source[net]
    home, begin = places.tile[source], places.time[source] + words.ready[net]
    first, last = words.first[net], words.first[net + 1]
    ways.length[net] = 0
    ways.tree[0, home] = True
    ways.done[first:last] = False
    for _ in range(first, last):
        chosen, least = -1, 0
        for k in range(first, last):
            # Of two at a time, first the one from a register, which serves the other as well.
            time = 2 * (places.time[words.taker[k]] + words.passed[k]) - words.register[k]
            if not ways.done[k] and (chosen < 0 or time < least):
                chosen, least = k, time
        ways.done[chosen] = True
        taker = words.taker[chosen]
        _connect(ways, net, home, begin, places.tile[taker],
                 places.time[taker] + words.passed[chosen] - begin, words.register[chosen])
    ways.tree[0, home] = False
    _forget(ways, net, begin)


@kernel
def _connect(ways, net, home, begin, goal, end, register):
    """Extend the tree of a net to ``goal``, ``end`` cycles after its first place."""
    # Another consumer takes the word there; if from a register, it came first.
    if ways.tree[end, goal] and not register:
        return
    if register:
        for k in range(ways.length[net]):
            kind, _, _, tile, time = ways.steps[ways.room[net] + k]
            if kind == WAIT and tile == goal and time - begin == end:
                return
    t, tile = _search(ways, home, begin, goal, end, register, PLAIN)
    if end - t >= ways.ii and _crosses(ways, begin, tile, t, goal, end):
        t, tile = _search(ways, home, begin, goal, end, register, CAREFUL)
    while t < end:
        kind, to, later = ways.came[t, tile]
        step = ways.steps[ways.room[net] + ways.length[net]]
        step[0], step[1], step[2], step[3], step[4] = kind, tile, begin + t, to, begin + later
        ways.length[net] += 1
        ways.tree[later, to] = True
        _take(ways, step, begin, TAKE)
        t, tile = later, to


@kernel
def _search(ways, home, begin, goal, end, register, careful):
    """Where the cheapest way from the tree of a net to a goal begins; searched from its end.

    ``careful``: ``PLAIN`` or ``CAREFUL``.
    """
    tiles, ii = ways.hops.shape[0], ways.ii
    ways.best[end] = FAR
    ways.best[end, goal] = 0.0
    lowest, least, found, place = end, FAR, -1, -1
    t = end
    while t >= lowest:
        slot = (begin + t) % ii
        slot_before = (begin + t - HOP) % ii
        for tile in range(tiles):
            cost = ways.best[t, tile]
            if cost >= least:
                continue
            # A word that must come from a register is not wanted from elsewhere.
            must_wait = register and t == end
            if ways.tree[t, tile] and not must_wait:
                least, found, place = cost, t, tile
                continue
            spare = t - ways.hops[home, tile] * HOP
            way = tile, t, goal, end, careful
            if not must_wait and t >= HOP:
                for side in range(WRITE):
                    other = ways.beside[side, tile]
                    if other < 0 or ways.hops[home, other] * HOP > t - HOP:
                        continue
                    kind = ways.facing[side]
                    now = cost + _price(ways, kind, other, t - HOP, slot_before, way)
                    if now < least:
                        lowest = _relax(ways, lowest, now, kind, other, t - HOP, tile, t)
            if spare <= 0:
                continue
            cost += _price(ways, READ, tile, t, slot, way)
            # A register is written again an iteration later, and read until then.
            held = slot
            for start in range(t - 1, t - min(spare, ii) - 1, -1):
                cost += _price(ways, HOLD, tile, start + 1, held, way)
                if cost >= least:
                    break
                held = (held or ii) - 1
                now = cost + _price(ways, WRITE, tile, start, held, way)
                if now < least:
                    lowest = _relax(ways, lowest, now, WAIT, tile, start, tile, t)
        t -= 1
    return found, place


@inlined
def _relax(ways, lowest, cost, kind, tile, t, to, later):
    """Note a way from a place if it is cheaper; returns the first cycle that is in use."""
    while lowest > t:
        lowest -= 1
        ways.best[lowest] = FAR
    if cost < ways.best[t, tile]:
        ways.best[t, tile] = cost
        ways.came[t, tile, 0], ways.came[t, tile, 1], ways.came[t, tile, 2] = kind, to, later
    return lowest


@inlined
def _price(ways, kind, tile, t, slot, way):
    """Price of a resource in cycle ``t``, nothing for what the net uses anyway.

    ``way``: place, goal and ``careful`` of the search.
    """
    if ways.own[kind, tile, t]:
        return 0.0
    if way[4]:
        over = _over(ways, kind, tile, t, slot, way)
        return ways.base[kind] * (1.0 + ways.history[kind, tile, slot]) * (
            1.0 + ways.sums[2] * max(over, 0))
    return ways.price[kind, tile, slot]


@kernel
def _over(ways, kind, tile, t, slot, way):
    """Users too many of a resource in cycle ``t``, with those of the way to the goal in others."""
    place, at, goal, end, _ = way
    met, ii = 0, ways.ii
    while at < end or place != goal:
        step, to, later = ways.came[at, place]
        if place == tile:
            met += step == kind and (at - t) % ii == 0 and at != t
            if step == WAIT:
                met += kind == READ and (later - t) % ii == 0 and later != t
                if kind == HOLD:
                    for held in range(at + 1, later + 1):
                        met += (held - t) % ii == 0 and held != t
        place, at = to, later
    return ways.used[kind, tile, slot] + met + 1 - ways.limit[kind, tile, slot]


@kernel
def _crosses(ways, begin, place, t, goal, end):
    """Whether a way found leaves no room for itself in other iterations, or has none anyway."""
    while t < end:
        kind, to, later = ways.came[t, place]
        way = to, later, goal, end, CAREFUL
        if _lacks(ways, kind, place, t, begin, way):
            return True
        if kind == WAIT:
            if _lacks(ways, READ, place, later, begin, way):
                return True
            for at in range(t + 1, later + 1):
                if _lacks(ways, HOLD, place, at, begin, way):
                    return True
        place, t = to, later
    return False


@kernel
def _lacks(ways, kind, tile, t, begin, way):
    """Whether there is no room for what a way needs."""
    return not ways.own[kind, tile, t] and _over(
        ways, kind, tile, t, (begin + t) % ways.ii, way) > 0
