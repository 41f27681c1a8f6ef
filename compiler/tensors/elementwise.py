"""Elementwise operators."""

import numpy as np
import onnx

from compiler.errors import CompileError
from compiler.tensors import expressions as ex
from compiler.tensors.expressions import Expression, variable
from compiler.tensors.lowering import Lowering, operator
from compiler.tensors.onnx_graph import Operator

X, Y = variable(0), variable(1)
#: Element types that are numbers with a fraction.
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE,
          onnx.TensorProto.BFLOAT16)
UNARY: dict[str, Expression] = {
    "Relu": ex.apply("relu", X), "Sigmoid": ex.sigmoid(X), "Tanh": ex.tanh(X), "Erf": ex.erf(X),
    "Exp": ex.exp(X), "Log": ex.log(X), "Sqrt": ex.apply("sqrt", X), "Abs": ex.apply("abs", X),
    "Neg": ex.apply("neg", X), "Reciprocal": 1.0 / X}
BINARY = {"Add": X + Y, "Sub": X - Y, "Mul": X * Y, "Div": X / Y}
CHOICES = {"Max": "max", "Min": "min", "Sum": "add"}


@operator(*UNARY)
def unary(low: Lowering, node: Operator) -> int:
    formula(low, node.op == "Erf")
    return low.program.map(UNARY[node.op], *low.inputs(node))


@operator(*BINARY)
def binary(low: Lowering, node: Operator) -> int:
    return low.program.map(BINARY[node.op], *low.inputs(node))


@operator(*CHOICES)
def choose(low: Lowering, node: Operator) -> int:
    """Of any number of operands."""
    tensors = low.inputs(node)
    terms = [variable(k) for k in range(len(tensors))]
    return low.program.map(ex.tree(CHOICES[node.op], terms), *tensors)


@operator("Gelu")
def gelu(low: Lowering, node: Operator) -> int:
    form = node.attributes.get("approximate", "none")
    if form not in ("none", "tanh"):
        raise CompileError(f"approximate must be none or tanh, not {form!r}")
    formula(low, form == "none")
    return low.program.map(ex.gelu(X, form == "tanh"), *low.inputs(node))


def formula(low: Lowering, used: bool) -> None:
    """Note that the formula of erf is in the program."""
    if used:
        low.program.error = ex.ERF_ERROR


@operator("Pow")
def power(low: Lowering, node: Operator) -> int:
    x, y = low.inputs(node)
    values = low.program.tensors[y].constant
    if values is not None and values.size and (values == values.flat[0]).all():
        base = low.program.broadcast(x, np.broadcast_shapes(
            low.program.shape(x), low.program.shape(y)))
        return low.program.map(ex.power(X, float(values.flat[0])), base)
    return low.program.map(ex.apply("exp2", ex.apply("log2", X) * Y), x, y)


@operator("Clip")
def clip(low: Lowering, node: Operator) -> int:
    x, out = low.tensor(node.inputs[0]), X
    for op, place in (("max", 1), ("min", 2)):
        bound = low.known(node, place, ("min", "max")[place - 1])
        if bound is not None and abs(float(bound)) < np.finfo(np.float32).max:
            out = ex.apply(op, out, float(bound))
    return low.program.map(out, x)


@operator("Identity")
def same(low: Lowering, node: Operator) -> int:
    return low.tensor(node.inputs[0])


@operator("Cast")
def cast(low: Lowering, node: Operator) -> int:
    if node.attributes["to"] not in FLOATS:
        raise CompileError(f"{node.label}: casts to "
                           f"{onnx.TensorProto.DataType.Name(node.attributes['to'])}; only "
                           "floating-point types of 16 bits and more are supported")
    return low.tensor(node.inputs[0])
