"""Blocks of codes in any format of an array: profiles T and U under biases, A under bytes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import model
from pal_units.formats import BETA_MIN, BIAS_PER_OCTAVE, PAL16, Format
from pal_units.model import adaptive
from pal_units.model.adaptive import book_fields
from pal_units.model.elementwise import rounded
from spu.arch.errors import UserError

#: Of tensors.
LEAST_BIAS = -1 << 15


def encode_blocks(
    x: ArrayLike, fmt: Format, tensor_bias: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int8], int]:
    """Values (..., K) in blocks along the last axis: codes, biases or bytes, tensor bias.

    Raises ``ValueError`` as ``pal_units.model.encode_blocks``.
    """
    encode = model.encode_blocks if fmt.codebooks is None else adaptive.encode_blocks
    return encode(x, fmt, tensor_bias)


def decode_blocks(
    codes: ArrayLike, biases: ArrayLike, tensor_bias: int, fmt: Format
) -> NDArray[np.float64]:
    """Values of codes (..., K) under biases or bytes (..., K / block)."""
    if fmt.codebooks is not None:
        return adaptive.decode_blocks(codes, biases, tensor_bias, fmt)
    return model.decode_blocks(codes, biases, tensor_bias, fmt)


def reblock(codes16: ArrayLike, fmt: Format) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """PAL16 codes (..., block) as the reblock unit makes blocks of them."""
    return (model.reblock if fmt.codebooks is None else adaptive.reblock)(codes16, fmt)


def unblock(codes: NDArray, biases: NDArray, fmt: Format, raised: int = 0) -> NDArray[np.uint16]:
    """PAL16 codes of codes under the biases or bytes of their blocks (broadcast).

    ``raised``: octaves by which the top of the result lies higher.
    """
    biases = np.asarray(biases, np.int64)
    if fmt.codebooks is not None:
        selector, beta = fmt.codebooks.split(biases)
        lam, negative, zero, nan = book_fields(codes, selector, fmt)
        distance = (
            lam / 2.0**fmt.fraction_bits - (beta - BIAS_PER_OCTAVE * raised) / BIAS_PER_OCTAVE
        )
        code = np.where(zero, 0, rounded(distance, 0, negative, PAL16))
        return model.with_nan(code, nan, PAL16).astype(np.uint16)
    lower = np.maximum(biases - BIAS_PER_OCTAVE * raised, model.ZERO_BLOCK + 1)
    return model.unblock(codes, np.where(biases == model.ZERO_BLOCK, biases, lower), fmt)


def empty_block(fmt: Format) -> int:
    """Bias, or byte, of a block whose codes are all 0."""
    return model.ZERO_BLOCK if fmt.codebooks is None else 0


def lifted(beta: NDArray, bias: int, fmt: Format, lowest: int = LEAST_BIAS) -> tuple[NDArray, int]:
    """Block biases under the least tensor bias that holds them, and that, at least ``lowest``.

    The accumulator's unit lies a fixed number of octaves below the tensors' tops.  In profile A
    ``beta`` are bytes, which do not name all biases: they stay.  Raises ``UserError`` where they
    may not.
    """
    if fmt.codebooks is not None:
        if lowest > bias:
            raise UserError(
                f"the ratio of results to operands needs a tensor bias of {lowest}/8 octave, "
                f"blocks of {fmt.name} stay at {bias}/8"
            )
        return beta, bias
    empty = beta == model.ZERO_BLOCK
    most = max(int(beta[~empty].max(initial=BETA_MIN)), lowest - bias)
    return np.where(empty, beta, np.maximum(beta - most, BETA_MIN)), bias + most
