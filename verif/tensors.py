"""Compiled tensor programs run: the host's part, with golden model or RTL as the array."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compiler.gemm import Gemm, with_weights
from compiler.tensors.compiled import (
    MOST_ROUNDS,
    Compiled,
    depth_parts,
    partial_sums,
    weight_blocks,
)
from compiler.tensors.expressions import Expression
from compiler.tensors.program import Layout, Map, Product, Program
from compiler.tensors.values import gathered
from pal_units import model
from pal_units.formats import BETA_MIN, Format
from rtl.simulator import Build, SimulationError
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.params import BLOCK, Architecture
from verif.gemm import code_streams, result_codes
from verif.golden import words as w
from verif.golden.array import GoldenArray, Result
from verif.golden.units import codes_of
from verif.golden.words import Stream
from verif.host import InputError
from verif.kernels import interleaved

#: Runs side by side in the golden model, and iterations that each has at least.
BATCH, LEAST_ITERATIONS = 64, 32

Cycles = Callable[[int], int]


@dataclass
class Engine(ABC):
    """An array; ``cycles`` counts those of all runs, each as predicted."""

    arch: Architecture
    cycles: int = 0
    runs: int = 0

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
            words = words + words[:1] * (count * batch - len(words))
            for b, share in enumerate(shares):
                share[column] = words[b * count:(b + 1) * count]
        result = GoldenArray(image, batch).run(shares, each, keep_links=False)
        check_cycles(result.cycles, cycles(each))
        self.cycles += cycles(iterations)
        self.runs += 1
        outputs = [result.run_outputs(b) for b in range(batch)]
        joined = {c: [word for out in outputs for word in out[c]] for c in outputs[0]}
        # Rounds beyond the last only fill up the batch.
        return {c: words[:len(outputs[0][c]) // each * iterations] if alike else words
                for c, words in joined.items()}


@dataclass
class RtlEngine(Engine):
    """The RTL, compared with the golden model in every word, link and cycle."""

    work: Path = field(default_factory=lambda: Path("build/tensors"))
    stall_share: float = 0.0

    @cached_property
    def _build(self) -> Build:
        from verif.rtl_engine import build_rtl

        return build_rtl(self.arch, "verilator")

    def run(self, image: Image, inputs: Mapping[int, Stream], iterations: int, cycles: Cycles,
            alike: bool) -> dict[int, Stream]:
        from verif.rtl_engine import run_same

        golden: Result = GoldenArray(image).run(inputs, iterations)
        check_cycles(golden.cycles, cycles(iterations))
        rtl = run_same(self._build, self.arch, bitstream.encode(image), golden, inputs, iterations,
                       self.work, self.stall_share)
        self.cycles += golden.cycles
        self.runs += 1
        return rtl.outputs


def check_cycles(got: int, predicted: int) -> None:
    """Raise ``SimulationError`` if a run did not take as long as predicted."""
    if got != predicted:
        raise SimulationError(f"{got} cycles, predicted were {predicted}")


def run(compiled: Compiled, engine: Engine, inputs: Mapping[str, NDArray],
        progress: Callable[[int, int], None] = lambda done, total: None
        ) -> dict[str, NDArray[np.float64]]:
    """Outputs by name for inputs by name, of the shapes of the program."""
    program = compiled.program
    host = _Host(compiled, engine)
    needed = _last_uses(program)
    for name, i in program.inputs.items():
        host.codes[i] = model.encode16(np.asarray(inputs[name], np.float64).reshape(
            program.shape(i)), compiled.bias)
    def look(i: int) -> None:
        """Raise if a tensor is below 0 that must not be."""
        if i not in program.nonnegative:
            return
        least = np.nanmin(model.decode16(host.tensor(i), compiled.bias), initial=0.0)
        if least < 0:
            raise InputError(f"{program.nonnegative[i]}, must not be negative: it is {least:g}")
    for i in program.inputs.values():
        look(i)
    for i, step in enumerate(program.steps):
        progress(i, len(program.steps))
        host.step(i)
        look(step.out)
        for s in step.sources:
            if needed.get(s) == i:
                host.codes.pop(s, None)
    return {name: model.decode16(host.tensor(i), compiled.bias).reshape(program.shape(i))
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
        self.images: dict[Expression, Image] = {}

    def tensor(self, i: int) -> NDArray[np.uint16]:
        """PAL16 codes of a tensor."""
        if i not in self.codes:
            values = self.compiled.program.tensors[i].constant
            assert values is not None
            self.codes[i] = model.encode16(values, self.compiled.bias)
        return self.codes[i]

    def step(self, i: int) -> None:
        step = self.compiled.program.steps[i]
        shape = self.compiled.program.shape(step.out)
        if isinstance(step, Layout):
            fill = int(model.encode16(step.fill, self.compiled.bias))
            self.codes[step.out] = gathered(step, [self.tensor(s) for s in step.sources], fill)
        elif isinstance(step, Map):
            self.codes[step.out] = self._kernel(
                step.expression, [self.tensor(s) for s in step.sources]).reshape(shape)
        else:
            self.codes[step.out] = self._product(i, step)

    # Kernels.

    def _kernel(self, expression: Expression, sources: list[NDArray]) -> NDArray[np.uint16]:
        kernel, lanes = self.compiled.kernels[expression], self.arch.lanes16
        if expression not in self.images:
            self.images[expression] = bitstream.decode(kernel.content, self.arch).image
        count = sources[0].size
        iterations = self.compiled.words(count)
        timed: dict[int, list[tuple[int, Stream]]] = {}
        for (column, time), source in zip(kernel.ins, sources, strict=True):
            timed.setdefault(column, []).append((time, self._words(source, iterations, lanes)))
        outputs = self._in_runs(
            self.images[expression],
            {c: interleaved(parts, kernel.ii) for c, parts in timed.items()}, iterations,
            kernel.cycles)
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
        """Words of ``used`` PAL16 lanes each."""
        padded = np.zeros((count, self.arch.lanes16), "<u2")
        flat = np.zeros(count * used, np.uint16)
        flat[:codes.size] = codes.ravel()
        padded[:, :used] = flat.reshape(count, used)
        return [(int.from_bytes(row.tobytes(), "little"), 0) for row in padded]

    # Products.

    def _product(self, i: int, step: Product) -> NDArray[np.uint16]:
        compiled, program = self.compiled, self.compiled.program
        fmt = compiled.formats[i]
        x_codes, x_beta = self._blocks(self.tensor(step.a), fmt)
        values = program.tensors[step.b].constant
        if values is not None:
            found = [weight_blocks(matrix, fmt) for matrix in values]
        else:
            codes, beta = self._blocks(self.tensor(step.b).transpose(0, 2, 1), fmt)
            found = [(c, *lifted(b, compiled.bias)) for c, b in zip(codes, beta, strict=True)]
        shape = program.shape(step.out)
        pieces = compiled.pieces[i]
        parts = {d: k for k, d in enumerate(dict.fromkeys(p.depth for p in pieces))}
        out = np.zeros((len(parts), *shape), np.uint16)
        for batch, (w_codes, w_beta, t_weight) in enumerate(found):
            beta, t_x = lifted(x_beta[batch], compiled.bias)
            for piece in pieces:
                blocks = slice(piece.depth.start // BLOCK, -(-piece.depth.stop // BLOCK))
                taken = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
                rows = slice(piece.outputs.start, piece.outputs.stop)
                plan = self._weights(piece.plan, w_codes[rows, taken], w_beta[rows, blocks],
                                     compiled.bias - t_x - t_weight)
                out[parts[piece.depth], batch, :, rows] = self._multiply(
                    plan, x_codes[batch][:, taken], beta[:, blocks])
        if len(parts) == 1:
            return out[0]
        return self._kernel(partial_sums(depth_parts(pieces)), list(out)).reshape(shape)

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


def _filled(codes: NDArray, beta: NDArray, shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Rows of blocks, with rows and blocks of zeros up to a shape (rows, codes)."""
    rows, depth = shape[0] - codes.shape[0], shape[1] - codes.shape[1]
    return (np.pad(codes, ((0, rows), (0, depth))),
            np.pad(beta, ((0, rows), (0, depth // BLOCK)), constant_values=model.ZERO_BLOCK))


def lifted(beta: NDArray, bias: int) -> tuple[NDArray, int]:
    """Block biases under the least tensor bias that holds them, and that.

    The accumulator's unit lies a fixed number of octaves below the tensors' tops.
    """
    empty = beta == model.ZERO_BLOCK
    most = int(beta[~empty].max(initial=BETA_MIN))
    return np.where(empty, beta, beta - most), bias + most
