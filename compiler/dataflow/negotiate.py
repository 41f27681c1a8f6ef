"""Ways of all words by negotiated congestion, and operations moved until there are some.

L. McMurchie and C. Ebeling, "PathFinder: a negotiation-based performance-driven router for
FPGAs", FPGA 1995: all words take their cheapest way, resources that several want become dearer
each round, until none has more users than it holds.  Where that is not enough, operations whose
words meet at a full resource move, as in annealing, but by the cost of the ways themselves
(S. Friedman et al., "SPR: an architecture-adaptive CGRA mapping tool", FPGA 2009).
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from compiler.dataflow.graph import Edge
from compiler.dataflow.kernel import kernel
from compiler.dataflow.mend import FIRM, LOOKS, PIECE, SCANNED, Nets, mend
from compiler.dataflow.moves import Places, Rules, excess, placed_of, places_of, rows, rules
from compiler.dataflow.route import Hop, Net, Routes, Wait, allocate
from compiler.dataflow.schedule import Placed, Request, windows
from compiler.dataflow.search import route_net
from compiler.dataflow.ways import (
    GIVE,
    HOLD,
    KINDS,
    NO_ROW,
    READ,
    TAKE,
    WAIT,
    Ways,
    Words,
    count,
    learn,
    use,
    uses,
    ways,
)
from spu.arch.operations import CONSTANT

#: Rounds before operations move; pressure at first, its growth, and what full resources learn.
ROUNDS, PRESSURE, GROWTH, HISTORY = 30, 0.5, 1.3, 0.4
#: Users too many after the rounds with which no operation is moved.
HOPELESS = 200
#: Times that registers are found to be too few for waits that overlap.
COLOURINGS = 10
#: Seconds of a look at a place.
SECONDS_A_LOOK = 1e-7


@dataclass(frozen=True)
class Routed:
    """A schedule, the ways of its words, and those that come from a register."""

    placed: Placed
    routes: Routes
    registered: frozenset[Edge]


@dataclass(frozen=True)
class Congested:
    """What stayed too full; ``hopeless``: so much that another schedule would not help."""

    reason: str
    hopeless: bool = False


def negotiate(request: Request, placed: Placed, looks: float = LOOKS) -> Routed | Congested:
    """Ways for all words of a schedule, or of one that comes of it.

    ``looks``: places that may be looked at while operations move.  The same request gives the
    same answer.
    """
    graph, ii = request.graph, placed.ii
    window = windows(request, ii)
    assert window is not None
    arrays = rules(request, ii, window)
    places = places_of(request, arrays, placed)
    words, edges = _words(request, ii)
    last = max(high for _, high in window.values())
    state = ways(request.grid, ii, request.registers, words, np.array(
        [last + max(words.passed[a:b]) for a, b in zip(words.first, words.first[1:], strict=False)],
        np.int64))
    nets = _nets(words, places, state)
    fed = {e.dst for e in graph.edges if graph.nodes[e.src].op == CONSTANT}
    constant = np.array([n in fed for n in graph.operations])
    for seen in _rounds(state, words, nets, arrays, places, constant):
        request.budget.spend(seen * SECONDS_A_LOOK)
    if state.sums[1] > HOPELESS:
        return Congested(_too_full(request, state, arrays, places), True)
    for attempt in range(COLOURINGS):
        for seen in mend(state, words, nets, arrays, places, constant, request.seed + attempt,
                         looks):
            request.budget.spend(seen * SECONDS_A_LOOK)
        reason = _too_full(request, state, arrays, places)
        if reason:
            return Congested(reason)
        sources = [edges[k].src for k in words.first[:-1]]
        found = tuple(_net(request, state, words, n, places, k) for k, n in enumerate(sources))
        register, full = allocate(found, ii, request.registers)
        if not full:
            return Routed(placed_of(request, arrays, places), Routes(found, register),
                          frozenset(edges[k] for k in np.flatnonzero(words.register)))
        for (row, col), slot in full:
            state.limit[HOLD, row * request.grid.cols + col, slot] -= 1
        learn(state, FIRM, 0.0)
    return Congested(f"the registers of tile {full[0][0]} are too few for words that wait")


def _words(request: Request, ii: int) -> tuple[Words, list[Edge]]:
    """All words that are on their way, and their edges."""
    graph, nets = request.graph, dict[int, list[Edge]]()
    for edge in graph.words:
        nets.setdefault(edge.src, []).append(edge)
    number, row = {n: i for i, n in enumerate(graph.operations)}, rows(graph)
    edges = [e for net in nets.values() for e in net]
    at = {e: i for i, e in enumerate(edges)}
    choices = [graph.wide.get(n, ()) if request.free_choice else () for n in number]
    return Words(
        np.array([number[n] for n in nets], np.int64),
        np.array([request.latency[n] for n in nets], np.int64),
        np.array([request.ready(n) for n in nets], np.int64),
        np.cumsum([0, *map(len, nets.values())]),
        np.array([number[e.dst] for e in edges], np.int64),
        np.array([ii * e.distance for e in edges], np.int64),
        np.array([e in request.registered for e in edges], np.bool_),
        np.array([row.get(e, NO_ROW) for e in edges], np.int64),
        np.array([i for i, net in enumerate(nets.values()) for _ in net], np.int64),
        np.cumsum([0, *map(len, choices)]),
        np.array([at[e] for part in choices for e in part], np.int64)), edges


def _nets(words: Words, places: Places, state: Ways) -> Nets:
    """Words in a hurry have the least choice, and come first."""
    sources = range(len(words.source))
    takers = [words.taker[words.first[k]:words.first[k + 1]].tolist() for k in sources]
    ends = places.time[words.taker] + words.passed
    order = sorted(sources, key=lambda k: (
        max(ends[words.first[k]:words.first[k + 1]]) - places.time[words.source[k]], k))
    of: list[set[int]] = [set() for _ in places.time]
    for k in sources:
        for n in (int(words.source[k]), *takers[k]):
            of[n].add(k)
    return Nets(np.array(order, np.int64), np.cumsum([0, *map(len, of)]),
                np.array([k for part in of for k in sorted(part)], np.int64),
                np.zeros(len(order) + 1, np.int64), np.zeros_like(state.steps),
                np.zeros_like(state.length))


def _net(request: Request, state: Ways, words: Words, source: int, places: Places, k: int) -> Net:
    """The ways of a net."""
    tiles, n = request.grid.tiles, words.source[k]
    origin = tiles[places.tile[n]], int(places.time[n] + words.ready[k])
    net, begin = Net(source, {origin: None}), state.room[k]
    for kind, tile, start, to, end in state.steps[begin:begin + state.length[k]].tolist():
        first, last = (tiles[tile], start), (tiles[to], end)
        net.into[last] = Wait(first, last) if kind == WAIT else Hop(first, KINDS[kind])
    return net


def _too_full(request: Request, state: Ways, arrays: Rules, places: Places) -> str:
    """What has more users than it holds, or nothing."""
    if state.sums[4]:
        return "the way of a word is too long to be searched"
    tiles = request.grid.tiles
    full = [f"{KINDS[kind]} of tile {tiles[tile]} in slot {slot}" for kind, tile, slot in zip(
        *(index.tolist() for index in np.nonzero(state.used > state.limit)), strict=True)]
    if full:
        return "no free way through " + ", ".join(full[:3])
    over = [tile for i, tile in enumerate(tiles) if excess(arrays, places, i)]
    return f"{' and '.join(s.name for s in request.scarce)} of tile {over[0]}" if over else ""


def _rounds(ways, words, nets, rules, places, constant) -> Generator[float]:
    """Route all nets, and again those that meet others, until none do or nothing helps.

    Yields the looks of each part of the work.
    """
    pressure = PRESSURE
    _prepare(ways, rules, places, constant, pressure)
    for number in range(ROUNDS + 1):
        if number:
            pressure *= GROWTH
            learn(ways, pressure, HISTORY)
        done = 0
        while done < len(nets.order):
            seen = float(ways.sums[3])
            done = _route(ways, words, nets, places, done, number > 0)
            yield float(ways.sums[3]) - seen
        if ways.sums[1] == 0 or ways.sums[4]:
            return
    # Operations will move, and others will be in the way.
    ways.history[:] = 0.0
    learn(ways, FIRM, 0.0)


@kernel
def _prepare(ways, rules, places, constant, pressure):
    """Constants take ports."""
    for n in range(len(constant)):
        if constant[n]:
            use(ways, READ, places.tile[n], places.time[n] % rules.ii, TAKE)
    learn(ways, pressure, 0.0)


@kernel
def _route(ways, words, nets, places, done, again):
    """Route nets from a number on, those that meet others if ``again``; returns the next number."""
    now = ways.sums[3] + PIECE
    while done < len(nets.order) and ways.sums[3] < now:
        net = nets.order[done]
        if again:
            ways.sums[3] += ways.used.size / SCANNED
        if not again:
            route_net(ways, words, net, places)
        elif _meets(ways, net):
            count(ways, words, net, places, GIVE)
            route_net(ways, words, net, places)
        done += 1
    return done


@kernel
def _meets(ways, net):
    """Whether a net uses a full resource."""
    kinds, tiles, slots = ways.used.shape
    for kind in range(kinds):
        for tile in range(tiles):
            for slot in range(slots):
                if ways.used[kind, tile, slot] > ways.limit[kind, tile, slot] \
                        and uses(ways, net, kind, tile, slot):
                    return True
    return False
