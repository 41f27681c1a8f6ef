"""Lowering of jaxprs: equation after equation.

An equation is computed beforehand, if all it takes is known; lowered, if its primitive is
registered; or looked into, if it calls a function.  What cannot be is a refusal; the equations
after it go on with inputs of the program in the place of its results.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from numpy.typing import NDArray

from compiler.errors import CompileError, Refusal
from compiler.front.jax.registry import CALLS, PRIMITIVES, Value, is_known
from compiler.ir.builder import Builder
from spu.arch.package.expression import Expression
from spu.arch.package.host_operations import INTEGERS, REAL

UNSUPPORTED = "primitive is not supported"
#: Equations of a program, with those of loops that are taken apart.
MOST_EQUATIONS = 20000


class Lowering:
    """Equations in order, with the tensors made so far."""

    def __init__(self, name: str) -> None:
        self.name, self.program = name, Builder(name)
        self.refusals: list[Refusal] = []
        self.equations = 0
        #: Of the call that is looked into: the user's line, and functions within each other.
        self.calls: list[str] = []

    # Values.

    def input(self, name: str, shape: Sequence[int], dtype: Any) -> int:
        """A new input of the program; ``CompileError`` for a type that is not computed."""
        found = self.program.tensor(shape, dtype=host_type(dtype))
        self.program.inputs[name] = found
        return found

    def real(self, value: Value) -> int:
        """A tensor of real numbers: floats, and truth values as 0 and 1.

        Raises ``CompileError`` for NaN among constants, and for integers.
        """
        program = self.program
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biu" and not jnp.issubdtype(value.dtype, jnp.floating):
                raise CompileError(f"takes {value.dtype}, not real numbers")
            values = np.asarray(value, np.float64)
            if np.isnan(values).any():
                raise CompileError(f"takes a constant with {int(np.isnan(values).sum())} NaN")
            return program.constant(values)
        if program.is_real(value):
            return value
        if program.tensors[value].dtype == "bool":
            return program.on_host("real", value)
        raise CompileError(f"takes {program.tensors[value].dtype} where real numbers are computed")

    def of_host(self, value: Value) -> int:
        """A tensor of integers or truth values of the host; ``CompileError`` for real numbers."""
        if isinstance(value, np.ndarray):
            if value.dtype.name not in INTEGERS:
                raise CompileError(f"takes {value.dtype} where integers are computed")
            return self.program.constant(value)
        return value

    def truth(self, value: Value) -> int:
        """A tensor of truth values of the host."""
        found = self.of_host(value)
        return self.program.on_host("truth", found) if self.program.is_real(found) else found

    def on_array(self, *values: Value) -> bool:
        """Whether any of the values is a tensor of real numbers."""
        return any(not isinstance(v, np.ndarray) and self.program.is_real(v) for v in values)

    def shape(self, value: Value) -> tuple[int, ...]:
        """Of what is known, or of a tensor."""
        return value.shape if isinstance(value, np.ndarray) else self.program.shape(value)

    def map(self, expression: Expression, *values: Value) -> int:
        """Elementwise on the array."""
        return self.program.map(expression, *(self.real(v) for v in values))

    def approximates(self, error: float) -> None:
        """Note that a formula of this error is in the program."""
        self.program.error = max(self.program.error, error)

    # Equations.

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], values: Sequence[Value]) -> list[Value]:
        """What a jaxpr makes of values; refusals are kept."""
        env: dict[Var, Value] = {}

        def read(v: Any) -> Value:
            if not isinstance(v, Literal):
                return env[v]
            kind: Any = v.aval
            return np.asarray(v.val, kind.dtype)

        for var, const in zip(jaxpr.constvars, consts, strict=True):
            env[var] = const if isinstance(const, int) else np.asarray(const)
        env.update(zip(jaxpr.invars, values, strict=True))
        for eqn in jaxpr.eqns:
            made = self._equation(eqn, [read(v) for v in eqn.invars])
            env.update(zip(eqn.outvars, made, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def inside(
        self, closed: ClosedJaxpr, values: Sequence[Value], eqn: Any = None, name: str = ""
    ) -> list[Value]:
        """``run`` of a function within an equation, which gives it its place if it has a ``name``:
        such functions are traced once, for whatever line calls them first."""
        before = list(self.calls)
        if name:
            self.calls = [*(before or [self._place(eqn)]), name]
        try:
            return self.run(closed.jaxpr, closed.consts, values)
        finally:
            self.calls = before

    def _equation(self, eqn: Any, values: list[Value]) -> list[Value]:
        self.equations += 1
        name = eqn.primitive.name
        before, outer = len(self.program.steps), self.program.current
        label = f"{name} node {self._place(eqn)!r}"
        try:
            if self.equations > MOST_EQUATIONS:
                raise CompileError(f"the function has more than {MOST_EQUATIONS} equations")
            if name in CALLS:
                return _listed(CALLS[name](self, eqn, *values))
            if all(map(is_known, values)):
                return computed(eqn, values)
            if name not in PRIMITIVES:
                raise CompileError(UNSUPPORTED)
            self.program.current = label
            made = _listed(PRIMITIVES[name](self, eqn, *values))
            for value, var in zip(made, eqn.outvars, strict=True):
                if self.shape(value) != tuple(var.aval.shape):
                    raise CompileError(
                        f"its result has the shape {self.shape(value)}, not {var.aval.shape}"
                    )
            self.program.results.update(v for v in made if not isinstance(v, np.ndarray))
            return made
        except (CompileError, ValueError, TypeError, NotImplementedError) as error:
            text = " ".join(str(error).split())
            self.refusals.append(Refusal(self._place(eqn), name, text))
            del self.program.steps[before:]
            return [self._unknown(v.aval) for v in eqn.outvars]
        finally:
            self.program.current = outer

    def _unknown(self, aval: Any) -> Value:
        """In the place of what is refused."""
        try:
            return self.input(f"refused {len(self.program.inputs)}", aval.shape, aval.dtype)
        except CompileError:
            return self.input(f"refused {len(self.program.inputs)}", (), np.float32)

    def _place(self, eqn: Any) -> str:
        """The user's line and function that an equation comes from, and calls that lead to it."""
        if self.calls:
            return " in ".join([*dict.fromkeys(reversed(self.calls[1:])), self.calls[0]])
        try:
            text = source_info_util.summarize(eqn.source_info)
        except Exception:  # of whatever form it is in another version of JAX
            return self.name
        path, _, rest = text.partition(":")
        return f"{Path(path).name}:{rest}" if rest else self.name


def _listed(made: "Value | list[Value]") -> list[Value]:
    return made if isinstance(made, list) else [made]


def computed(eqn: Any, values: Sequence[Any]) -> list[Value]:
    """The results of an equation of known values, by JAX."""
    with jax.ensure_compile_time_eval():
        made = eqn.primitive.bind(*map(jnp.asarray, values), **eqn.params)
    several = made if eqn.primitive.multiple_results else [made]
    return [np.asarray(v) for v in several]


def moved(eqn: Any) -> Any:
    """An equation that moves elements, as a function of the indices of its operands."""

    def arrange(*indices: NDArray) -> NDArray:
        return np.asarray(computed(eqn, [i.astype(np.int32) for i in indices])[0], np.int64)

    return arrange


def host_type(dtype: Any) -> str:
    """The type of a tensor of a program; ``CompileError`` for one that is not computed."""
    if jnp.issubdtype(dtype, jnp.floating) and np.dtype(dtype).itemsize > 1:
        return REAL
    name = str(getattr(dtype, "name", dtype))
    if name not in INTEGERS:
        raise CompileError(
            f"values of {name}; computed are floats of 16 bits and more, integers of 8 bits and "
            "more, and truth values"
        )
    return name
