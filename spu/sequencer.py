"""Sequencer: slots, iterations and holds of a region."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.config import (
    SEQUENCER_II,
    SEQUENCER_SPAN,
    STREAM,
    SequencerRegister,
    Space,
    depth,
    words_per_row,
)
from spu.arch.params import STAGES, Architecture
from spu.config_store import BankedMemory, BankedRegisters
from spu.ports import ConfigWrite, RegionControl


class Sequencer(wiring.Component):
    """Runs a region for a number of iterations.

    ``start`` begins a run: one cycle clears the region and fetches slot 0, then each
    cycle executes slot ``t mod II`` unless a stream holds it.  A run of N iterations has
    ``(N - 1) * II + span`` executed cycles, ``span`` being the cycles of one iteration
    from its first slot to its last emitted word.  A run of 0 iterations is done at once.

    Holds: a slot that reads a stream waits for a word (only while an iteration is left
    to read for); a slot that emits a valid word waits for room.  A cycle held by both is
    counted as held on input.

    Members
    -------
    start : In(1); iterations : In(16); config : In(ConfigWrite); bank : In(1)
    input_ready, output_ready : In(cols) - stream FIFOs; output_valid : In(cols) - the
    south links carry a valid word
    input_read, output_emit : Out(cols) - move a word in this cycle
    input_hold, output_hold : Out(cols) - streams that hold this cycle
    running, done, active, held_input, held_output : Out(1); control : Out(RegionControl)
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        cols = arch.cols
        super().__init__({
            "start": In(1), "iterations": In(16), "config": In(ConfigWrite()), "bank": In(1),
            "input_ready": In(cols), "output_ready": In(cols), "output_valid": In(cols),
            "input_read": Out(cols), "output_emit": Out(cols),
            "input_hold": Out(cols), "output_hold": Out(cols),
            "running": Out(1), "done": Out(1),
            "active": Out(1), "held_input": Out(1), "held_output": Out(1),
            "control": Out(RegionControl(arch)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, control = self.arch, self.control
        m.submodules.registers = registers = BankedRegisters(SequencerRegister.COUNT)
        m.submodules.streams = streams = BankedMemory(
            depth(Space.STREAM, arch), words_per_row(Space.STREAM, arch), registered=True)
        for store, space in ((registers, Space.SEQUENCER), (streams, Space.STREAM)):
            m.d.comb += [
                store.enable.eq(self.config.valid & (self.config.space == space)),
                store.row.eq(self.config.row), store.data.eq(self.config.data),
                store.bank.eq(self.bank),
            ]
        timing = data.View(SEQUENCER_II,
                           registers.values[SequencerRegister.II][:SEQUENCER_II.size])
        span = data.View(SEQUENCER_SPAN,
                         registers.values[SequencerRegister.SPAN][:SEQUENCER_SPAN.size])
        stream = data.View(STREAM, streams.read_data)

        # Streams of this slot, and who holds.
        reads, emits = Signal(arch.cols), Signal(arch.cols)
        m.d.comb += [
            reads.eq(Mux(self.running & control.stage_valid[0], stream.read, 0)),
            emits.eq(Mux(self.running, stream.emit, 0) & self.output_valid),
            self.input_hold.eq(reads & ~self.input_ready),
            self.output_hold.eq(emits & ~self.output_ready),
            self.held_input.eq(self.input_hold.any()),
            self.held_output.eq(self.output_hold.any() & ~self.held_input),
            self.active.eq(self.running & ~self.held_input & ~self.held_output),
            self.input_read.eq(Mux(self.active, reads, 0)),
            self.output_emit.eq(Mux(self.active, emits, 0)),
        ]

        clearing = Signal()
        iteration = Signal(17)
        slot, following = Signal.like(control.slot), Signal.like(control.slot)
        wrap = slot == timing.slots_less_1
        m.d.comb += [
            following.eq(Mux(wrap, 0, slot + 1)),
            control.bank.eq(self.bank), control.slot.eq(slot),
            control.step.eq(self.active), control.clear.eq(clearing),
            control.fetch.eq(clearing | self.active),
            control.next_slot.eq(Mux(clearing, 0, following)),
            streams.read_enable.eq(control.fetch), streams.read_row.eq(control.next_slot),
        ]
        with m.If(clearing):
            m.d.sync += [clearing.eq(0), self.running.eq(1), slot.eq(0), iteration.eq(0),
                         control.stage_valid.eq(1)]
        with m.Elif(self.active):
            m.d.sync += slot.eq(following)
            with m.If(wrap):
                m.d.sync += [
                    iteration.eq(iteration + 1),
                    control.stage_valid.eq(Cat(iteration + 1 < self.iterations,
                                               control.stage_valid[:STAGES - 1])),
                ]
            with m.If((slot == span.slot) & (iteration == self.iterations - 1 + span.stage)):
                m.d.sync += [self.running.eq(0), self.done.eq(1)]
        with m.Elif(self.start & ~self.running):
            m.d.sync += [clearing.eq(self.iterations != 0), self.done.eq(self.iterations == 0)]
        return m
