"""Operators of integers and truth values, which the host computes, and of indices."""

from functools import reduce
from typing import Any

from onnx import TensorProto

from compiler.errors import CompileError
from compiler.front.honoured import FLOATS
from compiler.front.lowering import Lowering
from compiler.front.named import axis_of, host_type
from compiler.front.onnx_graph import Operator
from compiler.front.operators.elementwise import operands
from compiler.front.registry import on_integers, operator
from spu.arch.errors import InputError
from spu.arch.package import host_operations
from spu.arch.package.host_operations import REAL

BINARY = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Less": "less",
    "LessOrEqual": "less_or_equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_or_equal",
    "Equal": "equal",
    "And": "and",
    "Or": "or",
    "Xor": "xor",
}
UNARY = {"Neg": "neg", "Abs": "abs", "Sign": "sign", "Not": "not"}
CHOICES = {"Max": "max", "Min": "min"}
REDUCTIONS = {"ReduceSum": "add", "ReduceProd": "mul", "ReduceMax": "max", "ReduceMin": "min"}


@on_integers(*BINARY)
def binary(low: Lowering, node: Operator) -> int:
    """One of ``BINARY`` of integers or truth values: Div towards zero, results wrap around."""
    return low.program.on_host(BINARY[node.op], *operands(low, node))


@on_integers(*UNARY)
def unary(low: Lowering, node: Operator) -> int:
    """One of ``UNARY`` of each integer or truth value."""
    return low.program.on_host(UNARY[node.op], *low.inputs(node))


@on_integers(*CHOICES)
def choose(low: Lowering, node: Operator) -> int:
    """Max and Min of any number of integers, which broadcast."""
    first, *others = low.inputs(node)
    return reduce(lambda a, b: low.program.on_host(CHOICES[node.op], a, b), others, first)


@on_integers("Clip")
def clip(low: Lowering, node: Operator) -> int:
    """Clip of integers: at least min, then at most max, so that max wins."""
    out = low.tensor(node.inputs[0])
    for op, name in zip(("max", "min"), node.inputs[1:], strict=False):
        if name:
            out = low.program.on_host(op, out, low.tensor(name))
    return out


@on_integers("Mod")
def mod(low: Lowering, node: Operator) -> int:
    """Mod of integers: with the sign of the divisor, of the dividend with ``fmod``."""
    a, b = low.inputs(node)
    return low.program.on_host("mod", a, b, of_dividend=bool(node.attributes["fmod"]))


@on_integers("Where")
def where(low: Lowering, node: Operator) -> int:
    """Where by truth values of the host: it moves elements of either kind, as they are."""
    condition, *both = low.inputs(node)
    if len({low.program.tensors[t].dtype for t in both}) > 1:
        both = [low.program.real(t) for t in both]
    return low.program.on_host("where", condition, *both)


@on_integers("Cast")
def cast(low: Lowering, node: Operator) -> int:
    """Cast of integers and truth values: to others as in C, to floats as real numbers.

    Raises ``CompileError`` for other types.
    """
    to = node.attributes["to"]
    number = TensorProto.DataType.Value(to) if isinstance(to, str) else to
    x = low.tensor(node.inputs[0])
    if number in FLOATS:
        return low.program.on_host("real", x)
    kind = host_type(number)
    if kind == REAL:
        raise CompileError(f"casts to {TensorProto.DataType.Name(number)}")
    return low.program.on_host("cast", x, to=kind)


@on_integers(*REDUCTIONS)
def reductions(low: Lowering, node: Operator) -> int:
    """One of ``REDUCTIONS`` of integers along constant axes, as of real numbers."""
    x = low.tensor(node.inputs[0])
    rank = len(low.program.shape(x))
    axes = low.axes(node, rank)
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return x
        axes = tuple(range(rank))
    keep = bool(node.attributes.get("keepdims", 1))
    return low.program.on_host("reduce", x, by=REDUCTIONS[node.op], axes=list(axes), keep=keep)


@on_integers("CumSum")
def cumsum(low: Lowering, node: Operator) -> int:
    """CumSum of integers along a constant axis."""
    x, axis = low.tensor(node.inputs[0]), low.known(node, 1)
    assert axis is not None
    return low.program.on_host(
        "cumsum",
        x,
        axis=axis_of(int(axis.item()), len(low.program.shape(x))),
        exclusive=bool(node.attributes["exclusive"]),
        reverse=bool(node.attributes["reverse"]),
    )


@operator("Gather", "GatherElements", "GatherND")
def gather(low: Lowering, node: Operator) -> int:
    """Gather and GatherElements along ``axis``, GatherND after ``batch_dims``.

    Indices of a run are looked at then; those below 0 count from the end, of Gather from version
    11 on.  Raises ``CompileError`` for constant ones that there are not, and for shapes of indices
    that do not fit.
    """
    program = low.program
    x, ids = low.inputs(node)
    shape, given = program.shape(x), program.shape(ids)
    settings: dict[str, Any] = {}
    if node.op == "GatherND":
        name, batch = "gather_nd", int(node.attributes.get("batch_dims", 0))
        settings["batch"] = batch
        if not 0 <= batch < min(len(shape), len(given)) or given[:batch] != shape[:batch]:
            raise CompileError(f"batch_dims {batch} of shapes {shape} and {given}")
        if not 1 <= given[-1] <= len(shape) - batch:
            raise CompileError(f"indices of {given[-1]} axes into {len(shape) - batch}")
    else:
        name = "gather" if node.op == "Gather" else "gather_elements"
        axis = settings["axis"] = axis_of(node.attributes["axis"], len(shape))
        if name == "gather_elements" and (
            len(given) != len(shape)
            or any(n > m for k, (n, m) in enumerate(zip(given, shape, strict=True)) if k != axis)
        ):
            raise CompileError(f"indices of shape {given} do not fit {shape} along axis {axis}")
    if name == "gather":
        settings["negative"] = node.version >= 11
    known = program.tensors[ids].constant
    if known is None:
        return program.on_host(name, x, ids, **settings)
    try:
        return program.layout([x], lambda i: host_operations.apply(name, [i, known], settings))
    except InputError as error:
        raise CompileError(str(error)) from None


@operator("ArgMax", "ArgMin")
def arg_of(low: Lowering, node: Operator) -> int:
    """ArgMax and ArgMin along ``axis``: of several the first, the last with select_last_index; NaN
    is before all numbers, as in numpy.

    The host compares what the array made, code by code.
    """
    x, program = low.tensor(node.inputs[0]), low.program
    axis = axis_of(node.attributes["axis"], len(program.shape(x)))
    last = bool(node.attributes.get("select_last_index", 0))
    out = program.on_host(
        "rank", x, axis=axis, count=1, largest=node.op == "ArgMax", last=last, nan_first=True
    )
    if node.attributes["keepdims"]:
        return out
    return program.layout([out], lambda i: i.squeeze(axis))


@operator("TopK")
def top(low: Lowering, node: Operator) -> list[int]:
    """TopK along ``axis``: values and their indices, the largest first, or the least.

    The number is constant.  Always sorted; of equal values the lowest index is first.
    """
    x, program = low.tensor(node.inputs[0]), low.program
    count = low.known(node, 1, "k")
    assert count is not None
    axis = axis_of(node.attributes["axis"], len(program.shape(x)))
    largest = bool(node.attributes.get("largest", 1))
    ids = program.on_host(
        "rank",
        x,
        axis=axis,
        count=int(count.item()),
        largest=largest,
        last=False,
        nan_first=largest,
    )
    return [program.on_host("gather_elements", x, ids, axis=axis), ids]


@on_integers("OneHot")
def one_hot(low: Lowering, node: Operator) -> int:
    """OneHot of a constant depth; indices below 0 count from it, others outside are off."""
    ids, depth, values = low.tensor(node.inputs[0]), low.known(node, 1), low.tensor(node.inputs[2])
    assert depth is not None
    program = low.program
    rank = len(program.shape(ids)) + 1
    hot = program.on_host(
        "one_hot", ids, depth=int(depth.item()), axis=axis_of(node.attributes["axis"], rank)
    )
    off, on = (program.layout([values], lambda i, k=k: i[k]) for k in (0, 1))
    return program.on_host("where", hot, on, off)
