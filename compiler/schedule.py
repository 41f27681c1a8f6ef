"""Modulo list scheduling with routing as it goes.

Layers are scheduled in order, each at the earliest time at which everything it uses is
free in its slot modulo II.  Words never wait on the way: a route is a shortest path of
links that are free when the word passes, and consumers take words when they arrive.
"""

import itertools
from collections.abc import Iterator

from compiler.graph import QuantisedNetwork
from compiler.mapping import STEPS, HomeSchedule, Mac, Mapping
from compiler.partition import Home, Partition
from compiler.place import Placement, feeds
from compiler.routing import Path, ReservationTable, Unschedulable, arrival
from spu.arch import timing
from spu.arch.context import Close, Op, Source
from spu.arch.params import STAGES, Architecture
from spu.arch.program import Tile


def schedule(network: QuantisedNetwork, partition: Partition, placement: Placement,
             arch: Architecture) -> Mapping:
    """A mapping on this placement; ``Unschedulable`` if a resource is full."""
    table = ReservationTable(arch, partition.ii)
    mapping = Mapping(network, partition, placement)
    _input(mapping, table, arch)
    for number in range(len(partition.layers)):
        mapping, table = _earliest(mapping, table, number, arch)
    mapping.actions, mapping.wire = table.actions, table.wire
    last = max([mapping.span, *(max(home.reads) for home in mapping.homes.values())])
    if last // partition.ii >= STAGES:
        raise Unschedulable(f"iterations in flight, more than {STAGES}")
    return mapping


def _input(mapping: Mapping, table: ReservationTable, arch: Architecture) -> None:
    """Words of the input stream go straight to the home of the first layer's input."""
    (home,) = mapping.partition.layers[0].homes
    tile = mapping.placement.homes[home]
    times = range(home.words)
    for column in sorted(range(arch.cols), key=lambda c: (abs(c - tile[1]), c)):
        path = table.paths((0, column), times).get(tile)
        if path is not None:
            break
    else:
        raise Unschedulable("links from the north edge")
    table.route(Source.NORTH, times, [path])
    delay, source = arrival(path, Source.NORTH)
    writes = [t + delay for t in times]
    table.take("memory write", tile, writes)
    for t in times:
        mapping.reads[column, t] = t
        table.act(tile, t + delay, memory=source)
    mapping.homes[home] = HomeSchedule(tile, tuple(writes), (), 0)
    mapping.order[0] = list(range(home.words * arch.codes_per_word(mapping.network.fmt)))


def _earliest(mapping: Mapping, table: ReservationTable, number: int, arch: Architecture
              ) -> tuple[Mapping, ReservationTable]:
    """Schedule a layer at the first start time that works.

    A home that sends every word over all its links leaves no slot to results that must
    leave or pass its tile, so trees that spare one of its links are tried too.
    """
    plan = mapping.partition.layers[number]
    ready = max(time + timing.WRITE - i * arch.slices_per_word(mapping.network.fmt)
                for home in plan.homes for i, time in enumerate(mapping.homes[home].writes))
    reason = Unschedulable("no start time")
    starts = range(max(ready, 0), max(ready, 0) + table.ii)
    for start, spare in itertools.product(starts, (None, *STEPS)):
        trial = _Layer(mapping.copy(), table.copy(), number, arch)
        try:
            trial.play(start, spare)
            trial.collect()
            return trial.mapping, trial.table
        except Unschedulable as error:
            reason = error
    raise reason


class _Layer:
    """One attempt to schedule a layer, on copies of mapping and table."""

    def __init__(self, mapping: Mapping, table: ReservationTable, number: int,
                 arch: Architecture) -> None:
        self.mapping, self.table, self.number, self.arch = mapping, table, number, arch
        self.plan = mapping.partition.layers[number]
        fmt = mapping.network.fmt
        self.slices, self.block_words = arch.slices_per_word(fmt), arch.words_per_block(fmt)
        self.engines = [mapping.placement.engines[number, e] for e in range(self.plan.engines)]
        #: First and last mac of each group.
        self.windows: dict[int, tuple[int, int]] = {}

    # Homes to engines.

    def play(self, start: int, spare: str | None) -> None:
        """Read the homes once a pass and bring every word to every engine, in order."""
        plan = self.plan
        busy_until = dict.fromkeys(self.engines, -1)
        for home in plan.homes:
            tile = self.mapping.placement.homes[home]
            for first in range(start, start + self.table.ii):
                reads = [first + p * plan.pass_cycles + i for p in range(plan.passes)
                         for i in range(home.words * self.slices)]
                out = [t + timing.MEMORY for t in reads]
                paths = self.table.paths(tile, out, spare)
                if all(e in paths and out[0] + arrival(paths[e], Source.MEMORY)[0] > busy_until[e]
                       for e in self.engines) and self.table.free("memory read", tile, reads):
                    break
            else:
                raise Unschedulable(f"links from {tile} to the engines of layer {self.number}")
            self._play_home(home, tile, reads, out, {e: paths[e] for e in self.engines})
            for e in self.engines:
                busy_until[e] = (out[home.words * self.slices - 1]
                                 + arrival(paths[e], Source.MEMORY)[0])
            start = first + home.words * self.slices
        for group, (first, last) in self.windows.items():
            self.table.take("matrix unit", self._engine(group), range(first, last + 1))

    def _play_home(self, home: Home, tile: Tile, reads: list[int], out: list[int],
                   paths: dict[Tile, Path]) -> None:
        if reads[-1] - reads[0] >= self.table.ii:
            raise Unschedulable(f"memory read of tile {tile}")
        self.table.take("memory read", tile, reads)
        for t in reads:
            self.table.act(tile, t, read=1)
        self.table.route(Source.MEMORY, out, paths.values())
        writes = self.mapping.homes[home].writes
        self.mapping.homes[home] = HomeSchedule(tile, writes, tuple(reads), self.plan.passes)
        slices = self.slices
        for e, engine in enumerate(self.engines):
            delay, source = arrival(paths[engine], Source.MEMORY)
            for i, t in enumerate(out):
                p, position = divmod(i, home.words * slices)
                word, part = home.first_word + position // slices, position % slices
                group = self.plan.group(e, p)
                if group is not None:
                    self._mac(source, Mac(engine, t + delay, self.number, group, word, part))

    def _engine(self, group: int) -> Tile:
        return self.engines[group % self.plan.engines]

    def _mac(self, source: Source, mac: Mac) -> None:
        whole = mac.part == self.slices - 1
        last = whole and mac.word == self.plan.words - 1
        block_last = last or (whole and mac.word % self.block_words == self.block_words - 1)
        close = Close.DOT if last else Close.BLOCK if block_last else Close.NOTHING
        self.table.act(mac.tile, mac.time, matrix=source, mac=1, slice=mac.part,
                       close=close,
                       mode=self.number if self.mapping.partition.shared else 0)
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
        tile = self.mapping.placement.homes[home]
        order = self.mapping.order.setdefault(self.number + 1, [])
        groups = [g for g in range(self.plan.groups) if feeds(g, home, self.arch)]
        per_block = len(groups) // len(home.blocks)
        first, pushed = 1 << 30, -1
        writes: list[int] = []
        for block in range(len(home.blocks)):
            done, arrived = pushed, []
            members = groups[block * per_block:(block + 1) * per_block]
            for group in sorted(members, key=lambda g: (g // self.plan.engines,
                                                        -self._earliest_arrival(g, tile), g)):
                # All pushes of an iteration lie within one II, and after the block before.
                low = max(done + 1, pushed - self.table.ii + 1)
                window = range(low, first + self.table.ii)
                for word, (time, _, source) in self._drain(group, [tile], "vector op", window):
                    self.table.act(tile, time, op=Op.PUSH, a=source)
                    first, pushed = min(first, time), max(pushed, time)
                    arrived.append((time, group, word))
            arrived.sort()
            for _, group, word in arrived:
                base = group * self.arch.columns + word * self.arch.drain_lanes
                order.extend(range(base, base + self.arch.drain_lanes))
            if pushed - first >= self.table.ii:
                raise Unschedulable(f"reblock unit of tile {tile}")
            writes += self._pop(tile, pushed)
        self.mapping.homes[home] = HomeSchedule(tile, tuple(writes), (), 0)

    def _earliest_arrival(self, group: int, tile: Tile) -> int:
        """Time of the first word of a group at a tile if nothing were in its way."""
        r, c = self._engine(group)
        return self.windows[group][1] + (abs(r - tile[0]) + abs(c - tile[1])) * timing.HOP

    def _pop(self, tile: Tile, after: int) -> list[int]:
        """Pop the block that is complete after cycle ``after`` and store it; write times.

        The next block is complete ``pushes_per_block`` cycles later at the earliest, and
        replaces this one; so pops of different blocks never mix.
        """
        writes = []
        time = after
        for _ in range(self.block_words):
            time = next((t for t in range(time + 1, after + 1 + self.arch.pushes_per_block)
                         if self.table.free("pop", tile, [t])
                         and self.table.free("memory write", tile, [t + timing.REBLOCK])), -1)
            if time < 0:
                raise Unschedulable(f"memory write of tile {tile}")
            self.table.take("pop", tile, [time])
            self.table.take("memory write", tile, [time + timing.REBLOCK])
            self.table.act(tile, time, pop=1)
            self.table.act(tile, time + timing.REBLOCK, memory=Source.REBLOCK)
            writes.append(time + timing.REBLOCK)
        return writes

    def _emit(self) -> None:
        """Bring results to the south edge, to the nearest column that is free."""
        bottom = self.arch.rows - 1
        for group in range(self.plan.groups):
            column = self._engine(group)[1]
            edge = sorted(((bottom, c) for c in range(self.arch.cols)),
                          key=lambda t: (abs(t[1] - column), t[1]))
            for word, (time, tile, source) in self._drain(group, edge, "south link",
                                                          range(1 << 30)):
                self.table.act(tile, time, south=source)
                self.mapping.emitted.setdefault(tile[1], []).append(
                    (time + timing.HOP, group, word))
        for column, words in self.mapping.emitted.items():
            words.sort()
            if words[-1][0] - words[0][0] >= self.table.ii:
                raise Unschedulable(f"output stream {column}")

    def _drain(self, group: int, targets: list[Tile], resource: str, window: range
               ) -> Iterator[tuple[int, tuple[int, Tile, Source]]]:
        """Drain a group and add biases; yields (word, (time, target, source)) on arrival.

        Each word goes to the first of ``targets`` whose ``resource`` is free on arrival
        at a time within ``window``, at the earliest drain time for which there is one.
        """
        tile, table = self._engine(group), self.table
        commit = self.windows[group][1] + timing.ACCUMULATE
        drained = commit - 1
        for word in range(self.arch.words_per_drain):
            for time in range(drained + 1, commit + table.ii):
                found = self._delivery(tile, time, targets, resource, window)
                if found is not None:
                    break
            else:
                raise Unschedulable(f"{resource} of {targets} or links from {tile}")
            drained = time
            path, arrived, source = found
            added = time + timing.DRAIN
            table.take("drain", tile, [time])
            table.take("vector op", tile, [added])
            table.route(Source.SUM, [added + timing.SUM], [path])
            target = targets[0] if len(targets) == 1 else self._end(tile, path)
            table.take(resource, target, [arrived])
            constant = self.mapping.constant(tile, (self.number, group, word))
            relu = self.mapping.network.layers[self.number].relu
            table.act(tile, time, drain=1)
            table.act(tile, added, op=Op.ADD_RELU if relu else Op.ADD, a=Source.MATRIX,
                      b=Source.CONSTANT, index=constant)
            yield word, (arrived, target, source)
        table.take("results", tile, range(commit, drained + 1))

    @staticmethod
    def _end(origin: Tile, path: Path) -> Tile:
        for tile, link in path:
            origin = (tile[0] + STEPS[link][0], tile[1] + STEPS[link][1])
        return origin

    def _delivery(self, tile: Tile, time: int, targets: list[Tile], resource: str, window: range
                  ) -> tuple[Path, int, Source] | None:
        """Path and arrival of the word drained at ``time``, if everything is free for it."""
        table, added = self.table, time + timing.DRAIN
        out = added + timing.SUM
        if not (table.free("drain", tile, [time]) and table.free("vector op", tile, [added])):
            return None
        paths = table.paths(tile, [out])
        for target in targets:
            if target not in paths:
                continue
            delay, source = arrival(paths[target], Source.SUM)
            at = out + delay
            clash = (target, resource) == (tile, "vector op") and (at - added) % table.ii == 0
            clash |= any((target, resource) == (u, f"{link} link")
                         and (at - out - i * timing.HOP) % table.ii == 0
                         for i, (u, link) in enumerate(paths[target]))
            if at in window and not clash and table.free(resource, target, [at]):
                return paths[target], at, source
        return None
