"""``2^x`` and ``log2 x`` of element codes: a fixed-point number is the log of its power.

Biases (1/8 octave, tensor and block bias together) are arguments, since the functions do
not commute with scaling.
"""

import numpy as np
from numpy.typing import ArrayLike

from pal_units import tables
from pal_units.formats import PAL16, Format
from pal_units.model.codec import Codes, with_nan
from pal_units.model.elementwise import fields, rounded
from pal_units.model.log16 import log_of_integer


def exp2(a: ArrayLike, bias: ArrayLike, result_bias: ArrayLike, fmt: Format) -> Codes:
    """``2^x`` of ``x = value(a) * 2^(bias/8)``, below the top ``2^(result_bias/8)``.

    Faithful: the log of the result is within one unit of the format's spacing there.
    Saturates; NaN stays.
    """
    lam, negative, zero, nan = fields(a, fmt)
    bits = tables.argument_bits(fmt)
    log = np.asarray(bias, np.int64) * 2 ** (bits - 3) - lam * 2 ** (bits - fmt.fraction_bits)
    table = tables.exp_antilog(fmt.fraction_bits, bits)
    shift = tables.EXP_INTEGER_BITS - 1 - log // 2**bits
    entry = 2 * table[log % 2**bits] // 2 ** np.clip(shift, 0, 60)
    magnitude = np.where(zero, 0, np.where(shift < 0, 1 << 40, (entry + 1) // 2))
    distance = np.asarray(result_bias, np.int64) * 2**fmt.fraction_bits - np.where(
        negative, -magnitude, magnitude
    )
    distance = np.minimum(distance, 1 << 40)
    return with_nan(
        rounded(distance, fmt.fraction_bits + tables.EXP_GUARD_BITS, False, fmt), nan, fmt
    )


def log2(a: ArrayLike, bias: ArrayLike, result_bias: ArrayLike, fmt: Format) -> Codes:
    """``log2 x`` of ``x = value(a) * 2^(bias/8)``, below the top ``2^(result_bias/8)``.

    Faithful.  ``log2 0`` saturates at the negative top; of a negative NaN.
    """
    lam, negative, zero, nan = fields(a, fmt)
    bits = tables.argument_bits(fmt)
    log = np.asarray(bias, np.int64) * 2 ** (bits - 3) - lam * 2 ** (bits - fmt.fraction_bits)
    fraction = PAL16.fraction_bits
    distance = (
        128 * np.asarray(result_bias, np.int64)
        - log_of_integer(np.maximum(np.abs(log), 1))
        + (bits << fraction)
    )
    code = np.where(log == 0, 0, rounded(distance, fraction, log < 0, fmt))
    code = np.where(zero, fmt.m_max | fmt.sign_bit, code)
    return with_nan(code, nan | negative, fmt)
