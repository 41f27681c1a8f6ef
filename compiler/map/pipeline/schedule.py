"""Cycles of a chain: when homes are read, units work, results are pushed, and words leave.

Layers are scheduled in order, each at the earliest cycle at which all units that it uses are free
in their slots modulo II.  Words have as many cycles on their way as the hops take, and those of a
leg its ``slack`` more: the input's, then for each layer from homes to engines, and from engines
on.  What comes early waits in registers.  The ways themselves are found afterwards, for all words
together, by the router of loops (``route_chain``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from compiler.map.pipeline.mapping import HomeSchedule, Mac, Mapping
from compiler.map.pipeline.partition import Home, Partition
from compiler.map.pipeline.place import Placement, feeds
from compiler.map.pipeline.quantise import QuantisedNetwork
from compiler.map.reservation import ReservationTable, Unschedulable
from spu.arch import timing
from spu.arch.context import Close, Op, Source
from spu.arch.params import STAGES, Architecture
from spu.arch.program import Tile


def legs(layers: int) -> int:
    """Legs of a chain: of words that have a slack in common."""
    return 1 + 2 * layers


@dataclass(frozen=True)
class Sink:
    """A tile takes a word in a cycle: ``field`` of its context selects it."""

    tile: Tile
    time: int
    field: str


@dataclass
class Word:
    """A word that travels: at a crossbar's ``source`` in cycle ``time``, to all its sinks."""

    tile: Tile
    time: int
    source: Source
    sinks: list[Sink] = field(default_factory=list)


def hops(a: Tile, b: Tile) -> int:
    """Cycles that the shortest way takes."""
    return (abs(a[0] - b[0]) + abs(a[1] - b[1])) * timing.HOP


def schedule(
    network: QuantisedNetwork,
    partition: Partition,
    placement: Placement,
    arch: Architecture,
    slack: Sequence[int],
) -> tuple[Mapping, list[Word]]:
    """A mapping without ways, and the words that need one.

    Raises ``Unschedulable`` if a unit is full.
    """
    found = _Schedule(network, partition, placement, arch, slack)
    found.input()
    for number in range(len(partition.layers)):
        found.layer(number)
    mapping = found.mapping
    mapping.actions = found.table.actions
    last = max(
        [
            mapping.span,
            *(max(home.reads) for home in mapping.homes.values()),
            *(sink.time for word in found.words for sink in word.sinks),
        ]
    )
    if last // partition.ii >= STAGES:
        raise Unschedulable(f"iterations in flight, more than {STAGES}")
    return mapping, found.words


class _Schedule:
    """A schedule as it grows: units that are taken, and words."""

    def __init__(
        self,
        network: QuantisedNetwork,
        partition: Partition,
        placement: Placement,
        arch: Architecture,
        slack: Sequence[int],
    ) -> None:
        self.arch, self.slack = arch, slack
        self.table = ReservationTable(arch, partition.ii)
        self.mapping = Mapping(network, partition, placement)
        self.words: list[Word] = []

    def input(self) -> None:
        """Words of the input stream go to the home of the first layer's input."""
        mapping, arch = self.mapping, self.arch
        (home,) = mapping.partition.layers[0].homes
        tile = mapping.placement.homes[home]
        column = min(range(arch.cols), key=lambda c: (abs(c - tile[1]), c))
        delay = hops((0, column), tile) + self.slack[0]
        times = range(home.words)
        writes = [t + delay for t in times]
        self.table.take("memory write", tile, writes)
        for t in times:
            mapping.reads[column, t] = t
            self.words.append(Word((0, column), t, Source.NORTH, [Sink(tile, t + delay, "memory")]))
        mapping.homes[home] = HomeSchedule(tile, tuple(writes), (), 0)
        mapping.order[0] = list(range(home.words * arch.codes_per_word(mapping.network.fmt)))

    def layer(self, number: int) -> None:
        """Schedule a layer at the first cycle that works."""
        plan = self.mapping.partition.layers[number]
        slices = self.arch.slices_per_word(self.mapping.network.fmt)
        ready, before = 0, 0
        for home in plan.homes:
            for i, time in enumerate(self.mapping.homes[home].writes):
                ready = max(ready, time + timing.WRITE - (before + i) * slices)
            before += home.words
        reason = Unschedulable("no start time")
        for start in range(ready, ready + self.table.ii):
            trial = _Layer(self, number)
            if not trial.has_time(start):
                continue
            trial.copy()
            try:
                trial.play(start)
                trial.collect()
            except Unschedulable as error:
                reason = error
                continue
            self.mapping, self.table = trial.mapping, trial.table
            self.words += trial.words
            return
        raise reason


class _Layer:
    """One attempt to schedule a layer."""

    def __init__(self, so_far: _Schedule, number: int) -> None:
        self.mapping, self.table = so_far.mapping, so_far.table
        self.arch, self.number = so_far.arch, number
        self.outward, self.onward = so_far.slack[1 + 2 * number : 3 + 2 * number]
        self.plan = self.mapping.partition.layers[number]
        fmt = self.mapping.network.fmt
        self.slices, self.block_words = (
            self.arch.slices_per_word(fmt),
            self.arch.words_per_block(fmt),
        )
        self.engines = [self.mapping.placement.engines[number, e] for e in range(self.plan.engines)]
        self.words: list[Word] = []
        #: First and last mac of each group, and the last cycle in which it was drained.
        self.windows: dict[int, tuple[int, int]] = {}
        self.drained: dict[int, int] = {}

    def copy(self) -> None:
        """From now on, change copies of mapping and table."""
        self.mapping, self.table = self.mapping.copy(), self.table.copy()

    # Homes to engines.

    def _delay(self, engine: Tile) -> int:
        """Cycles from a read to its macs in an engine: of all homes alike, so that all words come
        in order."""
        homes = self.mapping.placement.homes
        return timing.MEMORY + self.outward + max(hops(homes[h], engine) for h in self.plan.homes)

    def has_time(self, start: int) -> bool:
        """Whether the matrix units of all engines are free, if homes are read from ``start``."""
        length = self.plan.words * self.slices
        return all(
            self.table.free("matrix unit", engine, range(first, first + length))
            for e, engine in enumerate(self.engines)
            for p in range(self.plan.passes)
            if self.plan.group(e, p) is not None
            for first in [start + p * self.plan.pass_cycles + self._delay(engine)]
        )

    def play(self, start: int) -> None:
        """Read the homes once a pass; every engine takes every word, in order."""
        plan, homes = self.plan, self.mapping.placement.homes
        delay = {engine: self._delay(engine) for engine in self.engines}
        for home in plan.homes:
            tile, reads = homes[home], []
            for p in range(plan.passes):
                for word in range(home.first_word, home.first_word + home.words):
                    time = start + p * plan.pass_cycles + word * self.slices
                    reads.append(time)
                    self.table.act(tile, time, read=1)
                    self._take_word(tile, time, p, word, delay)
            if reads[-1] - reads[0] >= self.table.ii:
                raise Unschedulable(f"memory read of tile {tile}")
            self.table.take("memory read", tile, reads)
            writes = self.mapping.homes[home].writes
            self.mapping.homes[home] = HomeSchedule(tile, writes, tuple(reads), plan.passes)
        for group, (first, last) in self.windows.items():
            self.table.take("matrix unit", self._engine(group), range(first, last + 1))

    def _take_word(
        self, tile: Tile, read: int, p: int, number: int, delay: dict[Tile, int]
    ) -> None:
        """A word that is read once a pass: macs of all its slices in all engines."""
        word = Word(tile, read + timing.MEMORY, Source.MEMORY)
        for e, engine in enumerate(self.engines):
            group = self.plan.group(e, p)
            if group is None:
                continue
            for part in range(self.slices):
                mac = Mac(engine, read + delay[engine] + part, self.number, group, number, part)
                word.sinks.append(Sink(engine, mac.time, "matrix"))
                self._mac(mac)
        self.words.append(word)

    def _engine(self, group: int) -> Tile:
        return self.engines[group % self.plan.engines]

    def _mac(self, mac: Mac) -> None:
        whole = mac.part == self.slices - 1
        last = whole and mac.word == self.plan.words - 1
        block_last = last or (whole and mac.word % self.block_words == self.block_words - 1)
        close = Close.DOT if last else Close.BLOCK if block_last else Close.NOTHING
        self.table.act(
            mac.tile,
            mac.time,
            mac=1,
            slice=mac.part,
            close=close,
            mode=self.number if self.mapping.partition.shared else 0,
        )
        self.mapping.macs.append(mac)
        first, _ = self.windows.get(mac.group, (mac.time, mac.time))
        self.windows[mac.group] = first, mac.time

    # Engines to the next homes, or out.

    def collect(self) -> None:
        """Drain every result, add its bias, and bring it to its home or the south edge."""
        layers = self.mapping.partition.layers
        if self.number == len(layers) - 1:
            self._emit()
            return
        for home in layers[self.number + 1].homes:
            self._store(home)

    def _store(self, home: Home) -> None:
        """Push the results of each block into the home, then pop its codes into memory."""
        tile, ii = self.mapping.placement.homes[home], self.table.ii
        order = self.mapping.order.setdefault(self.number + 1, [])
        groups = [g for g in range(self.plan.groups) if feeds(g, home, self.arch)]
        per_block = len(groups) // len(home.blocks)
        last = max(self._arrival(group, self.arch.words_per_drain - 1, tile) for group in groups)
        # All pushes of an iteration lie within one II, and after those of the block before.
        first, pushed = last - ii + 1, last - ii
        stop, writes = last + ii, list[int]()
        for block in range(len(home.blocks)):
            members = groups[block * per_block : (block + 1) * per_block]
            results = [
                (group, word) for group in members for word in range(self.arch.words_per_drain)
            ]
            early = sorted(
                (self._arrival(group, word, tile), group, word) for group, word in results
            )
            times = self._slots(tile, [at for at, _, _ in early], range(pushed + 1, stop))
            first, pushed = times[0] if block == 0 else first, times[-1]
            stop = first + ii
            # Words of a group are drained in order, and come in order.
            for time, (_, group, word) in zip(times, early, strict=True):
                self.table.act(tile, time, op=Op.PUSH)
                self._result(group, word, tile, time, "a")
                base = group * self.arch.columns + word * self.arch.drain_lanes
                order.extend(range(base, base + self.arch.drain_lanes))
            writes += self._pop(tile, pushed)
        self.mapping.homes[home] = HomeSchedule(tile, tuple(writes), (), 0)

    def _slots(self, tile: Tile, early: list[int], window: range) -> list[int]:
        """Cycles of pushes in order, each not before it can be there."""
        times: list[int] = []
        time = window.start - 1
        for at in early:
            time = next(
                (
                    t
                    for t in range(max(at, time + 1), window.stop)
                    if self.table.free("vector op", tile, [t])
                ),
                -1,
            )
            if time < 0:
                raise Unschedulable(f"vector op of tile {tile}")
            self.table.take("vector op", tile, [time])
            times.append(time)
        return times

    def _arrival(self, group: int, word: int, tile: Tile) -> int:
        """The earliest cycle of a result at a tile if nothing were in its way."""
        commit = self.windows[group][1] + timing.ACCUMULATE
        after = max(commit + word, self.drained.get(group, -1) + 1)
        return after + self._way(group, tile)

    def _way(self, group: int, tile: Tile) -> int:
        """Cycles from a drain to its result at a tile."""
        return timing.DRAIN + timing.SUM + hops(self._engine(group), tile) + self.onward

    def _next_commit(self, group: int) -> int:
        """When the next results of the group's engine replace its own."""
        own = self.windows[group][1]
        later = [
            last + repeat
            for other, (_, last) in self.windows.items()
            for repeat in (0, self.table.ii)
            if self._engine(other) == self._engine(group) and last + repeat > own
        ]
        return min(later) + timing.ACCUMULATE

    def _result(self, group: int, word: int, target: Tile, arrives: int, sink: str) -> None:
        """Drain a result and add its bias, as late as its arrival allows, and send it off."""
        engine, table = self._engine(group), self.table
        commit = self.windows[group][1] + timing.ACCUMULATE
        latest = min(arrives - self._way(group, target), self._next_commit(group) - 1)
        times = range(self.drained.get(group, commit - 1) + 1, latest + 1)
        time = next(
            (
                t
                for t in (times if self.mapping.partition.shared else reversed(times))
                if table.free("drain", engine, [t])
                and table.free("vector op", engine, [t + timing.DRAIN])
            ),
            -1,
        )
        if time < 0:
            raise Unschedulable(f"drain of tile {engine}")
        self.drained[group] = time
        added = time + timing.DRAIN
        table.take("drain", engine, [time])
        table.take("vector op", engine, [added])
        layer = self.mapping.network.layers[self.number]
        table.act(engine, time, drain=1)
        table.act(
            engine,
            added,
            op=Op.ADD_RELU if layer.relu else Op.ADD,
            a=Source.MATRIX,
            b=Source.CONSTANT,
            index=self.mapping.constant(engine, (self.number, group, word)),
        )
        self.words.append(
            Word(engine, added + timing.SUM, Source.SUM, [Sink(target, arrives, sink)])
        )
        if word == self.arch.words_per_drain - 1:
            table.take("results", engine, range(commit, time + 1))

    def _pop(self, tile: Tile, after: int) -> list[int]:
        """Pop the block that is complete after cycle ``after`` and store it; write times.

        The next block is complete ``pushes_per_block`` cycles later at the earliest, and
        replaces this one; so pops of different blocks never mix.
        """
        writes = []
        time = after
        for _ in range(self.block_words):
            time = next(
                (
                    t
                    for t in range(time + 1, after + 1 + self.arch.pushes_per_block)
                    if self.table.free("pop", tile, [t])
                    and self.table.free("memory write", tile, [t + timing.REBLOCK])
                ),
                -1,
            )
            if time < 0:
                raise Unschedulable(f"memory write of tile {tile}")
            self.table.take("pop", tile, [time])
            self.table.take("memory write", tile, [time + timing.REBLOCK])
            self.table.act(tile, time, pop=1)
            self.table.act(tile, time + timing.REBLOCK, memory=Source.REBLOCK)
            writes.append(time + timing.REBLOCK)
        return writes

    def _emit(self) -> None:
        """Bring results to the south edge, to the column that is nearest of those that are free."""
        bottom, ii = self.arch.rows - 1, self.table.ii
        first: dict[int, int] = {}
        results = sorted((last, group) for group, (_, last) in self.windows.items())
        for group, word in [(g, w) for _, g in results for w in range(self.arch.words_per_drain)]:
            found = []
            for column in range(self.arch.cols):
                tile = bottom, column
                at = self._arrival(group, word, tile)
                for time in range(at, first.get(column, at) + ii):
                    if self.table.free("south link", tile, [time]):
                        found.append((time, hops(self._engine(group), tile), column))
                        break
            if not found:
                raise Unschedulable(f"south links for results of layer {self.number}")
            time, _, column = min(found)
            self.table.take("south link", (bottom, column), [time])
            first[column] = min(first.get(column, time), time)
            self._result(group, word, (bottom, column), time, "south")
            self.mapping.emitted.setdefault(column, []).append((time + timing.HOP, group, word))
        for column, words in self.mapping.emitted.items():
            words.sort()
            if words[-1][0] - words[0][0] >= ii:
                raise Unschedulable(f"output stream {column}")
