"""Inputs that show how large the values of a model become: one set of them, or a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from spu.arch.package.inputs import of_program
from spu.arch.package.program import Program

Inputs = Mapping[str, NDArray]


@dataclass(frozen=True)
class Samples:
    """Sets of inputs by name, of the shapes of a program.

    ``percentile``: the share of the magnitudes of a tensor, of each set, that is held in any case;
    100 for all of them, 0 is not allowed.  What is above may saturate, as a run tells.

    Raises ``CompileError`` for no set, or a percentile that is not above 0 and at most 100.
    """

    sets: tuple[Inputs, ...]
    percentile: float = 100.0

    def __post_init__(self) -> None:
        if not self.sets:
            raise CompileError("there are no inputs to calibrate with")
        if not 0 < self.percentile <= 100:
            raise CompileError(f"a percentile is above 0 and at most 100, not {self.percentile:g}")

    def repeated(self, count: int) -> "Samples":
        """The same, each vector so many times."""
        sets = ({k: np.repeat(x, count, 0) for k, x in each.items()} for each in self.sets)
        return Samples(tuple(sets), self.percentile)

    def most(self, magnitudes: NDArray) -> float:
        """What of these magnitudes is to be held; 0 of none."""
        if self.percentile == 100:
            return float(np.max(magnitudes, initial=0.0))
        held = magnitudes[magnitudes > 0]
        return float(np.percentile(held, self.percentile)) if held.size else 0.0


Given = Samples | Inputs | Sequence[Inputs]


def samples(given: Given) -> Samples:
    """One set of inputs, or several, as samples."""
    if isinstance(given, Samples):
        return given
    return Samples((given,) if isinstance(given, Mapping) else tuple(given))


def checked(program: Program, given: Given) -> Samples:
    """Samples for a program; ``InputError`` as ``of_program`` for each set."""
    found = samples(given)
    return Samples(tuple(of_program(program, each) for each in found.sets), found.percentile)
