"""Golden model of the array in clock cycles: its streams, the holds of its regions, its loader."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from spu.arch.bitstream import Image
from spu.arch.params import NEIGHBOURS, Architecture, Port, neighbour
from spu.model import words as w
from spu.model.array import GoldenArray
from spu.model.chip.loader import LoaderModel
from spu.model.region import RegionModel, has_end
from spu.model.words import Words

#: Data and bias of a word.
Pair = tuple[int, int]


class _Fifo:
    """Words of a stream; what comes in a cycle may leave in the next one."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.words: deque[Words] = deque()
        self.first: Pair | None = None  # of the words, if it was asked for

    @property
    def ready(self) -> bool:
        return len(self.words) < self.depth


class _Sequencer:
    """Clock cycles of a region: the run that goes on, and the one that was asked for."""

    def __init__(self) -> None:
        self.run: RegionModel | None = None
        self.asked: int | None = None  # rounds
        self.done = self.no_end = False
        #: Inputs that the next cycle reads, outputs that it emits valid words to; None: not known.
        self.reads: list[int] | None = None
        self.emits: list[tuple[int, Words]] = []

    def look(self) -> list[int]:
        """The inputs, after ``emits`` was brought up to date, too."""
        assert self.run is not None
        if self.reads is None:
            self.reads = self.run.reads()
            self.emits = [(i, x[0]) for i, x in self.run.emits() if x[0, -1]]
        return self.reads


class ArrayModel:
    """The array as ``Spu`` is at its streams, its loader and its runs, in every cycle.

    ``cycle`` counts clock cycles; ``active`` are executed ones of each region; ``tile_saturated``
    are elements above the top, as ``regmap.TILE_COUNTERS`` counts them, of runs that have ended.
    Data memories are those of ``golden``.  Host, watchdog and trace are not there.
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.golden = GoldenArray(Image(arch))
        self.loader = LoaderModel(arch)
        self.cycle = 0
        self.active = [0] * arch.region_count
        self.tile_saturated: Counter[tuple[int, int]] = Counter()
        self.sequencers = [_Sequencer() for _ in range(arch.region_count)]
        self._entering: dict[Port, _Fifo] = {}
        self._leaving: dict[Port, _Fifo] = {}
        for region in range(arch.region_count):
            for port in arch.outputs(region):
                fifo = self._leaving[port] = _Fifo(arch.stream_words)
                other = neighbour(port.row, port.col, port.link)
                if other in arch.tiles:
                    self._entering[Port(*other, NEIGHBOURS[port.link][2])] = fifo
        self._north = [_Fifo(arch.stream_words) for _ in range(arch.cols)]
        for c, fifo in enumerate(self._north):
            self._entering[Port(0, c, "north")] = fifo
        self._south = [self._leaving[Port(arch.rows - 1, c, "south")] for c in range(arch.cols)]
        self._inputs = [
            [self._entering[p] for p in arch.inputs(r)] for r in range(arch.region_count)
        ]
        self._outputs = [
            [self._leaving[p] for p in arch.outputs(r)] for r in range(arch.region_count)
        ]

    def north_ready(self, column: int) -> bool:
        """Whether a word is taken at the north edge in this cycle."""
        return self._north[column].ready

    def south(self, column: int) -> Pair | None:
        """The word on offer at the south edge."""
        fifo = self._south[column]
        if fifo.first is None and fifo.words:
            fifo.first = w.to_integers(fifo.words[0][None])[0]
        return fifo.first

    def running(self, region: int) -> bool:
        """Whether a run goes on."""
        return self.sequencers[region].run is not None

    def starting(self, region: int) -> bool:
        """Whether a run was asked for and has not begun."""
        return self.sequencers[region].asked is not None

    def executes(self, region: int) -> bool:
        """Whether a region executes a cycle in this one."""
        sequencer = self.sequencers[region]
        if sequencer.run is None:
            return False
        inputs, outputs = self._inputs[region], self._outputs[region]
        return all(inputs[i].words for i in sequencer.look()) and all(
            outputs[i].ready for i, _ in sequencer.emits
        )

    def tick(
        self,
        north: Sequence[Pair | None],
        south_ready: Sequence[bool],
        load: int | None = None,
        start: Mapping[int, int] = {},
    ) -> None:
        """Go on by a cycle.

        ``north``: what is offered to each column; ``load``: to the loader; ``start``: rounds of the
        runs that are asked for in this cycle, by region.
        """
        arch = self.arch
        executes = [self.executes(r) for r in range(arch.region_count)]
        comes = [
            pair if pair is not None and fifo.ready else None
            for pair, fifo in zip(north, self._north, strict=True)
        ]
        for ready, fifo in zip(south_ready, self._south, strict=True):
            if ready and fifo.words:
                fifo.words.popleft()
                fifo.first = None
        left = [self._execute(r) if executes[r] else [] for r in range(arch.region_count)]
        swapping = {r for r in range(arch.region_count) if self._between(r)}
        for region, rounds in start.items():
            self.sequencers[region].asked = rounds
            self.sequencers[region].no_end = False
        for emitted in left:
            for fifo, word in emitted:
                fifo.words.append(word)
        for pair, fifo in zip(comes, self._north, strict=True):
            if pair is not None:
                fifo.words.append(w.from_integers([pair], arch)[0])
        self.loader.tick(load, swapping)
        self.cycle += 1

    def _execute(self, region: int) -> list[tuple[_Fifo, Words]]:
        """A cycle of a region; what it emits."""
        sequencer, inputs = self.sequencers[region], self._inputs[region]
        run = sequencer.run
        assert run is not None
        emitted = [(self._outputs[region][i], word) for i, word in sequencer.emits]
        run.step({i: inputs[i].words.popleft()[None] for i in sequencer.look()})
        sequencer.reads = None
        self.active[region] += 1
        return emitted

    def _between(self, region: int) -> bool:
        """End a run, swap banks, begin a run, if it is time; whether banks were swapped."""
        sequencer, golden = self.sequencers[region], self.golden
        if sequencer.run is not None:
            if not sequencer.run.done:
                return False
            for tile, counts in zip(sequencer.run.tiles, sequencer.run.saturated, strict=True):
                self.tile_saturated[tile] += int(counts[0])
            sequencer.run, sequencer.done = None, True
        swaps = region in self.loader.commit
        if swaps:
            self.loader.golden.swap(region, golden.memory)
            golden.images[region] = self.loader.golden.banks[region][0].image
        rounds, sequencer.asked = sequencer.asked, None
        if rounds is not None:
            sequencer.no_end = rounds > 0 and not has_end(golden.images[region], region)
            sequencer.done = rounds == 0
            if rounds and not sequencer.no_end:
                golden.start(region, rounds)
                sequencer.run = golden.regions[region]
                sequencer.reads = None
        return swaps
