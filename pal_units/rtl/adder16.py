"""PAL16 adder through the linear domain."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.formats import PAL16
from pal_units.rtl.log import IntegerLog, pal16_code
from pal_units.rtl.rom import rom


class Adder16(wiring.Component):
    """``o = a + b`` of PAL16 codes with one tensor bias, optionally followed by ReLU.

    Latency 3 (compare and swap; antilog, shift and add; logarithm), throughput one a
    cycle.  Faithful, cancellation included: under one unit of the log of the exact sum.
    NaN if either operand is NaN, also after ReLU; ``x + (-x)`` is zero; saturates.

    Members
    -------
    a, b : In(16); relu : In(1) - replace negative sums by zero; o : Out(16)
    """

    latency = 3

    a: In(PAL16.n)
    b: In(PAL16.n)
    relu: In(1)
    o: Out(PAL16.n)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fraction, one = PAL16.fraction_bits, 1 << tables.ADD_FRACTION_BITS
        bits = PAL16.magnitude_bits

        # Stage 1: the larger operand and the distance to the smaller one.
        magnitude_a, magnitude_b = self.a[:bits], self.b[:bits]
        swap = Signal()
        larger_1, distance_1 = Signal(PAL16.n), Signal(bits)
        subtract_1, small_zero_1, nan_1, relu_1 = Signal(), Signal(), Signal(), Signal()
        m.d.comb += swap.eq(magnitude_b > magnitude_a)
        m.d.sync += [
            larger_1.eq(Mux(swap, self.b, self.a)),
            distance_1.eq(Mux(swap, magnitude_b - magnitude_a, magnitude_a - magnitude_b)),
            subtract_1.eq(self.a[-1] ^ self.b[-1]),
            small_zero_1.eq((magnitude_a == 0) | (magnitude_b == 0)),
            nan_1.eq((self.a == PAL16.sign_bit) | (self.b == PAL16.sign_bit)),
            relu_1.eq(self.relu),
        ]

        # Stage 2: one plus or minus the ratio of the operands.
        antilog = rom(m, "antilog", distance_1[:fraction], tables.add_antilog())
        ratio = Signal(tables.ADD_FRACTION_BITS + 1)
        total_2 = Signal(tables.ADD_FRACTION_BITS + 2)
        larger_2 = Signal(PAL16.n)
        nan_2, relu_2 = Signal(), Signal()
        m.d.comb += ratio.eq(Mux(small_zero_1, 0, antilog >> distance_1[fraction:]))
        m.d.sync += [
            total_2.eq(Mux(subtract_1, one - ratio, one + ratio)),
            larger_2.eq(larger_1),
            nan_2.eq(nan_1),
            relu_2.eq(relu_1),
        ]

        # Stage 3: back to the log, relative to the larger operand.
        m.submodules.log = log = IntegerLog(len(total_2))
        magnitude = Signal(signed(PAL16.n + 4))
        m.d.comb += [
            log.i.eq(total_2),
            magnitude.eq(larger_2[:bits] + log.o - (tables.ADD_FRACTION_BITS << fraction)),
        ]
        code = pal16_code(m, magnitude, larger_2[-1], "code")
        zero = (total_2 == 0) | (larger_2[:bits] == 0) | (relu_2 & larger_2[-1])
        m.d.sync += self.o.eq(Mux(nan_2, PAL16.sign_bit, Mux(zero, 0, code)))
        return m
