"""Data memory of a tile: two halves, one in use, one that the loader fills."""

from amaranth.hdl import Array, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spu.arch import timing
from spu.arch.config import Space
from spu.arch.params import Architecture
from spu.rtl.layouts import stored_word
from spu.rtl.ports import ConfigBus


class DataMemory(wiring.Component):
    """Two halves of ``memory_words`` words, each with one read and one write port.

    The half in use serves the program; configuration writes go to the other one.

    Parameters
    ----------
    arch: its ``memory_words``, and the width of its words.

    Members
    -------
    config : In(ConfigBus); half : In(1) - the one in use
    read : In(1); read_address : In(range(memory_words)); read_data : Out(stored word)
    write : In(1); write_address : In(range(memory_words)); write_data : In(stored word)
    config_data : Out(32) - one cycle after ``config.read``

    Contract
    --------
    Latency: ``timing.MEMORY`` = 1 from ``read`` to ``read_data``; ``timing.WRITE`` = 1 from a write
        to the first read that sees it.
    Throughput: a read and a write a cycle, and a configuration write of 32 bits, or of a row of
        equal words, to the other half.
    Holds: without ``read`` and ``write`` nothing changes.
    Reset: the memories keep what they have, and ``Zeroing`` clears them.
    Corner cases: a read of the word that is written in the same cycle gives the old one; readback
        takes the read ports, so that only idle regions are read back; biases are stored, predicates
        are not, since only valid words are.

    Example
    -------
    >>> from spu.rtl.observe import ONE, observe
    >>> write = {"write": 1, "write_address": 1, "write_data": {"data": 9}, "read": 1,
    ...          "read_address": 1}
    >>> observe(DataMemory(ONE), [write, {"write": 0}, {}], "read_data.data")
    [0, 0, 9]
    """

    latency = timing.MEMORY

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        address = range(arch.memory_words)
        super().__init__(
            {
                "config": In(ConfigBus()),
                "half": In(1),
                "read": In(1),
                "read_address": In(address),
                "read_data": Out(stored_word(arch)),
                "write": In(1),
                "write_address": In(address),
                "write_data": In(stored_word(arch)),
                "config_data": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        assert self.latency == timing.WRITE == 1
        config, bits = self.config, stored_word(self.arch).size
        here = config.space == Space.MEMORY
        halves = []
        for half in range(2):
            m.submodules[f"half_{half}"] = memory = Memory(
                shape=bits, depth=self.arch.memory_words, init=[]
            )
            write, read = memory.write_port(granularity=8), memory.read_port()
            chosen = config.read & ((self.half ^ config.shadow) == half)
            m.d.comb += [
                read.en.eq((self.read & (self.half == half)) | chosen),
                read.addr.eq(Mux(config.read, config.row, self.read_address)),
            ]
            with m.If(self.half == half):
                m.d.comb += [
                    write.addr.eq(self.write_address),
                    write.data.eq(self.write_data),
                    write.en.eq(self.write.replicate(len(write.en))),
                ]
            with m.Else():
                m.d.comb += [
                    write.addr.eq(config.row),
                    write.en.eq(
                        Mux(config.write & here, Mux(config.whole, ~0, 0xF << (4 * config.word)), 0)
                    ),
                ]
                m.d.comb += write.data.eq(config.data.replicate(-(-bits // 32)))
            halves.append(read.data)
        chosen_half = Array(halves)[self.half ^ (config.read & config.shadow)]
        m.d.comb += [
            self.read_data.eq(Mux(self.half, halves[1], halves[0])),
            self.config_data.eq(chosen_half.word_select(config.word, 32)),
        ]
        return m
