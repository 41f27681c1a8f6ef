"""Products of two's complement integers, as rows of one sum."""

from amaranth.hdl import Cat, Const, Module, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.heap import heap_sum

#: How partial products are made.
MULTIPLIERS = ("booth", "baugh-wooley")


class IntegerSlice(wiring.Component):
    """Exact sum of ``lanes`` products of signed integers.

    Combinational: latency 0.  ``booth``: radix-4 digits (A. D. Booth, 1951; O. L. MacSorley,
    "High-speed arithmetic in binary computers", Proc. IRE 49, 1961), the sign of a row as
    an inverted bit and a constant.  ``baugh-wooley``: AND gates with inverted sign rows
    (C. R. Baugh, B. A. Wooley, "A two's complement parallel array multiplication
    algorithm", IEEE Trans. Computers C-22, 1973).  All rows of all lanes form one sum.
    Of Booth's rows the lowest columns can be left out; the sum is then in units of
    ``2^dropped``, and a constant below that can stand for the mean of what they held.

    Parameters
    ----------
    bits: of an operand; lanes: products; multiplier: one of ``MULTIPLIERS``.
    dropped: columns left out; compensation: what each sum gets for them, in units of
    ``2^(dropped - fraction)``.

    Members
    -------
    a, b : In(lanes x bits); nan : Out(1), always 0
    o : Out(signed(2 * bits - dropped + fraction + log2(lanes)))

    Raises
    ------
    ValueError: too few bits, another multiplier, or columns that cannot be dropped.
    """

    latency = 0

    def __init__(
        self,
        bits: int,
        lanes: int,
        multiplier: str = "booth",
        dropped: int = 0,
        compensation: int = 0,
        fraction: int = 0,
    ) -> None:
        if multiplier not in MULTIPLIERS:
            raise ValueError(
                f"multiplier must be one of {', '.join(MULTIPLIERS)}, not {multiplier!r}"
            )
        if bits < 2:
            raise ValueError(f"bits must be 2 or more, not {bits}")
        if not 0 <= dropped <= (bits if multiplier == "booth" else 0):
            raise ValueError(f"dropped must be 0 to {bits}, of Booth's rows only, not {dropped}")
        self.bits, self.lanes, self.multiplier = bits, lanes, multiplier
        self.dropped, self.compensation, self.fraction = dropped, compensation, fraction
        operands = data.ArrayLayout(bits, lanes)
        super().__init__(
            {
                "a": In(operands),
                "b": In(operands),
                "nan": Out(1),
                "o": Out(signed(2 * bits - dropped + fraction + (lanes - 1).bit_length())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows: list[Value] = []
        constant, below = divmod(self.compensation, 1 << self.fraction)
        for lane in range(self.lanes):
            more, offset = (
                booth_rows(self.a[lane], self.b[lane], self.dropped)
                if self.multiplier == "booth"
                else _baugh_wooley(self.a[lane], self.b[lane])
            )
            rows += more
            constant += offset
        total = heap_sum([*rows, constant], len(self.o) - self.fraction)
        m.d.comb += self.o.eq(Cat(Const(below, self.fraction), total))
        return m


def booth_rows(a: Value, b: Value, dropped: int = 0) -> tuple[list[Value], int]:
    """Rows and a constant whose sum is ``a * b``: a digit of ``b`` selects 0, a or 2a, inverted
    if negative.

    Both are signed, of any width; an odd one of ``b`` has a last digit of -1, 0 or 1.  Bits
    below column ``dropped`` are left out; a digit of -0 would show in what is left of its row,
    and is 0 there.
    """
    rows, constant = [], 0
    digits = Cat(Const(0, 1), b, b[-1])
    for i in range((len(b) + 1) // 2):
        low, middle, high = (digits[2 * i + j] for j in range(3))
        one, two = low ^ middle, (low == middle) & (high != middle)
        below = max(dropped - 2 * i, 0)
        negative = high & ~(low & middle) if below else high
        # A last digit of an odd width selects no 2a.
        top = len(a) if 2 * i + 1 < len(b) else len(a) - 1
        bits = Cat(
            ((one & Cat(a, a[-1])[j]) | (two & Cat(Const(0, 1), a)[j])) ^ negative
            for j in range(top + 1)
        )
        # In two's complement the top bit counts -2^top: inverted it counts 2^top above that.
        rows.append(Cat(bits[:top], ~bits[top])[below:] << max(2 * i - dropped, 0))
        if not below:
            rows.append(negative << (2 * i - dropped))
        constant -= 1 << (top + 2 * i - dropped)
    return rows, constant


def _baugh_wooley(a: Value, b: Value) -> tuple[list[Value], int]:
    """Rows and a constant: partial products of one sign bit are inverted."""
    n = len(a)
    rows = [
        Cat(~(a[j] & b[i]) if (j == n - 1) != (i == n - 1) else a[j] & b[i] for j in range(n)) << i
        for i in range(n)
    ]
    # Inverted bits of weight w count -w: ~x w = w - x w, for 2 (2^(n-1) - 1) 2^(n-1) in all.
    return rows, -2 * ((1 << (n - 1)) - 1 << (n - 1))
