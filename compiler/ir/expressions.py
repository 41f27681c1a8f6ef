"""Functions of models as expressions, and expressions as dataflow graphs."""

from collections.abc import Mapping
from math import factorial
from typing import Any

import numpy as np

from compiler.ir.dataflow import Dataflow, Edge, Node
from spu.arch.operations import CONSTANT, IN, OUT
from spu.arch.package.expression import Expression, apply, constant, operand_bias, tree, variable

LOG2_E = float(np.log2(np.e))
#: erf(x) for x >= 0 is 1 - (a1 t + ... + a5 t^5) exp(-x^2) with t = 1 / (1 + p x), to 1.5e-7:
#: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
ERF_P = 0.3275911
ERF_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
ERF_ERROR = 1.5e-7
#: Where 1 + t and e^t - 1 would lose what they differ by, a series is taken: up to ``SERIES``, of
#: which the first term left out is the error.
SERIES = 2.0**-3
LOG1P_ERROR, EXPM1_ERROR = SERIES**4 / 4, SERIES**4 / 24
#: A turn, the turns of an angle that is reduced, and the greatest: a quarter less, for cosines.
TURN, TURNS = 2 * np.pi, 8
MOST_ANGLE = (TURNS - 0.25) * TURN
#: The series of sine, of turns, and its error for a quarter.
SINE = tuple(float(TURN ** (2 * k + 1)) / factorial(2 * k + 1) for k in range(4))
SINE_ERROR = float(np.pi / 2) ** 9 / factorial(9)
#: Whole numbers up to ``2^WHOLE`` are made; what is so near to one, of itself, is taken as it, but
#: none as another one.
WHOLE, NEAR, MOST_NEAR = 11, 2.0**-10, 0.4999
#: Factors of a power; equal products of them are made once.
MOST_FACTORS = 64


def dataflow(expression: Expression, name: str, biases: Mapping[Expression, int]) -> Dataflow:
    """The kernel: a stream for each input, one for the result; nodes ``in`` in their order.

    ``biases`` of all subexpressions but constants.
    """
    inputs = [variable(k) for k in sorted(expression.inputs)]
    nodes = {i: Node(i, IN, bias=biases[x]) for i, x in enumerate(inputs)}
    edges: list[Edge] = []
    number: dict[Any, int] = {x: i for i, x in enumerate(inputs)}
    for x in expression.steps():
        if x.op in (IN, CONSTANT):
            continue
        for place, y in enumerate(x.operands):
            bias = operand_bias(x, place, biases)
            if y.op == CONSTANT and (y, bias) not in number:
                n = number[y, bias] = len(nodes)
                nodes[n] = Node(n, CONSTANT, ("pal", y.value), bias)
        n = number[x] = len(nodes)
        nodes[n] = Node(n, x.op, bias=biases[x])
        edges += [
            Edge(
                number[(y, operand_bias(x, i, biases)) if y.op == CONSTANT else y], n, i, 0, "data"
            )
            for i, y in enumerate(x.operands)
        ]
    nodes[len(nodes)] = Node(len(nodes), OUT, bias=biases[expression])
    edges.append(Edge(number[expression], len(nodes) - 1, 0, 0, "data"))
    return Dataflow(name, nodes, tuple(edges))


# Functions of more than one operation.


def exp(x: Expression) -> Expression:
    """``e^x`` as ``2^(x log2 e)``."""
    return apply("exp2", x * LOG2_E)


def log(x: Expression) -> Expression:
    """Natural logarithm, ``log2(x) / log2(e)``."""
    return apply("log2", x) * (1 / LOG2_E)


def sigmoid(x: Expression) -> Expression:
    """By ``exp(-|x|)``, which does not overflow."""
    t = apply("exp2", apply("abs", x) * -LOG2_E)
    return apply("select", t / (1.0 + t), 1.0 / (1.0 + t), apply("lt", x, 0.0))


def tanh(x: Expression) -> Expression:
    """By ``exp(-2|x|)``, which does not overflow."""
    t = apply("exp2", apply("abs", x) * (-2 * LOG2_E))
    return _signed(x, (1.0 - t) / (1.0 + t))


def erf(x: Expression) -> Expression:
    """To ``ERF_ERROR``, beside the rounding of its operations."""
    size = apply("abs", x)
    t = 1.0 / (1.0 + ERF_P * size)
    total = constant(ERF_A[-1])
    for a in reversed(ERF_A[:-1]):
        total = total * t + a
    return _signed(x, 1.0 - total * t * apply("exp2", x * x * -LOG2_E))


def log1p(x: Expression) -> Expression:
    """``log(1 + x)`` of ``x >= 0``, to ``LOG1P_ERROR``."""
    series = x * (1.0 - x * (0.5 - x * (1 / 3)))
    return apply("select", series, log(1.0 + x), apply("lt", x, SERIES))


def expm1(x: Expression) -> Expression:
    """``e^x - 1`` of ``x <= 0``, to ``EXPM1_ERROR``."""
    series = x * (1.0 + x * (0.5 + x * (1 / 6)))
    return apply("select", series, exp(x) - 1.0, apply("lt", -SERIES, x))


def leaky_relu(x: Expression, slope: Expression | float) -> Expression:
    """``x``, times ``slope`` below 0."""
    return apply("select", x * slope, x, apply("lt", x, 0.0))


def elu(x: Expression, scale: float, factor: float, below: float) -> Expression:
    """``factor x``, below 0 ``below expm1(scale x)``; no exponential of what is above 0."""
    low = expm1(scaled(apply("min", x, 0.0), scale))
    return apply("select", scaled(low, below), scaled(x, factor), apply("lt", x, 0.0))


def hard_sigmoid(x: Expression, slope: float, offset: float) -> Expression:
    """``slope x + offset`` between 0 and 1."""
    return apply("max", apply("min", x * slope + offset, 1.0), 0.0)


def softplus(x: Expression) -> Expression:
    """``log(1 + e^x)`` as ``max(x, 0) + log1p(exp(-|x|))``, which does not overflow."""
    return apply("max", x, 0.0) + log1p(apply("exp2", apply("abs", x) * -LOG2_E))


def mish(x: Expression) -> Expression:
    """Misra, Mish (arXiv:1908.08681), ``x tanh(softplus(x))``: with ``t = exp(-|x|)`` it is
    ``x (1 + 2 t) / (1 + 2 t + 2 t^2)``, below 0 ``x n / (n + 2)`` with ``n = t (t + 2)``."""
    t = apply("exp2", apply("abs", x) * -LOG2_E)
    low, high, negative = t * (t + 2.0), 1.0 + 2.0 * t, apply("lt", x, 0.0)
    top = apply("select", low, high, negative)
    return x * (top / apply("select", low + 2.0, high + 2.0 * (t * t), negative))


def scaled(x: Expression, factor: float) -> Expression:
    """``factor x``, by no operation if that is ``x``."""
    return x if factor == 1 else x * factor


def remainder(x: Expression, octaves: int) -> tuple[Expression, Expression]:
    """What is left of ``0 <= x < 2^octaves`` below 1, and whether the whole part is even."""
    for k in reversed(range(octaves)):
        below = apply("lt", x, 2.0**k)
        x = apply("select", x, x - 2.0**k, below)
    return x, below


def floor(x: Expression) -> Expression:
    """The greatest whole number that is not above ``x``, see ``_whole``."""
    size, near, left, _ = _parts(x)
    return _whole(x, size, left, apply("select", near, 1.0 - near, apply("lt", x, 0.0)))


def ceil(x: Expression) -> Expression:
    """The least whole number that is not below ``x``, see ``_whole``."""
    size, near, left, _ = _parts(x)
    return _whole(x, size, left, apply("select", 1.0 - near, near, apply("lt", x, 0.0)))


def rint(x: Expression) -> Expression:
    """The whole number next to ``x``, of two the even one, see ``_whole``."""
    size, near, left, even = _parts(x)
    return _whole(x, size, left, apply("select", 0.5 + near, 0.5 - near, even))


def _parts(x: Expression) -> tuple[Expression, Expression, Expression, Expression]:
    """The magnitude, how near a number counts as another, what is below 1, whether the rest is
    even."""
    size = apply("abs", x)
    return (size, apply("min", size * NEAR, MOST_NEAR), *remainder(size, WHOLE))


def _whole(x: Expression, size: Expression, left: Expression, above: Expression) -> Expression:
    """The whole part of the magnitude ``size``, one more where what is left is ``above``, with the
    sign of ``x``; from ``2^WHOLE`` on ``x`` itself."""
    more = apply("select", 1.0, 0.0, apply("lt", above, left))
    return apply("select", _signed(x, size - left + more), x, apply("lt", size, 2.0**WHOLE - 0.5))


def sin(x: Expression) -> Expression:
    """Of magnitudes up to ``MOST_ANGLE``, to ``SINE_ERROR``."""
    return _signed(x, _wave(apply("abs", x) * (1 / TURN)))


def cos(x: Expression) -> Expression:
    """As ``sin`` a quarter turn on."""
    return _wave(apply("abs", x) * (1 / TURN) + 0.25)


def _wave(turns: Expression) -> Expression:
    """The sine of turns: by a series of their distance from the nearest half turn."""
    f, _ = remainder(turns, TURNS.bit_length() - 1)
    near = apply("min", apply("min", f, apply("abs", f - 0.5)), 1.0 - f)
    square, total = near * near, constant(SINE[-1])
    for a in reversed(SINE[:-1]):
        total = a - square * total
    size = near * total
    return apply("select", size, apply("neg", size), apply("lt", f, 0.5))


def gelu(x: Expression, tanh_form: bool) -> Expression:
    """Hendrycks and Gimpel, Gaussian Error Linear Units (arXiv:1606.08415), both forms."""
    if tanh_form:
        inner = float(np.sqrt(2 / np.pi)) * (x + 0.044715 * (x * x * x))
        return x * (1.0 + tanh(inner)) * 0.5
    return x * (1.0 + erf(x * float(np.sqrt(0.5)))) * 0.5


def power(x: Expression, exponent: float) -> Expression:
    """By products and roots for multiples of 1/2 up to ``MOST_FACTORS``, else by logarithms; a
    negative ``x`` takes whole exponents only."""
    if exponent < 0:
        return 1.0 / power(x, -exponent)
    whole, half = int(exponent), exponent % 1
    if whole > MOST_FACTORS or half not in (0, 0.5):
        size = apply("abs", x)
        out = apply("exp2", apply("log2", x if half else size) * exponent)
        # The least logarithm stands for that of 0.
        out = apply("select", 0.0, out, apply("eq", size, 0.0))
        return _signed(x, out) if exponent % 2 == 1 else out
    factors = [x] * whole + [apply("sqrt", x)] * (half == 0.5)
    return tree("mul", factors) if factors else constant(1.0)


def _signed(x: Expression, size: Expression) -> Expression:
    """``size`` with the sign of ``x``."""
    return apply("select", apply("neg", size), size, apply("lt", x, 0.0))
