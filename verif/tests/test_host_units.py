"""Loader, window, host registers and sequencer alone: corners that whole arrays hardly meet."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl import emit, yosys
from spu.arch import bitstream, regmap
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space
from spu.arch.params import Architecture
from spu.host import AxiLite, HostRegisters
from spu.loader import Loader
from spu.sequencer import Sequencer
from spu.window import Window

ARCH = Architecture("small", ("M",), lanes=2, columns=1, contexts=8, memory_words=8, weight_rows=8)
OKAY, SLVERR = 0, 2
#: Cycles that an access may take.
PATIENCE = 1000


def _simulate(unit, testbench, *others):
    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    for bench in (testbench, *others):
        simulator.add_testbench(bench, background=bench is not testbench)
    simulator.run()


def _file(value=33):
    image = Image(ARCH)
    image.write(Space.CONTEXT, (0, 0), 0, {"op": value})
    return np.frombuffer(bitstream.encode(image), "<u4").tolist()


class _Load:
    """A loader whose regions swap at once; counts the swaps."""

    def __init__(self, unit, ctx):
        self.unit, self.ctx, self.swaps = unit, ctx, 0

    async def tick(self, cycles=1):
        for _ in range(cycles):
            commit = self.ctx.get(self.unit.commit)
            self.swaps += commit
            self.ctx.set(self.unit.swapping, commit)
            await self.ctx.tick()

    async def put(self, word):
        self.ctx.set(self.unit.i.payload, word)
        self.ctx.set(self.unit.i.valid, 1)
        for _ in range(PATIENCE):
            if self.ctx.get(self.unit.i.ready):
                break
            await self.tick()
            self.ctx.set(self.unit.clear, 0)
        else:
            raise AssertionError("the loader takes no word")
        await self.tick()
        self.ctx.set(self.unit.i.valid, 0)


@pytest.mark.parametrize("place", range(6))
def test_a_word_that_comes_with_clear_is_not_of_the_next_file(place):
    """CLEAR in the cycle of word ``place`` of a refused file; the next file is good."""
    unit = Loader(ARCH)

    async def testbench(ctx):
        load = _Load(unit, ctx)
        bad = [word ^ (i == 0) for i, word in enumerate(_file())]
        for i, word in enumerate(bad[:place + 1]):
            ctx.set(unit.clear, i == place)
            await load.put(word)
        # A first word waits for the end of the clear, and needs another one.
        ctx.set(unit.clear, place == 0)
        await load.tick(place == 0)
        ctx.set(unit.clear, 0)
        for word in _file():
            await load.put(word)
        await load.tick(300)
        assert regmap.LOAD_ERRORS[ctx.get(unit.error)] == "none"
        assert ctx.get(unit.loaded) == 1

    _simulate(unit, testbench)


@pytest.mark.parametrize("offset", [-2, -1, 0, 1])
def test_a_commit_beside_a_files_first_word_swaps_before_the_file(offset):
    """The host commits what a first file left, while a second one begins ``offset`` cycles away."""
    unit = Loader(ARCH)

    async def testbench(ctx):
        load = _Load(unit, ctx)
        for word in [*_file(33), *_file(34)]:
            await load.put(word)
        await load.tick(300)
        assert load.swaps == 2
        words = _file(35)
        if offset > 0:   # within the file: the host refuses it
            await load.put(words.pop(0))
            assert not ctx.get(unit.idle)
        else:
            ctx.set(unit.request, 1)
            if offset == 0:
                ctx.set(unit.i.payload, words[0])
                ctx.set(unit.i.valid, 1)
            await load.tick()
            ctx.set(unit.request, 0)
            if offset == -2:
                await load.tick()
        for word in words:
            await load.put(word)
        await load.tick(300)
        assert load.swaps == 2 + 1 + (offset <= 0)
        assert ctx.get(unit.active[0]) == bitstream.signature(
            np.array(_file(35), "<u4").tobytes())

    _simulate(unit, testbench)


def test_only_a_whole_file_fills_a_bank():
    unit = Loader(ARCH)

    async def testbench(ctx):
        load, filled = _Load(unit, ctx), []
        for words in (_file(33), _file(34)[:20], _file(34), _file(35)[:12]):
            for word in words:
                await load.put(word)
            await load.tick(300)
            ctx.set(unit.clear, 1)
            await load.tick()
            ctx.set(unit.clear, 0)
            filled.append(ctx.get(unit.filled))
        # The bank that the first file left for the second is filled until a file begins there.
        assert filled == [0, 0, 1, 0]
        ctx.set(unit.reset, 1)
        await load.tick()
        ctx.set(unit.reset, 0)
        assert (ctx.get(unit.loaded), ctx.get(unit.active[0])) == (0, 0)

    _simulate(unit, testbench)


@pytest.mark.parametrize("selected", [0, 1])
def test_data_memories_swap_when_their_other_half_was_written(selected):
    """By a file, or through the window, whatever space the window stands at."""
    unit = Loader(ARCH)
    image = Image(ARCH)
    image.write(Space.MEMORY, (0, 0), 0, {"data": 5})
    with_memory = np.frombuffer(bitstream.encode(image), "<u4").tolist()

    async def testbench(ctx):
        load, swapped = _Load(unit, ctx), []
        ctx.set(unit.spoilt_memory, selected)

        async def until_swapped(cycles=300):
            before = load.swaps
            for _ in range(cycles):
                if ctx.get(unit.commit):
                    swapped.append(ctx.get(unit.commit_data))
                await load.tick()
            assert load.swaps == before + 1

        for words in (with_memory, _file(), with_memory, _file()):
            for word in words:
                await load.put(word)
            await until_swapped()
        assert swapped == [1, 0, 1, 0]
        ctx.set(unit.spoilt_memory, 1)
        ctx.set(unit.spoilt, 1)
        await load.tick()
        ctx.set(unit.spoilt_memory, selected)
        ctx.set(unit.spoilt, 0)
        for _ in range(2):
            ctx.set(unit.request, 1)
            await load.tick()
            ctx.set(unit.request, 0)
            await until_swapped(20)
        assert swapped[4:] == [1, 0]

    _simulate(unit, testbench)


class _Bus(wiring.Component):
    """Host registers with a window; the store answers each read with its row and word."""

    def __init__(self):
        super().__init__({})
        self.host, self.window = HostRegisters(ARCH), Window(ARCH)
        self.writes = []

    def elaborate(self, platform):
        m = Module()
        m.submodules.host, m.submodules.window = host, window = self.host, self.window
        config, asked, word = window.config, Signal(), Signal(32)
        row = Signal.like(config.row)
        m.d.comb += [
            window.set_select.eq(host.set_window_select),
            window.set_position.eq(host.set_window_row), window.value.eq(host.window_value),
            window.read.eq(host.window_read), window.write.eq(host.window_write),
            host.window_select.eq(window.select), host.window_row.eq(window.position),
            window.config_data.eq(word),
            *(getattr(host, f"window_{name}").eq(getattr(window, name)) for name in (
                "write_done", "write_refused", "read_done", "read_refused", "answer"))]
        # As in a tile: the row is registered by the memory, the chosen word in the next cycle.
        m.d.sync += [asked.eq(config.read), row.eq(config.row), word.eq(0)]
        with m.If(asked):
            m.d.sync += word.eq(row << 8 | config.word)
        return m


async def _until(ctx, signal):
    for _ in range(PATIENCE):
        if ctx.get(signal):
            return
        await ctx.tick()
    raise AssertionError(f"{signal.name} stays 0")


class _Host:
    """AXI4-Lite accesses of a test bench."""

    def __init__(self, ctx, bus):
        self.ctx, self.bus, self.map = ctx, bus, regmap.register_map(ARCH)

    async def _channel(self, name, delay=0, **payload):
        ctx, bus = self.ctx, self.bus
        for _ in range(delay):
            await ctx.tick()
        for signal, value in payload.items():
            ctx.set(getattr(bus, signal), value)
        ctx.set(getattr(bus, f"{name}valid"), 1)
        await _until(ctx, getattr(bus, f"{name}ready"))
        await ctx.tick()
        ctx.set(getattr(bus, f"{name}valid"), 0)

    async def _answer(self, name, *values):
        ctx, bus = self.ctx, self.bus
        ctx.set(getattr(bus, f"{name}ready"), 1)
        await _until(ctx, getattr(bus, f"{name}valid"))
        got = [ctx.get(getattr(bus, value)) for value in values]
        await ctx.tick()
        ctx.set(getattr(bus, f"{name}ready"), 0)
        return got

    async def write(self, register, value, strobes=15, data_first=0):
        address = self.map[register] if isinstance(register, str) else register
        await self._channel("w" if data_first else "aw", **(
            {"wdata": value, "wstrb": strobes} if data_first else {"awaddr": address}))
        for _ in range(3):
            assert not self.ctx.get(self.bus.bvalid)
            await self.ctx.tick()
        await self._channel("aw" if data_first else "w", **(
            {"awaddr": address} if data_first else {"wdata": value, "wstrb": strobes}))
        return (await self._answer("b", "bresp"))[0]

    async def read(self, register):
        address = self.map[register] if isinstance(register, str) else register
        await self._channel("ar", araddr=address)
        return tuple(await self._answer("r", "rresp", "rdata"))


@pytest.mark.parametrize("register", ["WINDOW_DATA", "WINDOW_ROW", "WINDOW_SELECT"])
def test_reads_and_writes_of_the_window_at_once_are_done_one_after_the_other(register):
    """Three reads in a row, and a write some cycles after the first: all are answered OKAY, each
    word is read from where the position was, and what was written arrives where it was.
    """
    unit, log, delays, answers = _Bus(), [], range(14), []
    value = {"WINDOW_DATA": 0xABCD, "WINDOW_ROW": 5, "WINDOW_SELECT": Space.CONTEXT.value}[register]
    now = {"delay": None}
    # Places as they follow each other, with the write's between two of them.
    places, jump = [(2, 0), (2, 1), (3, 0), (3, 1)], [(5, 0), (5, 1), (6, 0)]
    allowed = {
        "WINDOW_DATA": [places[:at] + places[at + 1:] for at in range(4)],
        "WINDOW_ROW": [places[:at] + jump[:3 - at] for at in range(4)],
        "WINDOW_SELECT": [places[:3]]}[register]

    async def testbench(ctx):
        host = _Host(ctx, unit.host.bus)
        for delay in delays:
            await host.write("WINDOW_SELECT", Space.CONTEXT.value)
            await host.write("WINDOW_ROW", 2)
            log.clear()
            now["delay"] = delay
            reads = [await host.read("WINDOW_DATA") for _ in range(3)]
            for _ in range(20):
                await ctx.tick()
            assert [response for response, _ in reads] == [OKAY] * 3
            got = [divmod(word, 256) for _, word in reads]
            assert got in allowed, (delay, got, log)
            assert answers == [OKAY] * (delay + 1)
            if register == "WINDOW_DATA":
                assert len(log) == 1
                assert sorted([*got, *log]) == places

    async def other(ctx):
        bus = unit.host.bus
        for wanted in delays:
            while now["delay"] != wanted:
                await ctx.tick()
            for _ in range(wanted):
                await ctx.tick()
            await _together(ctx, bus, regmap.register_map(ARCH)[register], value)
            answers.append(ctx.get(bus.bresp))
            await ctx.tick()
            ctx.set(bus.bready, 0)

    async def watch(ctx):
        config = unit.window.config
        while True:
            if ctx.get(config.write):
                log.append((ctx.get(config.row), ctx.get(config.word)))
            await ctx.tick()

    _simulate(unit, testbench, other, watch)


async def _together(ctx, bus, address, value):
    """Offer address and data of a write at once, until the answer is there."""
    ctx.set(bus.awaddr, address)
    ctx.set(bus.wdata, value)
    ctx.set(bus.wstrb, 15)
    ctx.set(bus.awvalid, 1)
    ctx.set(bus.wvalid, 1)
    await _until(ctx, bus.awready)
    assert ctx.get(bus.wready)
    await ctx.tick()
    ctx.set(bus.awvalid, 0)
    ctx.set(bus.wvalid, 0)
    ctx.set(bus.bready, 1)
    await _until(ctx, bus.bvalid)


def test_commands_that_cannot_be_followed_are_refused_with_a_reason():
    unit = HostRegisters(ARCH)

    async def testbench(ctx):
        host, pulses = _Host(ctx, unit.bus), []

        async def reason():
            status = (await host.read("STATUS"))[1]
            return regmap.REFUSALS[status >> regmap.STATUS_REFUSAL_SHIFT & 15]

        async def command(name, mask=1, **signals):
            for signal, value in signals.items():
                ctx.set(getattr(unit, signal), value)
            response = await host.write(name, mask)
            for signal in signals:
                ctx.set(getattr(unit, signal), 0)
            return response

        for name, signal, why in (
                ("START", "unloaded", "no program"), ("START", "starting", "start pending"),
                ("START", "illegal", "no end"), ("COMMIT", "busy", "busy"),
                ("COMMIT", "unfilled", "no bank"), ("FLUSH", "running", "running")):
            assert await reason() == "none"
            assert await command(name, **{signal: 1}) == SLVERR, why
            assert await reason() == why
            assert await command("RESET", 1) == OKAY
            assert await reason() == why   # it stays
            assert await host.write("CONTROL", regmap.CONTROL_CLEAR) == OKAY
            assert await command(name) == OKAY
        for name in ("START", "COMMIT", "ABORT", "RESET", "FLUSH", "HALT"):
            assert await command(name, 2) == SLVERR
        assert await reason() == "no region"
        assert pulses == []

    _simulate(unit, testbench)


def test_values_out_of_range_are_refused_and_change_nothing():
    unit = HostRegisters(ARCH)

    async def testbench(ctx):
        host = _Host(ctx, unit.bus)
        assert await host.write("TRACE_SELECT", 2 << regmap.TRACE_LINK_SHIFT) == OKAY
        for value in (1, 255, 1 << regmap.TRACE_COL_SHIFT, 1 << 18, 1 << 31):
            assert await host.write("TRACE_SELECT", value) == SLVERR, value
        assert await host.read("TRACE_SELECT") == (OKAY, 2 << regmap.TRACE_LINK_SHIFT)
        for first in (0, 1):
            assert await host.write("WATCHDOG", 0xFFFF_FFFF - first, data_first=first) == OKAY
            assert await host.read("WATCHDOG") == (OKAY, 0xFFFF_FFFF - first)
        assert await host.write("ITERATIONS_0", 1 << 16) == SLVERR
        assert await host.write("WATCHDOG", 5, strobes=14) == SLVERR
        assert await host.write(host.map["WATCHDOG"] + 2, 5) == SLVERR
        assert await host.read("WATCHDOG") == (OKAY, 0xFFFF_FFFE)
        assert await host.read(host.map["WATCHDOG"] + 1) == (SLVERR, 0)
        assert await host.read(4 * len(host.map)) == (SLVERR, 0)

    _simulate(unit, testbench)


def test_no_path_leads_from_inputs_of_the_bus_to_its_outputs(tmp_path):
    """In the netlist of the host registers: outputs come from flip-flops alone."""
    (tmp_path / "host.v").write_text(emit.verilog({"host": HostRegisters(ARCH)}))
    outputs = [f"bus__{n}" for n, m in AxiLite(2).members.items() if m.flow is wiring.Out]
    script = ["read_verilog host.v", "hierarchy -top host", "proc -norom", "flatten", "opt",
              "memory_map", "simplemap", "setattr -unset init w:*",
              "dfflegalize -cell $_DFF_P_ x", "opt_clean"]
    for name in outputs:
        script += [f"select -set cone w:{name} %ci*:-$_DFF_P_",
                   f"tee -a paths.txt select -list @cone i:* %i w:{name} %d"]
    yosys.run("\n".join(script), tmp_path)
    found = [line for line in (tmp_path / "paths.txt").read_text().split("\n")
             if "bus__" in line]
    assert found == [], found
    assert len(outputs) == 8


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


@pytest.mark.parametrize(("ii", "span", "ends"), [
    (2, 0, True), (2, 1, True), (2, 2, False), (2, 5, False), (8, 7, True), (9, 3, False),
    (100, 0, False), (1, 0, True), (1, 1, False)])
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

    _simulate(unit, testbench)


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
        await _until(ctx, unit.swapping)
        await ctx.tick()
        ctx.set(unit.commit, 0)
        assert (ctx.get(unit.running), ctx.get(unit.no_end), ctx.get(unit.starting)) == (0, 1, 0)
        assert not ctx.get(unit.done)

    _simulate(unit, testbench)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_the_watchdog_counts_cycles_in_a_row_that_streams_hold(limit):
    """The region reads an input in every cycle, of which every third is empty; then all are."""
    unit, prepare = _sequencer({SequencerRegister.II: 0, SequencerRegister.SPAN: 0})

    async def testbench(ctx):
        for slot in range(ARCH.contexts):   # slot 0 reads input 0
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

    _simulate(unit, testbench)


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

    _simulate(unit, testbench)
