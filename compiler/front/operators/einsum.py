"""Einsum: diagonals and sums of each operand, then one product or elementwise step a pair."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator
from compiler.ir.builder import Builder
from spu.arch.package.expression import variable


@dataclass(frozen=True)
class Term:
    """A tensor whose axes have names, each of them once."""

    tensor: int
    axes: tuple[str, ...]


@operator("Einsum")
def einsum(low: Lowering, node: Operator) -> int:
    """Einsum of any number of operands, with diagonals, sums and ``...``, as ``numpy.einsum``.

    Operands are taken from the left, two at a time: one matrix product where axes are summed over,
    else elementwise.

    Raises ``CompileError`` for an equation that is none or does not fit the operands.
    """
    tensors, program = low.inputs(node), low.program
    shapes = [program.shape(t) for t in tensors]
    inputs, output = parsed(node.attributes["equation"], [len(s) for s in shapes])
    sizes: dict[str, int] = {}
    for axes, shape in zip(inputs, shapes, strict=True):
        for name, size in zip(axes, shape, strict=True):
            before = sizes.get(name, 1)
            if before != size and 1 not in (before, size):
                raise CompileError(f"axis {name!r} has the lengths {before} and {size}")
            sizes[name] = size if before == 1 else before
    terms = [_term(program, t, axes, sizes) for t, axes in zip(tensors, inputs, strict=True)]
    done = terms[0]
    for k, other in enumerate(terms[1:], 1):
        later = {*output, *(name for term in terms[k + 1 :] for name in term.axes)}
        done = _pair(program, done, other, later)
    return _placed(program, _summed(program, done, {*output}), output)


def parsed(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Names of the axes of operands and result; those of ``...`` are numbers, from the last axis.

    Raises ``CompileError`` for an equation that is none, or operands of other ranks.
    """
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        raise CompileError(f"equation {equation!r} is of {len(parts)} operands, not {len(ranks)}")
    inputs = []
    for part, rank in zip(parts, ranks, strict=True):
        named = len(part.replace("...", ""))
        more = rank - named
        if more < 0 or (more and "..." not in part):
            raise CompileError(f"{part!r} of equation {equation!r} is of {rank} axes")
        inputs.append(_names(equation, part, more))
    free = max((sum(name.isdigit() for name in axes) for axes in inputs), default=0)
    if arrow:
        output = _names(equation, right, free)
    else:
        counts = Counter(name for axes in inputs for name in axes)
        rest = tuple(str(k) for k in reversed(range(free)))
        output = rest + tuple(
            sorted(n for n, count in counts.items() if count == 1 and not n.isdigit())
        )
    known = {name for axes in inputs for name in axes}
    if len(set(output)) < len(output) or not set(output) <= known:
        raise CompileError(f"the result of equation {equation!r} has axes of no operand, or twice")
    return inputs, output


def _names(equation: str, part: str, more: int) -> tuple[str, ...]:
    before, dots, after = part.partition("...")
    if not all(c.isascii() and c.isalpha() for c in before + after):
        raise CompileError(f"equation {equation!r} is none: {part!r}")
    rest = [str(k) for k in reversed(range(more))] if dots else []
    return (*before, *rest, *after)


def _term(program: Builder, tensor: int, axes: tuple[str, ...], sizes: dict[str, int]) -> Term:
    """A term whose axes are different, and as long as in all operands: of an axis that is named
    twice the diagonal."""
    names = tuple(dict.fromkeys(axes))
    grid = dict(zip(names, np.ix_(*(range(sizes[name]) for name in names)), strict=True))
    full = [sizes[name] for name in axes]
    return Term(
        program.layout([tensor], lambda i: np.broadcast_to(i, full)[tuple(grid[a] for a in axes)]),
        names,
    )


def _summed(program: Builder, term: Term, kept: set[str]) -> Term:
    """A term whose axes that are not ``kept`` are summed over."""
    gone = tuple(k for k, name in enumerate(term.axes) if name not in kept)
    if not gone:
        return term
    total = program.reduce("add", term.tensor, gone)
    return Term(
        program.layout([total], lambda i: i.squeeze(gone)),
        tuple(name for name in term.axes if name in kept),
    )


def _placed(program: Builder, term: Term, axes: Sequence[str]) -> int:
    """A term with its axes in an order, of length 1 where it has none of a name."""
    own = [term.axes.index(name) for name in axes if name in term.axes]
    absent = tuple(k for k, name in enumerate(axes) if name not in term.axes)
    return program.layout([term.tensor], lambda i: np.expand_dims(i.transpose(own), absent))


def _pair(program: Builder, a: Term, b: Term, later: set[str]) -> Term:
    """Two terms multiplied, and summed over the axes that nothing needs ``later``."""
    # What only one of both has is summed up before.
    a, b = (_summed(program, x, later | {*y.axes}) for x, y in ((a, b), (b, a)))
    both = [name for name in a.axes if name in b.axes]
    summed = [name for name in both if name not in later]
    batch = [name for name in both if name in later]
    rows = [name for name in a.axes if name not in b.axes]
    columns = [name for name in b.axes if name not in a.axes]
    axes = (*batch, *rows, *columns)
    if not summed:
        placed = [_placed(program, term, axes) for term in (a, b)]
        return Term(program.map(variable(0) * variable(1), *placed), axes)
    sizes = dict(zip(a.axes, program.shape(a.tensor), strict=True))
    sizes |= dict(zip(b.axes, program.shape(b.tensor), strict=True))

    def matrices(term: Term, *groups: list[str]) -> int:
        """Stacks of matrices, an axis for each group."""
        shape = [prod(sizes[name] for name in group) for group in groups]
        placed = _placed(program, term, [name for group in groups for name in group])
        return program.layout([placed], lambda i: i.reshape(shape))

    out = program.product(matrices(a, batch, rows, summed), matrices(b, batch, summed, columns))
    return Term(program.layout([out], lambda i: i.reshape([sizes[n] for n in axes])), axes)
