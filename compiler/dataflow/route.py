"""Ways of words through links and registers, by negotiated congestion.

L. McMurchie and C. Ebeling, "PathFinder: a negotiation-based performance-driven router for
FPGAs", FPGA 1995: all words take their cheapest way, resources that several want become dearer
each round, until none has more users than it holds.  A word is at a place ``(tile, cycle)`` when
the tile's crossbar has it: an operation's result, from a link, or read from a register.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from compiler.dataflow.graph import Edge
from compiler.dataflow.schedule import Placed, Request, Tile
from spu.arch import timing
from spu.arch.context import LINKS
from spu.arch.params import neighbour

Place = tuple[Tile, int]
#: A resource of a tile in a slot: a link, ``write`` of a register, ``read`` ports, ``hold``.
Resource = tuple[str, Tile, int]

READ_PORTS = 2
ROUNDS = 50
#: Places that the search may look at in all, for each word, and for each cycle of its longest way:
#: those that get nowhere stop early.
LOOKS, LOOKS_CYCLE = 400, 50
#: A hop takes a link of which there are few, a register is cheap to keep.
COST = {"link": 1.0, "write": 0.6, "read": 0.4, "hold": 0.1}
#: How much dearer a full resource is: in the first round, and from round to round.
PRESSURE, GROWTH, HISTORY = 0.5, 1.3, 0.4


@dataclass(frozen=True)
class Hop:
    """From one place to the next over a link."""

    start: Place
    link: str

    @property
    def end(self) -> Place:
        (row, col), time = self.start
        return neighbour(row, col, self.link), time + timing.HOP


@dataclass(frozen=True)
class Wait:
    """Written to a register of the tile at ``start``, read at ``end``."""

    start: Place
    end: Place


Step = Hop | Wait


@dataclass
class Net:
    """The ways of one operation's word to all its consumers: a tree of steps.

    ``into`` is the step that brings the word to a place.  ``sinks`` are places of consumers and
    whether they take it from a register's second port.
    """

    source: int
    origin: Place
    sinks: list[tuple[Place, bool, Edge]]
    into: dict[Place, Step | None] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """Cycles until the last consumer takes the word."""
        return max(place[1] for place, _, _ in self.sinks) - self.origin[1]

    def uses(self, ii: int) -> Counter[Resource]:
        """How often the net uses each resource: once for each word under way."""
        used: set[tuple[str, Tile, int]] = set()
        for step in self.into.values():
            if step is not None:
                used.update(_absolute(step))
        return Counter((kind, tile, time % ii) for kind, tile, time in used)

    def prune(self) -> None:
        """Forget steps that lead to no consumer: a later way may have replaced what followed."""
        needed: dict[Place, Step | None] = {self.origin: None}
        for place, _, _ in self.sinks:
            while place not in needed:
                step = needed[place] = self.into[place]
                assert step is not None
                place = step.start
        self.into = needed

    def registers(self) -> dict[Place, int]:
        """When each write of a register is read for the last time."""
        last: dict[Place, int] = {}
        for step in self.into.values():
            if isinstance(step, Wait):
                last[step.start] = max(last.get(step.start, 0), step.end[1])
        return last


def _absolute(step: Step) -> Iterator[tuple[str, Tile, int]]:
    """Resources of a step, in cycles of iteration 0."""
    tile, time = step.start
    if isinstance(step, Hop):
        yield step.link, tile, time
        return
    end = step.end[1]
    yield "write", tile, time
    for t in range(time + 1, end + 1):
        yield "hold", tile, t
    # Two reads of the same write in the same cycle are one.
    yield "read", tile, end


@dataclass(frozen=True)
class Routes:
    """Ways of all words, and the registers of their waits: ``register[tile, cycle]``."""

    nets: tuple[Net, ...]
    register: dict[Place, int]

    @property
    def wire(self) -> int:
        """Link slots in use."""
        return sum(isinstance(step, Hop) for net in self.nets for step in net.into.values())


@dataclass(frozen=True)
class Congested:
    """Resources that stayed too full, and the operations next to them whose words want them."""

    resources: tuple[Resource, ...]
    operations: frozenset[int]


def route(request: Request, placed: Placed, constants: frozenset[int]) -> Routes | Congested:
    """Ways for all words; ``constants``: operations that read a constant, which takes a port."""
    router = _Router(request, placed, constants)
    full: list[Resource] = []
    budget = sum(LOOKS + LOOKS_CYCLE * net.cycles for net in router.nets)
    for number in range(ROUNDS):
        for net in router.nets:
            # Nets that are in nobody's way stay where they are.
            if not number or router.meets(net, full):
                router.reroute(net)
        full = router.congested()
        if not full:
            register, full = allocate(router.nets, placed.ii, request.registers)
            if not full:
                return Routes(tuple(router.nets), register)
        if number == ROUNDS - 1 or router.looks > budget:
            break
        router.learn(full)
    wanting = [net for net in router.nets if router.meets(net, full)]
    ends = {n for net in wanting for n in (net.source, *(e.dst for _, _, e in net.sinks))}
    near = {n for n in ends for _, (row, col), _ in full
            if abs(placed.tile[n][0] - row) + abs(placed.tile[n][1] - col) <= 1}
    return Congested(tuple(sorted(full)), frozenset(near or ends))


class _Router:
    def __init__(self, request: Request, placed: Placed, constants: frozenset[int]) -> None:
        self.grid, self.ii = request.grid, placed.ii
        self.tiles = frozenset(self.grid.tiles)
        self.capacity = {"write": 1, "read": READ_PORTS, "hold": request.registers}
        self.busy_ports = Counter((placed.tile[n], placed.time[n] % self.ii) for n in constants)
        self.used: Counter[Resource] = Counter()
        self.history: dict[Resource, float] = {}
        self.pressure = PRESSURE
        # A cycle of waiting: in a register, written and read once an iteration, or under way.
        self.waiting = min(COST["link"], COST["hold"] + (COST["write"] + COST["read"]) / self.ii)
        self.number = itertools.count()  # breaks ties
        self.looks = 0
        self.nets = self._nets(request, placed)

    @staticmethod
    def _nets(request: Request, placed: Placed) -> list[Net]:
        nets: dict[int, Net] = {}
        for edge in request.graph.words:
            origin = placed.tile[edge.src], placed.time[edge.src] + request.ready(edge.src)
            net = nets.setdefault(edge.src, Net(edge.src, origin, []))
            sink = placed.tile[edge.dst], placed.time[edge.dst] + placed.ii * edge.distance
            net.sinks.append((sink, edge in request.registered, edge))
        for net in nets.values():
            net.sinks.sort(key=lambda sink: (sink[0][1], sink[0][0]))
        # Words in a hurry have the least choice.
        return sorted(nets.values(), key=lambda net: (net.cycles, net.source))

    def limit(self, resource: Resource) -> int:
        kind, tile, slot = resource
        return self.capacity.get(kind, 1) - (self.busy_ports[tile, slot] if kind == "read" else 0)

    def congested(self) -> list[Resource]:
        """Resources with more users than they hold."""
        return [r for r, count in self.used.items() if count > self.limit(r)]

    def meets(self, net: Net, full: list[Resource]) -> bool:
        """Whether a net uses one of these resources."""
        return not net.uses(self.ii).keys().isdisjoint(full)

    def learn(self, full: list[Resource]) -> None:
        """Make full resources dearer for good."""
        self.pressure *= GROWTH
        for resource in full:
            self.history[resource] = self.history.get(resource, 0) + HISTORY

    def reroute(self, net: Net) -> None:
        """Take the ways of a net back and look for cheapest ones."""
        self.used.subtract(net.uses(self.ii))
        net.into = {net.origin: None}
        for place, registered, _ in net.sinks:
            self._connect(net, place, registered)
        net.prune()
        self.used.update(net.uses(self.ii))

    def _price(self, kind: str, tile: Tile, time: int, own: set, mine: Counter[Resource]) -> float:
        """Cost of a resource; nothing for what the net uses anyway.

        ``mine``: how often the net's words of other iterations use each resource.
        """
        if (kind, tile, time) in own:
            return 0.0
        resource = kind, tile, time % self.ii
        over = self.used[resource] + mine[resource] + 1 - self.limit(resource)
        base = COST.get(kind, COST["link"]) * (1 + self.history.get(resource, 0.0))
        return base * (1 + self.pressure * over) if over > 0 else base

    def _connect(self, net: Net, sink: Place, registered: bool) -> None:
        """Extend the tree to a sink along a cheap way (A*).

        What the tree pays anyway costs nothing, so that the bound of what is left is too high
        at times, and a way not always cheapest.
        """
        into, (goal, end) = net.into, sink
        if sink in into and (not registered or isinstance(into[sink], Wait)):
            return
        own = {use for step in into.values() if step is not None for use in _absolute(step)}
        tree = Counter((kind, tile, time % self.ii) for kind, tile, time in own)
        # Places whose word is in a register already, where it waits for little.
        kept = {step.start for step in into.values() if isinstance(step, Wait)}
        best: set[Place] = set()
        came: dict[Place, Step | None] = {}
        queue: list[tuple[float, int, float, Tile, int, Step | None]] = []

        def push(cost: float, tile: Tile, time: int, step: Step | None) -> None:
            hops = abs(tile[0] - goal[0]) + abs(tile[1] - goal[1])
            spare = end - time - hops * timing.HOP
            if spare >= 0 and (tile, time) not in best:
                soon = min(spare, self.ii) if (tile, time) in kept else 0
                left = hops * COST["link"] + soon * COST["hold"] + (spare - soon) * self.waiting
                heapq.heappush(queue, (cost + left, next(self.number), cost, tile, time, step))

        for (tile, time), step in into.items():
            # A word that must come from a register is not wanted from elsewhere.
            if (tile, time) != sink or not registered:
                push(0.0, tile, time, step)
        while queue:
            _, _, cost, tile, time, step = heapq.heappop(queue)
            place = tile, time
            if place in best:
                continue
            self.looks += 1
            best.add(place)
            came[place] = step
            if place == sink:
                break
            mine = tree
            if end - net.origin[1] >= self.ii:
                mine = tree.copy()
                # The way so far, back to the tree.
                while step is not None and into.get(place) != step:
                    mine.update((kind, at, t % self.ii) for kind, at, t in _absolute(step)
                                if (kind, at, t) not in own)
                    place = step.start
                    step = came[place]
                place = tile, time
            for link in LINKS:
                hop = Hop(place, link)
                other, arrived = hop.end
                if other in self.tiles and not (registered and hop.end == sink):
                    push(cost + self._price(link, tile, time, own, mine), other, arrived, hop)
            cost += self._price("write", tile, time, own, mine)
            # A register is written again an iteration later, and read until then.
            for t in range(time + 1, min(end, time + self.ii) + 1):
                cost += self._price("hold", tile, t, own, mine)
                read = self._price("read", tile, t, own, mine)
                push(cost + read, tile, t, Wait(place, (tile, t)))
        place = sink
        while (step := came[place]) is not None and into.get(place) != step:
            into[place] = step
            place = step.start


def allocate(nets: list[Net], ii: int, registers: int) -> tuple[dict[Place, int], list[Resource]]:
    """Registers of all waits, or the slots of tiles where they do not fit.

    Waits are arcs of a circle of slots; first fit from the slot that the fewest are in.
    """
    waits: dict[Tile, list[tuple[int, int]]] = {}
    for net in nets:
        for (tile, time), last in net.registers().items():
            waits.setdefault(tile, []).append((time, last))
    register: dict[Place, int] = {}
    for tile, arcs in waits.items():
        slots = {arc: {t % ii for t in range(arc[0] + 1, arc[1] + 1)} for arc in arcs}
        load = Counter(s for covered in slots.values() for s in covered)
        cut = min(range(ii), key=lambda s: (load[s], s))
        taken: list[set[int]] = [set() for _ in range(registers)]
        for arc in sorted(arcs, key=lambda arc: (cut not in slots[arc], (arc[0] + 1 - cut) % ii)):
            number = next((i for i, used in enumerate(taken) if not used & slots[arc]), None)
            if number is None:
                return {}, [("hold", tile, s) for s in sorted(slots[arc])]
            taken[number] |= slots[arc]
            register[tile, arc[0]] = number
    return register, []
