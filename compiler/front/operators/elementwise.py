"""Elementwise operators."""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from compiler.errors import CompileError
from compiler.front.honoured import FLOATS
from compiler.front.lowering import Lowering
from compiler.front.named import host_type
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator
from compiler.ir import expressions as ex
from spu.arch.package.expression import Expression, apply, tree, variable
from spu.arch.package.host_operations import REAL

MOST = float(np.finfo(np.float32).max)
X, Y = variable(0), variable(1)
UNARY: dict[str, Expression] = {
    "Relu": apply("relu", X),
    "Sigmoid": ex.sigmoid(X),
    "Tanh": ex.tanh(X),
    "Erf": ex.erf(X),
    "Exp": ex.exp(X),
    "Log": ex.log(X),
    "Sqrt": apply("sqrt", X),
    "Abs": apply("abs", X),
    "Neg": apply("neg", X),
    "Reciprocal": 1.0 / X,
}
BINARY = {"Add": X + Y, "Sub": X - Y, "Mul": X * Y, "Div": X / Y}
CHOICES = {"Max": "max", "Min": "min", "Sum": "add", "Mean": "add"}


@operator(*UNARY)
def unary(low: Lowering, node: Operator) -> int:
    """One of ``UNARY`` of each element; Erf by a formula of error ``ex.ERF_ERROR``."""
    if node.op == "Erf":
        approximates(low, ex.ERF_ERROR)
    return low.program.map(UNARY[node.op], *low.inputs(node))


@operator(*BINARY)
def binary(low: Lowering, node: Operator) -> int:
    """Add, Sub, Mul and Div, with the broadcasting of the node's version, see ``operands``."""
    return low.program.map(BINARY[node.op], *operands(low, node))


def operands(low: Lowering, node: Operator) -> tuple[int, int]:
    """Both operands, the second broadcast as versions before 7 do it: from an axis on.

    From version 7 on as they are: maps broadcast as numpy does.

    Raises
    ------
    CompileError: before version 7, shapes that differ without ``broadcast``, or a second operand
        that does not fit the first from ``axis`` on.
    """
    a, b = low.inputs(node)
    left, right = low.program.shape(a), low.program.shape(b)
    if node.version >= 7:
        return a, b
    if not node.attributes["broadcast"]:
        if left != right:
            raise CompileError(
                f"operands of shapes {left} and {right}: version {node.version} "
                "broadcasts with attribute broadcast=1 only"
            )
        return a, b
    if low.program.tensors[b].size == 1 and len(right) <= len(left):
        return a, low.program.layout([b], lambda i: i.reshape(()))
    first = int(node.attributes.get("axis", len(left) - len(right)))
    after = len(left) - first - len(right)
    if first < 0 or after < 0 or left[first : first + len(right)] != right:
        raise CompileError(
            f"the second operand, of shape {right}, does not fit {left} from axis "
            f"{first} on (attributes broadcast, axis)"
        )
    return a, low.program.layout([b], lambda i: i.reshape(*right, *[1] * after))


@operator(*CHOICES)
def choose(low: Lowering, node: Operator) -> int:
    """Max, Min, Sum and Mean of any number of operands, which broadcast from version 8 on.

    Raises ``CompileError`` for shapes that differ in an older version.
    """
    tensors = low.inputs(node)
    shapes = [low.program.shape(t) for t in tensors]
    if node.version < 8 and len(set(shapes)) > 1:
        raise CompileError(
            f"operands of shapes {', '.join(map(str, shapes))}: version "
            f"{node.version} does not broadcast"
        )
    terms = [variable(k) for k in range(len(tensors))]
    made = tree(CHOICES[node.op], terms)
    return low.program.map(ex.scaled(made, 1 / len(terms) if node.op == "Mean" else 1), *tensors)


@operator("Gelu")
def gelu(low: Lowering, node: Operator) -> int:
    """Gelu, by erf or by tanh as ``approximate`` says; see ``ex.gelu``.

    Raises ``CompileError`` for another ``approximate``.
    """
    form = node.attributes.get("approximate", "none")
    if form not in ("none", "tanh"):
        raise CompileError(f"approximate must be none or tanh, not {form!r}")
    if form == "none":
        approximates(low, ex.ERF_ERROR)
    return low.program.map(ex.gelu(X, form == "tanh"), *low.inputs(node))


def approximates(low: Lowering, error: float) -> None:
    """Note that a formula of this error is in the program."""
    low.program.error = max(low.program.error, error)


@operator("Pow")
def power(low: Lowering, node: Operator) -> int:
    """Pow, ``x^y``: elementwise, with the broadcasting of the node's version, see ``operands``.

    A constant exponent, the same for all elements, is that of ``ex.power``; constant ones that
    differ take logarithms of magnitudes.  Where the exponent is not constant, ``x`` must not be
    negative, which is looked at in each run.

    Raises
    ------
    CompileError: an infinite constant exponent, or a constant base of 0 or less whose exponent is
        not constant.
    """
    x, y = operands(low, node)
    program = low.program
    base, exponents = program.tensors[x].constant, program.tensors[y].constant
    if exponents is not None and not np.isfinite(exponents).all():
        raise CompileError("an exponent that is infinite is not supported")
    if exponents is not None and exponents.size:
        shape = np.broadcast_shapes(program.shape(x), program.shape(y))
        if (exponents == exponents.flat[0]).all():
            return program.map(ex.power(X, float(exponents.flat[0])), program.broadcast(x, shape))
        return _powers(low, x, exponents)
    if base is None:
        program.nonnegative[x] = (
            f"the base of Pow, {node.inputs[0]!r}, where the exponent is not constant"
        )
    elif (base <= 0).any():
        raise CompileError(f"a base of {base.min():g} takes a constant exponent")
    whole = apply("exp2", apply("log2", X) * Y)
    if base is not None:
        return program.map(whole, x, y)
    # NaN stays NaN, but for the exponent 0.
    of_zero = apply("select", 0.0, apply("neg", Y) / X, apply("lt", 0.0, Y))
    some = apply("select", of_zero, whole, apply("eq", X, 0.0))
    return program.map(apply("select", 1.0, some, apply("eq", Y, 0.0)), x, y)


def _powers(low: Lowering, x: int, exponents: NDArray[np.float64]) -> int:
    """Powers by exponents that differ: of the magnitude, the sign put back where they are odd."""
    sources = [x, low.program.constant(np.abs(exponents))]

    def where(
        mask: NDArray[np.bool_], yes: Expression | float, no: Expression | float
    ) -> Expression | float:
        if mask.all() or not mask.any():
            return yes if mask.all() else no
        sources.append(low.program.constant(mask))
        return apply("select", yes, no, variable(len(sources) - 1))

    whole = exponents == np.rint(exponents)
    odd = whole & (exponents % 2 == 1)
    size = apply("abs", X)
    out: Expression | float = apply("exp2", apply("log2", where(whole, size, X)) * Y)
    out = apply("select", 0.0, out, apply("eq", size, 0.0))
    out = where(exponents < 0, 1.0 / out, out)
    signed = apply("select", apply("neg", out), out, apply("lt", X, 0.0))
    out = where(odd, signed, out)
    out = where(exponents == 0, 1.0, out)
    assert isinstance(out, Expression)
    return low.program.map(out, *sources)


@operator("Clip")
def clip(low: Lowering, node: Operator) -> int:
    """Clip: the greater of ``x`` and min, then the lesser of that and max, so that max wins.

    Bounds are attributes of old versions, constants, or tensors of the program.  A constant
    min of the least float32 or below bounds nothing, nor does a max of the greatest or above.

    Raises ``CompileError`` for a bound that is NaN, or of more than one element.
    """
    sources, out = [low.tensor(node.inputs[0])], X
    for op, place in (("max", 1), ("min", 2)):
        name = node.inputs[place] if place < len(node.inputs) else ""
        if (
            name
            and name not in low.constants
            and low.program.tensors[bounds := low.tensor(name)].constant is None
        ):
            out = apply(op, out, variable(len(sources)))
            sources.append(bounds)
            continue
        bound = low.known(node, place, ("min", "max")[place - 1])
        if bound is None:
            continue
        if bound.size != 1:
            raise CompileError(
                f"its {('min', 'max')[place - 1]} has {bound.size} elements, not one"
            )
        bound = bound.reshape(())
        if np.isnan(bound):
            raise CompileError(f"its {('min', 'max')[place - 1]} is NaN")
        # The least and the greatest float32 are no bounds.
        if float(bound) > -MOST if op == "max" else float(bound) < MOST:
            out = apply(op, out, float(bound))
    return low.program.map(out, *sources)


@operator("Identity")
def same(low: Lowering, node: Operator) -> int:
    """Identity: the tensor itself."""
    return low.tensor(node.inputs[0])


@operator("Dropout")
def dropout(low: Lowering, node: Operator) -> list[int]:
    """As in inference: the standard gives the input, and a mask that keeps all.

    Raises ``CompileError`` for a ``training_mode`` that is true, and for the mask of versions
    before 12, which do not say what it is.
    """
    training = low.known(node, 2)
    if training is not None and training.any():
        raise CompileError("training_mode is not supported")
    x = low.tensor(node.inputs[0])
    return [x, low.program.constant(np.ones(low.program.shape(x)))][: 1 + (node.version >= 12)]


@operator("Cast")
def cast(low: Lowering, node: Operator) -> int:
    """Cast between floats of 16 bits and more, and truth values; of truth values to integers.

    To floats the tensor itself, not rounded to the type; to truth values whether it is not 0, which
    numbers below the least magnitude of its tensor bias are.

    Raises ``CompileError`` for other types.
    """
    to = node.attributes["to"]
    number = TensorProto.DataType.Value(to) if isinstance(to, str) else to
    x = low.tensor(node.inputs[0])
    given = low.types[node.inputs[0]].tensor_type.elem_type
    if number == TensorProto.BOOL:
        zero = apply("select", 0, 1, apply("eq", X, 0))
        return x if given == TensorProto.BOOL else low.program.map(zero, x)
    if given == TensorProto.BOOL and host_type(number) != REAL:
        return low.program.on_host("cast", low.program.on_host("truth", x), to=host_type(number))
    if number not in FLOATS:
        raise CompileError(
            f"casts to {TensorProto.DataType.Name(number)}; only floating-point "
            "types of 16 bits and more and BOOL are supported"
        )
    return x
