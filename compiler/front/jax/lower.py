"""JAX functions as tensor programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError, Refusal, Refused
from compiler.front.jax import calls, elementwise, indexed, moves, products, reductions
from compiler.front.jax.lowering import UNSUPPORTED, Lowering
from compiler.front.jax.registry import CALLS, PRIMITIVES
from compiler.passes.fuse import fuse
from spu.arch.package.program import Program

#: Modules that register primitives.
MODULES = (calls, elementwise, indexed, moves, products, reductions)


@dataclass(frozen=True)
class Function:
    """A function of arrays for arguments of some shapes.

    ``program``: its inputs are called as the arguments are, those that nothing depends on are left
    out; None if nothing is computed in a run.  ``outputs``: of each result the name of an output of
    the program, or the place of an argument that it is, or what it is whatever the arguments.
    ``types``: numpy types of the results; ``tree``: how results are nested.
    """

    program: Program | None
    outputs: tuple[str | int | NDArray, ...]
    types: tuple[np.dtype, ...]
    tree: Any


def names_of(arguments: Sequence[Any], called: Sequence[str]) -> list[str]:
    """A name for each array among arguments: ``x``, or ``params['w']`` of one that is nested."""
    names = []
    for argument, name in zip(arguments, called, strict=True):
        for path, _ in jax.tree_util.tree_flatten_with_path(argument)[0]:
            names.append(name + jax.tree_util.keystr(path))
    return names


def lower(
    function: Callable[..., Any], arguments: Sequence[Any], name: str, called: Sequence[str]
) -> Function:
    """The tensor program of a function for arguments: arrays, or shapes and types of such, nested
    in whatever JAX takes.  ``called``: names of the arguments.

    Raises
    ------
    CompileError: ``Refused`` with every primitive that is not supported, or not with these
        parameters, named with the user's line and function; what JAX has to say where it cannot
        trace the function.
    """
    try:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    except CompileError:
        raise
    except Exception as error:  # of the user's function, of any kind
        raise CompileError(f"{name}: JAX cannot trace it: {_first_line(error)}") from error
    low = Lowering(name)
    given: list[int] = []
    names = names_of(arguments, called)
    for one, aval in zip(names, closed.in_avals, strict=True):
        try:
            given.append(low.input(one, aval.shape, aval.dtype))
        except CompileError as error:
            raise CompileError(f"{name}: argument {one}: {error}") from None
    made = low.run(closed.jaxpr, closed.consts, given)
    if low.refusals:
        others = ", ".join(f"{r.operator} node {r.node!r}" for r in low.refusals[1:])
        raise Refused(low.refusals, _hint(low.refusals[0]), others)
    flat, tree = jax.tree_util.tree_flatten(shapes)
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_flatten_with_path(shapes)[0]]
    program, outputs = low.program, list[str | int | NDArray]()
    for value, path, aval in zip(made, paths, flat, strict=True):
        if isinstance(value, np.ndarray):
            outputs.append(value)
        elif program.tensors[value].known:
            outputs.append(program.tensors[value].values.astype(aval.dtype))
        elif value in given:
            outputs.append(given.index(value))
        else:
            key = f"result{path}"
            program.outputs[key] = value
            if program.is_real(value) and aval.dtype == bool:
                program.truths.add(key)
            outputs.append(key)
    for known in outputs:
        if isinstance(known, np.ndarray) and known.dtype.kind == "f" and np.isnan(known).any():
            raise CompileError(f"{name}: a result is constant and NaN")
    used = {s for step in program.steps for s in step.sources}
    program.inputs = {n: t for n, t in program.inputs.items() if t in used}
    return Function(
        fuse(_needed(program)) if program.outputs else None,
        tuple(outputs),
        tuple(np.dtype(aval.dtype) for aval in flat),
        tree,
    )


def _needed(program: Program) -> Program:
    """Without the steps that no output depends on, such as the value beside a gradient."""
    wanted = {*program.outputs.values(), *program.nonnegative}
    steps = []
    for step in reversed(program.steps):
        if step.out in wanted:
            wanted.update(step.sources)
            steps.append(step)
    program.steps = steps[::-1]
    program.inputs = {n: t for n, t in program.inputs.items() if t in wanted}
    program.results &= wanted
    return program


def _hint(refusal: Refusal) -> str:
    """Primitives of names like that of one that is not supported."""
    if not refusal.rule.endswith(UNSUPPORTED):
        return ""
    found = get_close_matches(refusal.operator, sorted({*PRIMITIVES, *CALLS}), n=3)
    alike = f"{', '.join(found)} {'are' if len(found) > 1 else 'is'}; " if found else ""
    return f"; {alike}docs/howto/jax.md has all that are"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
