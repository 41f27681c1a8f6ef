"""AXI4 writes: bursts of beats, and what memory answers."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import MemoryEngine
from spu.rtl.memory import layouts
from spu.rtl.memory.axi4 import INCR, Axi4Write, beat_size, response_fault
from spu.rtl.memory.cutter import BurstCutter


class WriteManager(wiring.Component):
    """AXI4 manager that writes, with up to ``outstanding`` bursts that wait for their responses.

    A burst takes the next of as many slots, and the ID ``slot mod ids``; responses of one ID come
    in order, so that each ID knows the slot of its next one.

    Parameters
    ----------
    engine: its widths, ``burst_beats``, ``outstanding`` and ``ids``.

    Members
    -------
    i : In(stream of beat_request); beats : In(stream of write_beat) - those of all requests in turn
    bus : Out(Axi4Write)
    fault : Out(tagged_fault) - in the cycle of a response that is not OKAY, with its burst's tag
    flush : In(1) - drop requests; bursts that were begun write nothing from here on
    busy : Out(1) - a request is not written and answered

    Contract
    --------
    Latency: 2 from ``i`` to AW, 3 to the first beat on W.
    Throughput: a beat a cycle within a burst, and 1 cycle between bursts.
    Holds: AW and W keep valid and payload until ready, whatever ``flush`` and ``beats`` do; a burst
        on W waits for ``beats``, which the one who asks should have by then, since nobody else can
        write meanwhile.  ``bus.bready`` is always 1.
    Reset: nothing under way.
    Corner cases: with ``flush``, which must stay until ``busy`` falls, no request and no beat is
        taken, and the rest of a burst on W has no strobes.  Bytes that two bursts of different IDs
        write keep either value, as AXI has it, unless ``busy`` fell between.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i.valid": 1, "i.payload": {"beat": 3, "tag": 7}, "bus.awready": 1,
    ...        "beats.valid": 1, "beats.payload": {"data": 42, "strobes": 1}, "bus.wready": 1}
    >>> answer = {"bus.bvalid": 1, "bus.bresp": 2}
    >>> shown = observe(
    ...     WriteManager(MemoryEngine()), [ask, {"i.valid": 0}, {}, {}, answer],
    ...     "bus.awvalid", "bus.awaddr", "bus.wvalid", "bus.wdata", "fault")
    >>> shown[2][:2], shown[3][2:4], shown[4][4]
    ((1, 96), (1, 42), {'fault': 1, 'tag': 7})
    """

    latency = 2

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "i": In(stream.Signature(layouts.beat_request(engine))),
                "beats": In(stream.Signature(layouts.write_beat(engine))),
                "bus": Out(Axi4Write(engine)),
                "fault": Out(layouts.TAGGED_FAULT),
                "flush": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine, bus = self.engine, self.bus
        m.submodules.cutter = cutter = BurstCutter(engine)
        wiring.connect(m, wiring.flipped(self.i), cutter.i)
        slots = engine.outstanding
        taken = [Signal(name=f"taken_{s}") for s in range(slots)]
        tags = [Signal.like(cutter.o.payload.tag, name=f"tag_{s}") for s in range(slots)]
        slot, writing = Signal(range(slots)), Signal()
        left = Signal(range(engine.burst_beats))  # beats of the burst on W, less 1

        burst = cutter.o.payload
        begins = cutter.o.valid & cutter.o.ready
        m.d.comb += [
            cutter.flush.eq(self.flush),
            cutter.o.ready.eq((~bus.awvalid | bus.awready) & ~writing & ~Array(taken)[slot]),
            bus.awsize.eq(beat_size(engine)),
            bus.awburst.eq(INCR),
        ]
        with m.If(bus.awready):
            m.d.sync += bus.awvalid.eq(0)
        with m.If(begins):
            m.d.sync += [
                bus.awvalid.eq(1),
                bus.awaddr.eq(burst.beat << beat_size(engine)),
                bus.awlen.eq(burst.beats_less_1),
                bus.awid.eq(slot[: (engine.ids - 1).bit_length()]),
                left.eq(burst.beats_less_1),
                writing.eq(1),
                Array(taken)[slot].eq(1),
                Array(tags)[slot].eq(burst.tag),
                slot.eq(slot + 1),
            ]

        free = ~bus.wvalid | bus.wready
        m.d.comb += self.beats.ready.eq(writing & free & ~self.flush)
        with m.If(bus.wready):
            m.d.sync += bus.wvalid.eq(0)
        with m.If(writing & free & (self.beats.valid | self.flush)):
            m.d.sync += [
                bus.wvalid.eq(1),
                bus.wdata.eq(self.beats.payload.data),
                bus.wstrb.eq(Mux(self.flush, 0, self.beats.payload.strobes)),
                bus.wlast.eq(left == 0),
                left.eq(left - 1),
                writing.eq(left != 0),
            ]

        # As in ``ReadManager``: the bit of the only slot of an ID is above those of a slot.
        shared = max(2, engine.outstanding // engine.ids)
        turns = [Signal(range(shared), name=f"turn_{n}") for n in range(engine.ids)]
        which, answered = bus.bid[: (engine.ids - 1).bit_length()], Signal(range(slots))
        m.d.comb += [
            bus.bready.eq(1),
            answered.eq(Cat(which, Array(turns)[which])),
            self.busy.eq(cutter.o.valid | writing | bus.wvalid | Cat(*taken).any()),
        ]
        with m.If(bus.bvalid):
            m.d.sync += [
                Array(taken)[answered].eq(0),
                Array(turns)[which].eq(Array(turns)[which] + 1),
            ]
            m.d.comb += [
                self.fault.fault.eq(response_fault(bus.bresp)),
                self.fault.tag.eq(Array(tags)[answered]),
            ]
        return m
