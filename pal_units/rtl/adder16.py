"""PAL16 addition and fused multiply-add through the linear domain."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.formats import PAL16
from pal_units.rtl.log import IntegerLog, pal16_code
from pal_units.rtl.rom import rom

#: Signed width of a log in units of 1/1024 octave.
LOG_BITS = 19
#: The log that stands for zero: the least value.
ZERO = -(1 << (LOG_BITS - 1))


class LinearSum(wiring.Component):
    """PAL16 code of ``+-2^(x/1024) +- 2^(y/1024)``.

    Latency 3 (compare and swap; antilog, shift and add; logarithm), throughput one a
    cycle.  Faithful, cancellation included: under one unit of the log of the exact sum.

    Members
    -------
    x, y : In(m, negative) - ``m`` counts from the least code, 1 to 32767 in range; the
        least value of its 19 bits stands for zero
    nan : In(1); relu : In(1) - replace negative sums by zero; o : Out(16)

    ``saturates``, a signal beside ``o`` for who counts: the sum lies above the top.
    """

    latency = 3

    operand = data.StructLayout({"m": signed(LOG_BITS), "negative": 1})
    x: In(operand)
    y: In(operand)
    nan: In(1)
    relu: In(1)
    o: Out(PAL16.n)

    def __init__(self) -> None:
        super().__init__()
        self.saturates = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fraction, one = PAL16.fraction_bits, 1 << tables.ADD_FRACTION_BITS

        # Stage 1: the larger operand and the distance to the smaller one.
        swap = Signal()
        larger_1, distance_1 = Signal(self.operand), Signal(LOG_BITS)
        subtract_1, nan_1, relu_1 = Signal(), Signal(), Signal()
        m.d.comb += swap.eq(self.y.m > self.x.m)
        m.d.sync += [
            larger_1.eq(Mux(swap, self.y, self.x)),
            distance_1.eq(Mux(swap, self.y.m - self.x.m, self.x.m - self.y.m)),
            subtract_1.eq(self.x.negative ^ self.y.negative),
            nan_1.eq(self.nan),
            relu_1.eq(self.relu),
        ]

        # Stage 2: one plus or minus the ratio of the operands.
        antilog = rom(m, "antilog", distance_1[:fraction], tables.add_antilog())
        ratio = Signal(tables.ADD_FRACTION_BITS + 1)
        total_2 = Signal(tables.ADD_FRACTION_BITS + 2)
        larger_2 = Signal(self.operand)
        nan_2, relu_2 = Signal(), Signal()
        m.d.comb += ratio.eq(antilog >> distance_1[fraction:])
        m.d.sync += [
            total_2.eq(Mux(subtract_1, one - ratio, one + ratio)),
            larger_2.eq(larger_1),
            nan_2.eq(nan_1),
            relu_2.eq(relu_1),
        ]

        # Stage 3: back to the log, relative to the larger operand.
        m.submodules.log = log = IntegerLog(len(total_2))
        magnitude = Signal(signed(LOG_BITS + 1))
        m.d.comb += [
            log.i.eq(total_2),
            magnitude.eq(larger_2.m + log.o - (tables.ADD_FRACTION_BITS << fraction)),
        ]
        code = pal16_code(m, magnitude, larger_2.negative, "code")
        zero = (total_2 == 0) | (relu_2 & larger_2.negative)
        m.d.sync += [
            self.o.eq(Mux(nan_2, PAL16.sign_bit, Mux(zero, 0, code))),
            self.saturates.eq((magnitude > PAL16.m_max) & ~zero & ~nan_2),
        ]
        return m


class Adder16(wiring.Component):
    """``o = a + b`` (``a - b`` with ``subtract``) of PAL16 codes with one tensor bias.

    Latency 3, throughput one a cycle.  Faithful, cancellation included: under one unit
    of the log of the exact sum.  NaN if either operand is NaN, also after ReLU;
    ``x + (-x)`` is zero; saturates.

    Members
    -------
    a, b : In(16); subtract : In(1); relu : In(1) - replace negative sums by zero
    o : Out(16)

    Example
    -------
    >>> from pal_units.formats import PAL16
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Adder16(), a=31743, b=30719)  # 1/2 and 1/4
    {'o': 32342}
    >>> round(PAL16.levels[32342], 4)
    np.float64(0.75)
    """

    latency = LinearSum.latency

    a: In(PAL16.n)
    b: In(PAL16.n)
    subtract: In(1)
    relu: In(1)
    o: Out(PAL16.n)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sum = total = LinearSum()
        bits = PAL16.magnitude_bits
        for code, operand in ((self.a, total.x), (self.b, total.y)):
            m.d.comb += operand.m.eq(Mux(code[:bits] == 0, ZERO, code[:bits]))
        m.d.comb += [
            total.x.negative.eq(self.a[-1]),
            total.y.negative.eq(self.b[-1] ^ self.subtract),
            total.nan.eq((self.a == PAL16.sign_bit) | (self.b == PAL16.sign_bit)),
            total.relu.eq(self.relu),
            self.o.eq(total.o),
        ]
        return m


class FusedMultiplyAdd16(wiring.Component):
    """``o = a * b + c`` of PAL16 codes, rounded once.

    The result is below the product of the tops of ``a`` and ``b``; the top of ``c`` lies
    ``offset`` / 1024 octave below that (above it, if negative).  Latency 3, throughput
    one a cycle.  Accuracy and corner cases as ``Adder16``.

    Members
    -------
    a, b, c : In(16); offset : In(signed(17)); o : Out(16)

    Example
    -------
    >>> from pal_units.formats import PAL16
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(FusedMultiplyAdd16(), a=31743, b=31743, c=30719)  # 1/2 times 1/2, and 1/4
    {'o': 31743}
    >>> PAL16.levels[31743]
    np.float64(0.5)
    """

    latency = LinearSum.latency

    a: In(PAL16.n)
    b: In(PAL16.n)
    c: In(PAL16.n)
    offset: In(signed(17))
    o: Out(PAL16.n)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sum = total = LinearSum()
        bits = PAL16.magnitude_bits
        a, b, c = (code[:bits] for code in (self.a, self.b, self.c))
        m.d.comb += [
            total.x.m.eq(Mux((a == 0) | (b == 0), ZERO, a + b - PAL16.m_max)),
            total.y.m.eq(Mux(c == 0, ZERO, c - self.offset)),
            total.x.negative.eq(self.a[-1] ^ self.b[-1]),
            total.y.negative.eq(self.c[-1]),
            total.nan.eq(
                (self.a == PAL16.sign_bit) | (self.b == PAL16.sign_bit) | (self.c == PAL16.sign_bit)
            ),
            self.o.eq(total.o),
        ]
        return m
