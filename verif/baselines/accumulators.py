"""What the accumulators of fixed-point dot units hold, as integers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled, in_pieces
from pal_units.formats import BIAS_PER_OCTAVE
from pal_units.rtl.block_accumulator import OCTAVE_BITS
from verif.baselines import booth
from verif.baselines.products import dropped_products, integer_products
from verif.baselines.scales import PairScale

Integers = NDArray[np.int64]
#: A pair of blocks goes no farther down: what ``BlockAccumulator`` takes.
OCTAVES_MOST = (1 << OCTAVE_BITS) - 1
_product = compiled(booth.booth_product)


@dataclass(frozen=True)
class Winograd:
    """Slices by Winograd's inner product.

    Parameters
    ----------
    bits: of an operand, two's complement; lanes, dropped, fraction: as of ``WinogradSlice``.
    """

    bits: int
    lanes: int
    dropped: int = 0
    fraction: int = 0

    def products(self) -> Integers:
        """Products of sums of two operands, by the sums' codes of ``bits + 1`` bits."""
        return dropped_products(self.bits + 1, self.dropped) << self.fraction

    def values(self, codes: Integers) -> Integers:
        """Operands as numbers."""
        return codes - ((codes >> (self.bits - 1)) << self.bits)

    def corrections(self, codes: Integers) -> Integers:
        """What the edge computes for each slice of rows of codes, in units of the products."""
        values = self.values(codes).reshape(*codes.shape[:-1], -1, self.lanes // 2, 2)
        return (-values.prod(axis=-1).sum(axis=-1) >> self.dropped) << self.fraction

    def lacking(self) -> float:
        """What a slice lacks in the mean over all codes, in units of ``2^dropped``.

        That of its products, and of what its two corrections have below the unit.
        """
        each = np.ones(1 << self.bits)
        sums = np.convolve(each, each)
        values = np.arange(len(sums)) - (1 << self.bits)
        weights = np.zeros(2 << self.bits)
        weights[values] = sums / sums.sum()
        exact = integer_products(self.bits + 1) / 2.0**self.dropped
        product = weights @ (exact - dropped_products(self.bits + 1, self.dropped)) @ weights
        units = 1 << self.dropped
        rests = np.bincount(-integer_products(self.bits).ravel() % units, minlength=units)
        one = np.fft.fft(rests / rests.sum())
        rest = np.fft.ifft(one ** (self.lanes // 2)).real @ np.arange(units) / units
        return float(self.lanes // 2 * product + 2 * rest)


def dot_accumulators(
    a: Integers,
    beta_a: Integers,
    b: Integers,
    beta_b: Integers,
    tables: Integers,
    block: int,
    lanes: int,
    guard_bits: int,
    offset: int = 0,
    *,
    scale: PairScale | None = None,
    by_block: bool = False,
    winograd: Winograd | None = None,
) -> Integers:
    """Accumulators (M, N) of a fixed-point dot unit with a block scale.

    ``a`` (M, K) and ``b`` (N, K) are codes.  ``beta_a`` (M, K / block) and ``beta_b`` are block
    scales: biases in 1/8 octave, at most 0, or what ``scale`` splits.  ``tables[eighths, a, b]``
    are products, one table if eighths do not matter to them.  Sums of ``lanes`` products, each
    with ``offset``, are multiplied by the significand of ``scale`` if there is one and shift
    down by the octaves, keeping ``guard_bits``, rounded down: each by itself (``DotCore``),
    or their sum over a block (``by_block``, ``BlockAccumulator``).  With ``winograd`` the tables
    are of its sums' codes, and its corrections belong to the sums.

    Raises ``ValueError`` for rows that blocks, or blocks that lanes, do not divide, block scales
    of another shape, or a number of tables that does not fit.
    """
    rows = a.shape[1]
    if rows % block or block % lanes:
        raise ValueError(
            f"lanes of {lanes} must divide blocks of {block}, and those rows of {rows}"
        )
    for codes, biases in ((a, beta_a), (b, beta_b)):
        if biases.shape != (len(codes), rows // block) or codes.shape[1] != rows:
            raise ValueError(
                f"codes {codes.shape} must have {rows} columns and block scales "
                f"{(len(codes), rows // block)}, not {biases.shape}"
            )
    if len(tables) not in (1, BIAS_PER_OCTAVE):
        raise ValueError(f"there must be 1 or {BIAS_PER_OCTAVE} tables, not {len(tables)}")
    if winograd and winograd.lanes != lanes:
        raise ValueError(f"lanes of Winograd's slices must be {lanes}, not {winograd.lanes}")
    split = scale.split if scale else _split
    octaves_a, index_a = split(np.asarray(beta_a, np.int64))
    octaves_b, index_b = split(np.asarray(beta_b, np.int64))
    fractions = np.add.outer(*2 * [np.arange(BIAS_PER_OCTAVE)])
    if scale:
        further, significands = scale.octaves, scale.significands
        which = np.zeros_like(further)
    else:
        further, significands = fractions // BIAS_PER_OCTAVE, np.ones_like(fractions)
        which = fractions % BIAS_PER_OCTAVE % len(tables)
    pairs = np.stack([further, which, significands])
    multiplier = np.array(
        [scale.digits, scale.dropped, scale.compensation] if scale else [0, 0, 0], np.int64
    )
    if winograd:
        corrections = winograd.corrections(a), winograd.corrections(b)
        a, b = winograd.values(a), winograd.values(b)
    else:
        corrections = 2 * (np.zeros((0, 0), np.int64),)
    out = np.zeros((len(a), len(b)), np.int64)
    in_pieces(
        _accumulate,
        len(a),
        a.size * len(b),
        *(a, octaves_a, index_a, corrections[0]),
        *(b, octaves_b, index_b, corrections[1]),
        np.ascontiguousarray(tables),
        pairs,
        multiplier,
        block,
        lanes,
        guard_bits,
        offset,
        by_block,
        out,
    )
    return out


def _split(biases: Integers) -> tuple[Integers, Integers]:
    return -biases // BIAS_PER_OCTAVE, -biases % BIAS_PER_OCTAVE


@compiled(sources=(Path(__file__), Path(booth.__file__)))
def _accumulate(
    start,
    stop,
    a,
    octaves_a,
    index_a,
    correction_a,
    b,
    octaves_b,
    index_b,
    correction_b,
    tables,
    pairs,
    multiplier,
    block,
    lanes,
    guard_bits,
    offset,
    by_block,
    out,
):
    winograd = correction_a.size > 0
    mask = tables.shape[1] - 1
    digits, dropped, compensation = multiplier
    for i in range(start, stop):
        for j in range(len(b)):
            accumulator = 0
            for at in range(octaves_a.shape[1]):
                pair = index_a[i, at], index_b[j, at]
                down = octaves_a[i, at] + octaves_b[j, at] + pairs[0][pair]
                down = min(down, OCTAVES_MOST)
                table = tables[pairs[1][pair]]
                block_sum = 0
                for first in range(at * block, (at + 1) * block, lanes):
                    total = offset
                    if winograd:
                        total += correction_a[i, first // lanes] + correction_b[j, first // lanes]
                        for k in range(first, first + lanes, 2):
                            even, odd = a[i, k] + b[j, k + 1], a[i, k + 1] + b[j, k]
                            total += table[even & mask, odd & mask]
                    else:
                        for k in range(first, first + lanes):
                            total += table[a[i, k], b[j, k]]
                    if digits:
                        total = _product(total, pairs[2][pair], digits, dropped) + compensation
                    if by_block:
                        block_sum += total
                    else:
                        accumulator += (total << guard_bits) >> down
                if by_block:
                    accumulator += (block_sum << guard_bits) >> down
            out[i, j] = accumulator
