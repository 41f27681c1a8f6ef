"""The golden model's inner loop, compiled: a cycle of a matrix unit for a whole batch."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def add_slice(table: NDArray[np.int32], codes: NDArray[np.uint8], bias: NDArray[np.int64],
              weights: NDArray[np.uint8], beta: NDArray[np.int64], nan_codes: tuple[int, int],
              bits: int, partial: NDArray[np.int64], partial_nan: NDArray[np.bool_]) -> None:
    """Add the products of a slice to the running sums of a block, which wrap at ``bits`` bits.

    ``table`` (8, 2^n, 2^m) by eighths of an octave and both codes, ``codes`` (batch, lanes)
    under ``bias`` (batch), ``weights`` (columns, lanes) under ``beta`` (columns), ``partial``
    and ``partial_nan`` (batch, columns).  ``nan_codes`` are those of data and weights, or -1.
    """
    lanes = codes.shape[1]
    half = 1 << (bits - 1)
    for b in range(codes.shape[0]):
        for c in range(weights.shape[0]):
            down = max(-(bias[b] + beta[c]), 0)
            products = table[down & 7]
            total = partial[b, c]
            nan = partial_nan[b, c]
            for lane in range(lanes):
                x, w = codes[b, lane], weights[c, lane]
                total += products[x, w]
                nan |= (x == nan_codes[0]) | (w == nan_codes[1])
            partial[b, c] = (total + half) % (2 * half) - half
            partial_nan[b, c] = nan
