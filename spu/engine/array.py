"""Engines: what runs a program on an array."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from spu.arch.bitstream import Image
from spu.arch.params import Architecture
from spu.arch.program import Tile
from spu.engine.errors import RunError
from spu.model.array import GoldenArray, Result
from spu.model.words import Stream

#: Runs side by side in the golden model, and iterations that each has at least.
BATCH, LEAST_ITERATIONS = 64, 32

Cycles = Callable[[int], int]


@dataclass
class Engine(ABC):
    """An array; ``cycles`` counts those of all runs, each as predicted.

    ``tiles``: elements above the top that each tile counted; ``nodes``: those of them that
    matter, by the label of the node of the model, see ``saturation`` and ``meaning``.
    ``counters``: of the last run, by the names of the register map, as far as it has any.
    """

    arch: Architecture
    cycles: int = 0
    runs: int = 0
    tiles: Counter[Tile] = field(default_factory=Counter)
    nodes: Counter[str] = field(default_factory=Counter)
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def saturated(self) -> int:
        """Elements above the top, in all tiles and runs."""
        return self.tiles.total()

    def count(self, result: Result, cycles: int) -> None:
        """Take a run of so many cycles into account."""
        self.cycles += cycles
        self.runs += 1
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


def check_cycles(got: int, predicted: int) -> None:
    """Raise ``RunError`` if a run did not take as long as predicted."""
    if got != predicted:
        raise RunError(f"{got} cycles, predicted were {predicted}")
