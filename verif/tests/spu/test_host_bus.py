"""Host registers and window alone: accesses at once, and those that are refused."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from rtl import emit, yosys
from spu.arch import regmap
from spu.arch.config import Space
from spu.rtl.axi import AxiLite
from spu.rtl.host import HostRegisters
from spu.rtl.window import Window
from verif.tests.small_units import ARCH, simulate, until

OKAY, SLVERR = 0, 2


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
            window.set_position.eq(host.set_window_row),
            window.value.eq(host.window_value),
            window.read.eq(host.window_read),
            window.write.eq(host.window_write),
            host.window_select.eq(window.select),
            host.window_row.eq(window.position),
            window.config_data.eq(word),
            *(
                getattr(host, f"window_{name}").eq(getattr(window, name))
                for name in ("write_done", "write_refused", "read_done", "read_refused", "answer")
            ),
        ]
        # As in a tile: the row is registered by the memory, the chosen word in the next cycle.
        m.d.sync += [asked.eq(config.read), row.eq(config.row), word.eq(0)]
        with m.If(asked):
            m.d.sync += word.eq(row << 8 | config.word)
        return m


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
        await until(ctx, getattr(bus, f"{name}ready"))
        await ctx.tick()
        ctx.set(getattr(bus, f"{name}valid"), 0)

    async def _answer(self, name, *values):
        ctx, bus = self.ctx, self.bus
        ctx.set(getattr(bus, f"{name}ready"), 1)
        await until(ctx, getattr(bus, f"{name}valid"))
        got = [ctx.get(getattr(bus, value)) for value in values]
        await ctx.tick()
        ctx.set(getattr(bus, f"{name}ready"), 0)
        return got

    async def write(self, register, value, strobes=15, data_first=0):
        address = self.map[register] if isinstance(register, str) else register
        await self._channel(
            "w" if data_first else "aw",
            **({"wdata": value, "wstrb": strobes} if data_first else {"awaddr": address}),
        )
        for _ in range(3):
            assert not self.ctx.get(self.bus.bvalid)
            await self.ctx.tick()
        await self._channel(
            "aw" if data_first else "w",
            **({"awaddr": address} if data_first else {"wdata": value, "wstrb": strobes}),
        )
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
        "WINDOW_DATA": [places[:at] + places[at + 1 :] for at in range(4)],
        "WINDOW_ROW": [places[:at] + jump[: 3 - at] for at in range(4)],
        "WINDOW_SELECT": [places[:3]],
    }[register]

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

    simulate(unit, testbench, other, watch)


async def _together(ctx, bus, address, value):
    """Offer address and data of a write at once, until the answer is there."""
    ctx.set(bus.awaddr, address)
    ctx.set(bus.wdata, value)
    ctx.set(bus.wstrb, 15)
    ctx.set(bus.awvalid, 1)
    ctx.set(bus.wvalid, 1)
    await until(ctx, bus.awready)
    assert ctx.get(bus.wready)
    await ctx.tick()
    ctx.set(bus.awvalid, 0)
    ctx.set(bus.wvalid, 0)
    ctx.set(bus.bready, 1)
    await until(ctx, bus.bvalid)


def test_commands_that_cannot_be_followed_are_refused_with_a_reason():
    unit = HostRegisters(ARCH)

    async def testbench(ctx):
        host = _Host(ctx, unit.bus)

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
            ("START", "unloaded", "no program"),
            ("START", "starting", "start pending"),
            ("START", "illegal", "no end"),
            ("COMMIT", "busy", "busy"),
            ("COMMIT", "unfilled", "no bank"),
            ("FLUSH", "running", "running"),
        ):
            assert await reason() == "none"
            assert await command(name, **{signal: 1}) == SLVERR, why
            assert await reason() == why
            assert await command("RESET", 1) == OKAY
            assert await reason() == why  # it stays
            assert await host.write("CONTROL", regmap.CONTROL_CLEAR) == OKAY
            assert await command(name) == OKAY
        for name in ("START", "COMMIT", "ABORT", "RESET", "FLUSH", "HALT"):
            assert await command(name, 2) == SLVERR
        assert await reason() == "no region"

    simulate(unit, testbench)


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

    simulate(unit, testbench)


def test_no_path_leads_from_inputs_of_the_bus_to_its_outputs(tmp_path):
    """In the netlist of the host registers: outputs come from flip-flops alone."""
    (tmp_path / "host.v").write_text(emit.verilog({"host": HostRegisters(ARCH)}))
    outputs = [f"bus__{n}" for n, m in AxiLite(2).members.items() if m.flow is wiring.Out]
    script = [
        "read_verilog host.v",
        "hierarchy -top host",
        "proc -norom",
        "flatten",
        "opt",
        "memory_map",
        "simplemap",
        "setattr -unset init w:*",
        "dfflegalize -cell $_DFF_P_ x",
        "opt_clean",
    ]
    for name in outputs:
        script += [
            f"select -set cone w:{name} %ci*:-$_DFF_P_",
            f"tee -a paths.txt select -list @cone i:* %i w:{name} %d",
        ]
    yosys.run("\n".join(script), tmp_path)
    found = [line for line in (tmp_path / "paths.txt").read_text().split("\n") if "bus__" in line]
    assert found == [], found
    assert len(outputs) == 8
