"""ALU: integer operations on the int32 lanes of a word, and predicates of words."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch import timing
from spu.arch.context import ALU_OPS, READS_B, READS_C, Op
from spu.arch.params import Architecture
from spu.rtl.layouts import word_layout

#: Operations that pass words with their bias.
_WHOLE = (Op.PASS, Op.WHEN, Op.UNLESS, Op.MERGE)


class Alu(wiring.Component):
    """PASS, integer operations, and the predicates WHEN, UNLESS and MERGE.

    The result is valid if ``enable`` is set and the operands that the operation reads are valid (of
    MERGE, one of them).  Whole words keep their bias, results of arithmetic have bias 0.

    Parameters
    ----------
    arch: its ``lanes32`` int32 lanes a word.

    Members
    -------
    op : In(Op); enable : In(1); a, b, c : In(WORD); o : Out(WORD)

    Contract
    --------
    Latency: ``timing.ALU`` = 1 from operands to ``o``.
    Throughput: an operation a cycle.
    Holds: none of its own; in a tile it stands still with its region.
    Reset: ``o`` is invalid.
    Corner cases: sums wrap; shifts take the count modulo 32, and ``INT_SHR`` is arithmetic; an
        operation of another unit gives an invalid word, which is all zeros.

    Example
    -------
    >>> from spu.arch.context import Op
    >>> from spu.rtl.observe import ONE, observe
    >>> five, six = {"data": 5, "valid": 1}, {"data": 6, "valid": 1}
    >>> add = {"op": Op.INT_ADD, "enable": 1, "a": five, "b": six}
    >>> observe(Alu(ONE), [add, {"b": {"valid": 0}}, {}], "o")[1:]  # then b is no word
    [{'data': 11, 'bias': 0, 'valid': 1}, {'data': 0, 'bias': 0, 'valid': 0}]
    """

    latency = timing.ALU

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        word = word_layout(arch)
        super().__init__(
            {
                "op": In(Op),
                "enable": In(1),
                "a": In(word),
                "b": In(word),
                "c": In(word),
                "o": Out(word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        assert self.latency == 1
        op = self.op
        lanes = data.ArrayLayout(signed(32), self.arch.lanes32)
        result = Signal(lanes)
        for lane in range(self.arch.lanes32):
            a, b, c = (data.View(lanes, w.data)[lane] for w in (self.a, self.b, self.c))
            count = b[:5]
            with m.Switch(self.op):
                for case, value in (
                    (Op.INT_ADD, a + b),
                    (Op.INT_SUB, a - b),
                    (Op.INT_AND, a & b),
                    (Op.INT_OR, a | b),
                    (Op.INT_XOR, a ^ b),
                    (Op.INT_SHL, a << count),
                    (Op.INT_SHR, a >> count),
                    (Op.INT_LT, Mux(a < b, -1, 0)),
                    (Op.INT_EQ, Mux(a == b, -1, 0)),
                    (Op.INT_SELECT, Mux(c.any(), a, b)),
                ):
                    with m.Case(case):
                        m.d.comb += result[lane].eq(value)
                with m.Default():  # whole words
                    m.d.comb += result[lane].eq(Mux(self._takes_b(), b, a))
        condition = self.b.data[:16].any()
        valid = Signal()
        m.d.comb += valid.eq(
            self.enable
            & op.matches(*ALU_OPS)
            & self.a.valid
            & (self.b.valid | ~op.matches(*READS_B))
            & (self.c.valid | ~op.matches(*READS_C))
            & ((op != Op.WHEN.value) | condition)
            & ((op != Op.UNLESS.value) | ~condition)
        )
        with m.If(op == Op.MERGE.value):
            m.d.comb += valid.eq(self.enable & (self.a.valid | self.b.valid))
        m.d.sync += self.o.eq(0)
        with m.If(valid):
            m.d.sync += [self.o.data.eq(result), self.o.valid.eq(1)]
            with m.If(op.matches(*_WHOLE)):
                m.d.sync += self.o.bias.eq(Mux(self._takes_b(), self.b.bias, self.a.bias))
        return m

    def _takes_b(self) -> object:
        """MERGE without a valid ``a``."""
        return (self.op == Op.MERGE) & ~self.a.valid
