"""The golden model's inner loop, compiled: a cycle of a matrix unit for a whole batch."""

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled


@compiled
def add_slice(
    products: NDArray[np.int64],
    log_x: NDArray[np.int64],
    sign_x: NDArray[np.int64],
    empty_x: NDArray[np.bool_],
    nan_code: int,
    words: NDArray[np.uint16],
    first: int,
    pitch: int,
    mask: int,
    log_w: NDArray[np.int64],
    sign_w: NDArray[np.int64],
    nan_w: NDArray[np.bool_],
    empty_w: NDArray[np.bool_],
    bits: int,
    partial: NDArray[np.int64],
    partial_nan: NDArray[np.bool_],
    all_valid: NDArray[np.bool_],
) -> None:
    """Add the products of a slice to the running sums of a block, which wrap at ``bits`` bits.

    ``products`` by the sum of both logarithms.  Of data ``log_x`` and ``sign_x`` (256, codes) by
    bias and code, ``empty_x`` (256); ``words`` (batch, ...), see ``words``, whose codes lie
    ``pitch`` bits apart under ``mask``, the slice's from number ``first``.  Of weights ``log_w``
    and ``sign_w`` (sets, columns, lanes), ``nan_w`` and ``empty_w`` (sets, columns): a set for
    all of the batch, or one for each.  ``partial`` and ``partial_nan`` (batch, columns),
    ``all_valid`` (batch).  ``nan_code`` is that of data, or -1.
    """
    half = 1 << (bits - 1)
    sets, columns, lanes = log_w.shape
    logs, signs = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
    for b in range(words.shape[0]):
        s = b if sets > 1 else 0
        bias = np.int64(words[b, -2]) & 255
        all_valid[b] &= words[b, -1] != 0
        nan_x = False
        for lane in range(lanes):
            place = (first + lane) * pitch
            code = np.int64(words[b, place >> 4] >> (place & 15) & mask)
            logs[lane], signs[lane] = log_x[bias, code], sign_x[bias, code]
            nan_x |= code == nan_code
        for c in range(columns):
            total = partial[b, c]
            for lane in range(lanes):
                total += signs[lane] * sign_w[s, c, lane] * products[logs[lane] + log_w[s, c, lane]]
            partial[b, c] = (total + half) % (2 * half) - half
            if (nan_x or nan_w[s, c]) and not (empty_x[bias] or empty_w[s, c]):
                partial_nan[b, c] = True
