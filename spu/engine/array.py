"""Engines: what runs a program on an array."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from spu.arch.bitstream import Image
from spu.arch.params import Architecture
from spu.arch.program import Tile
from spu.engine.errors import RunError
from spu.model.array import GoldenArray, Result
from spu.model.region import schedule
from spu.model.words import Stream

#: Runs side by side in the golden model, and iterations that each has at least.
BATCH, LEAST_ITERATIONS = 64, 32

Cycles = Callable[[int], int]


@dataclass(frozen=True)
class Run:
    """A program and the words that it takes; the members are as ``Engine.run`` has them."""

    image: Image
    inputs: Mapping[int, Stream]
    iterations: int
    cycles: Cycles
    alike: bool


@dataclass
class Engine(ABC):
    """An array; ``cycles`` counts those of all runs, each as predicted.

    ``tiles``: elements above the top that each tile counted; ``nodes``: those of them that
    matter, by the label of the node of the model, see ``saturation`` and ``meaning``.
    ``counters``: of the last run, by the names of the register map, as far as it has any.
    ``loads``: whether cycles are also those of loading.
    """

    arch: Architecture
    cycles: int = 0
    runs: int = 0
    tiles: Counter[Tile] = field(default_factory=Counter)
    nodes: Counter[str] = field(default_factory=Counter)
    counters: dict[str, int] = field(default_factory=dict)
    loads: ClassVar[bool] = False

    def totals(self) -> dict[str, int]:
        """What else was counted in all runs, by name."""
        return {}

    @property
    def saturated(self) -> int:
        """Elements above the top, in all tiles and runs."""
        return self.tiles.total()

    def count(self, result: Result, cycles: int, runs: int = 1) -> None:
        """Take a run of so many cycles into account, or several at once."""
        self.cycles += cycles * runs
        self.runs += runs
        self.tiles.update(
            {tile: int(counts.sum()) for tile, counts in result.tile_saturated.items()}
        )
        self.counters = {"CYCLES_0": cycles, "ACTIVE_0": cycles}

    @abstractmethod
    def run(
        self,
        image: Image,
        inputs: Mapping[int, Stream],
        iterations: int,
        cycles: Cycles,
        alike: bool,
    ) -> dict[int, Stream]:
        """Words of the output streams of a run of so many rounds, by column.

        ``inputs``: words of the input streams by column; a word is its data and its block bias in
        1/8 octave.  ``cycles``: predicted for a number of rounds.  ``alike``: each round takes and
        gives the same numbers of words, and no round knows of another.
        Raises ``RunError`` if the run does not take the cycles that were predicted.
        """

    def run_each(self, runs: Sequence[Run]) -> list[dict[int, Stream]]:
        """``run``, of several that know nothing of each other, in order."""
        return [self.run(r.image, r.inputs, r.iterations, r.cycles, r.alike) for r in runs]


@dataclass
class GoldenEngine(Engine):
    """The golden model, with rounds that are alike side by side."""

    def run(
        self,
        image: Image,
        inputs: Mapping[int, Stream],
        iterations: int,
        cycles: Cycles,
        alike: bool,
    ) -> dict[int, Stream]:
        """``Engine.run``; rounds that are alike are split over up to ``BATCH`` runs side by side.

        Raises ``RunError`` if one does not take the cycles that were predicted.
        """
        batch = min(BATCH, -(-iterations // LEAST_ITERATIONS)) if alike else 1
        each = -(-iterations // batch)
        shares: list[dict[int, Stream]] = [{} for _ in range(batch)]
        for column, words in inputs.items():
            count = len(words) // iterations * each if alike else len(words)
            words = (
                words + words[: len(words) // iterations] * (each * batch - iterations)
                if alike
                else words
            )
            for b, share in enumerate(shares):
                share[column] = words[b * count : (b + 1) * count]
        result = GoldenArray(image, batch).run(shares, each, keep_links=False)
        check_cycles(result.cycles, cycles(each))
        self.count(result, cycles(iterations))
        outputs = [result.run_outputs(b) for b in range(batch)]
        joined = {c: [word for out in outputs for word in out[c]] for c in outputs[0]}
        # Rounds beyond the last only fill up the batch.
        return {
            c: words[: len(outputs[0][c]) // each * iterations] if alike else words
            for c, words in joined.items()
        }

    def run_each(self, runs: Sequence[Run]) -> list[dict[int, Stream]]:
        """``Engine.run_each``, those of one schedule side by side, ``BATCH`` at most.

        Words, cycles and counts are those of runs one by one.
        """
        found: dict[int, dict[int, Stream]] = {}
        groups: dict[tuple, list[int]] = {}
        for i, r in enumerate(runs):
            words = tuple(sorted((column, len(given)) for column, given in r.inputs.items()))
            groups.setdefault((schedule(r.image), r.iterations, words, r.alike), []).append(i)
        for members in groups.values():
            for first in range(0, len(members), BATCH):
                together = members[first : first + BATCH]
                outputs = self._together([runs[i] for i in together])
                found |= dict(zip(together, outputs, strict=True))
        return [found[i] for i in range(len(runs))]

    def _together(self, runs: Sequence[Run]) -> list[dict[int, Stream]]:
        """Runs of one schedule, which take as many words each."""
        one = runs[0]
        if len(runs) == 1 or one.alike:
            return super().run_each(runs)
        golden = GoldenArray([r.image for r in runs], len(runs))
        result = golden.run([r.inputs for r in runs], one.iterations, keep_links=False)
        for r in runs:
            check_cycles(result.cycles, r.cycles(r.iterations))
        self.count(result, result.cycles, len(runs))
        return [result.run_outputs(k) for k in range(len(runs))]


def check_cycles(got: int, predicted: int) -> None:
    """Raise ``RunError`` if a run did not take as long as predicted."""
    if got != predicted:
        raise RunError(f"{got} cycles, predicted were {predicted}")
