"""Kernels with values: evaluation of a graph, against its program in the golden model."""

from collections.abc import Mapping

import numpy as np

from compiler.errors import CompileError
from compiler.ir.dataflow import Dataflow
from compiler.ir.operations import constant_data, mode_of
from compiler.map.loop.mapper import Mapped
from spu.arch import bitstream
from spu.arch.operations import CONSTANT, IN, OPERATIONS, OUT
from spu.arch.params import Architecture
from spu.model import words as w
from spu.model.array import GoldenArray, Result
from spu.model.operations import apply
from spu.model.words import Stream, Words, interleaved


def evaluate(
    graph: Dataflow, arch: Architecture, inputs: Mapping[int, Stream], iterations: int
) -> dict[int, list[Words]]:
    """Words of every operation, iteration by iteration, straight from the graph.

    ``inputs``: words of each ``in``.  Words are of shape (1, lanes + 2).
    """
    nothing = np.zeros((1, w.width(arch)), np.uint16)
    made: dict[int, list[Words]] = {n: [] for n in graph.operations}
    constants = {
        n: w.from_integers([(constant_data(node, arch, graph.bias_of(n)), 0)], arch)
        for n, node in graph.nodes.items()
        if node.op == CONSTANT
    }
    given = {n: w.from_integers(stream, arch) for n, stream in inputs.items()}
    for i in range(iterations):
        for n in graph.order:
            if graph.nodes[n].op == IN:
                made[n].append(given[n][i : i + 1])
                continue
            words = [nothing] * 3
            for place, e in enumerate(graph.operands[n]):
                if e.src in constants:
                    words[place] = constants[e.src]
                elif i >= e.distance:
                    words[place] = made[e.src][i - e.distance]
            made[n].append(apply(OPERATIONS[graph.nodes[n].op].op, words, mode_of(graph, n)))
    return made


def streams(mapped: Mapped, words: Mapping[int, Stream], op: str) -> dict[int, Stream]:
    """Words of all operations ``op`` (``in`` or ``out``) as the streams of their columns."""
    timed: dict[int, list[tuple[int, Stream]]] = {}
    for n in mapped.graph.operations:
        if mapped.graph.nodes[n].op == op:
            timed.setdefault(mapped.placed.tile[n][1], []).append((mapped.placed.time[n], words[n]))
    return {col: interleaved(parts, mapped.placed.ii) for col, parts in timed.items()}


def random_inputs(mapped: Mapped, iterations: int, seed: int) -> dict[int, Stream]:
    """Words of any bits for every ``in``."""
    rng = np.random.default_rng(seed)
    lanes = mapped.arch.lanes16
    return {
        n: [
            (sum(int(x) << 16 * k for k, x in enumerate(rng.integers(0, 1 << 16, lanes))), 0)
            for _ in range(iterations)
        ]
        for n in mapped.graph.operations
        if mapped.graph.nodes[n].op == IN
    }


def check(mapped: Mapped, iterations: int, seed: int = 0) -> Result:
    """Run the decoded program on the golden model with random words.

    Raises ``CompileError`` if a stream is not that of ``evaluate``, or the cycles are not those
    that the mapping predicts.
    """
    inputs = random_inputs(mapped, iterations, seed)
    image = bitstream.decode(mapped.content, mapped.arch).image
    result = GoldenArray(image).run(streams(mapped, inputs, IN), iterations)
    made = evaluate(mapped.graph, mapped.arch, inputs, iterations)
    expected: dict[int, list[tuple[int, tuple[int, int]]]] = {}
    for n in mapped.graph.operations:
        if mapped.graph.nodes[n].op == OUT:
            for i, words in enumerate(made[n]):
                if w.valid(words).all():
                    expected.setdefault(mapped.placed.tile[n][1], []).append(
                        (mapped.placed.time[n] + i * mapped.placed.ii, w.to_integers(words)[0])
                    )
    for col in range(mapped.arch.cols):
        want = [word for _, word in sorted(expected.get(col, []))]
        got = list(result.outputs[col])
        if got != want:
            first = next(
                (i for i, (a, b) in enumerate(zip(got, want, strict=False)) if a != b),
                min(len(got), len(want)),
            )
            raise CompileError(
                f"{mapped.graph.name}: word {first} of column {col} is not that of "
                f"the graph; {len(got)} words, expected {len(want)}"
            )
    cycles = mapped.cycles(iterations)
    if result.cycles != cycles:
        raise CompileError(f"{mapped.graph.name}: {result.cycles} cycles, expected {cycles}")
    return result
