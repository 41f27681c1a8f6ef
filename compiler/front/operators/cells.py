"""Activations of recurrent cells, by the names of the standard."""

from collections.abc import Callable

from compiler.errors import CompileError
from compiler.ir import expressions as ex
from spu.arch.package.expression import Expression, apply

Function = Callable[[Expression], Expression]


def _elu(x: Expression, alpha: float) -> Expression:
    # Above 0 the power, which would overflow, is not taken.
    power = ex.exp(apply("min", x, 0.0))
    return apply("select", (power - 1.0) * alpha, x, apply("lt", x, 0.0))


def _softplus(x: Expression) -> Expression:
    """``max(x, 0) + log(1 + exp(-|x|))``, which does not overflow."""
    return apply("relu", x) + ex.log(1.0 + ex.exp(apply("neg", apply("abs", x))))


# Steps feed on each other: none of these is a formula with an error of its own.
#: Functions, with the defaults of alpha and beta that they take; None: it must be given.
FUNCTIONS: dict[str, tuple[Callable[..., Expression], tuple[float | None, ...]]] = {
    "relu": (lambda x: apply("relu", x), ()),
    "tanh": (ex.tanh, ()),
    "sigmoid": (ex.sigmoid, ()),
    "affine": (lambda x, alpha, beta: x * alpha + beta, (None, None)),
    "leakyrelu": (ex.leaky_relu, (0.01,)),
    "thresholdedrelu": (lambda x, alpha: apply("select", x, 0.0, apply("lt", alpha, x)), (1.0,)),
    "scaledtanh": (lambda x, alpha, beta: ex.tanh(x * beta) * alpha, (None, None)),
    "hardsigmoid": (ex.hard_sigmoid, (0.2, 0.5)),
    "elu": (_elu, (1.0,)),
    "softsign": (lambda x: x / (1.0 + apply("abs", x)), ()),
    "softplus": (_softplus, ()),
}


def taken(name: str, values: dict[str, list[float]]) -> Function:
    """An activation; it takes its alpha and beta from the front of ``values``.

    Raises ``CompileError`` for an unknown name, or values that it must have.
    """
    if name.lower() not in FUNCTIONS:
        raise CompileError(f"activation {name!r} is unknown")
    function, defaults = FUNCTIONS[name.lower()]
    numbers = []
    for default, key in zip(defaults, ("alpha", "beta"), strict=False):
        if not values[key] and default is None:
            raise CompileError(f"activation {name} must have activation_{key}")
        numbers.append(values[key].pop(0) if values[key] else default)
    return lambda x: function(x, *numbers)
