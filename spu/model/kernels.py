"""The golden model's inner loop, compiled: a cycle of a matrix unit for a whole batch."""

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled


@compiled
def add_slice(
    table: NDArray[np.int32],
    words: NDArray[np.uint16],
    first: int,
    pitch: int,
    mask: int,
    weights: NDArray[np.uint8],
    beta: NDArray[np.int64],
    nan_codes: tuple[int, int],
    bits: int,
    partial: NDArray[np.int64],
    partial_nan: NDArray[np.bool_],
    all_valid: NDArray[np.bool_],
) -> None:
    """Add the products of a slice to the running sums of a block, which wrap at ``bits`` bits.

    ``table`` (8, 2^n, 2^m) by eighths of an octave and both codes; ``words`` (batch, ...), see
    ``words``, whose codes lie ``pitch`` bits apart under ``mask``, the slice's from number
    ``first``; ``weights`` (columns, lanes) under ``beta`` (columns); ``partial`` and
    ``partial_nan`` (batch, columns), ``all_valid`` (batch).  ``nan_codes`` are those of data and
    weights, or -1.
    """
    half = 1 << (bits - 1)
    columns, lanes = weights.shape
    codes = np.empty(lanes, np.uint16)
    for b in range(words.shape[0]):
        bias = (np.int64(words[b, -2]) ^ 128) - 128
        all_valid[b] &= words[b, -1] != 0
        for lane in range(lanes):
            place = (first + lane) * pitch
            codes[lane] = words[b, place >> 4] >> (place & 15) & mask
        for c in range(columns):
            products = table[max(-(bias + beta[c]), 0) & 7]
            total = partial[b, c]
            nan = partial_nan[b, c]
            for lane in range(lanes):
                x, w = codes[lane], weights[c, lane]
                total += products[x, w]
                nan |= (x == nan_codes[0]) | (w == nan_codes[1])
            partial[b, c] = (total + half) % (2 * half) - half
            partial_nan[b, c] = nan
