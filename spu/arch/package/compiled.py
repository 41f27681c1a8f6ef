"""A compiled model: tensor program, kernels, products, for an array."""

from collections.abc import Callable, Mapping, Sequence
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
from spu.arch.package.weights import Codes, Table, Values, Weights, encoded_weights, taken_elements
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

    Of constants as the array has them: ``blocks``, weights by tensor and format; ``tables``, codes
    of elements that the host moves, by tensor and bias; ``constant_biases`` by tensor.  Those of a
    package on disk are as they were written, others are made when they are asked for.
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
    blocks: dict[tuple[int, Format], Weights | Callable[[], Weights]] = field(default_factory=dict)
    tables: dict[tuple[int, int], Table | Callable[[], Table]] = field(default_factory=dict)
    constant_biases: dict[int, int] = field(default_factory=dict)

    def weight_blocks(self, i: int) -> Weights | None:
        """Constant weights of a product, by the number of its step; None if a run makes them."""
        step = self.program.steps[i]
        assert isinstance(step, Product)
        tensor = self.program.tensors[step.b]
        if not tensor.known:
            return None
        key = step.b, self.weight_format(i)
        found = self.blocks.get(key)
        if not isinstance(found, Weights):
            found = encoded_weights(tensor.values, key[1]) if found is None else found()
            self.blocks[key] = found
        return found

    def moved_tables(self, step: HostStep) -> list[Table]:
        """Constants whose elements alone a step moves, in order, under the bias of its result; none
        if the package has them in another form."""
        moved = dict.fromkeys(self.program.moved(step))
        keys = [(tensor, self.bias(step.out)) for tensor in moved]
        return [self._table(key) for key in keys] if all(k in self.tables for k in keys) else []

    def moved(self, step: HostStep, sources: Sequence[NDArray]) -> tuple[Codes, Values]:
        """Codes, and values as the model means them, of what a step moves of ``moved_tables``;
        ``sources`` in order, of which others are taken."""
        places = {s: k for k, s in enumerate(dict.fromkeys(self.program.moved(step)))}
        tables = self.moved_tables(step)

        def take(arrays: list[NDArray]) -> NDArray:
            given = zip(step.sources, sources, strict=True)
            return self.program.computed(
                step, [arrays[places[s]] if s in places else x for s, x in given]
            )

        return taken_elements(tables, take)

    def _table(self, key: tuple[int, int]) -> Table:
        found = self.tables[key]
        if not isinstance(found, Table):
            found = self.tables[key] = found()
        return found

    def weight_format(self, i: int) -> Format:
        """Of the second operand of a product, by the number of its step."""
        step = self.program.steps[i]
        assert isinstance(step, Product)
        known = self.program.tensors[step.b].known
        return (self.weights if known else None) or self.formats[i]

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
        if not self.program.tensors[tensor].known:
            return self.ranges.tensors[tensor]
        if tensor not in self.constant_biases:
            values = self.program.tensors[tensor].values
            self.constant_biases[tensor] = constant_bias(values)
        return self.constant_biases[tensor]

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
            0 if tensors[1].known else tensors[1].shape[0] * tensors[1].shape[2] * blocks,
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
