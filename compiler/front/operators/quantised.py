"""Models quantised to integers: their numbers are computed as the real numbers that they stand for.

What QuantizeLinear makes is kept as it was, within the range of its type: not rounded to integers,
but to PAL.  DequantizeLinear of it is the tensor itself.  Where the integers are needed, as an
output of the model, the host rounds.
"""

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from compiler.errors import CompileError
from compiler.front.honoured import FLOATS
from compiler.front.lowering import REQUANTISED, Lowering
from compiler.front.named import axis_of, host_type
from compiler.front.onnx_graph import Operator
from compiler.front.operators.products import convolved, multiplied
from compiler.front.registry import ON_INTEGERS, OPERATORS, on_integers, on_quantised, operator
from compiler.ir.builder import Builder
from spu.arch.package.expression import apply, variable

X, Y, Z = variable(0), variable(1), variable(2)
#: Steps of the range of DynamicQuantizeLinear.
STEPS = 255


@dataclass(frozen=True)
class Quantised:
    """Integers ``q`` that stand for ``(q - zero) * scale``, both along an axis or of all.

    ``scale``, ``zero``: tensors; ``kind``: the ONNX type of ``q``.
    """

    scale: int
    zero: int
    axis: int
    kind: int

    def rounded(self, program: Builder, tensor: int) -> int:
        """The integers of a tensor, by the host; ``CompileError`` for a type that it lacks."""
        dtype = host_type(self.kind)
        if not dtype:
            raise CompileError(f"integers of {TensorProto.DataType.Name(self.kind)} are needed")
        rank = len(program.shape(tensor))
        scale, zero = (_along(program, t, rank, self.axis) for t in (self.scale, self.zero))
        return program.on_host("quantise", tensor, scale, zero, to=dtype)

    def same(self, program: Builder, other: "Quantised") -> bool:
        """Whether integers stand for the same numbers."""
        pairs = ((self.scale, other.scale), (self.zero, other.zero))
        return all(a == b or _equal(program, a, b) for a, b in pairs) and (
            self.axis == other.axis or program.tensors[self.scale].size == 1
        )


def _equal(program: Builder, a: int, b: int) -> bool:
    values = [program.tensors[t].constant for t in (a, b)]
    return (
        values[0] is not None
        and values[1] is not None
        and program.tensors[a].size == program.tensors[b].size
        and bool((values[0].ravel() == values[1].ravel()).all())
    )


def _along(program: Builder, tensor: int, rank: int, axis: int) -> int:
    """A scale or zero point of all, of indices of an axis or of each element, to be broadcast."""
    if program.tensors[tensor].size == 1:
        return program.layout([tensor], _scalar)
    if len(program.shape(tensor)) != 1:
        return tensor
    after = [1] * (rank - 1 - axis_of(axis, rank))
    return program.layout([tensor], lambda i: i.reshape(-1, *after))


def _of_node(low: Lowering, node: Operator) -> Quantised:
    """Of QuantizeLinear and DequantizeLinear; those of blocks along the axis for each element."""
    kind = int(node.attributes.get("output_dtype", 0)) or TensorProto.UINT8
    axis, block = int(node.attributes.get("axis", 1)), int(node.attributes.get("block_size", 0))
    found = _parameters(low, node.inputs[1], _name(node, 2), axis, kind)
    if not block:
        return found
    shape = low.program.shape(low.tensor(node.inputs[0]))
    own = axis_of(axis, len(shape))

    def spread(i: NDArray) -> NDArray:
        return i if i.size == 1 else np.repeat(i, block, own).take(range(shape[own]), own)

    scale, zero = (low.program.layout([t], spread) for t in (found.scale, found.zero))
    return replace(found, scale=scale, zero=zero)


def _parameters(
    low: Lowering, scale: str, zero: str, axis: int, kind: int = TensorProto.UINT8
) -> Quantised:
    """By the names of both; without zero point, 0 of ``kind``.

    Raises ``CompileError`` for a scale that is not above 0.
    """
    factor = low.program.real(low.tensor(scale))
    values = low.program.tensors[factor].constant
    if values is not None and not (np.isfinite(values) & (values > 0)).all():
        raise CompileError(f"scale {scale!r} is not above 0")
    if zero:
        kind = low.types[zero].tensor_type.elem_type
        return Quantised(factor, low.tensor(zero), axis, kind)
    dtype = host_type(kind) or "int32"
    return Quantised(factor, low.program.constant(np.zeros((), dtype)), axis, kind)


def _name(node: Operator, place: int) -> str:
    return node.inputs[place] if place < len(node.inputs) else ""


def _limits(kind: int) -> tuple[int, int]:
    """Least and greatest integer of an ONNX type; ``CompileError`` for floats of 8 bits."""
    name = TensorProto.DataType.Name(kind)
    if (found := re.fullmatch(r"(U?)INT(\d+)", name)) is None:
        raise CompileError(f"quantises to {name}, which is no integer")
    bits = int(found[2])
    return (0, (1 << bits) - 1) if found[1] else (-(1 << bits - 1), (1 << bits - 1) - 1)


def _bounded(low: Lowering, x: int, to: Quantised, name: str) -> int:
    """Numbers within those that integers stand for, which a tensor by this name has."""
    program = low.program
    rank = len(program.shape(x))
    scale, zero = (
        program.tensors[_along(program, t, rank, to.axis)].constant for t in (to.scale, to.zero)
    )
    if scale is None or zero is None:
        raise CompileError("its scale and zero point must be constant")
    ends = _limits(to.kind)
    bounds = [program.constant((end - zero.astype(np.float64)) * scale) for end in ends]
    low.quantised[name] = to
    program.note(REQUANTISED)
    return program.map(apply("min", apply("max", X, Y), Z), x, *bounds)


def _shifted(low: Lowering, name: str, zero: int, axis: int) -> int:
    """Real numbers of integers less a zero point, which the host takes away."""
    program, x = low.program, low.tensor(name)
    shift = _along(program, zero, len(program.shape(x)), axis)
    wide = [program.on_host("cast", t, to="int64") for t in (x, shift)]
    return program.real(program.on_host("real", program.on_host("sub", *wide)))


def _numbers(low: Lowering, name: str, by: Quantised) -> int:
    """Real numbers that a tensor of integers stands for, quantised here or not.

    Raises ``CompileError`` where it was quantised by other parameters that are not constant.
    """
    program, own = low.program, low.quantised.get(name)
    if own is None:
        x = _shifted(low, name, by.zero, by.axis)
        return program.map(X * Y, x, _along(program, by.scale, len(program.shape(x)), by.axis))
    x = low.tensors[name]
    if own.same(program, by):
        return x
    zeros = [program.tensors[q.zero].constant for q in (own, by)]
    if zeros[0] is None or zeros[1] is None:
        raise CompileError(f"{name!r} was quantised with another scale and zero point")
    rank = len(program.shape(x))
    shift = [
        program.tensors[_along(program, q.zero, rank, q.axis)].constant.astype(np.float64)  # type: ignore[union-attr]
        for q in (own, by)
    ]
    scales = [_along(program, q.scale, rank, q.axis) for q in (own, by)]
    moved = program.constant(shift[0] - shift[1])
    return program.map((X / Y + variable(3)) * Z, x, *scales, moved)


@operator("QuantizeLinear")
def quantize(low: Lowering, node: Operator) -> int:
    """QuantizeLinear by constant scale and zero point, of all or along ``axis``: a bound.

    Within the range of the integers numbers stay what they are, and are not rounded to these; see
    this module.  Raises ``CompileError`` for types that are no integers.
    """
    return _bounded(low, low.tensor(node.inputs[0]), _of_node(low, node), node.outputs[0])


@on_quantised("DequantizeLinear")
@on_integers("DequantizeLinear")
def dequantize(low: Lowering, node: Operator) -> int:
    """DequantizeLinear, ``(x - zero) * scale``: of what QuantizeLinear made, that itself."""
    return _numbers(low, node.inputs[0], _of_node(low, node))


@operator("DynamicQuantizeLinear")
def quantize_by_range(low: Lowering, node: Operator) -> list[int]:
    """DynamicQuantizeLinear: numbers stay what they are; scale and zero point of their range.

    All three outputs, the zero point by the host.
    """
    program, x = low.program, low.tensor(node.inputs[0])
    axes = range(len(program.shape(x)))
    ends = [
        program.layout([program.map(apply(op, X, 0.0), program.reduce(op, x, axes))], _scalar)
        for op in ("max", "min")
    ]
    # Where all numbers are 0 the evaluator of the standard takes a range of 1.
    span = X - Y
    span = apply("select", span, 1.0, apply("lt", 0.0, span))
    scale = program.map(span * (1 / STEPS), *ends)
    share = program.map(apply("neg", Y) / span, *ends)
    step, none = program.constant(np.array(1 / STEPS)), program.constant(np.zeros((), np.uint8))
    zero = program.on_host("quantise", share, step, none, to="uint8")
    low.quantised[node.outputs[0]] = Quantised(scale, zero, 0, TensorProto.UINT8)
    program.note(REQUANTISED)
    return [x, scale, zero]


def _scalar(i: NDArray) -> NDArray:
    return i.reshape(())


@on_quantised("QLinearMatMul")
@on_integers("QLinearMatMul")
def matmul(low: Lowering, node: Operator) -> int:
    """QLinearMatMul: MatMul of the numbers that integers stand for, then a bound.

    Scales are of all, of rows of the first or columns of the second matrix.
    """
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = node.inputs
    left = _numbers(low, a, _parameters(low, a_scale, a_zero, -2))
    right = _numbers(low, b, _parameters(low, b_scale, b_zero, -1))
    made = multiplied(low.program, left, right)
    return _bounded(low, made, _parameters(low, scale, zero, -2), node.outputs[0])


@on_quantised("QLinearConv")
@on_integers("QLinearConv")
def conv(low: Lowering, node: Operator) -> int:
    """QLinearConv: Conv of the numbers that integers stand for, then a bound.

    The scale of the weights is of all, or of each filter; the bias must be constant.

    Raises ``CompileError`` for scales beside a bias that are not constant.
    """
    x, x_scale, x_zero, weight, w_scale, w_zero, scale, zero, *_ = node.inputs
    own, filters = _parameters(low, x_scale, x_zero, 1), _parameters(low, w_scale, w_zero, 0)
    given = [_numbers(low, x, own), _numbers(low, weight, filters)]
    if (bias := low.known(node, 8)) is not None:
        scales = [low.program.tensors[q.scale].constant for q in (own, filters)]
        if scales[0] is None or scales[1] is None:
            raise CompileError("the scales beside a bias must be constant")
        given.append(low.program.constant(bias * scales[0].ravel() * scales[1].ravel()))
    made = convolved(low.program, node.attributes, *given)
    return _bounded(low, made, _parameters(low, scale, zero, 1), node.outputs[0])


@on_quantised("MatMulInteger", "ConvInteger")
@on_integers("MatMulInteger", "ConvInteger")
def of_integers(low: Lowering, node: Operator) -> int:
    """MatMulInteger and ConvInteger: products of integers less their zero points.

    They are products of real numbers in PAL, of those that the integers stand for.

    Raises ``CompileError`` for what was quantised with another zero point or several scales.
    """
    program = low.program
    scales, given = [], []
    for k in (0, 1):
        name, zero = node.inputs[k], _name(node, 2 + k)
        # Of rows of the first matrix, columns of the second one; of filters.
        axis = 1 - k if node.op == "ConvInteger" else k - 2
        point = low.tensor(zero) if zero else program.constant(np.zeros((), np.uint8))
        if (own := low.quantised.get(name)) is None:
            given.append(_shifted(low, name, point, axis))
            continue
        if own.zero != point and not _equal(program, own.zero, point):
            raise CompileError(f"{name!r} was quantised with another zero point")
        if program.tensors[own.scale].size != 1:
            raise CompileError(f"{name!r} was quantised with several scales")
        given.append(low.tensors[name])
        scales.append(program.layout([own.scale], _scalar))
    one = program.constant(np.ones(()))
    factor = program.map(X * Y, *scales) if len(scales) == 2 else (*scales, one)[0]
    none = program.constant(np.zeros((), np.int32))
    low.quantised[node.outputs[0]] = Quantised(factor, none, 0, TensorProto.INT32)
    program.note(REQUANTISED)
    if node.op == "ConvInteger":
        return convolved(program, node.attributes, *given)
    return multiplied(program, *given)


@on_quantised("Cast")
def cast(low: Lowering, node: Operator) -> int:
    """Cast of a result of MatMulInteger or ConvInteger to a float: divided by its scale."""
    to = node.attributes["to"]
    number = TensorProto.DataType.Value(to) if isinstance(to, str) else to
    name = node.inputs[0]
    own, program = low.quantised[name], low.program
    zero = program.tensors[own.zero].constant
    if number not in FLOATS or zero is None or zero.any():
        low.round(name)
        return int(ON_INTEGERS["Cast"](low, node))  # type: ignore[arg-type]
    scale = _along(program, own.scale, len(program.shape(low.tensors[name])), own.axis)
    return program.map(X / Y, low.tensors[name], scale)


@on_quantised(
    *("Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose"),
    "Unsqueeze",
)
def moved(low: Lowering, node: Operator) -> int | list[int]:
    """Operators that choose some of the numbers, of one scale.

    Raises ``CompileError`` for indices that are quantised.
    """
    name = node.inputs[0]
    own = low.quantised.get(name)
    if own is None or any(i in low.quantised for i in node.inputs[1:]):
        raise CompileError("takes indices that are quantised")
    if low.program.tensors[own.scale].size != 1 or low.program.tensors[own.zero].size != 1:
        low.round(name)
        return (ON_INTEGERS.get(node.op) or OPERATORS[node.op])(low, node)
    low.quantised[node.outputs[0]] = own
    return OPERATORS[node.op](low, node)
