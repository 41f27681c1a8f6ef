"""Element formats of the peers: tables of levels, and rounding to them.

Rounding is to nearest, ties to the even code, saturating, as in the definitions:

* FP8 E4M3, E5M2: P. Micikevicius et al., "FP8 formats for deep learning", 2022
  (arXiv:2209.05433); OCP 8-bit Floating Point Specification (OFP8), rev. 1.0, 2023.
* FP6 E2M3, E3M2, FP4 E2M1, INT8 with 6 fraction bits: OCP Microscaling Formats (MX)
  Specification, v1.0, 2023, section 5.3.
* posit<8,2>: Standard for Posit Arithmetic (2022): regime, 2 exponent bits, fraction.
* takum8: L. Hunhold, "Beating posits at their own game: takum arithmetic", 2024
  (arXiv:2404.18603), bits beyond the eighth read as 0: the linear takum, and the
  logarithmic one of base sqrt(e).  Its authors round the bits; here the nearest value is
  taken, which loses less.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import in_pieces
from verif.baselines.nearest import padded_middles, round_all


@dataclass(frozen=True, eq=False)
class Element:
    """Element format by its non-negative values, in the order of their codes.

    Parameters
    ----------
    name: what tables call it.
    bits: bits of an element.
    levels: values of the codes 0, 1, 2, ..., ascending from 0.
    emax: exponent of the largest power of two, for MX scales.
    rounds_to_zero: whether values under half of the least level become zero (posits do not).
    negative_largest: largest magnitude of negative numbers, if it differs (two's complement).
    """

    name: str
    bits: int
    levels: NDArray[np.float64]
    emax: int
    rounds_to_zero: bool = True
    negative_largest: float | None = None

    @property
    def largest(self) -> float:
        """Largest value."""
        return float(self.levels[-1])

    @cached_property
    def middles(self) -> NDArray[np.float64]:
        """Where rounding changes from one level to the next, as ``nearest`` takes it."""
        return padded_middles(self.levels)

    def round(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Nearest values, ties to the even code, saturating; NaN stays."""
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        out = np.empty_like(flat)
        in_pieces(
            round_all,
            len(flat),
            len(flat),
            flat,
            self.levels,
            self.middles,
            self.rounds_to_zero,
            self.negative_largest or self.largest,
            out,
        )
        return out.reshape(np.shape(x))


def _float_levels(
    exponent_bits: int, mantissa_bits: int, bias: int, codes: int
) -> NDArray[np.float64]:
    """Values of the first ``codes`` non-negative codes of a small float format."""
    code = np.arange(codes)
    exponent, mantissa = code >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
    fraction = mantissa / 2.0**mantissa_bits
    normal = exponent > 0
    return np.ldexp(np.where(normal, 1 + fraction, fraction), np.where(normal, exponent, 1) - bias)


def _posit_levels(bits: int, exponent_bits: int) -> NDArray[np.float64]:
    """Non-negative values of a posit: sign, regime run, exponent, fraction."""
    values = [0.0]
    for code in range(1, 1 << (bits - 1)):
        digits = f"{code:0{bits - 1}b}"
        run = len(digits) - len(digits.lstrip(digits[0]))
        regime = run - 1 if digits[0] == "1" else -run
        rest = digits[run + 1 :]
        exponent = int((rest[:exponent_bits]).ljust(exponent_bits, "0"), 2)
        fraction = rest[exponent_bits:]
        values.append(
            2.0 ** (regime * (1 << exponent_bits) + exponent)
            * (1 + (int(fraction, 2) / 2.0 ** len(fraction) if fraction else 0))
        )
    return np.array(values)


def _takum_levels(bits: int, logarithmic: bool) -> NDArray[np.float64]:
    """Non-negative values of a takum: sign, direction, 3 regime bits, characteristic, mantissa.

    The regime ``r`` counts the bits of the characteristic ``c``, inverted if the direction
    is 0; the value is ``2^c (1 + m)``, or ``sqrt(e)^(c + m)`` of a logarithmic takum.
    """
    values = [0.0]
    for code in range(1, 1 << (bits - 1)):
        digits = f"{code:0{bits - 1}b}".ljust(11, "0")
        up, regime = digits[0] == "1", int(digits[1:4], 2)
        length = regime if up else 7 - regime
        field = int("0" + digits[4 : 4 + length], 2)
        characteristic = (1 << length) - 1 + field if up else 1 - (2 << length) + field
        rest = digits[4 + length : bits - 1]
        mantissa = int("0" + rest, 2) / 2.0 ** len(rest)
        values.append(
            np.exp((characteristic + mantissa) / 2)
            if logarithmic
            else 2.0**characteristic * (1 + mantissa)
        )
    return np.array(values)


@dataclass(frozen=True)
class FloatFormat:
    """A small floating-point format, what hardware has to know of it.

    Parameters
    ----------
    exponent_bits, mantissa_bits: fields below the sign; bias: of the exponent.
    codes: codes of finite magnitudes; those above are infinity or NaN.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    codes: int

    @property
    def bits(self) -> int:
        """Bits of an element."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def exponent_span(self) -> int:
        """Exponent of the largest finite number above that of subnormal numbers."""
        return ((self.codes - 1) >> self.mantissa_bits) - 1

    @property
    def product_bits(self) -> int:
        """Bits of the magnitude of any product in fixed point, all of them kept."""
        return 2 * self.exponent_span + 2 * (self.mantissa_bits + 1)

    @cached_property
    def element(self) -> Element:
        """The format as a table of levels."""
        levels = _float_levels(self.exponent_bits, self.mantissa_bits, self.bias, self.codes)
        return Element(self.name, self.bits, levels, int(np.frexp(levels[-1])[1]) - 1)


#: Code 0x7F of E4M3 is NaN; of E5M2 the codes from 0x7C are infinity and NaN.
FP8_E4M3 = FloatFormat("E4M3", 4, 3, 7, 127)
FP8_E5M2 = FloatFormat("E5M2", 5, 2, 15, 124)
#: No standard's: the range of PAL8U, every code a number.
FP8_E3M4 = FloatFormat("E3M4", 3, 4, 3, 128)
#: No standard's either: the 8-bit float of nearest accuracy to PAL8T.
FP8_E2M5 = FloatFormat("E2M5", 2, 5, 1, 128)
FP6_E2M3 = FloatFormat("E2M3", 2, 3, 1, 32)
FP6_E3M2 = FloatFormat("E3M2", 3, 2, 3, 32)
FP4_E2M1 = FloatFormat("E2M1", 2, 1, 1, 8)
E4M3, E5M2, E3M4, E2M5, E2M3, E3M2, E2M1 = (
    f.element for f in (FP8_E4M3, FP8_E5M2, FP8_E3M4, FP8_E2M5, FP6_E2M3, FP6_E3M2, FP4_E2M1)
)
#: Two's complement with 6 fraction bits.
MXINT8 = Element("INT8", 8, np.arange(128) / 64, 0, negative_largest=2.0)
INT8 = Element("INT8", 8, np.arange(128.0), 6)
INT6 = Element("INT6", 6, np.arange(32.0), 4)
INT4 = Element("INT4", 4, np.arange(8.0), 2)
POSIT8 = Element("posit8", 8, _posit_levels(8, 2), 24, rounds_to_zero=False)
TAKUM8 = Element("takum8", 8, _takum_levels(8, False), 239, rounds_to_zero=False)
#: ``emax`` is that of its largest value, which is no power of two.
LOG_TAKUM8 = Element("log-takum8", 8, _takum_levels(8, True), 172, rounds_to_zero=False)

ELEMENTS = (
    E4M3,
    E5M2,
    E3M4,
    E2M5,
    E2M3,
    E3M2,
    E2M1,
    MXINT8,
    INT8,
    INT4,
    POSIT8,
    TAKUM8,
    LOG_TAKUM8,
)
