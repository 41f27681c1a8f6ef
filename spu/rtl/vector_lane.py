"""A lane of the VectorUnit: operations of one cycle on PAL16."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import PAL16
from pal_units.rtl.elementwise import Comparator
from pal_units.rtl.log import OCTAVE
from pal_units.rtl.transcendental import BIAS_BITS, Exponential, Logarithm
from spu.arch.context import LOG_OPS, Op
from spu.rtl.layouts import VECTOR_MODE

_TOP, _NAN = PAL16.m_max, PAL16.sign_bit


class VectorLane(wiring.Component):
    """The one-cycle operations of ``context.Op`` on PAL16 codes but those across lanes.

    Products, quotients and roots are one sum of logarithms in half units, which roots need;
    rounding is to the nearest code.

    Members
    -------
    op : In(Op); mode : In(VECTOR_MODE); a, b, c : In(16); o : Out(16)
    minimum, maximum : Out(16) - of ``a`` and ``b``, whatever the operation
    saturates : Out(1) - the result of an operation that rounds lies above the top

    Contract
    --------
    Latency: 0, it is combinational.
    Throughput: an operation a cycle.
    Holds: it has no state.
    Reset: none.
    Corner cases: NaN gives NaN, and is neither less nor equal; division by zero, and the reciprocal
        and reciprocal root of zero, saturate; ``0 / 0`` and roots of negative numbers are NaN; no
        operation that rounds gives a negative zero; operations across lanes and of other units give
        0.

    Example
    -------
    >>> from pal_units.formats import PAL16
    >>> from pal_units.rtl.evaluate import evaluate
    >>> from pal_units.rtl.log import OCTAVE
    >>> from spu.arch.context import Op
    >>> half = PAL16.m_max - OCTAVE   # an octave below the top, which is 1
    >>> shown = evaluate(VectorLane(), op=Op.MUL, a=half, b=half)
    >>> shown["o"] == half - OCTAVE, shown["saturates"]
    (True, 0)
    """

    latency = 0

    op: In(Op)
    mode: In(VECTOR_MODE)
    a: In(PAL16.n)
    b: In(PAL16.n)
    c: In(PAL16.n)
    o: Out(PAL16.n)
    minimum: Out(PAL16.n)
    maximum: Out(PAL16.n)
    saturates: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.compare = compare = Comparator(PAL16)
        m.submodules.exp2 = exp2 = Exponential(PAL16)
        m.submodules.log2 = log2 = Logarithm(PAL16)
        m.d.comb += [
            compare.a.eq(self.a),
            compare.b.eq(self.b),
            self.minimum.eq(compare.minimum),
            self.maximum.eq(compare.maximum),
        ]
        for unit in (exp2, log2):
            m.d.comb += [
                unit.a.eq(self.a),
                unit.bias.eq(self.mode.bias),
                unit.result_bias.eq(self.mode.offset[:BIAS_BITS].as_signed()),
            ]
        magnitude, negative = self.a[:-1], self.a[-1]
        ones = (1 << PAL16.n) - 1
        with m.Switch(self.op):
            with m.Case(*LOG_OPS):
                code, saturates = self._logarithms(m)
                m.d.comb += [self.o.eq(code), self.saturates.eq(saturates)]
            for op, value in (
                (Op.EXP2, exp2.o),
                (Op.LOG2, log2.o),
                (Op.ABS, Mux(self.a == _NAN, _NAN, magnitude)),
                (Op.NEG, Mux(magnitude == 0, self.a, self.a ^ _NAN)),
                (Op.MIN, compare.minimum),
                (Op.MAX, compare.maximum),
                (Op.LT, Mux(compare.less, ones, 0)),
                (Op.EQ, Mux(compare.equal, ones, 0)),
                (Op.SELECT, Mux(self.c.any(), self.a, self.b)),
                (Op.RELU, Mux(negative & magnitude.any(), 0, self.a)),
            ):
                with m.Case(op):
                    m.d.comb += self.o.eq(value)
                    if op is Op.EXP2:
                        m.d.comb += self.saturates.eq(exp2.saturates)
                    elif op is Op.LOG2:  # of zero it is the negative top itself
                        m.d.comb += self.saturates.eq(log2.saturates | (self.a == 0))
        return m

    def _logarithms(self, m: Module) -> tuple[Signal, Value]:
        """MUL, DIV, SQRT, RSQRT, RECIP: the code, and whether it lies above the top."""
        op = self.op
        zero_a, zero_b, nan_a, nan_b = (
            Signal(name=n) for n in ("zero_a", "zero_b", "nan_a", "nan_b")
        )
        root, inverse_root = op == Op.SQRT, op == Op.RSQRT
        two = (op == Op.MUL) | (op == Op.DIV)
        down = Signal(signed(PAL16.n + 4))  # distance below the top, in half units
        lam_a, lam_b = ~self.a[:-1], ~self.b[:-1]
        offset = self.mode.offset * (2 * OCTAVE // 16)
        first, second = Signal(signed(PAL16.n + 2)), Signal(signed(PAL16.n + 2))
        m.d.comb += [
            zero_a.eq(self.a == 0),
            nan_a.eq(self.a == _NAN),
            zero_b.eq((self.b == 0) & two),
            nan_b.eq((self.b == _NAN) & two),
            first.eq(
                Mux(two, lam_a << 1, Mux(root, lam_a, Mux(inverse_root, -lam_a, -(lam_a << 1))))
            ),
            second.eq(Mux(op == Op.MUL, lam_b << 1, Mux(op == Op.DIV, -(lam_b << 1), 0))),
            down.eq(first + second - offset),
        ]
        over = Signal()  # division by zero saturates
        with m.If(op == Op.DIV):
            m.d.comb += over.eq(zero_b)
        with m.Elif((op == Op.RECIP) | inverse_root):
            m.d.comb += over.eq(zero_a)
        zero = (zero_a & ~over) | ((op == Op.MUL) & zero_b)
        invalid = (
            nan_a
            | nan_b
            | ((op == Op.DIV) & zero_a & zero_b)
            | ((root | inverse_root) & self.a[-1])
        )
        negative = (self.a[-1] & ~(root | inverse_root)) ^ (two & self.b[-1] & ~zero_b)
        code = Signal(PAL16.n, name="log_code")
        nearest, above = _nearest(m, down)
        m.d.comb += code.eq(
            Mux(
                invalid,
                _NAN,
                Mux(zero, 0, Mux(over, _TOP, nearest) | (negative << PAL16.magnitude_bits)),
            )
        )
        # No negative zero.
        clean = Signal(PAL16.n, name="log_result")
        m.d.comb += clean.eq(Mux((code == _NAN) & ~invalid, 0, code))
        return clean, ~invalid & ~zero & (over | above)


def _nearest(m: Module, down: Value) -> tuple[Signal, Value]:
    """Magnitude nearest to a distance in half units, and whether one above the top would be.

    Ties lie nearer to the lower one.
    """
    magnitude = Signal(PAL16.magnitude_bits, name="nearest")
    index = Signal(signed(len(down) + 1))
    m.d.comb += index.eq(2 * _TOP - down)
    above = index >= 2 * (_TOP + 1)
    with m.If(above):
        m.d.comb += magnitude.eq(_TOP)
    with m.Elif(index >= 2):
        m.d.comb += magnitude.eq(index >> 1)
    with m.Elif(index > 2 * (1 - OCTAVE)):
        m.d.comb += magnitude.eq(1)
    return magnitude, above
