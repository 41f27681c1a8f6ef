"""Real values of a tensor program: what it should compute, and how large its numbers become."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from spu.arch.operations import CONSTANT
from spu.arch.package.expression import Expression, evaluate
from spu.arch.package.program import HostStep, Layout, Map, Product, Program, gathered


def visit_values(
    program: Program,
    inputs: Mapping[str, NDArray],
    visit: Callable[[int | tuple[int, Expression], NDArray], None],
) -> dict[int, NDArray]:
    """All tensors, float64 those of real numbers.

    ``visit`` is shown the inputs, and what each step makes, of real numbers: a tensor by its
    number, a subexpression of a map by that of the step.
    """
    values: dict[int, NDArray] = {
        i: t.constant for i, t in enumerate(program.tensors) if t.constant is not None
    }
    for name, i in program.inputs.items():
        values[i] = program.value(i, inputs[name])
        if program.is_real(i):
            visit(i, values[i])
    with np.errstate(all="ignore"):
        for i, step in enumerate(program.steps):
            sources = [values[s] for s in step.sources]
            if isinstance(step, Layout):
                values[step.out] = gathered(step, sources, step.fill)
            elif isinstance(step, HostStep):
                values[step.out] = program.computed(step, sources)
                if program.is_real(step.out) and not program.moved(step):
                    visit(step.out, values[step.out])
            elif isinstance(step, Product):
                values[step.out] = sources[0] @ sources[1]
                visit(step.out, values[step.out])
            elif isinstance(step, Map):
                shape = program.shape(step.out)
                found = evaluate(step.expression, [s.reshape(shape) for s in sources])
                for x, made in found.items():
                    if x.op != CONSTANT:
                        visit((i, x), np.asarray(made))
                values[step.out] = found[step.expression]
    return values


def real_values(
    program: Program, inputs: Mapping[str, NDArray]
) -> tuple[dict[int, NDArray], float]:
    """All tensors, and the largest finite magnitude of what is made on the way to them."""
    most = [0.0]
    values = visit_values(
        program,
        inputs,
        lambda _, made: most.append(float(np.max(np.abs(made[np.isfinite(made)]), initial=0.0))),
    )
    return values, max(most)
