"""Datapath of a tile: crossbar, registers and units."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.reblock import ReblockUnit
from spu.alu import Alu
from spu.arch import timing
from spu.arch.config import ADDRESS_BASE, ADDRESS_LOOP, MATRIX_MODE, PROFILE, weight_row
from spu.arch.context import CONTEXT, LINKS, SINKS, WORD, Op, Source
from spu.arch.params import (
    ADDRESS_LOOPS,
    CODES_PER_WORD,
    PROFILES,
    REGISTERS,
    STAGES,
    Architecture,
    TileKind,
)
from spu.matrix_unit import MatrixUnit
from spu.ports import slot_bits
from spu.scratchpad import Scratchpad
from spu.vector_unit import VectorUnit


class Datapath(wiring.Component):
    """Everything in a tile that executes the context word.

    Each sink of the crossbar takes one source: link inputs, register reads, the constant
    and the units' results of this cycle.  Links out are registered (``timing.HOP``).
    Sources that a tile lacks deliver invalid words.  An invalid word is all zeros.

    Members
    -------
    context : In(CONTEXT); constant : In(WORD); mode : In(MATRIX_MODE)
    weights : In(weight row) - for the mac of the cycle before
    north_i ... : In(WORD); north_o ... : Out(WORD)
    with a memory: read_base, read_loops, write_base, write_loops, reblock_profile, slot,
    stage_valid : In
    """

    def __init__(self, arch: Architecture, kind: TileKind) -> None:
        self.arch, self.kind = arch, kind
        loops = data.ArrayLayout(ADDRESS_LOOP, ADDRESS_LOOPS)
        memory_ports = {
            "read_base": In(ADDRESS_BASE), "read_loops": In(loops),
            "write_base": In(ADDRESS_BASE), "write_loops": In(loops),
            "reblock_profile": In(PROFILE),
            "slot": In(slot_bits(arch)), "stage_valid": In(STAGES),
        }
        super().__init__({
            "context": In(CONTEXT), "constant": In(WORD), "mode": In(MATRIX_MODE),
            "weights": In(weight_row(arch)),
            **{f"{link}_i": In(WORD) for link in LINKS},
            **{f"{link}_o": Out(WORD) for link in LINKS},
            **(memory_ports if kind.memory else {}),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        context = self.context
        m.submodules.matrix = matrix = MatrixUnit(self.arch)
        m.submodules.vector = vector = VectorUnit()
        m.submodules.alu = alu = Alu()
        registers = Array(Signal(WORD.size, name=f"register_{i}") for i in range(REGISTERS))

        sources = {
            **{Source[link.upper()]: getattr(self, f"{link}_i") for link in LINKS},
            Source.REGISTER_A: registers[context.register_a],
            Source.REGISTER_B: registers[context.register_b],
            Source.CONSTANT: self.constant,
            Source.VECTOR: vector.o, Source.ALU: alu.o, Source.MATRIX: matrix.o,
        }
        if self.kind.memory:
            m.submodules.scratchpad = scratchpad = Scratchpad(self.arch)
            m.submodules.reblock = reblock = ReblockUnit(
                PROFILES, self.arch.drain_lanes, CODES_PER_WORD)
            popped = Signal(WORD)
            with m.If(reblock.valid):
                m.d.comb += [popped.data.eq(reblock.codes), popped.bias.eq(reblock.bias),
                             popped.valid.eq(1)]
            sources |= {Source.MEMORY: scratchpad.o, Source.REBLOCK: popped}

        # Crossbar: one multiplexer a sink.
        words = {}
        for sink in SINKS:
            words[sink] = Signal(WORD, name=f"to_{sink}")
            with m.Switch(context[sink]):
                for source, word in sources.items():
                    with m.Case(source):
                        m.d.comb += words[sink].eq(word)
        for link in LINKS:
            m.d.sync += getattr(self, f"{link}_o").eq(words[link])
        with m.If(context.register != Source.NONE):
            m.d.sync += registers[context.register_write].eq(words["register"])

        m.d.comb += [
            matrix.x.eq(words["matrix"]), matrix.slice.eq(context.slice),
            matrix.mac.eq(context.mac), matrix.block_last.eq(context.block_last),
            matrix.last.eq(context.last), matrix.drain.eq(context.drain),
            matrix.mode.eq(self.mode), matrix.weights.eq(self.weights),
        ]
        for unit in (vector, alu):
            m.d.comb += [unit.op.eq(context.op), unit.a.eq(words["a"]), unit.b.eq(words["b"])]
        if self.kind.memory:
            lanes16 = words["a"].data[:16 * self.arch.drain_lanes]
            m.d.comb += [
                scratchpad.write.eq(words["memory"]), scratchpad.read.eq(context.read),
                reblock.push.eq((context.op == Op.PUSH) & words["a"].valid),
                reblock.values.eq(lanes16), reblock.pop.eq(context.pop),
                reblock.select.eq(self.reblock_profile),
                scratchpad.slot.eq(self.slot), scratchpad.stage_valid.eq(self.stage_valid),
            ]
            for name in ("read_base", "read_loops", "write_base", "write_loops"):
                m.d.comb += getattr(scratchpad, name).eq(getattr(self, name))
            assert timing.REBLOCK == ReblockUnit.latency
        return m
