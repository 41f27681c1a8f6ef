"""Configuration storage in two banks: one in use, one that the loader writes."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class BankedRegisters(wiring.Component):
    """32-bit configuration registers, all readable at once.

    Latency 0 for reads; a write is seen after the banks are swapped.

    Members
    -------
    enable, row, data : In - write ``data`` to register ``row`` of the shadow bank
    bank : In(1) - the bank in use; values : Out(count x 32)
    """

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__({"enable": In(1), "row": In(12), "data": In(32), "bank": In(1),
                          "values": Out(data.ArrayLayout(unsigned(32), count))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for i in range(self.count):
            banks = [Signal(32, name=f"register_{i}_{bank}") for bank in range(2)]
            for bank in range(2):
                with m.If(self.enable & (self.row == i) & (self.bank != bank)):
                    m.d.sync += banks[bank].eq(self.data)
            m.d.comb += self.values[i].eq(Mux(self.bank, banks[1], banks[0]))
        return m


class BankedMemory(wiring.Component):
    """Configuration rows of several 32-bit words, one row read at a time.

    Members
    -------
    enable, row, word, data : In - write one word of a row of the shadow bank
    bank : In(1) - the bank in use
    read_enable, read_row : In; read_data : Out(32 * words)

    With ``registered`` reads have latency 1 and follow ``read_enable``; otherwise they
    are combinational.
    """

    def __init__(self, depth: int, words: int, registered: bool) -> None:
        self.depth, self.words, self.registered = depth, words, registered
        super().__init__({"enable": In(1), "row": In(12), "word": In(6), "data": In(32),
                          "bank": In(1), "read_enable": In(1), "read_row": In(range(depth)),
                          "read_data": Out(32 * words)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=data.ArrayLayout(unsigned(32), self.words), depth=2 * self.depth, init=[])
        write = memory.write_port(granularity=1)
        read = memory.read_port(domain="sync" if self.registered else "comb")
        row_bits = len(self.read_row)
        m.d.comb += [
            write.addr.eq(Cat(self.row[:row_bits], ~self.bank)),
            write.data.eq(Cat(self.data for _ in range(self.words))),
            write.en.eq(self.enable << self.word),
            read.addr.eq(Cat(self.read_row, self.bank)),
            self.read_data.eq(read.data),
        ]
        if self.registered:
            m.d.comb += read.en.eq(self.read_enable)
        return m
