"""Faults in programs that the array runs, for tests of what should name them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pal_units.formats import BIAS_PER_OCTAVE
from spu.arch.bitstream import Image
from spu.arch.config import OCTAVE_BITS, Space
from spu.arch.package.compiled import Package
from spu.arch.package.program import Product
from spu.arch.params import BLOCK
from spu.engine.array import Cycles, Engine, GoldenEngine
from spu.model.words import Stream


def product_runs(package: Package) -> list[int]:
    """The step of each run that multiplies, in order."""
    return [
        i
        for i, step in enumerate(package.program.steps)
        if isinstance(step, Product)
        for _ in range(package.program.shape(step.a)[0] * len(package.pieces[i]))
    ]


@dataclass
class FaultyEngine(GoldenEngine):
    """The golden model, but in one run the bias of one weight block is off by an octave.

    ``fault``: which of the runs that multiply, from 0.  The block is drawn by ``seed`` from those
    that are not empty; where results are the same in spite of that, another one is.  ``done`` once
    results are others.
    """

    fault: int = 0
    seed: int = 0
    products: int = 0
    done: bool = False
    tried: list[tuple[tuple[int, int], int, int]] = field(default_factory=list)
    run_each = Engine.run_each

    def run(
        self,
        image: Image,
        inputs: Mapping[int, Stream],
        iterations: int,
        cycles: Cycles,
        alike: bool,
    ) -> dict[int, Stream]:
        """``Engine.run``; rounds of products alone are not alike."""
        this, self.products = self.products, self.products + (not alike)
        if alike or this != self.fault:
            return super().run(image, inputs, iterations, cycles, alike)
        right = GoldenEngine(self.arch).run(image, inputs, iterations, cycles, alike)
        for wrong in self._wrong(image):
            trial = GoldenEngine(self.arch).run(wrong, inputs, iterations, cycles, alike)
            if trial != right:
                self.done = True
                return super().run(wrong, inputs, iterations, cycles, alike)
        raise ValueError("no weight block matters to the results of this run")

    def _wrong(self, image: Image) -> Iterator[Image]:
        """Images with another block off by an octave each, in a random order."""
        rng, each = np.random.default_rng(self.seed), BLOCK // self.arch.lanes
        blocks = [
            ((row, column), first, number)
            for (space, row, column), rows in image.rows.items()
            if space is Space.WEIGHT
            for first in sorted(rows)
            if first % each == 0
            for number in range(self.arch.columns)
        ]
        for choice in rng.permutation(len(blocks)):
            tile, first, number = blocks[choice]
            wrong, way = image.copy(), int(rng.choice((-1, 1)))
            if all(self._shifted(wrong, tile, first + k, number, way) for k in range(each)):
                self.tried.append(blocks[choice])
                yield wrong

    def _shifted(
        self, image: Image, tile: tuple[int, int], address: int, number: int, way: int
    ) -> bool:
        """Move the bias of a column's block in a weight row; whether the block is not empty."""
        row = image.read(Space.WEIGHT, tile, address)
        block = row["blocks"][number]
        if not self.arch.decoded_weights:
            bias = (block ^ 0x80) - 0x80
            if bias == -0x80:
                return False
            moved = bias + BIAS_PER_OCTAVE * (way if bias <= -BIAS_PER_OCTAVE else -1)
            row["blocks"][number] = max(moved, -0x7F) & 0xFF
        elif block["zero"]:
            return False
        else:
            octaves = block["octaves"] - way
            outside = not 0 <= octaves < 1 << OCTAVE_BITS
            block["octaves"] += way if outside else -way
        image.write(Space.WEIGHT, tile, address, row)
        return True
