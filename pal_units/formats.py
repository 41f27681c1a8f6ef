"""PAL number formats: one frozen description for the numpy model and the RTL.

A tensor is stored in blocks of ``block`` elements that share one *bias*.  An element
code is ``sign, m[n-2:0]`` and stands for::

    value = (-1)^sign * 2^((T + beta)/8) * 2^(-lambda(m) / 2^F)

``T`` is the tensor bias (int16), ``beta`` the block bias (int8), both in 1/8 octave.
``lambda`` counts the distance below the block's top in units of ``2^-F`` octave:

* profile ``U`` (uniform): ``lambda = M - m`` with ``M = 2^(n-1) - 1``;
* profile ``T`` (tapered): with ``k`` leading zeros of ``m`` in ``n-1`` bits,
  ``lambda = k*2^(n-2) + 2^k*(2^(n-1-k) - 1 - m)`` and ``F = n - 3``;
* profile ``A`` (adaptive): the block names one of a few *codebooks*, whose levels lie anywhere on
  the grid of ``2^-F`` octave (``codebook.Codebooks``); the byte of the block holds that choice
  beside ``beta``, and below 6 bits the second zero may be a further positive level.

``m = 0, sign = 0`` is zero; ``m = 0, sign = 1`` is NaN for ``n >= 6`` and a second zero,
which no encoder makes, below; there are no infinities.
The units of this package take ``beta <= 0``: the encoder puts the largest block of a
tensor at ``beta = 0``, and a sum of biases above 0 counts as 0 (saturation at the top).
A format may restrict ``beta`` to multiples of a ``bias_step`` (8: whole octaves), which
makes its dot products smaller.
"""

import reprlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units.codebook import BIAS_WINDOW, Codebooks
from pal_units.codebooks import CODEBOOKS
from pal_units.whole import whole

#: Block bias that marks a block of zeros (the byte 0x80).
ZERO_BLOCK = -128
#: Smallest block bias that still scales values.
BETA_MIN = -127
#: Bias units in an octave: biases are stored in 1/8 octave.
BIAS_PER_OCTAVE = 8

#: Octaves below the top within which the levels of codebooks lie, as those of PAL16.
LEVEL_OCTAVES = 32
#: Fraction bits of a bias in octaves.
BIAS_BITS = 3
#: Resolutions of block biases, in 1/8 octave.
BIAS_STEPS = (1, 2, 4, 8)


def check_bias_step(bias_step: int) -> None:
    """Raise ``ValueError`` unless block biases can have this resolution."""
    if bias_step not in BIAS_STEPS:
        raise ValueError(f"bias_step must be one of {BIAS_STEPS}, not {bias_step}")


#: Explicit mantissa bits of the float formats that convert, both with 8 exponent bits.
FLOAT_MANTISSAS = {"float32": 23, "bfloat16": 7}
#: Largest ``F`` that complete tables are offered for: addition, conversion from float.
TABLE_FRACTION_BITS = 5


@dataclass(frozen=True)
class Format:
    """One PAL format.

    Parameters
    ----------
    name: name that users and files give it.
    n: bits of an element code, 3 to 16; of profile A 4 to 8.
    profile: ``"U"`` (uniform), ``"T"`` (tapered) or ``"A"`` (adaptive, by codebooks).
    fraction_bits: ``F``, fraction bits of the logarithm, 0 to ``n - 1``; of profile A 3 to 10.
    block: elements that share one block bias.
    bias_step: block biases are multiples of it, in 1/8 octave: 1, 2, 4 or 8.  Whole octaves
        cost profile U nothing, its relative error being the same everywhere below the top;
        T, finest at its top, loses 1 dB (``docs/area.md``).  1 for profile A, whose byte has
        steps of its own.
    codebooks: those of profile A, None for the others.

    Raises
    ------
    TypeError: a number that is not an integer, a name that is no string, codebooks that are none.
    ValueError: a parameter out of range, ``T`` with ``F != n - 3``, codebooks that profile and
        ``n`` do not take, or none of which has levels of both signs within 3/16 octave of the top.
    """

    name: str
    n: int
    profile: str
    fraction_bits: int
    block: int = 32
    bias_step: int = 1
    codebooks: Codebooks | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, not {reprlib.repr(self.name)}")
        for name in ("n", "fraction_bits", "block", "bias_step"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if not 3 <= self.n <= 16:
            raise ValueError(f"n must be 3 to 16 bits, not {self.n}")
        if self.profile not in ("U", "T", "A"):
            raise ValueError(f"profile must be 'U', 'T' or 'A', not {self.profile!r}")
        if self.profile == "T" and self.fraction_bits != self.n - 3:
            raise ValueError(
                f"profile T needs fraction_bits = n - 3 = {self.n - 3}, not {self.fraction_bits}"
            )
        if self.profile != "A" and not 0 <= self.fraction_bits <= self.n - 1:
            raise ValueError(
                f"fraction_bits must be 0 to n - 1 = {self.n - 1}, not {self.fraction_bits}"
            )
        if self.block < 1:
            raise ValueError(f"block must be at least 1 element, not {self.block}")
        check_bias_step(self.bias_step)
        self._check_codebooks()

    def _check_codebooks(self) -> None:
        books = self.codebooks
        if books is not None and not isinstance(books, Codebooks):
            raise TypeError(f"codebooks must be Codebooks, not {type(books).__name__}")
        if (self.profile == "A") != (books is not None):
            raise ValueError(
                "profile A needs codebooks" if books is None else "only profile A has codebooks"
            )
        if books is None:
            return
        if not 4 <= self.n <= 8:
            raise ValueError(f"profile A has n of 4 to 8 bits, not {self.n}")
        if not BIAS_BITS <= self.fraction_bits <= 10:
            raise ValueError(
                f"fraction_bits of profile A must be {BIAS_BITS} to 10, not {self.fraction_bits}"
            )
        if self.bias_step != 1 or self.block == 1:
            raise ValueError("profile A has blocks of 2 or more elements and a bias_step of 1")
        if len(books.negative[0]) != self.m_max:
            raise ValueError(
                f"codebooks of n = {self.n} have {self.m_max} negative levels, "
                f"not {len(books.negative[0])}"
            )
        if books.has_extra and self.has_nan:
            raise ValueError(
                f"a further positive level needs n < 6, where its code is no NaN: {self.name}"
            )
        if books.lambda_max >> self.fraction_bits >= LEVEL_OCTAVES:
            raise ValueError(
                f"levels must be less than {LEVEL_OCTAVES} octaves below the top, one of "
                f"{self.name} is {books.lambda_max >> self.fraction_bits}"
            )
        # A bias is tried up to the window's last step above the nearest to the largest number, and
        # that one is half a step below it at worst.
        reach = ((2 * BIAS_WINDOW[1] - 1) << self.fraction_bits) // (2 * BIAS_PER_OCTAVE)
        tops = [max(p[-1], n[-1]) for p, n in zip(books.positive, books.negative, strict=True)]
        if min(tops) > reach:
            raise ValueError(
                f"a codebook of {self.name} must have levels of both signs within 3/16 octave of "
                f"the top, {reach} units, or encoding saturates; the nearest are {min(tops)} below"
            )

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: no tables."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def with_block(self, block: int) -> "Format":
        """The same element codes in blocks of another size.

        Codebooks and their ``picks`` stay those that were fitted to blocks of this size.
        """
        return replace(self, block=block)

    def with_bias_step(self, bias_step: int) -> "Format":
        """The same element codes under block biases of another resolution."""
        return replace(self, bias_step=bias_step)

    @property
    def beta_min(self) -> int:
        """Least block bias that still scales values: a multiple of ``bias_step``."""
        return -(-BETA_MIN // self.bias_step * self.bias_step)

    @property
    def magnitude_bits(self) -> int:
        """Bits of ``m``."""
        return self.n - 1

    @property
    def m_max(self) -> int:
        """Largest ``m``: the block's top, ``lambda = 0``."""
        return (1 << self.magnitude_bits) - 1

    @property
    def sign_bit(self) -> int:
        """Mask of the sign bit; as a code it is NaN if the format has one."""
        return 1 << self.magnitude_bits

    @property
    def has_nan(self) -> bool:
        """Whether the code ``sign_bit`` is NaN; otherwise it is zero, or a level in profile A."""
        return self.n >= 6

    @property
    def bias_candidates(self) -> tuple[int, ...]:
        """Block biases that the encoder tries, as steps from the nearest to the largest value.

        The one with the least squared error is taken, the first of equals.  Empty where
        the least bias that does not clip is the rule: at 8 bits the search gains 0.02 dB,
        at 6 bits 0.2 to 4.
        """
        return (0, 1, -1, 2, -2, -3, -4) if self.n < 8 else ()

    @property
    def reblock_step(self) -> int:
        """What the reblock unit adds to the least bias that does not clip, in 1/8 octave.

        The unit sees the largest value only; at 4 bits and below this step comes closest
        to the encoder's search.
        """
        return -1 if self.n <= 4 else 0

    @cached_property
    def lambdas(self) -> np.ndarray:
        """``lambda(m)`` for each ``m`` in ``1..m_max`` at index ``m``; int64; ``[0]`` is 0.

        Raises ``TypeError`` for profile A, where each codebook has its own.
        """
        if self.codebooks is not None:
            raise TypeError(
                f"{self.name} has no levels without a block's codebook: this takes profiles T and U"
            )
        m = np.arange(self.m_max + 1)
        if self.profile == "U":
            out = self.m_max - m
        else:
            k = self.magnitude_bits - np.array([int(v).bit_length() for v in m])
            out = (k << (self.n - 2)) + ((1 << k) * ((1 << (self.magnitude_bits - k)) - 1 - m))
        out[0] = 0
        return out

    @property
    def lambda_max(self) -> int:
        """``lambda`` of the least nonzero level (``m = 1``), of all codebooks."""
        if self.codebooks is not None:
            return self.codebooks.lambda_max
        return int(self.lambdas[1])

    @property
    def lambda_bits(self) -> int:
        """Bits that hold any ``lambda``."""
        return self.lambda_max.bit_length()

    @cached_property
    def book_levels(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Signed levels of each selector of profile A, ascending, float64, and their codes, int64.

        Both ``(selectors, levels)``, below a block top of 1.0, zero among them.
        Raises ``TypeError`` for profiles T and U.
        """
        if self.codebooks is None:
            raise TypeError(f"{self.name} has no codebooks")
        order, _ = self.codebooks.ascending
        lam, sign = self.codebooks.tables
        value = (sign * np.exp2(-lam / 2.0**self.fraction_bits)).astype(np.float64)
        return np.take_along_axis(value, order, 1), order

    @cached_property
    def levels(self) -> np.ndarray:
        """Magnitude of each ``m`` below a block top of 1.0; ``levels[0] = 0``; float64."""
        out = np.exp2(-self.lambdas / 2.0**self.fraction_bits)
        out[0] = 0.0
        return out


PAL4U = Format("PAL4U", 4, "U", 1)
PAL4T = Format("PAL4T", 4, "T", 1)
PAL6U = Format("PAL6U", 6, "U", 2)
PAL6T = Format("PAL6T", 6, "T", 3)
PAL8U = Format("PAL8U", 8, "U", 4, bias_step=8)
PAL8T = Format("PAL8T", 8, "T", 5)
PAL16 = Format("PAL16", 16, "U", 10, block=1)

PAL4A = Format("PAL4A", 4, "A", 3, block=16, codebooks=CODEBOOKS["PAL4A"])
PAL6A = Format("PAL6A", 6, "A", 4, codebooks=CODEBOOKS["PAL6A"])
PAL8A = Format("PAL8A", 8, "A", 6, codebooks=CODEBOOKS["PAL8A"])

#: The formats of profile A by name.
ADAPTIVE = {f.name: f for f in (PAL4A, PAL6A, PAL8A)}
#: The formats of profiles T and U by name.
FORMATS = {f.name: f for f in (PAL4U, PAL4T, PAL6U, PAL6T, PAL8U, PAL8T, PAL16)}


def format_of(fmt: "Format | str") -> Format:
    """The format, or that of a name.

    Raises
    ------
    TypeError: neither a ``Format`` nor a string.
    ValueError: a name that is none of ``FORMATS`` and ``ADAPTIVE``.
    """
    if isinstance(fmt, Format):
        return fmt
    if not isinstance(fmt, str):
        raise TypeError(f"fmt must be a Format or its name, not {reprlib.repr(fmt)}")
    known = FORMATS | ADAPTIVE
    if fmt not in known:
        raise ValueError(
            f"no format {reprlib.repr(fmt)}; there are {', '.join(known)}, and any Format(...)"
        )
    return known[fmt]


def widening(fmt: Format, target: Format) -> tuple[int, int]:
    """Shift and fill bits that make a magnitude of ``fmt`` one of ``target`` of equal value.

    The levels of a format below a block's top are levels of the wider ones of its profile:
    ``m << shift | fill`` has the same ``lambda``, for every ``m`` but 0.

    Raises ``ValueError`` if there is no such pair.
    """
    if "A" in (fmt.profile, target.profile):
        raise ValueError(f"codes of {fmt.name} are not codes of {target.name}")
    if fmt.profile == "T":
        shift = target.n - fmt.n
        fill = (1 << max(shift, 0)) - 1
    else:
        shift = target.fraction_bits - fmt.fraction_bits
        fill = target.m_max - (fmt.m_max << max(shift, 0))
    m = np.arange(1, fmt.m_max + 1)
    wide = m << max(shift, 0) | max(fill, 0)
    if (
        fmt.profile != target.profile
        or shift < 0
        or fill < 0
        or wide.max() > target.m_max
        or (
            target.lambdas[wide]
            != fmt.lambdas[m] << max(target.fraction_bits - fmt.fraction_bits, 0)
        ).any()
    ):
        raise ValueError(f"codes of {fmt.name} are not codes of {target.name}")
    return shift, fill
