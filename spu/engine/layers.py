"""What the layers of a pipeline lose, told as for a model in steps, see ``meaning``.

The array hands out results of the last layer alone.  Those on the way are computed here by numpy,
bit for bit as the array has them.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.model import edge
from spu.arch.blocks import reblock
from spu.arch.operations import constant_codes
from spu.arch.package.compiled import Package
from spu.arch.package.expression import apply, variable
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.product import weight_blocks
from spu.arch.package.program import Map, Product, Program, Tensor
from spu.arch.package.ranges import Ranges
from spu.arch.params import BLOCK
from spu.engine.meaning import Meaning

#: Products that are held in memory at once.
MOST_PRODUCTS = 1 << 20

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
    current = {given: _rounded(x, package.bias(given))}
    for i, step in enumerate(program.steps):
        before = current
        current = {step.out: result_of(package, i, before[step.sources[0]])}
        found += meaning.step(i, (known | before | current).__getitem__)
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


def result_of(package: Package, i: int, x: Values) -> Values:
    """What the array makes of the first operand of a step of ``in_steps``."""
    program = package.program
    step, constant = program.steps[i], program.tensors[program.steps[i].sources[1]].constant
    bias = package.bias(step.out)
    assert constant is not None
    if isinstance(step, Product):
        return model.decode16(_product(package, i, x[0], constant[0])[None], bias)
    assert isinstance(step, Map)
    made = model.add16(model.encode16(x, bias), constant_codes(constant, bias))
    return model.decode16(model.relu16(made) if step.expression.op == "relu" else made, bias)


def _product(package: Package, i: int, x: Values, weights: Values) -> NDArray[np.uint16]:
    """PAL16 codes (n, outputs), of ``x`` (n, depth), some vectors at a time."""
    fmt, of_weights, dot = package.formats[i], package.weight_format(i), package.arch.dot
    bias = package.source_biases(i)[0]
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % BLOCK)))
    codes, beta = reblock(model.encode16(padded, bias).reshape(len(x), -1, BLOCK), fmt)
    columns, column_beta, t_weight = weight_blocks(weights, of_weights)
    offset = package.bias(package.program.steps[i].out) - bias - t_weight
    some = max(1, MOST_PRODUCTS // columns.size)
    out = [np.zeros((0, len(columns)), np.uint16)]
    for first in range(0, len(x), some):
        taken = slice(first, first + some)
        acc, nan = edge.dot(
            codes[taken].reshape(-1, 1, padded.shape[1]),
            beta[taken, None],
            columns[None],
            column_beta[None],
            fmt,
            of_weights,
            dot,
        )
        out.append(model.encode_accumulator(acc, nan, offset, dot))
    return np.concatenate(out)


def _rounded(x: Values, bias: int) -> Values:
    return model.decode16(model.encode16(x, bias), bias)
