"""Golden model of a region: its tiles, in lockstep, for a whole batch of runs."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import Compare, Guard, SequencerRegister, Space, TileRegister, row_layout
from spu.arch.context import ALU_OPS, LINKS, SINKS, SUM_OPS, VECTOR_OPS, Close, Op, Source
from spu.arch.packing import pack, unpack
from spu.arch.params import (
    ALWAYS,
    CONSTANTS,
    EXISTS,
    LOOPS,
    NEIGHBOURS,
    PREDICATES,
    PROGRAMMABLE,
    REGISTERS,
    STAGES,
    neighbour,
)
from spu.model import saturation, units
from spu.model import words as w
from spu.model.tile import Slot, TileUnits
from spu.model.words import Words

#: Cycles from issue to result of each source that a unit feeds.
_LATENCY = {
    Source.VECTOR: timing.VECTOR,
    Source.SUM: timing.SUM,
    Source.ALU: timing.ALU,
    Source.MATRIX: timing.DRAIN,
    Source.MEMORY: timing.MEMORY,
    Source.REBLOCK: timing.REBLOCK,
}


class Loops:
    """Iterations of a region's loop nest, and their predicates."""

    def __init__(self, image: Image, region: int, rounds: int) -> None:
        def read(row: int) -> dict:
            return image.read(Space.SEQUENCER, (region, 0), row)

        self.counts = [
            read(SequencerRegister.LOOP + i)["count_less_1"] + 1 for i in range(LOOPS - 1)
        ] + [rounds]
        self.total = int(np.prod(self.counts, dtype=object))
        self.rows = [
            read(SequencerRegister.PREDICATE + i) for i in range(PREDICATES - PROGRAMMABLE)
        ]

    def predicate(self, number: int, iteration: int) -> bool:
        """Predicate of an iteration, which may not exist."""
        if number == ALWAYS:
            return True
        if not 0 <= iteration < self.total:
            return False
        if number == EXISTS:
            return True
        row, rest, counters = self.rows[number - PROGRAMMABLE], iteration, []
        for count in self.counts:
            rest, counter = divmod(rest, count)
            counters.append(counter)
        value, counter = row["value"], counters[row["loop"]]
        compared = {
            Compare.NONE: True,
            Compare.LESS: counter < value,
            Compare.NOT_LESS: counter >= value,
            Compare.EQUAL: counter == value,
        }[Compare(row["compare"])]
        return compared and all(
            not (row["first"] >> i & 1 and c) and not (row["last"] >> i & 1 and c != n - 1)
            for i, (c, n) in enumerate(zip(counters, self.counts, strict=True))
        )

    def holds(self, guard: Mapping[str, int], slot: int, iteration: int) -> bool:
        """Whether a GUARD holds in a slot of the cycle in which ``iteration`` is in stage 0."""
        stage = guard["stage"] + (slot < guard["slot"])
        if guard["predicate"] == ALWAYS:
            return True
        return stage < STAGES and self.predicate(guard["predicate"], iteration - stage)


def has_end(image: Image, region: int) -> bool:
    """Whether runs of a region's program can end: its slots exist, its span ends in one of them."""
    ii, span = (
        image.read(Space.SEQUENCER, (region, 0), row)
        for row in (SequencerRegister.II, SequencerRegister.SPAN)
    )
    return span["slot"] <= ii["slots_less_1"] < image.arch.contexts


def schedule(image: Image) -> tuple:
    """What runs of one batch have in common: all but weights and offsets of matrix modes."""
    modes = range(TileRegister.MODE, TileRegister.VECTOR_MODE)
    found = []
    for (space, *tile), rows in image.rows.items():
        if space is not Space.WEIGHT:
            kept = dict(rows)
            if space is Space.REGISTER:
                for row in kept.keys() & set(modes):
                    layout = row_layout(space, row, image.arch)
                    kept[row] = pack(layout, unpack(layout, kept[row]) | {"offset": 0})
            found.append((space.value, *tile, *sorted(kept.items())))
    return tuple(sorted(found))


class RegionModel:
    """State and behaviour of a region.

    ``images``: one for all of the batch, or one for each, of one ``schedule``. ``memory`` is
    ``(tiles, batch, words, lanes + 1)``: data and bias of data memories, which outlast the run.
    ``saturated`` is ``(tiles, batch)``: elements of valid words, as units gave them in executed
    cycles, whose result lay above the top of PAL16, see ``saturation``.
    """

    def __init__(
        self,
        images: Sequence[Image],
        region: int,
        rounds: int,
        batch: int,
        memory: Sequence[NDArray],
    ) -> None:
        image = images[0]
        arch = self.arch = image.arch
        self.batch = batch
        self.tiles = arch.region_tiles(region)
        self.loops = Loops(image, region, rounds)

        def read(row: int) -> dict:
            return image.read(Space.SEQUENCER, (region, 0), row)

        self.ii = read(SequencerRegister.II)["slots_less_1"] + 1
        span = read(SequencerRegister.SPAN)
        self.cycles = (
            (self.loops.total - 1 + span["stage"]) * self.ii + span["slot"] + 1
            if self.loops.total
            else 0
        )
        self.streams = [image.read(Space.STREAM, (region, 0), s) for s in range(self.ii)]
        self.inputs, self.outputs = arch.inputs(region), arch.outputs(region)
        self.input_guards = [read(SequencerRegister.INPUT + i) for i in range(len(self.inputs))]
        self.units = [TileUnits(images, t, batch, memory[i]) for i, t in enumerate(self.tiles)]
        self.slots = [
            Slot([image.read(Space.CONTEXT, t, s) for t in self.tiles], self.units)
            for s in range(self.ii)
        ]
        self.cycle = 0
        n, width = len(self.tiles), w.width(arch)
        self.every = np.arange(n)
        self.out = np.zeros((n, len(LINKS), batch, width), np.uint16)
        self.registers = np.zeros((n, REGISTERS, batch, width), np.uint16)
        constants = [
            [
                w.from_integers([tuple(image.read(Space.CONSTANT, t, i).values())], arch)[0]
                for i in range(CONSTANTS)
            ]
            for t in self.tiles
        ]
        self.constants = np.array(constants, np.uint16)[:, :, None]
        self.sources = np.zeros((n, 1 + max(s.value for s in Source), batch, width), np.uint16)
        self.nothing = np.zeros((n, batch, width), np.uint16)
        self.due = {source: [self.nothing] * latency for source, latency in _LATENCY.items()}
        self.saturated, self.none = (np.zeros((n, batch), np.int64) for _ in range(2))
        self.due_saturated = {source: [self.none] * latency for source, latency in _LATENCY.items()}
        self._wire()

    def _wire(self) -> None:
        """Where link inputs come from: (tile, side) pairs and (neighbour, link) pairs."""
        index = {t: i for i, t in enumerate(self.tiles)}
        pairs = [
            (i, link, index[neighbour(*t, link)])
            for i, t in enumerate(self.tiles)
            for link in LINKS
            if neighbour(*t, link) in index
        ]
        self.to_tile = np.array([i for i, _, _ in pairs], int)
        self.to_side = np.array([Source[link.upper()].value for _, link, _ in pairs], int)
        self.from_tile = np.array([j for _, _, j in pairs], int)
        self.from_link = np.array([LINKS.index(NEIGHBOURS[link][2]) for _, link, _ in pairs], int)
        self.input_place = [
            (index[p.row, p.col], Source[p.link.upper()].value) for p in self.inputs
        ]
        self.output_place = [(index[p.row, p.col], LINKS.index(p.link)) for p in self.outputs]

    @property
    def done(self) -> bool:
        """Whether all cycles were executed."""
        return self.cycle >= self.cycles

    def reads(self) -> list[int]:
        """Inputs that the next cycle reads."""
        iteration, slot = divmod(self.cycle, self.ii)
        mask = self.streams[slot]["read"]
        return (
            [
                i
                for i in range(len(self.inputs))
                if mask >> i & 1 and self.loops.holds(self.input_guards[i], slot, iteration)
            ]
            if mask
            else []
        )

    def emits(self) -> list[tuple[int, Words]]:
        """Outputs that the next cycle emits to, with their words, valid or not."""
        mask = self.streams[self.cycle % self.ii]["emit"]
        return (
            [(i, self.out[place]) for i, place in enumerate(self.output_place) if mask >> i & 1]
            if mask
            else []
        )

    def step(self, entering: Mapping[int, Words]) -> None:
        """Execute a cycle, with a word for each input that it reads."""
        cycle = self.cycle
        iteration, slot = divmod(cycle, self.ii)
        plan, sources = self.slots[slot], self.sources
        sources[self.to_tile, self.to_side] = self.out[self.from_tile, self.from_link]
        for place in self.input_place:
            sources[place] = 0
        for i, word in entering.items():
            sources[self.input_place[i]] = word
        for source, queue in self.due.items():
            sources[:, source.value] = queue.pop(0)
            queue.append(self.nothing)
        for counts in self.due_saturated.values():
            if (count := counts.pop(0)) is not self.none:
                self.saturated += count
            counts.append(self.none)
        every = self.every
        sources[:, Source.REGISTER_A.value] = self.registers[every, plan.register_a]
        c = sources[:, Source.REGISTER_B.value] = self.registers[every, plan.register_b]
        sources[:, Source.CONSTANT.value] = self.constants[every, plan.constant]
        taken = sources[every[:, None], plan.chosen]
        words = {sink: taken[:, i] for i, sink in enumerate(SINKS)}
        self.out = taken[:, : len(LINKS)]

        self._operations(plan, words["a"], words["b"], c, slot, iteration)
        self._matrix(plan, words["matrix"], slot, iteration)
        self._memory(plan, words["memory"], slot, iteration)
        self.registers[plan.kept, plan.kept_in] = words["register"][plan.kept]
        self.cycle += 1

    def _guard(self, tile: TileUnits, guard: Guard, slot: int, iteration: int) -> bool:
        return self.loops.holds(tile.guards[guard.value], slot, iteration)

    def _deliver(
        self,
        source: Source,
        tiles: list[int] | int,
        words: Words,
        saturated: saturation.Counts = None,
    ) -> None:
        """Queue results of this cycle's operation."""
        queue = self.due[source]
        if queue[-1] is self.nothing:
            queue[-1] = self.nothing.copy()
        queue[-1][tiles] = words
        if saturated is not None:
            counts = self.due_saturated[source]
            if counts[-1] is self.none:
                counts[-1] = self.none.copy()
            counts[-1][tiles] = saturated

    def _operations(
        self, plan: Slot, a: Words, b: Words, c: Words, slot: int, iteration: int
    ) -> None:
        """ALU, VectorUnit, and the pushes that the reblock units take after this cycle's pops."""
        together: dict[Op, list[tuple[int, int]]] = {}
        self.pushed: list[tuple[TileUnits, Words]] = []
        for t, op, context in plan.ops:
            tile = self.units[t]
            if context["guarded"] and not self._guard(tile, Guard.OP, slot, iteration):
                continue
            if op in ALU_OPS:
                self._deliver(Source.ALU, t, units.alu(op, a[t], b[t], c[t]))
            elif op is Op.PUSH:
                if tile.kind.memory:
                    self.pushed.append((tile, a[t]))
            elif tile.kind.vector:
                mode = tile.vector_modes[context["mode"]]
                if op is Op.ACC:
                    emit = self._guard(tile, Guard.EMIT, slot, iteration)
                    out = tile.accumulators.add(a[t], emit, mode["offset"])
                    self._deliver(
                        Source.SUM,
                        t,
                        out,
                        saturation.accumulated(out, tile.accumulators, mode["offset"]),
                    )
                elif op in SUM_OPS:
                    together.setdefault(op, []).append((t, mode["offset"]))
                elif op in VECTOR_OPS:
                    operands = (
                        op,
                        a[t],
                        b[t],
                        c[t],
                        mode,
                        context["slice"],
                        tile.modes[context["mode"]].x_format,
                    )
                    out = units.vector(*operands)
                    self._deliver(Source.VECTOR, t, out, saturation.vector(out, *operands))
        for op, members in together.items():
            tiles = [t for t, _ in members]
            offset = np.array([offset for _, offset in members])[:, None]
            terms = (op, a[tiles], b[tiles], c[tiles], offset)
            out = units.sums(*terms)
            self._deliver(Source.SUM, tiles, out, saturation.sums(out, *terms))

    def _matrix(self, plan: Slot, x: Words, slot: int, iteration: int) -> None:
        for tile in self.units:
            if self.cycle in tile.matrix.finished:
                tile.matrix.settle(self.cycle)
        drained = [(t, results) for t in plan.drains if (results := self.units[t].matrix.drain())]
        if drained:
            drains = [results for _, results in drained]
            out = units.drained(drains, self.arch)
            self._deliver(
                Source.MATRIX,
                [t for t, _ in drained],
                out,
                saturation.drained(out, drains, self.arch),
            )
        for t, part, mode, close in plan.macs:
            tile = self.units[t]
            if not self.loops.holds(tile.access["weight"], slot, iteration):
                continue
            last = close is Close.DOT
            block_last = last or close is Close.BLOCK
            if close is Close.GUARDS:
                block_last = self._guard(tile, Guard.BLOCK, slot, iteration)
                last = block_last and self._guard(tile, Guard.LAST, slot, iteration)
            tile.matrix.mac(self.cycle, x[t], part, tile.weight_row(mode), mode, block_last, last)

    def _memory(self, plan: Slot, stored: Words, slot: int, iteration: int) -> None:
        for t in plan.reads:
            tile = self.units[t]
            if self.loops.holds(tile.access["read"], slot, iteration):
                data = tile.memory[:, tile.generators["read"].next()]
                self._deliver(
                    Source.MEMORY,
                    t,
                    np.concatenate([data, np.ones((self.batch, 1), np.uint16)], axis=1),
                )
        for t in plan.stores:
            tile, valid = self.units[t], w.valid(stored[t])
            if valid.any():
                address = tile.generators["write"].next(valid)
                rows = np.flatnonzero(valid)
                tile.memory[rows, address[rows]] = stored[t][rows, :-1]
        for t in plan.pops:
            self._deliver(Source.REBLOCK, t, self.units[t].reblock.pop())
        for tile, word in self.pushed:
            tile.reblock.push(word)
