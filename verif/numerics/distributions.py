"""Made-up data of the studies, and how noise in it is measured.

SQNR is ``10 log10(sum x^2 / sum (x - rounded x)^2)`` in dB.  Every random array has a seed of its
own.  A module apart, so that studies of areas, which measure on the same data, need not run again
when the accuracy study counts more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


def _outliers(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Standard normal, one value in a hundred times 30."""
    return rng.standard_normal(shape) * np.where(rng.random(shape) < 0.01, 30.0, 1.0)


def _softmax(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Softmax along the last axis of normal scores of deviation 3."""
    score = 3 * rng.standard_normal(shape)
    score = np.exp(score - score.max(axis=-1, keepdims=True))
    return score / score.sum(axis=-1, keepdims=True)


def _ternary(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """-1, 0 and 1 in equal shares, times a number between 1 and 2 for each row."""
    return rng.integers(-1, 2, shape) * np.exp2(rng.random((*shape[:-1], 1)))


#: Distributions by name.
DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Values]] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "laplace": lambda rng, shape: rng.laplace(size=shape),
    "student-t3": lambda rng, shape: rng.standard_t(3, shape),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape) * rng.choice([-1.0, 1.0], shape),
    "outliers": _outliers,
    "cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "bimodal": lambda rng, shape: rng.choice([-1.0, 1.0], shape) + 0.1 * rng.standard_normal(shape),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.1),
    "softmax": _softmax,
    "integers": lambda rng, shape: rng.integers(-127, 128, shape).astype(np.float64),
    "ternary": _ternary,
}


@dataclass(frozen=True)
class Sizes:
    """How much data: ``values`` numbers an SQNR, ``dots^2`` dot products of ``length``."""

    values: int = 1 << 17
    dots: int = 128
    length: int = 1024


def sqnr_db(signal: Values, rounded: Values) -> float:
    """Signal-to-quantisation-noise ratio in dB; infinite without noise."""
    noise = float(((signal - rounded) ** 2).sum())
    return float(10 * np.log10(float((signal**2).sum()) / noise)) if noise else float("inf")


def data(distribution: str, shape: tuple[int, ...], seed: int) -> Values:
    """Numbers of a distribution; the seed and the name make the same ones everywhere."""
    name = int.from_bytes(distribution.encode(), "little")
    return DISTRIBUTIONS[distribution](np.random.default_rng([seed, name]), shape)
