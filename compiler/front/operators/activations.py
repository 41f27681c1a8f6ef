"""Activations: functions of each element that are linear, or flat, on one side."""

from collections.abc import Callable, Mapping
from typing import Any

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.operators.elementwise import approximates
from compiler.front.registry import operator
from compiler.ir import expressions as ex
from spu.arch.package.expression import Expression, apply, variable

X, SLOPE = variable(0), variable(1)
#: Expressions by operator, of attributes.
ACTIVATIONS: dict[str, Callable[[Mapping[str, Any]], Expression]] = {
    "LeakyRelu": lambda a: ex.leaky_relu(X, a["alpha"]),
    "HardSigmoid": lambda a: ex.hard_sigmoid(X, a["alpha"], a["beta"]),
    "HardSwish": lambda a: X * ex.hard_sigmoid(X, 1 / 6, 0.5),
    "Mish": lambda a: ex.mish(X),
    "Softsign": lambda a: X / (1.0 + apply("abs", X)),
    "ThresholdedRelu": lambda a: apply("select", X, 0.0, apply("lt", a["alpha"], X)),
    "Shrink": lambda a: apply(
        "select",
        X + a["bias"],
        apply("select", X - a["bias"], 0.0, apply("lt", a["lambd"], X)),
        apply("lt", X, -a["lambd"]),
    ),
    # What is neither below nor above 0 is its own sign: 0 and NaN.
    "Sign": lambda a: apply(
        "select", -1.0, apply("select", 1.0, X, apply("lt", 0.0, X)), apply("lt", X, 0.0)
    ),
}


@operator(*ACTIVATIONS)
def activation(low: Lowering, node: Operator) -> int:
    """One of ``ACTIVATIONS`` of each element, exact but for rounding; Sign of NaN is NaN."""
    return low.program.map(ACTIVATIONS[node.op](node.attributes), *low.inputs(node))


@operator("Softplus")
def softplus(low: Lowering, node: Operator) -> int:
    """Softplus, ``log(1 + e^x)``, which is not 0 below -8 either; to ``ex.LOG1P_ERROR``."""
    approximates(low, ex.LOG1P_ERROR)
    return low.program.map(ex.softplus(X), *low.inputs(node))


@operator("Elu", "Selu", "Celu")
def elu(low: Lowering, node: Operator) -> int:
    """Elu, Selu and Celu: ``x`` above 0, below it an exponential less 1, see ``ex.elu``.

    Raises ``CompileError`` for a Celu whose alpha is not above 0, where the standard's formula and
    its function differ.
    """
    alpha = float(node.attributes["alpha"])
    gamma = float(node.attributes.get("gamma", 1.0))
    scale = 1.0
    if node.op == "Celu":
        if not alpha > 0:
            raise CompileError(f"alpha must be above 0, not {alpha:g}")
        scale = 1 / alpha
    approximates(low, abs(alpha * gamma) * ex.EXPM1_ERROR)
    return low.program.map(ex.elu(X, scale, gamma, alpha * gamma), *low.inputs(node))


@operator("PRelu")
def prelu(low: Lowering, node: Operator) -> int:
    """PRelu: ``x`` (n, channels, ...), below 0 times a slope, which is broadcast to it.

    Before version 7 there is one slope for all, or one a channel.

    Raises ``CompileError`` for other slopes.
    """
    x, slope = low.inputs(node)
    shape, given = low.program.shape(x), low.program.shape(slope)
    if node.version < 7:
        if low.program.tensors[slope].size == 1:
            slope = low.program.layout([slope], lambda i: i.reshape(()))
        elif len(shape) > 1 and given == shape[1:2]:
            slope = low.program.layout([slope], lambda i: i.reshape(-1, *[1] * (len(shape) - 2)))
        else:
            raise CompileError(f"slopes of shape {given} are neither one nor one a channel")
    return low.program.map(ex.leaky_relu(X, SLOPE), x, slope)
