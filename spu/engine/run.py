"""A compiled model of any kind runs on inputs by name."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import UserError
from spu.arch.package import inputs
from spu.arch.package.compiled import Package
from spu.arch.package.pipeline import Pipeline
from spu.engine import codec, host, layers
from spu.engine.array import Engine


def run(
    package: Package | Pipeline,
    engine: Engine,
    given: Mapping[str, NDArray],
    progress: Callable[[int, int], None] = lambda done, total: None,
    watch: host.Watch | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Outputs by name; ``engine`` counts cycles, runs and saturated elements.

    ``given``: of a ``Package``, inputs of the shapes of its program; of a ``Pipeline``, vectors
    (n, ...).  Of a ``Package``, ``progress`` is shown steps done and all, ``watch`` each step.

    Raises
    ------
    InputError: names the input that the model cannot take, see ``inputs.checked``, or the node that
        a value cannot enter.
    UserError: an engine of another array than the model's.
    RunError: a run that did not take the cycles that were predicted.
    rtl.tools.SimulationError: of RTL, a word or a cycle that is not that of the golden model.
    """
    if engine.arch.hash != package.arch.hash:
        raise UserError(
            f"the model is for an array {package.arch.name!r} of hash "
            f"{package.arch.hash:#010x}, the engine has {engine.arch.name!r} of hash "
            f"{engine.arch.hash:#010x}"
        )
    taken = inputs.checked(package, given)
    if isinstance(package, Package):
        return host.run(package, engine, taken, progress, watch)
    x = taken[package.input]
    words = codec.encode_inputs(x, package.report, package.arch)
    before = engine.tiles.copy()
    outputs = engine.run(package.image, words, len(x), package.cycles, False)
    engine.nodes.update(codec.saturated_layers(engine.tiles - before, package.report))
    engine.nodes += layers.lost_elements(package, x)
    vectors = codec.decode_outputs(outputs, package.report, package.arch)
    return {package.output: vectors.reshape(len(x), *package.report["io"]["output_shape"])}
