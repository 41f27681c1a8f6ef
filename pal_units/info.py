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
        # Half a step of the natural logarithm is rounded to either side.
        step = np.log(2) / 2.0**fmt.fraction_bits
        decibels = float(10 * np.log10(step**2 / 12))
    else:
        books = fmt.codebooks
        rows = [
            np.exp2(-np.array(row) / 2.0**fmt.fraction_bits)
            for pair in zip(books.positive, books.negative, strict=True)
            for row in pair
        ]
        noise = [_top_octave_noise(row) for row in rows]
        decibels = float(10 * np.log10(min(map(float.__add__, noise[::2], noise[1::2])) / 2))
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
        decibels,
    )


def _top_octave_noise(levels: NDArray[np.float64]) -> float:
    """Noise to signal of values uniform in the log in the octave below the largest level.

    Between two levels a step ``s`` of the natural logarithm apart it is ``s^2 / 12``.
    """
    logs = np.log(levels)
    steps = np.diff(logs)
    within = np.minimum(logs[1:] - (logs[-1] - np.log(2)), steps).clip(0)
    return float((within * steps**2).sum() / within.sum() / 12)
