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
    codes = {given: model.encode16(x, package.bias(given))}
    for i, step in enumerate(program.steps):
        codes[step.out] = exact.made(package, i, exact.operands(package, i, codes))
        values = {s: model.decode16(c, package.bias(s)) for s, c in codes.items()}
        values |= {
            s: program.tensors[s].values
            for s in step.sources
            if program.tensors[s].known and not (isinstance(step, Product) and s == step.b)
        }
        found += meaning.step(i, values.__getitem__)
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

    fmt = arch.data_format(pipeline.report["format"])
    package = Package(
        program, arch, ranges, {}, {}, weights=arch.weight_format(pipeline.report["weights"])
    )
    current = tensor(pipeline.layers[0].weight.shape[1], told[0]["tensor_bias"]["in"])
    program.inputs[pipeline.input] = current
    for layer, about in zip(pipeline.layers, told, strict=True):
        width, bias = layer.weight.shape[2], about["tensor_bias"]["out"]
        total = tensor(width, bias)
        program.tensors.append(layer.weight)
        program.steps.append(Product(total, current, len(program.tensors) - 1))
        package.formats[len(program.steps) - 1] = fmt
        if layer.blocks is not None:
            key = len(program.tensors) - 1, package.weight_format(len(program.steps) - 1)
            package.blocks[key] = layer.blocks
        current = tensor(width, bias)
        expression = variable(0) + variable(1)
        expression = apply("relu", expression) if about["relu"] else expression
        added = constant(np.tile(layer.bias, (1, vectors, 1)))
        ranges.nodes[len(program.steps)] = (bias,) * len(expression.steps())
        program.steps.append(Map(current, (total, added), expression))
        program.labels |= dict.fromkeys((total, current), about["name"])
        program.results.add(current)
    program.outputs[pipeline.output] = current
    return package
