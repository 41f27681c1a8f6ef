"""A chip with the memory that it works in, for simulations."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl import emit
from rtl.chip import chip_modules
from spu.arch.chip import Chip
from spu.arch.external import ExternalMemory
from spu.rtl.chip import ChipTop
from spu.rtl.memory.timed import TimedMemory

#: Ports of the memory that the bench uses.
_BENCH = ("load", "load_beat", "load_data", "peek_beat", "peek_data")


class ChipSystem(wiring.Component):
    """``ChipTop`` before ``TimedMemory``.

    Members
    -------
    those of both but for the bus between them
    """

    def __init__(self, chip: Chip, memory: ExternalMemory) -> None:
        self.chip = ChipTop(chip)
        ids = self.chip.signature.members["m_axi_arid"].shape
        self.memory = TimedMemory(chip.memory, memory, ids)
        ports, bench = self.chip.signature.members, self.memory.signature.members
        members = {n: m for n, m in ports.items() if not n.startswith("m_axi_")}
        super().__init__(members | {name: bench[name] for name in _BENCH})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.chip, m.submodules.memory = self.chip, self.memory
        for name, member in self.signature.members.items():
            inside = getattr(self.memory if name in _BENCH else self.chip, name)
            outside = getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        for name, member in self.memory.bus.signature.flip().members.items():
            of_chip = getattr(self.chip, f"m_axi_{name}")
            of_memory = getattr(self.memory.bus, name)
            m.d.comb += of_chip.eq(of_memory) if member.flow == In else of_memory.eq(of_chip)
        return m


def system_verilog(chip: Chip, memory: ExternalMemory) -> str:
    """Verilog of chip and memory, top module ``system``; its memories hold random words."""
    modules = {n: m for n, m in chip_modules(chip).items() if n != "chip"}
    text = emit.verilog({**modules, "system": ChipSystem(chip, memory)})
    return emit.with_random_memories(text, seed=1)
