"""A tile: configuration banks around a datapath that holds with its region."""

from amaranth.hdl import Cat, EnableInserter, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.config import Guard, Space, TileRegister, depth
from spu.arch.context import LINKS
from spu.arch.params import ADDRESS_LOOPS, MODES, Architecture, TileKind
from spu.rtl.config_store import BankedMemory, BankedRegisters
from spu.rtl.data_memory import DataMemory
from spu.rtl.datapath import Datapath
from spu.rtl.layouts import (
    ADDRESS_LOOP,
    CONTEXT,
    GUARD,
    row_layout,
    stored_word,
    weight_row,
    word_layout,
)
from spu.rtl.ports import ConfigBus, RegionControl


def register_widths(arch: Architecture, kind: TileKind) -> list[int]:
    """Stored bits of each tile register; what a kind does not need is not stored."""
    widths = [row_layout(Space.REGISTER, row, arch).size for row in range(TileRegister.COUNT)]
    for used, first, end in (
        (kind.vector, TileRegister.VECTOR_MODE, TileRegister.GUARD),
        (kind.memory, TileRegister.REBLOCK, TileRegister.WEIGHT),
        (kind.matrix, TileRegister.WEIGHT, TileRegister.READ),
        (kind.memory, TileRegister.READ, TileRegister.COUNT),
    ):
        if not used:
            widths[first:end] = [0] * (end - first)
    return widths


class Tile(wiring.Component):
    """One tile of the array.

    In each cycle with ``control.step`` the tile executes the context word that it
    fetched in the cycle before.

    Parameters
    ----------
    arch: sizes of words, memories and units.
    kind: which units it has; what a kind does not need is not stored.

    Members
    -------
    control : In(RegionControl); config : In(ConfigBus) - only accesses to this tile
    config_data : Out(32) - the word asked for two cycles before, else 0
    north_i, east_i, south_i, west_i : In(WORD) - what the neighbours sent
    north_o, east_o, south_o, west_o : Out(WORD) - registered links
    active, forwards : Out(1) - counted: a unit worked, or words only passed, a cycle before
    saturated : Out - counted: elements that lay above the top, see ``regmap.TILE_COUNTERS``

    Contract
    --------
    Latency: ``timing.HOP`` = 1 from a link in to a link out.
    Throughput: a context word a cycle.
    Holds: without ``control.step`` nothing changes but the shadow bank, and no event is counted
        (``verif.formal.hold_proof`` proves it for every flip-flop).
    Reset: links invalid, registers of both banks 0; memories keep what they have.
        ``control.clear`` resets the datapath alone.
    Corner cases: all outputs are registers, which simulators of the array rely on
        (``rtl.simulator``); an access to a space that the kind lacks reads 0 and writes nothing.

    Example
    -------
    >>> from spu.arch.config import Space
    >>> from spu.arch.context import Source
    >>> from spu.arch.params import KINDS
    >>> from spu.rtl.observe import ONE, observe
    >>> passes = Source.NORTH.value << 8    # the lower half of a context word: south takes north
    >>> write = {"config.write": 1, "config.space": Space.CONTEXT, "config.data": passes}
    >>> fetch = {"config.write": 0, "control.fetch": 1, "control.next_bank": 1}
    >>> run = {"control.bank": 1, "control.step": 1, "north_i": {"data": 5, "valid": 1}}
    >>> observe(Tile(ONE, KINDS["a"]), [write, fetch, run, {}], "south_o.data")
    [0, 0, 0, 5]
    """

    latency = Datapath.latency

    def __init__(self, arch: Architecture, kind: TileKind) -> None:
        self.arch, self.kind = arch, kind
        word = word_layout(arch)
        super().__init__(
            {
                "control": In(RegionControl(arch)),
                "config": In(ConfigBus()),
                "config_data": Out(32),
                **{f"{link}_i": In(word) for link in LINKS},
                **{f"{link}_o": Out(word) for link in LINKS},
                "active": Out(1),
                "forwards": Out(1),
                "saturated": Out(range(arch.results_per_cycle + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, control = self.arch, self.control
        core = Datapath(arch, self.kind)
        m.submodules.datapath = ResetInserter(control.clear)(EnableInserter(control.step)(core))
        answers: dict[Space, Value] = {}

        def store(space: Space, width: int, registered: bool) -> BankedMemory:
            memory = BankedMemory(space, depth(space, arch), width, registered)
            m.submodules[space.name.lower()] = memory
            wiring.connect(m, wiring.flipped(self.config), memory.config)
            m.d.comb += memory.bank.eq(control.bank)
            answers[space] = memory.config_data
            return memory

        contexts = store(Space.CONTEXT, CONTEXT.size, registered=True)
        constants = store(Space.CONSTANT, stored_word(arch).size, registered=False)
        m.submodules.register = registers = BankedRegisters(
            Space.REGISTER, register_widths(arch, self.kind)
        )
        wiring.connect(m, wiring.flipped(self.config), registers.config)
        answers[Space.REGISTER] = registers.read_data
        context = Signal(CONTEXT)
        m.d.comb += [
            registers.bank.eq(control.bank),
            contexts.read_enable.eq(control.fetch),
            contexts.read_row.eq(control.next_slot),
            contexts.read_bank.eq(control.next_bank),
            context.eq(contexts.read_data),
            core.context.eq(context),
            constants.read_row.eq(context.index),
            constants.read_bank.eq(control.bank),
            core.constant.eq(Cat(constants.read_data[: word_layout(arch).size - 1], 1)),
            core.slot.eq(control.slot),
            core.flags.eq(control.flags),
        ]
        m.d.sync += [
            self.active.eq(core.active & control.step),
            self.forwards.eq(core.forwards & control.step),
            self.saturated.eq(Mux(control.step, core.saturated, 0)),
        ]
        self._registers(m, core, registers.values, context)
        if self.kind.matrix:
            weights = store(Space.WEIGHT, weight_row(arch).size, registered=True)
            m.d.comb += [
                weights.read_row.eq(core.weight_row),
                weights.read_bank.eq(control.bank),
                weights.read_enable.eq(control.step),
                core.weights.eq(weights.read_data[: weight_row(arch).size]),
            ]
        if self.kind.memory:
            m.submodules.memory = memory = DataMemory(arch)
            wiring.connect(m, wiring.flipped(self.config), memory.config)
            answers[Space.MEMORY] = memory.config_data
            m.d.comb += [
                memory.half.eq(control.data_bank),
                memory.read.eq(core.read & control.step),
                memory.read_address.eq(core.read_address),
                core.read_data.eq(memory.read_data),
                memory.write.eq(core.write & control.step),
                memory.write_address.eq(core.write_address),
                memory.write_data.eq(core.write_data),
            ]
        for link in LINKS:
            m.d.comb += [
                getattr(core, f"{link}_i").eq(getattr(self, f"{link}_i")),
                getattr(self, f"{link}_o").eq(getattr(core, f"{link}_o")),
            ]
        asked = Signal()
        m.d.sync += [asked.eq(self.config.read), self.config_data.eq(0)]
        with m.If(asked), m.Switch(self.config.space):
            for space, answer in answers.items():
                with m.Case(space.value):
                    m.d.sync += self.config_data.eq(answer)
        return m

    def _registers(self, m: Module, core: Datapath, values: data.View, context: Signal) -> None:
        """Hand configuration registers to the datapath."""
        modes = data.ArrayLayout(data.ArrayLayout(1, 32), MODES)
        for name, first in (
            ("matrix_mode", TileRegister.MODE),
            ("vector_mode", TileRegister.VECTOR_MODE),
        ):
            rows = data.View(modes, values.as_value()[32 * first : 32 * (first + MODES)])
            port = getattr(core, name)
            m.d.comb += port.eq(rows[context.mode].as_value()[: port.shape().size])
        m.d.comb += [
            core.guards[i].eq(values[TileRegister.GUARD + i][: GUARD.size])
            for i in range(len(Guard))
        ]
        m.d.comb += core.reblock_format.eq(values[TileRegister.REBLOCK])
        for name, first in (
            ("weight", TileRegister.WEIGHT),
            ("read", TileRegister.READ),
            ("write", TileRegister.WRITE),
        ):
            base, loops = getattr(core, f"{name}_base"), getattr(core, f"{name}_loops")
            m.d.comb += base.eq(values[first])
            m.d.comb += [
                loops[i].eq(values[first + 1 + i][: ADDRESS_LOOP.size])
                for i in range(ADDRESS_LOOPS)
            ]
