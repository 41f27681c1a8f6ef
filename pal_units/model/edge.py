"""Dot products whose operands take their block's bias where they are decoded, at the edge.

An operand is its logarithm below the tensor's octave, bias fraction included, and the octaves
that its block is down.  Lanes add two logarithms; octaves of both operands shift the sum of a
block.  Formats of profile A are decoded by their codebooks, T and U as ever.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import tables
from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK, Format
from pal_units.model.adaptive import book_fields
from pal_units.model.codec import is_nan
from pal_units.model.dot import shift_block, wrap
from pal_units.model.elementwise import fields


class Operand(NamedTuple):
    """A decoded operand.

    Parameters
    ----------
    log: logarithms of elements (..., block) below the block's octave, in ``2^-P`` octave.
    sign: -1, 0 or 1 of the same shape: 0 for zero, NaN, blocks of zeros, and what is
        ``operand_octaves`` below its block's top.
    octaves: what each block (...) is down.
    nan, empty: whether a block holds NaN, and whether it is marked as one of zeros.
    """

    log: NDArray[np.int64]
    sign: NDArray[np.int64]
    octaves: NDArray[np.int64]
    nan: NDArray[np.bool_]
    empty: NDArray[np.bool_]


def magnitudes(total: ArrayLike, params: DotParams) -> NDArray[np.int64]:
    """Integer products of logarithms ``total``, units of ``2^-P`` octave below the tops' product.

    The antilog is a table of ``L`` bits; of the ``k`` bits of a magnitude the least is 1.
    """
    octaves, rest = np.divmod(np.asarray(total, np.int64), 1 << params.fraction_bits)
    significand = tables.antilog(params.fraction_bits, params.antilog_bits)[rest]
    scaled = significand * 2 ** (params.product_bits - 1 - params.antilog_bits)
    return scaled // 2 ** np.minimum(octaves, 62) // 2 * 2 + 1


def operand(codes: ArrayLike, biases: ArrayLike, fmt: Format, params: DotParams) -> Operand:
    """Blocks of codes (..., block) under biases (...): int8, in profile A the blocks' bytes.

    Raises ``ValueError`` for a format of a finer logarithm than ``params``.
    """
    if fmt.fraction_bits > params.fraction_bits:
        raise ValueError(
            f"{fmt.name} needs fraction_bits >= {fmt.fraction_bits}, not {params.fraction_bits}"
        )
    codes, biases = np.asarray(codes), np.asarray(biases)
    if fmt.codebooks is None:
        lam, negative, zero, nan = fields(codes, fmt)
        beta, empty = biases.astype(np.int64), biases == ZERO_BLOCK
    else:
        selector, beta = fmt.codebooks.split(biases)
        lam, negative, zero, nan = book_fields(codes, selector[..., None], fmt)
        empty = np.zeros(beta.shape, bool)
    octaves, eighths = np.divmod(np.where(empty, 0, np.maximum(-beta, 0)), BIAS_PER_OCTAVE)
    lam = lam << params.fraction_bits - fmt.fraction_bits
    far = lam >= (params.operand_octaves or 1 << 16) << params.fraction_bits
    fraction = eighths // params.bias_step * params.bias_step << params.fraction_bits
    log = lam + (fraction // BIAS_PER_OCTAVE)[..., None]
    absent = zero | nan | far | empty[..., None]
    sign = np.where(absent, 0, np.where(negative, -1, 1))
    return Operand(log, sign, octaves, np.asarray(is_nan(codes, fmt).any(axis=-1)), empty)


def dot(
    a: ArrayLike,
    biases_a: ArrayLike,
    b: ArrayLike,
    biases_b: ArrayLike,
    fmt_a: Format,
    fmt_b: Format,
    params: DotParams,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Accumulators of dot products over the last axis, and their NaN flags.

    Codes have shape ``(..., K)``, biases or bytes ``(..., K/block)``.  The accumulator wraps at
    ``params.accumulator_bits``; up to ``params.max_blocks`` blocks it cannot.
    """
    operands = []
    for codes, biases, fmt in ((a, biases_a, fmt_a), (b, biases_b, fmt_b)):
        codes = np.asarray(codes)
        blocks = codes.reshape(*codes.shape[:-1], -1, fmt.block)
        operands.append(operand(blocks, biases, fmt, params))
    x, y = operands
    total = (x.sign * y.sign * magnitudes(x.log + y.log, params)).sum(axis=-1)
    term = shift_block(total, x.octaves + y.octaves, params)
    nan = (x.nan | y.nan) & ~(x.empty | y.empty)
    return wrap(term.sum(axis=-1), params.accumulator_bits), np.asarray(nan.any(axis=-1))
