"""AXI4 reads: beats in the order in which they were asked for."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spu.arch.memory import MemoryEngine
from spu.rtl.axi import SLVERR
from spu.rtl.memory import layouts
from spu.rtl.memory.axi4 import INCR, Axi4Read, beat_size, response_fault
from spu.rtl.memory.cutter import BurstCutter


class ReadManager(wiring.Component):
    """AXI4 manager that reads, with a place for every beat before it asks for it.

    There are ``outstanding`` slots of ``burst_beats`` beats.  A burst takes the next slot, and the
    ID ``slot mod ids``; bursts of one ID are answered in order, so that each ID knows the slot of
    its next beat; what stands in the slots leaves in their order::

        i -> BurstCutter -> AR        R -> slots -> o

    Parameters
    ----------
    engine: its widths, ``burst_beats``, ``outstanding`` and ``ids``.

    Members
    -------
    i : In(stream of beat_request); o : Out(stream of read_beat); bus : Out(Axi4Read)
    flush : In(1) - drop requests, and beats under way when they come
    busy : Out(1) - a request is not answered and delivered

    Contract
    --------
    Latency: 2 from ``i`` to AR, 2 from R to ``o``.
    Throughput: a beat a cycle, if ``outstanding`` bursts cover the latency of memory; a burst a
        cycle.
    Holds: ``o`` and AR keep valid and payload until ready, ``o`` also or ``flush``.  ``bus.rready``
        is always 1: no stream that stands still stops the bus for others.
    Reset: nothing under way.
    Corner cases: a response that is not OKAY comes out with its beat as ``SLVERR`` or ``DECERR``,
        the beats behind it as they are; a burst ends with as many beats as were asked for, and one
        whose ``rlast`` is wrong comes out as ``SLVERR``; with ``flush``, which must stay until
        ``busy`` falls, no request is taken and no beat comes out, but every burst is taken to its
        end.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i.valid": 1, "i.payload": {"beat": 3, "tag": 7}, "bus.arready": 1, "o.ready": 1}
    >>> answer = {"bus.rvalid": 1, "bus.rlast": 1, "bus.rdata": 42}
    >>> shown = observe(
    ...     ReadManager(MemoryEngine()), [ask, {"i.valid": 0}, {}, answer, {"bus.rvalid": 0}, {}],
    ...     "bus.arvalid", "bus.araddr", "o.valid", "o.payload.data", "o.payload.tag")
    >>> shown[2], shown[5]
    ((1, 96, 0, 0, 0), (0, 96, 1, 42, 7))
    """

    latency = 2

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "i": In(stream.Signature(layouts.beat_request(engine))),
                "o": Out(stream.Signature(layouts.read_beat(engine))),
                "bus": Out(Axi4Read(engine)),
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
        bursts = [Signal(layouts.burst(engine), name=f"burst_{s}") for s in range(slots)]
        next_slot, first_slot = Signal(range(slots)), Signal(range(slots))

        # A burst takes a slot when it enters the registers of AR.
        asks = cutter.o.valid & cutter.o.ready
        m.d.comb += [
            cutter.flush.eq(self.flush),
            cutter.o.ready.eq((~bus.arvalid | bus.arready) & ~Array(taken)[next_slot]),
            bus.arsize.eq(beat_size(engine)),
            bus.arburst.eq(INCR),
        ]
        with m.If(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(asks):
            m.d.sync += [
                bus.arvalid.eq(1),
                bus.araddr.eq(cutter.o.payload.beat << beat_size(engine)),
                bus.arlen.eq(cutter.o.payload.beats_less_1),
                bus.arid.eq(next_slot[: (engine.ids - 1).bit_length()]),
                Array(bursts)[next_slot].eq(cutter.o.payload),
                Array(taken)[next_slot].eq(1),
                next_slot.eq(next_slot + 1),
            ]

        arrived = [Signal(range(engine.burst_beats + 1), name=f"arrived_{s}") for s in range(slots)]
        memory = self._arrive(m, arrived, bursts)
        first = Array(bursts)[first_slot]
        left = Signal(range(engine.burst_beats))  # beats that left the first slot
        valid, leaves, ends = Signal(), Signal(), Signal()
        read = memory.read_port()
        m.d.comb += [
            leaves.eq((left != Array(arrived)[first_slot]) & (~valid | self.o.ready | self.flush)),
            ends.eq(leaves & (left == first.beats_less_1)),
            read.addr.eq(Cat(left, first_slot)),
            read.en.eq(leaves),
            self.o.valid.eq(valid & ~self.flush),
            self.o.payload.data.eq(read.data.data),
            self.o.payload.fault.eq(response_fault(read.data.response)),
            self.busy.eq(cutter.o.valid | Cat(*taken).any() | valid),
        ]
        with m.If(leaves):
            m.d.sync += [
                left.eq(left + 1),
                valid.eq(1),
                self.o.payload.tag.eq(first.tag),
                self.o.payload.last.eq(first.last & ends),
            ]
        with m.Elif(self.o.ready | self.flush):
            m.d.sync += valid.eq(0)
        with m.If(ends):
            m.d.sync += [
                left.eq(0),
                first_slot.eq(first_slot + 1),
                Array(taken)[first_slot].eq(0),
                Array(arrived)[first_slot].eq(0),
            ]
        return m

    def _arrive(self, m: Module, arrived: list[Signal], bursts: list[Signal]) -> Memory:
        """Beats from R into the slots of ``bursts``, whose beats ``arrived`` counts."""
        engine, bus = self.engine, self.bus
        m.submodules.memory = memory = Memory(
            shape=data.StructLayout({"data": engine.data_bits, "response": 2}),
            depth=engine.outstanding * engine.burst_beats,
            init=[],
        )
        write, slot = memory.write_port(), Signal(range(engine.outstanding))
        # Of the slots of an ID, which one its next beat is for.  Where it has only one the bit,
        # without which no tool takes a signal, is above those of a slot.
        shared = max(2, engine.outstanding // engine.ids)
        turns = [Signal(range(shared), name=f"turn_{n}") for n in range(engine.ids)]
        which = bus.rid[: (engine.ids - 1).bit_length()]
        last = Signal()
        m.d.comb += [
            bus.rready.eq(1),
            slot.eq(Cat(which, Array(turns)[which])),
            write.addr.eq(Cat(Array(arrived)[slot][:-1], slot)),
            write.data.data.eq(bus.rdata),
            last.eq(Array(arrived)[slot] == Array(bursts)[slot].beats_less_1),
            write.data.response.eq(Mux(bus.rlast == last, bus.rresp, SLVERR)),
            write.en.eq(bus.rvalid),
        ]
        with m.If(bus.rvalid):
            m.d.sync += Array(arrived)[slot].eq(Array(arrived)[slot] + 1)
            with m.If(last):
                m.d.sync += Array(turns)[which].eq(Array(turns)[which] + 1)
        return memory
