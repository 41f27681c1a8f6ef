"""Descriptors from the ring in memory."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.engine_map import MOST_RING_SIZE
from spu.arch.memory import SEQUENCE_BITS, Fault, MemoryEngine
from spu.rtl.memory import layouts
from spu.rtl.memory.axi4 import Axi4Read, beat_size
from spu.rtl.memory.read_manager import ReadManager


class DescriptorRing(wiring.Component):
    """Fetches the descriptors that were announced, in order, as far ahead as the manager has slots.

    Parameters
    ----------
    engine: all but its numbers of channels.

    Members
    -------
    base : In(address_bits) - a multiple of ``descriptor_bytes``; size : In(4) - log2 of the places
    limit : In(address_bits + 1) - the first address that is no memory
    end : In(SEQUENCE_BITS) - number of the descriptor after the last one announced
    next : Out(SEQUENCE_BITS) - of the one at ``o``, or to come there
    o : Out(stream of descriptor); bus : Out(Axi4Read)
    skip : In(1) - forget what was announced: ``next`` becomes ``end``
    flush : In(1) - forget what was fetched
    busy : Out(1) - a burst is not answered

    Contract
    --------
    Latency: 3 from ``end`` to AR; a descriptor of b beats is at ``o`` b + 1 cycles after its first
        beat came out of the manager.
    Throughput: a descriptor in b + 1 cycles, if it is taken at once.
    Holds: ``o`` keeps valid and payload until ready, or ``flush``.
    Reset: none announced, ``next`` 0.
    Corner cases: a ring that is not all memory gives one descriptor, with ``OUT_OF_RANGE``; a
        response that is not OKAY comes out with its descriptor.  With ``flush``, which must stay
        until ``busy`` falls, nothing is fetched; thereafter again from ``next`` on.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"end": 1, "base": 4096, "limit": 1 << 20, "bus.arready": 1}
    >>> observe(DescriptorRing(MemoryEngine()), [ask, {}, {}, {}], "bus.arvalid", "bus.araddr",
    ...         "bus.arlen")
    [(0, 0, 0), (0, 0, 0), (1, 4096, 3), (0, 4096, 3)]
    """

    latency = 2

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "base": In(engine.address_bits),
                "size": In(range(MOST_RING_SIZE + 1)),
                "limit": In(engine.address_bits + 1),
                "end": In(SEQUENCE_BITS),
                "next": Out(SEQUENCE_BITS),
                "o": Out(stream.Signature(layouts.descriptor(engine))),
                "bus": Out(Axi4Read(engine)),
                "skip": In(1),
                "flush": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine = self.engine
        m.submodules.manager = manager = ReadManager(engine)
        wiring.connect(m, manager.bus, wiring.flipped(self.bus))
        beats = engine.descriptor_bytes // engine.beat_bytes
        asked, place = Signal(SEQUENCE_BITS), Signal(SEQUENCE_BITS)
        outside = Signal()
        full, taken = Signal(), self.o.valid & self.o.ready
        in_order = (self.base >> beat_size(engine)) + place * beats
        m.d.comb += [
            place.eq(asked & ((1 << self.size) - 1)),
            outside.eq(self.base + (engine.descriptor_bytes << self.size) > self.limit),
            manager.i.valid.eq((asked != self.end) & ~outside),
            manager.i.payload.beat.eq(in_order),
            manager.i.payload.beats_less_1.eq(beats - 1),
            manager.i.payload.tag.eq(asked),
            manager.flush.eq(self.flush),
            self.busy.eq(manager.busy),
        ]
        with m.If(self.skip):
            m.d.sync += [asked.eq(self.end), self.next.eq(self.end)]
        with m.Elif(self.flush):
            m.d.sync += asked.eq(self.next)
        with m.Elif(manager.i.valid & manager.i.ready):
            m.d.sync += asked.eq(asked + 1)

        kept, found = self.o.payload, manager.o
        m.d.comb += [
            found.ready.eq(~full),
            self.o.valid.eq(full & ~self.flush),
            kept.number.eq(self.next),
        ]
        with m.If(found.valid & ~full):
            m.d.sync += [
                kept.bits.eq(Cat(kept.bits, found.payload.data)[engine.data_bits :]),
                full.eq(found.payload.last),
            ]
            with m.If(kept.fault == Fault.NONE):
                m.d.sync += kept.fault.eq(found.payload.fault)
        with m.Elif(outside & (self.next != self.end) & ~full & ~self.flush):
            m.d.sync += [full.eq(1), kept.fault.eq(Fault.OUT_OF_RANGE)]
        with m.If(taken):
            m.d.sync += [self.next.eq(self.next + 1), full.eq(0), kept.fault.eq(Fault.NONE)]
        with m.If(self.flush):
            m.d.sync += [full.eq(0), kept.fault.eq(Fault.NONE)]
        return m
