"""What the layers of a pipeline lose, told as for a model in steps, see ``meaning``.

The array hands out results of the last layer alone.  Those on the way are computed again, bit for
bit as the array has them, see ``spu.model.exact``.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from spu.arch.package.compiled import Package
from spu.arch.package.expression import apply, variable
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Map, Product, Program, Tensor
from spu.arch.package.ranges import Ranges
from spu.engine.meaning import Meaning
from spu.model import exact

Values = NDArray[np.float64]


def lost_elements(pipeline: Pipeline, x: Values) -> Counter[str]:
    """How many elements of the output are not what the model means, by layer.

    ``x`` (n, inputs): vectors as they are given.
    """
    package = in_steps(pipeline, len(x))
    program, meaning = package.program, Meaning(package)
    ((name, given),) = program.inputs.items()
    x = x.reshape(program.shape(given))
    found = meaning.input(given, name, x, x)
    known = {i: t.constant for i, t in enumerate(program.tensors) if t.constant is not None}
    codes = {given: model.encode16(x, package.bias(given))}
    for i, step in enumerate(program.steps):
        codes[step.out] = exact.made(package, i, exact.operands(package, i, codes))
        values = {s: model.decode16(c, package.bias(s)) for s, c in codes.items()}
        found += meaning.step(i, (known | values).__getitem__)
        codes.pop(step.sources[0])
    return found


def in_steps(pipeline: Pipeline, vectors: int) -> Package:
    """The layers as a program of so many vectors, a product and a map each, without what runs it.

    Its only input and output have the shape (1, vectors, elements).
    """
    arch, told = pipeline.arch, pipeline.report["layers"]
    program = Program(pipeline.report["name"])
    ranges = Ranges({}, {}, fixed=True)

    def tensor(width: int, bias: int) -> int:
        program.tensors.append(Tensor((1, vectors, width)))
        ranges.tensors[len(program.tensors) - 1] = bias
        return len(program.tensors) - 1

    def constant(values: Values) -> int:
        program.tensors.append(Tensor(values.shape, values))
        return len(program.tensors) - 1

    current = tensor(len(pipeline.layers[0].weight), told[0]["tensor_bias"]["in"])
    program.inputs[pipeline.input] = current
    for layer, about in zip(pipeline.layers, told, strict=True):
        width, bias = layer.weight.shape[1], about["tensor_bias"]["out"]
        total = tensor(width, bias)
        program.steps.append(Product(total, current, constant(layer.weight[None])))
        current = tensor(width, bias)
        expression = variable(0) + variable(1)
        expression = apply("relu", expression) if about["relu"] else expression
        added = constant(np.tile(layer.bias, (1, vectors, 1)))
        ranges.nodes[len(program.steps)] = (bias,) * len(expression.steps())
        program.steps.append(Map(current, (total, added), expression))
        program.labels |= dict.fromkeys((total, current), about["name"])
        program.results.add(current)
    program.outputs[pipeline.output] = current
    fmt = arch.data_format(pipeline.report["format"])
    return Package(
        program,
        arch,
        ranges,
        {i: fmt for i, step in enumerate(program.steps) if isinstance(step, Product)},
        {},
        weights=arch.weight_format(pipeline.report["weights"]),
    )
