"""How far values are from those that they should be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Numbers, integers or truth values.
Values = NDArray[Any]


def errors(reference: Values, got: Values) -> NDArray[np.float64]:
    """Differences of the elements whose reference is finite; inf where that got is NaN.

    Of integers and truth values, those that differ are off by 1 at least, however large they are.
    """
    where = np.isfinite(reference)
    real, made = (np.asarray(x[where], np.float64) for x in (reference, got))
    with np.errstate(invalid="ignore"):
        off = np.abs(made - real)
    if reference.dtype.kind in "iub":
        off = np.where(reference[where] == got[where], 0.0, np.maximum(off, 1.0))
    return np.where(np.isnan(off), np.inf, off)


def ratio(signal: float, noise: float) -> float:
    """Signal to noise ratio in dB of sums of squares; inf without noise, -inf without signal."""
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(signal / noise)) if noise else float("inf")


def decibels(reference: Values, got: Values) -> float:
    """Signal to noise ratio of the elements whose reference is finite; inf where none is off."""
    noise = float((errors(reference, got) ** 2).sum())
    finite = np.asarray(reference[np.isfinite(reference)], np.float64)
    return ratio(float((finite**2).sum()), noise)
