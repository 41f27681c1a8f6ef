"""Tensor biases of a program, and which of its values may be moved."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spu.arch.package.expression import own_bias
from spu.arch.package.program import Step

#: Octaves below the top of its class at which a mask is encoded.
BELOW = 2
#: How far a value below (above) others may be moved: not at all, to the top of its class (only
#: what is beyond all values of the class is compared with it), to any value far off.
FIXED, TOP, ANY = 0, 1, 2

Levels = tuple[int, int]


@dataclass(frozen=True)
class Ranges:
    """Tensor biases in 1/8 octave: ``tensors`` by number, ``nodes`` of the expression of each map
    by the number of its step, in the order of its subexpressions.

    ``masks``: tensors whose values below, and above, what they hold may be moved, and how far.
    ``meant``: steps as the model has them, by number, of those with other constants for masks.
    ``notes``: constants and magnitudes that are not held as they are, a line each.
    ``fixed``: operands of products have their tensors' biases in every run; else the least that
    hold their blocks.
    """

    tensors: dict[int, int]
    nodes: dict[int, tuple[int, ...]]
    masks: dict[int, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    meant: dict[int, Step] = field(default_factory=dict)
    fixed: bool = False


def far(bias: int) -> float:
    """A mask under a tensor bias: so far from its top that sums with it do not saturate."""
    return float(2.0 ** (bias / 8 - BELOW))


def constant_bias(values: NDArray) -> int:
    """Of a constant tensor that is in no class, an operand of a product or an output: the least
    that holds it in whole octaves, as blocks reach less far below it than values do."""
    return own_bias(float(np.abs(values).max(initial=0.0)))
