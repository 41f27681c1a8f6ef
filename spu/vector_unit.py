"""VectorUnit: PAL16 arithmetic on the 4 lanes of a word."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.adder16 import Adder16
from spu.arch import timing
from spu.arch.context import VECTOR_OPS, WORD, Op
from spu.arch.params import LANES16_PER_WORD


class VectorUnit(wiring.Component):
    """ADD, ADD_RELU and RELU on PAL16 lanes.

    Latency ``timing.VECTOR``, throughput one operation a cycle.  The result is valid if
    the operands that the operation reads are; its bias is 0.  Other operations give an
    invalid word.

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
        lanes = data.ArrayLayout(16, LANES16_PER_WORD)
        a, b = data.View(lanes, self.a.data), data.View(lanes, self.b.data)
        unary = self.op == Op.RELU
        valid = self.op.as_value().matches(*VECTOR_OPS) & self.a.valid & (unary | self.b.valid)
        for i in range(timing.VECTOR):
            following = Signal(name=f"valid_{i}")
            m.d.sync += following.eq(valid)
            valid = following
        total = Signal(lanes)
        for lane in range(LANES16_PER_WORD):
            m.submodules[f"adder_{lane}"] = adder = Adder16()
            m.d.comb += [
                adder.a.eq(a[lane]),
                adder.b.eq(Mux(unary, 0, b[lane])),
                adder.relu.eq(self.op.as_value().matches(Op.RELU, Op.ADD_RELU)),
                total[lane].eq(adder.o),
            ]
        assert timing.VECTOR == Adder16.latency
        with m.If(valid):
            m.d.comb += [self.o.data.eq(total), self.o.valid.eq(1)]
        return m
