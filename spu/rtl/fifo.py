"""FIFO of words between a region and what lies beyond its edge."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class StreamFifo(wiring.Component):
    """First in, first out; ``depth`` words of ``width`` bits.

    The FIFO is our own because the proofs of its contract (``verif.formal.array``) look inside, at
    ``level`` and ``peeked``.

    Parameters
    ----------
    width: bits of a word, at least 1.
    depth: words, a power of two of at least 2.
    keeps_offer: a flush leaves a word that is on offer and not taken, since AXI4-Stream does not
        allow to withdraw it.

    Raises
    ------
    ValueError: ``width`` or ``depth`` out of range.

    Members
    -------
    i : In(stream of width); o : Out(stream of width); flush : In(1)
    level : Out(range(depth + 1)) - words inside
    peek : In(range(depth)); peeked : Out(width) - the word ``peek`` places behind the first one

    Contract
    --------
    Latency: 1 from ``i`` to ``o``.
    Throughput: a word a cycle.
    Holds: ``o`` keeps valid and payload until ready; ``i.ready`` depends on the contents alone, so
        that no path leads from one side to the other.
    Reset: empty.
    Corner cases: a full FIFO takes no word in the cycle in which one leaves; ``flush`` drops all
        words, one that comes in this cycle included.

    Example
    -------
    >>> from spu.rtl.observe import observe
    >>> words = [{"i.valid": 1, "i.payload": 5}, {"i.payload": 6}, {"i.payload": 7}, {"o.ready": 1}]
    >>> observe(StreamFifo(8, 2), words, "o.valid", "o.payload", "i.ready")
    [(0, 0, 1), (1, 5, 1), (1, 5, 0), (1, 5, 0)]
    """

    latency = 1

    def __init__(self, width: int, depth: int, keeps_offer: bool = False) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 2, not {depth}")
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.width, self.depth, self.keeps_offer = width, depth, keeps_offer
        super().__init__(
            {
                "i": In(stream.Signature(width)),
                "o": Out(stream.Signature(width)),
                "flush": In(1),
                "level": Out(range(depth + 1)),
                "peek": In(range(depth)),
                "peeked": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.width, depth=self.depth, init=[])
        write, first = memory.write_port(), memory.read_port(domain="comb")
        behind = memory.read_port(domain="comb")
        begin = Signal(range(self.depth))
        put, take = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(self.level != self.depth),
            self.o.valid.eq(self.level != 0),
            write.addr.eq(begin + self.level),
            write.data.eq(self.i.payload),
            write.en.eq(put),
            first.addr.eq(begin),
            self.o.payload.eq(first.data),
            behind.addr.eq(begin + self.peek),
            self.peeked.eq(behind.data),
        ]
        m.d.sync += [self.level.eq(self.level + put - take), begin.eq(Mux(take, begin + 1, begin))]
        with m.If(self.flush):
            m.d.sync += self.level.eq(self.o.valid & ~self.o.ready if self.keeps_offer else 0)
        return m
