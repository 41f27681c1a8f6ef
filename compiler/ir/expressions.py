"""Functions of models as expressions, and expressions as dataflow graphs."""

from collections.abc import Mapping
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
        out = apply("select", out, 0.0, apply("lt", 0.0, size))
        return _signed(x, out) if exponent % 2 == 1 else out
    factors = [x] * whole + [apply("sqrt", x)] * (half == 0.5)
    return tree("mul", factors) if factors else constant(1.0)


def _signed(x: Expression, size: Expression) -> Expression:
    """``size`` with the sign of ``x``."""
    return apply("select", apply("neg", size), size, apply("lt", x, 0.0))
