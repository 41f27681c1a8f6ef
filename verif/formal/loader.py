"""The loader: nothing is written or activated after an error, nor without a section's CRC."""

from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib.wiring import In

from spu.rtl.loader import Loader, State
from verif.formal.property import SMALL, Property


def loader() -> Property:
    """After an error nothing is written or activated, and the error stays, until ``clear``.

    Nothing reaches a shadow bank but while a section is applied, which begins at its right CRC;
    no file asks for a swap of banks but from CHECK, which follows the COMMIT section, without an
    error and when all sections are applied.  The host's request begins from an idle loader, and no
    word is taken with it.
    """

    def body(m: Module, top: Property) -> None:
        m.submodules.loader = unit = Loader(SMALL)
        m.d.comb += [
            unit.i.valid.eq(top.valid),
            unit.i.payload.eq(top.payload),
            unit.clear.eq(top.clear),
            unit.stall.eq(top.stall),
            unit.spoilt.eq(top.spoilt),
            unit.spoilt_memory.eq(top.spoilt_memory),
            unit.reset.eq(top.reset),
            unit.request.eq(Mux(unit.idle, top.request, 0)),  # else the host refuses it
            unit.swapping.eq(top.swapping & unit.commit),
        ]
        failed = unit.error != 0
        was_failed, was_commit, was_reset = Signal(), Signal.like(unit.commit), Signal()
        m.d.sync += was_reset.eq(top.reset.any())
        error, state, bank = Signal.like(unit.error), Signal(State), Signal.like(unit.active)
        m.d.sync += [
            was_failed.eq(failed & ~top.clear),
            error.eq(unit.error),
            bank.eq(unit.active),
            was_commit.eq(unit.commit),
            state.eq(unit.state),
        ]
        m.d.comb += Assert(failed == (unit.state == State.ERROR))
        with m.If(failed):
            m.d.comb += [Assert(~unit.config.write), Assert(unit.commit == 0)]
        with m.If(was_failed):
            m.d.comb += [
                Assert(unit.error == error),
                Assert(unit.commit == 0),
                Assert((unit.active == bank) | was_reset),
            ]
        with m.If(unit.request != 0):
            m.d.comb += Assert(~unit.i.ready)
        with m.If(unit.config.write):
            m.d.comb += Assert(unit.applying)
        was_applying = Signal()
        m.d.sync += was_applying.eq(unit.applying)
        with m.If(unit.applying & ~was_applying):
            m.d.comb += Assert(state == State.SECTION_CRC)
        with m.If((unit.commit != 0) | (unit.state == State.HEADER)):
            m.d.comb += Assert(~unit.applying)
        with m.If((unit.commit & ~was_commit) != 0):
            m.d.comb += Assert((state == State.CHECK) | (state == State.HEADER))
        with m.If(unit.state != State.COMMIT):
            m.d.comb += Assert(unit.commit == 0)
        with m.If((unit.active != bank) & ~was_reset):
            m.d.comb += Assert(was_commit != 0)
        # An offered word that is not taken stays: what a source promises.
        waiting, payload = Signal(), Signal(32)
        m.d.sync += [waiting.eq(unit.i.valid & ~unit.i.ready), payload.eq(unit.i.payload)]
        with m.If(waiting):
            m.d.comb += [Assume(unit.i.valid), Assume(unit.i.payload == payload)]

    regions = SMALL.region_count
    return Property(
        body,
        {
            "valid": In(1),
            "payload": In(32),
            "clear": In(1),
            "stall": In(1),
            "spoilt": In(regions),
            "spoilt_memory": In(1),
            "reset": In(regions),
            "request": In(regions),
            "swapping": In(regions),
        },
    )
