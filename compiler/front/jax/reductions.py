"""Primitives that bring elements along axes together."""

from typing import Any

from compiler.errors import CompileError
from compiler.front.jax.lowering import Lowering
from compiler.front.jax.registry import Value, primitive

#: By what it is reduced; of truth values the greatest and the least are "or" and "and".
REDUCTIONS = {
    "reduce_sum": "add",
    "reduce_prod": "mul",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_and": "min",
    "reduce_or": "max",
}


@primitive(*REDUCTIONS)
def reduce(low: Lowering, eqn: Any, x: Value) -> Value:
    """One of ``REDUCTIONS`` along axes, which are left out.

    Raises ``CompileError`` for the greatest or least of no elements, and for bits of integers.
    """
    name, program = eqn.primitive.name, low.program
    axes, by = tuple(int(a) for a in eqn.params["axes"]), REDUCTIONS[name]
    if name in ("reduce_and", "reduce_or") and eqn.invars[0].aval.dtype.kind != "b":
        raise CompileError("of bits of integers; computed is it of truth values")
    if not axes:
        return x
    if low.on_array(x):
        return program.layout([program.reduce(by, low.real(x), axes)], lambda i: i.squeeze(axes))
    return program.on_host("reduce", low.of_host(x), by=by, axes=list(axes), keep=False)


@primitive("argmax", "argmin")
def first(low: Lowering, eqn: Any, x: Value) -> Value:
    """The index of the first of the greatest or least elements along an axis."""
    (axis,), program = eqn.params["axes"], low.program
    tensor = low.real(x) if low.on_array(x) else low.of_host(x)
    found = program.on_host(
        "rank",
        tensor,
        axis=int(axis),
        count=1,
        largest=eqn.primitive.name == "argmax",
        last=False,
        nan_first=True,
    )
    found = program.layout([found], lambda i: i.squeeze(axis))
    return program.on_host("cast", found, to=eqn.params["index_dtype"].name)
