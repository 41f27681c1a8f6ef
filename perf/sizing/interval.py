"""Intervals, corners and drivers of a figure that is computed of constants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perf.constants import Constant, Number, values

#: A figure of values, or of arrays of samples.
Figure = Callable[[Mapping[str, Number]], Any]
#: Ends of the interval of 90 %.
_ENDS = (0.05, 0.95)


@dataclass(frozen=True)
class Interval:
    """A figure of the constants' values, and between what 90 % of the samples are."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Driver:
    """A figure with one constant at the low and at the high end of its range."""

    constant: str
    low: float
    high: float

    @property
    def span(self) -> float:
        """Larger over smaller."""
        ends = sorted((self.low, self.high))
        return ends[1] / ends[0] if ends[0] > 0 else np.inf


def interval(value: Any, samples: Any) -> Interval:
    """Of a figure's value and its samples."""
    sampled = np.atleast_1d(np.asarray(samples, float))
    low, high = np.quantile(sampled[~np.isnan(sampled)], _ENDS, method="lower")
    return Interval(float(value), float(low), float(high))


def drivers(constants: Mapping[str, Constant], figure: Figure) -> list[Driver]:
    """Constants that move a figure, the one that moves it most first."""
    moving = [each for each in constants.values() if each.low < each.high]
    tried = values(constants) | {each.name: np.full(2 * len(moving), each.value) for each in moving}
    for place, each in enumerate(moving):
        tried[each.name][2 * place : 2 * place + 2] = each.low, each.high
    ends = np.asarray(figure(tried), float).reshape(-1, 2)
    found = [Driver(e.name, float(a), float(b)) for e, (a, b) in zip(moving, ends, strict=True)]
    return sorted((d for d in found if d.low != d.high), key=lambda d: -d.span)


def corners(
    constants: Mapping[str, Constant], figure: Figure, moved: list[Driver]
) -> tuple[float, float]:
    """The figure with every constant at the end that makes it small alone, and large alone."""
    small, large = values(constants), values(constants)
    for driver in moved:
        each = constants[driver.constant]
        ends = (each.low, each.high) if driver.low < driver.high else (each.high, each.low)
        small[driver.constant], large[driver.constant] = ends
    return float(figure(small)), float(figure(large))
