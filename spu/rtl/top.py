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
from spu.rtl.fifo import StreamFifo
from spu.rtl.host import AxiLite, HostRegisters
from spu.rtl.layouts import stored_word, word_layout
from spu.rtl.loader import Loader
from spu.rtl.ports import ConfigBus, RegionControl
from spu.rtl.sequencer import Sequencer
from spu.rtl.trace import Trace
from spu.rtl.window import Window
from spu.rtl.zeroing import Zeroing


def tile_module(arch: Architecture, row: int, col: int) -> str:
    """Verilog module of a tile: one a kind."""
    return f"tile_{arch.kind(row, col).name}"


class Spu(wiring.Component):
    """A complete SPU with AXI ports; tiles are instances of separately emitted modules.

    Members (names are those of the buses)
    -------
    s_axil_* : AXI4-Lite slave, see ``regmap``
    s_axis_load_* : program file, 32-bit AXI4-Stream
    s_axis_C_* : input stream of column C at the north edge: data, block bias in tuser
    m_axis_C_* : output stream of column C at the south edge: likewise
    region_running, region_step : Out(regions) - a run is on; this cycle executes
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        members = {f"s_axil_{name}": member for name, member in AxiLite(
            HostRegisters.address_bits).members.items()}
        members |= {"region_running": Out(arch.region_count), "region_step": Out(arch.region_count),
                    "s_axis_load_tdata": In(32), "s_axis_load_tvalid": In(1),
                    "s_axis_load_tready": Out(1)}
        for c in range(arch.cols):
            members |= {
                f"s_axis_{c}_tdata": In(arch.data_bits), f"s_axis_{c}_tuser": In(BIAS_BITS),
                f"s_axis_{c}_tvalid": In(1), f"s_axis_{c}_tready": Out(1),
                f"m_axis_{c}_tdata": Out(arch.data_bits), f"m_axis_{c}_tuser": Out(BIAS_BITS),
                f"m_axis_{c}_tvalid": Out(1), f"m_axis_{c}_tready": In(1),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch = self.arch
        m.submodules.host = self.host = host = HostRegisters(arch)
        m.submodules.loader = self.loader = loader = Loader(arch)
        m.submodules.window = self.window = window = Window(arch)
        m.submodules.zeroing = self.zeroing = zeroing = Zeroing(arch)
        self.sequencers = [Sequencer(arch, r) for r in range(arch.region_count)]
        self.saturated = Signal(arch.region_count)
        for name, member in host.bus.signature.members.items():
            outside, inside = getattr(self, f"s_axil_{name}"), getattr(host.bus, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        m.d.comb += [
            loader.i.payload.eq(self.s_axis_load_tdata),
            loader.i.valid.eq(self.s_axis_load_tvalid),
            self.s_axis_load_tready.eq(loader.i.ready),
            loader.clear.eq(host.clear), loader.request.eq(host.commit),
            loader.spoilt.eq(window.spoils), loader.spoilt_memory.eq(window.spoils_memory),
            loader.reset.eq(host.reset),
            loader.swapping.eq(Cat(s.swapping for s in self.sequencers)),
            host.busy.eq(~loader.idle), host.unloaded.eq(~loader.loaded & ~loader.commit),
            host.unfilled.eq(~loader.filled),
            host.starting.eq(Cat(s.starting for s in self.sequencers)),
            host.illegal.eq(Cat(s.illegal for s in self.sequencers)),
            host.running.eq(Cat(s.running for s in self.sequencers)),
            host.status.eq(Cat(loader.loading | zeroing.busy, loader.commit.any(), Const(0, 6),
                               loader.error, loader.section)),
            host.config_words.eq(loader.words),
            window.set_select.eq(host.set_window_select),
            window.set_position.eq(host.set_window_row), window.value.eq(host.window_value),
            window.read.eq(host.window_read), window.write.eq(host.window_write),
            *(getattr(host, f"window_{name}").eq(getattr(window, name)) for name in (
                "write_done", "write_refused", "read_done", "read_refused", "answer")),
            host.window_select.eq(window.select), host.window_row.eq(window.position),
            window.running.eq(Cat(s.running | zeroing.busy for s in self.sequencers)),
            window.busy.eq(~loader.idle | loader.i.valid | zeroing.busy),
        ]
        self._configuration(m)
        for r, sequencer in enumerate(self.sequencers):
            self._region(m, r, sequencer)
        links = self._tiles(m)
        self._streams(m, links)
        self._trace(m, links)
        m.d.comb += self.config_data.eq(
            self._any([s.config_data for s in self.sequencers] + self.answers))
        return m

    @staticmethod
    def _any(words: list[Value]) -> Value:
        """Bitwise or."""
        total = words[0]
        for word in words[1:]:
            total = total | word
        return total

    def _configuration(self, m: Module) -> None:
        """One bus for zeroing, loader and window; ``tile_selected``, ``region_selected`` of it."""
        self.config, self.answers = ConfigBus().create(path=("config",)), []
        self.config_data = Signal(32)
        window, loader, zeroing = self.window, self.loader, self.zeroing
        busy = ~window.config.read & ~window.config.write
        rows, cols = Signal(16), Signal(16)
        for name in ConfigBus().members:
            m.d.comb += getattr(self.config, name).eq(
                Mux(busy, Mux(zeroing.busy, getattr(zeroing.config, name),
                              getattr(loader.config, name)), getattr(window.config, name)))
        m.d.comb += [rows.eq(Mux(busy, loader.rows | zeroing.busy.replicate(16), window.rows)),
                     cols.eq(Mux(busy, loader.cols | zeroing.busy.replicate(16), window.cols)),
                     window.config_data.eq(self.config_data),
                     loader.stall.eq(window.config.read | zeroing.busy)]
        in_tiles = Signal()
        m.d.comb += in_tiles.eq(self.config.space.matches(*(s.value for s in TILE_SPACES)))
        self.tile_selected = {(r, c): in_tiles & rows[r] & cols[c] for r, c in self.arch.tiles}
        self.region_selected = [~in_tiles & rows[r] for r in range(self.arch.region_count)]

    def _region(self, m: Module, r: int, sequencer: Sequencer) -> None:
        """Connect a sequencer with host and loader; count its cycles."""
        host, loader = self.host, self.loader
        m.submodules[f"sequencer_{r}" if self.arch.region_count > 1 else "sequencer"] = sequencer
        for name in ConfigBus().members:
            value = getattr(self.config, name)
            if name in ("read", "write"):
                value = value & self.region_selected[r]
            m.d.comb += getattr(sequencer.config, name).eq(value)
        m.d.comb += [
            sequencer.start.eq(host.start[r]), sequencer.abort.eq(host.abort[r]),
            sequencer.reset.eq(host.reset[r]), sequencer.watchdog.eq(host.watchdog),
            sequencer.iterations.eq(getattr(host, f"iterations_{r}")),
            sequencer.commit.eq(loader.commit[r]),
            sequencer.commit_data.eq(loader.commit_data[r]),
            sequencer.halt.eq(host.halt[r]), sequencer.pulse.eq(host.step),
            sequencer.blocked.eq(self.window.config.read | self.zeroing.busy),
            self.region_running[r].eq(sequencer.running),
            self.region_step[r].eq(sequencer.active),
            getattr(host, f"region_{r}").eq(Cat(
                sequencer.running, sequencer.done, loader.loaded[r], sequencer.starting,
                sequencer.aborted, sequencer.timed_out, self.saturated[r], sequencer.no_end)),
            getattr(host, f"active_file_{r}").eq(loader.active[r]),
            getattr(host, f"shadow_file_{r}").eq(loader.shadow[r]),
        ]
        for name, event in zip(regmap.REGION_COUNTERS, (
                sequencer.running, sequencer.active, sequencer.held_host, sequencer.held_input,
                sequencer.held_output), strict=True):
            self._count(m, f"{name}_{r}", event)

    def _count(self, m: Module, name: str, event: Value) -> None:
        m.d.comb += getattr(self.host, f"event_{name.lower()}").eq(event)

    def _tiles(self, m: Module) -> dict[Port, Signal]:
        """Instantiate and connect the tiles; returns the word on each outgoing link.

        Words that come from outside the region are those of ``self.entering``.
        """
        arch = self.arch
        word = word_layout(arch)
        links = {Port(r, c, link): Signal(word, name=f"link_{r}_{c}_{link}")
                 for r, c in arch.tiles for link in LINKS}
        self.entering = {port: Signal(word, name=f"input_{port.row}_{port.col}_{port.link}")
                         for r in range(arch.region_count) for port in arch.inputs(r)}
        counted: dict[int, list[Signal]] = {}   # saturated elements of a region's tiles
        for r, c in arch.tiles:
            control = self.sequencers[arch.region(r, c)].control
            ports: dict[str, object] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
            for name in RegionControl(arch).members:
                ports[f"i_control__{name}"] = Value.cast(getattr(control, name))
            ports["i_control__data_bank"] = control.data_bank ^ self.zeroing.half
            for name in ConfigBus().members:
                value = Value.cast(getattr(self.config, name))
                if name in ("read", "write"):
                    selected = Signal(name=f"{name}_{r}_{c}")
                    m.d.comb += selected.eq(value & self.tile_selected[r, c])
                    value = selected
                ports[f"i_config__{name}"] = value
            for link in LINKS:
                source = self.entering.get(Port(r, c, link))
                if source is None:
                    source = links.get(Port(*neighbour(r, c, link), NEIGHBOURS[link][2]))
                ports[f"i_{link}_i"] = Const(0, word.size) if source is None \
                    else source.as_value()
                ports[f"o_{link}_o"] = links[Port(r, c, link)].as_value()
            answer = Signal(32, name=f"answer_{r}_{c}")
            ports["o_config_data"] = answer
            self.answers.append(answer)
            for name, counter in zip(("active", "forwards", "saturated"), regmap.TILE_COUNTERS,
                                     strict=True):
                event = Signal(range(regmap.most_counted(arch, counter) + 1),
                               name=f"{name}_{r}_{c}")
                ports[f"o_{name}"] = event
                self._count(m, f"{counter}_{r}_{c}", event)
            counted.setdefault(arch.region(r, c), []).append(event)
            m.submodules[f"tile_{r}_{c}"] = Instance(tile_module(arch, r, c), **ports)
        for region, events in counted.items():
            # Tiles tell in the cycle after, so that the flag of a run begins a cycle late, too.
            begun = Signal(name=f"begun_{region}")
            m.d.sync += begun.eq(self.sequencers[region].control.clear)
            with m.If(begun):
                m.d.sync += self.saturated[region].eq(0)
            with m.Elif(self._any([event.any() for event in events])):
                m.d.sync += self.saturated[region].eq(1)
        return links

    def _streams(self, m: Module, links: dict[Port, Signal]) -> None:
        """FIFOs at the edges of the grid and between regions, and their counters."""
        arch = self.arch
        for region, sequencer in enumerate(self.sequencers):
            for i, port in enumerate(arch.outputs(region)):
                inner = neighbour(port.row, port.col, port.link) in arch.tiles
                fifo = self._fifo(m, f"output_fifo_{port.row}_{port.col}_{port.link}", not inner)
                self._flush(m, fifo, region)
                leaving = links[port]
                m.d.comb += [
                    sequencer.output_ready[i].eq(fifo.i.ready),
                    sequencer.output_valid[i].eq(leaving.valid),
                    fifo.i.payload.eq(Cat(leaving.data, leaving.bias)),
                    fifo.i.valid.eq(sequencer.output_emit[i]),
                ]
                name = regmap.port_name(arch, port, leaving=True)
                self._count(m, f"OUTPUT_WORDS_{name}", sequencer.output_emit[i])
                self._count(m, f"OUTPUT_HOLDS_{name}", sequencer.output_hold[i])
                if inner:
                    other = Port(*neighbour(port.row, port.col, port.link),
                                 NEIGHBOURS[port.link][2])
                    self._enter(m, other, fifo)
                    continue
                stream = f"m_axis_{port.col}"
                m.d.comb += [
                    Cat(getattr(self, f"{stream}_tdata"),
                        getattr(self, f"{stream}_tuser")).eq(fifo.o.payload),
                    getattr(self, f"{stream}_tvalid").eq(fifo.o.valid),
                    fifo.o.ready.eq(getattr(self, f"{stream}_tready")),
                ]
        for c in range(arch.cols):
            fifo = self._fifo(m, f"input_fifo_{c}")
            stream = f"s_axis_{c}"
            m.d.comb += [
                fifo.i.payload.eq(Cat(getattr(self, f"{stream}_tdata"),
                                   getattr(self, f"{stream}_tuser"))),
                fifo.i.valid.eq(getattr(self, f"{stream}_tvalid")),
                getattr(self, f"{stream}_tready").eq(fifo.i.ready),
            ]
            self._enter(m, Port(0, c, "north"), fifo)

    def _fifo(self, m: Module, name: str, keeps_offer: bool = False) -> StreamFifo:
        m.submodules[name] = fifo = StreamFifo(stored_word(self.arch).size,
                                               self.arch.stream_words, keeps_offer)
        return fifo

    def _flush(self, m: Module, fifo: StreamFifo, region: int) -> None:
        """Let the host flush a FIFO with this region."""
        with m.If(self.host.flush[region] | self.host.reset[region]):
            m.d.comb += fifo.flush.eq(1)

    def _enter(self, m: Module, port: Port, fifo: StreamFifo) -> None:
        """Let a region read a FIFO."""
        region = self.arch.region(port.row, port.col)
        sequencer, i = self.sequencers[region], self.arch.inputs(region).index(port)
        self._flush(m, fifo, region)
        m.d.comb += [sequencer.input_ready[i].eq(fifo.o.valid),
                     fifo.o.ready.eq(sequencer.input_read[i])]
        with m.If(sequencer.input_read[i]):
            m.d.comb += self.entering[port].eq(Cat(fifo.o.payload, 1))
        name = regmap.port_name(self.arch, port, leaving=False)
        self._count(m, f"INPUT_WORDS_{name}", sequencer.input_read[i])
        self._count(m, f"INPUT_HOLDS_{name}", sequencer.input_hold[i])

    def _trace(self, m: Module, links: dict[Port, Signal]) -> None:
        arch, host = self.arch, self.host
        m.submodules.trace = trace = Trace(arch)
        select = data.View(data.StructLayout({"row": 8, "col": 8, "link": 2}), host.trace_select)
        words = Array(Array(Array(links[Port(r, c, link)].as_value() for link in LINKS)
                            for c in range(arch.cols)) for r in range(arch.rows))
        steps = Array(Array(self.sequencers[arch.region(r, c)].active for c in range(arch.cols))
                      for r in range(arch.rows))
        m.d.comb += [
            trace.word.eq(words[select.row][select.col][select.link]),
            trace.step.eq(steps[select.row][select.col]),
            trace.restart.eq(host.restart_trace), trace.index.eq(host.trace_index),
            host.trace_count.eq(trace.count),
        ]
        for i in range(-(-len(trace.o.as_value()) // 32)):
            m.d.comb += getattr(host, f"trace_{i}").eq(trace.o.as_value()[32 * i:32 * (i + 1)])
