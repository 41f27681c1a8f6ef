"""What is compared: a datapath is all that a format needs from codes to sums of products."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from amaranth.lib import wiring
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Coded:
    """Real numbers ``(rows, K)`` as a datapath's ports take them; blocks lie along K.

    Parameters
    ----------
    codes: of an edge, (rows, K); biases: its ``bias`` port, (rows, K / block).
    operands: what stands for them as decoded weights in ``b``, the bits of its layout, (rows, K).
    scale: what a value of 1.0 of the format stands for.
    """

    codes: Codes
    biases: Codes
    operands: Codes
    scale: float


@dataclass(frozen=True)
class Datapath:
    """A format with the bits that its unit keeps.

    Parameters
    ----------
    family: its format and scale, and multiplier if there are several; setting: what is kept.
    bits: of an element with its share of block scales; weight_bits: of an operand that is stored
    decoded, likewise.
    block: elements that share a scale, 0 if a tensor has one.
    guard_bits: of the accumulator below a product's unit.
    edge: the component that decodes a slice of so many codes: ports ``codes``, ``bias`` if there
    are blocks, ``o``, and ``scale`` if there is anything to say of a block.
    products: the component that sums so many products, in blocks of so many elements (0: a slice
    alone), see ``verif.baselines.rtl.core``.
    encode: numbers as operands; said: what ``scale_b`` takes for each slice of so many of them.
    accumulate: accumulators of the rows of one tensor with those of another: in slices of so many
    elements, of which each is shifted alone (``exact`` False), or blocks that add exactly.
    unit: what an accumulator's unit stands for if both operands' scales are 1.
    lacking: what a sum of so many products lacks in the mean, in units of the products.
    nan: bits of ``scale_a`` that say that a slice has a NaN, 0 if it never has.
    edge_b: the edge of a dot unit's second operand, None if both are alike.
    """

    family: str
    setting: str
    bits: float
    weight_bits: float
    block: int
    guard_bits: int
    edge: Callable[[int], wiring.Component]
    products: Callable[[int, int], wiring.Component]
    encode: Callable[[Array], Coded]
    said: Callable[[Coded, int], Codes]
    accumulate: Callable[[Coded, Coded, int, bool], NDArray[np.int64]]
    unit: float
    lacking: Callable[[int], float] = lambda _: 0.0
    nan: int = 0
    edge_b: Callable[[int], wiring.Component] | None = None

    @property
    def name(self) -> str:
        """Unique."""
        return f"{self.family} {self.setting}"


@lru_cache(maxsize=256)
def _remembered(make: Callable[[Array], Any], shape: tuple[int, ...], data: bytes) -> Any:
    return make(np.frombuffer(data).reshape(shape))


def remembered(make: Callable[[Array], Any], x: Array) -> Any:
    """``make(x)``, computed once; ``make`` must be hashable by what it does."""
    x = np.ascontiguousarray(x, np.float64)
    return _remembered(make, x.shape, x.tobytes())


def repeated(per_block: Codes, block: int, lanes: int, length: int) -> Codes:
    """What is said of blocks, for each slice of so many elements."""
    return np.repeat(per_block, max(block, lanes) // lanes, axis=1)[:, : length // lanes]
