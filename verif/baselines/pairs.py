"""Block scales finer than octaves: what a dot unit does to a slice's sum for a pair of blocks.

A pair of blocks goes ``octaves`` down and is multiplied by a small unsigned significand.

* 1/8 octave, PAL's: two biases add up to octaves and a fraction, for which a table has eight
  significands of ``2^(g / 8)``, ``g`` from 0 to 7: octaves are rounded away from the top.
* E4M3, NVFP4's: the significands of both scales, subnormal ones and 0 included, have four
  bits, their product eight, which is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import BIAS_PER_OCTAVE
from verif.baselines.booth import booth_product
from verif.baselines.elements import FP8_E4M3

Integers = NDArray[np.int64]
#: Bits of a significand.  Fewer than 3 cannot hold 2^(7/8); more than 10 are no small ones.
SIGNIFICAND_BITS = range(3, 11)


@dataclass(frozen=True, eq=False)
class PairScale:
    """Scale of pairs of blocks.

    Parameters
    ----------
    split: of block scales as they are stored the octaves down, and indices from 0.
    octaves, significands: of pairs of indices ``(n, n)``: further octaves down, and what the sum
        is multiplied by; significand_bits: bits of the latter.
    unit: value of a product with a significand of 1, before octaves.
    dropped, compensation: columns that the multiplier leaves out, and what a product gets for
        them, in units of ``2^dropped``.
    """

    split: Callable[[Integers], tuple[Integers, Integers]]
    octaves: Integers
    significands: Integers
    significand_bits: int
    unit: float
    dropped: int = 0
    compensation: int = 0

    @property
    def digits(self) -> int:
        """Booth digits of a significand."""
        return self.significand_bits // 2 + 1

    @cached_property
    def lacking(self) -> float:
        """What a product lacks in the mean over all sums and pairs, in units of ``2^dropped``."""
        sums = np.arange(1 << self.dropped)[:, None]
        significands = self.significands.reshape(1, -1)
        kept = booth_product(sums, significands, self.digits, self.dropped)
        return float((sums * significands / 2.0**self.dropped - kept - self.compensation).mean())


def check_scale(significand_bits: int, dropped: int, compensation: int) -> None:
    """``ValueError`` for bits, columns or a constant that a multiplier cannot have."""
    if significand_bits not in SIGNIFICAND_BITS:
        raise ValueError(
            f"significand_bits must be {SIGNIFICAND_BITS[0]} to {SIGNIFICAND_BITS[-1]}, "
            f"not {significand_bits}"
        )
    if not 0 <= dropped <= significand_bits:
        raise ValueError(f"dropped must be 0 to {significand_bits}, not {dropped}")
    rows = significand_bits // 2 + 1
    if not 0 <= compensation <= rows:
        raise ValueError(f"compensation must be 0 to {rows}, not {compensation}")


def eighth_significands(significand_bits: int) -> tuple[int, ...]:
    """Nearest integers to ``2^(g / 8) * 2^(significand_bits - 1)``, ``g`` from 0 to 7."""
    check_scale(significand_bits, 0, 0)
    return tuple(
        round(2 ** (g / BIAS_PER_OCTAVE + significand_bits - 1)) for g in range(BIAS_PER_OCTAVE)
    )


def eighths(significand_bits: int, dropped: int = 0, compensation: int = 0) -> PairScale:
    """Biases in 1/8 octave, at most 0."""
    check_scale(significand_bits, dropped, compensation)
    fraction = np.add.outer(*2 * [np.arange(BIAS_PER_OCTAVE)])
    return PairScale(
        lambda biases: (-biases // BIAS_PER_OCTAVE, -biases % BIAS_PER_OCTAVE),
        -(-fraction // BIAS_PER_OCTAVE),
        np.array(eighth_significands(significand_bits))[-fraction % BIAS_PER_OCTAVE],
        significand_bits,
        2.0 ** (1 - significand_bits),
        dropped,
        compensation,
    )


def e4m3(dropped: int = 0, compensation: int = 0) -> PairScale:
    """Codes of E4M3, no sign, no NaN; octaves count from the largest exponent, 2^8."""
    fmt = FP8_E4M3
    one = 1 << fmt.mantissa_bits
    bits = 2 * (fmt.mantissa_bits + 1)
    check_scale(bits, dropped, compensation)

    def split(codes: Integers) -> tuple[Integers, Integers]:
        if codes.size and not 0 <= codes.min() <= codes.max() < fmt.codes:
            raise ValueError(f"E4M3 scales must be codes from 0 to {fmt.codes - 1}")
        exponent, mantissa = codes >> fmt.mantissa_bits, codes % one
        normal = exponent > 0
        return fmt.exponent_span + 1 - np.where(normal, exponent, 1), mantissa + one * normal

    significands = np.arange(2 * one)
    top = fmt.exponent_span + 1 - fmt.bias - fmt.mantissa_bits
    return PairScale(
        split,
        np.zeros((2 * one, 2 * one), np.int64),
        np.outer(significands, significands),
        bits,
        2.0 ** (2 * top),
        dropped,
        compensation,
    )
