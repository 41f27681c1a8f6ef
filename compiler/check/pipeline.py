"""Chains of layers: every result of every vector, element by element.

A dot product becomes the set of the products in it, each naming the element of the layer's input
that the weight row's position stands for.  At the south edge every word must be exactly what the
network asks for: every input of every result once, with its own weight, in order of iterations.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from functools import cache

import numpy as np

from compiler.check.machine import Machine
from compiler.check.terms import Terms
from compiler.check.units import formats_of
from compiler.errors import WrongProgram
from compiler.map.pipeline.quantise import QuantisedNetwork
from pal_units.formats import Format
from spu.arch.bitstream import Image
from spu.arch.config import Space
from spu.arch.context import Op
from spu.arch.package.product import matrix_mode
from spu.arch.params import BLOCK, Architecture
from spu.arch.program import Timing
from spu.arch.weights import unpacked_rows, weights_of


def check_pipeline(
    image: Image,
    network: QuantisedNetwork,
    claimed: Timing,
    reads: Mapping[tuple[int, int], int],
    emitted: Mapping[int, list[tuple[int, int, int]]],
) -> None:
    """Raise ``WrongProgram`` unless an image computes a network.

    ``claimed``: II and span.  ``reads``: words of the input, by column and cycle; ``emitted``: by
    column (cycle, group, word) of its results in order.
    """
    terms = Terms()
    machine = Machine(image, terms)
    if machine.timing != claimed:
        raise WrongProgram(f"{network.name}: the program has {machine.timing}")
    rounds = machine.rounds
    columns: dict[int, list[int]] = {}
    for (column, _), word in sorted(reads.items(), key=lambda read: read[0][1]):
        columns.setdefault(column, []).append(word)
    got = machine.run(
        rounds,
        {
            column: [terms.number("input", r, word) for r in range(rounds) for word in words]
            for column, words in columns.items()
        },
    )
    meaning = _Meaning(machine, network.fmt)
    want = _expected(terms, network, image.arch, rounds)
    arch = image.arch
    every = [
        (group, word)
        for group in range(len(network.layers[-1].codes) // arch.columns)
        for word in range(arch.words_per_drain)
    ]
    if sorted(result[1:] for words in emitted.values() for result in words) != every:
        raise WrongProgram(f"{network.name}: not every result leaves, once")
    zero = terms.number("pal16", 0)
    for column in range(arch.cols):
        words, tokens = emitted.get(column, []), got.get(column, [])
        if len(tokens) != rounds * len(words):
            raise WrongProgram(
                f"output stream {column} emits {len(tokens)} words in {rounds} "
                f"iterations, not {rounds * len(words)}"
            )
        relu = network.layers[-1].relu
        rest = [_sum(terms, zero, zero, relu)] * (arch.lanes16 - arch.drain_lanes)
        for i, token in enumerate(tokens):
            iteration, position = divmod(i, len(words))
            _, group, word = words[position]
            first = group * arch.columns + word * arch.drain_lanes
            if list(meaning.lanes(token)) != [
                *want[iteration][first : first + arch.drain_lanes],
                *rest,
            ]:
                raise WrongProgram(
                    f"output stream {column}, iteration {iteration}, word "
                    f"{position}: not results {first} and following of the network"
                )


def _bag(items: Iterable[Hashable]) -> frozenset:
    """Multiset: order does not count, repetition does."""
    return frozenset(Counter(items).items())


def _sum(terms: Terms, x: int, y: int, relu: bool) -> int:
    return terms.number("sum", relu, x, y)


def _dot(
    terms: Terms,
    offset: int,
    formats: tuple[int, ...],
    blocks: Iterable[Iterable[tuple[int, int, int]]],
) -> int:
    """A dot product of ``blocks``: products of elements and weights, and the weight's block."""
    return terms.number("dot product", offset, formats, _bag(map(_bag, blocks)))


def _code(terms: Terms, number: int, block: Iterable[int], value: int) -> int:
    """A code of a value, which depends on all values of its block."""
    return terms.number("code", number, _bag(block), value)


def _expected(
    terms: Terms, network: QuantisedNetwork, arch: Architecture, rounds: int
) -> list[list[int]]:
    """Tokens of the results of each iteration, straight from the network."""
    out = []
    number = arch.format_number(network.fmt)
    formats = formats_of(matrix_mode(arch, 0, network.fmt, network.weights))
    weights = []
    for layer in network.layers:
        short = -layer.codes.shape[1] % BLOCK
        whole = np.pad(layer.codes, ((0, 0), (0, short))).reshape(len(layer.codes), -1, BLOCK)
        found, owned = weights_of(whole, layer.beta, network.weights, arch)
        weights.append((found.reshape(len(whole), -1).tolist(), owned.tolist()))
    for iteration in range(rounds):
        inputs = [
            terms.number("element", iteration, k) for k in range(network.layers[0].codes.shape[1])
        ]
        for layer, (values, of_blocks) in zip(network.layers, weights, strict=True):
            results = []
            for n in range(len(layer.codes)):
                blocks = [
                    [
                        (inputs[k], values[n][k], of_blocks[n][b // BLOCK])
                        for k in range(b, min(b + BLOCK, len(inputs)))
                    ]
                    for b in range(0, len(inputs), BLOCK)
                ]
                results.append(
                    _sum(
                        terms,
                        _dot(terms, layer.offset, formats, blocks),
                        terms.number("pal16", int(layer.bias[n])),
                        layer.relu,
                    )
                )
            inputs = [
                _code(terms, number, results[b : b + BLOCK], value)
                for b in range(0, len(results), BLOCK)
                for value in results[b : b + BLOCK]
            ]
        out.append(results)
    return out


class _Meaning:
    """What words of a machine hold, element by element."""

    def __init__(self, machine: Machine, fmt: Format) -> None:
        self.machine, self.terms, self.arch = machine, machine.terms, machine.arch
        self.codes = self.arch.codes_per_word(fmt)
        self.lanes = cache(self._lanes)
        self._element = cache(self._of_element)
        self._columns = cache(self._of_columns)
        self._row = cache(self._of_row)

    def _lanes(self, token: int) -> tuple[int, ...]:
        """PAL16 values of a word."""
        kind, *rest = self.terms.terms[token]
        if kind == "constant":
            return tuple(
                self.terms.number("pal16", rest[0] >> 16 * i & 0xFFFF)
                for i in range(self.arch.lanes16)
            )
        if kind == "drained":
            tile, dot, word = rest
            lanes = self.arch.drain_lanes
            zero = (self.terms.number("pal16", 0),) * (self.arch.lanes16 - lanes)
            return (*self._columns(tile, dot)[word * lanes : (word + 1) * lanes], *zero)
        if kind in (Op.ADD, Op.ADD_RELU) and rest[0] == (0, 0):
            return tuple(
                _sum(self.terms, x, y, kind is Op.ADD_RELU)
                for x, y in zip(*map(self.lanes, rest[1:]), strict=True)
            )
        raise WrongProgram(f"{kind} gives results, which no network has")

    def _of_columns(self, tile: tuple[int, int], dot: int) -> tuple[int, ...]:
        """Dot products of the columns of a matrix unit."""
        _, offset, blocks = self.terms.terms[dot]
        formats = {part[3:] for parts, _ in blocks for part in parts}
        if len(formats) != 1:
            raise WrongProgram(f"tile {tile} mixes formats in a dot product")
        (numbers,) = formats
        out = []
        for column in range(self.arch.columns):
            found = []
            for parts, _ in blocks:
                products: list[tuple[int, int, int]] = []
                for word, part, address, *_ in parts:
                    weights, of_blocks = self._row(tile, address)
                    products += [
                        (
                            self._element(word, part * self.arch.lanes + lane),
                            weight,
                            of_blocks[column],
                        )
                        for lane, weight in enumerate(weights[column])
                    ]
                found.append(products)
            out.append(_dot(self.terms, offset, numbers, found))
        return tuple(out)

    def _of_row(self, tile: tuple[int, int], address: int) -> tuple[list[list[int]], list[int]]:
        """Weights and blocks of a weight row."""
        bits = self.machine.image.rows.get((Space.WEIGHT, *tile), {}).get(address, 0)
        weights, blocks = unpacked_rows([bits], self.arch)
        return weights[0].tolist(), blocks[0].tolist()

    def _of_element(self, token: int, position: int) -> int:
        """An element of a word of codes."""
        kind, *rest = self.terms.terms[token]
        if kind == "input":
            iteration, word = rest
            return self.terms.number("element", iteration, word * self.codes + position)
        if kind != "codes":
            raise WrongProgram(f"{kind} enters a matrix unit")
        block, word = rest
        _, number, *pushed = self.terms.terms[block]
        lanes = self.arch.drain_lanes
        values = [value for push in pushed for value in self.lanes(push)[:lanes]]
        place = word * self.arch.codes_per_word(self.arch.data_formats[number]) + position
        return _code(self.terms, number, values, values[place])
