"""Streams: any word comes out once, in order, unchanged."""

from amaranth.hdl import Assert, Module, Signal
from amaranth.lib.wiring import In

from spu.rtl.fifo import StreamFifo
from verif.formal.property import Property


def fifo(depth: int, keeps_offer: bool = False) -> Property:
    """Any word comes out once, unchanged, after the words before it and before those after it.

    Or never, if ``flush`` drops it; with ``keeps_offer``, not while it is offered.

    A free input marks one word on its way in.  Its place in the FIFO is followed: each word
    taken brings it one nearer, and at place 0 it is what comes out.  Also: an offered word
    stays until it is taken, and readiness does not depend on the other side.
    """
    width = 3

    def body(m: Module, top: Property) -> None:
        m.submodules.fifo = unit = StreamFifo(width, depth, keeps_offer)
        m.d.comb += [
            unit.i.valid.eq(top.valid),
            unit.i.payload.eq(top.payload),
            unit.o.ready.eq(top.ready),
            unit.flush.eq(top.flush),
        ]
        put, take = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
        inside, seen = Signal(), Signal()
        place, value = Signal(range(depth + 1)), Signal(width)
        with m.If(inside & take):
            m.d.sync += place.eq(place - 1)
            with m.If(place == 0):
                m.d.sync += inside.eq(0)
        with m.Elif(put & top.mark & ~seen):
            m.d.sync += [
                inside.eq(1),
                seen.eq(1),
                value.eq(unit.i.payload),
                place.eq(unit.level - take),
            ]
        dropped = unit.flush & ~(inside & (place == 0) & unit.o.valid & keeps_offer)
        with m.If(dropped):
            m.d.sync += inside.eq(0)
        m.d.comb += unit.peek.eq(place)
        with m.If(inside):
            m.d.comb += [Assert(place < unit.level), Assert(unit.peeked == value)]
            with m.If(place == 0):
                m.d.comb += [Assert(unit.o.valid), Assert(unit.o.payload == value)]
        m.d.comb += [
            Assert(unit.level <= depth),
            Assert(~inside | seen),
            Assert(unit.i.ready == (unit.level < depth)),
        ]
        offered, before = Signal(), Signal(width)
        m.d.sync += [offered.eq(unit.o.valid & ~unit.o.ready), before.eq(unit.o.payload)]
        flushed = Signal()
        m.d.sync += flushed.eq(unit.flush)
        with m.If(offered & (~flushed | keeps_offer)):
            m.d.comb += [Assert(unit.o.valid), Assert(unit.o.payload == before)]
        with m.If(flushed):
            m.d.comb += Assert(unit.level == (offered & keeps_offer))

    return Property(
        body, {"valid": In(1), "payload": In(width), "ready": In(1), "mark": In(1), "flush": In(1)}
    )
