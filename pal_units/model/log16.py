"""PAL16: logarithm of integers, addition through the linear domain, accumulator results."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import tables
from pal_units.dot_params import DotParams
from pal_units.formats import PAL16
from pal_units.model.codec import is_nan, nearest_code, scaled, value_under, with_nan


@cache
def log_table() -> NDArray[np.int64]:
    """``log2(1 + x)`` in 1/1024 for each of the 4096 mantissas ``x``, by the bipartite rule."""
    x = np.arange(1 << tables.LOG_MANTISSA_BITS)
    low = 1 << tables.LOG_LOW_BITS
    high = x >> (tables.LOG_MIDDLE_BITS + tables.LOG_LOW_BITS)
    return (
        tables.log_base()[x // low] + tables.log_offset()[high, x % low]
    ) // 2**tables.LOG_GUARD_BITS


def log_of_integer(x: ArrayLike) -> NDArray[np.int64]:
    """``1024 * log2(x)`` of positive integers below 2^52, faithful (error under 0.8 unit)."""
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    index = np.floor((2 * mantissa - 1) * 2**tables.LOG_MANTISSA_BITS).astype(np.int64)
    return (exponent.astype(np.int64) - 1) * 1024 + log_table()[index]


def code16(m: NDArray[np.int64], negative: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """PAL16 code of a magnitude index that may be out of range: saturate, or least, or zero."""
    octave = 1 << PAL16.fraction_bits
    m = np.where(m > PAL16.m_max, PAL16.m_max, np.where(m >= 1, m, np.where(m > 1 - octave, 1, 0)))
    return (m | np.where(negative & (m > 0), PAL16.sign_bit, 0)).astype(np.uint16)


def encode_accumulator(
    acc: ArrayLike, nan: ArrayLike, offset: ArrayLike, params: DotParams
) -> NDArray[np.uint16]:
    """PAL16 codes of accumulators; ``offset = T_result - T_a - T_b`` in 1/8 octave.

    Faithful: under one unit of the log.  Saturates at the top; at most half of the
    least level gives zero.
    """
    acc, offset = np.asarray(acc, np.int64), np.asarray(offset, np.int64)
    top = int(1024 * tables.octaves_below(params))
    lam = top + 128 * offset - log_of_integer(np.maximum(np.abs(acc), 1))
    return with_nan(np.where(acc == 0, 0, code16(PAL16.m_max - lam, acc < 0)), nan, PAL16)


def encode16(x: ArrayLike, tensor_bias: int) -> NDArray[np.uint16]:
    """PAL16 codes of values with tensor bias ``T``; nearest, saturating."""
    return nearest_code(scaled(np.asarray(x, np.float64), -tensor_bias), PAL16).astype(np.uint16)


def decode16(codes: ArrayLike, tensor_bias: int) -> NDArray[np.float64]:
    """Values of PAL16 codes with tensor bias ``T``."""
    return value_under(codes, tensor_bias, PAL16)


@cache
def _add_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Change of the larger operand's log for each difference ``d``: same sign, other sign.

    The entry for exact cancellation (``d = 0``, other sign) means nothing.
    """
    d = np.arange(PAL16.m_max)
    small = tables.add_antilog()[d % 1024] // 2 ** (d // 1024)
    one = 1 << tables.ADD_FRACTION_BITS
    grow = log_of_integer(one + small) - 1024 * tables.ADD_FRACTION_BITS
    shrink = log_of_integer(np.maximum(one - small, 1)) - 1024 * tables.ADD_FRACTION_BITS
    return grow, shrink


def add_logs(
    ma: NDArray[np.int64],
    negative_a: NDArray[np.bool_],
    mb: NDArray[np.int64],
    negative_b: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Sum of ``+-2^(ma/1024)`` and ``+-2^(mb/1024)``: its log, sign, and where it is zero.

    Faithful, cancellation included: under one unit of 1/1024 octave.
    """
    grow, shrink = _add_tables()
    d = np.minimum(np.abs(ma - mb), len(grow) - 1)
    opposite = negative_a != negative_b
    total = np.maximum(ma, mb) + np.where(opposite, shrink[d], grow[d])
    return total, np.where(ma >= mb, negative_a, negative_b), opposite & (ma == mb)


def add16(a: ArrayLike, b: ArrayLike) -> NDArray[np.uint16]:
    """PAL16 sum of operands with one tensor bias; faithful, cancellation included.

    NaN if either is NaN; ``x + (-x)`` is zero.
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.int64), np.asarray(b, np.int64))
    ma, mb = a & PAL16.m_max, b & PAL16.m_max
    total, negative, zero = add_logs(ma, a > PAL16.m_max, mb, b > PAL16.m_max)
    code = np.where(zero, 0, code16(total, negative))
    code = np.where(mb == 0, a, np.where(ma == 0, b, code))
    return with_nan(code, is_nan(a, PAL16) | is_nan(b, PAL16), PAL16)


def fma16(a: ArrayLike, b: ArrayLike, c: ArrayLike, offset: ArrayLike = 0) -> NDArray[np.uint16]:
    """PAL16 ``a * b + c`` below the product of the tops of ``a`` and ``b``, rounded once.

    The top of ``c`` lies ``offset`` / 1024 octave below that of the product.  Faithful;
    NaN if any operand is NaN.
    """
    a, b, c = np.broadcast_arrays(*(np.asarray(v, np.int64) for v in (a, b, c)))
    ma, mb, mc = (v & PAL16.m_max for v in (a, b, c))
    product, addend = ma + mb - PAL16.m_max, mc - np.asarray(offset, np.int64)
    negative, negative_c = (a > PAL16.m_max) != (b > PAL16.m_max), c > PAL16.m_max
    total, sign, zero = add_logs(product, negative, addend, negative_c)
    code = np.where(zero, 0, code16(total, sign))
    code = np.where(mc == 0, code16(product, negative), code)
    no_product = (ma == 0) | (mb == 0)
    code = np.where(no_product, np.where(mc == 0, 0, code16(addend, negative_c)), code)
    return with_nan(code, is_nan(a, PAL16) | is_nan(b, PAL16) | is_nan(c, PAL16), PAL16)


def relu16(a: ArrayLike) -> NDArray[np.uint16]:
    """``max(a, 0)`` of PAL16 codes; NaN stays NaN."""
    a = np.asarray(a)
    return np.where((a & PAL16.sign_bit != 0) & (a != PAL16.sign_bit), 0, a).astype(np.uint16)
