"""Primitives of each element: arithmetic, functions, comparisons, choices, types."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.jax.lowering import Lowering, host_type
from compiler.front.jax.registry import Value, primitive
from compiler.front.operators.logic import COMPARISONS, CONNECTIVES, beyond, truth
from compiler.ir import expressions as ex
from spu.arch.package.expression import Expression, apply, variable
from spu.arch.package.host_operations import REAL

X, Y, Z = variable(0), variable(1), variable(2)
UNARY: dict[str, Expression] = {
    "neg": apply("neg", X),
    "abs": apply("abs", X),
    "exp": ex.exp(X),
    "exp2": apply("exp2", X),
    "log": ex.log(X),
    "sqrt": apply("sqrt", X),
    "rsqrt": apply("rsqrt", X),
    "square": X * X,
    "logistic": ex.sigmoid(X),
    "tanh": ex.tanh(X),
    "erf": ex.erf(X),
    "erfc": 1.0 - ex.erf(X),
    "sin": ex.sin(X),
    "cos": ex.cos(X),
    "floor": ex.floor(X),
    "ceil": ex.ceil(X),
    # What is neither below nor above 0 is its own sign: 0 and NaN.
    "sign": apply(
        "select", -1.0, apply("select", 1.0, X, apply("lt", 0.0, X)), apply("lt", X, 0.0)
    ),
    # Near 0 by a series, of either sign; its error is that of the other sign at most doubled.
    "log1p": apply(
        "select",
        X * (1.0 - X * (0.5 - X * (1 / 3))),
        ex.log(1.0 + X),
        apply("lt", apply("abs", X), ex.SERIES),
    ),
    "expm1": apply(
        "select",
        X * (1.0 + X * (0.5 + X * (1 / 6))),
        ex.exp(X) - 1.0,
        apply("lt", apply("abs", X), ex.SERIES),
    ),
    "is_finite": truth(apply("eq", X, X)),
}
#: Of formulas in the place of functions that the array does not have.
ERRORS = {
    "erf": ex.ERF_ERROR,
    "erfc": ex.ERF_ERROR,
    "sin": ex.SINE_ERROR,
    "cos": ex.SINE_ERROR,
    "log1p": 2 * ex.LOG1P_ERROR,
    "expm1": 2 * ex.EXPM1_ERROR,
}
BINARY = {"add": X + Y, "add_any": X + Y, "sub": X - Y, "mul": X * Y, "div": X / Y}
COMPARED = {
    "lt": ("Less", "less"),
    "le": ("LessOrEqual", "less_or_equal"),
    "gt": ("Greater", "greater"),
    "ge": ("GreaterOrEqual", "greater_or_equal"),
    "eq": ("Equal", "equal"),
}
ON_HOST = {"neg": "neg", "abs": "abs", "sign": "sign"}
HOST_BINARY = {"add": "add", "add_any": "add", "sub": "sub", "mul": "mul", "div": "div"}


@primitive(*UNARY)
def unary(low: Lowering, eqn: Any, x: Value) -> Value:
    """One of ``UNARY`` of each element; of integers those of ``ON_HOST``.

    Raises ``CompileError`` for others of integers.
    """
    name = eqn.primitive.name
    if name in ERRORS:
        low.approximates(ERRORS[name])
    if not low.on_array(x):
        if name not in ON_HOST:
            raise CompileError(f"of {eqn.invars[0].aval.dtype}")
        return low.program.on_host(ON_HOST[name], low.of_host(x))
    return low.map(UNARY[name], x)


@primitive(*BINARY)
def binary(low: Lowering, eqn: Any, x: Value, y: Value) -> Value:
    """One of ``BINARY``; of integers the host computes."""
    name = eqn.primitive.name
    if low.on_array(x, y):
        return low.map(BINARY[name], x, y)
    return low.program.on_host(HOST_BINARY[name], low.of_host(x), low.of_host(y))


@primitive("max", "min")
def extreme(low: Lowering, eqn: Any, x: Value, y: Value) -> Value:
    """The greater or the lesser; NaN if either is.  An infinite bound changes nothing."""
    name = eqn.primitive.name
    if not low.on_array(x, y):
        return low.program.on_host(name, low.of_host(x), low.of_host(y))
    for one, other in ((x, y), (y, x)):
        if isinstance(other, np.ndarray) and other.size and not isinstance(one, np.ndarray):
            if (other == (-np.inf if name == "max" else np.inf)).all():
                return low.program.broadcast(one, np.broadcast_shapes(low.shape(x), low.shape(y)))
            if name == "max" and not other.any():
                wide = np.broadcast_shapes(low.shape(x), low.shape(y))
                return low.program.broadcast(low.map(apply("relu", X), one), wide)
    return low.map(apply(name, X, Y), x, y)


@primitive("clamp")
def clamp(low: Lowering, eqn: Any, least: Value, x: Value, most: Value) -> Value:
    """The lesser of the greater of ``x`` and a bound, and another."""
    if low.on_array(least, x, most):
        return low.map(apply("min", apply("max", X, Y), Z), x, least, most)
    above = low.program.on_host("max", low.of_host(x), low.of_host(least))
    return low.program.on_host("min", above, low.of_host(most))


@primitive("integer_pow")
def integer_power(low: Lowering, eqn: Any, x: Value) -> Value:
    """A constant whole power."""
    return low.map(ex.power(X, float(eqn.params["y"])), x)


@primitive("pow")
def power(low: Lowering, eqn: Any, x: Value, y: Value) -> Value:
    """A power, of which the exponent is one constant, or the base known and above 0.

    Raises ``CompileError`` for others.
    """
    if isinstance(y, np.ndarray) and y.size and (y == y.flat[0]).all() and np.isfinite(y.flat[0]):
        return low.program.broadcast(
            low.map(ex.power(X, float(y.flat[0])), x), eqn.outvars[0].aval.shape
        )
    if isinstance(x, np.ndarray) and (x > 0).all():
        return low.map(apply("exp2", X * Y), np.asarray(np.log2(x.astype(np.float64))), y)
    raise CompileError("a power takes one constant exponent, or a constant base above 0")


@primitive("round")
def rounding(low: Lowering, eqn: Any, x: Value) -> Value:
    """To whole numbers, of two the even one, or the one away from 0."""
    if eqn.params["rounding_method"] == lax.RoundingMethod.TO_NEAREST_EVEN:
        return low.map(ex.rint(X), x)
    size = ex.floor(apply("abs", X) + 0.5)
    return low.map(apply("select", apply("neg", size), size, apply("lt", X, 0.0)), x)


@primitive(*COMPARED, "ne")
def compare(low: Lowering, eqn: Any, x: Value, y: Value) -> Value:
    """A comparison: of real numbers as PAL16 holds them, 0 and 1; of integers exactly.

    Equal to an infinite constant is what is beyond all float32.
    """
    name = eqn.primitive.name
    one, host = COMPARED["eq" if name == "ne" else name]
    if not low.on_array(x, y):
        found = low.program.on_host(host, low.of_host(x), low.of_host(y))
        return low.program.on_host("not", found) if name == "ne" else found
    expression = COMPARISONS[one]
    for other, known in ((Y, x), (X, y)):
        if (
            name in ("eq", "ne")
            and isinstance(known, np.ndarray)
            and known.size
            and known.dtype.kind != "b"
            and np.isinf(known).all()
            and (known == known.flat[0]).all()
        ):
            expression = truth(beyond(other, bool(known.flat[0] > 0)))
    if name == "ne":
        expression = 1.0 - expression
    return low.map(expression, x, y)


@primitive("and", "or", "xor")
def connect(low: Lowering, eqn: Any, x: Value, y: Value) -> Value:
    """Of truth values, exact."""
    _truths(eqn)
    name = eqn.primitive.name
    if low.on_array(x, y):
        return low.map(CONNECTIVES[name.capitalize()], x, y)
    return low.program.on_host(name, low.of_host(x), low.of_host(y))


@primitive("not")
def negate(low: Lowering, eqn: Any, x: Value) -> Value:
    """Of truth values, exact."""
    _truths(eqn)
    if low.on_array(x):
        return low.map(truth(X, 0, 1), x)
    return low.program.on_host("not", low.of_host(x))


def _is_truth(kind: Any) -> bool:
    return np.dtype(kind).kind == "b"


def _truths(eqn: Any) -> None:
    kind = eqn.invars[0].aval.dtype
    if not _is_truth(kind):
        raise CompileError(f"of bits of {kind}; computed is it of truth values")


@primitive("select_n")
def select(low: Lowering, eqn: Any, which: Value, *cases: Value) -> Value:
    """One of two cases: a known choice moves elements, another the array makes, or the host between
    integers.

    Raises ``CompileError`` for more cases.
    """
    if len(cases) != 2 or not _is_truth(eqn.invars[0].aval.dtype):
        raise CompileError(f"chooses between {len(cases)} cases by {eqn.invars[0].aval.dtype}")
    no, yes = cases
    shape = low.shape(no)
    of_host = host_type(eqn.outvars[0].aval.dtype) != REAL and not low.on_array(no, yes)
    make = low.of_host if of_host else low.real
    if isinstance(which, np.ndarray):
        mask = np.broadcast_to(which, shape)
        if mask.all() or not mask.any():
            return yes if mask.all() else no

        def chosen(i: NDArray, j: NDArray) -> NDArray:
            return np.where(mask, i, j)

        return low.program.layout([make(yes), make(no)], chosen)
    if of_host:
        wide = low.program.broadcast(low.truth(which), shape)
        return low.program.on_host("where", wide, make(yes), make(no))
    wide = low.program.broadcast(low.real(which), shape)
    return low.map(apply("select", Y, Z, X), wide, yes, no)


@primitive("convert_element_type")
def convert(low: Lowering, eqn: Any, x: Value) -> Value:
    """Between floats nothing; truth values and integers as what they stand for.

    Raises ``CompileError`` for real numbers to integers, which only the host has.
    """
    given, wanted = eqn.invars[0].aval.dtype, eqn.params["new_dtype"]
    kind = host_type(wanted)
    if kind == REAL:
        if low.on_array(x):
            return x
        return low.program.on_host("real", low.of_host(x))
    if kind == "bool":
        if low.on_array(x):
            return x if _is_truth(given) else low.map(truth(apply("eq", X, 0.0), 0, 1), x)
        return low.truth(x)
    if jnp.issubdtype(given, jnp.floating):
        raise CompileError(f"real numbers to {kind}; only constants are converted to integers")
    return low.program.on_host(
        "cast", low.truth(x) if _is_truth(given) else low.of_host(x), to=kind
    )


@primitive("stop_gradient", "copy", "copy_p", "reduce_precision", "name", "optimization_barrier")
def same(low: Lowering, eqn: Any, *values: Value) -> list[Value]:
    """The values themselves: floats of any width are PAL16."""
    return list(values)
