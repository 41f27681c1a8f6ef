"""Compiled models run: the host's part, over any engine."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import PAL16, Format
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.blocks import empty_block, lifted
from spu.arch.errors import InputError, UserError
from spu.arch.operations import constant_codes
from spu.arch.package.compiled import MOST_ROUNDS, Package, Work, partial_sums
from spu.arch.package.product import MOST_OFFSET, Gemm, with_weights
from spu.arch.package.program import HostStep, Layout, Map, Product, Program, gathered
from spu.arch.params import BLOCK
from spu.engine.array import Cycles, Engine, Run
from spu.engine.errors import RunError
from spu.engine.meaning import Meaning
from spu.engine.saturation import saturated
from spu.engine.streams import code_streams, result_codes
from spu.model import words as w
from spu.model.exact import operands
from spu.model.units import codes_of
from spu.model.words import Stream, interleaved

#: Words that products wait with to be run side by side; some 150 bytes each.
MOST_WORDS = 1 << 19

#: Is shown the number of a step, PAL16 codes of its operands, see ``exact.operands``, and of its
#: result.
Watch = Callable[[int, list[NDArray[np.uint16]], NDArray[np.uint16]], None]


def run(
    compiled: Package,
    engine: Engine,
    inputs: Mapping[str, NDArray],
    progress: Callable[[int, int], None] = lambda done, total: None,
    watch: Watch = lambda step, sources, out: None,
) -> dict[str, NDArray]:
    """Outputs by name for inputs by name, of the shapes of the program: float64, integers, or bool.

    Elements that are not what the model means, as masks or small constants were moved, count as
    saturated.  ``progress``: steps done, and all.  ``watch`` is shown each step when it is done.
    Raises ``InputError`` where a tensor is negative that must not be, for an index that there is
    not and a division of integers by zero, and what the engine raises.
    """
    program = compiled.program
    host, meaning = _Host(compiled, engine), Meaning(compiled)
    needed = _last_uses(program)
    for name, i in program.inputs.items():
        given = program.value(i, inputs[name])
        if not program.is_real(i):
            host.codes[i] = given
            continue
        taken = compiled.held(i, given)
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
        sources = host.step(i)
        engine.nodes += meaning.step(i, host.real)
        watch(i, sources, host.codes[step.out])
        look(step.out)
        for s in step.sources:
            if needed.get(s) == i:
                host.codes.pop(s, None)
                meaning.pairs.pop(s, None)
    found = {name: host.values(i).reshape(program.shape(i)) for name, i in program.outputs.items()}
    return {name: x != 0 if name in program.truths else x for name, x in found.items()}


def _last_uses(program: Program) -> dict[int, int]:
    """The step that uses each tensor last, of those that are no outputs."""
    last = {s: i for i, step in enumerate(program.steps) for s in step.sources}
    return {s: i for s, i in last.items() if s not in program.outputs.values()}


class _Host:
    """What the host does: order of words, integers, blocks of weights into program files.

    ``codes``: PAL16 of tensors of real numbers, values of those of integers.
    """

    def __init__(self, compiled: Package, engine: Engine) -> None:
        self.compiled, self.engine, self.arch = compiled, engine, compiled.arch
        self.codes: dict[int, NDArray] = {}
        self.images: dict[Work, Image] = {}

    def tensor(self, i: int, bias: int) -> NDArray:
        """PAL16 codes of a tensor, those of a constant under this tensor bias; or integers."""
        if not self.compiled.program.tensors[i].known:
            return self.codes[i]
        values = self.compiled.program.tensors[i].values
        return constant_codes(values, bias) if self.compiled.program.is_real(i) else values

    def values(self, i: int) -> NDArray:
        """Of a tensor that is not one of several operands."""
        if not self.compiled.program.is_real(i):
            return self.tensor(i, 0)
        bias = self.compiled.bias(i)
        return model.decode16(self.tensor(i, bias), bias)

    def real(self, i: int) -> NDArray:
        """As ``values``, but constants as they are."""
        tensor = self.compiled.program.tensors[i]
        return tensor.values if tensor.known else self.values(i)

    def step(self, i: int) -> list[NDArray[np.uint16]]:
        """Make what a step makes; returns the codes of its operands."""
        step, sources = self.compiled.program.steps[i], operands(self.compiled, i, self.codes)
        if isinstance(step, HostStep):
            self.codes[step.out] = self._computed(step, sources)
            return sources
        shape, label = self.compiled.program.shape(step.out), self.compiled.program.label(step)
        if isinstance(step, Layout):
            real = self.compiled.program.is_real(step.out)
            fill = int(
                constant_codes(step.fill, self.compiled.bias(step.out)) if real else step.fill
            )
            self.codes[step.out] = gathered(step, sources, fill)
        elif isinstance(step, Map):
            made = self._kernel(self.compiled.work(i), sources, label)
            self.codes[step.out] = made.reshape(shape)
        else:
            self.codes[step.out] = self._product(i, step, *sources)
        return sources

    def _computed(self, step: HostStep, sources: list[NDArray]) -> NDArray:
        """Integers; or codes, which are moved as they are, or those of integers."""
        compiled, program = self.compiled, self.compiled.program
        moved = program.moved(step)
        if not moved:
            made = program.computed(step, [self.real(s) for s in step.sources])
            if not program.is_real(step.out):
                return made
            taken, bias = compiled.held(step.out, made), compiled.bias(step.out)
            if above := int((np.abs(taken) > 2.0 ** (bias / 8)).sum()):
                self.engine.nodes[program.label(step)] += above
            return model.encode16(taken, bias)
        if not all(program.tensors[s].known for s in moved):
            return program.computed(step, sources)
        # A few rows of a large table.
        if compiled.moved_tables(step):
            return compiled.moved(step, sources)[0]
        made = program.computed(step, [self.real(s) for s in step.sources])
        return constant_codes(made, compiled.bias(step.out))

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
            {c: interleaved(parts, kernel.ii) for c, parts in timed.items()},
            iterations,
            kernel.cycles,
        )
        if self.engine.saturated > before:
            every, nodes = saturated(work, sources)
            if not every:
                raise RunError(
                    f"{label}: tiles counted {self.engine.saturated - before} "
                    "saturated elements, the kernel has none"
                )
            self.engine.nodes.update({name or label: n for name, n in nodes.items()})
        words = outputs[kernel.out[0]][:iterations]
        return w.lanes(w.from_integers(words, self.arch)).ravel()[:count]

    def _in_runs(
        self, image: Image, inputs: Mapping[int, Stream], rounds: int, cycles: Cycles
    ) -> dict[int, Stream]:
        """Rounds that are alike, in as many runs as the host's register asks for."""
        out: dict[int, Stream] = {c: [] for c in range(self.arch.cols)}
        for first in range(0, rounds, MOST_ROUNDS):
            count = min(MOST_ROUNDS, rounds - first)
            part = {
                c: words[len(words) // rounds * first : len(words) // rounds * (first + count)]
                for c, words in inputs.items()
            }
            for c, words in self.engine.run(image, part, count, cycles, True).items():
                out[c] += words
        return out

    def _words(self, codes: NDArray, count: int, used: int) -> Stream:
        """Words of ``used`` PAL16 lanes each; the last are filled up with a real element, of which
        nothing becomes that does not become of it elsewhere."""
        padded = np.zeros((count, self.arch.lanes16), "<u2")
        flat = np.full(count * used, codes.flat[0] if codes.size else 0, np.uint16)
        flat[: codes.size] = codes.ravel()
        padded[:, :used] = flat.reshape(count, used)
        return [(int.from_bytes(row.tobytes(), "little"), 0) for row in padded]

    # Products.

    def _product(self, i: int, step: Product, a: NDArray, b: NDArray) -> NDArray[np.uint16]:
        compiled, program = self.compiled, self.compiled.program
        fmt, out_bias = compiled.formats[i], compiled.ranges.tensors[step.out]
        weights, known = compiled.weight_format(i), compiled.weight_blocks(i)
        x_codes, x_beta = self._blocks(a, fmt)
        if known is not None:
            found = known.matrices()
        else:
            codes, beta = self._blocks(b.transpose(0, 2, 1), fmt)
            found = [
                (c, *lifted(each, compiled.bias(step.b), weights))
                for c, each in zip(codes, beta, strict=True)
            ]
        shape = program.shape(step.out)
        pieces = compiled.pieces[i]
        parts = {d: k for k, d in enumerate(dict.fromkeys(p.depth for p in pieces))}
        out, before = np.zeros((len(parts), *shape), np.uint16), self.engine.saturated
        label = program.label(step)
        waiting: list[tuple[NDArray[np.uint16], Gemm, Run]] = []
        for batch, (w_codes, w_beta, t_weight) in enumerate(found):
            beta, t_x = x_beta[batch], compiled.bias(step.a)
            if not compiled.ranges.fixed:
                try:
                    beta, t_x = lifted(beta, t_x, fmt, out_bias - t_weight - MOST_OFFSET)
                except UserError as error:
                    raise InputError(f"{label}: {error}") from None
            for piece in pieces:
                blocks = slice(piece.depth.start // BLOCK, -(-piece.depth.stop // BLOCK))
                taken = slice(blocks.start * BLOCK, blocks.stop * BLOCK)
                columns = slice(piece.outputs.start, piece.outputs.stop)
                rows = slice(piece.rows.start, piece.rows.stop)
                try:
                    plan = self._weights(
                        piece.plan,
                        w_codes[columns, taken],
                        w_beta[columns, blocks],
                        out_bias - t_x - t_weight,
                    )
                except UserError as error:
                    raise InputError(f"{label}: {error}") from None
                run = self._run(plan, x_codes[batch][rows, taken], beta[rows, blocks])
                place = out[parts[piece.depth], batch, rows, columns]
                words = sum(map(len, run.inputs.values()))
                if waiting and (len(waiting) + 1) * words > MOST_WORDS:
                    self._multiply(waiting)
                waiting.append((place, plan, run))
        self._multiply(waiting)
        if count := self.engine.saturated - before:
            self.engine.nodes[label] += count
        left = list(out)
        for work in partial_sums(len(parts), out_bias):
            first = len(work[0].inputs)
            left[:first] = [self._kernel(work, left[:first], label).reshape(shape)]
        of_b = known.nan_columns if known else model.is_nan(b, PAL16).any(axis=1, keepdims=True)
        _check_nan(a, np.asarray(of_b), left[0], label)
        return left[0]

    @staticmethod
    def _weights(plan: Gemm, codes: NDArray, beta: NDArray, offset: int) -> Gemm:
        return with_weights(plan, *_filled(codes, beta, plan.weight_shape, plan.weights), offset)

    @staticmethod
    def _run(plan: Gemm, codes: NDArray, beta: NDArray) -> Run:
        assert plan.image is not None
        filled = _filled(codes, beta, (len(codes), plan.weight_shape[1]), plan.fmt)
        streams, cycles = code_streams(plan, *filled), plan.cycles
        return Run(plan.image, streams, plan.rounds, lambda _: cycles, False)

    def _multiply(self, waiting: list[tuple[NDArray[np.uint16], Gemm, Run]]) -> None:
        """Do runs of products, and put the results of each into its place."""
        outputs = self.engine.run_each([run for _, _, run in waiting])
        for (place, plan, _), each in zip(waiting, outputs, strict=True):
            place[:] = result_codes(plan, each)
        waiting.clear()

    def _blocks(self, codes: NDArray, fmt: Format) -> tuple[NDArray, NDArray]:
        """Blocks along the last axis, made by the array: codes and biases."""
        plan, arch = self.compiled.reblocks[fmt], self.arch
        padded = np.pad(codes, [*[(0, 0)] * (codes.ndim - 1), (0, -codes.shape[-1] % BLOCK)])
        blocks = padded.reshape(-1, BLOCK)
        streams, iterations = len(plan.columns), -(-len(blocks) // len(plan.columns))
        full = np.zeros((iterations * streams, BLOCK), np.uint16)
        full[: len(blocks)] = blocks
        inputs = {
            c: self._words(full[k::streams], iterations * arch.pushes_per_block, arch.drain_lanes)
            for k, c in enumerate(plan.columns)
        }
        outputs = self._in_runs(plan.image, inputs, iterations, plan.cycles)
        out = np.zeros((iterations * streams, BLOCK), np.uint8)
        beta = np.zeros(iterations * streams, np.int64)
        for k, c in enumerate(plan.columns):
            per_block = arch.words_per_block(plan.fmt)
            words = w.from_integers(outputs[c][: iterations * per_block], arch)
            out[k::streams] = codes_of(words, plan.fmt).reshape(iterations, BLOCK)
            beta[k::streams] = w.bias(words)[::per_block]
        return (
            out[: len(blocks)].reshape(padded.shape),
            beta[: len(blocks)].reshape(*padded.shape[:-1], -1),
        )


def _check_nan(a: NDArray, columns: NDArray[np.bool_], out: NDArray, label: str) -> None:
    """Raise if NaN of an operand, of the second in these columns, is not in a product's results: a
    block of zeros makes 0 of it."""
    rows = model.is_nan(a, PAL16).any(axis=2, keepdims=True)
    lost = (rows | columns) & ~model.is_nan(out, PAL16)
    if lost.any():
        raise InputError(
            f"{label}: {int(lost.sum())} results should be NaN, of operands that are; "
            "beside a block of zeros, or in a format without NaN, they are numbers"
        )


def _filled(
    codes: NDArray, beta: NDArray, shape: tuple[int, int], fmt: Format
) -> tuple[NDArray, NDArray]:
    """Rows of blocks, with rows and blocks of zeros up to a shape (rows, codes)."""
    rows, depth = shape[0] - codes.shape[0], shape[1] - codes.shape[1]
    return (
        np.pad(codes, ((0, rows), (0, depth))),
        np.pad(beta, ((0, rows), (0, depth // BLOCK)), constant_values=empty_block(fmt)),
    )
