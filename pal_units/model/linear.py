"""PAL16 to linear fixed-point numbers and back: exact accumulation."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import tables
from pal_units.formats import PAL16
from pal_units.model.codec import with_nan
from pal_units.model.elementwise import fields
from pal_units.model.log16 import code16, log_of_integer


@cache
def linear_table() -> NDArray[np.int64]:
    """``2^-(r/1024)`` for ``r`` in ``0..1023`` in units of ``2^-16``, by the bipartite rule."""
    r = np.arange(1 << PAL16.fraction_bits)
    low = 1 << tables.LINEAR_LOW_BITS
    high = r >> (tables.LINEAR_MIDDLE_BITS + tables.LINEAR_LOW_BITS)
    return (
        tables.linear_base()[r // low] + tables.linear_offset()[high, r % low]
    ) // 2**tables.LINEAR_GUARD_BITS


def linear16(codes: ArrayLike) -> NDArray[np.int64]:
    """PAL16 codes as integers in units of ``2^-30`` of their top, rounded towards zero.

    Within 2^-13 of the value, plus one unit.  NaN counts as 0.
    """
    lam, negative, zero, nan = fields(codes, PAL16)
    octaves, rest = np.divmod(lam, 1 << PAL16.fraction_bits)
    scale = tables.LINEAR_FRACTION_BITS - tables.LINEAR_ENTRY_BITS
    magnitude = np.where(zero | nan, 0, linear_table()[rest] * 2**scale // 2**octaves)
    return np.where(negative, -magnitude, magnitude)


def encode_linear(total: ArrayLike, nan: ArrayLike, offset: ArrayLike) -> NDArray[np.uint16]:
    """PAL16 codes of sums of ``linear16``, below 2^52.

    The result's top lies ``offset`` / 16 octave below that of the summands.  Under one unit
    of the log from the sum; saturates; NaN where ``nan``.
    """
    total, offset = np.asarray(total, np.int64), np.asarray(offset, np.int64)
    octave = 1 << PAL16.fraction_bits
    log = log_of_integer(np.maximum(np.abs(total), 1)) - tables.LINEAR_FRACTION_BITS * octave
    magnitude = PAL16.m_max + log + offset * (octave // 16)
    return with_nan(np.where(total == 0, 0, code16(magnitude, total < 0)), nan, PAL16)
