"""Encoding in profile A: which codebook and bias each block takes, on large arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units import kernels
from pal_units.compiled import in_pieces
from pal_units.formats import BIAS_PER_OCTAVE, Format
from pal_units.model.adaptive import BIAS_WINDOW
from pal_units.model.codec import BIAS_MAX, EIGHTHS, check_tensor_bias, code_dtype

#: Elements that are looked at at a time for the largest of their blocks.
_AT_ONCE = 1 << 20


def peaks(rows: NDArray[np.floating], block: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Largest magnitude of each block of ``rows`` (rows, K), NaN aside, and whether it has NaN.

    Both (rows, K / block).
    """
    count = rows.shape[1] // block
    most = np.zeros((len(rows), count))
    nan = np.zeros(most.shape, bool)
    each = max(1, _AT_ONCE // max(rows.shape[1], 1))
    for start in range(0, len(rows), each):
        part = np.abs(rows[start : start + each]).reshape(-1, count, block)
        absent = np.isnan(part)
        nan[start : start + each] = absent.any(axis=2)
        most[start : start + each] = np.where(absent, 0, part).max(axis=2, initial=0)
    return most, nan


def encode_rows(
    rows: NDArray[np.floating], fmt: Format, tensor_bias: int | None
) -> tuple[NDArray, NDArray[np.int8], int]:
    """Codes (rows, K), bytes (rows, K / block) and tensor bias of ``rows`` (rows, K).

    As ``model.adaptive.encode_blocks``, which the tests compare it with.
    Raises ``ValueError`` for infinities, for NaN in a format without, and for a tensor bias
    that int16 cannot hold.
    """
    books, (levels, order) = fmt.codebooks, fmt.book_levels
    assert books is not None
    most, nan = peaks(rows, fmt.block)
    if np.isinf(most).any():
        raise ValueError(f"{fmt.name} has no infinities; x holds {int(np.isinf(rows).sum())}")
    if nan.any() and not fmt.has_nan:
        raise ValueError(f"{fmt.name} has no NaN (n < 6); x holds {int(np.isnan(rows).sum())}")
    numbers = most > 0
    near = np.floor(BIAS_PER_OCTAVE * np.log2(np.where(numbers, most, 1.0)) + 0.5)
    nearest = near.astype(np.int32)
    low, high = BIAS_WINDOW
    if tensor_bias is None:
        tensor_bias = 0
        if numbers.any():
            # No other block can want a higher bias than one of these.
            largest = numbers & (nearest + high >= nearest[numbers].max() + low)
            some, near = rows.reshape(-1, fmt.block)[largest.ravel()], nearest[largest][:, None]
            top = np.minimum(near + high, BIAS_MAX)
            found = _chosen(some, top, near, fmt, np.arange(high - low + 1))
            tensor_bias = int((top - found[1]).max())
    check_tensor_bias(tensor_bias)
    tensor = np.full(nearest.shape, tensor_bias, np.int32)
    selector, code = _chosen(rows, tensor, nearest, fmt, books.bias_steps)
    selector, code = np.where(numbers, selector, 0), np.where(numbers, code, 0)
    out: NDArray[Any] = np.empty(rows.shape, code_dtype(fmt))
    in_pieces(
        kernels.codes_of_books,
        len(rows),
        rows.size,
        rows,
        (tensor - books.bias_steps[code]).astype(np.int32),
        selector,
        fmt.block,
        levels,
        order,
        EIGHTHS,
        fmt.sign_bit,
        out,
    )
    return out, books.join(selector, code), tensor_bias


def _chosen(
    rows: NDArray, tensor: NDArray, nearest: NDArray, fmt: Format, steps: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Selectors and bias codes of the blocks of ``rows``."""
    levels, _ = fmt.book_levels
    selector, code = np.zeros((2, *nearest.shape), np.int64)
    in_pieces(
        kernels.choose,
        len(rows),
        rows.size * len(levels),
        np.ascontiguousarray(rows),
        tensor.astype(np.int32),
        nearest,
        fmt.block,
        levels,
        steps,
        *BIAS_WINDOW,
        EIGHTHS,
        selector,
        code,
    )
    return selector, code
