"""The SPU: tiles, sequencers, loader, host registers and streams."""

from amaranth.hdl import (
    Array,
    Cat,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch import regmap
from spu.arch.config import TILE_SPACES
from spu.arch.context import LINKS
from spu.arch.params import BIAS_BITS, NEIGHBOURS, Architecture, Port, neighbour
from spu.rtl.axi import AxiLite
from spu.rtl.edges import add_streams
from spu.rtl.host import HostRegisters
from spu.rtl.layouts import word_layout
from spu.rtl.parts import Parts, any_of
from spu.rtl.ports import ConfigBus, RegionControl
from spu.rtl.trace import Trace


def tile_module(arch: Architecture, row: int, col: int) -> str:
    """Verilog module of a tile: one a kind."""
    return f"tile_{arch.kind(row, col).name}"


class Spu(wiring.Component):
    """A complete SPU with AXI ports; tiles are instances of separately emitted modules.

    Parameters
    ----------
    arch: the array.

    Members
    -------
    s_axil_NAME : AXI4-Lite slave, see ``regmap``; NAME is that of ``AxiLite``
    s_axis_load_tdata : In(32); s_axis_load_tvalid : In(1); s_axis_load_tready : Out(1) - program
        file
    s_axis_C_tdata : In(data_bits); s_axis_C_tuser : In(8); s_axis_C_tvalid : In(1);
        s_axis_C_tready : Out(1) - input stream of column C at the north edge, block bias in tuser
    m_axis_C_tdata : Out(data_bits); m_axis_C_tuser : Out(8); m_axis_C_tvalid : Out(1);
        m_axis_C_tready : In(1) - output stream of column C at the south edge, likewise
    region_running, region_step : Out(regions) - a run is on; this cycle executes

    Contract
    --------
    Latency: what the program says; each FIFO adds ``StreamFifo.latency``, each link ``timing.HOP``.
    Throughput: a word a cycle on every stream, at most.
    Holds: a region holds as a whole (``Sequencer``); its streams keep what they offer until it is
        taken, others go on.
    Reset: no program; for ``Zeroing.latency`` cycles data memories are cleared, STATUS says
        loading.
    Corner cases: words of a stream that no region reads wait in its FIFO; a region that is read
        back or zeroed does not begin a run.

    Example
    -------
    >>> from rtl.emit import spu_modules
    >>> from spu.arch.params import CONFIGS
    >>> {name: type(module).__name__ for name, module in spu_modules(CONFIGS["basic"]).items()}
    {'tile_memory': 'Tile', 'tile_plain': 'Tile', 'spu': 'Spu'}
    >>> [name for name in Spu(CONFIGS["basic"]).signature.members if name.startswith("m_axis_3")]
    ['m_axis_3_tdata', 'm_axis_3_tuser', 'm_axis_3_tvalid', 'm_axis_3_tready']
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        members = {
            f"s_axil_{name}": member
            for name, member in AxiLite(HostRegisters.address_bits).members.items()
        }
        members |= {
            "region_running": Out(arch.region_count),
            "region_step": Out(arch.region_count),
            "s_axis_load_tdata": In(32),
            "s_axis_load_tvalid": In(1),
            "s_axis_load_tready": Out(1),
        }
        for c in range(arch.cols):
            members |= {
                f"s_axis_{c}_tdata": In(arch.data_bits),
                f"s_axis_{c}_tuser": In(BIAS_BITS),
                f"s_axis_{c}_tvalid": In(1),
                f"s_axis_{c}_tready": Out(1),
                f"m_axis_{c}_tdata": Out(arch.data_bits),
                f"m_axis_{c}_tuser": Out(BIAS_BITS),
                f"m_axis_{c}_tvalid": Out(1),
                f"m_axis_{c}_tready": In(1),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = Parts(self.arch)
        host, loader, window, zeroing = parts.host, parts.loader, parts.window, parts.zeroing
        m.submodules.host, m.submodules.loader = host, loader
        m.submodules.window, m.submodules.zeroing = window, zeroing
        sequencers = parts.sequencers
        # The ports are named as buses of AXI are, which members of a signature are not.
        for name, member in host.bus.signature.members.items():
            outside, inside = getattr(self, f"s_axil_{name}"), getattr(host.bus, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        m.d.comb += [
            loader.i.payload.eq(self.s_axis_load_tdata),
            loader.i.valid.eq(self.s_axis_load_tvalid),
            self.s_axis_load_tready.eq(loader.i.ready),
            loader.clear.eq(host.clear),
            loader.request.eq(host.commit),
            loader.spoilt.eq(window.spoils),
            loader.spoilt_memory.eq(window.spoils_memory),
            loader.reset.eq(host.reset),
            loader.swapping.eq(Cat(s.swapping for s in sequencers)),
            host.busy.eq(~loader.idle),
            host.unloaded.eq(~loader.loaded & ~loader.commit),
            host.unfilled.eq(~loader.filled),
            host.starting.eq(Cat(s.starting for s in sequencers)),
            host.illegal.eq(Cat(s.illegal for s in sequencers)),
            host.running.eq(Cat(s.running for s in sequencers)),
            host.status.eq(
                Cat(
                    loader.loading | zeroing.busy,
                    loader.commit.any(),
                    Const(0, 6),
                    loader.error,
                    loader.section,
                )
            ),
            host.config_words.eq(loader.words),
            window.set_select.eq(host.set_window_select),
            window.set_position.eq(host.set_window_row),
            window.value.eq(host.window_value),
            window.read.eq(host.window_read),
            window.write.eq(host.window_write),
            *(
                getattr(host, f"window_{name}").eq(getattr(window, name))
                for name in ("write_done", "write_refused", "read_done", "read_refused", "answer")
            ),
            host.window_select.eq(window.select),
            host.window_row.eq(window.position),
            window.running.eq(Cat(s.running | zeroing.busy for s in sequencers)),
            window.busy.eq(~loader.idle | loader.i.valid | zeroing.busy),
        ]
        tile_selected, region_selected = _add_configuration(m, parts)
        for r, selected in enumerate(region_selected):
            self._add_region(m, parts, r, selected)
        answers = _add_tiles(m, parts, tile_selected)
        add_streams(m, self, parts)
        _add_trace(m, parts)
        m.d.comb += parts.config_data.eq(any_of([s.config_data for s in sequencers] + answers))
        return m

    def _add_region(self, m: Module, parts: Parts, r: int, selected: Value) -> None:
        """Connect a sequencer with host and loader; count its cycles."""
        host, loader, sequencer = parts.host, parts.loader, parts.sequencers[r]
        m.submodules[f"sequencer_{r}" if self.arch.region_count > 1 else "sequencer"] = sequencer
        for name, value in _config_of(parts, selected).items():
            m.d.comb += getattr(sequencer.config, name).eq(value)
        m.d.comb += [
            sequencer.start.eq(host.start[r]),
            sequencer.abort.eq(host.abort[r]),
            sequencer.reset.eq(host.reset[r]),
            sequencer.watchdog.eq(host.watchdog),
            sequencer.iterations.eq(getattr(host, f"iterations_{r}")),
            sequencer.commit.eq(loader.commit[r]),
            sequencer.commit_data.eq(loader.commit_data[r]),
            sequencer.halt.eq(host.halt[r]),
            sequencer.pulse.eq(host.step),
            sequencer.blocked.eq(parts.window.config.read | parts.zeroing.busy),
            self.region_running[r].eq(sequencer.running),
            self.region_step[r].eq(sequencer.active),
            getattr(host, f"region_{r}").eq(
                Cat(
                    sequencer.running,
                    sequencer.done,
                    loader.loaded[r],
                    sequencer.starting,
                    sequencer.aborted,
                    sequencer.timed_out,
                    parts.saturated[r],
                    sequencer.no_end,
                )
            ),
            getattr(host, f"active_file_{r}").eq(loader.active[r]),
            getattr(host, f"shadow_file_{r}").eq(loader.shadow[r]),
        ]
        for name, event in zip(
            regmap.REGION_COUNTERS,
            (
                sequencer.running,
                sequencer.active,
                sequencer.held_host,
                sequencer.held_input,
                sequencer.held_output,
            ),
            strict=True,
        ):
            parts.count(m, f"{name}_{r}", event)


def _config_of(parts: Parts, selected: Value) -> dict[str, Value]:
    """Members of the configuration bus for a part that takes only accesses to itself."""
    members = {name: getattr(parts.config, name) for name in ConfigBus().members}
    return {
        name: value & selected if name in ("read", "write") else value
        for name, value in members.items()
    }


def _add_configuration(m: Module, parts: Parts) -> tuple[dict[tuple[int, int], Value], list[Value]]:
    """One bus for zeroing, loader and window; which tiles and which regions an access is for."""
    window, loader, zeroing = parts.window, parts.loader, parts.zeroing
    busy = ~window.config.read & ~window.config.write
    rows, cols = Signal(16), Signal(16)
    for name in ConfigBus().members:
        m.d.comb += getattr(parts.config, name).eq(
            Mux(
                busy,
                Mux(zeroing.busy, getattr(zeroing.config, name), getattr(loader.config, name)),
                getattr(window.config, name),
            )
        )
    m.d.comb += [
        rows.eq(Mux(busy, loader.rows | zeroing.busy.replicate(16), window.rows)),
        cols.eq(Mux(busy, loader.cols | zeroing.busy.replicate(16), window.cols)),
        window.config_data.eq(parts.config_data),
        loader.stall.eq(window.config.read | zeroing.busy),
    ]
    in_tiles = Signal()
    m.d.comb += in_tiles.eq(parts.config.space.matches(*(s.value for s in TILE_SPACES)))
    return (
        {(r, c): in_tiles & rows[r] & cols[c] for r, c in parts.arch.tiles},
        [~in_tiles & rows[r] for r in range(parts.arch.region_count)],
    )


def _add_tiles(m: Module, parts: Parts, selected: dict[tuple[int, int], Value]) -> list[Signal]:
    """Instantiate and connect the tiles; their answers to readback."""
    arch, links, answers = parts.arch, parts.links, []
    counted: dict[int, list[Signal]] = {}  # saturated elements of a region's tiles
    for r, c in arch.tiles:
        control = parts.sequencer(r, c).control
        ports: dict[str, object] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for name in RegionControl(arch).members:
            ports[f"i_control__{name}"] = Value.cast(getattr(control, name))
        ports["i_control__data_bank"] = control.data_bank ^ parts.zeroing.half
        for name, value in _config_of(parts, selected[r, c]).items():
            if name in ("read", "write"):
                chosen = Signal(name=f"{name}_{r}_{c}")
                m.d.comb += chosen.eq(value)
                value = chosen
            ports[f"i_config__{name}"] = Value.cast(value)
        for link in LINKS:
            source = parts.entering.get(Port(r, c, link))
            if source is None:
                source = links.get(Port(*neighbour(r, c, link), NEIGHBOURS[link][2]))
            ports[f"i_{link}_i"] = (
                Const(0, word_layout(arch).size) if source is None else source.as_value()
            )
            ports[f"o_{link}_o"] = links[Port(r, c, link)].as_value()
        answer = Signal(32, name=f"answer_{r}_{c}")
        ports["o_config_data"] = answer
        answers.append(answer)
        for name, counter in zip(
            ("active", "forwards", "saturated"), regmap.TILE_COUNTERS, strict=True
        ):
            event = Signal(range(regmap.most_counted(arch, counter) + 1), name=f"{name}_{r}_{c}")
            ports[f"o_{name}"] = event
            parts.count(m, f"{counter}_{r}_{c}", event)
        counted.setdefault(arch.region(r, c), []).append(event)
        m.submodules[f"tile_{r}_{c}"] = Instance(tile_module(arch, r, c), **ports)
    for region, events in counted.items():
        # Tiles tell in the cycle after, so that the flag of a run begins a cycle late, too.
        begun = Signal(name=f"begun_{region}")
        m.d.sync += begun.eq(parts.sequencers[region].control.clear)
        with m.If(begun):
            m.d.sync += parts.saturated[region].eq(0)
        with m.Elif(any_of([event.any() for event in events])):
            m.d.sync += parts.saturated[region].eq(1)
    return answers


def _add_trace(m: Module, parts: Parts) -> None:
    """The trace, and the link that the host selects for it."""
    arch, host, links = parts.arch, parts.host, parts.links
    m.submodules.trace = trace = Trace(arch)
    select = data.View(data.StructLayout({"row": 8, "col": 8, "link": 2}), host.trace_select)
    words = Array(
        Array(Array(links[Port(r, c, link)].as_value() for link in LINKS) for c in range(arch.cols))
        for r in range(arch.rows)
    )
    steps = Array(
        Array(parts.sequencer(r, c).active for c in range(arch.cols)) for r in range(arch.rows)
    )
    m.d.comb += [
        trace.word.eq(words[select.row][select.col][select.link]),
        trace.step.eq(steps[select.row][select.col]),
        trace.restart.eq(host.restart_trace),
        trace.index.eq(host.trace_index),
        host.trace_count.eq(trace.count),
    ]
    for i in range(-(-len(trace.o.as_value()) // 32)):
        m.d.comb += getattr(host, f"trace_{i}").eq(trace.o.as_value()[32 * i : 32 * (i + 1)])
