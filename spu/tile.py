"""A tile: configuration banks around a datapath that holds with its region."""

from amaranth.hdl import Cat, EnableInserter, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.config import (
    ADDRESS_BASE,
    ADDRESS_LOOP,
    ADDRESS_WORDS,
    MATRIX_MODE,
    Space,
    TileRegister,
    depth,
    weight_row,
    words_per_row,
)
from spu.arch.context import CONTEXT, LINKS, WORD
from spu.arch.params import MATRIX_MODES, Architecture, TileKind
from spu.config_store import BankedMemory, BankedRegisters
from spu.datapath import Datapath
from spu.ports import ConfigWrite, RegionControl


class Tile(wiring.Component):
    """One tile of the array.

    In each cycle with ``control.step`` the tile executes the context word that it
    fetched in the cycle before.  Without ``step`` nothing changes but the shadow bank.

    Members
    -------
    control : In(RegionControl); config : In(ConfigWrite) - only writes for this tile
    north_i, east_i, south_i, west_i : In(WORD) - what the neighbours sent
    north_o, east_o, south_o, west_o : Out(WORD) - registered links
    """

    def __init__(self, arch: Architecture, kind: TileKind) -> None:
        self.arch, self.kind = arch, kind
        super().__init__({
            "control": In(RegionControl(arch)), "config": In(ConfigWrite()),
            **{f"{link}_i": In(WORD) for link in LINKS},
            **{f"{link}_o": Out(WORD) for link in LINKS},
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, control = self.arch, self.control
        core = Datapath(arch, self.kind)
        m.submodules.datapath = ResetInserter(control.clear)(EnableInserter(control.step)(core))

        def store(space: Space, registered: bool) -> BankedMemory:
            memory = BankedMemory(depth(space, arch), words_per_row(space, arch), registered)
            m.submodules[space.name.lower()] = memory
            m.d.comb += [
                memory.enable.eq(self.config.valid & (self.config.space == space)),
                memory.row.eq(self.config.row), memory.word.eq(self.config.word),
                memory.data.eq(self.config.data), memory.bank.eq(control.bank),
            ]
            return memory

        contexts = store(Space.CONTEXT, registered=True)
        weights = store(Space.WEIGHT, registered=True)
        constants = store(Space.CONSTANT, registered=False)
        m.submodules.register = registers = BankedRegisters(TileRegister.COUNT)
        context = Signal(CONTEXT)
        m.d.comb += [
            registers.enable.eq(self.config.valid & (self.config.space == Space.REGISTER)),
            registers.row.eq(self.config.row), registers.data.eq(self.config.data),
            registers.bank.eq(control.bank),
            contexts.read_enable.eq(control.fetch), contexts.read_row.eq(control.next_slot),
            context.eq(contexts.read_data), core.context.eq(context),
            constants.read_row.eq(context.constant),
            core.constant.eq(Cat(constants.read_data[:WORD.size - 1], 1)),
            core.mode.eq(data.View(data.ArrayLayout(data.ArrayLayout(1, 32), MATRIX_MODES),
                                   registers.values.as_value()[:32 * MATRIX_MODES])[context.mode]
                         .as_value()[:MATRIX_MODE.size]),
            core.weights.eq(weights.read_data[:weight_row(arch).size]),
        ]

        # Weight rows lie in the order of the macs of an iteration.
        weight_index, counted = Signal.like(weights.read_row), Signal.like(weights.read_row)
        m.d.comb += [
            weight_index.eq(Mux(control.slot == 0, 0, counted)),
            weights.read_row.eq(weight_index),
            weights.read_enable.eq(control.step),
        ]
        with m.If(control.step):
            m.d.sync += counted.eq(weight_index + context.mac)

        if self.kind.memory:
            values = registers.values
            for name, first in (("read", TileRegister.READ), ("write", TileRegister.WRITE)):
                base, loops = getattr(core, f"{name}_base"), getattr(core, f"{name}_loops")
                m.d.comb += base.eq(values[first][:ADDRESS_BASE.size])
                m.d.comb += [loops[i].eq(values[first + 1 + i][:ADDRESS_LOOP.size])
                             for i in range(ADDRESS_WORDS - 1)]
            m.d.comb += [
                core.reblock_profile.eq(values[TileRegister.REBLOCK_PROFILE]),
                core.slot.eq(control.slot), core.stage_valid.eq(control.stage_valid),
            ]
        for link in LINKS:
            m.d.comb += [
                getattr(core, f"{link}_i").eq(getattr(self, f"{link}_i")),
                getattr(self, f"{link}_o").eq(getattr(core, f"{link}_o")),
            ]
        return m
