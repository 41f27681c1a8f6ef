"""ALU: integer operations on the 2 int32 lanes of a word."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch import timing
from spu.arch.context import ALU_OPS, WORD, Op


class Alu(wiring.Component):
    """PASS and integer operations.

    Latency ``timing.ALU`` = 1, throughput one operation a cycle.  The result is valid if
    the operands that the operation reads are.  PASS keeps the bias, the others give 0.
    Sums wrap; shifts take the count modulo 32; ``INT_SHR`` is arithmetic.

    Members
    -------
    op : In(Op); a, b : In(WORD); o : Out(WORD)
    """

    op: In(Op)
    a: In(WORD)
    b: In(WORD)
    o: Out(WORD)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        assert timing.ALU == 1
        lanes = data.ArrayLayout(signed(32), 2)
        result = Signal(lanes)
        for lane in range(2):
            a, b = (data.View(lanes, w.data)[lane] for w in (self.a, self.b))
            count = b[:5]
            with m.Switch(self.op):
                for op, value in ((Op.PASS, a), (Op.INT_ADD, a + b), (Op.INT_SUB, a - b),
                                  (Op.INT_AND, a & b), (Op.INT_OR, a | b), (Op.INT_XOR, a ^ b),
                                  (Op.INT_SHL, a << count), (Op.INT_SHR, a >> count),
                                  (Op.INT_LT, a < b), (Op.INT_EQ, a == b)):
                    with m.Case(op):
                        m.d.comb += result[lane].eq(value)
        valid = Signal()
        m.d.comb += valid.eq(self.op.as_value().matches(*ALU_OPS) & self.a.valid
                             & ((self.op == Op.PASS) | self.b.valid))
        m.d.sync += self.o.eq(0)
        with m.If(valid):
            m.d.sync += [self.o.data.eq(result), self.o.valid.eq(1)]
            with m.If(self.op == Op.PASS):
                m.d.sync += self.o.bias.eq(self.a.bias)
        return m
