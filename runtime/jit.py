"""JAX functions on one array: traced, compiled and run at a call."""

import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import update_wrapper
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from compiler.build import Strategy, compile_model
from compiler.front.jax.lower import Function, lower, names_of
from pal_units.formats import Format
from spu.arch.errors import UserError
from spu.arch.package.compiled import Package
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import node_name
from spu.arch.params import Architecture
from spu.engine.array import Engine, GoldenEngine
from spu.engine.run import run


class RangeWarning(UserWarning):
    """Results hold elements beyond what tensor biases hold, above or below."""


class Jitted:
    """A function of arrays that runs on an array; ``palspu.jit`` makes it.

    Called with arrays, nested in whatever JAX takes, it is traced and compiled for their shapes and
    types, once for each.  What the function holds beside its arguments is constant, as in
    ``jax.jit``.  ``engine`` counts cycles, runs and saturated elements of all calls.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arch: Architecture,
        numbers: Format,
        engine: Engine | None = None,
        strategy: Strategy = "auto",
        weights: Format | None = None,
        input_max: float | None = None,
        calibrate: Sequence[Sequence[Any]] | None = None,
        seed: int = 0,
    ) -> None:
        self.function, self.arch, self.numbers = function, arch, numbers
        self.engine = GoldenEngine(arch) if engine is None else engine
        self.options = {
            "strategy": strategy,
            "weights": weights,
            "input_max": input_max,
            "seed": seed,
        }
        self.calibrate = calibrate
        self.compiled: dict[Any, tuple[Function, Package | Pipeline | None]] = {}
        update_wrapper(self, function)

    @property
    def name(self) -> str:
        """Of the function, for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def __call__(self, *arguments: Any) -> Any:
        """The function's results, numpy arrays nested as JAX would have them.

        Raises
        ------
        UserError: what cannot be compiled, with the primitive and the user's line; arguments that
            are no arrays of numbers, or larger than the program takes.
        """
        leaves, _ = jax.tree_util.tree_flatten(arguments)
        if any(isinstance(x, jax.core.Tracer) for x in leaves):
            raise UserError(
                f"{self.name}: runs on an array, JAX cannot trace into it; transform the function "
                "first, as in palspu.jit(jax.grad(f))"
            )
        traced, package = self.lookup(*arguments)
        names = names_of(arguments, self._called(len(arguments)))
        values = [np.asarray(x) for x in leaves]
        made: Mapping[str, NDArray] = {}
        if package is not None:
            given = _given(package, dict(zip(names, values, strict=True)))
            before = self.engine.nodes.copy()
            with _workplace(self.engine):
                made = run(package, self.engine, given)
            self._tell(self.engine.nodes - before)
        out = []
        for found, kind in zip(traced.outputs, traced.types, strict=True):
            value = (
                made[found]
                if isinstance(found, str)
                else values[found]
                if isinstance(found, int)
                else found
            )
            out.append(np.asarray(value).astype(kind))
        return jax.tree_util.tree_unflatten(traced.tree, out)

    def _tell(self, nodes: Counter[str]) -> None:
        """Warn of results that are not what the function means."""
        if nodes:
            names = ", ".join(f"{node_name(label)} ({n})" for label, n in nodes.most_common())
            warnings.warn(
                f"{self.name}: elements saturated, or lost below what is held: {names}; "
                "calibrate=[arguments like these] gives them room",
                RangeWarning,
                stacklevel=3,
            )

    def lookup(self, *arguments: Any) -> tuple[Function, Package | Pipeline | None]:
        """What was compiled for arguments of these shapes and types; compiled now if nothing was.

        The package is None of a function that computes nothing in a run.  Raises ``UserError`` for
        arguments that are no arrays of numbers, and as compiling does.
        """
        leaves, tree = jax.tree_util.tree_flatten(arguments)
        try:
            shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(_array, leaves))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.name}: arguments must be arrays of numbers: {error}") from None
        key = tree, tuple((s.shape, s.dtype) for s in shapes)
        if key not in self.compiled:
            traced = lower(
                self.function,
                jax.tree_util.tree_unflatten(tree, shapes),
                self.name,
                self._called(len(arguments)),
            )
            self.compiled[key] = traced, self._compile(traced, len(arguments))
        return self.compiled[key]

    def _compile(self, traced: Function, count: int) -> Package | Pipeline | None:
        if traced.program is None:
            return None
        shown = None
        if self.calibrate is not None:
            wrong = not isinstance(self.calibrate, list | tuple) or any(
                not isinstance(each, list | tuple) or len(each) != count for each in self.calibrate
            )
            if wrong:
                raise UserError(
                    f"{self.name}: calibrate must be a list of arguments, each a list or tuple of "
                    f"{count}"
                )
            shown = [
                {
                    n: np.asarray(x)
                    for n, x in zip(
                        names_of(each, self._called(count)),
                        jax.tree_util.tree_leaves(each),
                        strict=True,
                    )
                    if n in traced.program.inputs
                }
                for each in self.calibrate
            ]
        return compile_model(
            traced.program,
            self.arch,
            fmt=self.numbers,
            calibrate=shown,
            **self.options,  # type: ignore[arg-type]
        )

    def _called(self, count: int) -> list[str]:
        """Names of positional arguments."""
        try:
            known = inspect.signature(self.function).parameters.values()
        except (TypeError, ValueError):
            known = ()  # type: ignore[assignment]
        several = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [p.name for p in known if p.kind in several][:count]
        return [*names, *(f"argument{k}" for k in range(len(names), count))]


def engine_of(given: Any, arch: Architecture) -> Engine:
    """An engine by name, ``golden`` or ``rtl``, or the one that is given.

    Raises ``UserError`` for another, and for an array that RTL has not.
    """
    if isinstance(given, Engine):
        return given
    if given == "golden":
        return GoldenEngine(arch)
    if given != "rtl":
        raise UserError(f"engine must be golden, rtl or an Engine, not {given!r}")
    from spu.engine.rtl_engine import RtlEngine
    from spu.engine.rtl_run import check_rtl

    check_rtl(arch)
    return RtlEngine(arch)


@contextmanager
def _workplace(engine: Engine) -> Iterator[None]:
    """A directory of its own for a call that simulates, so that calls side by side do not meet."""
    if not hasattr(engine, "work"):
        yield
        return
    from spu.engine.rtl_run import workplace

    with workplace() as engine.work:
        yield


def _array(x: Any) -> Any:
    """As JAX sees it, so that numpy's wider types are the same as JAX's."""
    return jnp.asarray(x)


def _given(package: Package | Pipeline, values: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Those of the inputs that a compiled program takes."""
    names = [package.input] if isinstance(package, Pipeline) else package.program.inputs
    return {name: values[name] for name in names}
