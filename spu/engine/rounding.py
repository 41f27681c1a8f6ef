"""Mean and deviation of what the array's roundings do to a number, found by trying each unit.

Relative to the exact result, but where another scale is named.  Each is measured once, on numbers
that a fixed seed draws, and holds for all numbers in so far as roundings of numbers are alike: an
error that depends on the place in an octave is taken as random.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pal_units import model, tables
from pal_units.dot_params import DotParams
from pal_units.formats import PAL16, Format
from spu.arch.blocks import decode_blocks, reblock
from spu.arch.operations import OPERATIONS
from spu.arch.package.expression import COMPARISONS, REAL, TIED, apply, variable
from spu.arch.params import BLOCK
from spu.model import exact

Values = NDArray[np.float64]
#: Numbers, and blocks, that a unit is tried on: deviations are then off by 1 %.
TRIED, BLOCKS = 1 << 14, 1 << 13
#: Operations that choose one of their operands, or change its sign.
CHOICES = ("abs", "neg", "min", "max", "relu", "select", *COMPARISONS)
#: Distances below the largest of a block: bins in an octave, octaves.
BINS, DEEPEST = 4, 16
#: Relative errors below this are of float64, which the units are compared in.
EXACT = 2.0**-40
#: Tensor biases of operands and results, and magnitudes of operands in octaves: nothing that the
#: operations of the array make of these saturates or falls below the least magnitude.
OPERANDS, RESULTS, SMALLEST, LARGEST = 32, 72, -3.0, 3.0


class Rounding(NamedTuple):
    """Mean and standard deviation of relative errors."""

    mean: float
    deviation: float


@cache
def operation_rounding(op: str) -> Rounding:
    """Of an operation on PAL16 numbers, see ``expression.REAL``."""
    if op in CHOICES:
        return Rounding(0.0, 0.0)
    rng, count = np.random.default_rng(0), OPERATIONS[op].operands
    size = np.exp2(rng.uniform(SMALLEST, LARGEST, (count, TRIED)))
    positive = op in ("log2", "sqrt", "rsqrt")
    signs = 1 if positive else rng.choice((-1.0, 1.0), size.shape)
    codes = model.encode16(size * signs, OPERANDS)
    terms = [variable(k) for k in range(count)]
    wanted = apply(op, *terms)
    result = OPERANDS if op in TIED else RESULTS
    work = wanted, (OPERANDS,) * count + (result,)
    got = exact.decoded(exact.expression(work, list(codes))[wanted], result)
    return _relative(got, REAL[op](*model.decode16(codes, OPERANDS)))


@cache
def entering_rounding() -> Rounding:
    """Of numbers that become PAL16."""
    x = np.exp2(np.random.default_rng(0).uniform(SMALLEST, LARGEST, TRIED))
    return _relative(model.decode16(model.encode16(x, OPERANDS), OPERANDS), x)


@cache
def sum_rounding(dot: DotParams) -> Rounding:
    """Of the sums of a dot product that become PAL16."""
    octaves = tables.octaves_below(dot)
    x = np.random.default_rng(0).integers(1 << int(octaves) // 2, 1 << int(octaves), TRIED)
    codes = model.encode_accumulator(x, np.zeros(TRIED, bool), 0, dot)
    return _relative(model.decode16(codes, 0), x * 2.0**-octaves)


def _relative(got: Values, wanted: Values) -> Rounding:
    off = got[wanted != 0] / wanted[wanted != 0] - 1
    if np.abs(off).max() < EXACT:
        return Rounding(0.0, 0.0)
    return Rounding(float(off.mean()), float(off.std()))


@cache
def antilog_rounding(dot: DotParams) -> Rounding:
    """Of the significand of a product of two operands of a dot product, over all of them."""
    entries = tables.antilog(dot.fraction_bits, dot.antilog_bits)
    r = np.arange(len(entries))
    gain = tables.antilog_gain(dot.fraction_bits, dot.antilog_bits) / 2.0**PAL16.fraction_bits
    real = np.exp2(1 + gain - (r + 1) / 2.0**dot.fraction_bits + dot.antilog_bits)
    return _relative(entries.astype(np.float64), real)


def product_unit(dot: DotParams) -> float:
    """Deviation of what a dot product cuts off of a product, of that of the tops of two blocks.

    The least of the bits kept is always 1, so that the error is even within a unit to both sides;
    a unit is 1 of ``2^product_bits`` below whole octaves, above which tops lie anywhere.
    """
    unit = 2.0 ** -(tables.octaves_below(dot) - dot.guard_bits)
    return float(unit * np.sqrt(1 / 3 * (4 - 1) / np.log(4)))


class BlockRounding(NamedTuple):
    """Means and deviations by distance below the largest of a block, in ``1 / BINS`` octave."""

    means: Values
    deviations: Values

    def of(self, size: Values, largest: Values) -> tuple[Values, Values]:
        """Mean and deviation of relative errors of numbers of blocks whose largest is this."""
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = BINS * np.log2(largest / size)
        place = np.clip(np.nan_to_num(distance), 0, len(self.means) - 1).astype(np.intp)
        return self.means[place], self.deviations[place]


@cache
def block_rounding(fmt: Format) -> BlockRounding:
    """Of PAL16 numbers that reblock units make blocks of.

    Of Gaussian blocks, of which one of 16 elements is moved anywhere below the largest, so that
    each distance is tried.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BLOCKS, BLOCK)) * np.exp2(rng.uniform(0, 1, (BLOCKS, 1)))
    largest = np.abs(x).max(axis=1, keepdims=True)
    moved = rng.random(x.shape) < 1 / 16
    moved &= np.abs(x) < largest
    x = np.where(moved, np.sign(x) * largest * np.exp2(-rng.uniform(0, DEEPEST, x.shape)), x)
    codes16 = model.encode16(x, OPERANDS)
    x = model.decode16(codes16, OPERANDS)
    codes, beta = reblock(codes16, fmt)
    off = decode_blocks(codes, beta[:, None], OPERANDS, fmt) / x - 1
    distance = BINS * np.log2(np.abs(x).max(axis=1, keepdims=True) / np.abs(x))
    place = np.minimum(distance, BINS * DEEPEST - 1).astype(np.intp)
    found = [_spread(off[place == k]) for k in range(BINS * DEEPEST)]
    return BlockRounding(*(np.array(column) for column in zip(*found, strict=True)))


def _spread(off: Values) -> Rounding:
    return Rounding(float(off.mean()), float(off.std()))
