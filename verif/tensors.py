"""Compiled tensor programs run: the host's part, with golden model or RTL as the array."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.operations import constant_codes
from compiler.gemm import Gemm, with_weights
from compiler.tensors.compiled import (
    MOST_ROUNDS,
    Compiled,
    Work,
    partial_sums,
    weight_blocks,
)
from compiler.tensors.program import Layout, Map, Product, Program
from compiler.tensors.values import gathered
from pal_units import model
from pal_units.formats import BETA_MIN, PAL16, Format
from rtl.simulator import SHORT, Build, SimulationError
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.config import OFFSET_BITS
from spu.arch.params import BLOCK, Architecture
from spu.engine.codec import InputError
from spu.model import words as w
from spu.model.array import GoldenArray, Result
from spu.model.units import codes_of
from spu.model.words import Stream
from verif.gemm import code_streams, result_codes
from verif.kernels import interleaved
from verif.meaning import Meaning, held
from verif.saturation import saturated

#: Runs side by side in the golden model, and iterations that each has at least.
BATCH, LEAST_ITERATIONS = 64, 32

#: The greatest ratio of results to operands that a matrix mode takes: beyond, they are zero.
MOST_OFFSET = (1 << OFFSET_BITS - 1) - 1
#: Of tensors.
LEAST_BIAS = -1 << 15

Cycles = Callable[[int], int]


@dataclass
class Engine(ABC):
    """An array; ``cycles`` counts those of all runs, each as predicted.

    ``saturated``: elements above the top that its tiles counted; ``nodes``: those of them that
    matter, by the label of the node of the model, see ``saturation`` and ``meaning``.
    """

    arch: Architecture
    cycles: int = 0
    runs: int = 0
    saturated: int = 0
    nodes: Counter[str] = field(default_factory=Counter)

    @abstractmethod
    def run(self, image: Image, inputs: Mapping[int, Stream], iterations: int, cycles: Cycles,
            alike: bool) -> dict[int, Stream]:
        """Words of the output streams of a run of so many rounds.

        ``cycles``: predicted for a number of rounds.  ``alike``: each round takes and gives the
        same numbers of words, and no round knows of another.
        """


@dataclass
class GoldenEngine(Engine):
    """The golden model, with rounds that are alike side by side."""

    def run(self, image: Image, inputs: Mapping[int, Stream], iterations: int, cycles: Cycles,
            alike: bool) -> dict[int, Stream]:
        batch = min(BATCH, -(-iterations // LEAST_ITERATIONS)) if alike else 1
        each = -(-iterations // batch)
        shares: list[dict[int, Stream]] = [{} for _ in range(batch)]
        for column, words in inputs.items():
            count = len(words) // iterations * each if alike else len(words)
            words = words + words[:len(words) // iterations] * (each * batch - iterations) \
                if alike else words
            for b, share in enumerate(shares):
                share[column] = words[b * count:(b + 1) * count]
        result = GoldenArray(image, batch).run(shares, each, keep_links=False)
        check_cycles(result.cycles, cycles(each))
        self.cycles += cycles(iterations)
        self.runs += 1
        self.saturated += result.saturated
        outputs = [result.run_outputs(b) for b in range(batch)]
        joined = {c: [word for out in outputs for word in out[c]] for c in outputs[0]}
        # Rounds beyond the last only fill up the batch.
        return {c: words[:len(outputs[0][c]) // each * iterations] if alike else words
                for c, words in joined.items()}


@dataclass
class RtlEngine(Engine):
    """The RTL, compared with the golden model in every word, link and cycle.

    ``effort``: of the simulator, see ``rtl.simulator.build``.
    """

    work: Path = field(default_factory=lambda: Path("build/tensors"))
    stall_share: float = 0.0
    effort: int = SHORT

    @cached_property
    def _build(self) -> Build:
        from spu.engine.rtl_run import build_rtl

        return build_rtl(self.arch, effort=self.effort)

    def run(self, image: Image, inputs: Mapping[int, Stream], iterations: int, cycles: Cycles,
            alike: bool) -> dict[int, Stream]:
        from spu.engine.rtl_run import run_same

        golden: Result = GoldenArray(image).run(inputs, iterations)
        check_cycles(golden.cycles, cycles(iterations))
        rtl = run_same(self._build, self.arch, bitstream.encode(image), golden, inputs, iterations,
                       self.work, self.stall_share)
        self.cycles += golden.cycles
        self.runs += 1
        self.saturated += rtl.saturated
        return rtl.outputs


def check_cycles(got: int, predicted: int) -> None:
    """Raise ``SimulationError`` if a run did not take as long as predicted."""
    if got != predicted:
        raise SimulationError(f"{got} cycles, predicted were {predicted}")


def run(compiled: Compiled, engine: Engine, inputs: Mapping[str, NDArray],
        progress: Callable[[int, int], None] = lambda done, total: None
        ) -> dict[str, NDArray[np.float64]]:
    """Outputs by name for inputs by name, of the shapes of the program.

    Elements that are not what the model means, as masks or small constants were moved, count as
    saturated.
    """
    program = compiled.program
    host, meaning = _Host(compiled, engine), Meaning(compiled)
    needed = _last_uses(program)
    for name, i in program.inputs.items():
        given = np.asarray(inputs[name], np.float64).reshape(program.shape(i))
        taken = held(compiled, i, given)
        engine.nodes += meaning.input(i, name, given, taken)
        host.codes[i] = model.encode16(taken, compiled.bias(i))

    def look(i: int) -> None:
        """Raise if a tensor is below 0 that must not be."""
        if i not in program.nonnegative:
            return
        least = np.nanmin(host.values(i), initial=0.0)
        if least < 0:
            raise InputError(f"{program.nonnegative[i]}, must not be negative: it is {least:g}")
    for i in program.inputs.values():
        look(i)
    for i, step in enumerate(program.steps):
        progress(i, len(program.steps))
        host.step(i)
        engine.nodes += meaning.step(i, host.real)
        look(step.out)
        for s in step.sources:
            if needed.get(s) == i:
                host.codes.pop(s, None)
                meaning.pairs.pop(s, None)
    return {name: host.values(i).reshape(program.shape(i))
            for name, i in program.outputs.items()}


def _last_uses(program: Program) -> dict[int, int]:
    """The step that uses each tensor last, of those that are no outputs."""
    last = {s: i for i, step in enumerate(program.steps) for s in step.sources}
    return {s: i for s, i in last.items() if s not in program.outputs.values()}


class _Host:
    """What the host does: order of words, blocks of weights into program files."""

    def __init__(self, compiled: Compiled, engine: Engine) -> None:
        self.compiled, self.engine, self.arch = compiled, engine, compiled.arch
        self.codes: dict[int, NDArray[np.uint16]] = {}
        self.images: dict[Work, Image] = {}

    def tensor(self, i: int, bias: int) -> NDArray[np.uint16]:
        """PAL16 codes of a tensor; those of a constant under this tensor bias."""
        values = self.compiled.program.tensors[i].constant
        return self.codes[i] if values is None else constant_codes(values, bias)

    def values(self, i: int) -> NDArray[np.float64]:
        """Of a tensor that is not one of several operands."""
        bias = self.compiled.bias(i)
        return model.decode16(self.tensor(i, bias), bias)

    def real(self, i: int) -> NDArray[np.float64]:
        """As ``values``, but constants as they are."""
        values = self.compiled.program.tensors[i].constant
        return self.values(i) if values is None else values

    def step(self, i: int) -> None:
        step = self.compiled.program.steps[i]
        shape, biases = self.compiled.program.shape(step.out), self.compiled.source_biases(i)
        label = self.compiled.program.label(step)
        sources = [self.tensor(s, b) for s, b in zip(step.sources, biases, strict=True)]
        if isinstance(step, Layout):
            fill = int(constant_codes(step.fill, self.compiled.ranges.tensors[step.out]))
            self.codes[step.out] = gathered(step, sources, fill)
        elif isinstance(step, Map):
            self.codes[step.out] = self._kernel(
                self.compiled.work(i), sources, label).reshape(shape)
        else:
            self.codes[step.out] = self._product(i, step, *sources)

    # Kernels.

    def _kernel(self, work: Work, sources: list[NDArray], label: str) -> NDArray[np.uint16]:
        """A kernel; ``label`` of the step for what belongs to no operation of the model."""
        kernel, lanes = self.compiled.kernels[work], self.arch.lanes16
        before = self.engine.saturated
        if work not in self.images:
            self.images[work] = bitstream.decode(kernel.content, self.arch).image
        count = sources[0].size
        iterations = self.compiled.words(count)
        timed: dict[int, list[tuple[int, Stream]]] = {}
        for (column, time), source in zip(kernel.ins, sources, strict=True):
            timed.setdefault(column, []).append((time, self._words(source, iterations, lanes)))
        outputs = self._in_runs(
            self.images[work],
            {c: interleaved(parts, kernel.ii) for c, parts in timed.items()}, iterations,
            kernel.cycles)
        if self.engine.saturated > before:
            every, nodes = saturated(work, sources)
            if not every:
                raise SimulationError(f"{label}: tiles counted {self.engine.saturated - before} "
                                      "saturated elements, the kernel has none")
            self.engine.nodes.update({name or label: n for name, n in nodes.items()})
        words = outputs[kernel.out[0]][:iterations]
        return w.lanes(w.from_integers(words, self.arch)).ravel()[:count]

    def _in_runs(self, image: Image, inputs: Mapping[int, Stream], rounds: int, cycles: Cycles
                 ) -> dict[int, Stream]:
        """Rounds that are alike, in as many runs as the host's register asks for."""
        out: dict[int, Stream] = {c: [] for c in range(self.arch.cols)}
        for first in range(0, rounds, MOST_ROUNDS):
            count = min(MOST_ROUNDS, rounds - first)
            part = {c: words[len(words) // rounds * first:len(words) // rounds * (first + count)]
                    for c, words in inputs.items()}
            for c, words in self.engine.run(image, part, count, cycles, True).items():
                out[c] += words
        return out

    def _words(self, codes: NDArray, count: int, used: int) -> Stream:
        """Words of ``used`` PAL16 lanes each; the last are filled up with a real element, of which
        nothing becomes that does not become of it elsewhere."""
        padded = np.zeros((count, self.arch.lanes16), "<u2")
        flat = np.full(count * used, codes.flat[0] if codes.size else 0, np.uint16)
        flat[:codes.size] = codes.ravel()
        padded[:, :used] = flat.reshape(count, used)
        return [(int.from_bytes(row.tobytes(), "little"), 0) for row in padded]

    # Products.

    def _product(self, i: int, step: Product, a: NDArray, b: NDArray) -> NDArray[np.uint16]:
        compiled, program = self.compiled, self.compiled.program
        fmt, out_bias = compiled.formats[i], compiled.ranges.tensors[step.out]
        x_codes, x_beta = self._blocks(a, fmt)
        values = program.tensors[step.b].constant
        if values is not None:
            found = [weight_blocks(matrix, fmt) for matrix in values]
        else:
            codes, beta = self._blocks(b.transpose(0, 2, 1), fmt)
            found = [(c, *lifted(each, compiled.bias(step.b)))
                     for c, each in zip(codes, beta, strict=True)]
        shape = program.shape(step.out)
        pieces = compiled.pieces[i]
        parts = {d: k for k, d in enumerate(dict.fromkeys(p.depth for p in pieces))}
        out, before = np.zeros((len(parts), *shape), np.uint16), self.engine.saturated
        for batch, (w_codes, w_beta, t_weight) in enumerate(found):
            beta, t_x = lifted(x_beta[batch], compiled.bias(step.a),
                               out_bias - t_weight - MOST_OFFSET)
            for piece in pieces:
                blocks = slice(piece.depth.start // BLOCK, -(-piece.depth.stop // BLOCK))
                taken = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
                columns = slice(piece.outputs.start, piece.outputs.stop)
                rows = slice(piece.rows.start, piece.rows.stop)
                plan = self._weights(piece.plan, w_codes[columns, taken], w_beta[columns, blocks],
                                     out_bias - t_x - t_weight)
                out[parts[piece.depth], batch, rows, columns] = self._multiply(
                    plan, x_codes[batch][rows, taken], beta[rows, blocks])
        label = program.label(step)
        if count := self.engine.saturated - before:
            self.engine.nodes[label] += count
        left = list(out)
        for work in partial_sums(len(parts), out_bias):
            first = len(work[0].inputs)
            left[:first] = [self._kernel(work, left[:first], label).reshape(shape)]
        _check_nan(a, b, left[0], label)
        return left[0]

    @staticmethod
    def _weights(plan: Gemm, codes: NDArray, beta: NDArray, offset: int) -> Gemm:
        return with_weights(plan, *_filled(codes, beta, plan.weight_shape), offset)

    def _multiply(self, plan: Gemm, codes: NDArray, beta: NDArray) -> NDArray[np.uint16]:
        assert plan.image is not None
        filled = _filled(codes, beta, (len(codes), plan.weight_shape[1]))
        outputs = self.engine.run(plan.image, code_streams(plan, *filled), plan.rounds,
                                  lambda _: plan.cycles, False)
        return result_codes(plan, outputs)

    def _blocks(self, codes: NDArray, fmt: Format) -> tuple[NDArray, NDArray]:
        """Blocks along the last axis, made by the array: codes and biases."""
        plan, arch = self.compiled.reblocks[fmt], self.arch
        padded = np.pad(codes, [*[(0, 0)] * (codes.ndim - 1), (0, -codes.shape[-1] % BLOCK)])
        blocks = padded.reshape(-1, BLOCK)
        streams, iterations = len(plan.columns), -(-len(blocks) // len(plan.columns))
        full = np.zeros((iterations * streams, BLOCK), np.uint16)
        full[:len(blocks)] = blocks
        inputs = {c: self._words(full[k::streams], iterations * arch.pushes_per_block,
                                 arch.drain_lanes) for k, c in enumerate(plan.columns)}
        outputs = self._in_runs(plan.image, inputs, iterations, plan.cycles)
        out = np.zeros((iterations * streams, BLOCK), np.uint8)
        beta = np.zeros(iterations * streams, np.int64)
        for k, c in enumerate(plan.columns):
            per_block = arch.words_per_block(plan.fmt)
            words = w.from_integers(outputs[c][:iterations * per_block], arch)
            out[k::streams] = codes_of(words, plan.fmt).reshape(iterations, BLOCK)
            beta[k::streams] = w.bias(words)[::per_block]
        return (out[:len(blocks)].reshape(padded.shape),
                beta[:len(blocks)].reshape(*padded.shape[:-1], -1))


def _check_nan(a: NDArray, b: NDArray, out: NDArray, label: str) -> None:
    """Raise if NaN of an operand is not in a product's results: a block of zeros makes 0 of it."""
    rows = model.is_nan(a, PAL16).any(axis=2, keepdims=True)
    columns = model.is_nan(b, PAL16).any(axis=1, keepdims=True)
    lost = (rows | columns) & ~model.is_nan(out, PAL16)
    if lost.any():
        raise InputError(f"{label}: {int(lost.sum())} results should be NaN, of operands that are; "
                         "beside a block of zeros, or in a format without NaN, they are numbers")


def _filled(codes: NDArray, beta: NDArray, shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Rows of blocks, with rows and blocks of zeros up to a shape (rows, codes)."""
    rows, depth = shape[0] - codes.shape[0], shape[1] - codes.shape[1]
    return (np.pad(codes, ((0, rows), (0, depth))),
            np.pad(beta, ((0, rows), (0, depth // BLOCK)), constant_values=model.ZERO_BLOCK))


def lifted(beta: NDArray, bias: int, lowest: int = LEAST_BIAS) -> tuple[NDArray, int]:
    """Block biases under the least tensor bias that holds them, and that, at least ``lowest``.

    The accumulator's unit lies a fixed number of octaves below the tensors' tops.
    """
    empty = beta == model.ZERO_BLOCK
    most = max(int(beta[~empty].max(initial=BETA_MIN)), lowest - bias)
    return np.where(empty, beta, np.maximum(beta - most, BETA_MIN)), bias + most
