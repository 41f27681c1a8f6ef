"""Codes and biases that units are tried with: all of them, or corners and random ones."""

from typing import Any

import numpy as np

from pal_units.formats import FORMATS, PAL4A, PAL4T, PAL6A, PAL6T, PAL8T, Format

SMALL = tuple(f for f in FORMATS.values() if f.n <= 8)
#: Formats of several profiles that one unit serves, in blocks of the same size.
TOGETHER = (PAL8T, PAL6T, PAL4T, PAL4A.with_block(32), PAL6A)
#: Random vectors of units that cannot be exhausted.
MANY = 1_000_000
#: Biases, in 1/8 octave, that the 10-bit bias ports take.
BIASES = np.arange(-512, 512)


def every(*ranges: Any) -> list[np.ndarray]:
    """All combinations, as one flat array a variable."""
    return [v.ravel() for v in np.meshgrid(*ranges, indexing="ij")]


def codes_of(fmt: Format) -> np.ndarray:
    """All codes of a format."""
    return np.arange(1 << fmt.n)


def corner_codes(rng: np.random.Generator, fmt: Format, shape: Any) -> np.ndarray:
    """Random codes: two thirds uniform, the rest corners; NaN only rarely."""
    top = fmt.m_max
    corners = np.array([0, 1, 2, top // 2, top // 2 + 1, top - 1, top])
    corners = np.concatenate([corners, corners[1:] | fmt.sign_bit])
    codes = np.where(
        rng.random(shape) < 0.33, rng.choice(corners, shape), rng.integers(0, 1 << fmt.n, shape)
    )
    return np.where((codes == fmt.sign_bit) & (rng.random(shape) < 0.95), 0, codes)


def near_pairs(rng: np.random.Generator, fmt: Format, count: int) -> list[np.ndarray]:
    """Corner-weighted pairs, a third of them close in magnitude, where sums cancel."""
    a, b = corner_codes(rng, fmt, (2, count))
    near = rng.random(count) < 0.33
    close = np.where(near, a ^ rng.integers(0, 64, count), b)
    return [a, np.where(near & (rng.random(count) < 0.7), close ^ fmt.sign_bit, close)]


def random_biases(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Block biases: uniform, corners, and a few above 0, which count as 0."""
    beta = rng.integers(-127, 1, shape)
    beta = np.where(rng.random(shape) < 0.3, rng.choice([0, -1, -8, -127, -128], shape), beta)
    return np.where(rng.random(shape) < 0.02, rng.integers(1, 128, shape), beta)
