"""What random programs show: results of each kind that reach an output stream.

``python -m verif.observed [COUNT]`` prints the least and all counts for the arrays of CI.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pal_units.formats import PAL16
from spu.arch.config import Guard
from spu.arch.context import ALU_OPS, LINKS, SINKS, SUM_OPS, VECTOR_OPS, Op, Source
from spu.arch.params import ALWAYS, Architecture
from spu.model import words as w
from spu.model.array import GoldenArray
from spu.model.region import RegionModel
from spu.model.tile import TileUnits
from spu.model.words import Words
from verif.random_programs import ARRAYS
from verif.stimulus.programs import random_case

#: Arrays and first seed of the programs that CI runs, and their number.
CI_ARRAYS, FIRST_SEED, COUNT = ("2x2", "two regions"), 3000, 56
_DATA = sorted({name for array in CI_ARRAYS for name in ARRAYS[array].formats})
#: Of arrays whose weight rows hold codes.
_WEIGHTS = sorted(
    {n for array in CI_ARRAYS if not ARRAYS[array].decoded_weights for n in ARRAYS[array].formats}
)
#: What must reach outputs, by kind.  PUSH gives no word of its own.
KINDS: dict[str, tuple[str, ...]] = {
    "operation": tuple(op.name for op in Op if op in (*ALU_OPS, *VECTOR_OPS, *SUM_OPS)),
    "format of data": tuple(_DATA),
    "format of weights": tuple(_WEIGHTS),
    "format of blocks": tuple(_DATA),
    "guard": tuple(f"{g.name} {held}" for g in Guard for held in (True, False)),
    "NaN": ("VECTOR", "SUM", "MATRIX"),
    "saturated": ("VECTOR", "SUM", "MATRIX"),
}


class ObservedRegion(RegionModel):
    """A region that counts, by (kind, name), the valid words that leave it at once.

    A word counts for what gave it if its tile sent it, in the cycle in which its unit gave it, over
    a link that the next cycle emits; guards count where they are asked.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: Counter[tuple[str, str]] = Counter()
        self.labels: dict[tuple[Source, int, int], list[tuple[str, str]]] = {}
        self.sent: dict[tuple[int, int], list[tuple[str, str]]] = {}

    def emits(self) -> list[tuple[int, Words]]:
        out = super().emits()
        for i, words in out:
            if w.valid(words).any():
                self.seen.update(self.sent.get(self.output_place[i], []))
        return out

    def step(self, entering: Mapping[int, Words]) -> None:
        plan, cycle = self.slots[self.cycle % self.ii], self.cycle
        super().step(entering)
        self.sent = {}
        for t, i in self.output_place:
            source = Source(plan.chosen[t, SINKS.index(LINKS[i])])
            labels = self.labels.get((source, t, cycle))
            if labels:
                self.sent[t, i] = labels

    def _deliver(
        self, source: Source, tiles: list[int] | int, words: Words, saturated: Any = None
    ) -> None:
        super()._deliver(source, tiles, words, saturated)
        plan = self.slots[self.cycle % self.ii]
        ops = {t: op for t, op, _ in plan.ops}
        several = tiles if isinstance(tiles, list) else [tiles]
        for place, t in enumerate(several):
            word = words[place] if isinstance(tiles, list) else words
            labels = []
            if source in (Source.VECTOR, Source.SUM, Source.ALU):
                labels.append(("operation", ops[t].name))
            if source is Source.MATRIX:
                mode = self.units[t].matrix.results[-1]
                labels.append(("format of data", mode.x_format.name))
                if mode.w_format is not None:
                    labels.append(("format of weights", mode.w_format.name))
            if source is Source.REBLOCK:
                labels.append(("format of blocks", self.units[t].reblock.fmt.name))
            if source in (Source.VECTOR, Source.SUM, Source.MATRIX):
                if (w.lanes(word) == PAL16.sign_bit).any():
                    labels.append(("NaN", source.name))
                counts = None if saturated is None else np.atleast_2d(saturated)[place]
                if counts is not None and counts.any():
                    labels.append(("saturated", source.name))
            due = self.cycle + len(self.due[source])
            self.labels[source, t, due] = labels

    def _guard(self, tile: TileUnits, guard: Guard, slot: int, iteration: int) -> bool:
        held = super()._guard(tile, guard, slot, iteration)
        if tile.guards[guard.value]["predicate"] != ALWAYS:
            self.seen["guard", f"{guard.name} {held}"] += 1
        return held


def observed(golden: GoldenArray) -> Counter[tuple[str, str]]:
    """Counts of ``KINDS`` in a run that has ended, whose region model was ``ObservedRegion``."""
    seen: Counter[tuple[str, str]] = Counter()
    for region in golden.regions:
        assert isinstance(region, ObservedRegion)
        seen.update(region.seen)
    return seen


def over_programs(arch: Architecture, seeds: Iterable[int]) -> Counter[tuple[str, str]]:
    """Counts of ``KINDS`` over random programs."""
    seen: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        case = random_case(arch, seed)
        golden = GoldenArray(case.image, region_model=ObservedRegion)
        golden.run(case.inputs, case.rounds, keep_links=False)
        seen.update(observed(golden))
    return seen


def table(counts: Mapping[str, Counter[tuple[str, str]]], kinds: Sequence[str]) -> Table:
    """All counts, by array."""
    out = Table(title="words of random programs that reach output streams")
    for name in ("kind", "of", *counts):
        out.add_column(name, justify="left" if name in ("kind", "of") else "right")
    for kind in kinds:
        for name in KINDS[kind]:
            out.add_row(kind, name, *(f"{seen[kind, name]:,}" for seen in counts.values()))
    return out


def main() -> None:
    """Print the counts of the programs of CI, or of so many."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    Console().print(
        table({name: over_programs(ARRAYS[name], seeds) for name in CI_ARRAYS}, list(KINDS))
    )


if __name__ == "__main__":
    main()
