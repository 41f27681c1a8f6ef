"""Facts of a format, in the manner of ``numpy.finfo``."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import Format, format_of


@dataclass(frozen=True)
class FormatInfo:
    """Facts of a format; magnitudes are relative to the block top.

    Parameters
    ----------
    format: its name.
    bits: bits of an element code.
    bits_per_element: the same with the share of the 8-bit block bias, which PAL16 has not.
    levels: magnitudes, zero not counted; in profile A the positive ones of a codebook.
    largest, smallest: greatest and least magnitude.
    range_octaves: octaves from one to the other.
    max_relative_error: largest ``|rounded - x| / |x|`` for ``x`` between them.
    mean_square_error_db: noise of values uniform in the log in the top octave, in dB below
        the signal; in profile A of the codebook that has the least.

    ``largest``, ``smallest`` and ``max_relative_error`` of profile A are of all codebooks.
    """

    format: str
    bits: int
    bits_per_element: float
    levels: int
    largest: float
    smallest: float
    range_octaves: float
    max_relative_error: float
    mean_square_error_db: float


def finfo(fmt: Format | str) -> FormatInfo:
    """Facts of a format or of the format of that name."""
    fmt = format_of(fmt)
    if fmt.codebooks is None:
        rows = [fmt.levels[1:]]
    else:
        books = fmt.codebooks.positive + fmt.codebooks.negative
        rows = [np.exp2(-np.array(row) / 2.0**fmt.fraction_bits) for row in books]
    largest, smallest = max(float(r[-1]) for r in rows), min(float(r[0]) for r in rows)
    return FormatInfo(
        fmt.name,
        fmt.n,
        fmt.n + (8 / fmt.block if fmt.block > 1 else 0),
        len(rows[0]),
        largest,
        smallest,
        float(np.log2(largest / smallest)),
        # The worst value between two levels is the midpoint, relative to itself.
        max(float(((r[1:] - r[:-1]) / (r[1:] + r[:-1])).max()) for r in rows),
        min(map(_top_octave_db, rows)),
    )


def _top_octave_db(levels: NDArray[np.float64]) -> float:
    """Noise of values uniform in the log in the octave below the largest level.

    Between two levels half a step of each is rounded to the middle: for small steps ``s`` of
    the natural logarithm the mean of the squared error is ``s^2 / 12`` of the signal.
    """
    edges = np.log(levels[levels >= levels[-1] / 2])
    first = np.log(levels[-1] / 2)
    edges = np.append(first, edges[edges > first + 1e-12])
    steps = np.diff(edges)
    return float(10 * np.log10((steps**3).sum() / steps.sum() / 12))
