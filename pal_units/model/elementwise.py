"""Elementwise arithmetic on element codes; block biases are the caller's.

Operands are relative to their block tops, results to the top that each function names.
``headroom`` puts the top of the result that many octaves higher, for results above it.
NaN in, or an invalid operation, gives NaN, or zero in a format that has none.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import tables
from pal_units.formats import PAL16, TABLE_FRACTION_BITS, Format
from pal_units.model.codec import Codes, code_dtype, is_nan, nearest_code, with_nan
from pal_units.model.log16 import add16, fma16

Fields = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]


def fields(codes: ArrayLike, fmt: Format) -> Fields:
    """Log distance below the top, and whether negative, zero, NaN."""
    codes = np.asarray(codes, np.int64)
    magnitude = codes & fmt.m_max
    nan = is_nan(codes, fmt)
    return fmt.lambdas[magnitude], codes > fmt.sign_bit, (magnitude == 0) & ~nan, nan


def rounded(distance: ArrayLike, fraction_bits: int, negative: ArrayLike, fmt: Format) -> Codes:
    """Nearest codes of ``2^(-distance / 2^fraction_bits)``, saturating."""
    octaves = np.maximum(np.asarray(distance) / 2.0**fraction_bits, -1.0)
    return nearest_code(np.where(negative, -1.0, 1.0) * np.exp2(-octaves), fmt)


def mul(a: ArrayLike, b: ArrayLike, fmt: Format) -> Codes:
    """Products, below the product of the operands' tops: exact log, then nearest."""
    lam_a, negative_a, zero_a, nan_a = fields(a, fmt)
    lam_b, negative_b, zero_b, nan_b = fields(b, fmt)
    code = rounded(lam_a + lam_b, fmt.fraction_bits, negative_a != negative_b, fmt)
    return with_nan(np.where(zero_a | zero_b, 0, code), nan_a | nan_b, fmt)


def div(a: ArrayLike, b: ArrayLike, fmt: Format, headroom: int = 0) -> Codes:
    """Quotients, below the quotient of the tops: exact log, then nearest.

    ``x / 0`` saturates with the sign of ``x``; ``0 / 0`` is NaN.
    """
    lam_a, negative_a, zero_a, nan_a = fields(a, fmt)
    lam_b, negative_b, zero_b, nan_b = fields(b, fmt)
    distance = lam_a - lam_b + (headroom << fmt.fraction_bits)
    code = rounded(distance, fmt.fraction_bits, negative_a != negative_b, fmt)
    code = np.where(zero_b, fmt.m_max | np.where(negative_a, fmt.sign_bit, 0), code)
    return with_nan(np.where(zero_a, 0, code), nan_a | nan_b | (zero_a & zero_b), fmt)


def recip(a: ArrayLike, fmt: Format, headroom: int = 0) -> Codes:
    """Reciprocals: the quotient of the top, 1.0, and ``a``."""
    return div(fmt.m_max, a, fmt, headroom)


def square(a: ArrayLike, fmt: Format) -> Codes:
    """Squares, below the square of the top."""
    return mul(a, a, fmt)


def sqrt(a: ArrayLike, odd: ArrayLike, fmt: Format) -> Codes:
    """Square roots; of a negative NaN.

    The operand's bias ``b`` (1/8 octave) gives the result's ``ceil(b/2)``; ``odd`` is
    ``b mod 2`` and moves the result down by 1/16 octave.
    """
    lam, negative, zero, nan = fields(a, fmt)
    distance = 8 * lam / 2.0**fmt.fraction_bits + np.asarray(odd, np.int64)
    code = np.where(zero, 0, rounded(distance, 4, False, fmt))
    return with_nan(code, nan | negative, fmt)


def rsqrt(a: ArrayLike, odd: ArrayLike, fmt: Format, headroom: int = 0) -> Codes:
    """Reciprocal square roots; of a negative NaN, of zero saturated.

    The operand's bias ``b`` (1/8 octave) gives the result's ``-floor(b/2)``; ``odd`` is
    ``b mod 2`` and moves the result down by 1/16 octave.
    """
    lam, negative, zero, nan = fields(a, fmt)
    distance = 16 * headroom - 8 * lam / 2.0**fmt.fraction_bits + np.asarray(odd, np.int64)
    code = np.where(zero, fmt.m_max, rounded(distance, 4, False, fmt))
    return with_nan(code, nan | negative, fmt)


def _ordinal(codes: ArrayLike, fmt: Format) -> NDArray[np.int64]:
    """Integers in the order of the values.

    Raises ``TypeError`` for profile A, whose codes have no order without a block's codebook.
    """
    if fmt.codebooks is not None:
        raise TypeError(f"codes of {fmt.name} have no order without their blocks' codebooks")
    codes = np.asarray(codes, np.int64)
    magnitude = codes & fmt.m_max
    return np.where(codes & fmt.sign_bit, -magnitude, magnitude)


def less(a: ArrayLike, b: ArrayLike, fmt: Format) -> NDArray[np.bool_]:
    """``a < b``; False if either is NaN."""
    return (_ordinal(a, fmt) < _ordinal(b, fmt)) & ~is_nan(a, fmt) & ~is_nan(b, fmt)


def equal(a: ArrayLike, b: ArrayLike, fmt: Format) -> NDArray[np.bool_]:
    """``a == b``; False if either is NaN."""
    return (_ordinal(a, fmt) == _ordinal(b, fmt)) & ~is_nan(a, fmt) & ~is_nan(b, fmt)


def minimum(a: ArrayLike, b: ArrayLike, fmt: Format) -> Codes:
    """The lesser value; NaN if either is (IEEE 754-2019 ``minimum``)."""
    return with_nan(
        _canonical(np.where(less(b, a, fmt), b, a), fmt), is_nan(a, fmt) | is_nan(b, fmt), fmt
    )


def maximum(a: ArrayLike, b: ArrayLike, fmt: Format) -> Codes:
    """The greater value; NaN if either is (IEEE 754-2019 ``maximum``)."""
    return with_nan(
        _canonical(np.where(less(a, b, fmt), b, a), fmt), is_nan(a, fmt) | is_nan(b, fmt), fmt
    )


def _canonical(codes: ArrayLike, fmt: Format) -> NDArray[np.int64]:
    """The second zero of a format without NaN becomes 0."""
    codes = np.asarray(codes)
    return np.where((codes & fmt.m_max == 0) & ~is_nan(codes, fmt), 0, codes)


def _check_symmetric(fmt: Format) -> None:
    """Raise ``TypeError`` for codebooks whose negative levels are not the positive ones."""
    if fmt.codebooks is not None and not fmt.codebooks.symmetric:
        raise TypeError(
            f"{fmt.name} has codebooks that are not symmetric: a sign is no bit of a code"
        )


def neg(a: ArrayLike, fmt: Format) -> Codes:
    """``-a``; zero and NaN stay."""
    _check_symmetric(fmt)
    a = np.asarray(a)
    return np.where(a & fmt.m_max == 0, _canonical(a, fmt), a ^ fmt.sign_bit).astype(
        code_dtype(fmt)
    )


def absolute(a: ArrayLike, fmt: Format) -> Codes:
    """``|a|``; NaN stays."""
    _check_symmetric(fmt)
    a = np.asarray(a)
    return with_nan(a & fmt.m_max, is_nan(a, fmt), fmt)


def add(a: ArrayLike, b: ArrayLike, fmt: Format, headroom: int = 0) -> Codes:
    """Sums of operands under one top, below that top.

    ``F <= 5``: the log of the sum correctly rounded to ``2^-F`` octave by complete tables,
    then the nearest code (in profile U the same).  PAL16: faithful, no headroom.

    Raises ``ValueError`` for other formats.
    """
    if fmt == PAL16 and headroom == 0:
        return add16(a, b)
    lam_a, negative_a, zero_a, nan_a = fields(a, fmt)
    lam_b, negative_b, zero_b, nan_b = fields(b, fmt)
    distance, negative, zero = _add_distances(
        lam_a, negative_a, zero_a, lam_b, negative_b, zero_b, fmt
    )
    code = rounded(distance + (headroom << fmt.fraction_bits), fmt.fraction_bits, negative, fmt)
    return with_nan(np.where(zero, 0, code), nan_a | nan_b, fmt)


def sub(a: ArrayLike, b: ArrayLike, fmt: Format, headroom: int = 0) -> Codes:
    """Differences; see ``add``."""
    return add(a, neg(b, fmt), fmt, headroom)


def fma(
    a: ArrayLike, b: ArrayLike, c: ArrayLike, fmt: Format, offset: ArrayLike = 0, headroom: int = 0
) -> Codes:
    """``a * b + c`` below the product of the tops of ``a`` and ``b``.

    The top of ``c`` lies ``offset`` units of ``2^-F`` octave below that of the product.
    The log is rounded once; accuracy and errors as for ``add``.
    """
    if fmt == PAL16 and headroom == 0:
        return fma16(a, b, c, offset)
    lam_a, negative_a, zero_a, nan_a = fields(a, fmt)
    lam_b, negative_b, zero_b, nan_b = fields(b, fmt)
    lam_c, negative_c, zero_c, nan_c = fields(c, fmt)
    distance, negative, zero = _add_distances(
        lam_a + lam_b,
        negative_a != negative_b,
        zero_a | zero_b,
        lam_c + np.asarray(offset, np.int64),
        negative_c,
        zero_c,
        fmt,
    )
    code = rounded(distance + (headroom << fmt.fraction_bits), fmt.fraction_bits, negative, fmt)
    return with_nan(np.where(zero, 0, code), nan_a | nan_b | nan_c, fmt)


def _add_distances(
    lam_a: NDArray[np.int64],
    negative_a: NDArray[np.bool_],
    zero_a: NDArray[np.bool_],
    lam_b: NDArray[np.int64],
    negative_b: NDArray[np.bool_],
    zero_b: NDArray[np.bool_],
    fmt: Format,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Distance below the top, sign and zero of a sum, its log correctly rounded."""
    if fmt.fraction_bits > TABLE_FRACTION_BITS:
        raise ValueError(
            f"addition tables are for F <= {TABLE_FRACTION_BITS} and PAL16 "
            f"without headroom, not {fmt.name} with F = {fmt.fraction_bits}"
        )
    grow, shrink = (np.append(t, 0) for t in tables.log_add(fmt.fraction_bits))
    d = np.abs(lam_a - lam_b)
    opposite = negative_a != negative_b
    change = np.where(
        opposite, shrink[np.minimum(d, len(shrink) - 1)], -grow[np.minimum(d, len(grow) - 1)]
    )
    distance = np.minimum(lam_a, lam_b) + change
    negative = np.where(lam_a <= lam_b, negative_a, negative_b)
    zero = opposite & (d == 0)
    distance = np.where(zero_b, lam_a, np.where(zero_a, lam_b, distance))
    negative = np.where(zero_b, negative_a, np.where(zero_a, negative_b, negative))
    return distance, negative, np.where(zero_a | zero_b, zero_a & zero_b, zero)
