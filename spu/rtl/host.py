"""Host registers: control, status and counters behind AXI4-Lite."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spu.arch import regmap
from spu.arch.params import Architecture
from spu.rtl.axi import AxiLite, AxiLiteSlave


class HostRegisters(wiring.Component):
    """The register map of ``regmap`` behind an AXI4-Lite slave.

    Parameters
    ----------
    arch: its regions, tiles and streams give the map.

    Members
    -------
    bus : Out(AxiLite)
    clear, step, restart_trace : Out(1) - one-cycle pulses
    start, commit, abort, reset, flush : Out(regions) - likewise
    halt : Out(regions); iterations_R : Out(ITERATION_BITS); watchdog : Out(32)
    set_window_select, set_window_row, window_read, window_write : Out(1) - to the window
    window_value : Out(32); window_answer : In(32)
    window_write_done, window_write_refused, window_read_done, window_read_refused : In(1)
    trace_select : Out(18); trace_index : Out(6); trace_count, trace_I : In(32)
    busy : In(1) - the loader is within a file
    unloaded, unfilled : In(regions) - no program to start, no bank to commit
    starting, illegal, running : In(regions) - a run was asked for; a run would have no end; is on
    status, config_words, window_select, window_row : In(32)
    region_R, active_file_R, shadow_file_R : In(32)
    event_NAME : In - what the counter of this name counts in this cycle

    Contract
    --------
    Latency: that of ``AxiLiteSlave``, 2; accesses to WINDOW_DATA, _SELECT and _ROW take what the
        window takes.  Pulses are in the cycle before the response.
    Throughput: one read and one write at a time.
    Holds: none; counters count in every cycle, whatever the bus does.
    Reset: all registers and counters 0, nothing refused.
    Corner cases: addresses outside the map, writes to read-only registers, values out of range and
        accesses that the window refuses answer SLVERR and change nothing; of a command that is
        refused for one region none takes notice, and STATUS keeps the reason until CONTROL_CLEAR;
        counters wrap at 32 bits; a snapshot does not count its own cycle.

    Example
    -------
    >>> from spu.arch import regmap
    >>> from spu.rtl.observe import ONE, observe
    >>> ask = {"bus.araddr": regmap.register_map(ONE)["ID"], "bus.arvalid": 1, "bus.rready": 1}
    >>> shown = observe(HostRegisters(ONE), [ask, {}, {}], "bus.rvalid", "bus.rdata")
    >>> shown[-1] == (1, regmap.ID)
    True
    """

    address_bits = 13
    latency = AxiLiteSlave.latency

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.map = regmap.register_map(arch)
        self.counters = regmap.counter_names(arch)
        regions = range(arch.region_count)
        self.given = [
            "CONFIG_WORDS",
            "TRACE_COUNT",
            "WINDOW_SELECT",
            "WINDOW_ROW",
            *(name for name in self.map if name.startswith("TRACE_") and name[6:].isdigit()),
            *(f"{name}_{r}" for name in ("REGION", "ACTIVE_FILE", "SHADOW_FILE") for r in regions),
        ]
        super().__init__(
            {
                "bus": Out(AxiLite(self.address_bits)),
                "clear": Out(1),
                "step": Out(1),
                "restart_trace": Out(1),
                **{
                    name: Out(arch.region_count)
                    for name in ("start", "commit", "abort", "reset", "flush", "halt")
                },
                "watchdog": Out(32),
                "busy": In(1),
                "status": In(32),
                **{
                    name: In(arch.region_count)
                    for name in ("unloaded", "unfilled", "starting", "illegal", "running")
                },
                **{f"iterations_{r}": Out(regmap.ITERATION_BITS) for r in regions},
                "set_window_select": Out(1),
                "set_window_row": Out(1),
                "window_read": Out(1),
                "window_write": Out(1),
                "window_value": Out(32),
                "window_answer": In(32),
                **{
                    f"window_{name}": In(1)
                    for name in ("write_done", "write_refused", "read_done", "read_refused")
                },
                "trace_select": Out(18),
                "trace_index": Out(range(regmap.TRACE_WORDS)),
                **{name.lower(): In(32) for name in self.given},
                **{
                    f"event_{name.lower()}": In(range(regmap.most_counted(arch, name) + 1))
                    for name in self.counters
                },
            }
        )
        self.refusal = Signal(range(len(regmap.REFUSALS)))  # the last one since ``clear``

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slave = slave = AxiLiteSlave(self.address_bits)
        wiring.connect(m, wiring.flipped(self.bus), slave.bus)
        access = slave.registers
        self._write(m, access)
        self._read(m, access, self._counters(m, access))
        return m

    def _address(self, name: str) -> int:
        """Word address of a register."""
        return self.map[name] // 4

    def _write(self, m: Module, access: wiring.FlippedInterface) -> None:
        value = access.write_data
        regions = range(self.arch.region_count)
        foreign = value[len(self.start) :].any()
        m.d.comb += [
            access.write_done.eq(1),
            access.write_refused.eq(1),
            self.window_value.eq(value),
        ]

        def accepted(condition: Value, *actions: object) -> None:
            m.d.comb += access.write_refused.eq(~condition)
            with m.If(condition):
                m.d.comb += list(actions)

        with m.If(self.clear):
            m.d.sync += self.refusal.eq(0)
        with m.If(access.write), m.Switch(access.write_address):
            with m.Case(self._address("CONTROL")):
                known = (
                    regmap.CONTROL_CLEAR
                    | regmap.CONTROL_SNAPSHOT
                    | regmap.CONTROL_STEP
                    | regmap.CONTROL_TRACE
                )
                accepted(
                    (value & ~known & 0xFFFF_FFFF) == 0,
                    self.clear.eq((value & regmap.CONTROL_CLEAR).any()),
                    self.step.eq((value & regmap.CONTROL_STEP).any()),
                    self.restart_trace.eq((value & regmap.CONTROL_TRACE).any()),
                )
            for name, port, reasons in self._commands():
                with m.Case(self._address(name)):
                    reason = self._reason(m, name, reasons, value)
                    accepted(reason == 0, port.eq(value))
                    with m.If(reason != 0):
                        m.d.sync += self.refusal.eq(reason)
            with m.Case(self._address("HALT")):
                m.d.comb += access.write_refused.eq(foreign)
                with m.If(~foreign):
                    m.d.sync += self.halt.eq(value)
            for name, port, refused in (
                ("WINDOW_SELECT", self.set_window_select, 0),
                ("WINDOW_ROW", self.set_window_row, 0),
                ("WINDOW_DATA", self.window_write, self.window_write_refused),
            ):
                with m.Case(self._address(name)):
                    m.d.comb += [
                        port.eq(1),
                        access.write_done.eq(self.window_write_done),
                        access.write_refused.eq(refused),
                    ]
            with m.Case(self._address("TRACE_SELECT")):
                there = (
                    (value[len(self.trace_select) :] == 0)
                    & (value[: regmap.TRACE_COL_SHIFT] < self.arch.rows)
                    & (value[regmap.TRACE_COL_SHIFT : regmap.TRACE_LINK_SHIFT] < self.arch.cols)
                )
                m.d.comb += access.write_refused.eq(~there)
                with m.If(there):
                    m.d.sync += self.trace_select.eq(value)
            for name, register in (
                ("TRACE_INDEX", self.trace_index),
                ("WATCHDOG", self.watchdog),
                *((f"ITERATIONS_{r}", getattr(self, f"iterations_{r}")) for r in regions),
            ):
                with m.Case(self._address(name)):
                    fits = value[len(register) :] == 0
                    m.d.comb += access.write_refused.eq(~fits)
                    with m.If(fits):
                        m.d.sync += register.eq(value)

    def _commands(self) -> tuple:
        """Registers that command regions, their ports, and why which regions are refused."""
        return (
            (
                "START",
                self.start,
                {
                    "no program": self.unloaded,
                    "start pending": self.starting,
                    "no end": self.illegal,
                },
            ),
            (
                "COMMIT",
                self.commit,
                {"busy": self.busy.replicate(len(self.commit)), "no bank": self.unfilled},
            ),
            ("ABORT", self.abort, {}),
            ("RESET", self.reset, {}),
            ("FLUSH", self.flush, {"running": self.running}),
        )

    def _reason(self, m: Module, name: str, reasons: dict, value: Value) -> Signal:
        """Index into REFUSALS: the first reason against a command, or 0."""
        reason = Signal(range(len(regmap.REFUSALS)), name=f"{name.lower()}_reason")
        against = {
            "no region": value[len(self.start) :].any(),
            **{what: (value[: len(regions)] & regions).any() for what, regions in reasons.items()},
        }
        for what in reversed(against):
            with m.If(against[what]):
                m.d.comb += reason.eq(regmap.REFUSALS.index(what))
        return reason

    def _counters(self, m: Module, access: wiring.FlippedInterface) -> dict[str, Signal]:
        """Counters, and what a snapshot keeps of them."""
        snapshot = (
            access.write
            & ~access.write_refused
            & (access.write_address == self._address("CONTROL"))
            & (access.write_data & regmap.CONTROL_SNAPSHOT).any()
        )
        kept = {}
        for name in self.counters:
            counter = Signal(32, name=f"count_{name.lower()}")
            kept[name] = Signal(32, name=f"kept_{name.lower()}")
            m.d.sync += counter.eq(counter + getattr(self, f"event_{name.lower()}"))
            with m.If(snapshot):
                m.d.sync += kept[name].eq(counter)
        return kept

    def _read(self, m: Module, access: wiring.FlippedInterface, kept: dict[str, Signal]) -> None:
        readable: dict[str, Value | int] = {
            **regmap.constant_registers(self.arch),
            "HALT": self.halt,
            "TRACE_SELECT": self.trace_select,
            "TRACE_INDEX": self.trace_index,
            "WATCHDOG": self.watchdog,
            "STATUS": self.status | self.refusal << regmap.STATUS_REFUSAL_SHIFT,
            **{
                f"ITERATIONS_{r}": getattr(self, f"iterations_{r}")
                for r in range(self.arch.region_count)
            },
            **{name: getattr(self, name.lower()) for name in self.given},
            **kept,
        }
        m.d.comb += [access.read_done.eq(1), access.read_refused.eq(1)]
        with m.If(access.read), m.Switch(access.read_address):
            for name, value in readable.items():
                with m.Case(self._address(name)):
                    m.d.comb += [access.read_data.eq(value), access.read_refused.eq(0)]
            with m.Case(self._address("WINDOW_DATA")):
                m.d.comb += [
                    self.window_read.eq(1),
                    access.read_done.eq(self.window_read_done),
                    access.read_data.eq(self.window_answer),
                    access.read_refused.eq(self.window_read_refused),
                ]
