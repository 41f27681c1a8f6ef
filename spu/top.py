"""The SPU: tiles, sequencer, loader, host registers and streams."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from spu.arch.context import LINKS, WORD
from spu.arch.params import BIAS_BITS, DATA_BITS, Architecture
from spu.host import AxiLite, HostRegisters
from spu.loader import Loader
from spu.ports import ConfigWrite, RegionControl
from spu.sequencer import Sequencer

#: Row and column step towards each neighbour, and the neighbour's link that faces back.
NEIGHBOURS = {"north": (-1, 0, "south"), "east": (0, 1, "west"),
              "south": (1, 0, "north"), "west": (0, -1, "east")}


def tile_module(arch: Architecture, row: int, col: int) -> str:
    """Verilog module of a tile: one a kind."""
    return f"tile_{'memory' if arch.kind(row, col).memory else 'plain'}"


class Spu(wiring.Component):
    """A complete SPU with AXI ports; tiles are instances of separately emitted modules.

    Members (names are those of the buses)
    -------
    s_axil_* : AXI4-Lite slave, see ``regmap``
    s_axis_load_* : program file, 32-bit AXI4-Stream
    s_axis_C_* : input stream of column C at the north edge: 64-bit data, block bias in tuser
    m_axis_C_* : output stream of column C at the south edge: likewise
    region_running, region_step : a run is on; this cycle executes (is not held)
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        members = {f"s_axil_{name}": member for name, member in AxiLite(
            HostRegisters.address_bits).members.items()}
        members |= {"region_running": Out(1), "region_step": Out(1)}
        members |= {"s_axis_load_tdata": In(32), "s_axis_load_tvalid": In(1),
                    "s_axis_load_tready": Out(1)}
        for c in range(arch.cols):
            members |= {
                f"s_axis_{c}_tdata": In(DATA_BITS), f"s_axis_{c}_tuser": In(BIAS_BITS),
                f"s_axis_{c}_tvalid": In(1), f"s_axis_{c}_tready": Out(1),
                f"m_axis_{c}_tdata": Out(DATA_BITS), f"m_axis_{c}_tuser": Out(BIAS_BITS),
                f"m_axis_{c}_tvalid": Out(1), f"m_axis_{c}_tready": In(1),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch = self.arch
        m.submodules.host = host = HostRegisters(arch)
        m.submodules.loader = loader = Loader(arch)
        m.submodules.sequencer = sequencer = Sequencer(arch)
        for name, member in host.bus.signature.members.items():
            outside, inside = getattr(self, f"s_axil_{name}"), getattr(host.bus, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        m.d.comb += [
            loader.i.payload.eq(self.s_axis_load_tdata),
            loader.i.valid.eq(self.s_axis_load_tvalid),
            self.s_axis_load_tready.eq(loader.i.ready),
            loader.clear.eq(host.clear), loader.running.eq(sequencer.running),
            sequencer.start.eq(host.start & loader.loaded),
            sequencer.iterations.eq(host.iterations), sequencer.bank.eq(loader.bank),
            host.status.eq(Cat(sequencer.running, sequencer.done, loader.loaded, loader.loading,
                               Const(0, 4), loader.error, loader.section)),
            host.config_words.eq(loader.words),
        ]
        for name in ConfigWrite().members:
            m.d.comb += getattr(sequencer.config, name).eq(getattr(loader.config, name))
        links = self._tiles(m, loader, sequencer)
        self._streams(m, links, sequencer, host)

        m.d.comb += [self.region_running.eq(sequencer.running),
                     self.region_step.eq(sequencer.active)]
        started = Signal()
        m.d.comb += started.eq(sequencer.control.clear)
        self._count(m, host, "CYCLES", sequencer.running, started)
        self._count(m, host, "ACTIVE", sequencer.active, started)
        self._count(m, host, "HELD_INPUT", sequencer.held_input, started)
        self._count(m, host, "HELD_OUTPUT", sequencer.held_output, started)
        return m

    def _count(self, m: Module, host: HostRegisters, name: str, event: Value, clear: Value
               ) -> None:
        """A 32-bit counter of cycles with ``event``, reset when a run starts."""
        counter = Signal(32, name=f"count_{name.lower()}")
        m.d.sync += counter.eq(Mux(clear, 0, counter + event))
        m.d.comb += getattr(host, name.lower()).eq(counter)

    def _tiles(self, m: Module, loader: Loader, sequencer: Sequencer
               ) -> dict[tuple[int, int, str], Signal]:
        """Instantiate and connect the tiles; returns the word on each outgoing link.

        Keys are (row, column, link).  The north inputs of row 0 are keys of row -1.
        """
        arch = self.arch
        links = {(r, c, link): Signal(WORD, name=f"link_{r}_{c}_{link}")
                 for r, c in arch.tiles for link in LINKS}
        links |= {(-1, c, "south"): Signal(WORD, name=f"input_{c}") for c in range(arch.cols)}
        shared = {f"control__{name}": getattr(sequencer.control, name)
                  for name in RegionControl(arch).members}
        shared |= {f"config__{name}": getattr(loader.config, name)
                   for name in ConfigWrite().members if name != "valid"}
        for r, c in arch.tiles:
            ports: dict[str, object] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
            for name, value in shared.items():
                ports[f"i_{name}"] = Value.cast(value)
            selected = Signal(name=f"selected_{r}_{c}")
            m.d.comb += selected.eq(loader.config.valid & loader.rows[r] & loader.cols[c])
            ports["i_config__valid"] = selected
            for link, (dr, dc, back) in NEIGHBOURS.items():
                incoming = links.get((r + dr, c + dc, back))
                ports[f"i_{link}_i"] = Const(0, WORD.size) if incoming is None \
                    else incoming.as_value()
                ports[f"o_{link}_o"] = links[r, c, link].as_value()
            m.submodules[f"tile_{r}_{c}"] = Instance(tile_module(arch, r, c), **ports)
        return links

    def _streams(self, m: Module, links: dict, sequencer: Sequencer, host: HostRegisters) -> None:
        """FIFOs at the north and south edges, and their counters."""
        arch = self.arch
        layout = data.StructLayout({name: WORD[name].shape for name in ("data", "bias")})
        for c in range(arch.cols):
            m.submodules[f"input_fifo_{c}"] = fifo_in = SyncFIFOBuffered(
                width=layout.size, depth=arch.stream_words)
            m.submodules[f"output_fifo_{c}"] = fifo_out = SyncFIFOBuffered(
                width=layout.size, depth=arch.stream_words)
            entering, leaving = links[-1, c, "south"], links[arch.rows - 1, c, "south"]
            m.d.comb += [
                fifo_in.w_data.eq(Cat(getattr(self, f"s_axis_{c}_tdata"),
                                      getattr(self, f"s_axis_{c}_tuser"))),
                fifo_in.w_en.eq(getattr(self, f"s_axis_{c}_tvalid")),
                getattr(self, f"s_axis_{c}_tready").eq(fifo_in.w_rdy),
                sequencer.input_ready[c].eq(fifo_in.r_rdy),
                fifo_in.r_en.eq(sequencer.input_read[c]),
                sequencer.output_ready[c].eq(fifo_out.w_rdy),
                sequencer.output_valid[c].eq(leaving.valid),
                fifo_out.w_data.eq(Cat(leaving.data, leaving.bias)),
                fifo_out.w_en.eq(sequencer.output_emit[c]),
                Cat(getattr(self, f"m_axis_{c}_tdata"),
                    getattr(self, f"m_axis_{c}_tuser")).eq(fifo_out.r_data),
                getattr(self, f"m_axis_{c}_tvalid").eq(fifo_out.r_rdy),
                fifo_out.r_en.eq(getattr(self, f"m_axis_{c}_tready")),
            ]
            with m.If(sequencer.input_read[c]):
                m.d.comb += entering.eq(Cat(fifo_in.r_data, 1))
            clear = sequencer.control.clear
            self._count(m, host, f"INPUT_WORDS_{c}", sequencer.input_read[c], clear)
            self._count(m, host, f"INPUT_HOLDS_{c}", sequencer.input_hold[c], clear)
            self._count(m, host, f"OUTPUT_WORDS_{c}", sequencer.output_emit[c], clear)
            self._count(m, host, f"OUTPUT_HOLDS_{c}", sequencer.output_hold[c], clear)
