"""Golden model of the array: executes the contexts of a decoded program."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spu.arch.bitstream import Image
from spu.arch.config import Space
from spu.arch.context import LINKS
from spu.arch.params import NEIGHBOURS, Architecture, Port, neighbour
from spu.model import words as w
from spu.model.region import RegionModel, schedule
from spu.model.words import Stream, Words


class InputExhausted(ValueError):
    """A slot reads a stream that gets no more words; the RTL would hold for ever."""


class Fifo:
    """Words of one stream for a batch of runs, which may be ahead of each other."""

    def __init__(self, arch: Architecture, batch: int) -> None:
        self.words = np.zeros((batch, 64, w.width(arch)), np.uint16)
        self.head, self.tail = np.zeros(batch, np.int64), np.zeros(batch, np.int64)

    @property
    def ready(self) -> bool:
        """Whether every run has a word."""
        return bool((self.tail > self.head).all())

    def fill(self, streams: Sequence[Stream], arch: Architecture) -> None:
        """Replace the contents by the words of a stream a run."""
        self.words = np.zeros(
            (len(streams), max([64, *map(len, streams)]), w.width(arch)), np.uint16
        )
        self.head = np.zeros(len(streams), np.int64)
        self.tail = np.array([len(stream) for stream in streams], np.int64)
        for run, stream in enumerate(streams):
            self.words[run, : len(stream)] = w.from_integers(stream, arch)

    def push(self, words: Words) -> None:
        """Append the valid ones of a word a run."""
        rows = np.flatnonzero(w.valid(words))
        if self.tail.max(initial=0) == self.words.shape[1]:
            self.words = np.concatenate([self.words, np.zeros_like(self.words)], axis=1)
        self.words[rows, self.tail[rows]] = words[rows]
        self.tail[rows] += 1

    def pop(self) -> Words:
        """The next word of every run."""
        words = self.words[np.arange(len(self.head)), self.head]
        self.head += 1
        return words

    def left(self, run: int) -> Words:
        """Words of a run that were not popped."""
        return self.words[run, self.head[run] : self.tail[run]]


@dataclass
class Result:
    """What a run leaves.

    ``region_cycles``: executed cycles of each region.  ``streams``: words of each column's
    output stream, for every run of the batch.  ``tile_saturated``: of each tile, elements that
    lay above the top of PAL16 in each run of the batch, as ``regmap.TILE_COUNTERS`` counts
    them.  ``links``: for each region, if they were
    kept, words of shape ``(cycles, tiles, links, batch, lanes + 2)``, see ``words``.
    """

    region_cycles: list[int]
    streams: dict[int, Fifo]
    links: list[NDArray[np.uint16]] = field(repr=False)
    tile_saturated: dict[tuple[int, int], NDArray[np.int64]] = field(repr=False)

    @property
    def saturated(self) -> int:
        """Elements above the top, in all tiles and runs."""
        return sum(int(counts.sum()) for counts in self.tile_saturated.values())

    def run_saturated(self, run: int) -> int:
        """Elements above the top, in all tiles in a run of the batch."""
        return sum(int(counts[run]) for counts in self.tile_saturated.values())

    @property
    def cycles(self) -> int:
        """Executed cycles of the region that takes longest."""
        return max(self.region_cycles)

    def run_outputs(self, run: int) -> dict[int, Stream]:
        """Words of the output streams of a run."""
        return {c: w.to_integers(fifo.left(run)) for c, fifo in self.streams.items()}

    @property
    def outputs(self) -> dict[int, Stream]:
        """Words of the output streams of the first run."""
        return self.run_outputs(0)


class GoldenArray:
    """Runs program images on a model of their architecture, for a batch of runs at once.

    ``images``: one for all runs of the batch, or one for each, of one ``region.schedule``.
    Data memories start with the image's contents and outlast runs; ``memory[tile]`` has shape
    ``(batch, words, lanes + 1)``: the 16-bit lanes of the data, and the bias.
    """

    def __init__(
        self,
        images: Image | Sequence[Image],
        batch: int = 1,
        region_model: type[RegionModel] = RegionModel,
    ) -> None:
        each = [images] if isinstance(images, Image) else list(images)
        if len(each) not in (1, batch):
            raise ValueError(f"{len(each)} images for a batch of {batch}")
        if len(each) > 1 and len(set(map(schedule, each))) > 1:
            raise ValueError("images of a batch differ in more than weights and offsets")
        self.arch, self.batch, self.region_model = each[0].arch, batch, region_model
        arch = self.arch
        self.images = [each[0]] * arch.region_count
        self.variants = each if len(each) > 1 else []
        self.memory = {
            t: np.zeros((batch, arch.memory_words, arch.lanes16 + 1), np.uint16)
            for t in arch.memory_tiles
        }
        self.entering: dict[Port, Fifo] = {}
        self.leaving: dict[Port, Fifo] = {}
        self.regions: list[RegionModel | None] = [None] * arch.region_count
        self.links: list[list[Words] | None] = [None] * arch.region_count
        for region in range(arch.region_count):
            self.load_memory(region, each[0])
            for port in arch.outputs(region):
                fifo = self.leaving[port] = Fifo(arch, batch)
                other = neighbour(port.row, port.col, port.link)
                if other in arch.tiles:
                    self.entering[Port(*other, NEIGHBOURS[port.link][2])] = fifo
        for c in range(arch.cols):
            self.entering[Port(0, c, "north")] = Fifo(arch, batch)

    def output(self, column: int) -> Fifo:
        """The output stream of a column."""
        return self.leaving[Port(self.arch.rows - 1, column, "south")]

    def load_memory(self, region: int, image: Image) -> None:
        """Data memories of a region as the image has them, if it has any."""
        if not any(place[0] is Space.MEMORY for place in image.rows):
            return
        for tile in self.arch.region_tiles(region):
            if tile in self.memory:
                self.memory[tile][:] = 0
        for (space, r, c), rows in image.rows.items():
            if space is Space.MEMORY and (r, c) in self.memory and self.arch.region(r, c) == region:
                for address in rows:
                    pair = tuple(image.read(space, (r, c), address).values())
                    self.memory[r, c][:, address] = w.from_integers([pair], self.arch)[0, :-1]

    def feed(self, column: int, streams: Sequence[Stream]) -> None:
        """Append words to the input stream of a column, for every run of the batch."""
        fifo = self.entering[Port(0, column, "north")]
        words = [w.from_integers(stream, self.arch) for stream in streams]
        for i in range(max(map(len, words))):
            fifo.push(
                np.array([x[i] if i < len(x) else np.zeros_like(fifo.words[0, 0]) for x in words])
            )

    def start(self, region: int, rounds: int, keep_links: bool = False) -> None:
        """Begin a run of a region with its image; data memories go on."""
        tiles = self.arch.region_tiles(region)
        nothing = np.zeros((self.batch, 1, self.arch.lanes16 + 1), np.uint16)
        memory = [self.memory.get(t, nothing) for t in tiles]
        self.regions[region] = self.region_model(
            self.variants or [self.images[region]], region, rounds, self.batch, memory
        )
        self.links[region] = [] if keep_links else None

    def advance(self, progress: Callable[[int], None] = lambda _: None) -> bool:
        """Execute cycles until every region is done or waits; whether any was executed."""
        moved = False
        while any(
            self._advance(region, links, progress)
            for region, links in zip(self.regions, self.links, strict=True)
            if region is not None
        ):
            moved = True
        return moved

    def _advance(
        self, region: RegionModel, links: list[Words] | None, progress: Callable[[int], None]
    ) -> bool:
        """Execute cycles of a region until the end, or until a stream is empty."""
        first = region.cycle
        while not region.done:
            reads = region.reads()
            if not all(self.entering[region.inputs[i]].ready for i in reads):
                break
            for i, words in region.emits():
                self.leaving[region.outputs[i]].push(words)
            if links is not None:
                links.append(region.out)
            if region.cycle % region.ii == 0:
                progress(region.cycle // region.ii)
            region.step({i: self.entering[region.inputs[i]].pop() for i in reads})
        return region.cycle > first

    def run(
        self,
        inputs: Mapping[int, Stream] | Sequence[Mapping[int, Stream]],
        iterations: int | Sequence[int],
        progress: Callable[[int], None] = lambda _: None,
        keep_links: bool = True,
    ) -> Result:
        """Execute rounds of the regions' outermost loops with the words of the north streams.

        ``inputs`` are those of the runs of the batch, or of the only one; ``iterations`` are
        those of each region, or of all.  Raises ``InputExhausted`` if a stream has too few
        words.
        """
        arch = self.arch
        runs = [inputs] if isinstance(inputs, Mapping) else list(inputs)
        if len(runs) != self.batch:
            raise ValueError(f"{len(runs)} runs of inputs for a batch of {self.batch}")
        for c in range(arch.cols):
            self.entering[Port(0, c, "north")].fill([run.get(c, []) for run in runs], arch)
            self.output(c).fill([[]] * self.batch, arch)
        for r in range(arch.region_count):
            self.start(r, iterations if isinstance(iterations, int) else iterations[r], keep_links)
        self.advance(progress)
        regions = [region for region in self.regions if region is not None]
        self._check_done(regions)
        shape = (0, 0, len(LINKS), self.batch, w.width(arch))
        # Later runs must not change what this one leaves.
        streams = {c: copy(self.output(c)) for c in range(arch.cols)}
        return Result(
            [region.cycles for region in regions],
            streams,
            [np.array(kept) if kept else np.zeros(shape, np.uint16) for kept in self.links],
            {
                tile: counts
                for region in regions
                for tile, counts in zip(region.tiles, region.saturated, strict=True)
            },
        )

    def _check_done(self, regions: Sequence[RegionModel]) -> None:
        for number, region in enumerate(regions):
            if not region.done:
                port = next(
                    region.inputs[i]
                    for i in region.reads()
                    if not self.entering[region.inputs[i]].ready
                )
                raise InputExhausted(
                    f"the {port.link} stream of tile ({port.row},{port.col}) is "
                    f"empty in cycle {region.cycle} of region {number}"
                )
