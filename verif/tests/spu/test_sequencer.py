"""The sequencer alone: programs without end, swaps, the watchdog, ABORT and RESET."""

import pytest

from spu.arch.config import SequencerRegister, Space
from spu.rtl.sequencer import Sequencer
from verif.tests.small_units import ARCH, simulate, until


def _sequencer(rows):
    """A sequencer whose bank in use holds these rows, before a run of 3 rounds."""
    unit = Sequencer(ARCH, 0)

    async def prepare(ctx):
        for row, value in rows.items():
            ctx.set(unit.config.write, 1)
            ctx.set(unit.config.space, Space.SEQUENCER.value)
            ctx.set(unit.config.row, row)
            ctx.set(unit.config.data, value)
            await ctx.tick()
        ctx.set(unit.config.write, 0)
        ctx.set(unit.commit, 1)
        await ctx.tick()
        ctx.set(unit.commit, 0)
        ctx.set(unit.iterations, 3)
        ctx.set(unit.output_ready, -1)

    return unit, prepare


async def _pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


@pytest.mark.parametrize(
    ("ii", "span", "ends"),
    [
        (2, 0, True),
        (2, 1, True),
        (2, 2, False),
        (2, 5, False),
        (8, 7, True),
        (9, 3, False),
        (100, 0, False),
        (1, 0, True),
        (1, 1, False),
    ],
)
def test_a_program_without_end_does_not_begin(ii, span, ends):
    unit, prepare = _sequencer({SequencerRegister.II: ii - 1, SequencerRegister.SPAN: span})

    async def testbench(ctx):
        await prepare(ctx)
        assert ctx.get(unit.illegal) == (not ends)
        await _pulse(ctx, unit.start)
        active = 0
        for _ in range(200):
            active += ctx.get(unit.active)
            await ctx.tick()
        assert active == (2 * ii + span + 1 if ends else 0)
        assert ctx.get(unit.running) == ctx.get(unit.starting) == 0
        assert (ctx.get(unit.done), ctx.get(unit.no_end)) == (ends, not ends)

    simulate(unit, testbench)


def test_a_swap_brings_the_check_of_the_new_program():
    """A run that waits for the end of the one before begins with the next bank, or not at all."""
    unit, prepare = _sequencer({SequencerRegister.II: 3, SequencerRegister.SPAN: 3})

    async def testbench(ctx):
        await prepare(ctx)
        await _pulse(ctx, unit.start)
        await ctx.tick()
        for row, value in ((SequencerRegister.II, 1), (SequencerRegister.SPAN, 2)):
            ctx.set(unit.config.write, 1)
            ctx.set(unit.config.row, row)
            ctx.set(unit.config.data, value)
            await ctx.tick()
        ctx.set(unit.config.write, 0)
        ctx.set(unit.commit, 1)
        assert ctx.get(unit.illegal)
        await _pulse(ctx, unit.start)
        await until(ctx, unit.swapping)
        await ctx.tick()
        ctx.set(unit.commit, 0)
        assert (ctx.get(unit.running), ctx.get(unit.no_end), ctx.get(unit.starting)) == (0, 1, 0)
        assert not ctx.get(unit.done)

    simulate(unit, testbench)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_the_watchdog_counts_cycles_in_a_row_that_streams_hold(limit):
    """The region reads an input in every cycle, of which every third is empty; then all are."""
    unit, prepare = _sequencer({SequencerRegister.II: 0, SequencerRegister.SPAN: 0})

    async def testbench(ctx):
        for slot in range(ARCH.contexts):  # slot 0 reads input 0
            ctx.set(unit.config.space, Space.STREAM.value)
            ctx.set(unit.config.row, slot)
            ctx.set(unit.config.data, 1)
            ctx.set(unit.config.write, slot == 0)
            await ctx.tick()
        await prepare(ctx)
        ctx.set(unit.watchdog, limit)
        ctx.set(unit.iterations, 60)
        await _pulse(ctx, unit.start)
        waited = 0
        for cycle in range(300):
            ctx.set(unit.input_ready, int(cycle < 30 and (cycle % 3 > 0 or limit == 1)))
            waited += ctx.get(unit.held_input) and cycle >= 30
            if not ctx.get(unit.running) and cycle > 5:
                break
            await ctx.tick()
        assert waited == (limit or 270)
        assert ctx.get(unit.timed_out) == ctx.get(unit.aborted) == (limit > 0)
        assert not ctx.get(unit.done)

    simulate(unit, testbench)


@pytest.mark.parametrize("name", ["abort", "reset"])
@pytest.mark.parametrize("cycle", range(8))
def test_abort_and_reset_end_a_run_in_any_cycle_and_the_next_one_runs(name, cycle):
    unit, prepare = _sequencer({SequencerRegister.II: 1, SequencerRegister.SPAN: 1})

    async def testbench(ctx):
        await prepare(ctx)
        await _pulse(ctx, unit.start)
        for _ in range(cycle):
            await ctx.tick()
        ended = ctx.get(unit.done)
        await _pulse(ctx, getattr(unit, name))
        for _ in range(3):
            assert ctx.get(unit.running) == ctx.get(unit.starting) == 0
            await ctx.tick()
        # A run of six cycles begins in cycle 1.
        assert ended == (cycle == 7)
        assert ctx.get(unit.done) == (name == "abort" and cycle >= 6)
        assert ctx.get(unit.aborted) == (name == "abort" and cycle < 6)
        await _pulse(ctx, unit.start)
        active = 0
        for _ in range(12):
            active += ctx.get(unit.active)
            await ctx.tick()
        assert active == 6
        assert (ctx.get(unit.done), ctx.get(unit.aborted)) == (1, 0)

    simulate(unit, testbench)
