"""Primitives with functions within: calls, branches, loops that are unrolled."""

from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr

from compiler.errors import CompileError
from compiler.front.jax.lowering import Lowering, computed
from compiler.front.jax.registry import Value, call, is_known
from spu.arch.package.expression import apply, variable

#: Where a call keeps its function.
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
#: Rounds of a loop.
MOST_ROUNDS = 4096


@call(
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "checkpoint",
    "remat",
    "remat2",
    "custom_lin",
)
def called(low: Lowering, eqn: Any, *values: Value) -> list[Value]:
    """The function's equations in the place of the call."""
    body = next(eqn.params[name] for name in _BODIES if name in eqn.params)
    name = str(eqn.params.get("name", ""))
    return low.inside(_closed(body), values, eqn, name)


def _closed(body: Any) -> ClosedJaxpr:
    return body if hasattr(body, "consts") else ClosedJaxpr(body, ())


@call("cond")
def cond(low: Lowering, eqn: Any, which: Value, *values: Value) -> list[Value]:
    """The branch that is known; else all, and what chooses among their results."""
    branches = eqn.params["branches"]
    if isinstance(which, np.ndarray):
        return low.inside(branches[int(np.clip(which, 0, len(branches) - 1))], values)
    made = [low.inside(branch, values) for branch in branches]
    program, out = low.program, list(made[-1])
    for k in reversed(range(len(branches) - 1)):
        # Indices beyond the branches count as the nearest.
        hit = program.on_host(
            "less_or_equal", low.of_host(which), program.constant(np.array(k, np.int32))
        )
        out = [_chosen(low, hit, one, rest) for one, rest in zip(made[k], out, strict=True)]
    return out


def _chosen(low: Lowering, hit: int, yes: Value, no: Value) -> Value:
    """One of two values by a truth value of the host."""
    shape, program = low.shape(yes), low.program
    if low.on_array(yes, no) or any(is_known(v) and v.dtype.kind == "f" for v in (yes, no)):  # type: ignore[union-attr]
        wide = program.broadcast(low.real(hit), shape)
        return low.map(apply("select", variable(1), variable(2), variable(0)), wide, yes, no)
    wide = program.broadcast(hit, shape)
    return program.on_host("where", wide, low.of_host(yes), low.of_host(no))


@call("scan")
def scan(low: Lowering, eqn: Any, *values: Value) -> list[Value]:
    """Each round in order, its equations anew.

    Raises ``CompileError`` for more than ``MOST_ROUNDS``.
    """
    p = eqn.params
    if all(map(is_known, values)):
        return computed(eqn, values)
    rounds, fixed, carried = p["length"], p["num_consts"], p["num_carry"]
    if rounds > MOST_ROUNDS:
        raise CompileError(f"{rounds} rounds, more than {MOST_ROUNDS}")
    consts, carry, rows = (
        list(values[:fixed]),
        list(values[fixed : fixed + carried]),
        values[fixed + carried :],
    )
    made: list[list[Value]] = []
    for k in reversed(range(rounds)) if p["reverse"] else range(rounds):
        out = low.inside(p["jaxpr"], [*consts, *carry, *(_row(low, x, k) for x in rows)])
        carry = out[:carried]
        made.append(out[carried:])
    if p["reverse"]:
        made.reverse()
    return [
        *carry,
        *(_stacked(low, [m[j] for m in made], v) for j, v in enumerate(eqn.outvars[carried:])),
    ]


def _row(low: Lowering, x: Value, k: int) -> Value:
    return (
        np.asarray(x[k]) if isinstance(x, np.ndarray) else low.program.layout([x], lambda i: i[k])
    )


def _stacked(low: Lowering, rows: list[Value], var: Any) -> Value:
    if all(isinstance(r, np.ndarray) for r in rows):
        return np.stack(rows) if rows else np.zeros(var.aval.shape, var.aval.dtype)
    make = low.real if low.on_array(*rows) or var.aval.dtype.kind == "f" else low.of_host
    return low.program.layout([make(r) for r in rows], lambda *i: np.stack(i))


@call("while")
def while_loop(low: Lowering, eqn: Any, *values: Value) -> list[Value]:
    """Rounds as long as a condition holds, which must be known in each.

    Raises ``CompileError`` where it depends on what is computed in a run, and for more than
    ``MOST_ROUNDS``.
    """
    p = eqn.params
    first, then = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    if all(isinstance(v, np.ndarray) for v in values):
        return list(computed(eqn, list(values)))
    of_cond, of_body, carry = values[:first], values[first:then], list(values[then:])
    for _ in range(MOST_ROUNDS):
        (more,) = low.inside(p["cond_jaxpr"], [*of_cond, *carry])
        if not isinstance(more, np.ndarray):
            raise CompileError("how many rounds there are depends on values of a run")
        if not more:
            return carry
        carry = low.inside(p["body_jaxpr"], [*of_body, *carry])
    raise CompileError(f"more than {MOST_ROUNDS} rounds")
