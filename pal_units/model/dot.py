"""Block dot product: product tables, exact integer block sums, scaled accumulation."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import tables
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK, DotParams, Format
from pal_units.model.codec import is_nan


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
    return total, np.any(is_nan(a, fmt) | is_nan(b, fmt), axis=-1)


def scale_block(total: ArrayLike, beta_a: ArrayLike, beta_b: ArrayLike, params: DotParams
                ) -> NDArray[np.int64]:
    """Block sum times ``2^((beta_a + beta_b)/8)``, in accumulator units, rounded down.

    A zero block gives 0; a bias sum above 0 counts as 0.
    """
    beta_a, beta_b = np.asarray(beta_a, np.int64), np.asarray(beta_b, np.int64)
    octaves, eighths = np.divmod(np.minimum(beta_a + beta_b, 0), BIAS_PER_OCTAVE)
    scale = tables.block_scale(params.scale_bits, params.gain)[eighths]
    term = np.asarray(total) * scale // 2 ** -octaves
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
