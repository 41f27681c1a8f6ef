"""Integer products of the peers' codes: what their dot units must compute.

Tables are computed from the values of the codes, units from exponents and significands.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from verif.baselines.booth import booth_product
from verif.baselines.elements import FloatFormat


@cache
def integer_products(bits: int) -> NDArray[np.int64]:
    """Products of two's complement codes, shape ``(2^bits, 2^bits)``."""
    codes = np.arange(1 << bits)
    values = np.where(codes < 1 << (bits - 1), codes, codes - (1 << bits))
    return np.outer(values, values)


@cache
def dropped_products(bits: int, dropped: int) -> NDArray[np.int64]:
    """Booth products of two's complement codes without their lowest columns."""
    codes = np.arange(1 << bits)
    values = np.where(codes < 1 << (bits - 1), codes, codes - (1 << bits))
    return booth_product(values[:, None], values, (bits + 1) // 2, dropped)


def dropped_mean(bits: int, dropped: int) -> float:
    """What a dropped product lacks in the mean over all codes, in units of ``2^dropped``."""
    return float((integer_products(bits) / 2.0**dropped - dropped_products(bits, dropped)).mean())


@cache
def float_products(fmt: FloatFormat, window: int | None, rounding: str) -> NDArray[np.int64]:
    """Aligned products of codes, shape ``(2^n, 2^n)``; those of special codes are 0.

    In units of the least product, or of the least of ``window`` bits below the largest;
    bits below are cut off the magnitude (``truncate``), or the least kept bit is 1 (``jam``).
    """
    steps = np.ldexp(fmt.element.levels, fmt.bias - 1 + fmt.mantissa_bits).astype(np.int64)
    steps = np.append(steps, np.zeros((1 << (fmt.bits - 1)) - len(steps), np.int64))
    shift = unit_shift(fmt, window)
    # Exact products of E5M2 have more bits than int64: Python's integers.
    dtype = object if fmt.product_bits - shift > 62 else np.int64
    table = np.array([[int(a) * int(b) >> shift for b in steps] for a in steps], dtype)
    if rounding == "jam":
        table = np.where(np.outer(steps, steps) > 0, table | 1, 0)
    positive = np.concatenate([table, -table])
    return np.concatenate([positive, -positive], axis=1)


def unit_shift(fmt: FloatFormat, window: int | None) -> int:
    """Bits of an exact product that lie below the window."""
    return max(fmt.product_bits - (window or fmt.product_bits), 0)
