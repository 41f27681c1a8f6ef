"""Block dot product: product tables, exact integer block sums, shifted accumulation."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import tables
from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK, Format
from pal_units.model.codec import is_nan


@cache
def product_table(
    fmt_a: Format, fmt_b: Format, params: DotParams, eighths: int = 0
) -> NDArray[np.int32]:
    """Integer product of every code pair, shape ``(2^n, 2^n)``; NaN and zero give 0.

    So do operands ``params.operand_octaves`` below the top.
    ``eighths``, 0 to 7, is what the block biases put the products below an octave.  The
    antilog is a table of ``L`` bits; of the ``k`` bits of a magnitude the least is 1
    whatever the bits below (A. W. Burks, H. H. Goldstine, J. von Neumann, "Preliminary
    discussion of the logical design of an electronic computing instrument", 1946, section
    5.12): an error of mean 0, and odd numbers negate without a carry.

    Raises ``ValueError`` for a format with more fraction bits than the products have.
    """
    for fmt in (fmt_a, fmt_b):
        if fmt.fraction_bits > params.fraction_bits:
            raise ValueError(
                f"{fmt.name} needs fraction_bits >= {fmt.fraction_bits}, not {params.fraction_bits}"
            )
    per_octave = 1 << params.fraction_bits
    lam_a, lam_b = (f.lambdas * (per_octave >> f.fraction_bits) for f in (fmt_a, fmt_b))
    bias = eighths // params.bias_step * params.bias_step * per_octave // BIAS_PER_OCTAVE
    octaves, rest = np.divmod(lam_a[:, None] + lam_b[None, :] + bias, per_octave)
    significand = tables.antilog(params.fraction_bits, params.antilog_bits)[rest]
    scaled = significand * 2 ** (params.product_bits - 1 - params.antilog_bits)
    magnitude = scaled // 2 ** np.minimum(octaves, 62) // 2 * 2 + 1
    limit = per_octave * (params.operand_octaves or 1 << 16)
    counts_a, counts_b = ((lam < limit) & (np.arange(len(lam)) > 0) for lam in (lam_a, lam_b))
    magnitude *= counts_a[:, None] & counts_b[None, :]
    positive = np.concatenate([magnitude, -magnitude])
    return np.concatenate([positive, -positive], axis=1).astype(np.int32)


@cache
def product_tables(fmt_a: Format, fmt_b: Format, params: DotParams) -> NDArray[np.int32]:
    """``product_table`` for 0 to 7 eighths, shape ``(8, 2^n, 2^n)``."""
    return np.stack([product_table(fmt_a, fmt_b, params, j) for j in range(BIAS_PER_OCTAVE)])


def split_bias(beta_a: ArrayLike, beta_b: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Octaves and eighths, both from 0, that two block biases put products down.

    A sum of biases above 0 counts as 0.
    """
    down = -(np.asarray(beta_a, np.int64) + np.asarray(beta_b, np.int64))
    return np.divmod(np.maximum(down, 0), BIAS_PER_OCTAVE)


def block_sum(
    a: ArrayLike, b: ArrayLike, fmt: Format, params: DotParams, eighths: ArrayLike = 0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Exact integer sum of products over the last axis, and whether a NaN took part.

    ``eighths`` of each block as from ``split_bias``.
    """
    a, b, eighths = np.asarray(a), np.asarray(b), np.asarray(eighths)[..., None]
    total = product_tables(fmt, fmt, params)[eighths, a, b].sum(axis=-1, dtype=np.int64)
    return total, np.any(is_nan(a, fmt) | is_nan(b, fmt), axis=-1)


def shift_block(total: ArrayLike, octaves: ArrayLike, params: DotParams) -> NDArray[np.int64]:
    """Block sum, shifted down by octaves, in accumulator units: rounded down, modulo ``2^64``.

    Accumulators of up to 64 bits wrap, so that sums of these lose nothing; see ``wrap``.
    """
    up = params.guard_bits - np.asarray(octaves, np.int64)
    return np.asarray(total, np.int64) << np.maximum(up, 0) >> np.maximum(-up, 0)


def wrap(total: ArrayLike, bits: int) -> NDArray[np.int64]:
    """Sums modulo ``2^64`` as a two's complement accumulator of up to 64 bits holds them."""
    return np.asarray(total, np.int64) << (64 - bits) >> (64 - bits)


def scale_block(
    total: ArrayLike, beta_a: ArrayLike, beta_b: ArrayLike, params: DotParams
) -> NDArray[np.int64]:
    """Block sum in accumulator units, see ``shift_block``, by its biases.  A zero block gives 0."""
    term = shift_block(total, split_bias(beta_a, beta_b)[0], params)
    zero = (np.asarray(beta_a) == ZERO_BLOCK) | (np.asarray(beta_b) == ZERO_BLOCK)
    return np.where(zero, 0, term)


def dot(
    a: ArrayLike, beta_a: ArrayLike, b: ArrayLike, beta_b: ArrayLike, fmt: Format, params: DotParams
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Accumulators of dot products over the last axis, and their NaN flags.

    Codes have shape ``(..., K)``, biases ``(..., K/block)``.  The accumulator wraps at
    ``params.accumulator_bits``; up to ``params.max_blocks`` blocks it cannot.
    """
    a, b = np.broadcast_arrays(np.asarray(a), np.asarray(b))
    shape = (*a.shape[:-1], -1, fmt.block)
    beta_a, beta_b = np.broadcast_arrays(np.asarray(beta_a), np.asarray(beta_b))
    total, nan = block_sum(
        a.reshape(shape), b.reshape(shape), fmt, params, split_bias(beta_a, beta_b)[1]
    )
    zero = (beta_a == ZERO_BLOCK) | (beta_b == ZERO_BLOCK)
    acc = scale_block(total, beta_a, beta_b, params).sum(axis=-1)
    return wrap(acc, params.accumulator_bits), (nan & ~zero).any(axis=-1)
