"""Normalisations of planes, of vectors, and of near channels."""

from math import prod

import numpy as np

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.named import axis_of
from compiler.front.onnx_graph import Operator
from compiler.front.operators.reductions import inverse_root, mean_of
from compiler.front.registry import operator
from spu.arch.package.expression import apply, variable

X, Y = variable(0), variable(1)


@operator("InstanceNormalization")
def instance_norm(low: Lowering, node: Operator) -> int:
    """InstanceNormalization, ``(x - mean) / sqrt(variance + epsilon) * scale + bias``, of each
    channel of each image of x (n, channels, *size); scale and bias (channels,).

    Raises ``CompileError`` for x without elements along an axis that is normalised, or parameters
    of another shape.
    """
    program = low.program
    x, *parameters = low.inputs(node)
    shape = program.shape(x)
    if len(shape) < 3 or not prod(shape[2:]):
        raise CompileError(f"a shape of {shape} has no planes")
    if any(program.shape(p) != (shape[1],) for p in parameters):
        raise CompileError(f"scale and bias must have the shape {(shape[1],)}")
    axes = tuple(range(2, len(shape)))
    scale, bias = (
        program.layout([p], lambda i: i.reshape(-1, *[1] * len(axes))) for p in parameters
    )
    centred = program.map(X - Y, x, mean_of(low, x, axes))
    inverse = inverse_root(low, node, centred, axes)
    return program.map(X * Y * variable(2) + variable(3), centred, inverse, scale, bias)


@operator("LpNormalization")
def lp_norm(low: Lowering, node: Operator) -> int:
    """LpNormalization, ``x / (sum |x|^p)^(1/p)`` along ``axis``, p of 1 or 2; zeros stay zeros.

    Raises ``CompileError`` for another ``p``.
    """
    x, p = low.tensor(node.inputs[0]), node.attributes["p"]
    program = low.program
    axis = axis_of(node.attributes["axis"], len(program.shape(x)))
    if p not in (1, 2):
        raise CompileError(f"p must be 1 or 2, not {p}")
    sizes = program.map(apply("abs", X) if p == 1 else X * X, x)
    total = program.reduce("add", sizes, (axis,))
    norm = Y if p == 1 else apply("sqrt", Y)
    # Of a vector of zeros the division makes 0 / 0.
    return program.map(apply("select", X / norm, 0.0, apply("lt", 0.0, Y)), x, total)


@operator("LRN")
def lrn(low: Lowering, node: Operator) -> int:
    """LRN, ``x / (bias + alpha / size * sum x^2) ^ beta`` with the sum over ``size`` channels
    around each, as far as there are any; x (n, channels, ...).

    Raises ``CompileError`` for a ``size`` below 1, a ``bias`` that is not positive or an ``alpha``
    below 0, with which the power need not exist.
    """
    x, program = low.tensor(node.inputs[0]), low.program
    size = int(node.attributes["size"])
    alpha, beta, bias = (float(node.attributes[a]) for a in ("alpha", "beta", "bias"))
    shape = program.shape(x)
    if size < 1 or bias <= 0 or alpha < 0 or len(shape) < 2:
        raise CompileError(
            f"size {size} must be at least 1, bias {bias:g} positive, alpha {alpha:g} not negative"
        )
    before, after = (min(n, shape[1]) for n in ((size - 1) // 2, size // 2))
    near = np.arange(shape[1])[:, None] + np.arange(-before, after + 1)
    near = np.where((near >= 0) & (near < shape[1]), near, shape[1])
    squares = program.layout(
        [program.map(X * X, x)],
        lambda i: np.moveaxis(
            np.pad(i, [(0, 0), (0, 1), *[(0, 0)] * (len(shape) - 2)], constant_values=-1)[:, near],
            2,
            -1,
        ),
    )
    total = program.layout([program.reduce("add", squares, (-1,))], lambda i: i[..., 0])
    power = apply("exp2", apply("log2", Y * (alpha / size) + bias) * -beta)
    return program.map(X * power, x, total)
