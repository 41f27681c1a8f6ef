"""Real values of a tensor program: what it should compute, and how large its numbers become."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from spu.arch.operations import CONSTANT
from spu.arch.package.expression import Expression, evaluate
from spu.arch.package.program import HostStep, Layout, Map, Product, Program, gathered

#: Is shown the real numbers that a step makes: a tensor by its number, a subexpression of a map by
#: that of the step.
Visit = Callable[[int | tuple[int, Expression], NDArray], None]


def visit_values(
    program: Program, inputs: Mapping[str, NDArray], visit: Visit
) -> dict[int, NDArray]:
    """All tensors, float64 those of real numbers.  ``visit`` is shown the inputs, too."""
    values: dict[int, NDArray] = {i: t.values for i, t in enumerate(program.tensors) if t.known}
    for name, i in program.inputs.items():
        values[i] = program.value(i, inputs[name])
        if program.is_real(i):
            visit(i, values[i])
    for i, step in enumerate(program.steps):
        values[step.out] = made(program, i, [values[s] for s in step.sources], visit)
    return values


def made(
    program: Program, i: int, sources: list[NDArray], visit: Visit = lambda what, made: None
) -> NDArray:
    """What a step makes of its operands; ``visit`` as in ``visit_values``."""
    step = program.steps[i]
    with np.errstate(all="ignore"):
        if isinstance(step, Layout):
            return gathered(step, sources, step.fill)
        if isinstance(step, HostStep):
            result = program.computed(step, sources)
            if program.is_real(step.out) and not program.moved(step):
                visit(step.out, result)
            return result
        if isinstance(step, Product):
            product = sources[0] @ sources[1]
            visit(step.out, product)
            return product
        assert isinstance(step, Map)
        shape = program.shape(step.out)
        found = evaluate(step.expression, [s.reshape(shape) for s in sources])
        for x, value in found.items():
            if x.op != CONSTANT:
                visit((i, x), np.asarray(value))
        return np.broadcast_to(found[step.expression], shape)


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
