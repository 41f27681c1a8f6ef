"""The golden model's inner loop, compiled: products of a matrix unit for a whole batch."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def slice_sums(table: NDArray[np.int32], eighths: NDArray[np.int64], codes: NDArray[np.uint8],
               weights: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sums of products from a table by eighths of an octave and both codes.

    ``table`` (8, 2^n, 2^m), ``eighths`` (batch, columns), ``codes`` (batch, lanes),
    ``weights`` (columns, lanes); returns (batch, columns).
    """
    batch, lane_count = codes.shape
    columns = weights.shape[0]
    out = np.zeros((batch, columns), np.int64)
    for b in range(batch):
        for c in range(columns):
            total = 0
            for lane in range(lane_count):
                total += table[eighths[b, c], codes[b, lane], weights[c, lane]]
            out[b, c] = total
    return out
