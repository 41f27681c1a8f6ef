"""Codebooks: the levels that the codes of a block of profile A may stand for, as data.

A log lane multiplies by adding, so a block may use any levels that lie on the lane's log grid:
they cost a table where codes are decoded, and nothing in a lane.  The byte of a block holds a
*selector* in its upper bits, which names a codebook, and a *bias code* below it, which is a step
of a scale that is fine near the top of the tensor and coarser further down::

    byte = selector << bias_bits | code,    beta = -bias_steps[code]   (1/8 octave)

Choosing codebooks by block: R. Elangovan et al., "LO-BCQ", arXiv:2502.05376, 2025; W. Jang,
T. Tambe, "BlockDialect", arXiv:2501.01144, 2025.  Both take levels of integers.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units.whole import whole

#: Bits of the byte that a block has.
BYTE_BITS = 8
#: Longest distance below a block's top, in units of the grid, that a table entry may have.
LAMBDA_LIMIT = 1 << 12
#: Furthest that a bias puts a block down, in 1/8 octave: that of int8.
BIAS_REACH = 127
#: The spread of a block is the sum of its elements' distances below the largest, each in half
#: octaves and at most ``SPREAD_LIMIT``; it has so many classes, whatever the block.
SPREAD_CLASSES, SPREAD_LIMIT = 32, 7
#: Half octaves in an octave.
SPREAD_UNITS = 2
#: Biases that encoding tries, as steps from the nearest to a block's largest magnitude: first and
#: last.  Those of PAL's 4-bit formats; wider windows gain less than 0.1 dB.
BIAS_WINDOW = (-4, 2)


Rows = tuple[tuple[int, ...], ...]


def spread_shift(block: int) -> int:
    """Lower bits of a block's spread that its class leaves out."""
    return max((block * SPREAD_LIMIT).bit_length() - (SPREAD_CLASSES - 1).bit_length(), 0)


def _rows(name: str, rows: Any) -> Rows:
    """Rows of integers; ``TypeError`` for a level that is none: it would lie off the grid."""
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise TypeError(f"{name} must be rows of integers, not {type(rows).__name__}")
    found = []
    for i, row in enumerate(rows):
        if isinstance(row, str) or not isinstance(row, Iterable):
            raise TypeError(f"{name}[{i}] must be a row of integers, not {type(row).__name__}")
        found.append(tuple(whole(f"{name}[{i}][{j}]", v) for j, v in enumerate(row)))
    return tuple(found)


def _integers(name: str, values: Any, least: int, most: int) -> NDArray[np.int64]:
    """Integers within a range."""
    found = np.asarray(values)
    if found.dtype.kind not in "iu":
        raise TypeError(f"a {name} must be an integer, not {found.dtype}")
    wrong = (found < least) | (found > most)
    if wrong.any():
        raise ValueError(f"a {name} must be {least} to {most}, not {found[wrong].flat[0]}")
    return found.astype(np.int64)


@dataclass(frozen=True, repr=False)
class Codebooks:
    """The codebooks of a format, and how the byte of a block names one.

    Levels are distances below the block's top in units of the format's grid, ``2^-F`` octave.

    Parameters
    ----------
    positive, negative: a row a codebook: the distance of the codes of magnitude 1, 2, ..., each
        less than the one before.  A positive row may have one level more than the negative: that
        of the code that is a second zero otherwise.
    mirrored: the highest bit of the selector negates all levels of the block.
    bias_zones: pairs of a count and a step in 1/8 octave: so many bias codes are so far apart.
        By default 64 of 1/8 octave, which is what 4 selectors leave of a byte.
    picks: what the hardware's encoder takes of a block by the class of its spread: pairs of
        a codebook and of what the bias lies above the least that does not clip, in 1/8 octave.
        One for each of ``SPREAD_CLASSES``, or none.

    Raises
    ------
    TypeError: a level or a zone that is no integer.
    ValueError: rows whose number is no power of two, of unequal lengths, not descending, or beyond
        0 to 4095; mirrored ones that are symmetric; less than 2 selectors or more than 32; zones
        that do not fill what the selector leaves of a byte, or reach further than 127 eighths, as
        other profiles do; other picks.
    """

    positive: Rows
    negative: Rows
    mirrored: bool = False
    bias_zones: Rows = ((64, 1),)
    picks: Rows = ()

    def __post_init__(self) -> None:
        for name in ("positive", "negative", "bias_zones", "picks"):
            object.__setattr__(self, name, _rows(name, getattr(self, name)))
        if not isinstance(self.mirrored, bool):
            raise TypeError(f"mirrored must be a bool, not {type(self.mirrored).__name__}")
        count = len(self.positive)
        if not count or count & (count - 1) or len(self.negative) != count:
            raise ValueError(
                "codebooks must be 1, 2, 4, ... rows of positive and as many of negative levels, "
                f"not {count} and {len(self.negative)}"
            )
        for name in ("positive", "negative"):
            rows = getattr(self, name)
            if len({len(row) for row in rows}) != 1:
                raise ValueError(f"codebooks must be equally long, {name} are not")
            for i, row in enumerate(rows):
                if any(a <= b for a, b in pairwise(row)):
                    raise ValueError(
                        f"codebook {i} is not monotone: each distance of {name} must be less "
                        "than the one before"
                    )
                if row and not (row[-1] >= 0 and row[0] < LAMBDA_LIMIT):
                    raise ValueError(
                        f"codebook {i} must have distances of 0 to {LAMBDA_LIMIT - 1}, {name} has "
                        f"{row[-1] if row[-1] < 0 else row[0]}"
                    )
        if not self.negative[0] or len(self.positive[0]) - len(self.negative[0]) not in (0, 1):
            raise ValueError(
                "a codebook has as many positive levels as negative, or one more, not "
                f"{len(self.positive[0])} and {len(self.negative[0])}"
            )
        if self.mirrored and self.symmetric:
            raise ValueError("mirrored codebooks must not be symmetric: they have the same levels")
        if not 2 <= self.selectors <= 32:
            raise ValueError(
                f"a block chooses among 2 to 32 codebooks, mirrored ones too, not {self.selectors}"
            )
        if any(len(zone) != 2 or min(zone) < 1 for zone in self.bias_zones):
            raise ValueError(f"bias_zones must be pairs of at least 1, not {self.bias_zones}")
        if sum(n for n, _ in self.bias_zones) != 1 << self.bias_bits:
            raise ValueError(
                f"{self.selectors} selectors leave {1 << self.bias_bits} bias codes of a "
                f"byte, bias_zones have {sum(n for n, _ in self.bias_zones)}"
            )

        if self.bias_steps[-1] > BIAS_REACH:
            raise ValueError(
                f"bias_zones must not reach further than {BIAS_REACH} eighths of an octave, not "
                f"{self.bias_steps[-1]}"
            )
        if self.picks and len(self.picks) != SPREAD_CLASSES:
            raise ValueError(f"picks are {SPREAD_CLASSES} or none, not {len(self.picks)}")
        for pick in self.picks:
            if len(pick) != 2 or not 0 <= pick[0] < count or not -8 <= pick[1] <= 8:
                raise ValueError(
                    f"a pick is a codebook of 0 to {count - 1} and a step of -8 to 8, not {pick}"
                )

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: no tables."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __repr__(self) -> str:
        mirrored = ", mirrored" if self.mirrored else ""
        digest = zlib.crc32(repr(tuple(self.__getstate__().values())).encode())
        return f"Codebooks({len(self.positive)}{mirrored}: {digest:08x})"

    @property
    def symmetric(self) -> bool:
        """Whether the negative levels of each codebook are the positive ones."""
        return self.positive == self.negative

    @property
    def selectors(self) -> int:
        """Number of codebooks that a block chooses among, mirrored ones too."""
        return len(self.positive) << self.mirrored

    @property
    def selector_bits(self) -> int:
        """Upper bits of a block's byte."""
        return (self.selectors - 1).bit_length()

    @property
    def bias_bits(self) -> int:
        """Lower bits of a block's byte."""
        return BYTE_BITS - self.selector_bits

    @property
    def has_extra(self) -> bool:
        """Whether the code of a sign without a magnitude is a level."""
        return len(self.positive[0]) > len(self.negative[0])

    @cached_property
    def zones(self) -> list[tuple[int, int, int]]:
        """Each zone's first bias code, what that puts a block down, and the step, in 1/8 octave."""
        found, first, down = [], 0, 0
        for count, step in self.bias_zones:
            found.append((first, down, step))
            first, down = first + count, down + count * step
        return found

    @cached_property
    def bias_steps(self) -> NDArray[np.int64]:
        """What each bias code puts the top of a block down, in 1/8 octave; ascending from 0."""
        first, down, step = np.repeat(self.zones, [count for count, _ in self.bias_zones], 0).T
        return down + (np.arange(len(first)) - first) * step

    @property
    def lambda_max(self) -> int:
        """Longest distance of any level."""
        return max(row[0] for row in (*self.positive, *self.negative))

    def split(self, byte: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Selector and block bias ``beta``, at most 0, of bytes: as int8 or uint8, -128 to 255.

        Raises ``TypeError`` for what are no integers, ``ValueError`` for those out of range.
        """
        byte = _integers("byte", byte, -(1 << BYTE_BITS - 1), (1 << BYTE_BITS) - 1)
        byte = byte & ((1 << BYTE_BITS) - 1)
        return byte >> self.bias_bits, -self.bias_steps[byte & ((1 << self.bias_bits) - 1)]

    def join(self, selector: Any, code: Any) -> NDArray[np.int8]:
        """Bytes of selectors and bias codes; raises as ``split``."""
        selector = _integers("selector", selector, 0, self.selectors - 1)
        code = _integers("bias code", code, 0, (1 << self.bias_bits) - 1)
        return (selector << self.bias_bits | code).astype(np.uint8).view(np.int8)

    @cached_property
    def tables(self) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Distance and sign of each selector's codes, both ``(selectors, 2 * (levels + 1))``.

        Codes are sign and magnitude; the sign of zero is 0, as is that of the code of a sign
        without a magnitude unless it is a level.
        """
        half = len(self.negative[0]) + 1
        lam = np.zeros((self.selectors, 2 * half), np.int64)
        sign = np.zeros(lam.shape, np.int8)
        rows = len(self.positive)
        for i in range(self.selectors):
            positive, negative = self.positive[i % rows], self.negative[i % rows]
            mirror = -1 if i >= rows else 1
            lam[i, 1 : 1 + len(positive)], lam[i, half + 1 :] = positive, negative
            sign[i, 1 : 1 + len(positive)], sign[i, half + 1 :] = mirror, -mirror
        return lam, sign

    @cached_property
    def ascending(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Codes of each selector by ascending value, and their signed distances.

        Shape ``(selectors, levels)`` with zero; the distance of a negative level is
        ``-1 - lambda``, of a positive one ``lambda``, and that of zero means nothing.
        """
        half = len(self.negative[0]) + 1
        positive = np.arange(1, len(self.positive[0]) + 1)
        negative = np.arange(2 * half - 1, half, -1)
        codes = np.concatenate([negative, [0], positive])
        order = np.stack(
            [
                codes[::-1] if self.mirrored and i >= len(self.positive) else codes
                for i in range(self.selectors)
            ]
        )
        lam, sign = self.tables
        distance = np.take_along_axis(lam, order, 1)
        negated = np.take_along_axis(sign, order, 1) < 0
        return order, np.where(negated, -1 - distance, distance)
