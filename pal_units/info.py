"""Facts of a format, in the manner of ``numpy.finfo``."""

from dataclasses import dataclass

import numpy as np

from pal_units.formats import Format, format_of


@dataclass(frozen=True)
class FormatInfo:
    """Facts of a format; magnitudes are relative to the block top.

    Parameters
    ----------
    format: its name.
    bits: bits of an element code.
    bits_per_element: the same with the share of the 8-bit block bias, which PAL16 has not.
    levels: magnitudes, zero not counted.
    largest, smallest: greatest and least magnitude.
    range_octaves: octaves from one to the other.
    max_relative_error: largest ``|rounded - x| / |x|`` for ``x`` between them.
    mean_square_error_db: noise of values uniform in the log in the top octave, in dB below
        the signal.
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
    levels = fmt.levels[1:]
    # The worst value between two levels is the midpoint, relative to itself.
    worst = float(((levels[1:] - levels[:-1]) / (levels[1:] + levels[:-1])).max())
    step = np.log(2) / 2.0**fmt.fraction_bits
    return FormatInfo(
        fmt.name,
        fmt.n,
        fmt.n + (8 / fmt.block if fmt.block > 1 else 0),
        fmt.m_max,
        float(levels[-1]),
        float(levels[0]),
        fmt.lambda_max / 2.0**fmt.fraction_bits,
        worst,
        float(10 * np.log10(step**2 / 12)),
    )
