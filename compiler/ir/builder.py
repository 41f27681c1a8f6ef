"""Tensor programs are built: shapes, constants, broadcasting, reductions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from spu.arch.errors import InputError
from spu.arch.package.expression import Expression, constant, evaluate, tree, variable
from spu.arch.package.host_operations import INTEGERS, REAL
from spu.arch.package.program import HostStep, Layout, Map, Product, Program, Step, Tensor

#: Elements of a tensor.
MOST_ELEMENTS = 1 << 24
#: Inputs of a kernel.
MOST_INPUTS = 16
#: What reductions of no elements are, by which they are filled up.
NEUTRAL = {"add": 0.0, "mul": 1.0}


@dataclass
class Builder(Program):
    """A program that grows; ``current``: label of the node that is lowered now."""

    current: str = ""

    def _add(self, step: Step) -> int:
        """A step of the node that is lowered now."""
        self.steps.append(step)
        self.labels[step.out] = self.current or self.name
        return step.out

    def note(self, line: str) -> None:
        """Note once what is done in another way than the model says."""
        if line not in self.notes:
            self.notes.append(line)

    def tensor(self, shape: Sequence[int], values: NDArray | None = None, dtype: str = REAL) -> int:
        """A new tensor; ``CompileError`` for more than ``MOST_ELEMENTS`` elements."""
        tensor = Tensor(tuple(int(n) for n in shape), values, dtype)
        if tensor.size > MOST_ELEMENTS:
            raise CompileError(
                f"a tensor of shape {tensor.shape} has {tensor.size} elements, more "
                f"than {MOST_ELEMENTS}"
            )
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, values: NDArray) -> int:
        """A tensor of known values: integers as they are, others as real numbers."""
        values = np.asarray(values)
        dtype = values.dtype.name if values.dtype.name in INTEGERS else REAL
        return self.tensor(values.shape, values.astype(dtype or np.float64), dtype)

    def real(self, tensor: int) -> int:
        """A tensor of real numbers, made of integers if these are known.

        Raises ``CompileError`` for integers that the host computes.
        """
        values = self.tensors[tensor].constant
        if self.is_real(tensor):
            return tensor
        if values is None:
            raise CompileError(
                f"takes {self.tensors[tensor].dtype}, which the host computes; Cast makes real "
                "numbers of it"
            )
        return self.constant(values.astype(np.float64))

    def on_host(self, operation: str, *sources: int, **settings: Any) -> int:
        """A tensor by an operation of the host, see ``host_operations``.

        Raises ``CompileError`` for constants that it does not take.
        """
        step = HostStep(len(self.tensors), sources, operation, settings)
        shape, dtype = self.result(step)
        known = [self.tensors[s].constant for s in sources]
        if all(v is not None for v in known):
            try:
                values = self.computed(step, [v for v in known if v is not None])
            except InputError as error:
                raise CompileError(str(error)) from None
            return self.tensor(shape, values, dtype)
        return self._add(replace(step, out=self.tensor(shape, dtype=dtype)))

    def layout(
        self, sources: Sequence[int], arrange: Callable[..., NDArray], fill: float = 0.0
    ) -> int:
        """A tensor of elements of others; ``arrange`` says which, by doing it to their indices."""
        if len({self.tensors[s].dtype for s in sources}) > 1:
            sources = [self.real(s) for s in sources]
        dtype = self.tensors[sources[0]].dtype if sources else REAL
        first = np.cumsum([0, *(self.tensors[s].size for s in sources)])
        indices = [
            np.arange(self.tensors[s].size).reshape(self.shape(s)) + start
            for s, start in zip(sources, first, strict=False)
        ]
        index = np.asarray(arrange(*indices), np.int64)
        values = [self.tensors[s].constant for s in sources]
        if all(v is not None for v in values) or (index < 0).all():
            own = dtype or np.float64
            flat = (
                np.concatenate(
                    [*(v.ravel() for v in values if v is not None), np.array([fill], own)]
                )
                if all(v is not None for v in values)
                else np.array([fill], own)
            )
            return self.constant(flat[index])
        if len(sources) == 1 and np.array_equal(index, indices[0]):
            return sources[0]
        made = self.tensor(index.shape, dtype=dtype)
        return self._add(Layout(made, tuple(sources), index, fill))

    def broadcast(self, tensor: int, shape: Sequence[int]) -> int:
        """As numpy does."""
        return self.layout([tensor], lambda i: np.broadcast_to(i, tuple(shape)))

    def map(self, expression: Expression, *sources: int) -> int:
        """Elementwise, with broadcasting; scalars among the sources become constants.

        Raises ``CompileError`` for integers that are not constant, as ``real``.
        """
        sources = tuple(self.real(s) for s in sources)
        shape = np.broadcast_shapes(*(self.shape(s) for s in sources))
        terms: list[Expression] = []
        kept: list[int] = []
        for s in sources:
            values = self.tensors[s].constant
            if values is not None and values.size and (values == values.flat[0]).all():
                terms.append(constant(values.flat[0]))
                continue
            wide = self.broadcast(s, shape)
            if wide not in kept:
                kept.append(wide)
            terms.append(variable(kept.index(wide)))
        expression = expression.substituted(terms)
        known = [self.tensors[s].constant for s in kept]
        if not expression.inputs or all(v is not None for v in known):
            values = evaluate(expression, [v for v in known if v is not None])[expression]
            return self.constant(np.broadcast_to(values, shape))
        used = sorted(expression.inputs)
        expression = expression.substituted(
            [variable(used.index(k) if k in used else 0) for k in range(len(kept))]
        )
        if expression == variable(0):
            return kept[used[0]]
        return self._add(
            Map(
                self.tensor(shape),
                tuple(kept[k] for k in used),
                expression.labelled(self.current or self.name),
            )
        )

    def combine(self, op: str, tensors: Sequence[int]) -> int:
        """``add``, ``mul``, ``max`` or ``min`` of tensors of one shape, element by element."""
        left = list(tensors)
        while len(left) > 1:
            some = left[:MOST_INPUTS]
            made = self.map(tree(op, [variable(k) for k in range(len(some))]), *some)
            left = [*left[MOST_INPUTS:], made]
        return left[0]

    def reduce(self, op: str, tensor: int, axes: Sequence[int]) -> int:
        """``add``, ``mul``, ``max`` or ``min`` of axes, which keep length 1.

        The sum of no elements is 0, their product 1; their maximum or minimum raises
        ``CompileError``.
        """
        shape = self.shape(tensor)
        axes = tuple(sorted(a % len(shape) for a in axes))
        others = tuple(a for a in range(len(shape)) if a not in axes)
        count = int(np.prod([shape[a] for a in axes]))
        kept = tuple(1 if a in axes else n for a, n in enumerate(shape))
        fill = NEUTRAL.get(op, 0.0)
        if count == 0 and op not in NEUTRAL:
            raise CompileError(f"{op} of no elements is infinite, which PAL has not")
        flat = self.layout(
            [tensor],
            lambda i: i.transpose(others + axes).reshape(
                int(np.prod([shape[a] for a in others])), count
            ),
        )
        while (count := self.shape(flat)[1]) > 1:
            groups = -(-count // MOST_INPUTS)
            width = -(-count // groups)
            # Sums and products are filled up with what changes nothing, others with an element that
            # is there already.
            short = groups * width - count
            rows = [
                self.layout(
                    [flat],
                    lambda i, k=k, w=width, s=short: np.concatenate(
                        [
                            i,
                            np.full_like(i[:, :1], -1).repeat(s, 1)
                            if op in NEUTRAL
                            else i[:, :1].repeat(s, 1),
                        ],
                        axis=1,
                    )[:, k::w],
                    fill,
                )
                for k in range(width)
            ]
            flat = self.map(tree(op, [variable(k) for k in range(width)]), *rows)
        return self.layout(
            [flat], lambda i: np.full(kept, -1) if count == 0 else i.reshape(kept), fill
        )

    def product(self, a: int, b: int) -> int:
        """``numpy.matmul`` of two tensors of at least 2 dimensions.

        Raises ``CompileError`` for (..., m, k) and (..., depth, n) where k is not depth.
        """
        a, b = self.real(a), self.real(b)
        (*batch_a, m, k), (*batch_b, depth, n) = self.shape(a), self.shape(b)
        if k != depth:
            raise CompileError(
                f"a product of {self.shape(a)} and {self.shape(b)}: {k} is not {depth}"
            )
        batch = np.broadcast_shapes(tuple(batch_a), tuple(batch_b))
        if 0 in (*batch, m, k, n):
            return self.constant(np.zeros((*batch, m, n)))
        values = [self.tensors[t].constant for t in (a, b)]
        if values[0] is not None and values[1] is not None:
            return self.constant(values[0] @ values[1])
        if all(x == 1 for x in batch_b):
            # One matrix for all: rows of the batch follow each other.
            a3 = self.layout([a], lambda i: np.broadcast_to(i, (*batch, m, k)).reshape(1, -1, k))
            b3 = self.layout([b], lambda i: i.reshape(1, k, n))
        else:
            a3 = self.layout([a], lambda i: np.broadcast_to(i, (*batch, m, k)).reshape(-1, m, k))
            b3 = self.layout([b], lambda i: np.broadcast_to(i, (*batch, k, n)).reshape(-1, k, n))
        out = self._add(Product(self.tensor((self.shape(a3)[0], self.shape(a3)[1], n)), a3, b3))
        return self.layout([out], lambda i: i.reshape(*batch, m, n))
