"""float32 accumulation: the usual partner of small floating-point products."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: Significand bits of float32 with the leading one, exponent bits and bias.
SIGNIFICAND, EXPONENT, BIAS = 24, 8, 127


def leading_zeros(m: Module, name: str, value: Value) -> Value:
    """Leading zeros of a value, its width for 0: a binary search."""
    width = 1 << (len(value) - 1).bit_length()
    rest: Value = Cat(Const(0, width - len(value)), value)
    count: list[Value] = []
    while len(rest) > 1:
        half = len(rest) // 2
        empty = Signal(name=f"{name}_{half}")
        m.d.comb += empty.eq(~rest[half:].any())
        rest = Mux(empty, rest[:half], rest[half:])
        count.insert(0, empty)
    return Cat(*count)


class Float32Add(wiring.Component):
    """``a + b`` in float32, round to nearest even.

    Combinational: latency 0.  Results below 2^-126 become zero, results too large infinity;
    operands are finite, ``b`` comes in fields and is normalised or zero (exponent 0).

    Members
    -------
    a : In(32); negative : In(1); exponent : In(8) - biased; significand : In(24)
    o : Out(32)
    """

    latency = 0

    def __init__(self) -> None:
        super().__init__(
            {
                "a": In(32),
                "negative": In(1),
                "exponent": In(EXPONENT),
                "significand": In(SIGNIFICAND),
                "o": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a_exponent = self.a[SIGNIFICAND - 1 : -1]
        a_magnitude = Cat(self.a[: SIGNIFICAND - 1], a_exponent.any(), a_exponent)
        b_magnitude = Cat(self.significand, self.exponent)
        swap = Signal()
        large, small = Signal(SIGNIFICAND + EXPONENT), Signal(SIGNIFICAND + EXPONENT)
        large_negative, subtract = Signal(), Signal()
        m.d.comb += [
            swap.eq(b_magnitude > a_magnitude),
            large.eq(Mux(swap, b_magnitude, a_magnitude)),
            small.eq(Mux(swap, a_magnitude, b_magnitude)),
            large_negative.eq(Mux(swap, self.negative, self.a[-1])),
            subtract.eq(self.negative ^ self.a[-1]),
        ]

        # Align the smaller one: two guard bits and a sticky bit below.
        exponent = large[SIGNIFICAND:]
        distance = Signal(EXPONENT)
        width = SIGNIFICAND + 2
        m.d.comb += distance.eq(exponent - small[SIGNIFICAND:])
        steps = (width - 1).bit_length()
        gone = distance[steps:].any()
        bits = Mux(gone, 0, Cat(Const(0, 2), small[:SIGNIFICAND]))
        sticky = gone & small[:SIGNIFICAND].any()
        for i in range(steps):
            lost = bits[: 1 << i].any()
            shifted = Signal(width, name=f"aligned_{i}")
            below = Signal(name=f"sticky_{i}")
            m.d.comb += [
                shifted.eq(Mux(distance[i], bits >> (1 << i), bits)),
                below.eq(sticky | (distance[i] & lost)),
            ]
            bits, sticky = shifted, below
        total = Signal(width + 2)
        addend = Cat(sticky, bits, Const(0, 1))
        m.d.comb += total.eq(
            Cat(Const(0, 3), large[:SIGNIFICAND])
            + (addend ^ subtract.replicate(len(addend)))
            + subtract
        )

        # Normalise and round.
        zeros = leading_zeros(m, "zeros", total)
        normal = Signal(width + 2)
        m.d.comb += normal.eq(total << zeros)
        keep = normal[-SIGNIFICAND:]
        guard, rest = normal[-SIGNIFICAND - 1], normal[: -SIGNIFICAND - 1].any()
        rounded = Signal(SIGNIFICAND + 1)
        result_exponent = Signal(signed(EXPONENT + 3))
        m.d.comb += [
            rounded.eq(keep + (guard & (rest | keep[0]))),
            result_exponent.eq(exponent - zeros + 1 + rounded[-1]),
        ]
        # A carry out of rounding leaves zeros below, whichever bits are taken.
        limit = (1 << EXPONENT) - 1
        fraction = Mux(result_exponent >= limit, 0, rounded[: SIGNIFICAND - 1])
        shown = Mux(result_exponent >= limit, limit, result_exponent[:EXPONENT])
        tiny = (total == 0) | (result_exponent <= 0)
        m.d.comb += self.o.eq(Mux(tiny, 0, Cat(fraction, shown, large_negative)))
        return m


class Float32Dot(wiring.Component):
    """Accumulate sums of products in one float32 register, a slice a cycle.

    Latency 1, throughput one slice a cycle; ``result`` and ``nan`` are the only registers.
    The slice's sum is normalised, cut to 24 significant bits and added with one rounding.
    A slice with ``first`` starts a new sum.

    Parameters
    ----------
    slice_sum: combinational component with ports ``a``, ``b`` and outputs ``o`` (signed, the
        sum), ``nan`` and, if its unit varies, ``exponent`` (signed, a power of two).
    unit: power of two that ``o`` counts in, on top of ``exponent``.

    Members
    -------
    a, b : In(as of slice_sum); first : In(1); result : Out(32); nan : Out(1)
    """

    latency = 1

    def __init__(self, slice_sum: wiring.Component, unit: int) -> None:
        self.slice_sum, self.unit = slice_sum, unit
        ports = slice_sum.signature.members
        super().__init__(
            {"a": ports["a"], "b": ports["b"], "first": In(1), "result": Out(32), "nan": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slice_sum = slice_sum = self.slice_sum
        m.submodules.add = add = Float32Add()
        width = len(slice_sum.o)
        magnitude, normal = Signal(width), Signal(max(width, SIGNIFICAND))
        m.d.comb += [
            slice_sum.a.eq(self.a),
            slice_sum.b.eq(self.b),
            magnitude.eq(Mux(slice_sum.o < 0, -slice_sum.o, slice_sum.o)),
        ]
        zeros = leading_zeros(m, "lead", magnitude)
        exponent = Signal(signed(12))
        varying = slice_sum.exponent if "exponent" in slice_sum.signature.members else 0
        m.d.comb += [
            normal.eq(Cat(Const(0, max(SIGNIFICAND - width, 0)), (magnitude << zeros)[:width])),
            exponent.eq(varying + (self.unit + width - 1 + BIAS) - zeros),
            add.a.eq(Mux(self.first, 0, self.result)),
            add.negative.eq(slice_sum.o < 0),
            # Below the normal numbers the addend counts as zero.
            add.exponent.eq(Mux((magnitude == 0) | (exponent <= 0), 0, exponent)),
            add.significand.eq(Mux((magnitude == 0) | (exponent <= 0), 0, normal[-SIGNIFICAND:])),
        ]
        m.d.sync += [self.result.eq(add.o), self.nan.eq((self.nan & ~self.first) | slice_sum.nan)]
        return m
