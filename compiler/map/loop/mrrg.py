"""The modulo routing resource graph, who occupies it, and the nets that are routed in it.

A node of the graph (MRRG: B. Mei et al., "Exploiting loop-level parallelism on coarse-grained
reconfigurable architectures using modulo scheduling", DATE 2003) is a tile's crossbar in a cycle;
a branch leads to the next one over a link, or through a register in which a word waits.  What
branches use is shared by all iterations: resources of a tile are those of a slot, a cycle modulo
II.

Costs are those of negotiated congestion (L. McMurchie and C. Ebeling, "PathFinder: a
negotiation-based performance-driven router for FPGAs", FPGA 1995): base cost with history, times
what the present congestion costs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.map.loop.kernel import kernel
from compiler.map.loop.schedule import Grid
from spu.arch.context import LINKS
from spu.arch.params import NEIGHBOURS, neighbour

#: Kinds of routing resources of a tile in a slot: links out of it, the write port of its registers,
#: read ports, registers.  Numbers of numpy are not constants to numba, which would compile a kernel
#: for each.
RESOURCES = (*LINKS, "write", "read", "hold")
WRITE, READ, HOLD = (np.int64(RESOURCES.index(kind)) for kind in ("write", "read", "hold"))
#: Words that a tile reads from its registers in a slot; a constant is one.
READ_PORTS = 2
#: Kind of a branch that waits in a register; the others are links.
WAIT = WRITE
#: Base cost of each kind: a hop takes a link of which there are few, a register is cheap to keep;
#: chosen, not tuned.
BASE_COSTS = (*[1.0] * len(LINKS), 0.6, 0.4, 0.1)
#: Cost of an overuse, when whole routings are compared; chosen, not tuned.
OVERUSE_COST = 8.0
#: In ``Nets.dependence``: from an operation to itself.
NO_DEPENDENCE = -1
#: Changes of occupancy.
OCCUPY, RELEASE = np.int64(1), np.int64(-1)
#: A branch of a route tree: its kind, tile and cycle from which and to which it leads.
BRANCH = np.dtype(
    [
        ("kind", np.int64),
        ("tile", np.int64),
        ("cycle", np.int64),
        ("to_tile", np.int64),
        ("to_cycle", np.int64),
    ],
    align=True,
)
#: The branch by which a search leaves a node: its kind, and where it leads.
STEP = np.dtype([("kind", np.int64), ("tile", np.int64), ("cycle", np.int64)], align=True)
#: Cost of all that is occupied; overuse, users beyond capacity; the factor of present congestion;
#: nodes expanded so far; sinks whose search was given up as too long.
TOTALS = np.dtype(
    [
        ("cost", np.float64),
        ("overuse", np.int64),
        ("present_factor", np.float64),
        ("expanded", np.float64),
        ("given_up", np.int64),
    ],
    align=True,
)


class Nets(NamedTuple):
    """What is to be routed: a net for each operation whose word others take, to all its sinks."""

    #: (nets,) int64: the operation.
    source: NDArray
    #: (nets,) int64: cycles from the operation to others that take its word.
    latency: NDArray
    #: (nets,) int64: cycles from the operation to its word being at the crossbar.
    ready: NDArray
    #: (nets + 1,) int64: where in the arrays of sinks those of a net begin.
    sink_begin: NDArray
    #: (sinks,) int64: the operation.
    sink: NDArray
    #: (sinks,) int64: cycles that the distance of the edge gives.
    offset: NDArray
    #: (sinks,) bool: takes the word from a register.
    registered: NDArray
    #: (sinks,) int64: number in ``Constraints.dependence``, or ``NO_DEPENDENCE``.
    dependence: NDArray
    #: (sinks,) int64: the net.
    net: NDArray
    #: (operations + 1,) int64: where in ``choice`` those of an operation begin.
    choice_begin: NDArray
    #: int64: sinks of an operation any of which may take its word from a register.
    choice: NDArray


class Mrrg(NamedTuple):
    """The graph, occupancy and costs of its resources, route trees, and room for a search.

    Cycles of what one net or search uses count from the cycle in which the net's word is at the
    crossbar.
    """

    #: Initiation interval, cycles.
    ii: int
    #: (resources, tiles, ii) int64: nets that use a resource.
    occupancy: NDArray
    #: (resources, tiles, ii) int64: nets that may.
    capacity: NDArray
    #: (resources, tiles, ii) float64: what earlier congestion adds to 1.
    history: NDArray
    #: (resources, tiles, ii) float64: cost for one net more.
    cost: NDArray
    #: (resources,) float64.
    base_cost: NDArray
    #: A record of ``TOTALS``, changed in place.
    totals: np.void
    #: Of ``BRANCH``: room for the route trees of all nets.
    branch: NDArray
    #: (nets + 1,) int64: where in ``branch`` the room of a net begins.
    tree_begin: NDArray
    #: (nets,) int64: branches in its route tree.
    tree_size: NDArray
    #: (links, tiles) int64: the tile that a link leads to, -1 beyond the edge.
    neighbour: NDArray
    #: (links,) int64: the link that leads back.
    reverse: NDArray
    #: (tiles, tiles) int64: hops.
    hops: NDArray
    #: (cycles, tiles) float64, of a search: cost from a node to the sink.
    path_cost: NDArray
    #: (cycles, tiles) of ``STEP``, of a search: the next branch to the sink.
    onward: NDArray
    #: (resources, tiles, cycles) bool, of a net: what it occupies.
    own: NDArray
    #: (cycles, tiles) bool, of a net: nodes of its route tree.
    in_tree: NDArray
    #: (sinks,) bool: routed.
    done: NDArray


def mrrg_of(grid: Grid, ii: int, registers: int, nets: Nets, latest: NDArray) -> Mrrg:
    """A graph that nothing occupies; ``latest`` (nets,): cycle that each may be wanted in."""
    rows, cols = grid.rows, grid.cols
    tiles, cycles = rows * cols, int(latest.max(initial=0)) + 1
    shape = len(RESOURCES), tiles, ii
    capacity = np.ones(shape, np.int64)
    capacity[READ], capacity[HOLD] = READ_PORTS, registers
    base = np.array(BASE_COSTS)
    row, col = np.divmod(np.arange(tiles), cols)
    beside = np.full((len(LINKS), tiles), -1)
    for k, link in enumerate(LINKS):
        for tile in range(tiles):
            r, c = neighbour(int(row[tile]), int(col[tile]), link)
            if 0 <= r < rows and 0 <= c < cols:
                beside[k, tile] = r * cols + c
    # A branch takes a cycle at least, and leads to another node than all but those that sinks
    # take from a register.
    sinks = np.diff(nets.sink_begin)
    room = np.cumsum([0, *(np.minimum(sinks, tiles) * (latest + 1) + sinks)])
    return Mrrg(
        ii=ii,
        occupancy=np.zeros(shape, np.int64),
        capacity=capacity,
        history=np.zeros(shape),
        cost=np.repeat(base, tiles * ii).reshape(shape),
        base_cost=base,
        totals=np.zeros(1, TOTALS)[0],
        branch=np.zeros(int(room[-1]), BRANCH),
        tree_begin=room,
        tree_size=np.zeros(len(nets.source), np.int64),
        neighbour=beside,
        reverse=np.array([LINKS.index(NEIGHBOURS[link][2]) for link in LINKS]),
        hops=abs(row[:, None] - row) + abs(col[:, None] - col),
        path_cost=np.zeros((cycles, tiles)),
        onward=np.zeros((cycles, tiles), STEP),
        own=np.zeros((len(RESOURCES), tiles, cycles), np.bool_),
        in_tree=np.zeros((cycles, tiles), np.bool_),
        done=np.zeros(len(nets.sink), np.bool_),
    )


@kernel
def occupy(mrrg, kind, tile, slot, change):
    """One net more at a resource, or one less: ``change``."""
    before, capacity = mrrg.occupancy[kind, tile, slot], mrrg.capacity[kind, tile, slot]
    after = before + change
    mrrg.occupancy[kind, tile, slot] = after
    over = max(after - capacity, 0) - max(before - capacity, 0)
    base = mrrg.base_cost[kind] * (1.0 + mrrg.history[kind, tile, slot])
    mrrg.totals.cost += change * base + over * OVERUSE_COST
    mrrg.totals.overuse += over
    mrrg.cost[kind, tile, slot] = base * (
        1.0 + mrrg.totals.present_factor * max(after + 1 - capacity, 0)
    )


@kernel
def update_costs(mrrg, present_factor, history_increment):
    """Set the factor of present congestion, and add to the history of what is overused."""
    mrrg.totals.cost = 0.0
    mrrg.totals.overuse = 0
    mrrg.totals.present_factor = present_factor
    kinds, tiles, slots = mrrg.occupancy.shape
    for kind in range(kinds):
        for tile in range(tiles):
            for slot in range(slots):
                users, capacity = mrrg.occupancy[kind, tile, slot], mrrg.capacity[kind, tile, slot]
                over = max(users - capacity, 0)
                if over:
                    mrrg.history[kind, tile, slot] += history_increment
                base = mrrg.base_cost[kind] * (1.0 + mrrg.history[kind, tile, slot])
                mrrg.totals.cost += users * base + over * OVERUSE_COST
                mrrg.totals.overuse += over
                mrrg.cost[kind, tile, slot] = base * (
                    1.0 + present_factor * max(users + 1 - capacity, 0)
                )


@kernel
def occupy_branch(mrrg, branch, begin, change):
    """Occupy what a branch needs and its net does not use yet, or release it."""
    kind, tile, start, end = branch.kind, branch.tile, branch.cycle, branch.to_cycle
    if not mrrg.own[kind, tile, start - begin]:
        mrrg.own[kind, tile, start - begin] = True
        occupy(mrrg, kind, tile, start % mrrg.ii, change)
    if kind == WAIT:
        for t in range(start + 1, end + 1):
            if not mrrg.own[HOLD, tile, t - begin]:
                mrrg.own[HOLD, tile, t - begin] = True
                occupy(mrrg, HOLD, tile, t % mrrg.ii, change)
        # Two reads of the same write in the same cycle are one.
        if not mrrg.own[READ, tile, end - begin]:
            mrrg.own[READ, tile, end - begin] = True
            occupy(mrrg, READ, tile, end % mrrg.ii, change)


@kernel
def clear_marks(mrrg, net, begin):
    """Clear ``own`` and ``in_tree`` after the branches of a net."""
    for k in range(mrrg.tree_size[net]):
        branch = mrrg.branch[mrrg.tree_begin[net] + k]
        kind, tile, start, end = branch.kind, branch.tile, branch.cycle, branch.to_cycle
        mrrg.in_tree[start - begin, tile] = mrrg.in_tree[end - begin, branch.to_tile] = False
        mrrg.own[kind, tile, start - begin] = False
        if kind == WAIT:
            for t in range(start + 1, end + 1):
                mrrg.own[HOLD, tile, t - begin] = False
            mrrg.own[READ, tile, end - begin] = False


@kernel
def occupy_tree(mrrg, nets, net, placement, change):
    """Occupy all that the route tree of a net needs, or release it: rip it up."""
    begin = placement.time[nets.source[net]] + nets.ready[net]
    for k in range(mrrg.tree_size[net]):
        occupy_branch(mrrg, mrrg.branch[mrrg.tree_begin[net] + k], begin, change)
    clear_marks(mrrg, net, begin)


@kernel
def occupies(mrrg, net, kind, tile, slot):
    """Whether the route tree of a net occupies a resource."""
    for k in range(mrrg.tree_size[net]):
        branch = mrrg.branch[mrrg.tree_begin[net] + k]
        if branch.tile != tile:
            continue
        if branch.kind == kind and branch.cycle % mrrg.ii == slot:
            return True
        if branch.kind == WAIT:
            if kind == READ and branch.to_cycle % mrrg.ii == slot:
                return True
            if (
                kind == HOLD
                and (slot - branch.cycle - 1) % mrrg.ii < branch.to_cycle - branch.cycle
            ):
                return True
    return False
