"""Encoding in profile A: which codebook and bias each block takes, on large arrays."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units import kernels
from pal_units.codebook import BIAS_WINDOW
from pal_units.compiled import in_pieces
from pal_units.formats import BIAS_PER_OCTAVE, Format
from pal_units.model.codec import BIAS_MAX, EIGHTHS, check_tensor_bias, code_dtype

#: Elements that are looked at at a time for the largest of their blocks.
_AT_ONCE = 1 << 20


@cache
def _cells(fmt: Format) -> tuple[NDArray[np.int16], int]:
    return kernels.book_cells(fmt.book_levels[0])


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
    if tensor_bias is None:
        tensor_bias = _highest_bias(rows, nearest, numbers, fmt) if numbers.any() else 0
    check_tensor_bias(tensor_bias)
    tensor = np.full(nearest.shape, tensor_bias, np.int32)
    cells = _cells(fmt)
    selector, code = chosen(rows, tensor, nearest, fmt.block, levels, cells, books.bias_steps)
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
        *cells,
        order,
        EIGHTHS,
        fmt.sign_bit,
        out,
    )
    return out, books.join(selector, code), tensor_bias


def _highest_bias(
    rows: NDArray, nearest: NDArray[np.int32], numbers: NDArray[np.bool_], fmt: Format
) -> int:
    """The highest bias that a block with ``numbers`` wants.

    From those of the largest magnitudes down, until no other can want a higher one.
    """
    low, high = BIAS_WINDOW
    blocks = rows.reshape(-1, fmt.block)
    most = int(nearest[numbers].max())
    best = most + low
    for near in range(most, best - high, -1):
        if near + high <= best:
            break
        some = blocks[(numbers & (nearest == near)).ravel()]
        at, top = np.full((2, len(some), 1), near, np.int32)
        top[:] = min(near + high, BIAS_MAX)
        steps = np.arange(high - low + 1)
        _, code = chosen(some, top, at, fmt.block, fmt.book_levels[0], _cells(fmt), steps)
        best = max(best, int((top - code).max(initial=best)))
    return best


def chosen(
    rows: NDArray,
    tensor: NDArray[np.int32],
    nearest: NDArray[np.int32],
    block: int,
    levels: NDArray[np.float64],
    cells: tuple[NDArray[np.int16], int],
    steps: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Selectors and bias codes of the blocks of ``rows`` (rows, K), both (rows, K / block).

    ``tensor`` and ``nearest`` are of that shape too; ``levels`` are codebooks' signed levels
    below a top of 1.0, ascending, with their ``kernels.book_cells``; ``steps`` what bias codes
    put a block below ``tensor``.
    """
    selector, code = np.zeros((2, *nearest.shape), np.int64)
    in_pieces(
        kernels.choose,
        len(rows),
        rows.size * len(levels),
        np.ascontiguousarray(rows),
        tensor,
        nearest,
        block,
        levels,
        *cells,
        steps,
        *BIAS_WINDOW,
        EIGHTHS,
        selector,
        code,
    )
    return selector, code
