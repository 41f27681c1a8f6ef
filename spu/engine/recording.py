"""A run with all that was made on the way: operands and results of every step, by layer."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from spu.arch.package import inputs, values
from spu.arch.package.compiled import Package
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Program, node_name
from spu.engine.array import Engine
from spu.engine.layers import in_steps
from spu.engine.run import run
from spu.model import exact
from spu.model.exact import Codes, Operand

Values = NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Layer:
    """The steps of a node, by number, and its outputs, by tensor.

    ``results`` is empty where these lie within a kernel of another node, or are its operands.
    """

    label: str
    steps: tuple[int, ...]
    results: tuple[int, ...]

    @property
    def node(self) -> str:
        """The name of the node."""
        return node_name(self.label)

    @property
    def operator(self) -> str:
        """That of the node, ``dense`` for a layer of a pipeline."""
        return self.label.partition(" node ")[0] if " node " in self.label else "dense"


@dataclass
class Recording:
    """What an array made of inputs.

    ``package``: a pipeline's layers as steps.  ``given``: inputs by name, of the package's shapes;
    ``codes``: PAL16 codes by tensor.  ``outputs`` by name as they were handed out.  ``saturated``:
    elements by label, of what no layer is called after to that of the step at work.  ``cycles`` by
    step, None where layers run together; ``total`` of the run.
    """

    package: Package
    given: Mapping[str, NDArray]
    codes: dict[int, Codes] = field(default_factory=dict)
    outputs: dict[str, Values] = field(default_factory=dict)
    saturated: Counter[str] = field(default_factory=Counter)
    cycles: Mapping[int, int] | None = None
    total: int = 0

    @property
    def layers(self) -> list[Layer]:
        """In the order of their first steps."""
        return layers_of(self.package.program)


def layers_of(program: Program) -> list[Layer]:
    """The steps of a program by label."""
    steps: dict[str, list[int]] = {}
    for i, step in enumerate(program.steps):
        steps.setdefault(program.label(step), []).append(i)
    results = program.results.union(program.outputs.values())
    return [
        Layer(
            label, tuple(own), tuple(out for i in own if (out := program.steps[i].out) in results)
        )
        for label, own in steps.items()
    ]


def record(
    package: Package | Pipeline,
    engine: Engine,
    given: Mapping[str, NDArray],
    progress: Progress = lambda done, total: None,
) -> Recording:
    """Run a model and keep everything; raises as ``run``.

    Of a pipeline the array hands out results of the last layer alone: the others are computed, as
    they are in ``spu.model.exact``.
    """
    taken = inputs.checked(package, given)
    if isinstance(package, Pipeline):
        return _of_pipeline(package, engine, taken)
    made, before = Recording(package, taken, cycles=package.cycles()), Counter(engine.nodes)
    labels = {layer.label for layer in made.layers}

    def watch(i: int, sources: list[Codes], out: Codes) -> None:
        step = package.program.steps[i]
        made.codes |= dict(zip(step.sources, sources, strict=True)) | {step.out: out}
        for label, count in (engine.nodes - before).items():
            made.saturated[label if label in labels else package.program.label(step)] += count
        before.update(engine.nodes - before)

    made.outputs = run(package, engine, taken, progress, watch)
    made.total = engine.cycles
    return made


def _of_pipeline(pipeline: Pipeline, engine: Engine, taken: Mapping[str, NDArray]) -> Recording:
    (x,) = taken.values()
    package = in_steps(pipeline, len(x))
    program = package.program
    ((name, given),) = program.inputs.items()
    inner = {name: x.reshape(program.shape(given))}
    made = Recording(package, inner, exact.run(package, inner), run(pipeline, engine, taken))
    ((out, last),) = program.outputs.items()
    shape, bias = program.shape(last), package.bias(last)
    made.codes[last] = model.encode16(made.outputs[out].reshape(shape), bias)
    made.saturated, made.total = Counter(engine.nodes), engine.cycles
    return made


def real_operands(package: Package, i: int, tensors: Mapping[int, Operand]) -> list[Values]:
    """Of a step in float64 or integers, constants as the model has them."""
    program = package.program
    return [
        program.tensors[s].values
        if program.tensors[s].known
        else exact.decoded(tensors[s], bias)
        if program.is_real(s)
        else tensors[s]
        for s, bias in zip(program.steps[i].sources, package.source_biases(i), strict=True)
    ]


def alone(recording: Recording, layer: Layer) -> dict[int, Values]:
    """Tensors of a layer in float64, of the operands that the array had for it."""
    package, made = recording.package, dict[int, Operand]()
    for i in layer.steps:
        sources = real_operands(package, i, recording.codes | made)
        made[package.program.steps[i].out] = values.made(package.program, i, sources)
    return made


def switched(recording: Recording, layer: Layer) -> dict[str, Values]:
    """Outputs with one layer in float64, its results not rounded, all others as on the array."""
    package, program = recording.package, recording.package.program
    tensors, changed = dict[int, Operand](recording.codes), set[int]()
    own = set(layer.steps)
    for i in range(layer.steps[0], len(program.steps)):
        step = program.steps[i]
        if i in own:
            tensors[step.out] = values.made(program, i, real_operands(package, i, tensors))
        elif changed.intersection(step.sources):
            tensors[step.out] = exact.made(package, i, exact.operands(package, i, tensors))
        else:
            continue
        changed.add(step.out)
    return {
        name: exact.valued(package, i, tensors[i]) if i in changed else recording.outputs[name]
        for name, i in program.outputs.items()
    }
