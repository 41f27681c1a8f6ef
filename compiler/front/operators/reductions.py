"""Reductions, and what is made of them: softmax, normalisations."""

from math import prod

from compiler.front.lowering import Lowering, axis_of, operator
from compiler.front.onnx_graph import Operator
from compiler.ir import expressions as ex
from spu.arch.package.expression import apply, variable

X, Y = variable(0), variable(1)
REDUCTIONS = {"ReduceSum": "add", "ReduceMean": "add", "ReduceMax": "max", "ReduceMin": "min"}


@operator(*REDUCTIONS)
def reduce(low: Lowering, node: Operator) -> int:
    """One of ``REDUCTIONS``: sum, mean, greatest or least along axes, which must be constant.

    Without axes along all, or along none with ``noop_with_empty_axes``.  They keep length 1 unless
    ``keepdims`` is 0.
    """
    x = low.tensor(node.inputs[0])
    shape = low.program.shape(x)
    axes = low.axes(node, len(shape))
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return x
        axes = tuple(range(len(shape)))
    out = low.program.reduce(REDUCTIONS[node.op], x, axes) if axes else x
    if node.op == "ReduceMean":
        out = low.program.map(X * (1 / prod(shape[a] for a in axes)), out)
    if node.attributes.get("keepdims", 1):
        return out
    return low.program.layout([out], lambda i: i.squeeze(axes))


def mean_of(low: Lowering, x: int, axes: tuple[int, ...]) -> int:
    """The sum divided by the number of elements."""
    count = prod(low.program.shape(x)[a] for a in axes)
    return low.program.map(X * (1 / count), low.program.reduce("add", x, axes))


@operator("Softmax")
def softmax(low: Lowering, node: Operator) -> int:
    """Softmax, ``exp(x - max) / sum``, along ``axis``; before version 13 along all from it on."""
    x, program = low.tensor(node.inputs[0]), low.program
    shape = program.shape(x)
    axis = axis_of(node.attributes["axis"], len(shape))
    # Before version 13 of all axes from one on.
    axes = tuple(range(axis, len(shape))) if node.version < 13 else (axis,)
    powers = program.map(ex.exp(X - Y), x, program.reduce("max", x, axes))
    return program.map(X / Y, powers, program.reduce("add", powers, axes))


@operator("LayerNormalization")
def layer_norm(low: Lowering, node: Operator) -> list[int]:
    """LayerNormalization over the axes from ``axis`` on, with scale and, if given, bias.

    All three outputs: ``(x - mean) / sqrt(variance + epsilon) * scale + bias``, the mean, and the
    inverse of the root.
    """
    program = low.program
    x, scale, *bias = low.inputs(node)
    axes = from_axis(low, node, x)
    mean = mean_of(low, x, axes)
    centred = program.map(X - Y, x, mean)
    inverse = inverse_root(low, node, centred, axes)
    scaled = [centred, inverse, scale, *bias]
    out = X * Y * variable(2) + variable(3) if bias else X * Y * variable(2)
    return [program.map(out, *scaled), mean, inverse]


@operator("RMSNormalization")
def rms_norm(low: Lowering, node: Operator) -> int:
    """RMSNormalization, ``x / sqrt(mean(x^2) + epsilon) * scale``, over axes from ``axis`` on."""
    x, scale = low.inputs(node)
    inverse = inverse_root(low, node, x, from_axis(low, node, x))
    return low.program.map(X * Y * variable(2), x, inverse, scale)


def from_axis(low: Lowering, node: Operator, x: int) -> tuple[int, ...]:
    """The axes from one on."""
    rank = len(low.program.shape(x))
    return tuple(range(axis_of(node.attributes.get("axis", -1), rank), rank))


def inverse_root(low: Lowering, node: Operator, x: int, axes: tuple[int, ...]) -> int:
    """``1 / sqrt(mean(x^2) + epsilon)``."""
    count = prod(low.program.shape(x)[a] for a in axes)
    total = low.program.reduce("add", low.program.map(X * X, x), axes)
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return low.program.map(apply("rsqrt", X * (1 / count) + epsilon), total)


@operator("BatchNormalization")
def batch_norm(low: Lowering, node: Operator) -> int:
    """BatchNormalization of inference: with the mean and the variance that are given.

    x (n, channels, ...); scale, bias, mean and variance (channels,) may be computed, too.  One
    output; training is refused, see ``honoured``.
    """
    x, *parameters = low.inputs(node)
    shape = (-1, *[1] * (len(low.program.shape(x)) - 2))
    scale, bias, mean, variance = (
        low.program.layout([p], lambda i: i.reshape(shape)) for p in parameters
    )
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    factor = low.program.map(X * apply("rsqrt", Y + epsilon), scale, variance)
    offset = low.program.map(X - Y * variable(2), bias, mean, factor)
    return low.program.map(X * Y + variable(2), x, factor, offset)
