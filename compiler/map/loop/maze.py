"""Maze routing of a net: the cheapest paths of an operation's word to all its sinks, in the MRRG.

A word is at a node ``(tile, cycle)`` when the tile's crossbar has it: an operation's result, from
a link, or read from a register.  The tree grows sink by sink; each search goes backward from the
sink to any node of the tree (C. Y. Lee, "An algorithm for path connections and its applications",
IRE Transactions on Electronic Computers EC-10, 1961; by cost E. W. Dijkstra, 1959).  Every branch
takes time, so that to expand nodes in the order of cycles needs no queue.
"""

from typing import NamedTuple

import numpy as np

from compiler.map.loop.kernel import Integer, inlined, kernel
from compiler.map.loop.mrrg import HOLD, OCCUPY, READ, WAIT, WRITE, clear_marks, occupy_branch
from spu.arch import timing

HOP, FAR = timing.HOP, 1e30
#: Nodes that one search may expand: some seconds; chosen, not tuned.
MOST_EXPANDED = 2e7
#: Whether what a path occupies in other iterations counts as congestion for itself.
APART, FOLDED = np.int64(0), np.int64(1)


class Path(NamedTuple):
    """What a search has found from a node on: to its sink, by ``Mrrg.onward``.

    ``folded``: ``APART`` or ``FOLDED``.
    """

    tile: Integer
    cycle: Integer
    sink_tile: Integer
    sink_cycle: Integer
    folded: Integer


@kernel
def route_net(mrrg, nets, net, placement):
    """Cheapest route tree, at present costs, of a net that is ripped up, earliest sinks first."""
    source = nets.source[net]
    home, begin = placement.tile[source], placement.time[source] + nets.ready[net]
    first, last = nets.sink_begin[net], nets.sink_begin[net + 1]
    mrrg.tree_size[net] = 0
    mrrg.in_tree[0, home] = True
    mrrg.done[first:last] = False
    for _ in range(first, last):
        chosen, least = -1, 0
        for k in range(first, last):
            # Of two at a time, first the one from a register, which serves the other as well.
            time = 2 * (placement.time[nets.sink[k]] + nets.offset[k]) - nets.registered[k]
            if not mrrg.done[k] and (chosen < 0 or time < least):
                chosen, least = k, time
        mrrg.done[chosen] = True
        sink = nets.sink[chosen]
        _route_sink(
            mrrg,
            net,
            home,
            begin,
            placement.tile[sink],
            placement.time[sink] + nets.offset[chosen] - begin,
            nets.registered[chosen],
        )
    mrrg.in_tree[0, home] = False
    clear_marks(mrrg, net, begin)


@kernel
def _route_sink(mrrg, net, home, begin, goal, end, registered):
    """Extend the route tree of a net to tile ``goal``, ``end`` cycles after its first node."""
    # Another sink takes the word there; if from a register, it came first.
    if mrrg.in_tree[end, goal] and not registered:
        return
    if registered:
        for k in range(mrrg.tree_size[net]):
            branch = mrrg.branch[mrrg.tree_begin[net] + k]
            if branch.kind == WAIT and branch.to_tile == goal and branch.to_cycle - begin == end:
                return
    t, tile = _search(mrrg, home, begin, goal, end, registered, APART)
    if t >= 0 and end - t >= mrrg.ii and _overuses(mrrg, begin, tile, t, goal, end):
        t, tile = _search(mrrg, home, begin, goal, end, registered, FOLDED)
    if t < 0:
        mrrg.totals.given_up += 1
        return
    while t < end:
        step = mrrg.onward[t, tile]
        branch = mrrg.branch[mrrg.tree_begin[net] + mrrg.tree_size[net]]
        branch.kind, branch.tile, branch.cycle = step.kind, tile, begin + t
        branch.to_tile, branch.to_cycle = step.tile, begin + step.cycle
        mrrg.tree_size[net] += 1
        mrrg.in_tree[step.cycle, step.tile] = True
        occupy_branch(mrrg, branch, begin, OCCUPY)
        t, tile = step.cycle, step.tile


@kernel
def _search(mrrg, home, begin, goal, end, registered, folded):
    """Node of a net's tree from which the cheapest path to a sink leads; searched backward.

    Before all cycles, if the search is too long.
    """
    tiles, ii = mrrg.hops.shape[0], mrrg.ii
    most = mrrg.totals.expanded + MOST_EXPANDED
    mrrg.path_cost[end] = FAR
    mrrg.path_cost[end, goal] = 0.0
    lowest, least, found, place = end, FAR, -1, -1
    t = end
    while t >= lowest:
        if mrrg.totals.expanded > most:
            return -1, -1
        slot = (begin + t) % ii
        slot_before = (begin + t - HOP) % ii
        for tile in range(tiles):
            cost = mrrg.path_cost[t, tile]
            if cost >= least:
                continue
            mrrg.totals.expanded += 1
            # A word that must come from a register is not wanted from elsewhere.
            must_wait = registered and t == end
            if mrrg.in_tree[t, tile] and not must_wait:
                least, found, place = cost, t, tile
                continue
            spare = t - mrrg.hops[home, tile] * HOP
            path = Path(tile, t, goal, end, folded)
            if not must_wait and t >= HOP:
                for side in range(WRITE):
                    other = mrrg.neighbour[side, tile]
                    if other < 0 or mrrg.hops[home, other] * HOP > t - HOP:
                        continue
                    kind = mrrg.reverse[side]
                    now = cost + _cost(mrrg, kind, other, t - HOP, slot_before, path)
                    if now < least:
                        lowest = _relax(mrrg, lowest, now, kind, other, t - HOP, tile, t)
            if spare <= 0:
                continue
            cost += _cost(mrrg, READ, tile, t, slot, path)
            # A register is written again an iteration later, and read until then.
            held = slot
            for start in range(t - 1, t - min(spare, ii) - 1, -1):
                cost += _cost(mrrg, HOLD, tile, start + 1, held, path)
                if cost >= least:
                    break
                held = (held or ii) - 1
                mrrg.totals.expanded += 1
                now = cost + _cost(mrrg, WRITE, tile, start, held, path)
                if now < least:
                    lowest = _relax(mrrg, lowest, now, WAIT, tile, start, tile, t)
        t -= 1
    return found, place


@inlined
def _relax(mrrg, lowest, cost, kind, tile, t, to, later):
    """Note a path from a node if it is cheaper; returns the first cycle that is in use."""
    while lowest > t:
        lowest -= 1
        mrrg.path_cost[lowest] = FAR
    if cost < mrrg.path_cost[t, tile]:
        mrrg.path_cost[t, tile] = cost
        step = mrrg.onward[t, tile]
        step.kind, step.tile, step.cycle = kind, to, later
    return lowest


@inlined
def _cost(mrrg, kind, tile, t, slot, path):
    """Cost of a resource in cycle ``t``, before a path; nothing for what the net occupies."""
    if mrrg.own[kind, tile, t]:
        return 0.0
    if path.folded:
        over = _overuse(mrrg, kind, tile, t, slot, path)
        return (
            mrrg.base_cost[kind]
            * (1.0 + mrrg.history[kind, tile, slot])
            * (1.0 + mrrg.totals.present_factor * max(over, 0))
        )
    return mrrg.cost[kind, tile, slot]


@kernel
def _overuse(mrrg, kind, tile, t, slot, path):
    """Users beyond capacity of a resource in cycle ``t``, with the path itself in other ones."""
    place, at = path.tile, path.cycle
    met, ii = 0, mrrg.ii
    while at < path.sink_cycle or place != path.sink_tile:
        step = mrrg.onward[at, place]
        if place == tile:
            met += step.kind == kind and (at - t) % ii == 0 and at != t
            if step.kind == WAIT:
                met += kind == READ and (step.cycle - t) % ii == 0 and step.cycle != t
                if kind == HOLD:
                    for held in range(at + 1, step.cycle + 1):
                        met += (held - t) % ii == 0 and held != t
        place, at = step.tile, step.cycle
    return mrrg.occupancy[kind, tile, slot] + met + 1 - mrrg.capacity[kind, tile, slot]


@kernel
def _overuses(mrrg, begin, place, t, goal, end):
    """Whether a path found leaves no room for itself in other iterations, or has none anyway."""
    while t < end:
        step = mrrg.onward[t, place]
        path = Path(step.tile, step.cycle, goal, end, FOLDED)
        if _lacks(mrrg, step.kind, place, t, begin, path):
            return True
        if step.kind == WAIT:
            if _lacks(mrrg, READ, place, step.cycle, begin, path):
                return True
            for at in range(t + 1, step.cycle + 1):
                if _lacks(mrrg, HOLD, place, at, begin, path):
                    return True
        place, t = step.tile, step.cycle
    return False


@kernel
def _lacks(mrrg, kind, tile, t, begin, path):
    """Whether there is no room for what a path needs."""
    return (
        not mrrg.own[kind, tile, t]
        and _overuse(mrrg, kind, tile, t, (begin + t) % mrrg.ii, path) > 0
    )
