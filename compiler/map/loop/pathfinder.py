"""Routes of all nets by negotiated congestion, and operations moved until there are some.

L. McMurchie and C. Ebeling, "PathFinder: a negotiation-based performance-driven router for
FPGAs", FPGA 1995: all nets take their cheapest routes; in each iteration those at overused
resources are ripped up and routed again, while present congestion costs more and history grows,
until nothing is overused.  Where that is not enough, operations move: see ``rip_up``.
"""

from collections.abc import Generator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from compiler.ir.dataflow import Edge
from compiler.map.loop.kernel import kernel
from compiler.map.loop.maze import route_net
from compiler.map.loop.mrrg import (
    HOLD,
    NO_DEPENDENCE,
    OCCUPY,
    READ,
    RELEASE,
    RESOURCES,
    WAIT,
    Mrrg,
    Nets,
    mrrg_of,
    occupies,
    occupy,
    occupy_tree,
    update_costs,
)
from compiler.map.loop.placement import (
    Constraints,
    Placement,
    constraints_of,
    dependence_numbers,
    excess,
    placed_of,
    placement_of,
)
from compiler.map.loop.rip_up import (
    EXPANSIONS,
    PIECE,
    PRESENT_FACTOR,
    SCANNED,
    NetOrder,
    rip_up_and_reroute,
)
from compiler.map.loop.route import Hop, Routes, RouteTree, Wait, allocate
from compiler.map.loop.schedule import Grid, Placed, Request, mobility
from spu.arch.operations import CONSTANT

#: Iterations of negotiation before operations move; chosen, not tuned.
ITERATIONS = 30
#: Factor of present congestion at first, its growth in each iteration, and what history grows by;
#: chosen, not tuned.
FIRST_FACTOR, GROWTH, HISTORY_INCREMENT = 0.5, 1.3, 0.4
#: Overuse after the iterations with which no operation is moved; chosen, not tuned.
HOPELESS = 200
#: Times that registers are found to be too few for waits that overlap; chosen, not tuned.
ALLOCATIONS = 10
#: Seconds of an expansion, to count work by; measured on verif/stimulus/dataflows.py: 0.8e-7.
SECONDS_PER_EXPANSION = 1e-7


@dataclass(frozen=True)
class Routed:
    """A schedule, the routes of its words, and those that come from a register."""

    placed: Placed
    routes: Routes
    registered: frozenset[Edge]


@dataclass(frozen=True)
class Congested:
    """What stayed overused; ``hopeless``: so much that another schedule would not help."""

    reason: str
    hopeless: bool = False


def negotiate(
    request: Request, placed: Placed, expansions: float = EXPANSIONS
) -> Routed | Congested:
    """Routes for all words of a schedule, or of one that comes of it.

    ``expansions``: nodes that may be expanded while operations move.  The same request gives the
    same answer.
    """
    graph, ii = request.graph, placed.ii
    window = mobility(request, ii)
    assert window is not None
    constraints = constraints_of(request, ii, window)
    placement = placement_of(request, constraints, placed)
    nets, edges = _nets(request, ii)
    last, begin = max(high for _, high in window.values()), nets.sink_begin
    mrrg = mrrg_of(
        request.grid,
        ii,
        request.registers,
        nets,
        np.array([last + max(nets.offset[a:b]) for a, b in pairwise(begin)], np.int64),
    )
    order = _order(nets, placement, mrrg)
    fed = {e.dst for e in graph.edges if graph.nodes[e.src].op == CONSTANT}
    constant = np.array([n in fed for n in graph.operations])
    _prepare(mrrg, placement, constant, FIRST_FACTOR)
    for expanded in _negotiation(mrrg, nets, order, placement):
        request.budget.spend(expanded * SECONDS_PER_EXPANSION)
    if mrrg.totals["overuse"]:
        # Operations will move, and others will be in the way.
        mrrg.history[:] = 0.0
        update_costs(mrrg, PRESENT_FACTOR, 0.0)
    if mrrg.totals["overuse"] > HOPELESS:
        return Congested(_overused(request, mrrg, constraints, placement), True)
    for attempt in range(ALLOCATIONS):
        for expanded in rip_up_and_reroute(
            mrrg, nets, order, constraints, placement, constant, request.seed + attempt, expansions
        ):
            request.budget.spend(expanded * SECONDS_PER_EXPANSION)
        reason = _overused(request, mrrg, constraints, placement)
        if reason:
            return Congested(reason)
        trees = tuple(
            _route_tree(request.grid, mrrg, nets, edges[k].src, placement, net)
            for net, k in enumerate(begin[:-1])
        )
        register, full = allocate(trees, ii, request.registers)
        if not full:
            return Routed(
                placed_of(request, constraints, placement),
                Routes(trees, register),
                frozenset(edges[k] for k in np.flatnonzero(nets.registered)),
            )
        for (row, col), slot in full:
            mrrg.capacity[HOLD, row * request.grid.cols + col, slot] -= 1
        update_costs(mrrg, PRESENT_FACTOR, 0.0)
    return Congested(f"the registers of tile {full[0][0]} are too few for words that wait")


def _nets(request: Request, ii: int) -> tuple[Nets, list[Edge]]:
    """All nets, and the edges of their sinks."""
    graph, by_source = request.graph, dict[int, list[Edge]]()
    for edge in graph.words:
        by_source.setdefault(edge.src, []).append(edge)
    number = {n: i for i, n in enumerate(graph.operations)}
    dependence = dependence_numbers(graph)
    edges = [e for net in by_source.values() for e in net]
    at = {e: i for i, e in enumerate(edges)}
    choices = [graph.wide.get(n, ()) if request.free_choice else () for n in number]
    return Nets(
        source=np.array([number[n] for n in by_source], np.int64),
        latency=np.array([request.latency[n] for n in by_source], np.int64),
        ready=np.array([request.ready(n) for n in by_source], np.int64),
        sink_begin=np.cumsum([0, *map(len, by_source.values())]),
        sink=np.array([number[e.dst] for e in edges], np.int64),
        offset=np.array([ii * e.distance for e in edges], np.int64),
        registered=np.array([e in request.registered for e in edges], np.bool_),
        dependence=np.array([dependence.get(e, NO_DEPENDENCE) for e in edges], np.int64),
        net=np.array([i for i, net in enumerate(by_source.values()) for _ in net], np.int64),
        choice_begin=np.cumsum([0, *map(len, choices)]),
        choice=np.array([at[e] for part in choices for e in part], np.int64),
    ), edges


def _order(nets: Nets, placement: Placement, mrrg: Mrrg) -> NetOrder:
    """Nets that have the least time have the least choice, and come first."""
    count, begin = range(len(nets.source)), nets.sink_begin
    sinks = [nets.sink[begin[k] : begin[k + 1]].tolist() for k in count]
    ends = placement.time[nets.sink] + nets.offset
    order = sorted(
        count,
        key=lambda k: (max(ends[begin[k] : begin[k + 1]]) - placement.time[nets.source[k]], k),
    )
    incident: list[set[int]] = [set() for _ in placement.time]
    for k in count:
        for n in (int(nets.source[k]), *sinks[k]):
            incident[n].add(k)
    return NetOrder(
        order=np.array(order, np.int64),
        incident_begin=np.cumsum([0, *map(len, incident)]),
        incident=np.array([k for part in incident for k in sorted(part)], np.int64),
        ripped=np.zeros(len(order) + 1, np.int64),
        branch=np.zeros_like(mrrg.branch),
        tree_size=np.zeros_like(mrrg.tree_size),
    )


def _route_tree(
    grid: Grid, mrrg: Mrrg, nets: Nets, source: int, placement: Placement, net: int
) -> RouteTree:
    """The route tree of a net."""
    tiles, n = grid.tiles, nets.source[net]
    origin = tiles[placement.tile[n]], int(placement.time[n] + nets.ready[net])
    tree, begin = RouteTree(source, {origin: None}), mrrg.tree_begin[net]
    for kind, tile, start, to, end in mrrg.branch[begin : begin + mrrg.tree_size[net]].tolist():
        first, last = (tiles[tile], start), (tiles[to], end)
        tree.into[last] = Wait(first, last) if kind == WAIT else Hop(first, RESOURCES[kind])
    return tree


def _overused(request: Request, mrrg: Mrrg, constraints: Constraints, placement: Placement) -> str:
    """What has more users than it holds, or nothing."""
    if reason := _congestion(request.grid, mrrg):
        return reason
    tiles = request.grid.tiles
    over = [tile for i, tile in enumerate(tiles) if excess(constraints, placement, i)]
    return f"{' and '.join(s.name for s in request.scarce)} of tile {over[0]}" if over else ""


def _congestion(grid: Grid, mrrg: Mrrg) -> str:
    """Which routing resources are overused, or nothing."""
    if mrrg.totals["given_up"]:
        return "the way of a word is too long to be searched"
    full = [
        f"{RESOURCES[kind]} of tile {grid.tiles[tile]} in slot {slot}"
        for kind, tile, slot in zip(
            *(index.tolist() for index in np.nonzero(mrrg.occupancy > mrrg.capacity)), strict=True
        )
    ]
    return "no free way through " + ", ".join(full[:3]) if full else ""


def route_placed(
    grid: Grid,
    ii: int,
    registers: int,
    nets: Nets,
    placement: Placement,
    constant: NDArray,
    latest: NDArray,
) -> Routes | str:
    """Routes for nets between operations that stay where they are, or what is overused.

    ``constant`` (operations,): reads a constant; ``latest``: as for ``mrrg_of``.  Numbers of
    operations are the sources of route trees.
    """
    mrrg = mrrg_of(grid, ii, registers, nets, latest)
    order = _order(nets, placement, mrrg)
    _prepare(mrrg, placement, constant, FIRST_FACTOR)
    for attempt in range(ALLOCATIONS):
        for _ in _negotiation(mrrg, nets, order, placement, attempt > 0):
            pass
        if mrrg.totals["overuse"] or mrrg.totals["given_up"]:
            break
        trees = tuple(
            _route_tree(grid, mrrg, nets, int(nets.source[net]), placement, net)
            for net in range(len(nets.source))
        )
        register, full = allocate(trees, ii, registers)
        if not full:
            return Routes(trees, register)
        for (row, col), slot in full:
            mrrg.capacity[HOLD, row * grid.cols + col, slot] -= 1
    return _congestion(grid, mrrg) or "registers for words that wait"


def _negotiation(mrrg, nets, order, placement, again=False) -> Generator[float]:
    """Route all nets, and again those that meet others, until none do or nothing helps.

    ``again``: there are routes already.  Yields the nodes expanded in each part of the work.
    """
    factor = FIRST_FACTOR
    for iteration in range(ITERATIONS + 1):
        if iteration or again:
            factor *= GROWTH
            update_costs(mrrg, factor, HISTORY_INCREMENT)
        done = 0
        while done < len(order.order):
            before = float(mrrg.totals["expanded"])
            done = _route(mrrg, nets, order, placement, done, iteration > 0 or again)
            yield float(mrrg.totals["expanded"]) - before
        if mrrg.totals["overuse"] == 0 or mrrg.totals["given_up"]:
            return


@kernel
def _prepare(mrrg, placement, constant, present_factor):
    """Constants take ports."""
    for n in range(len(constant)):
        if constant[n]:
            occupy(mrrg, READ, placement.tile[n], placement.time[n] % mrrg.ii, OCCUPY)
    update_costs(mrrg, present_factor, 0.0)


@kernel
def _route(mrrg, nets, order, placement, done, again):
    """Route nets from a number on, those that meet others if ``again``; returns the next number."""
    now = mrrg.totals.expanded + PIECE
    while done < len(order.order) and mrrg.totals.expanded < now:
        net = order.order[done]
        if again:
            mrrg.totals.expanded += mrrg.occupancy.size / SCANNED
        if not again:
            route_net(mrrg, nets, net, placement)
        elif _meets(mrrg, net):
            occupy_tree(mrrg, nets, net, placement, RELEASE)
            route_net(mrrg, nets, net, placement)
        done += 1
    return done


@kernel
def _meets(mrrg, net):
    """Whether a net occupies an overused resource."""
    kinds, tiles, slots = mrrg.occupancy.shape
    for kind in range(kinds):
        for tile in range(tiles):
            for slot in range(slots):
                if mrrg.occupancy[kind, tile, slot] > mrrg.capacity[kind, tile, slot] and occupies(
                    mrrg, net, kind, tile, slot
                ):
                    return True
    return False
