"""Table contents that the numpy model and the RTL share: each is computed here, once.

All entries are integers rounded from float64; no entry lies closer than 2^-30 to a
rounding boundary (asserted by the tests), so every machine computes the same bits.
"""

from functools import cache

import numpy as np

from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, PAL16, Format

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


def _antilog(fraction_bits: int, antilog_bits: int, gain: int) -> np.ndarray:
    r = np.arange(1 << fraction_bits)
    octaves = 1 - (r + 1) / 2.0**fraction_bits + gain / 2.0**PAL16.fraction_bits
    return 2.0**antilog_bits * np.exp2(octaves)


@cache
def antilog_gain(fraction_bits: int, antilog_bits: int) -> int:
    """Common factor of the antilog's entries in 1/1024 octave, units of PAL16's log.

    Any would do, since the accumulator's logarithm takes it off again; this one makes the
    entries' rounding errors least, in root mean square.  With ``P = L`` of 2 or 3 the
    entries become consecutive: Mitchell's antilog, which needs no table (J. N. Mitchell,
    "Computer multiplication and division using binary logarithms", IRE Trans. EC-11, 1962).
    """
    step = 1 << (PAL16.fraction_bits - fraction_bits)
    errors = {}
    for gain in range(-step, 2 * step):
        exact = _antilog(fraction_bits, antilog_bits, gain)
        entries = np.floor(exact + 0.5)
        if entries[-1] >= 1 << antilog_bits and entries[0] < 2 << antilog_bits:
            errors[gain] = round(float(np.square(entries / exact - 1).mean()), 12)
    return min(errors, key=lambda gain: errors[gain])


@cache
def antilog(fraction_bits: int, antilog_bits: int) -> np.ndarray:
    """``A[r] = round(2^L * 2^(1 - (r + 1) / 2^P + c))`` for ``r`` in ``0..2^P - 1``; int64.

    Significands of ``2^(-r / 2^P)`` but for a constant factor, so that all of them lie in
    one octave, ``2^L..2^(L+1) - 1``; ``c`` is ``antilog_gain``.
    """
    return _round(_antilog(fraction_bits, antilog_bits, antilog_gain(fraction_bits, antilog_bits)))


def octaves_below(params: DotParams) -> float:
    """Octaves from the product of the tops down to the accumulator's unit, in 1/1024 steps.

    Raises ``TypeError`` for what is no ``DotParams``.
    """
    if not isinstance(params, DotParams):
        raise TypeError(f"params must be DotParams, not {type(params).__name__}")
    units = (
        (params.product_bits + params.guard_bits << PAL16.fraction_bits)
        - (1 << (PAL16.fraction_bits - params.fraction_bits))
        + antilog_gain(params.fraction_bits, params.antilog_bits)
    )
    return units / 2.0**PAL16.fraction_bits


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


#: Fraction bits of the linear values that PAL16 accumulation adds up; 1.0 is the top.
LINEAR_FRACTION_BITS = 30
#: Bipartite antilog of PAL16's 10 fraction bits: fields of 4, 3 and 3, entries of 16 fraction
#: bits and 3 guard bits; within 3.2 units of 2^-16, a relative error below 2^-13.
LINEAR_HIGH_BITS, LINEAR_MIDDLE_BITS, LINEAR_LOW_BITS = 4, 3, 3
LINEAR_ENTRY_BITS, LINEAR_GUARD_BITS = 16, 3


@cache
def linear_base() -> np.ndarray:
    """``2^-x`` at the middle of each of 128 intervals, in units of ``2^-(16 + guard)``.

    Half a unit of the entry is added, so that dropping the guard bits rounds to nearest.
    """
    low = 1 << LINEAR_LOW_BITS
    intervals = np.arange(1 << (LINEAR_HIGH_BITS + LINEAR_MIDDLE_BITS))
    x = (low * intervals + (low - 1) / 2) / 2.0**PAL16.fraction_bits
    unit = 2.0 ** (LINEAR_ENTRY_BITS + LINEAR_GUARD_BITS)
    return _round(unit * np.exp2(-x) + 2.0 ** (LINEAR_GUARD_BITS - 1))


@cache
def linear_offset() -> np.ndarray:
    """What ``linear_base`` lacks, shape (16, 8) by high and low field: slope times offset."""
    low, high = 1 << LINEAR_LOW_BITS, 1 << LINEAR_HIGH_BITS
    middle = (np.arange(high) + 0.5) / high
    unit = 2.0 ** (LINEAR_ENTRY_BITS + LINEAR_GUARD_BITS)
    slope = -np.log(2) * unit * np.exp2(-middle)
    offset = (np.arange(low) - (low - 1) / 2) / 2.0**PAL16.fraction_bits
    return _round(slope[:, None] * offset[None, :])


@cache
def log_add(fraction_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Complete tables of the addition of logarithms ``d`` units of ``2^-F`` octave apart.

    ``grow[d] = round(2^F * log2(1 + 2^(-d/2^F)))`` is what the sum lies above the larger
    operand, ``shrink[d] = round(-2^F * log2(1 - 2^(-d/2^F)))`` what the difference lies
    below it (E. E. Swartzlander, A. G. Alexopoulos, "The sign/logarithm number system",
    IEEE Trans. Computers C-24, 1975).  Both end with their last entry above 0;
    ``shrink[0]``, exact cancellation, is 0 and means nothing.
    """
    unit = 2.0**fraction_bits
    ratio = np.exp2(-np.arange(1, 16 * unit) / unit)
    grow = _round(unit * np.log1p(np.append(1.0, ratio)) / np.log(2))
    shrink = _round(-unit * np.log1p(-ratio) / np.log(2))
    return grow[: np.count_nonzero(grow)], np.append(0, shrink[: np.count_nonzero(shrink)])


#: Fraction bits of a log that holds biases, in 1/8 octave, exactly.
BIAS_FRACTION_BITS = 3


def argument_bits(fmt: Format) -> int:
    """Fraction bits of a log that holds the codes of a format and biases exactly."""
    return max(fmt.fraction_bits, BIAS_FRACTION_BITS)


#: Bits that the exponential keeps below the unit of the result's logarithm.
EXP_GUARD_BITS = 3
#: Integer bits of the exponential's argument: beyond 64 octaves everything saturates.
EXP_INTEGER_BITS = 6


@cache
def exp_antilog(fraction_bits: int, argument_bits: int) -> np.ndarray:
    """``round(2^P * 2^(r/2^argument_bits))``, ``P = F + guard + integer bits - 1``.

    ``argument_bits``: fraction bits of the argument's logarithm.  An argument of 32 to 64
    octaves is the entry itself in units of ``2^-(F + guard)`` octave.
    """
    precision = fraction_bits + EXP_GUARD_BITS + EXP_INTEGER_BITS - 1
    r = np.arange(1 << argument_bits)
    return _round(2.0**precision * np.exp2(r / 2.0**argument_bits))


@cache
def round_up_from(step: int, per_octave: int) -> int:
    """Least distance, in units of ``1/per_octave`` octave, that rounds to the lower level.

    Between a level and the next one ``step`` units below it the threshold is the
    arithmetic midpoint of the two values; distances below the result round up.
    """
    midpoint = -per_octave * np.log2((1 + 2.0 ** (-step / per_octave)) / 2)
    return int(np.ceil(midpoint))


#: Fraction bits of the logarithms that conversions round from.
CONVERT_FRACTION_BITS = 14
#: Mantissa bits of float32, which conversions see.
FLOAT_MANTISSA_BITS = 23
#: Mantissa of 1.5, where spacings of a whole octave tie.
TIE_MANTISSA = 1 << (FLOAT_MANTISSA_BITS - 1)


@cache
def rounding_thresholds(fmt: Format) -> np.ndarray:
    """Mantissas (23 bits, ascending) at which rounding to the nearest code can change.

    Arithmetic midpoints of neighbouring levels, shifted by every eighth of an octave that
    a bias can, modulo octaves.  Entry ``t``: mantissas below ``t`` lie below the midpoint
    or on it.  On it means a tie, which only 1.0 and 1.5 can: 1.5 gets an entry of its own.
    """
    unit = 1 << argument_bits(fmt)
    lambdas = fmt.lambdas[1:] * (unit >> fmt.fraction_bits)
    # Gap of each level to the one below; below the least level there is zero.
    gaps = np.append(1 << 20, lambdas[:-1] - lambdas[1:])
    phases = {
        ((j * unit // BIAS_PER_OCTAVE - lam) % unit, gap)
        for lam, gap in zip(lambdas.tolist(), gaps.tolist(), strict=True)
        for j in range(BIAS_PER_OCTAVE)
    }
    middles = np.array([2 ** (phase / unit) * (1 + 2 ** (-gap / unit)) for phase, gap in phases])
    mantissas = middles / np.exp2(np.floor(np.log2(middles))) - 1
    above = np.floor(mantissas * 2.0**FLOAT_MANTISSA_BITS).astype(np.int64) + 1
    return np.unique(np.append(above, TIE_MANTISSA))


@cache
def rounding_logs(fmt: Format) -> np.ndarray:
    """A logarithm for each interval between the thresholds: any that rounds the same way.

    In units of ``2^-14`` octave, one more entry than ``rounding_thresholds``.
    """
    edges = np.concatenate([[0], rounding_thresholds(fmt), [1 << FLOAT_MANTISSA_BITS]])
    middle = (edges[:-1] + edges[1:] - 1) / 2 / 2.0**FLOAT_MANTISSA_BITS
    logs = _round(2.0**CONVERT_FRACTION_BITS * np.log2(1 + middle))
    # 1.5 goes to the upper of two levels an octave apart: up to the distance that does not.
    octave = 1 << CONVERT_FRACTION_BITS
    tie = np.searchsorted(rounding_thresholds(fmt), TIE_MANTISSA, side="right")
    logs[tie] = octave - (round_up_from(octave, octave) - 1)
    return logs


@cache
def integer_logs(fmt: Format) -> np.ndarray:
    """``rounding_logs`` of the integers 0 (meaningless) to 128, in units of ``2^-14`` octave."""
    x = np.arange(1, 129)
    exponent = np.frexp(x)[1] - 1
    mantissa = ((x << FLOAT_MANTISSA_BITS) >> exponent) - (1 << FLOAT_MANTISSA_BITS)
    rank = np.searchsorted(rounding_thresholds(fmt), mantissa, side="right")
    return np.append(0, (exponent << CONVERT_FRACTION_BITS) + rounding_logs(fmt)[rank])


@cache
def float_mantissas(argument_bits: int, mantissa_bits: int) -> np.ndarray:
    """``round(2^mantissa_bits * (2^(r/2^argument_bits) - 1))``; may reach ``2^mantissa_bits``."""
    r = np.arange(1 << argument_bits)
    return _round(2.0**mantissa_bits * (np.exp2(r / 2.0**argument_bits) - 1))
