"""Datapath of a tile: crossbar, registers and units."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.reblock import ReblockUnit
from spu.arch import timing
from spu.arch.config import Guard, format_numbers
from spu.arch.context import LINKS, SINKS, Close, Op, Source
from spu.arch.params import REGISTERS, Architecture, TileKind
from spu.rtl.address import LOOPS, AddressGenerator
from spu.rtl.alu import Alu
from spu.rtl.layouts import (
    ADDRESS_BASE,
    CONTEXT,
    GUARD,
    VECTOR_MODE,
    matrix_mode,
    stored_word,
    weight_row,
    word_layout,
)
from spu.rtl.matrix_unit import MatrixUnit
from spu.rtl.ports import STAGE_FLAGS, guard_holds, slot_bits
from spu.rtl.vector_unit import VectorUnit

#: Address generators of a tile kind, with what they step for.
_GENERATORS = ("weight", "read", "write")


class Datapath(wiring.Component):
    """Everything in a tile that executes the context word.

    Each sink of the crossbar takes one source: link inputs, register reads, the constant
    and the units' results of this cycle.  Sources that a tile lacks deliver invalid words.  An
    invalid word is all zeros.

    Parameters
    ----------
    arch: sizes of words, memories and units.
    kind: which units the tile has.

    Members
    -------
    context : In(CONTEXT); constant : In(WORD)
    slot : In(slot bits); flags : In(16 x 7) - from the sequencer
    matrix_mode : In(matrix mode); vector_mode : In(VECTOR_MODE); guards : In(4 x GUARD)
    weight_base, read_base, write_base : In(ADDRESS_BASE); weight_loops, read_loops, write_loops :
        In(4 x ADDRESS_LOOP) - of the address generators; reblock_format : In
    weight_row : Out; weights : In(weight row) - row of this cycle's mac, one cycle later
    read : Out(1); read_address : Out; read_data : In(stored word) - one cycle later
    write : Out(1); write_address : Out; write_data : Out(stored word) - to the data memory
    north_i, east_i, south_i, west_i : In(WORD) - links
    north_o, east_o, south_o, west_o : Out(WORD) - likewise
    active, forwards : Out(1) - a unit works; nothing but links out get words
    saturated : Out - elements of the units' results of this cycle that lay above the top of PAL16

    Contract
    --------
    Latency: ``timing.HOP`` = 1 from a link in to a link out; units have those of ``timing``.
    Throughput: a context word a cycle: up to nine words through the crossbar, an operation, a mac,
        a drain, a read and a write.
    Holds: none of its own; a tile enables all of it at once (``EnableInserter``).
    Reset: links, registers and what is in the units are invalid, address generators at their base.
    Corner cases: an operation that is ``guarded`` does not happen unless guard OP holds; of a mac
        whose guard does not hold neither unit nor address generator takes notice; only valid words
        are stored, and only they step the generator of writes.

    Example
    -------
    >>> from spu.arch.context import Source
    >>> from spu.arch.params import KINDS
    >>> from spu.rtl.observe import ONE, observe
    >>> south = {"context": {"south": Source.NORTH}, "north_i": {"data": 5, "valid": 1}}
    >>> observe(Datapath(ONE, KINDS["a"]), [south, {"context": {}}, {}], "south_o.data", "forwards")
    [(0, 1), (5, 0), (0, 0)]
    """

    latency = timing.HOP

    def __init__(self, arch: Architecture, kind: TileKind) -> None:
        self.arch, self.kind = arch, kind
        word = word_layout(arch)
        address = range(arch.memory_words)
        super().__init__(
            {
                "context": In(CONTEXT),
                "constant": In(word),
                "slot": In(slot_bits(arch)),
                "flags": In(STAGE_FLAGS),
                "matrix_mode": In(matrix_mode(arch)),
                "vector_mode": In(VECTOR_MODE),
                "guards": In(data.ArrayLayout(GUARD, len(Guard))),
                "reblock_format": In(format_numbers(arch)),
                **{f"{name}_base": In(ADDRESS_BASE) for name in _GENERATORS},
                **{f"{name}_loops": In(LOOPS) for name in _GENERATORS},
                "weight_row": Out(range(arch.weight_rows)),
                "weights": In(weight_row(arch)),
                "read": Out(1),
                "read_address": Out(address),
                "read_data": In(stored_word(arch)),
                "write": Out(1),
                "write_address": Out(address),
                "write_data": Out(stored_word(arch)),
                **{f"{link}_i": In(word) for link in LINKS},
                **{f"{link}_o": Out(word) for link in LINKS},
                "active": Out(1),
                "forwards": Out(1),
                "saturated": Out(range(arch.results_per_cycle + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        context, word = self.context, word_layout(self.arch)
        m.submodules.alu = alu = Alu(self.arch)
        registers = Array(Signal(word.size, name=f"register_{i}") for i in range(REGISTERS))
        c = data.View(word, registers[context.index[: (REGISTERS - 1).bit_length()]])

        sources = {
            **{Source[link.upper()]: getattr(self, f"{link}_i") for link in LINKS},
            Source.REGISTER_A: registers[context.register_a],
            Source.REGISTER_B: c.as_value(),
            Source.CONSTANT: self.constant,
            Source.ALU: alu.o,
        }
        vector = matrix = reblock = None
        if self.kind.vector:
            m.submodules.vector = vector = VectorUnit(self.arch)
            sources |= {Source.VECTOR: vector.o, Source.SUM: vector.total}
        if self.kind.matrix:
            m.submodules.matrix = matrix = MatrixUnit(self.arch)
            sources[Source.MATRIX] = matrix.o
        if self.kind.memory:
            m.submodules.reblock = reblock = ReblockUnit(
                self.arch.data_formats, self.arch.drain_lanes, self.arch.codes_per_word()
            )
            loaded, popped = Signal(word), Signal(word)
            sources |= {Source.MEMORY: loaded, Source.REBLOCK: popped}

        # Crossbar: one multiplexer a sink.
        words = {}
        for sink in SINKS:
            words[sink] = Signal(word, name=f"to_{sink}")
            with m.Switch(context[sink]):
                for source, value in sources.items():
                    with m.Case(source):
                        m.d.comb += words[sink].eq(value)
        assert self.latency == 1
        for link in LINKS:
            m.d.sync += getattr(self, f"{link}_o").eq(words[link])
        with m.If(context.register != Source.NONE):
            m.d.sync += registers[context.register_write].eq(words["register"])

        enable = Signal()
        m.d.comb += enable.eq(~context.guarded | self._guard(m, Guard.OP))
        for unit in (alu, vector) if vector else (alu,):
            m.d.comb += [
                unit.op.eq(context.op),
                unit.enable.eq(enable),
                unit.c.eq(c),
                unit.a.eq(words["a"]),
                unit.b.eq(words["b"]),
            ]
        if vector is not None:
            m.d.comb += [
                vector.mode.eq(self.vector_mode),
                vector.slice.eq(context.slice),
                vector.format.eq(self.matrix_mode.x_format),
                vector.emit.eq(self._guard(m, Guard.EMIT)),
            ]
        mac = self._matrix(m, matrix, words["matrix"]) if matrix is not None else 0
        if reblock is not None:
            self._memory(m, words["memory"], loaded)
            lanes16 = words["a"].data[: 16 * self.arch.drain_lanes]
            m.d.comb += [
                reblock.push.eq((context.op == Op.PUSH) & enable & words["a"].valid),
                reblock.values.eq(lanes16),
                reblock.pop.eq(context.pop),
                reblock.select.eq(self.reblock_format),
            ]
            with m.If(reblock.valid):
                m.d.comb += [
                    popped.data.eq(reblock.codes),
                    popped.bias.eq(reblock.bias),
                    popped.valid.eq(1),
                ]
            assert timing.REBLOCK == ReblockUnit.latency
        saturated = [
            *(vector.saturated if vector else ()),
            *(vector.total_saturated if vector else ()),
            *(matrix.saturated if matrix else ()),
        ]
        m.d.comb += [
            self.saturated.eq(sum(saturated)),
            self.active.eq(
                mac
                | ((context.op != Op.NOP) & enable & (words["a"].valid | words["b"].valid))
                | self.read
                | self.write
            ),
            self.forwards.eq(
                ~self.active & sum((words[link].valid for link in LINKS), start=Value.cast(0)).any()
            ),
        ]
        return m

    def _guard(self, m: Module, guard: Guard) -> Signal:
        """Whether a guard holds in this cycle."""
        return guard_holds(
            m, self.guards[guard.value], self.slot, self.flags, f"guard_{guard.name.lower()}"
        )

    def _generator(self, m: Module, name: str, bits: int) -> AddressGenerator:
        m.submodules[f"{name}_generator"] = unit = AddressGenerator(bits)
        m.d.comb += [
            unit.base.eq(getattr(self, f"{name}_base").base),
            unit.loops.eq(getattr(self, f"{name}_loops")),
        ]
        return unit

    def _matrix(self, m: Module, matrix: MatrixUnit, x: data.View) -> Signal:
        """Guarded macs with generated weight rows; returns whether one happens."""
        context = self.context
        mac = Signal()
        closes, ends = Signal(), Signal()
        by_guards = context.close == Close.GUARDS
        m.d.comb += [
            mac.eq(
                context.mac & guard_holds(m, self.weight_base.guard, self.slot, self.flags, "mac")
            ),
            closes.eq(Mux(by_guards, self._guard(m, Guard.BLOCK), context.close != Close.NOTHING)),
            ends.eq(
                Mux(by_guards, closes & self._guard(m, Guard.LAST), context.close == Close.DOT)
            ),
        ]
        rows = self._generator(m, "weight", len(self.weight_row))
        m.d.comb += [
            rows.advance.eq(mac),
            self.weight_row.eq(rows.address),
            matrix.weights.eq(self.weights),
            matrix.x.eq(x),
            matrix.slice.eq(context.slice),
            matrix.mac.eq(mac),
            matrix.block_last.eq(closes),
            matrix.last.eq(ends),
            matrix.drain.eq(context.drain),
            matrix.mode.eq(self.matrix_mode),
        ]
        return mac

    def _memory(self, m: Module, stored: data.View, loaded: Signal) -> None:
        """Store valid words; read in iterations in which the read guard holds."""
        bits = len(self.read_address)
        reads, writes = self._generator(m, "read", bits), self._generator(m, "write", bits)
        was_read = Signal()
        m.d.comb += [
            self.read.eq(
                self.context.read
                & guard_holds(m, self.read_base.guard, self.slot, self.flags, "read")
            ),
            reads.advance.eq(self.read),
            self.read_address.eq(reads.address),
            self.write.eq(stored.valid),
            writes.advance.eq(stored.valid),
            self.write_address.eq(writes.address),
            self.write_data.data.eq(stored.data),
            self.write_data.bias.eq(stored.bias),
        ]
        m.d.sync += was_read.eq(self.read)
        with m.If(was_read):
            m.d.comb += [
                loaded.data.eq(self.read_data.data),
                loaded.bias.eq(self.read_data.bias),
                loaded.valid.eq(1),
            ]
