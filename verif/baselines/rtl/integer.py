"""Products of two's complement integers, as rows of one sum."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from amaranth.hdl import Cat, Const, Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.heap import heap_sum


class IntegerSlice(wiring.Component):
    """Exact sum of ``lanes`` products of signed integers.

    Combinational: latency 0.  Rows of radix-4 digits (A. D. Booth, 1951; O. L. MacSorley,
    "High-speed arithmetic in binary computers", Proc. IRE 49, 1961), the sign of a row as
    an inverted bit and a constant.  All rows of all lanes form one sum.  Their lowest
    columns can be left out; the sum is then in units of ``2^dropped``, and a constant below
    that can stand for the mean of what they held.

    Parameters
    ----------
    bits: of an operand; lanes: products.
    dropped: columns left out; compensation: what each sum gets for them, in units of
    ``2^(dropped - fraction)``.
    recoded: take Booth's digits of ``a``, as in an array whose edges make them.
    kept: signed width of another term, 0 for none; ``o`` has at least as many bits.

    Members
    -------
    a, b : In(lanes x bits), or ``a`` : In(lanes x digits_layout); nan : Out(1), always 0
    o : Out(signed(2 * bits - dropped + fraction + log2(lanes)))

    Raises
    ------
    ValueError: too few bits, or columns that cannot be dropped.
    """

    latency = 0

    def __init__(
        self,
        bits: int,
        lanes: int,
        dropped: int = 0,
        compensation: int = 0,
        fraction: int = 0,
        recoded: bool = False,
        kept: int = 0,
    ) -> None:
        if bits < 2:
            raise ValueError(f"bits must be 2 or more, not {bits}")
        if not 0 <= dropped <= bits:
            raise ValueError(f"dropped must be 0 to {bits}, not {dropped}")
        self.bits, self.lanes = bits, lanes
        self.dropped, self.compensation, self.fraction = dropped, compensation, fraction
        self.recoded = recoded
        operands = data.ArrayLayout(bits, lanes)
        total = 2 * bits - dropped + fraction + (lanes - 1).bit_length()
        super().__init__(
            {
                "a": In(data.ArrayLayout(digits_layout(bits), lanes) if recoded else operands),
                "b": In(operands),
                "nan": Out(1),
                **({"kept": In(signed(kept))} if kept else {}),
                "o": Out(signed(max(kept, total))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows: list[Value] = []
        constant, below = divmod(self.compensation, 1 << self.fraction)
        for lane in range(self.lanes):
            more, offset = (
                digit_rows(self.b[lane], list(self.a[lane]), self.dropped)
                if self.recoded
                else booth_rows(self.a[lane], self.b[lane], self.dropped)
            )
            rows += more
            constant += offset
        m.d.comb += self.o.eq(compensated(self, rows, constant, below))
        return m


def compensated(unit: Any, rows: Iterable[Value], constant: int, below: int) -> Value:
    """Sum of rows, of a constant with ``below`` in the fraction, and of what ``unit`` keeps."""
    width, fraction = len(unit.o), unit.fraction
    if "kept" in unit.signature.members:
        terms = [row << fraction for row in rows]
        return heap_sum([Cat(unit.kept), *terms, (constant << fraction) + below], width)
    return Cat(Const(below, fraction), heap_sum([*rows, constant], width - fraction))


def digits_layout(bits: int) -> data.ArrayLayout:
    """Booth's digits of an operand, from the least: -2 to 2 as one, two and a sign."""
    digit = data.StructLayout({"one": 1, "two": 1, "negative": 1})
    return data.ArrayLayout(digit, (bits + 1) // 2)


class Digit(NamedTuple):
    """A digit of Booth's: whether it is 1 or -1, 2 or -2, below 0."""

    one: Value
    two: Value
    negative: Value


def booth_digits(b: Value) -> list[Digit]:
    """Digits of a signed number of any width; the last one of an odd width is -1, 0 or 1."""
    bits, digits = [Const(0, 1), *b, b[-1]], []
    for low, middle, high in zip(bits[:-2:2], bits[1:-1:2], bits[2::2], strict=True):
        one, two = low ^ middle, (low == middle) & (high != middle)
        digits.append(Digit(one, two, high & ~(low & middle)))
    return digits


def booth_rows(a: Value, b: Value, dropped: int = 0) -> tuple[list[Value], int]:
    """Rows and a constant whose sum is ``a * b``, signed and of any width, see ``digit_rows``."""
    return digit_rows(a, booth_digits(b), dropped, odd=len(b) % 2 == 1)


def digit_rows(
    a: Value, digits: list[Any], dropped: int = 0, odd: bool = False
) -> tuple[list[Value], int]:
    """Rows and a constant: a digit selects 0, a or 2a, inverted if negative.

    ``odd``: the last digit selects no 2a.  Bits below column ``dropped`` are left out.
    """
    rows, constant = [], 0
    for i, digit in enumerate(digits):
        below = max(dropped - 2 * i, 0)
        top = len(a) - (odd and i + 1 == len(digits))
        ones, twos = [*a, a[-1]], [Const(0, 1), *a]
        bits = Cat(
            ((digit.one & ones[j]) | (digit.two & twos[j])) ^ digit.negative for j in range(top + 1)
        )
        # In two's complement the top bit counts -2^top: inverted it counts 2^top above that.
        rows.append(Cat(bits[:top], ~bits[top])[below:] << max(2 * i - dropped, 0))
        if not below:
            rows.append(digit.negative << (2 * i - dropped))
        constant -= 1 << (top + 2 * i - dropped)
    return rows, constant
