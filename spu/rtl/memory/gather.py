"""Indices of a gather, made into distances from the pattern's base."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import INDEX_BITS, PITCH_BITS, MemoryEngine


class IndexScaler(wiring.Component):
    """``index * pitch`` modulo ``2^address_bits``, and whether ``index`` is below ``count``.

    One adder, a bit of the index a cycle: a row of a gather takes longer to read than this, and the
    next index is scaled meanwhile.

    Parameters
    ----------
    engine: its ``address_bits``.

    Members
    -------
    i : In(stream of INDEX_BITS) - indices
    o : Out(stream of offset, bad) - an index outside ``range(count)`` is bad, its offset unknown
    take : In(1) - an index may be taken from ``i``
    pitch : In(PITCH_BITS); count : In(INDEX_BITS) - constant while an index is on its way
    flush : In(1) - forget the index that is on its way

    Contract
    --------
    Latency: 1, and 1 for each bit of the index up to its highest one.
    Throughput: one index at a time; the next one is taken after the first one left.
    Holds: ``o`` keeps valid and payload until ready, or ``flush``.
    Reset: no index.
    Corner cases: index 0 takes 1 cycle; no index is taken in a cycle with ``flush``; ``count`` 0
        makes all bad.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i.valid": 1, "i.payload": 5, "take": 1, "pitch": 768, "count": 9}
    >>> observe(IndexScaler(MemoryEngine()), [ask, *[{}] * 4], "o.valid", "o.payload.offset")
    [(0, 0), (0, 0), (0, 768), (0, 768), (1, 3840)]
    """

    latency = 1

    def __init__(self, engine: MemoryEngine) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(INDEX_BITS)),
                "o": Out(
                    stream.Signature(data.StructLayout({"offset": engine.address_bits, "bad": 1}))
                ),
                "take": In(1),
                "pitch": In(PITCH_BITS),
                "count": In(INDEX_BITS),
                "flush": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        full, bits = Signal(), Signal(INDEX_BITS)
        offset = self.o.payload.offset
        addend = Signal.like(offset)
        m.d.comb += [
            self.i.ready.eq(self.take & ~full & ~self.flush),
            self.o.valid.eq(full & (bits == 0)),
        ]
        with m.If(bits[0]):
            m.d.sync += offset.eq(offset + addend)
        m.d.sync += [bits.eq(bits >> 1), addend.eq(addend << 1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                full.eq(1),
                bits.eq(self.i.payload),
                addend.eq(self.pitch),
                offset.eq(0),
                self.o.payload.bad.eq(self.i.payload >= self.count),
            ]
        with m.Elif(self.flush | (self.o.valid & self.o.ready)):
            m.d.sync += full.eq(0)
        return m
