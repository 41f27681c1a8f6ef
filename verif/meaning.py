"""What a model means, beside a run with other values in the place of its masks.

Constants and inputs far below (or above) all others are moved, see ``compiler/tensors/masks.py``.
Where that could matter depends on the values of a run: what moves lead to is carried along in
float64, once as the model has it and once as it was moved, until both are the same.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from compiler.tensors.compiled import Compiled
from compiler.tensors.expressions import evaluate
from compiler.tensors.masks import FIXED
from compiler.tensors.program import Layout, Product, Step
from compiler.tensors.ranges import least_magnitude
from compiler.tensors.values import gathered

#: Relative difference of two values that are taken to be the same, at most: 1.4 steps of PAL16.
SAME = 2.0**-10

Values = NDArray[np.float64]


class Meaning:
    """``pairs``: tensors that are not what the model means, as that and as they are."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.pairs: dict[int, tuple[Values, Values]] = {}

    def input(self, tensor: int, meant: Values, held: Values) -> None:
        """Take note of an input, and of what is held of it."""
        if (meant != held).any():
            self.pairs[tensor] = meant, held

    def step(self, i: int, values: Callable[[int], Values]) -> int:
        """How many elements of what a step makes are not what the model means, where it matters.

        ``values``: of a tensor that the step takes.
        """
        step = self.compiled.program.steps[i]
        original = self.compiled.ranges.meant.get(i, step)
        if isinstance(step, Product) or (
                original is step and not any(s in self.pairs for s in step.sources)):
            return 0
        meant, moved = (self._made(one, [self.pairs[s][k] if s in self.pairs else values(s)
                                         for s in one.sources])
                        for k, one in enumerate((original, step)))
        same = (meant == moved) | (np.isnan(meant) & np.isnan(moved))
        exact = (FIXED, FIXED)
        if self.compiled.ranges.masks.get(step.out, exact) != exact:
            if not same.all():
                self.pairs[step.out] = meant, moved
            return 0
        least = least_magnitude(self.compiled.ranges.tensors[step.out])
        with np.errstate(invalid="ignore"):
            same |= np.abs(meant - moved) <= SAME * np.abs(meant) + least
        return int((~same).sum())

    def _made(self, step: Step, sources: list[Values]) -> Values:
        if isinstance(step, Layout):
            return gathered(step, sources, step.fill)
        assert not isinstance(step, Product)
        shape = self.compiled.program.shape(step.out)
        made = evaluate(step.expression, [s.reshape(shape) for s in sources])[step.expression]
        return np.broadcast_to(made, shape)
