"""Data memory of a tile with its address generators."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spu.arch import timing
from spu.arch.config import ADDRESS_BASE, ADDRESS_LOOP
from spu.arch.context import WORD
from spu.arch.params import ADDRESS_LOOPS, STAGES, Architecture
from spu.ports import slot_bits


class AddressGenerator(wiring.Component):
    """Affine addresses: ``base + sum(counter_i * stride_i)`` modulo the memory's words.

    Four nested counters, number 0 innermost, step once for each ``advance``; counter
    ``i`` runs from 0 to ``count_i - 1``.  The address is combinational; it moves on in
    the cycle after ``advance``.

    Members
    -------
    advance : In(1); base : In(12); loops : In(4 x ADDRESS_LOOP); address : Out
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__({
            "advance": In(1), "base": In(ADDRESS_BASE["base"].shape),
            "loops": In(data.ArrayLayout(ADDRESS_LOOP, ADDRESS_LOOPS)),
            "address": Out(range(arch.memory_words)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        carry, total = self.advance, self.base
        for i in range(ADDRESS_LOOPS):
            loop = self.loops[i]
            counter = Signal(16, name=f"counter_{i}")
            offset = Signal(len(self.address), name=f"offset_{i}")
            at_end = counter == loop.count_less_1
            with m.If(carry):
                m.d.sync += [
                    counter.eq(Mux(at_end, 0, counter + 1)),
                    offset.eq(Mux(at_end, 0, offset + loop.stride)),
                ]
            carry, total = carry & at_end, total + offset
        m.d.comb += self.address.eq(total)
        return m


class Scratchpad(wiring.Component):
    """Data memory: one read and one write a cycle, at generated addresses.

    A valid ``write`` word is stored (an invalid one is ignored and the write address
    stays) and can be read from the next cycle on.  ``read`` delivers a word
    ``timing.MEMORY`` cycles later, if the iteration it belongs to exists: reads begin
    with ``stage`` and ``slot`` of the read address base.  Otherwise it delivers an
    invalid word and the read address stays.

    Members
    -------
    write : In(WORD); write_base, write_loops : In - write address generator
    read : In(1); read_base, read_loops : In - read address generator
    slot, stage_valid : In - from the sequencer; o : Out(WORD)
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        loops = data.ArrayLayout(ADDRESS_LOOP, ADDRESS_LOOPS)
        super().__init__({
            "write": In(WORD), "write_base": In(ADDRESS_BASE), "write_loops": In(loops),
            "read": In(1), "read_base": In(ADDRESS_BASE), "read_loops": In(loops),
            "slot": In(slot_bits(arch)), "stage_valid": In(STAGES), "o": Out(WORD),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        assert timing.MEMORY == timing.WRITE == 1
        m.submodules.memory = memory = Memory(
            shape=data.StructLayout({name: WORD[name].shape for name in ("data", "bias")}),
            depth=self.arch.memory_words, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.submodules.write_address = write_address = AddressGenerator(self.arch)
        m.submodules.read_address = read_address = AddressGenerator(self.arch)

        stage = Signal(range(STAGES + 1))
        reading, was_read = Signal(), Signal()
        m.d.comb += [
            stage.eq(self.read_base.stage + (self.slot < self.read_base.slot)),
            reading.eq(self.read & self.stage_valid.bit_select(stage, 1)),
            read_address.advance.eq(reading),
            read_address.base.eq(self.read_base.base),
            read_address.loops.eq(self.read_loops),
            read.addr.eq(read_address.address),
            read.en.eq(reading),
            write_address.advance.eq(self.write.valid),
            write_address.base.eq(self.write_base.base),
            write_address.loops.eq(self.write_loops),
            write.addr.eq(write_address.address),
            write.data.data.eq(self.write.data),
            write.data.bias.eq(self.write.bias),
            write.en.eq(self.write.valid),
        ]
        m.d.sync += was_read.eq(reading)
        with m.If(was_read):
            m.d.comb += [self.o.data.eq(read.data.data), self.o.bias.eq(read.data.bias),
                         self.o.valid.eq(1)]
        return m
