"""Tensor programs on an array: kernels and products mapped, one program file each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from compiler.dataflow.mapper import Mapped, map_kernel, prepare
from compiler.dataflow.operations import IN, OUT
from compiler.errors import CompileError, Refusal, Refused
from compiler.gemm import Gemm, plan_gemm
from compiler.reblock import Reblocking, reblocking
from compiler.tensors.expressions import Expression, dataflow, tree, variable
from compiler.tensors.program import Layout, Map, Product, Program, Step
from compiler.tensors.ranges import DEFAULT_BIAS, Ranges, choose, constant_bias
from pal_units import model
from pal_units.formats import PAL8T, Format
from spu.arch.config import ADDRESS_LOOP, OFFSET_BITS
from spu.arch.params import BLOCK, Architecture
from spu.arch.regmap import ITERATION_BITS

#: Rounds of a run that the host's register holds.
MOST_ROUNDS = (1 << ITERATION_BITS) - 1
#: Parts of a product that a kernel adds up.
MOST_PARTS = 8
#: Rounds of a pass, which a loop of the generator of weight addresses counts.
MOST_COUNT = 1 << ADDRESS_LOOP["count_less_1"].width


#: What a kernel computes: an expression, with tensor biases of all subexpressions in order.
Work = tuple[Expression, tuple[int, ...]]


@dataclass(frozen=True)
class Kernel:
    """A mapped kernel: an iteration every ``ii`` cycles, done after ``span``.

    (column, cycle) of the words of each input, and of its result.
    """

    content: bytes
    ii: int
    mii: int
    span: int
    ins: tuple[tuple[int, int], ...]
    out: tuple[int, int]

    def cycles(self, iterations: int) -> int:
        """Executed cycles of a run without holds."""
        return (iterations - 1) * self.ii + self.span

    @classmethod
    def of(cls, mapped: Mapped) -> "Kernel":
        nodes, placed = mapped.graph.nodes, mapped.placed
        ins, outs = ([(placed.tile[n][1], placed.time[n]) for n in sorted(mapped.graph.operations)
                      if nodes[n].op == op] for op in (IN, OUT))
        return cls(mapped.content, placed.ii, mapped.bounds.mii, mapped.span, tuple(ins), outs[0])


@dataclass(frozen=True)
class Piece:
    """Part of a product: some of the rows, of the depth, of the outputs."""

    rows: range
    depth: range
    outputs: range
    plan: Gemm


@dataclass(frozen=True)
class Compiled:
    """A tensor program for an array.

    ``ranges``: tensor biases.  ``kernels`` by what they compute; of each product, by the number of
    its step, ``formats`` of the blocks of its operands, and ``pieces``; ``reblocks`` make blocks of
    each format.
    """

    program: Program
    arch: Architecture
    ranges: Ranges
    formats: dict[int, Format]
    reblocks: dict[Format, Reblocking]
    kernels: dict[Work, Kernel] = field(default_factory=dict)
    pieces: dict[int, tuple[Piece, ...]] = field(default_factory=dict)

    @property
    def meant(self) -> Program:
        """The program with the constants of the model."""
        return replace(self.program, steps=[self.ranges.meant.get(i, step) for i, step in
                                            enumerate(self.program.steps)])

    def cycles(self) -> dict[int, int]:
        """Executed cycles of each step that computes, without holds."""
        out = {}
        for i, step in enumerate(self.program.steps):
            size = self.program.tensors[step.out].size
            if isinstance(step, Map):
                out[i] = in_runs(self.kernels[self.work(i)].cycles, self.words(size))
            elif isinstance(step, Product):
                batch = self.program.shape(step.a)[0]
                total = batch * sum(p.plan.cycles for p in self.pieces[i])
                total += sum(self.reblock_cycles(self.formats[i], n)
                             for n in self.reblocked(step) if n)
                parts = depth_parts(self.pieces[i])
                if parts > 1:
                    total += sum(in_runs(self.kernels[work].cycles, self.words(size))
                                 for work in partial_sums(parts, self.ranges.tensors[step.out]))
                out[i] = total
        return out

    def work(self, i: int) -> Work:
        """The kernel of a map, by the number of its step."""
        step = self.program.steps[i]
        assert isinstance(step, Map)
        return step.expression, self.ranges.nodes[i]

    def bias(self, tensor: int) -> int:
        """Tensor bias of a tensor that is not one of several operands."""
        values = self.program.tensors[tensor].constant
        return self.ranges.tensors[tensor] if values is None else constant_bias(values)

    def source_biases(self, i: int) -> tuple[int, ...]:
        """Tensor biases of the operands of a step."""
        step = self.program.steps[i]
        if isinstance(step, Layout):
            return (self.ranges.tensors[step.out],) * len(step.sources)
        if isinstance(step, Product):
            return self.bias(step.a), self.bias(step.b)
        biases = dict(zip(step.expression.steps(), self.ranges.nodes[i], strict=True))
        return tuple(biases[variable(k)] for k in range(len(step.sources)))

    def words(self, elements: int) -> int:
        """Words of PAL16 elements."""
        return -(-elements // self.arch.lanes16)

    def reblocked(self, step: Product) -> tuple[int, int]:
        """Blocks that are made of each operand; constant weights are blocks already."""
        tensors = [self.program.tensors[t] for t in step.sources]
        blocks = -(-tensors[0].shape[2] // BLOCK)
        return (tensors[0].shape[0] * tensors[0].shape[1] * blocks,
                0 if tensors[1].constant is not None
                else tensors[1].shape[0] * tensors[1].shape[2] * blocks)

    def reblock_cycles(self, fmt: Format, blocks: int) -> int:
        """Executed cycles that make so many blocks."""
        return in_runs(self.reblocks[fmt].cycles, -(-blocks // len(self.reblocks[fmt].columns)))

    def block_words(self, i: int) -> int:
        """Words of blocks that enter the array for a product."""
        step = self.program.steps[i]
        assert isinstance(step, Product)
        batch = self.program.shape(step.a)[0]
        return sum(batch * len(piece.rows) * piece.plan.passes * -(-len(piece.depth) // BLOCK)
                   for piece in self.pieces[i]) * self.arch.words_per_block(self.formats[i])


def in_runs(cycles: Callable[[int], int], rounds: int) -> int:
    """Cycles of so many rounds, in runs of at most ``MOST_ROUNDS``."""
    full, rest = divmod(rounds, MOST_ROUNDS)
    return full * cycles(MOST_ROUNDS) + (cycles(rest) if rest else 0)


def partial_sums(parts: int, bias: int) -> list[Work]:
    """Kernels that add up the parts of a product whose depth is divided.

    Each takes as many as it has operands, of which the first is what the one before it made.
    """
    out = []
    while parts > 1:
        taken = min(parts, MOST_PARTS)
        expression = tree("add", [variable(k) for k in range(taken)])
        out.append((expression, (bias,) * len(expression.steps())))
        parts -= taken - 1
    return out


def depth_parts(pieces: tuple[Piece, ...]) -> int:
    """Parts of the depth of a product."""
    return len({p.depth for p in pieces})


def compile_program(program: Program, arch: Architecture, fmt: Format = PAL8T,
                    bias: int = DEFAULT_BIAS, seed: int = 0,
                    known: dict[Work, Kernel] | None = None,
                    formats: Mapping[int, Format] | None = None,
                    progress: Callable[[str], None] = lambda _: None,
                    calibrate: Mapping[str, NDArray] | None = None) -> Compiled:
    """Map all kernels and products of a program.

    ``bias``, and ``calibrate``, inputs by name: see ``ranges.choose``.  ``known``: kernels mapped
    before; new ones are added.  ``formats``: of products by the number of their step, in place of
    ``fmt``.

    Raises
    ------
    CompileError: as ``ranges.choose``; an array of several regions or without the units;
        ``Refused`` with every product and kernel that does not fit.
    """
    if arch.region_count > 1:
        raise CompileError(f"{arch.name} has {arch.region_count} regions, a model takes one")
    known = {} if known is None else known
    plans: dict[tuple[int, int, int, Format], Gemm] = {}
    products = [i for i, step in enumerate(program.steps) if isinstance(step, Product)]
    chosen = dict.fromkeys(products, fmt) | dict(formats or {})
    if products and not arch.matrix_tiles:
        raise CompileError(f"{arch.name} has no tile with a matrix unit")
    try:
        reblocks = {each: reblocking(arch, each) for each in dict.fromkeys(chosen.values())}
    except ValueError as error:
        raise CompileError(str(error)) from None
    program, ranges = choose(program, bias, calibrate)
    compiled = Compiled(program, arch, ranges, chosen, reblocks)
    refused: list[Refusal] = []
    for i in products:
        step = program.steps[i]
        assert isinstance(step, Product)
        progress(f"product {i}")
        try:
            _check_weights(program, step, ranges, compiled.bias(step.a))
            compiled.pieces[i] = tuple(_pieces(program, step, arch, chosen[i], seed, plans))
        except CompileError as error:
            refused.append(Refusal.at(program.label(step), error))
    needed: list[tuple[Work, Step]] = [(compiled.work(i), s) for i, s in enumerate(program.steps)
                                       if isinstance(s, Map)]
    needed += [(work, program.steps[i]) for i, pieces in compiled.pieces.items() for work in
               partial_sums(depth_parts(pieces), ranges.tensors[program.steps[i].out])]
    failed: dict[Work, CompileError] = {}
    if any(work not in known for work, _ in needed):
        prepare(lambda: progress("compiling the search, once on a machine"))
    for work, step in needed:
        if work not in known and work not in failed:
            progress(f"kernel {len(compiled.kernels) + len(failed)}")
            expression, biases = work
            try:
                known[work] = Kernel.of(map_kernel(dataflow(
                    expression, f"kernel {len(compiled.kernels)}",
                    dict(zip(expression.steps(), biases, strict=True))), arch, seed))
            except CompileError as error:
                failed[work] = error
        if work in failed:
            refused.append(Refusal.at(program.label(step), failed[work]))
        else:
            compiled.kernels[work] = known[work]
    if refused:
        raise Refused(refused)
    return compiled


def _check_weights(program: Program, step: Product, ranges: Ranges, bias: int) -> None:
    """Raise if known weights make results so large that the ratio fits no matrix mode."""
    values = program.tensors[step.b].constant
    if values is None or not values.any():
        return
    offset = ranges.tensors[step.out] - bias - int(model.bias_for(np.abs(values).max()))
    if offset < -(1 << OFFSET_BITS - 1):
        raise CompileError(f"{program.label(step)}: results are held up to "
                           f"2^{ranges.tensors[step.out] / 8:g}, {-offset / 8:g} octaves below "
                           "what operands and weights may give, more than "
                           f"{1 << OFFSET_BITS - 4}")


def _pieces(program: Program, step: Product, arch: Architecture, fmt: Format, seed: int,
            plans: dict[tuple[int, int, int, Format], Gemm]) -> list[Piece]:
    """Cut a product so that the weights of each piece fit the weight memories, and its rows the
    counters of a run."""
    _, rows, depth = program.shape(step.a)
    outputs = program.shape(step.out)[2]
    most_depth = arch.weight_rows * arch.lanes // BLOCK * BLOCK
    parts = -(-depth // most_depth)
    each = -(-depth // parts // BLOCK) * BLOCK
    slices = -(-min(each, depth) // BLOCK) * BLOCK // arch.lanes
    once = len(arch.matrix_tiles) * arch.columns
    for width in range(once * (arch.weight_rows // slices), 0, -once):
        pieces = []
        try:
            for first in range(0, outputs, width):
                for start in range(0, depth, each):
                    d = range(start, min(start + each, depth))
                    o = range(first, min(first + width, outputs))
                    key = rows, len(d), len(o), fmt
                    if key not in plans:
                        plans[key] = plan_gemm(arch, *key, seed)
                    pieces += [Piece(r, d, o, plan) for r, plan in _by_rows(plans, key)]
        except CompileError:
            if width == once:
                raise
            continue
        return pieces
    raise CompileError(f"a depth of {each} does not fit the {arch.weight_rows} weight rows of "
                       f"{arch.name}")


def _by_rows(plans: dict[tuple[int, int, int, Format], Gemm], key: tuple[int, int, int, Format]
             ) -> list[tuple[range, Gemm]]:
    """Rows of a planned product, cut equally into as few runs as counters of rounds allow.

    How a product is arranged does not depend on its rows, if each stream has some.
    """
    whole, rows = plans[key], key[0]
    streams = len(whole.streams)
    most = min(MOST_COUNT, MOST_ROUNDS // whole.passes) * streams
    each = -(-rows // -(-rows // most) // streams) * streams if rows > most else rows
    cut = []
    for first in range(0, rows, each):
        taken = range(first, min(first + each, rows))
        part = (len(taken), *key[1:])
        if part not in plans:
            plans[part] = replace(whole, rows=len(taken))
        cut.append((taken, plans[part]))
    return cut


def weight_blocks(values: NDArray, fmt: Format) -> tuple[NDArray, NDArray, int]:
    """Constant weights (depth, outputs) as blocks along the depth: codes, biases, tensor bias."""
    padded = np.pad(values.T, ((0, 0), (0, -values.shape[0] % BLOCK)))
    return model.encode_blocks(padded, fmt)
