"""Kernels that find the cheapest ways of an operation's word to all its consumers.

A word is at a place ``(tile, cycle)`` when the tile's crossbar has it: an operation's result, from
a link, or read from a register.  Every step takes time, so that a search in the order of cycles
finds the cheapest way from each place.
"""

import numpy as np

from compiler.dataflow.kernel import inlined, kernel
from compiler.dataflow.ways import HOLD, READ, TAKE, WAIT, WRITE, forget, take
from spu.arch import timing

HOP, FAR = timing.HOP, 1e30
#: Places that one search may look at.
MOST_LOOKS = 2e7
#: Whether a way that meets its word of another iteration counts twice there.
PLAIN, CAREFUL = np.int64(0), np.int64(1)


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
    forget(ways, net, begin)


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
    if t >= 0 and end - t >= ways.ii and _crosses(ways, begin, tile, t, goal, end):
        t, tile = _search(ways, home, begin, goal, end, register, CAREFUL)
    if t < 0:
        ways.sums[4] += 1
        return
    while t < end:
        kind, to, later = ways.came[t, tile]
        step = ways.steps[ways.room[net] + ways.length[net]]
        step[0], step[1], step[2], step[3], step[4] = kind, tile, begin + t, to, begin + later
        ways.length[net] += 1
        ways.tree[later, to] = True
        take(ways, step, begin, TAKE)
        t, tile = later, to


@kernel
def _search(ways, home, begin, goal, end, register, careful):
    """Where the cheapest way from the tree of a net to a goal begins; searched from its end.

    ``careful``: ``PLAIN`` or ``CAREFUL``.  Before all cycles, if that is too long to be searched.
    """
    tiles, ii = ways.hops.shape[0], ways.ii
    most = ways.sums[3] + MOST_LOOKS
    ways.best[end] = FAR
    ways.best[end, goal] = 0.0
    lowest, least, found, place = end, FAR, -1, -1
    t = end
    while t >= lowest:
        if ways.sums[3] > most:
            return -1, -1
        slot = (begin + t) % ii
        slot_before = (begin + t - HOP) % ii
        for tile in range(tiles):
            cost = ways.best[t, tile]
            if cost >= least:
                continue
            ways.sums[3] += 1
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
                ways.sums[3] += 1
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
