"""Numpy model of PAL encoding, decoding and arithmetic.

Codes are unsigned integer arrays, block biases int8, all shapes broadcast as in numpy.
The model works on values, levels and flat tables; the RTL works on bit fields.  They
share ``formats`` and ``tables`` and must agree bit for bit.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import tables
from pal_units.formats import (
    BETA_MIN,
    BIAS_PER_OCTAVE,
    PAL16,
    ZERO_BLOCK,
    DotParams,
    Format,
)

Codes = NDArray[np.unsignedinteger[Any]]


def _code_dtype(fmt: Format) -> type:
    return np.uint8 if fmt.n <= 8 else np.uint16


def nearest_code(x: ArrayLike, fmt: Format) -> Codes:
    """Codes of values relative to a block top of 1.0: linear nearest, ties to the even code.

    Magnitudes above 1 saturate, those of at most half the least level become zero, NaN
    becomes NaN.  Shape as ``x``; uint8 for ``n <= 8``, else uint16.
    """
    x = np.asarray(x, dtype=np.float64)
    levels = fmt.levels
    a = np.where(np.isnan(x), 0.0, np.abs(x))
    above = np.clip(np.searchsorted(levels, a), 1, fmt.m_max)
    up = levels[above] - a
    down = a - levels[above - 1]
    m = np.where((up < down) | ((up == down) & (above % 2 == 0)), above, above - 1)
    code = np.where((x < 0) & (m > 0), fmt.sign_bit, 0) | m
    return np.where(np.isnan(x), fmt.sign_bit, code).astype(_code_dtype(fmt))


def value_of(codes: ArrayLike, fmt: Format) -> NDArray[np.float64]:
    """Values of codes relative to a block top of 1.0; NaN for the NaN code."""
    codes = np.asarray(codes)
    magnitude = fmt.levels[codes & fmt.m_max]
    value = np.where(codes & fmt.sign_bit, -magnitude, magnitude)
    return np.where(codes == fmt.sign_bit, np.nan, value)


def bias_for(amax: ArrayLike) -> NDArray[np.int64]:
    """Least bias ``b`` with ``2^(b/8) >= amax``: ``ceil(8 log2 amax)``, exact at the edges.

    ``amax`` must be positive and finite.
    """
    amax = np.asarray(amax, dtype=np.float64)
    b = np.ceil(BIAS_PER_OCTAVE * np.log2(amax)).astype(np.int64)
    b = np.where(np.exp2((b - 1) / BIAS_PER_OCTAVE) >= amax, b - 1, b)
    return np.where(np.exp2(b / BIAS_PER_OCTAVE) < amax, b + 1, b)


def encode_blocks(x: ArrayLike, fmt: Format, tensor_bias: int | None = None
                  ) -> tuple[Codes, NDArray[np.int8], int]:
    """Encode ``x`` of shape ``(..., K)``, ``K`` a multiple of ``fmt.block``.

    Returns codes ``(..., K)``, block biases ``(..., K/block)`` and the tensor bias ``T``.
    Without ``tensor_bias`` the largest block is put at bias 0.  With it, values above
    ``2^(T/8)`` saturate.

    Raises ``ValueError`` for a last axis that blocks do not divide, for infinities, and
    for a ``T`` that int16 cannot hold.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim == 0 or x.shape[-1] % fmt.block:
        raise ValueError(f"last axis must be a multiple of the block of {fmt.block}, "
                         f"shape is {x.shape}")
    if np.isinf(x).any():
        raise ValueError(f"{fmt.name} has no infinities; x holds {int(np.isinf(x).sum())}")
    blocks = x.reshape(*x.shape[:-1], -1, fmt.block)
    nan = np.isnan(blocks)
    amax = np.abs(np.where(nan, 0.0, blocks)).max(axis=-1)
    empty = (amax == 0) & ~nan.any(axis=-1)
    bias = bias_for(np.where(amax == 0, 1.0, amax))
    if tensor_bias is None:
        tensor_bias = int(bias[~empty].max()) if (~empty).any() else 0
    if not -(1 << 15) <= tensor_bias < 1 << 15:
        raise ValueError(f"tensor bias must fit int16, not {tensor_bias}")
    below_top = np.clip(bias - tensor_bias, BETA_MIN, 0)
    scale = np.exp2(-(tensor_bias + below_top) / BIAS_PER_OCTAVE)
    codes = nearest_code(blocks * scale[..., None], fmt)
    beta = np.where(empty, ZERO_BLOCK, below_top).astype(np.int8)
    return codes.reshape(x.shape), beta, int(tensor_bias)


def decode_blocks(codes: ArrayLike, beta: ArrayLike, tensor_bias: int, fmt: Format
                  ) -> NDArray[np.float64]:
    """Values of codes ``(..., K)`` with block biases ``(..., K/block)``."""
    codes, beta = np.asarray(codes), np.asarray(beta, dtype=np.int64)
    blocks = value_of(codes, fmt).reshape(*codes.shape[:-1], -1, fmt.block)
    scale = np.where(beta == ZERO_BLOCK, 0.0, np.exp2((tensor_bias + beta) / BIAS_PER_OCTAVE))
    return np.where(scale[..., None] == 0, 0.0, blocks * scale[..., None]).reshape(codes.shape)


def mul(a: ArrayLike, b: ArrayLike, fmt: Format) -> Codes:
    """Codes of products below a block top that is the product of the operands' tops.

    Exact in the logarithm, then nearest; NaN if either operand is NaN.
    """
    a, b = np.asarray(a), np.asarray(b)
    distance = fmt.lambdas[a & fmt.m_max] + fmt.lambdas[b & fmt.m_max]
    signs = np.sign(value_of(a, fmt)) * np.sign(value_of(b, fmt))
    return nearest_code(signs * np.exp2(-distance / 2.0**fmt.fraction_bits), fmt)


@cache
def product_table(fmt_a: Format, fmt_b: Format, params: DotParams) -> NDArray[np.int32]:
    """Integer product of every code pair, shape ``(2^n, 2^n)``; NaN and zero give 0.

    The largest product is ``2^(k-1)``; the antilog is a table of ``L`` bits and the
    result is truncated toward zero.
    """
    for fmt in (fmt_a, fmt_b):
        if fmt.fraction_bits > params.fraction_bits:
            raise ValueError(f"{fmt.name} needs fraction_bits >= {fmt.fraction_bits}, "
                             f"not {params.fraction_bits}")
    lam_a, lam_b = (f.lambdas * 2 ** (params.fraction_bits - f.fraction_bits)
                    for f in (fmt_a, fmt_b))
    total = lam_a[:, None] + lam_b[None, :]
    per_octave = 1 << params.fraction_bits
    significand = (1 << params.antilog_bits) + tables.antilog(
        params.fraction_bits, params.antilog_bits)[-total % per_octave]
    scaled = significand * 2 ** (params.product_bits - 1 - params.antilog_bits)
    magnitude = scaled // 2 ** np.minimum(-(-total // per_octave), 62)
    magnitude[0, :] = magnitude[:, 0] = 0
    positive = np.concatenate([magnitude, -magnitude])
    return np.concatenate([positive, -positive], axis=1).astype(np.int32)


def block_sum(a: ArrayLike, b: ArrayLike, fmt: Format, params: DotParams
              ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Exact integer sum of products over the last axis, and whether a NaN took part."""
    a, b = np.asarray(a), np.asarray(b)
    total = product_table(fmt, fmt, params)[a, b].sum(axis=-1, dtype=np.int64)
    nan = ((a == fmt.sign_bit) | (b == fmt.sign_bit)).any(axis=-1)
    return total, nan


def scale_block(total: ArrayLike, beta_a: ArrayLike, beta_b: ArrayLike, params: DotParams
                ) -> NDArray[np.int64]:
    """Block sum times ``2^((beta_a + beta_b)/8)``, in accumulator units, rounded down.

    A zero block gives 0; a bias sum above 0 counts as 0.
    """
    beta_a, beta_b = np.asarray(beta_a, np.int64), np.asarray(beta_b, np.int64)
    octaves, eighths = np.divmod(np.minimum(beta_a + beta_b, 0), BIAS_PER_OCTAVE)
    term = np.asarray(total) * tables.block_scale(params.scale_bits)[eighths] // 2 ** -octaves
    return np.where((beta_a == ZERO_BLOCK) | (beta_b == ZERO_BLOCK), 0, term)


def dot(a: ArrayLike, beta_a: ArrayLike, b: ArrayLike, beta_b: ArrayLike, fmt: Format,
        params: DotParams) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Accumulators of dot products over the last axis, and their NaN flags.

    Codes have shape ``(..., K)``, biases ``(..., K/block)``.  The accumulator wraps at
    ``params.accumulator_bits``; up to ``params.max_blocks`` blocks it cannot.
    """
    a, b = np.broadcast_arrays(np.asarray(a), np.asarray(b))
    shape = (*a.shape[:-1], -1, fmt.block)
    total, nan = block_sum(a.reshape(shape), b.reshape(shape), fmt, params)
    beta_a, beta_b = np.broadcast_arrays(np.asarray(beta_a), np.asarray(beta_b))
    zero = (beta_a == ZERO_BLOCK) | (beta_b == ZERO_BLOCK)
    acc = scale_block(total, beta_a, beta_b, params).sum(axis=-1)
    half = 1 << (params.accumulator_bits - 1)
    return (acc + half) % (2 * half) - half, (nan & ~zero).any(axis=-1)


@cache
def log_table() -> NDArray[np.int64]:
    """``log2(1 + x)`` in 1/1024 for each of the 4096 mantissas ``x``, by the bipartite rule."""
    x = np.arange(1 << tables.LOG_MANTISSA_BITS)
    low = 1 << tables.LOG_LOW_BITS
    high = x >> (tables.LOG_MIDDLE_BITS + tables.LOG_LOW_BITS)
    return (tables.log_base()[x // low] + tables.log_offset()[high, x % low]) \
        // 2**tables.LOG_GUARD_BITS


def log_of_integer(x: ArrayLike) -> NDArray[np.int64]:
    """``1024 * log2(x)`` of positive integers below 2^52, faithful (error under 0.8 unit)."""
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    index = np.floor((2 * mantissa - 1) * 2**tables.LOG_MANTISSA_BITS).astype(np.int64)
    return (exponent.astype(np.int64) - 1) * 1024 + log_table()[index]


def _code16(m: NDArray[np.int64], negative: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """PAL16 code of a magnitude index that may be out of range: saturate, or least, or zero."""
    octave = 1 << PAL16.fraction_bits
    m = np.where(m > PAL16.m_max, PAL16.m_max,
                 np.where(m >= 1, m, np.where(m > 1 - octave, 1, 0)))
    return (m | np.where(negative & (m > 0), PAL16.sign_bit, 0)).astype(np.uint16)


def encode_accumulator(acc: ArrayLike, nan: ArrayLike, offset: ArrayLike, params: DotParams
                       ) -> NDArray[np.uint16]:
    """PAL16 codes of accumulators; ``offset = T_result - T_a - T_b`` in 1/8 octave.

    Faithful: under one unit of the log.  Saturates at the top; at most half of the
    least level gives zero.
    """
    acc, offset = np.asarray(acc, np.int64), np.asarray(offset, np.int64)
    lam = 1024 * params.octaves_below + 128 * offset - log_of_integer(np.maximum(np.abs(acc), 1))
    code = np.where(acc == 0, 0, _code16(PAL16.m_max - lam, acc < 0))
    return np.where(nan, PAL16.sign_bit, code).astype(np.uint16)


def encode16(x: ArrayLike, tensor_bias: int) -> NDArray[np.uint16]:
    """PAL16 codes of values with tensor bias ``T``; nearest, saturating."""
    return nearest_code(np.asarray(x, np.float64) * 2.0 ** (-tensor_bias / BIAS_PER_OCTAVE),
                        PAL16).astype(np.uint16)


def decode16(codes: ArrayLike, tensor_bias: int) -> NDArray[np.float64]:
    """Values of PAL16 codes with tensor bias ``T``."""
    return value_of(codes, PAL16) * 2.0 ** (tensor_bias / BIAS_PER_OCTAVE)


@cache
def _add_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Change of the larger operand's log for each difference ``d``: same sign, other sign.

    Exact cancellation (``d = 0``, other sign) is marked by ``-2^20``.
    """
    d = np.arange(PAL16.m_max)
    small = tables.add_antilog()[d % 1024] // 2 ** (d // 1024)
    one = 1 << tables.ADD_FRACTION_BITS
    grow = log_of_integer(one + small) - 1024 * tables.ADD_FRACTION_BITS
    shrink = log_of_integer(np.maximum(one - small, 1)) - 1024 * tables.ADD_FRACTION_BITS
    shrink[0] = -(1 << 20)
    return grow, shrink


def add16(a: ArrayLike, b: ArrayLike) -> NDArray[np.uint16]:
    """PAL16 sum of operands with one tensor bias; faithful, cancellation included.

    NaN if either is NaN; ``x + (-x)`` is zero.
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.int64), np.asarray(b, np.int64))
    ma, mb = a & PAL16.m_max, b & PAL16.m_max
    grow, shrink = _add_tables()
    larger = np.where(ma >= mb, a, b)
    d = np.minimum(np.abs(ma - mb), PAL16.m_max - 1)
    change = np.where((a ^ b) & PAL16.sign_bit, shrink[d], grow[d])
    total = _code16((larger & PAL16.m_max) + change, (larger & PAL16.sign_bit) != 0)
    total = np.where(mb == 0, a, np.where(ma == 0, b, total))
    nan = (a == PAL16.sign_bit) | (b == PAL16.sign_bit)
    return np.where(nan, PAL16.sign_bit, total).astype(np.uint16)


def relu16(a: ArrayLike) -> NDArray[np.uint16]:
    """``max(a, 0)`` of PAL16 codes; NaN stays NaN."""
    a = np.asarray(a)
    return np.where((a & PAL16.sign_bit != 0) & (a != PAL16.sign_bit), 0, a).astype(np.uint16)


def reblock(codes16: ArrayLike, fmt: Format) -> tuple[Codes, NDArray[np.int8]]:
    """PAL16 codes ``(..., block)`` to one block of ``fmt`` under the same tensor bias.

    The block bias is the least, in 1/8 octave, that does not clip the largest element
    (at least -127); elements round to nearest.  NaN elements stay NaN.  A block of zeros
    gets the zero bias.  Returns codes ``(..., block)`` and biases ``(...)``.
    """
    values = value_of(codes16, PAL16)
    nan = np.isnan(values)
    amax = np.where(nan, 0.0, np.abs(values)).max(axis=-1)
    beta = np.clip(bias_for(np.where(amax == 0, 1.0, amax)), BETA_MIN, 0)
    empty = (amax == 0) & ~nan.any(axis=-1)
    beta = np.where(amax == 0, BETA_MIN, beta)
    # Below the block's top, with one rounding: ties must not be lost in a product.
    distance = PAL16.lambdas[np.asarray(codes16) & PAL16.m_max] / 1024 \
        + beta[..., None] / BIAS_PER_OCTAVE
    codes = nearest_code(np.sign(values) * np.exp2(-distance), fmt)
    return codes, np.where(empty, ZERO_BLOCK, beta).astype(np.int8)
