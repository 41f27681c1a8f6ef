"""Comparisons, truth values, and choices by them.

A tensor of truth values is one of the numbers 0 and 1, which PAL16 holds exactly.
"""

import numpy as np
from numpy.typing import NDArray

from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.operators.elementwise import MOST, operands
from compiler.front.registry import operator
from spu.arch.package.expression import Expression, apply, tree, variable

X, Y = variable(0), variable(1)


def truth(condition: Expression, yes: float = 1, no: float = 0) -> Expression:
    """A number of the result of a comparison, or of a truth value."""
    return apply("select", yes, no, condition)


LESS, GREATER, EQUAL = truth(apply("lt", X, Y)), truth(apply("lt", Y, X)), truth(apply("eq", X, Y))
COMPARISONS: dict[str, Expression] = {
    "Less": LESS,
    "Greater": GREATER,
    "Equal": EQUAL,
    "LessOrEqual": apply("select", 1, EQUAL, apply("lt", X, Y)),
    "GreaterOrEqual": apply("select", 1, EQUAL, apply("lt", Y, X)),
}
CONNECTIVES: dict[str, Expression] = {
    "And": apply("min", X, Y),
    "Or": apply("max", X, Y),
    "Xor": apply("select", truth(Y, 0, 1), Y, X),
}


@operator(*COMPARISONS)
def compare(low: Lowering, node: Operator) -> int:
    """One of ``COMPARISONS`` of floats or truth values, broadcast as by ``operands``.

    What is compared are values as PAL16 holds them: two numbers within 2^-11 of each other may be
    equal, and two formulas of the same number may differ by their rounding.  Both are of one
    tensor bias, and equal as their codes.  NaN equals nothing and is neither less nor greater.
    Equal to an infinite constant is what is beyond all float32.

    Raises ``CompileError`` as ``operands``.
    """
    given, expression = operands(low, node), COMPARISONS[node.op]
    for other, tensor in zip((Y, X), given, strict=True):
        known = low.program.tensors[tensor].constant
        if node.op != "Equal" or known is None or not known.size:
            continue
        if np.isinf(known.flat[0]) and (known == known.flat[0]).all():
            expression = truth(beyond(other, bool(known.flat[0] > 0)))
    return low.program.map(expression, *given)


def beyond(x: Expression, above: bool) -> Expression:
    """Whether a value is infinite as float32; a run tells what saturated and may have been."""
    return apply("lt", MOST, x) if above else apply("lt", x, -MOST)


@operator(*CONNECTIVES)
def connect(low: Lowering, node: Operator) -> int:
    """And, Or, Xor of truth values, exact; broadcast as by ``operands``, which may raise."""
    return low.program.map(CONNECTIVES[node.op], *operands(low, node))


@operator("Not")
def negate(low: Lowering, node: Operator) -> int:
    """Not of truth values, exact."""
    return low.program.map(truth(X, 0, 1), *low.inputs(node))


@operator("IsNaN")
def is_nan(low: Lowering, node: Operator) -> int:
    """IsNaN: what is not equal to itself, as of 0 / 0 or the root of a negative number."""
    return low.program.map(truth(apply("eq", X, X), 0, 1), *low.inputs(node))


@operator("IsInf")
def is_infinite(low: Lowering, node: Operator) -> int:
    """IsInf: what is beyond all float32, on the sides that ``detect_positive`` and
    ``detect_negative`` say; see ``beyond``."""
    found = [
        truth(beyond(X, above))
        for above, name in ((True, "detect_positive"), (False, "detect_negative"))
        if node.attributes[name]
    ]
    x = low.tensor(node.inputs[0])
    if not found:
        return low.program.constant(np.zeros(low.program.shape(x)))
    return low.program.map(tree("max", found), x)


@operator("Where")
def where(low: Lowering, node: Operator) -> int:
    """Where: of ``x`` and ``y``, the one that the condition says, all broadcast.

    By a constant condition elements are moved, by a computed one the array chooses, or the host
    between integers.

    Raises ``CompileError`` for shapes that do not broadcast.
    """
    condition, x, y = low.inputs(node)
    program = low.program
    shape = np.broadcast_shapes(*(program.shape(t) for t in (condition, x, y)))
    known = program.tensors[condition].constant
    if known is None and not any(map(program.is_real, (x, y))):
        return program.on_host("where", program.on_host("truth", condition), x, y)
    if known is None:
        wide = [program.broadcast(t, shape) for t in (condition, x, y)]
        return program.map(apply("select", Y, variable(2), X), *wide)
    mask = np.broadcast_to(known != 0, shape)
    if mask.all() or not mask.any():
        return program.broadcast(x if mask.all() else y, shape)

    def chosen(i: NDArray, j: NDArray) -> NDArray:
        return np.where(mask, np.broadcast_to(i, shape), np.broadcast_to(j, shape))

    return program.layout([x, y], chosen)
