"""Trace of one link of one tile, for bring-up."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spu.arch.params import Architecture
from spu.arch.regmap import TRACE_WORDS
from spu.rtl.layouts import word_layout


class Trace(wiring.Component):
    """Keeps the words that a link carried in the first executed cycles since ``restart``.

    Parameters
    ----------
    arch: its word.

    Members
    -------
    word : In(WORD); step : In(1) - a cycle of the tile's region executes; restart : In(1)
    count : Out(range(65)) - words kept; index : In(range(64)); o : Out(WORD) - 0 where none is kept

    Contract
    --------
    Latency: 1 from ``index`` to ``o``; a word can be read in the cycle after the one that kept it.
    Throughput: a word kept, and one read, a cycle.
    Holds: cycles without ``step`` keep nothing.
    Reset: no words are kept.
    Corner cases: recording ends after ``TRACE_WORDS`` cycles, so that it never loses the beginning;
        words of before a ``restart`` are read as 0; the word of its own cycle is not kept.

    Example
    -------
    >>> from spu.rtl.observe import ONE, observe
    >>> word = {"word": {"data": 5, "valid": 1}, "step": 1}
    >>> observe(Trace(ONE), [word, {"step": 0}, {}, {"index": 1}, {}], "count", "o.data")
    [(0, 0), (1, 0), (1, 5), (1, 5), (1, 0)]
    """

    latency = 1

    def __init__(self, arch: Architecture) -> None:
        self.word_layout = word_layout(arch)
        super().__init__(
            {
                "word": In(self.word_layout),
                "step": In(1),
                "restart": In(1),
                "count": Out(range(TRACE_WORDS + 1)),
                "index": In(range(TRACE_WORDS)),
                "o": Out(self.word_layout),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.word_layout.size, depth=TRACE_WORDS, init=[]
        )
        write, read = memory.write_port(), memory.read_port()
        keep, kept = Signal(), Signal()
        m.d.comb += [
            keep.eq(self.step & (self.count != TRACE_WORDS)),
            write.addr.eq(self.count),
            write.data.eq(self.word),
            write.en.eq(keep),
            read.addr.eq(self.index),
            self.o.eq(Mux(kept, read.data, 0)),
        ]
        m.d.sync += kept.eq(self.index < self.count)
        with m.If(self.restart):
            m.d.sync += self.count.eq(0)
        with m.Elif(keep):
            m.d.sync += self.count.eq(self.count + 1)
        return m
