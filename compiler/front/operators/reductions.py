"""Reductions, and what is made of them: softmax, normalisations."""

from math import prod

import numpy as np

from compiler.front.lowering import Lowering
from compiler.front.named import axis_of
from compiler.front.onnx_graph import Operator
from compiler.front.operators.logic import EQUAL
from compiler.front.registry import operator
from compiler.ir import expressions as ex
from spu.arch.package.expression import Expression, apply, variable

X, Y = variable(0), variable(1)
#: Of a reduction: what is made of each element before, how they are brought together, and what is
#: made of the result.
REDUCTIONS: dict[str, tuple[Expression, str, Expression]] = {
    "ReduceSum": (X, "add", X),
    "ReduceMean": (X, "add", X),
    "ReduceMax": (X, "max", X),
    "ReduceMin": (X, "min", X),
    "ReduceProd": (X, "mul", X),
    "ReduceL1": (apply("abs", X), "add", X),
    "ReduceL2": (X * X, "add", apply("sqrt", X)),
    "ReduceSumSquare": (X * X, "add", X),
    "ReduceLogSum": (X, "add", ex.log(X)),
}


@operator(*REDUCTIONS)
def reduce(low: Lowering, node: Operator) -> int:
    """One of ``REDUCTIONS`` along axes, which must be constant.

    Without axes along all, or along none with ``noop_with_empty_axes``: what is made of each
    element is made all the same.  They keep length 1 unless ``keepdims`` is 0.

    Raises ``CompileError`` for the greatest or least of no elements.
    """
    before, op, after = REDUCTIONS[node.op]
    program = low.program
    x = low.tensor(node.inputs[0])
    axes = reduced_axes(low, node, x)
    out = program.map(before, x)
    out = program.map(after, program.reduce(op, out, axes) if axes else out)
    if node.op == "ReduceMean" and axes:
        out = program.map(X * (1 / prod(program.shape(x)[a] for a in axes)), out)
    return kept(low, node, out, axes)


@operator("ReduceLogSumExp")
def log_sum_exp(low: Lowering, node: Operator) -> int:
    """ReduceLogSumExp as ``max + log(sum(exp(x - max)))``, which does not overflow; see ``reduce``.

    Raises ``CompileError`` for no elements, of which it is infinite.
    """
    program = low.program
    x = low.tensor(node.inputs[0])
    axes = reduced_axes(low, node, x)
    if not axes:
        return x
    greatest = program.reduce("max", x, axes)
    total = program.reduce("add", program.map(ex.exp(X - Y), x, greatest), axes)
    return kept(low, node, program.map(X + ex.log(Y), greatest, total), axes)


def reduced_axes(low: Lowering, node: Operator, x: int) -> tuple[int, ...]:
    """The axes that a reduction is along, none if it leaves all elements."""
    rank = len(low.program.shape(x))
    axes = low.axes(node, rank)
    if axes:
        return axes
    return () if node.attributes.get("noop_with_empty_axes", 0) else tuple(range(rank))


def kept(low: Lowering, node: Operator, out: int, axes: tuple[int, ...]) -> int:
    """A result with the axes that it was reduced along, or without them, by ``keepdims``."""
    if node.attributes.get("keepdims", 1) or not axes:
        return out
    return low.program.layout([out], lambda i: i.squeeze(axes))


def mean_of(low: Lowering, x: int, axes: tuple[int, ...]) -> int:
    """The sum divided by the number of elements."""
    count = prod(low.program.shape(x)[a] for a in axes)
    return low.program.map(X * (1 / count), low.program.reduce("add", x, axes))


@operator("Softmax", "LogSoftmax")
def softmax(low: Lowering, node: Operator) -> int:
    """Softmax, ``exp(x - max) / sum``, and LogSoftmax, ``x - max - log(sum)``, along ``axis``;
    before version 13 along all from it on."""
    x, program = low.tensor(node.inputs[0]), low.program
    axes = softmax_axes(low, node, x)
    below = program.map(X - Y, x, program.reduce("max", x, axes))
    powers = program.map(ex.exp(X), below)
    total = program.reduce("add", powers, axes)
    if node.op == "Softmax":
        return program.map(X / Y, powers, total)
    return program.map(X - ex.log(Y), below, total)


def softmax_axes(low: Lowering, node: Operator, x: int) -> tuple[int, ...]:
    """The axis, before version 13 all from it on."""
    rank = len(low.program.shape(x))
    axis = axis_of(node.attributes["axis"], rank)
    return tuple(range(axis, rank)) if node.version < 13 else (axis,)


@operator("Hardmax")
def hardmax(low: Lowering, node: Operator) -> int:
    """Hardmax: 1 for the first of the greatest elements along ``axis``, 0 for others; before
    version 13 along all from it on.

    Elements that are the same number in PAL16 are equally great.
    """
    x, program = low.tensor(node.inputs[0]), low.program
    shape, axes = program.shape(x), softmax_axes(low, node, x)
    order = (*(a for a in range(len(shape)) if a not in axes), *axes)
    hits = program.map(EQUAL, x, program.reduce("max", x, axes))
    count = prod(shape[a] for a in axes)
    flat = program.layout([hits], lambda i: i.transpose(order).reshape(-1, count))

    def later(t: int, by: int) -> int:
        """Moved to later places, no hits before them."""
        padding = ((0, 0), (by, 0))
        return program.layout([t], lambda i: np.pad(i, padding, constant_values=-1)[:, :count])

    # Whether any place before one is a hit: of twice as many places each time.
    before, by = later(flat, 1), 1
    while by < count:
        before = program.map(apply("max", X, Y), before, later(before, by))
        by *= 2
    first = program.map(apply("select", 0.0, X, Y), flat, before)
    wide = [shape[a] for a in order]
    return program.layout([first], lambda i: i.reshape(wide).transpose(np.argsort(order)))


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
