"""Independent check of a program: symbolic execution of its decoded contexts.

Nothing here comes from the passes that made the program.  Tokens stand for words and
travel through an image, cycle by cycle, for some iterations; a dot product becomes the
set of the products in it, each naming the element of the layer's input that the weight
row's position stands for.  At the south edge every token must be exactly what the network
asks for: every input of every result once, with its own weight, in order of iterations.
A word that is missing, late, overwritten, doubled or swapped gives a wrong token.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from compiler.errors import CompileError
from compiler.graph import QuantisedNetwork
from compiler.mapping import Mapping
from compiler.tokens import Tokens
from pal_units import model
from pal_units.formats import PAL8T, PAL8U
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space, TileRegister
from spu.arch.context import LINKS, Close, Op, Source
from spu.arch.params import ALWAYS, BLOCK, EXISTS, MATRIX_FORMATS, Architecture, Port
from spu.arch.program import missing_unit

#: Iterations that are followed beyond those in flight: every ring of buffers wraps.
EXTRA_ITERATIONS = 3

#: A vector of lanes: each lane is a value number or None.
Token = tuple[int | None, ...]


class WrongProgram(CompileError):
    """The program does not compute what it should; a fault of the compiler."""


def _bag(items: Iterable[Hashable]) -> frozenset:
    """Multiset: order does not count, repetition does."""
    return frozenset(Counter(items).items())


@dataclass
class _Tile:
    """Symbolic state of one tile."""

    out: dict[str, Token | None] = field(default_factory=lambda: dict.fromkeys(LINKS))
    due: dict[tuple[Source, int], Token | None] = field(default_factory=dict)
    registers: dict[int, Token | None] = field(default_factory=dict)
    memory: dict[int, Token] = field(default_factory=dict)
    accesses: dict[int, int] = field(default_factory=dict)
    block: list[list[tuple]] = field(default_factory=list)
    done: list[list[tuple]] = field(default_factory=list)
    valid: bool = True
    finished: dict[int, tuple] = field(default_factory=dict)
    results: list[Token | None] = field(default_factory=list)
    pushed: list[int | None] = field(default_factory=list)
    codes: list[Token] = field(default_factory=list)


def check(image: Image, mapping: Mapping, arch: Architecture) -> None:
    """Raise ``WrongProgram`` unless the image computes ``mapping.network``.

    Of the mapping only the network and the claimed places of outputs are used.
    """
    machine = _Machine(image, arch)
    emitted, iterations = machine.run(
        mapping.reads, arch.codes_per_word(mapping.network.fmt)), machine.iterations
    expected = _expected(machine.values, mapping.network, iterations)
    for column, words in mapping.emitted.items():
        got = emitted.get(column, [])
        if len(got) != iterations * len(words):
            raise WrongProgram(f"output stream {column} emits {len(got)} words in {iterations} "
                              f"iterations, not {iterations * len(words)}")
        for i, token in enumerate(got):
            iteration, position = divmod(i, len(words))
            _, group, word = words[position]
            first = group * arch.columns + word * arch.drain_lanes
            want = tuple(expected[iteration][first:first + arch.drain_lanes])
            if token[:arch.drain_lanes] != want:
                raise WrongProgram(f"output stream {column}, iteration {iteration}, word "
                                  f"{position}: not results {first} and following of the network")


def _expected(values: Tokens, network: QuantisedNetwork, iterations: int) -> list[list[int]]:
    """Value numbers of the results of each iteration, straight from the network."""
    out = []
    fmt = MATRIX_FORMATS.index(network.fmt)
    wide_format = PAL8U if network.fmt.profile == "U" else PAL8T
    wide = MATRIX_FORMATS.index(wide_format)
    weights = [model.widen(layer.codes, network.fmt, wide_format).tolist()
               for layer in network.layers]
    for iteration in range(iterations):
        inputs = [values.number("input", iteration, k)
                  for k in range(network.layers[0].codes.shape[1])]
        for layer, codes in zip(network.layers, weights, strict=True):
            results = []
            for n in range(len(layer.codes)):
                blocks = []
                for b in range(0, len(inputs), BLOCK):
                    products = _bag((value, codes[n][b + i]) for i, value
                                    in enumerate(inputs[b:b + BLOCK]))
                    blocks.append((products, int(layer.beta[n, b // BLOCK]) & 0xFF))
                results.append(values.number("sum", values.number(
                    "dot", _bag(blocks), layer.offset, fmt, wide),
                    int(layer.bias[n]), layer.relu))
            inputs = [values.number("code", value, fmt) for value in results]
        out.append(results)
    return out


class _Machine:
    """Executes an image on tokens."""

    def __init__(self, image: Image, arch: Architecture) -> None:
        self.image, self.arch, self.values = image, arch, Tokens()
        self.rows: dict[tuple[Space, tuple[int, int], int], dict] = {}
        region = (0, 0)
        self.ii = image.read(Space.SEQUENCER, region, SequencerRegister.II)["slots_less_1"] + 1
        span = image.read(Space.SEQUENCER, region, SequencerRegister.SPAN)
        self.iterations = span["stage"] + EXTRA_ITERATIONS
        self.cycles = (self.iterations - 1 + span["stage"]) * self.ii + span["slot"] + 1
        self.streams = [image.read(Space.STREAM, region, s) for s in range(self.ii)]
        self.contexts = {t: [image.read(Space.CONTEXT, t, s) for s in range(self.ii)]
                         for t in arch.tiles}
        self.tiles = {t: _Tile() for t in arch.tiles}
        for tile, contexts in self.contexts.items():
            for slot, context in enumerate(contexts):
                if unit := missing_unit(arch.kind(*tile), context):
                    raise WrongProgram(f"tile {tile} has no {unit}, which slot {slot} uses")

    def _read(self, space: Space, tile: tuple[int, int], row: int) -> dict:
        """Unpacked row, kept: macs come back to the same weights in every iteration."""
        key = (space, tile, row)
        if key not in self.rows:
            self.rows[key] = self.image.read(*key)
        return self.rows[key]

    def run(self, reads: dict[tuple[int, int], int], codes: int) -> dict[int, list[Token]]:
        """Tokens that each south stream emits; ``reads`` names the words that are read.

        ``codes``: elements of a word.
        """
        emitted: dict[int, list[Token]] = {}
        inputs, outputs = self.arch.inputs(0), self.arch.outputs(0)
        for cycle in range(self.cycles):
            iteration, slot = divmod(cycle, self.ii)
            stream = self.streams[slot]
            north: dict[int, Token] = {}
            for c in range(self.arch.cols):
                leaving = self.tiles[self.arch.rows - 1, c].out["south"]
                south = outputs.index(Port(self.arch.rows - 1, c, "south"))
                if stream["emit"] >> south & 1 and leaving is not None:
                    emitted.setdefault(c, []).append(leaving)
                entry = inputs.index(Port(0, c, "north"))
                if stream["read"] >> entry & 1 and iteration < self.iterations:
                    guard = self._read(Space.SEQUENCER, (0, 0), SequencerRegister.INPUT + entry)
                    if guard != {"slot": 0, "stage": 0, "predicate": EXISTS} \
                            or (c, slot) not in reads:
                        raise WrongProgram(f"slot {slot} reads input stream {c} without need")
                    word = reads[c, slot]
                    north[c] = tuple(self.values.number("input", iteration,
                                                        word * codes + i)
                                     for i in range(codes))
            arriving = {t: self._arriving(t, north) for t in self.arch.tiles}
            for tile in self.arch.tiles:
                self._step(tile, cycle, iteration, slot, arriving[tile])
        return emitted

    def _arriving(self, tile: tuple[int, int], north: dict[int, Token]
                  ) -> dict[Source, Token | None]:
        r, c = tile
        around = {Source.NORTH: ((r - 1, c), "south"), Source.SOUTH: ((r + 1, c), "north"),
                  Source.EAST: ((r, c + 1), "west"), Source.WEST: ((r, c - 1), "east")}
        words = {source: self.tiles[t].out[link] if t in self.tiles else None
                 for source, (t, link) in around.items()}
        if r == 0:
            words[Source.NORTH] = north.get(c)
        return words

    def _step(self, tile: tuple[int, int], cycle: int, iteration: int, slot: int,
              links: dict[Source, Token | None]) -> None:
        arch, state, context = self.arch, self.tiles[tile], self.contexts[tile][slot]
        if cycle in state.finished:
            state.results = list(state.finished.pop(cycle))

        def word(sink: str) -> Token | None:
            source = Source(context[sink])
            if source in links:
                return links[source]
            if source in (Source.REGISTER_A, Source.REGISTER_B):
                raise WrongProgram("registers are not used by this compiler")
            if source is Source.CONSTANT:
                bits = self._read(Space.CONSTANT, tile, context["index"])["data"]
                return tuple(bits >> 16 * i & 0xFFFF for i in range(self.arch.lanes16))
            return state.due.get((source, cycle))

        taken = {sink: word(sink) for sink in (*LINKS, "a", "b", "matrix", "memory", "register")}
        self._vector(tile, state, context, cycle, taken["a"], taken["b"])
        if context["drain"]:
            state.due[Source.MATRIX, cycle + timing.DRAIN] = \
                state.results.pop(0) if state.results else None
        if context["mac"]:
            self._mac(tile, state, context, cycle, taken["matrix"])
        if context["read"]:
            guard = self._read(Space.REGISTER, tile, TileRegister.READ)["guard"]
            of_iteration = iteration - guard["stage"] - (slot < guard["slot"])
            if guard["predicate"] != EXISTS:
                raise WrongProgram(f"memory reads of tile {tile} do not follow their iterations")
            if 0 <= of_iteration < self.iterations:
                address = self._address(tile, state, TileRegister.READ,
                                        arch.memory_words)
                state.due[Source.MEMORY, cycle + timing.MEMORY] = state.memory.get(address)
        stored = taken["memory"]
        if stored is not None:
            state.memory[self._address(tile, state, TileRegister.WRITE,
                                       arch.memory_words)] = stored
        if context["register"] != Source.NONE.value:
            state.registers[context["register_write"]] = taken["register"]
        state.out = {link: taken[link] for link in LINKS}

    def _vector(self, tile: tuple[int, int], state: _Tile, context: dict, cycle: int,
                a: Token | None, b: Token | None) -> None:
        if context["pop"]:
            state.due[Source.REBLOCK, cycle + timing.REBLOCK] = \
                state.codes.pop(0) if state.codes else None
        op = Op(context["op"])
        if op is Op.PUSH and a is not None:
            number = self._read(Space.REGISTER, tile, TileRegister.REBLOCK)["format"]
            codes = self.arch.codes_per_word(MATRIX_FORMATS[number])
            state.pushed += [None if x is None else self.values.number("code", x, number)
                             for x in a[:self.arch.drain_lanes]]
            if len(state.pushed) == BLOCK:
                state.codes = [tuple(state.pushed[i:i + codes])
                               for i in range(0, BLOCK, codes)]
                state.pushed = []
        elif op in (Op.ADD, Op.ADD_RELU) and a is not None and b is not None:
            state.due[Source.SUM, cycle + timing.SUM] = tuple(
                None if x is None else self.values.number("sum", x, y, op is Op.ADD_RELU)
                for x, y in zip(a, b, strict=False))
        elif op not in (Op.NOP, Op.PUSH, Op.ADD, Op.ADD_RELU):
            raise WrongProgram(f"{op.name} is not used by this compiler")

    def _mac(self, tile: tuple[int, int], state: _Tile, context: dict, cycle: int,
             x: Token | None) -> None:
        arch = self.arch
        if self._read(Space.REGISTER, tile, TileRegister.WEIGHT)["guard"]["predicate"] != ALWAYS:
            raise WrongProgram(f"macs of tile {tile} are not in every iteration")
        address = self._address(tile, state, TileRegister.WEIGHT, 2 * arch.weight_rows)
        row = self._read(Space.WEIGHT, tile, address % arch.weight_rows)
        state.valid &= x is not None
        first = context["slice"] * arch.lanes
        lanes = (x or (None,) * (first + arch.lanes))[first:first + arch.lanes]
        state.block.append([tuple(zip(lanes, codes, strict=True)) for codes in row["codes"]])
        close = Close(context["close"])
        if close is Close.NOTHING:
            return
        if close is Close.GUARDS:
            raise WrongProgram("guards are not used by this compiler")
        state.done.append([(_bag(p for part in state.block for p in part[n]),
                            row["beta"][n] & 0xFF) for n in range(arch.columns)])
        state.block = []
        if close is Close.DOT:
            mode = self._read(Space.REGISTER, tile, TileRegister.MODE + context["mode"])
            dots = [self.values.number("dot", _bag(block[n] for block in state.done),
                                       *mode.values())
                    if state.valid else None for n in range(arch.columns)]
            step = arch.drain_lanes
            state.finished[cycle + timing.ACCUMULATE] = tuple(
                tuple(dots[i:i + step]) if state.valid else None
                for i in range(0, arch.columns, step))
            state.done, state.valid = [], True

    def _address(self, tile: tuple[int, int], state: _Tile, register: int, size: int) -> int:
        base = self._read(Space.REGISTER, tile, register)["base"]
        rest = state.accesses.get(register, 0)
        state.accesses[register] = rest + 1
        return int(base + sum(self._offsets(tile, register, rest))) % size

    def _offsets(self, tile: tuple[int, int], register: int, access: int) -> Iterator[int]:
        loops = [self._read(Space.REGISTER, tile, register + 1 + i) for i in range(4)]
        counts = [loop["count_less_1"] + 1 for loop in loops]
        for counter, loop in zip(np.unravel_index(access % int(np.prod(counts)), counts,
                                                  order="F"), loops, strict=True):
            yield int(counter) * loop["stride"]
