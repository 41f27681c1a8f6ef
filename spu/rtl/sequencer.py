"""Sequencer: slots, loops, predicates and holds of a region."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.config import Compare, SequencerRegister, Space, depth
from spu.arch.params import EXISTS, LOOPS, PROGRAMMABLE, STAGES, Architecture
from spu.arch.regmap import ITERATION_BITS
from spu.rtl.config_store import BankedMemory, BankedRegisters
from spu.rtl.layouts import GUARD, LOOP, PREDICATE, SEQUENCER_II, SEQUENCER_SPAN, STREAM, row_layout
from spu.rtl.ports import STAGE_FLAGS, ConfigBus, RegionControl, guard_holds

#: Bits of a loop counter.
COUNTER_BITS = LOOP["count_less_1"].width


class Sequencer(wiring.Component):
    """Runs a region for a number of iterations, and swaps its banks between runs.

    Iterations are those of four nested loops, the outermost one of ``iterations`` rounds.
    Each cycle executes slot ``t mod II``; a run of N iterations has ``(N - 1) * II + span``
    executed cycles, ``span`` being the cycles of one iteration from its first slot to its
    last emitted word.

    ``start`` and ``commit`` are kept until they can happen: when the region is idle or
    executes the last cycle of a run.  Then the banks swap, and the next run executes its
    first cycle in the very next cycle.  An idle region that is ``blocked`` waits.

    Parameters
    ----------
    arch: its contexts, and the streams of the region.
    region: number of the region.

    Raises
    ------
    ValueError: there is no such region.

    Members
    -------
    start, commit, commit_data, halt, pulse, blocked : In(1); iterations : In(ITERATION_BITS)
    abort, reset : In(1); watchdog : In(32)
    config : In(ConfigBus); config_data : Out(32)
    input_ready, output_ready : In - stream FIFOs; output_valid : In - valid words leave
    input_read, output_emit : Out - move a word in this cycle
    input_hold, output_hold : Out - streams that hold this cycle
    running, done, starting, swapping : Out(1) - ``starting``: a run was asked for
    aborted, timed_out, no_end : Out(1) - how the last run ended, or why it did not begin
    illegal : Out(1) - the program that a run would begin with has no end
    active, held_host, held_input, held_output : Out(1); control : Out(RegionControl)

    Contract
    --------
    Latency: 2 from ``start`` of an idle region to its first executed cycle.
    Throughput: a slot a cycle, and runs follow each other without an idle one.
    Holds: a slot that reads a stream, in an iteration in which the stream's guard holds, waits for
        a word; a slot that emits a valid word waits for room; ``halt`` holds any cycle but those of
        ``pulse``.  A cycle is counted as held by the first of host, input, output that holds it.  A
        region that streams hold for ``watchdog`` cycles in a row aborts; 0 lets it wait for ever.
    Reset: idle, no flags, bank 0 in use.
    Corner cases: a run of 0 rounds is done at once; a program whose II exceeds the contexts, or
        whose span ends in a slot that is not below the II, would run for ever: its runs do not
        begin, and ``no_end`` tells; ``abort`` ends a run after this cycle, and forgets one that was
        asked for; ``reset`` does so, too, and forgets what the flags tell.

    Example
    -------
    >>> from spu.arch.config import SequencerRegister, Space
    >>> from spu.rtl.observe import ONE, observe
    >>> def row(number, value):
    ...     return {"config.write": 1, "config.space": Space.SEQUENCER, "config.row": number,
    ...             "config.data": value}
    >>> program = [row(SequencerRegister.II, 1), row(SequencerRegister.SPAN, 1)]   # II 2, span 2
    >>> run = [{"config.write": 0, "commit": 1}, {"commit": 0, "start": 1, "iterations": 2},
    ...        {"start": 0}, *[{}] * 5]
    >>> observe(Sequencer(ONE, 0), program + run, "active", "control.slot")[4:]
    [(0, 0), (1, 0), (1, 1), (1, 0), (1, 1), (0, 0)]
    """

    latency = 2

    def __init__(self, arch: Architecture, region: int) -> None:
        if not 0 <= region < arch.region_count:
            raise ValueError(f"region must be 0 to {arch.region_count - 1}, not {region}")
        self.arch = arch
        self.inputs, self.outputs = len(arch.inputs(region)), len(arch.outputs(region))
        super().__init__(
            {
                "start": In(1),
                "commit": In(1),
                "commit_data": In(1),
                "iterations": In(ITERATION_BITS),
                "halt": In(1),
                "pulse": In(1),
                "blocked": In(1),
                "abort": In(1),
                "reset": In(1),
                "watchdog": In(32),
                "aborted": Out(1),
                "timed_out": Out(1),
                "no_end": Out(1),
                "illegal": Out(1),
                "config": In(ConfigBus()),
                "config_data": Out(32),
                "input_ready": In(self.inputs),
                "output_ready": In(self.outputs),
                "output_valid": In(self.outputs),
                "input_read": Out(self.inputs),
                "output_emit": Out(self.outputs),
                "input_hold": Out(self.inputs),
                "output_hold": Out(self.outputs),
                "running": Out(1),
                "done": Out(1),
                "starting": Out(1),
                "swapping": Out(1),
                "active": Out(1),
                "held_host": Out(1),
                "held_input": Out(1),
                "held_output": Out(1),
                "control": Out(RegionControl(arch)),
            }
        )
        self.waited = Signal(32)  # cycles in a row that streams hold

    def elaborate(self, platform: object) -> Module:
        m = Module()
        control = self.control
        m.submodules.registers = registers = self._registers(0, SequencerRegister.LOOP)
        m.submodules.loops = loops = self._registers(
            SequencerRegister.LOOP, SequencerRegister.INPUT
        )
        m.submodules.guards = guards = self._registers(
            SequencerRegister.INPUT, SequencerRegister.INPUT + self.inputs
        )
        m.submodules.streams = streams = BankedMemory(
            Space.STREAM, depth(Space.STREAM, self.arch), STREAM.size, registered=True
        )
        answer = Signal(32)
        for store in (registers, loops, guards, streams):
            m.d.comb += store.bank.eq(control.bank)
            wiring.connect(m, wiring.flipped(self.config), store.config)
        # Loops and predicates belong to the iteration that begins next, so to its bank.
        m.d.comb += loops.bank.eq(control.next_bank)
        ii, span = self._timing(registers.values)
        ends = [
            (t.slots_less_1 < self.arch.contexts) & (s.slot <= t.slots_less_1)
            for t, s in ((ii, span), self._timing(registers.others))
        ]
        stream = data.View(STREAM, streams.read_data)
        asked, from_stream = Signal(), Signal()
        m.d.sync += [asked.eq(self.config.read), from_stream.eq(self.config.space == Space.STREAM)]
        m.d.comb += answer.eq(
            Mux(
                from_stream,
                streams.config_data,
                registers.read_data | loops.read_data | guards.read_data,
            )
        )
        m.d.sync += self.config_data.eq(Mux(asked, answer, 0))

        self._holds(m, stream, guards)
        begin, finish, idle = Signal(), Signal(), Signal()
        # Rounds of the run that was asked for, and of the one that goes on.
        rounds, current = Signal.like(self.iterations), Signal.like(self.iterations)
        slot, following = Signal.like(control.slot), Signal.like(control.slot)
        last_in = Signal(STAGES)  # the iteration in this stage is the last one
        asked_for, legal = Signal(), Signal()
        wrap = Signal()
        m.d.comb += [
            wrap.eq(slot == ii.slots_less_1),
            following.eq(Mux(wrap, 0, slot + 1)),
            finish.eq(self.active & (slot == span.slot) & last_in.bit_select(span.stage, 1)),
            idle.eq(~self.running & ~self.blocked),
            self.swapping.eq(self.commit & (idle | finish)),
            self.illegal.eq(~Mux(self.commit, ends[1], ends[0])),
            legal.eq(Mux(self.swapping, ends[1], ends[0])),
            asked_for.eq(self.starting & (idle | finish) & (rounds != 0)),
            begin.eq(asked_for & legal),
            control.slot.eq(slot),
            control.step.eq(self.active),
            control.clear.eq(begin),
            control.fetch.eq(begin | self.active),
            control.next_slot.eq(Mux(begin, 0, following)),
            control.next_bank.eq(control.bank ^ self.swapping),
            streams.read_enable.eq(control.fetch),
            streams.read_row.eq(control.next_slot),
            streams.read_bank.eq(control.next_bank),
        ]
        with m.If(self.swapping):
            m.d.sync += [
                control.bank.eq(~control.bank),
                control.data_bank.eq(control.data_bank ^ self.commit_data),
            ]
        flags, last, more = self._iteration(
            m, loops, Mux(begin, rounds, current), begin, (self.active & wrap) | begin
        )
        with m.If(begin):
            m.d.sync += [
                self.running.eq(1),
                self.done.eq(0),
                slot.eq(0),
                current.eq(rounds),
                control.flags.eq(flags),
                last_in.eq(last),
                self.aborted.eq(0),
                self.timed_out.eq(0),
                self.no_end.eq(0),
            ]
        with m.Elif(self.active):
            m.d.sync += slot.eq(following)
            with m.If(wrap):
                m.d.sync += [
                    control.flags.eq(
                        Cat(Mux(more, flags, 0), control.flags.as_value()[: -len(flags)])
                    ),
                    last_in.eq(Cat(last & more, last_in[:-1])),
                ]
            with m.If(finish):
                m.d.sync += [self.running.eq(0), self.done.eq(1)]
        with m.Elif(self.starting & idle):
            m.d.sync += self.done.eq(1)  # no iterations
        with m.If(asked_for & ~legal):
            m.d.sync += [
                self.done.eq(0),
                self.aborted.eq(0),
                self.timed_out.eq(0),
                self.no_end.eq(1),
            ]
        with m.If(self.start):
            m.d.sync += [
                self.starting.eq(1),
                rounds.eq(self.iterations),
                self.aborted.eq(0),
                self.timed_out.eq(0),
                self.no_end.eq(0),
            ]
        with m.Elif(self.starting & (idle | finish)):
            m.d.sync += self.starting.eq(0)
        self._ends_early(m, begin, finish)
        return m

    @staticmethod
    def _timing(values: data.View) -> tuple[data.View, data.View]:
        """II and span of a bank."""
        return (
            data.View(SEQUENCER_II, values[SequencerRegister.II][: SEQUENCER_II.size]),
            data.View(SEQUENCER_SPAN, values[SequencerRegister.SPAN][: SEQUENCER_SPAN.size]),
        )

    def _ends_early(self, m: Module, begin: Value, finish: Value) -> None:
        """Watchdog, abort and reset."""
        waited, expired = self.waited, Signal()
        held = self.held_input | self.held_output
        m.d.comb += expired.eq(held & (self.watchdog != 0) & (waited + 1 >= self.watchdog))
        m.d.sync += waited.eq(Mux(held, waited + 1, 0))
        with m.If(self.abort | self.reset | expired):
            m.d.sync += [
                self.running.eq(0),
                self.starting.eq(0),
                self.timed_out.eq(expired & ~self.abort),
            ]
            with m.If(begin | self.starting | (self.running & ~finish)):
                m.d.sync += [self.aborted.eq(1), self.done.eq(0), self.no_end.eq(0)]
        with m.If(self.reset):
            m.d.sync += [
                flag.eq(0) for flag in (self.done, self.aborted, self.timed_out, self.no_end)
            ]

    def _registers(self, first: int, end: int) -> BankedRegisters:
        """Sequencer registers ``first`` to ``end - 1``."""
        widths = [row_layout(Space.SEQUENCER, row, self.arch).size for row in range(first, end)]
        return BankedRegisters(Space.SEQUENCER, widths, first)

    def _holds(self, m: Module, stream: data.View, guards: BankedRegisters) -> None:
        """Streams of this slot, and who holds."""
        control = self.control
        reads, emits = Signal(self.inputs), Signal(self.outputs)
        for i in range(self.inputs):
            guard = data.View(GUARD, guards.values[i][: GUARD.size])
            m.d.comb += reads[i].eq(
                self.running
                & stream.read[i]
                & guard_holds(m, guard, control.slot, control.flags, f"input_{i}")
            )
        m.d.comb += [
            emits.eq(Mux(self.running, stream.emit, 0) & self.output_valid),
            self.input_hold.eq(reads & ~self.input_ready),
            self.output_hold.eq(emits & ~self.output_ready),
            self.held_host.eq(self.running & self.halt & ~self.pulse),
            self.held_input.eq(self.input_hold.any() & ~self.held_host),
            self.held_output.eq(self.output_hold.any() & ~self.input_hold.any() & ~self.held_host),
            self.active.eq(
                self.running & ~self.held_host & ~self.input_hold.any() & ~self.output_hold.any()
            ),
            self.input_read.eq(Mux(self.active, reads, 0)),
            self.output_emit.eq(Mux(self.active, emits, 0)),
        ]

    def _iteration(
        self, m: Module, loops: BankedRegisters, rounds: Value, begin: Value, advance: Value
    ) -> tuple[Signal, Signal, Signal]:
        """Predicates of the iteration that begins next, whether it is the last, or exists.

        Its counters are 0 with ``begin``; with ``advance`` they move on to the one after.
        """
        kept = [Signal(COUNTER_BITS, name=f"counter_{i}") for i in range(LOOPS)]
        over = Signal()  # all iterations have begun
        counters = [Signal(COUNTER_BITS, name=f"count_{i}") for i in range(LOOPS)]
        m.d.comb += [c.eq(Mux(begin, 0, k)) for c, k in zip(counters, kept, strict=True)]
        ends = [loops.values[i][:COUNTER_BITS] for i in range(LOOPS - 1)]
        at_end = Signal(LOOPS)
        m.d.comb += at_end.eq(
            Cat(
                c == end
                for c, end in zip(counters, [*ends, (rounds - 1)[:COUNTER_BITS]], strict=True)
            )
        )
        with m.If(advance):
            carry = Value.cast(1)
            for i in range(LOOPS):
                with m.If(carry):
                    m.d.sync += kept[i].eq(Mux(at_end[i], 0, counters[i] + 1))
                with m.Else():
                    m.d.sync += kept[i].eq(counters[i])
                carry = carry & at_end[i]
            m.d.sync += over.eq(at_end.all() | (over & ~begin))
        flags = Signal(STAGE_FLAGS.elem_shape)
        last, more = Signal(), Signal()
        m.d.comb += [last.eq(at_end.all()), more.eq(~over | begin), flags[0].eq(1)]
        at_first = Cat(c == 0 for c in counters)
        offset = SequencerRegister.PREDICATE - SequencerRegister.LOOP
        for number in range(len(flags) + EXISTS - PROGRAMMABLE):
            row = data.View(PREDICATE, loops.values[offset + number][: PREDICATE.size])
            compared, counter = (
                Signal(name=f"compared_{number}"),
                Signal(COUNTER_BITS, name=f"loop_{number}"),
            )
            with m.Switch(row.loop):
                for i, value in enumerate(counters):
                    with m.Case(i):
                        m.d.comb += counter.eq(value)
            with m.Switch(row.compare):
                with m.Case(Compare.NONE):
                    m.d.comb += compared.eq(1)
                with m.Case(Compare.LESS):
                    m.d.comb += compared.eq(counter < row.value)
                with m.Case(Compare.NOT_LESS):
                    m.d.comb += compared.eq(counter >= row.value)
                with m.Case(Compare.EQUAL):
                    m.d.comb += compared.eq(counter == row.value)
            m.d.comb += flags[PROGRAMMABLE - EXISTS + number].eq(
                compared & ~(row.first & ~at_first).any() & ~(row.last & ~at_end).any()
            )
        return flags, last, more
