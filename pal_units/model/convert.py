"""Conversions: PAL16 to and from blocks, float32, bfloat16 and int8 to and from codes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units.formats import FLOAT_MANTISSAS, PAL16, TABLE_FRACTION_BITS, ZERO_BLOCK, Format
from pal_units.model.codec import (
    Codes,
    bias_for,
    is_nan,
    nearest_code,
    scaled,
    value_of,
    value_under,
    with_nan,
)
from pal_units.model.elementwise import fields, rounded
from pal_units.model.log16 import log_of_integer

#: Least normal magnitude of float32 and bfloat16.
LEAST_NORMAL = 2.0**-126


def reblock(codes16: ArrayLike, fmt: Format) -> tuple[Codes, NDArray[np.int8]]:
    """PAL16 codes ``(..., block)`` to one block of ``fmt`` under the same tensor bias.

    The block bias is the least multiple of ``fmt.bias_step`` that does not clip the largest
    element, in 1/8 octave moved by ``fmt.reblock_step`` (at least ``fmt.beta_min``, at most
    0); elements round to nearest.
    NaN elements stay NaN.  A block of zeros gets the zero bias.  Returns codes
    ``(..., block)`` and biases ``(...)``.
    """
    values = value_of(codes16, PAL16)
    nan = np.isnan(values)
    amax = np.where(nan, 0.0, np.abs(values)).max(axis=-1)
    bias = bias_for(np.where(amax == 0, 1.0, amax)) + fmt.reblock_step
    beta = np.clip(-(-bias // fmt.bias_step * fmt.bias_step), fmt.beta_min, 0)
    empty = (amax == 0) & ~nan.any(axis=-1)
    beta = np.where(amax == 0, fmt.beta_min, beta)
    # Below the block's top, with one rounding: ties must not be lost in a product.
    lam, negative, zero, nan = fields(codes16, PAL16)
    code = rounded(lam + 128 * beta[..., None], PAL16.fraction_bits, negative, fmt)
    codes = with_nan(np.where(zero, 0, code), nan, fmt)
    return codes, np.where(empty, ZERO_BLOCK, beta).astype(np.int8)


def unblock(codes: ArrayLike, beta: ArrayLike, fmt: Format) -> NDArray[np.uint16]:
    """Codes under block bias ``beta`` (broadcast) to PAL16 under the same tensor bias.

    Exact for ``F <= 10`` where PAL16 reaches, which is 32 octaves below the tensor's top.
    """
    lam, negative, zero, nan = fields(codes, fmt)
    beta = np.asarray(beta, np.int64)
    distance = lam / 2.0**fmt.fraction_bits - beta / 8
    code = np.where(zero, 0, rounded(distance, 0, negative, PAL16))
    code = with_nan(code, nan, PAL16)
    return np.where(beta == ZERO_BLOCK, 0, code).astype(np.uint16)


def from_float(x: ArrayLike, bias: ArrayLike, fmt: Format) -> Codes:
    """float32 (or bfloat16) values to codes below the top ``2^(bias/8)``.

    Nearest for ``F <= 5``, faithful for PAL16.  Subnormal numbers count as zero,
    infinities saturate, NaN becomes NaN, or zero in a format without.
    """
    with np.errstate(invalid="ignore"):  # signalling NaNs
        x = np.asarray(x, np.float32).astype(np.float64)
    x = np.where(np.abs(x) < LEAST_NORMAL, 0.0, x)
    if fmt.fraction_bits <= TABLE_FRACTION_BITS:
        return nearest_code(scaled(x, -np.asarray(bias, np.int64)), fmt)
    finite = np.isfinite(x) & (x != 0)
    mantissa, exponent = np.frexp(np.where(finite, np.abs(x), 1.0))
    log = log_of_integer(mantissa * 2**24) + 1024 * (exponent.astype(np.int64) - 24)
    code = rounded(128 * np.asarray(bias, np.int64) - log, PAL16.fraction_bits, x < 0, fmt)
    top = fmt.m_max | np.where(x < 0, fmt.sign_bit, 0)
    code = np.where(np.isinf(x), top, np.where(x == 0, 0, code))
    return with_nan(code, np.isnan(x), fmt)


def to_float(
    codes: ArrayLike, bias: ArrayLike, fmt: Format, kind: str = "float32"
) -> NDArray[np.float32]:
    """Codes below the top ``2^(bias/8)`` to the nearest float32 (or bfloat16, as float32).

    Magnitudes below 2^-126 become zero, too large ones infinity.
    """
    mantissa, exponent = np.frexp(value_under(codes, bias, fmt))
    digits = 2.0 ** (FLOAT_MANTISSAS[kind] + 1)
    value = np.ldexp(np.rint(mantissa * digits) / digits, exponent)
    with np.errstate(over="ignore"):
        return np.where(np.abs(value) < LEAST_NORMAL, 0.0, value).astype(np.float32)


def from_int8(x: ArrayLike, bias: ArrayLike, fmt: Format) -> Codes:
    """int8 values to the nearest codes below the top ``2^(bias/8)``."""
    return nearest_code(scaled(np.asarray(x, np.float64), -np.asarray(bias, np.int64)), fmt)


def to_int8(codes: ArrayLike, bias: ArrayLike, fmt: Format) -> NDArray[np.int8]:
    """Codes below the top ``2^(bias/8)`` to the nearest int8, ties to even, saturating.

    NaN becomes 0.
    """
    value = np.where(is_nan(codes, fmt), 0.0, value_under(codes, bias, fmt))
    return np.clip(np.rint(value), -128, 127).astype(np.int8)
