"""Loops over values and levels, compiled where numba is: rounding, and search among biases.

Levels are non-negative and ascending.  *Middles* are where the nearest level changes, in a table
whose length is one less than a power of two: infinities fill it, so that a search has a fixed
number of steps without branches.
"""

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled


def padded_middles(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Middles of levels ``(count,)``, or of each row ``(rows, count)``, filled up."""
    middles = (levels[..., 1:] + levels[..., :-1]) / 2
    count = (1 << middles.shape[-1].bit_length()) - 1
    widths = [(0, 0)] * (levels.ndim - 1) + [(0, count - middles.shape[-1])]
    return np.pad(middles, widths, constant_values=np.inf)


@compiled(forceinline=True)
def place(value, middles):
    """Number of middles below a value."""
    low = 0
    half = (len(middles) + 1) // 2
    while half:
        low += half * (middles[low + half - 1] < value)
        half //= 2
    return low


@compiled
def round_all(start, stop, x, levels, middles, to_zero, negative_largest, out):
    """Nearest values of ``x`` (count,), ties to the even code, saturating; NaN stays.

    Without ``to_zero`` nothing but zero becomes zero.  Negative values end at
    ``-negative_largest``.
    """
    last = len(levels) - 1
    lowest = -(levels[last] + negative_largest) / 2
    for i in range(start, stop):
        value = x[i]
        magnitude = abs(value)
        code = place(magnitude, middles)
        if code & 1 and code < last and middles[code] == magnitude:
            code += 1
        if code == 0 and magnitude > 0 and not to_zero:
            code = 1
        nearest = np.copysign(levels[code], value)
        if value < lowest and negative_largest > levels[last]:
            nearest = -negative_largest
        out[i] = value if np.isnan(value) else nearest


@compiled
def least_biases(start, stop, blocks, scales, biases, levels, middles, out):
    """Of the biases of each block (N, candidates), with their scales, that of least squared error.

    The first of equals.  Which way a tie is rounded makes no difference to that.
    """
    for i in range(start, stop):
        least = np.inf
        for j in range(biases.shape[1]):
            scale = scales[i, j]
            error = 0.0
            for k in range(blocks.shape[1]):
                magnitude = abs(blocks[i, k])
                nearest = levels[place(magnitude / scale, middles)] * scale
                error += (nearest - magnitude) ** 2
                if error >= least:  # it only grows
                    break
            if error < least:
                least = error
                out[i] = biases[i, j]
