"""Real values of a tensor program: what it should compute, and how large its numbers become."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from compiler.tensors.expressions import evaluate
from compiler.tensors.program import Layout, Map, Product, Program


def gathered(step: Layout, sources: list[NDArray], fill: NDArray | float) -> NDArray:
    """The elements of a layout, of values or of codes."""
    flat = np.concatenate([*(s.ravel() for s in sources), np.array([fill], sources[0].dtype)])
    return flat[step.index]


def real_values(program: Program, inputs: Mapping[str, NDArray]
                ) -> tuple[dict[int, NDArray[np.float64]], float]:
    """All tensors, and the largest magnitude of them and of what expressions make on the way."""
    values: dict[int, NDArray] = {i: t.constant for i, t in enumerate(program.tensors)
                                  if t.constant is not None}
    for name, i in program.inputs.items():
        values[i] = np.asarray(inputs[name], np.float64).reshape(program.shape(i))
    most = max([0.0, *(_most(v) for v in values.values())])
    for step in program.steps:
        sources = [values[s] for s in step.sources]
        if isinstance(step, Layout):
            values[step.out] = gathered(step, sources, step.fill)
        elif isinstance(step, Product):
            values[step.out] = sources[0] @ sources[1]
            most = max(most, _most(values[step.out]))
        elif isinstance(step, Map):
            shape = program.shape(step.out)
            found = evaluate(step.expression, [s.reshape(shape) for s in sources])
            values[step.out] = found[step.expression]
            most = max(most, *(_most(v) for v in found.values()))
    return values, most


def _most(values: NDArray) -> float:
    """Largest finite magnitude."""
    finite = np.abs(values[np.isfinite(values)]) if np.ndim(values) else np.abs(
        values if np.isfinite(values) else 0.0)
    return float(np.max(finite, initial=0.0))
