"""Streams of an array: FIFOs at the edges of the grid and between regions."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring

from spu.arch import regmap
from spu.arch.params import NEIGHBOURS, Architecture, Port, neighbour
from spu.rtl.fifo import StreamFifo
from spu.rtl.layouts import stored_word
from spu.rtl.parts import Parts


def add_streams(m: Module, bus: wiring.Component, parts: Parts) -> None:
    """The FIFOs, their counters, and the AXI4-Streams of ``bus`` at both ends.

    ``bus`` has the ports ``s_axis_C_*`` and ``m_axis_C_*`` of each column C.
    """
    arch = parts.arch
    for region, sequencer in enumerate(parts.sequencers):
        for i, port in enumerate(arch.outputs(region)):
            inner = neighbour(port.row, port.col, port.link) in arch.tiles
            fifo = _fifo(m, arch, f"output_fifo_{port.row}_{port.col}_{port.link}", not inner)
            _flush(m, parts, fifo, region)
            leaving = parts.links[port]
            m.d.comb += [
                sequencer.output_ready[i].eq(fifo.i.ready),
                sequencer.output_valid[i].eq(leaving.valid),
                fifo.i.payload.eq(Cat(leaving.data, leaving.bias)),
                fifo.i.valid.eq(sequencer.output_emit[i]),
            ]
            name = regmap.port_name(arch, port, leaving=True)
            parts.count(m, f"OUTPUT_WORDS_{name}", sequencer.output_emit[i])
            parts.count(m, f"OUTPUT_HOLDS_{name}", sequencer.output_hold[i])
            if inner:
                other = Port(*neighbour(port.row, port.col, port.link), NEIGHBOURS[port.link][2])
                _enter(m, parts, other, fifo)
                continue
            stream = f"m_axis_{port.col}"
            m.d.comb += [
                Cat(getattr(bus, f"{stream}_tdata"), getattr(bus, f"{stream}_tuser")).eq(
                    fifo.o.payload
                ),
                getattr(bus, f"{stream}_tvalid").eq(fifo.o.valid),
                fifo.o.ready.eq(getattr(bus, f"{stream}_tready")),
            ]
    for c in range(arch.cols):
        fifo = _fifo(m, arch, f"input_fifo_{c}")
        stream = f"s_axis_{c}"
        m.d.comb += [
            fifo.i.payload.eq(
                Cat(getattr(bus, f"{stream}_tdata"), getattr(bus, f"{stream}_tuser"))
            ),
            fifo.i.valid.eq(getattr(bus, f"{stream}_tvalid")),
            getattr(bus, f"{stream}_tready").eq(fifo.i.ready),
        ]
        _enter(m, parts, Port(0, c, "north"), fifo)


def _fifo(m: Module, arch: Architecture, name: str, keeps_offer: bool = False) -> StreamFifo:
    m.submodules[name] = fifo = StreamFifo(stored_word(arch).size, arch.stream_words, keeps_offer)
    return fifo


def _flush(m: Module, parts: Parts, fifo: StreamFifo, region: int) -> None:
    """Let the host flush a FIFO with this region."""
    with m.If(parts.host.flush[region] | parts.host.reset[region]):
        m.d.comb += fifo.flush.eq(1)


def _enter(m: Module, parts: Parts, port: Port, fifo: StreamFifo) -> None:
    """Let a region read a FIFO."""
    region = parts.arch.region(port.row, port.col)
    sequencer, i = parts.sequencers[region], parts.arch.inputs(region).index(port)
    _flush(m, parts, fifo, region)
    m.d.comb += [
        sequencer.input_ready[i].eq(fifo.o.valid),
        fifo.o.ready.eq(sequencer.input_read[i]),
    ]
    with m.If(sequencer.input_read[i]):
        m.d.comb += parts.entering[port].eq(Cat(fifo.o.payload, 1))
    name = regmap.port_name(parts.arch, port, leaving=False)
    parts.count(m, f"INPUT_WORDS_{name}", sequencer.input_read[i])
    parts.count(m, f"INPUT_HOLDS_{name}", sequencer.input_hold[i])
