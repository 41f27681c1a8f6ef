"""Table contents that the numpy model and the RTL share: each is computed here, once.

All entries are integers rounded from float64; no entry lies closer than 2^-30 to a
rounding boundary (asserted by the tests), so every machine computes the same bits.
"""

from functools import cache

import numpy as np

from pal_units.formats import BIAS_PER_OCTAVE, PAL16

# Bipartite logarithm (D. Das Sarma, D. W. Matula, "Faithful bipartite ROM reciprocal
# tables", ARITH-12, 1995): 12 mantissa bits in fields of 4, 4, 4 and 3 guard bits keep
# log2(1 + x) within 0.80 unit of 2^-10, truncation of the mantissa included.
LOG_HIGH_BITS, LOG_MIDDLE_BITS, LOG_LOW_BITS = 4, 4, 4
#: Mantissa bits below the leading one that the logarithm looks at.
LOG_MANTISSA_BITS = LOG_HIGH_BITS + LOG_MIDDLE_BITS + LOG_LOW_BITS
#: Guard bits of both logarithm tables below the 2^-10 unit of PAL16.
LOG_GUARD_BITS = 3
#: Fraction bits of the PAL16 adder's antilog table; 22 keep cancellation faithful.
ADD_FRACTION_BITS = 22


def _round(x: np.ndarray) -> np.ndarray:
    return np.floor(x + 0.5).astype(np.int64)


@cache
def antilog(fraction_bits: int, antilog_bits: int) -> np.ndarray:
    """``A[r] = round(2^L * (2^(r / 2^F) - 1))`` for ``r`` in ``0..2^F - 1``; int64."""
    r = np.arange(1 << fraction_bits)
    return _round(2.0**antilog_bits * (np.exp2(r / 2.0**fraction_bits) - 1))


@cache
def block_scale(scale_bits: int) -> np.ndarray:
    """``C[j] = round(2^scale_bits * 2^(j/8))`` for ``j`` in ``0..7``; int64."""
    return _round(2.0**scale_bits * np.exp2(np.arange(BIAS_PER_OCTAVE) / BIAS_PER_OCTAVE))


@cache
def log_base() -> np.ndarray:
    """First bipartite table: 256 entries by the high and middle fields.

    ``log2(1 + x)`` at the middle of the interval, in units of ``2^-(10 + guard)``, with
    half a PAL16 unit added so that dropping the guard bits rounds to nearest.
    """
    fields = LOG_HIGH_BITS + LOG_MIDDLE_BITS
    x = (np.arange(1 << fields) + 0.5) / 2.0**fields
    unit = 2.0 ** (PAL16.fraction_bits + LOG_GUARD_BITS)
    return _round(unit * np.log2(1 + x) + 2.0 ** (LOG_GUARD_BITS - 1))


@cache
def log_offset() -> np.ndarray:
    """Second bipartite table, shape (16, 16) by high and low field: slope times offset.

    The offset is taken from the middle of the interval to the middle of what the
    truncated mantissa bits can stand for, which halves the truncation error.
    """
    high = (np.arange(1 << LOG_HIGH_BITS) + 0.5) / 2.0**LOG_HIGH_BITS
    slope = 2.0 ** (PAL16.fraction_bits + LOG_GUARD_BITS) / (np.log(2) * (1 + high))
    interval = 2.0 ** -(LOG_HIGH_BITS + LOG_MIDDLE_BITS)
    low = (np.arange(1 << LOG_LOW_BITS) + 0.5) / 2.0**LOG_MANTISSA_BITS - interval / 2
    return _round(slope[:, None] * low[None, :])


@cache
def add_antilog() -> np.ndarray:
    """``round(2^22 * 2^(-r/1024))`` for ``r`` in ``0..1023``: the PAL16 adder's antilog."""
    r = np.arange(1 << PAL16.fraction_bits)
    return _round(2.0**ADD_FRACTION_BITS * np.exp2(-r / 2.0**PAL16.fraction_bits))


@cache
def round_up_from(step: int, per_octave: int) -> int:
    """Least distance, in units of ``1/per_octave`` octave, that rounds to the lower level.

    Between a level and the next one ``step`` units below it the threshold is the
    arithmetic midpoint of the two values; distances below the result round up.
    """
    midpoint = -per_octave * np.log2((1 + 2.0 ** (-step / per_octave)) / 2)
    return int(np.ceil(midpoint))
