"""Golden model of the array: executes the contexts of a decoded program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, SequencerRegister, Space, TileRegister
from spu.arch.context import ALU_OPS, LINKS, VECTOR_OPS, Op, Source
from spu.arch.params import CONSTANTS, REGISTERS, STAGES, Architecture
from verif.golden.units import AddressGenerator, MatrixUnit, Reblock, Word, alu, vector

Tile = tuple[int, int]
#: Words of a stream: data uint64 and bias uint8.
Stream = list[tuple[int, int]]
_BACK = {"north": (-1, 0, "south"), "east": (0, 1, "west"),
         "south": (1, 0, "north"), "west": (0, -1, "east")}


class InputExhausted(ValueError):
    """A slot reads a stream that has no word left; the RTL would hold for ever."""


class TileModel:
    """State and behaviour of one tile."""

    def __init__(self, image: Image, tile: Tile, ii: int) -> None:
        arch, self.tile = image.arch, tile
        self.kind = arch.kind(*tile)
        self.contexts = [image.read(Space.CONTEXT, tile, s) for s in range(ii)]
        self.weights = [image.read(Space.WEIGHT, tile, r) for r in range(arch.weight_rows)]
        self.constants = [image.read(Space.CONSTANT, tile, i) for i in range(CONSTANTS)]
        registers = [image.read(Space.REGISTER, tile, r) for r in range(TileRegister.COUNT)]
        self.modes = registers[:TileRegister.REBLOCK_PROFILE]
        self.read_base = registers[TileRegister.READ]
        self.matrix = MatrixUnit(arch)
        self.reblock = Reblock(arch, registers[TileRegister.REBLOCK_PROFILE]["profile"])
        self.read_address, self.write_address = (
            AddressGenerator(registers[first]["base"], registers[first + 1:first + ADDRESS_WORDS],
                             arch.memory_words)
            for first in (TileRegister.READ, TileRegister.WRITE))
        self.memory: list[tuple[int, int]] = [(0, 0)] * arch.memory_words
        self.registers: list[Word] = [None] * REGISTERS
        self.out: dict[str, Word] = dict.fromkeys(LINKS)
        self.due: dict[tuple[Source, int], Word] = {}
        self.row = 0

    def step(self, cycle: int, slot: int, stage_valid: Callable[[int], bool],
             links: Mapping[Source, Word]) -> dict[str, Word]:
        """Execute one cycle; returns the words on the links out of the next cycle."""
        context = self.contexts[slot]
        self.matrix.settle(cycle)
        if slot == 0:
            self.row = 0

        def source(name: str) -> Word:
            chosen = Source(context[name])
            if chosen in links:
                return links[chosen]
            if chosen in (Source.REGISTER_A, Source.REGISTER_B):
                return self.registers[context[chosen.name.lower()]]
            if chosen is Source.CONSTANT:
                constant = self.constants[context["constant"]]
                return constant["data"], constant["bias"]
            return self.due.get((chosen, cycle))

        out = {link: source(link) for link in LINKS}
        a, b = source("a"), source("b")
        matrix_in, stored, kept = source("matrix"), source("memory"), source("register")
        op = Op(context["op"])
        if op in VECTOR_OPS:
            self.due[Source.VECTOR, cycle + timing.VECTOR] = vector(op, a, b)
        elif op in ALU_OPS:
            self.due[Source.ALU, cycle + timing.ALU] = alu(op, a, b)
        if context["drain"]:
            self.due[Source.MATRIX, cycle + timing.DRAIN] = self.matrix.drain()
        if context["mac"]:
            self.matrix.mac(cycle, matrix_in, context["slice"],
                            self.weights[self.row % len(self.weights)],
                            self.modes[context["mode"]],
                            bool(context["block_last"]), bool(context["last"]))
            self.row += 1
        if self.kind.memory:
            self._memory(cycle, slot, context, stage_valid, op, a, stored)
        if context["register"] != Source.NONE.value:
            self.registers[context["register_write"]] = kept
        self.due = {key: word for key, word in self.due.items() if key[1] > cycle}
        return out

    def _memory(self, cycle: int, slot: int, context: dict, stage_valid: Callable[[int], bool],
                op: Op, a: Word, stored: Word) -> None:
        if context["read"] and stage_valid(self.read_base["stage"]
                                           + (slot < self.read_base["slot"])):
            self.due[Source.MEMORY, cycle + timing.MEMORY] = self.memory[self.read_address.next()]
        if stored is not None:
            self.memory[self.write_address.next()] = stored
        if context["pop"]:
            self.due[Source.REBLOCK, cycle + timing.REBLOCK] = self.reblock.pop()
        if op is Op.PUSH:
            self.reblock.push(a)


@dataclass
class Result:
    """What a run leaves: words of each south stream, executed cycles, and the links.

    ``links`` has shape ``(cycles, rows, columns, 4)`` of 73-bit words as Python integers
    (data, bias in bits 64-71, predicate in bit 72), in the order of ``LINKS``.
    """

    outputs: dict[int, Stream]
    cycles: int
    links: NDArray[np.object_] = field(repr=False)


def word_bits(word: Word) -> int:
    """A word as it stands on a link."""
    return 0 if word is None else word[0] | word[1] << 64 | 1 << 72


class GoldenArray:
    """Runs a program image on a model of its architecture."""

    def __init__(self, image: Image) -> None:
        self.image, self.arch = image, image.arch

    def run(self, inputs: Mapping[int, Stream], iterations: int,
            progress: Callable[[int], None] = lambda _: None) -> Result:
        """Execute ``iterations`` with the words of the north streams.

        Raises ``InputExhausted`` if a stream has too few words.
        """
        arch: Architecture = self.arch
        read = self.image.read
        ii = read(Space.SEQUENCER, (0, 0), SequencerRegister.II)["slots_less_1"] + 1
        span = read(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN)
        streams = [read(Space.STREAM, (0, 0), s) for s in range(ii)]
        tiles = {t: TileModel(self.image, t, ii) for t in arch.tiles}
        waiting = {c: iter(inputs.get(c, [])) for c in range(arch.cols)}
        outputs: dict[int, Stream] = {c: [] for c in range(arch.cols)}
        cycles = (iterations - 1 + span["stage"]) * ii + span["slot"] + 1 if iterations else 0
        links = np.zeros((cycles, arch.rows, arch.cols, len(LINKS)), object)

        for cycle in range(cycles):
            iteration, slot = divmod(cycle, ii)

            def stage_valid(stage: int, iteration: int = iteration) -> bool:
                return stage < STAGES and 0 <= iteration - stage < iterations

            for (r, c), tile in tiles.items():
                links[cycle, r, c] = [word_bits(tile.out[link]) for link in LINKS]
            entering: dict[int, Word] = {}
            for c in range(arch.cols):
                word = tiles[arch.rows - 1, c].out["south"]
                if streams[slot]["emit"] >> c & 1 and word is not None:
                    outputs[c].append(word)
                if streams[slot]["read"] >> c & 1 and stage_valid(0):
                    entering[c] = next(waiting[c], None)
                    if entering[c] is None:
                        raise InputExhausted(f"input stream {c} is empty in iteration {iteration}")
            following = {}
            for (r, c), tile in tiles.items():
                seen = {}
                for link, (dr, dc, back) in _BACK.items():
                    neighbour = tiles.get((r + dr, c + dc))
                    seen[Source[link.upper()]] = neighbour.out[back] if neighbour else None
                if r == 0:
                    seen[Source.NORTH] = entering.get(c)
                following[r, c] = tile.step(cycle, slot, stage_valid, seen)
            for position, out in following.items():
                tiles[position].out = out
            if slot == 0:
                progress(iteration)
        return Result(outputs, cycles, links)
