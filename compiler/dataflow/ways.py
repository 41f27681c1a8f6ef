"""Words, their ways, and who uses what: the state of a router, as arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.kernel import kernel
from compiler.dataflow.schedule import Grid
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
#: Row of a word from an operation to itself.
NO_ROW = -1
#: Changes of the number of users.
TAKE, GIVE = np.int64(1), np.int64(-1)


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

    ``sums``: cost of all that is used, users too many, pressure on full resources, places that
    were looked at so far, and words whose way was too long to be searched.  ``steps``: kind, tile
    and cycle from which and to which a step leads; a net has ``length`` of them, from ``room`` on.
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
    # A step takes a cycle at least, and leads to another place than all but those that consumers
    # take from a register.
    takers = np.diff(words.first)
    room = np.cumsum([0, *(np.minimum(takers, tiles) * (latest + 1) + takers)])
    return Ways(
        ii, np.zeros(shape, np.int64), limit, np.zeros(shape),
        np.repeat(base, tiles * ii).reshape(shape), base, np.zeros(5),
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
    ways.sums[0] = ways.sums[1] = 0
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
def take(ways, step, begin, change):
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
def forget(ways, net, begin):
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
        take(ways, ways.steps[ways.room[net] + k], begin, change)
    forget(ways, net, begin)


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
