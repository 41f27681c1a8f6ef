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

    Parameters
    ----------
    bits: of an operand; lanes: products; multiplier: one of ``MULTIPLIERS``.

    Members
    -------
    a, b : In(lanes x bits); o : Out(signed(2 * bits + log2(lanes))); nan : Out(1), always 0

    Raises
    ------
    ValueError: an odd number of bits, or another multiplier.
    """

    latency = 0

    def __init__(self, bits: int, lanes: int, multiplier: str = "booth") -> None:
        if multiplier not in MULTIPLIERS:
            raise ValueError(f"multiplier must be one of {', '.join(MULTIPLIERS)}, "
                             f"not {multiplier!r}")
        if bits % 2:
            raise ValueError(f"bits must be even, not {bits}")
        self.bits, self.lanes, self.multiplier = bits, lanes, multiplier
        operands = data.ArrayLayout(bits, lanes)
        super().__init__({"a": In(operands), "b": In(operands), "nan": Out(1),
                          "o": Out(signed(2 * bits + (lanes - 1).bit_length()))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows: list[Value] = []
        constant = 0
        make = _booth if self.multiplier == "booth" else _baugh_wooley
        for lane in range(self.lanes):
            more, offset = make(self.a[lane], self.b[lane])
            rows += more
            constant += offset
        m.d.comb += self.o.eq(heap_sum([*rows, constant], len(self.o)))
        return m


def _booth(a: Value, b: Value) -> tuple[list[Value], int]:
    """Rows and a constant: a digit of ``b`` selects 0, a or 2a, inverted if negative."""
    n, rows, constant = len(a), [], 0
    digits = Cat(Const(0, 1), b)
    for i in range(n // 2):
        low, middle, high = (digits[2 * i + j] for j in range(3))
        one, two = low ^ middle, (low == middle) & (high != middle)
        negative = high
        bits = Cat(((one & Cat(a, a[-1])[j]) | (two & Cat(Const(0, 1), a)[j])) ^ negative
                   for j in range(n + 1))
        # In two's complement the top bit counts -2^n: inverted it counts 2^n above that.
        rows.append(Cat(bits[:n], ~bits[n]) << (2 * i))
        rows.append(negative << (2 * i))
        constant -= 1 << (n + 2 * i)
    return rows, constant


def _baugh_wooley(a: Value, b: Value) -> tuple[list[Value], int]:
    """Rows and a constant: partial products of one sign bit are inverted."""
    n = len(a)
    rows = [Cat(~(a[j] & b[i]) if (j == n - 1) != (i == n - 1) else a[j] & b[i]
                for j in range(n)) << i for i in range(n)]
    # Inverted bits of weight w count -w: ~x w = w - x w, for 2 (2^(n-1) - 1) 2^(n-1) in all.
    return rows, -2 * ((1 << (n - 1)) - 1 << (n - 1))
