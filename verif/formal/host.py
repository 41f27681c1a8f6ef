"""Host registers and readback window: every access is answered, each offer stays."""

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In

from spu.rtl.axi import AxiLite, AxiLiteSlave
from spu.rtl.window import Window
from verif.formal.property import SMALL, Property, unchanged

#: Cycles in which register accesses are answered at the latest, and a bound for counters of them.
REGISTER_CYCLES, BUS_CYCLES = 5, 8


def axi_lite() -> Property:
    """A request is answered after as many cycles as its register takes, and one.

    So the slave never deadlocks; answers stay until taken, and none comes without a request.
    A channel is ready if and only if none of its words waits.
    Assumed: registers answer within 5 cycles (proven of the window, the others take 1), and
    the host holds a request until it is taken.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.slave = unit = AxiLiteSlave(6)
        bus, registers = unit.bus, unit.registers
        for name, member in bus.signature.members.items():
            if member.flow == In:
                m.d.comb += getattr(bus, name).eq(getattr(top, name))
        m.d.comb += [
            registers.write_done.eq(top.write_done),
            registers.read_done.eq(top.read_done),
            registers.write_refused.eq(top.refused),
            registers.read_refused.eq(top.refused),
            registers.read_data.eq(top.data),
        ]
        for name in ("awaddr", "wstrb", "araddr", "awvalid", "wvalid", "arvalid"):
            channel = name[:2] if name.startswith("a") else "w"
            unchanged(
                m,
                getattr(bus, f"{channel}valid") & ~getattr(bus, f"{channel}ready"),
                getattr(bus, name),
                Assume,
            )
        for name in ("bvalid", "bresp"):
            unchanged(m, bus.bvalid & ~bus.bready, getattr(bus, name), Assert)
        for name in ("rvalid", "rresp", "rdata"):
            unchanged(m, bus.rvalid & ~bus.rready, getattr(bus, name), Assert)
        for request, done, channels, answered in (
            (registers.write, top.write_done, ("aw", "w"), bus.bvalid),
            (registers.read, top.read_done, ("ar",), bus.rvalid),
        ):
            was_answered, was_requested = Signal(), Signal()
            new = answered & ~was_answered
            requested = Value.cast(~answered)
            for channel in channels:
                valid, ready = (getattr(bus, f"{channel}{name}") for name in ("valid", "ready"))
                kept, waits_here = Signal(), Signal()
                m.d.comb += [waits_here.eq(kept & ~new), Assert(ready == ~waits_here)]
                m.d.sync += kept.eq(waits_here | (valid & ready))
                requested = requested & waits_here
            waited, waits = Signal(range(BUS_CYCLES)), Signal(range(BUS_CYCLES))
            m.d.sync += [
                waited.eq(0),
                waits.eq(0),
                was_answered.eq(answered),
                was_requested.eq(requested & (done | ~request)),
            ]
            with m.If(request & ~done):
                m.d.sync += waited.eq(waited + 1)
                m.d.comb += Assume(waited < REGISTER_CYCLES - 1)
            with m.If(requested & ~(done | ~request)):
                m.d.sync += waits.eq(waits + 1)
            m.d.comb += [
                Assert(waits == waited),
                Assert(waited < REGISTER_CYCLES),
                Assert(~request | requested),
                Assert(new == was_requested),
            ]

    ports = {name: member for name, member in AxiLite(6).members.items() if member.flow == In}
    return Property(
        body,
        {
            **{name: In(member.shape) for name, member in ports.items()},
            "write_done": In(1),
            "read_done": In(1),
            "refused": In(1),
            "data": In(32),
        },
    )


def window() -> Property:
    """An access to configuration words is answered in the fifth cycle at the latest.

    Reads, and writes of words and of the two registers, may come at any time, on both channels of
    the bus at once.  An access reaches a tile only if the word exists; a read only while its region
    is idle, and its place does not change under way; a write only while the loader is idle and no
    read is under way.  What is not refused was done.
    Assumed: an access is held until it is answered; the bus writes one thing at a time.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.window = unit = Window(SMALL)
        m.d.comb += [
            unit.set_select.eq(top.set_select),
            unit.set_position.eq(top.set_position),
            unit.value.eq(top.value),
            unit.read.eq(top.read),
            unit.write.eq(top.write),
            unit.running.eq(top.running),
            unit.busy.eq(top.busy),
        ]
        writes = Cat(top.write, top.set_select, top.set_position)
        m.d.comb += Assume(
            ~(
                (top.write & (top.set_select | top.set_position))
                | (top.set_select & top.set_position)
            )
        )
        unchanged(m, top.read & ~unit.read_done, top.read, Assume)
        unchanged(m, writes.any() & ~unit.write_done, Cat(writes, top.value), Assume)
        # The sequencers do not start while a read is under way.
        unchanged(m, unit.config.read, top.running, Assume)
        read_waited, write_waited = (Signal(range(REGISTER_CYCLES + 1)) for _ in range(2))
        place, now = Signal(64), Cat(unit.select, unit.position)
        wrote = Signal()
        reading = unit.reading.any()
        begins = unit.config.read & ~reading
        m.d.sync += [
            read_waited.eq(Mux(top.read & ~unit.read_done, read_waited + 1, 0)),
            write_waited.eq(Mux(writes.any() & ~unit.write_done, write_waited + 1, 0)),
            wrote.eq(unit.write_done),
        ]
        m.d.comb += [
            Assert(read_waited < REGISTER_CYCLES),
            Assert(write_waited < REGISTER_CYCLES),
            Assert(~(wrote & unit.write_done & top.read)),
        ]
        # What each may have waited by then, which makes the bounds inductive.
        m.d.comb += [
            Assert((unit.reading & (unit.reading - 1)) == 0),
            Assert(reading | (read_waited <= wrote)),
            Assert(~wrote | (write_waited == 0)),
        ]
        for cycle in range(3):
            with m.If(unit.reading[cycle]):
                m.d.comb += [Assert(read_waited <= cycle + 2), Assert(write_waited <= cycle + 1)]
        with m.If(begins):
            m.d.sync += place.eq(now)
            m.d.comb += Assert(~unit.running[0])
        with m.If(reading):
            m.d.comb += [
                Assert(place == now),
                Assert(~unit.config.write),
                Assert(~unit.write_done),
                Assert(top.read),
            ]
        m.d.comb += [
            Assert(~unit.config.write | (~unit.busy & unit.write_done & ~unit.write_refused)),
            Assert(~(unit.read_done & ~unit.read_refused) | reading),
            Assert(~(top.write & unit.write_done & ~unit.write_refused) | unit.config.write),
        ]

    return Property(
        body,
        {
            "set_select": In(1),
            "set_position": In(1),
            "value": In(32),
            "read": In(1),
            "write": In(1),
            "running": In(1),
            "busy": In(1),
        },
    )
