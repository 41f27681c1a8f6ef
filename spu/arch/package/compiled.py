"""A compiled model: tensor program, kernels, products, for an array."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import Format
from spu.arch.package.expression import Expression, tree, variable
from spu.arch.package.product import Gemm
from spu.arch.package.program import HostStep, Layout, Map, Product, Program
from spu.arch.package.ranges import ANY, FIXED, TOP, Ranges, constant_bias, far
from spu.arch.package.reblocking import Reblocking
from spu.arch.params import BLOCK, Architecture
from spu.arch.program import executed_cycles
from spu.arch.regmap import ITERATION_BITS

#: Rounds of a run that the host's register holds.
MOST_ROUNDS = (1 << ITERATION_BITS) - 1
#: Parts of a product that a kernel adds up.
MOST_PARTS = 8


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
        return executed_cycles(iterations, self.ii, self.span)


@dataclass(frozen=True)
class Piece:
    """Part of a product: some of the rows, of the depth, of the outputs."""

    rows: range
    depth: range
    outputs: range
    plan: Gemm


@dataclass(frozen=True)
class Package:
    """A tensor program for an array.

    ``ranges``: tensor biases.  ``kernels`` by what they compute; of each product, by the number of
    its step, ``formats`` of the blocks of its operands, and ``pieces``; ``reblocks`` make blocks of
    each format.  ``strategy``: what the compiler says of why it is in steps.  ``weights``: format
    of constant weights, None for that of the other operand.
    """

    program: Program
    arch: Architecture
    ranges: Ranges
    formats: dict[int, Format]
    reblocks: dict[Format, Reblocking]
    strategy: Mapping[str, Any] = field(default_factory=dict)
    kernels: dict[Work, Kernel] = field(default_factory=dict)
    pieces: dict[int, tuple[Piece, ...]] = field(default_factory=dict)
    weights: Format | None = None

    def weight_format(self, i: int) -> Format:
        """Of the second operand of a product, by the number of its step."""
        step = self.program.steps[i]
        assert isinstance(step, Product)
        constant = self.program.tensors[step.b].constant is not None
        return (self.weights if constant else None) or self.formats[i]

    @property
    def meant(self) -> Program:
        """The program with the constants of the model."""
        return replace(
            self.program,
            steps=[self.ranges.meant.get(i, step) for i, step in enumerate(self.program.steps)],
        )

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
                total += sum(
                    self.reblock_cycles(self.formats[i], n) for n in self.reblocked(step) if n
                )
                parts = depth_parts(self.pieces[i])
                if parts > 1:
                    total += sum(
                        in_runs(self.kernels[work].cycles, self.words(size))
                        for work in partial_sums(parts, self.ranges.tensors[step.out])
                    )
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

    def held(self, tensor: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values that come from outside of the array, with those beyond their top that may be
        moved at it, see ``ranges``."""
        bias = self.bias(tensor)
        low, high = self.ranges.masks.get(tensor, (FIXED, FIXED))
        ends = [
            far(bias) if level == ANY else 2.0 ** (bias / 8) if level == TOP else np.inf
            for level in (low, high)
        ]
        beyond = np.abs(values) > 2.0 ** (bias / 8)
        return np.where(beyond, np.clip(values, -ends[0], ends[1]), values)

    def source_biases(self, i: int) -> tuple[int, ...]:
        """Tensor biases of the operands of a step; 0 of integers, which have none."""
        step = self.program.steps[i]
        if isinstance(step, (Layout, HostStep)):
            moved = self.program.moved(step)
            return tuple(
                self.ranges.tensors[step.out]
                if s in moved
                else self.bias(s)
                if self.program.is_real(s)
                else 0
                for s in step.sources
            )
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
        return (
            tensors[0].shape[0] * tensors[0].shape[1] * blocks,
            0
            if tensors[1].constant is not None
            else tensors[1].shape[0] * tensors[1].shape[2] * blocks,
        )

    def reblock_cycles(self, fmt: Format, blocks: int) -> int:
        """Executed cycles that make so many blocks."""
        return in_runs(self.reblocks[fmt].cycles, -(-blocks // len(self.reblocks[fmt].columns)))

    def block_words(self, i: int) -> int:
        """Words of blocks that enter the array for a product."""
        step = self.program.steps[i]
        assert isinstance(step, Product)
        batch = self.program.shape(step.a)[0]
        return sum(
            batch * len(piece.rows) * piece.plan.passes * -(-len(piece.depth) // BLOCK)
            for piece in self.pieces[i]
        ) * self.arch.words_per_block(self.formats[i])


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
