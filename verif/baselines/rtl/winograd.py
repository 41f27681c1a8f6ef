"""Sums of integer products by Winograd's inner product: half the multipliers."""

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.heap import heap_sum
from verif.baselines.rtl.integer import booth_rows, compensated

#: Least bits of an operand: fewer leave no room for what dropped columns lack.
LEAST_BITS = 4


def correction_bits(bits: int, lanes: int, dropped: int = 0) -> int:
    """Signed width of a slice's correction."""
    return 2 * bits - 1 + (lanes // 2 - 1).bit_length() - dropped


class WinogradSlice(wiring.Component):
    """Sum of ``lanes`` products of signed integers by ``lanes / 2`` multipliers.

    Combinational: latency 0.  Of two lanes the sum of products is
    ``(a0 + b1)(a1 + b0) - a0 a1 - b0 b1`` (S. Winograd, "A new algorithm for inner product",
    IEEE Trans. Computers C-17, 1968; in arrays: T. Pogue, N. Nicolici, "Fast inner-product
    algorithms and architectures for deep neural network accelerators", IEEE Trans. Computers,
    2023, arXiv:2311.12224).  What is subtracted depends on one operand alone: the edge of an
    array computes it for all lanes that share the operand (``WinogradCorrection``).  The
    products of ``bits + 1`` bits are Booth rows of one sum with both corrections, whose lowest
    columns can be left out as in ``IntegerSlice``.

    Parameters
    ----------
    bits: of an operand, at least 4; lanes: products, even.
    dropped: columns left out; compensation: what each sum gets for them, in units of
    ``2^(dropped - fraction)``.
    kept: signed width of another term, 0 for none; ``o`` has at least as many bits.

    Members
    -------
    a, b : In(lanes x bits); nan : Out(1), always 0
    correction_a, correction_b : In(signed) - of ``WinogradCorrection``
    o : Out(signed(2 * bits - dropped + fraction + log2(lanes))), as of ``IntegerSlice``, and
    without ``dropped`` equal to it

    Raises
    ------
    ValueError: too few bits, an odd number of lanes, or columns that cannot be dropped.
    """

    latency = 0

    def __init__(
        self,
        bits: int,
        lanes: int,
        dropped: int = 0,
        compensation: int = 0,
        fraction: int = 0,
        kept: int = 0,
    ) -> None:
        _check(bits, lanes, dropped)
        self.bits, self.lanes = bits, lanes
        self.dropped, self.compensation, self.fraction = dropped, compensation, fraction
        operands = data.ArrayLayout(bits, lanes)
        correction = In(signed(correction_bits(bits, lanes, dropped)))
        width = 2 * bits - dropped + fraction + (lanes - 1).bit_length()
        super().__init__(
            {
                "a": In(operands),
                "b": In(operands),
                "correction_a": correction,
                "correction_b": correction,
                "nan": Out(1),
                **({"kept": In(signed(kept))} if kept else {}),
                "o": Out(signed(max(width, kept))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows: list[Value] = []
        constant, below = divmod(self.compensation, 1 << self.fraction)
        for k in range(0, self.lanes, 2):
            sums = []
            for name, x, y in (("even", k, k + 1), ("odd", k + 1, k)):
                total = Signal(signed(self.bits + 1), name=f"{name}_{k}")
                m.d.comb += total.eq(self.a[x].as_signed() + self.b[y].as_signed())
                sums.append(total)
            more, offset = booth_rows(sums[0], sums[1], self.dropped)
            rows += more
            constant += offset
        for correction in (self.correction_a, self.correction_b):
            rows.append(Cat(correction[:-1], ~correction[-1]))
            constant -= 1 << (len(correction) - 1)
        m.d.comb += self.o.eq(compensated(self, rows, constant, below))
        return m


class WinogradCorrection(wiring.Component):
    """What an operand alone contributes to a slice: ``-(x0 x1 + x2 x3 + ...)``.

    Combinational: latency 0.  Exact, then in units of ``2^dropped``, rounded down.

    Parameters
    ----------
    bits, lanes, dropped: of the slice.

    Members
    -------
    x : In(lanes x bits)
    o : Out(signed(2 * bits - 1 + log2(lanes / 2) - dropped))

    Raises ``ValueError`` as ``WinogradSlice``.
    """

    latency = 0

    def __init__(self, bits: int, lanes: int, dropped: int = 0) -> None:
        _check(bits, lanes, dropped)
        self.bits, self.lanes, self.dropped = bits, lanes, dropped
        super().__init__(
            {
                "x": In(data.ArrayLayout(bits, lanes)),
                "o": Out(signed(correction_bits(bits, lanes, dropped))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows: list[Value] = []
        # One less, and inverted: -s = ~(s - 1).
        constant = -1
        for k in range(0, self.lanes, 2):
            more, offset = booth_rows(self.x[k], self.x[k + 1])
            rows += more
            constant += offset
        total = Signal(len(self.o) + self.dropped)
        m.d.comb += [
            total.eq(heap_sum([*rows, constant], len(total))),
            self.o.eq(~total[self.dropped :]),
        ]
        return m


def _check(bits: int, lanes: int, dropped: int) -> None:
    if bits < LEAST_BITS:
        raise ValueError(f"bits must be {LEAST_BITS} or more, not {bits}")
    if lanes < 2 or lanes % 2:
        raise ValueError(f"lanes must be even and 2 or more, not {lanes}")
    if not 0 <= dropped <= bits:
        raise ValueError(f"dropped must be 0 to {bits}, not {dropped}")
