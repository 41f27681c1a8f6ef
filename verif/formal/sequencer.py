"""The sequencer: held, it changes nothing and moves no word."""

from amaranth.hdl import Assert, Assume, Module, Signal
from amaranth.lib.wiring import In

from spu.rtl.sequencer import Sequencer
from verif.formal.property import SMALL, Property, unchanged


def sequencer() -> Property:
    """A held cycle changes nothing of a run but by abort, reset or watchdog, and moves no word.

    No cycle executes without a run, or when a stream that it needs is not ready.  After abort or
    reset no run is on or asked for; no program without end begins; streams hold a region no longer
    than the watchdog allows.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.sequencer = unit = Sequencer(SMALL, 0)
        for name in (
            "start",
            "commit",
            "iterations",
            "halt",
            "pulse",
            "blocked",
            "input_ready",
            "output_ready",
            "output_valid",
            "abort",
            "reset",
            "watchdog",
        ):
            m.d.comb += getattr(unit, name).eq(getattr(top, name))
        m.d.comb += [
            unit.config.write.eq(top.config_write),
            unit.config.space.eq(top.space),
            unit.config.row.eq(top.row),
            unit.config.data.eq(top.data),
        ]
        held = unit.running & ~unit.active
        ended, limit = Signal(), Signal(32)
        m.d.sync += [ended.eq(unit.abort | unit.reset), limit.eq(unit.watchdog)]
        m.d.comb += Assume(unit.waited < 1 << 31)  # cycles without a watchdog
        with m.If(ended):
            m.d.comb += [Assert(~unit.running), Assert(~unit.starting)]
        with m.If(limit != 0):
            m.d.comb += Assert(~unit.running | (unit.waited < limit))
        with m.If(unit.control.clear):
            m.d.comb += Assert(~unit.illegal)
        was_held = Signal()
        m.d.sync += was_held.eq(held)
        with m.If(was_held & ~unit.running):
            m.d.comb += Assert(unit.aborted | ended)
        for value in (
            unit.control.slot,
            unit.control.flags.as_value(),
            unit.control.bank,
            unit.control.data_bank,
        ):
            unchanged(m, held, value, Assert)
        with m.If(~unit.active):
            m.d.comb += [
                Assert(unit.input_read == 0),
                Assert(unit.output_emit == 0),
                Assert(~unit.control.step),
            ]
        m.d.comb += [
            Assert(~unit.active | unit.running),
            Assert((unit.input_read & ~unit.input_ready) == 0),
            Assert((unit.output_emit & ~unit.output_ready) == 0),
            Assert(
                unit.running == (unit.active + unit.held_host + unit.held_input + unit.held_output)
            ),
        ]

    inputs, outputs = len(SMALL.inputs(0)), len(SMALL.outputs(0))
    ports = {
        **{
            name: In(1)
            for name in ("start", "commit", "halt", "pulse", "blocked", "abort", "reset")
        },
        "watchdog": In(32),
        "iterations": In(16),
        "input_ready": In(inputs),
        "output_ready": In(outputs),
        "output_valid": In(outputs),
    }
    return Property(
        body, {**ports, "config_write": In(1), "space": In(8), "row": In(12), "data": In(32)}
    )
