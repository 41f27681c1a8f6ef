"""Chains of dense layers: tensor programs that one pipelined program can compute.

Their tensor biases are fixed beforehand, for every strategy alike: from worst-case bounds
``|W|^T x + |b|``, by which no result saturates, or from inputs that are given.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.passes.fuse import keeps_order
from compiler.passes.ranges import DEFAULT_BIAS, choose
from compiler.passes.samples import Given
from pal_units import model
from pal_units.formats import PAL8T
from spu.arch.config import OFFSET_BITS
from spu.arch.operations import CONSTANT, IN
from spu.arch.package.expression import Expression
from spu.arch.package.product import weight_blocks
from spu.arch.package.program import HostStep, Map, Product, Program, node_name
from spu.arch.package.ranges import Ranges
from spu.arch.params import BLOCK, Architecture

#: Largest magnitude of inputs where nothing else is said.
INPUT_MAX = 1.0
#: Margin on the worst-case bound of a result, for the rounding of codes on the way.
BOUND_MARGIN = 1.05


class NotAChain(CompileError):
    """A program is no chain of dense layers; the message names the node and the rule."""


@dataclass(frozen=True)
class Dense:
    """``relu?(x @ weight + bias)``; weight (K, N) and bias (N,), float64.

    ``label``: the product's node.  ``operand`` and ``result``: tensors of the program.
    """

    label: str
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    relu: bool
    operand: int
    result: int

    @property
    def name(self) -> str:
        """The name of its node in the model, without the operator."""
        return node_name(self.label)


def chain_of(program: Program) -> tuple[Dense, ...]:
    """The layers of a program whose vectors, the first dimension of its input, are independent.

    Of one vector nothing tells its dimension from others of size 1: a chain for any number of them
    is one for two and more (``same_layers``).

    Raises ``NotAChain`` with the first node that is no part of a chain.
    """
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise NotAChain(
            f"{program.name}: a chain of layers has one input and one output, not "
            f"{len(program.inputs)} and {len(program.outputs)}"
        )
    ((name, current),) = program.inputs.items()
    shape = program.shape(current)
    if len(shape) < 2 or not program.tensors[current].size:
        raise NotAChain(
            f"input {name!r} must have vectors along its first dimension, its shape is {shape}"
        )
    if not program.is_real(current):
        raise NotAChain(f"input {name!r} is {program.tensors[current].dtype}, not real numbers")
    vectors, layers, open_layer = shape[0], list[Dense](), False
    for step in program.steps:
        label = program.label(step)
        given = [s for s in step.sources if program.tensors[s].constant is None]
        if given != [current]:
            raise NotAChain(f"{label}: takes not just the result before it, as a layer of a chain")
        if isinstance(step, Product):
            layers.append(_product(program, step, label, vectors))
            open_layer = True
        elif isinstance(step, Map):
            found = _activation(program, step, current, vectors) if open_layer else None
            if found is None:
                raise NotAChain(f"{label}: not the bias or the relu of a dense layer")
            layers[-1] = replace(layers[-1], bias=found[0], relu=found[1])
            open_layer = False
        elif isinstance(step, HostStep):
            raise NotAChain(f"{label}: the host computes it, as in no chain of dense layers")
        elif not keeps_order(program, step):
            raise NotAChain(f"{label}: elements change places, as in no chain of dense layers")
        current = step.out
        if layers:
            layers[-1] = replace(
                layers[-1],
                result=current
                if isinstance(step, Map) or layers[-1].result < 0
                else layers[-1].result,
            )
    if program.outputs != {next(iter(program.outputs)): current} or not layers:
        raise NotAChain(f"{program.name}: the output is not the result of a dense layer")
    if (shape := program.shape(current))[0] != vectors or len(shape) < 2:
        raise NotAChain(
            f"{program.name}: the output of shape {shape} does not have the vectors "
            "along its first dimension"
        )
    return tuple(layers)


def same_layers(one: tuple[Dense, ...], other: tuple[Dense, ...]) -> bool:
    """Whether two chains compute the same."""
    return len(one) == len(other) and all(
        a.relu == b.relu and np.array_equal(a.weight, b.weight) and np.array_equal(a.bias, b.bias)
        for a, b in zip(one, other, strict=True)
    )


def _product(program: Program, step: Product, label: str, vectors: int) -> Dense:
    """A product with constant weights, without bias so far."""
    weights = program.tensors[step.b].constant
    rows = program.shape(step.a)[:2]
    if weights is None or step.a == step.b or rows != (1, vectors) or len(weights) != 1:
        raise NotAChain(f"{label}: not a product of each vector with constant weights")
    return Dense(label, weights[0], np.zeros(weights.shape[2]), False, step.a, -1)


def _activation(
    program: Program, step: Map, current: int, vectors: int
) -> tuple[NDArray[np.float64], bool] | None:
    """Bias and whether there is a relu, if a map is nothing else."""
    width = program.tensors[step.out].size // vectors
    expression = step.expression
    relu = expression.op == "relu"
    if relu:
        (expression,) = expression.operands
    if expression.op == IN:
        return np.zeros(width), relu
    if expression.op != "add":
        return None
    terms = sorted(expression.operands, key=lambda x: not _is_data(step, x, current))
    if not _is_data(step, terms[0], current) or _is_data(step, terms[1], current):
        return None
    if terms[1].op == CONSTANT:
        return np.full(width, terms[1].value), relu
    if terms[1].op != IN:
        return None
    values = program.tensors[step.sources[terms[1].number]].constant
    assert values is not None
    rows = values.reshape(vectors, width)
    return (rows[0], relu) if (rows == rows[0]).all() else None


def _is_data(step: Map, x: Expression, current: int) -> bool:
    return x.op == IN and step.sources[x.number] == current


def fixed_ranges(
    program: Program,
    layers: tuple[Dense, ...],
    arch: Architecture,
    input_max: float | None,
    calibrate: Given | None,
) -> Ranges:
    """Tensor biases of a chain that hold for every run.

    ``input_max``: largest magnitude of any input, by which no result saturates; else, with
    ``calibrate``, as ``ranges.choose``.  Raises ``CompileError`` for an ``input_max`` that is not
    positive and finite, and as ``ranges.choose``; ``NotAChain`` for a layer whose range the matrix
    unit does not take.
    """
    # Refuses what any model is refused for.
    _, ranges = choose(program, DEFAULT_BIAS, calibrate)
    if ranges.meant:
        raise NotAChain(f"{program.name}: constants are as large as masks")
    if calibrate is not None and input_max is None:
        ranges = replace(ranges, masks={}, fixed=True)
    else:
        ranges = _worst_case(program, layers, INPUT_MAX if input_max is None else input_max)
    limit = 1 << (OFFSET_BITS - 1)
    for layer in layers:
        if (blocks := -(-len(layer.weight) // BLOCK)) > arch.dot.max_blocks(BLOCK):
            raise NotAChain(
                f"{layer.label}: {len(layer.weight)} inputs are {blocks} blocks, the "
                f"accumulator holds {arch.dot.max_blocks(BLOCK)}"
            )
        t_weight = weight_blocks(layer.weight, PAL8T)[2]
        offset = ranges.tensors[layer.result] - ranges.tensors[layer.operand] - t_weight
        if not -limit <= offset < limit:
            raise NotAChain(
                f"{layer.label}: the ratio of result bound to weight and input bounds "
                f"is 2^({offset}/8), outside 2^(+-{limit // 8})"
            )
    return ranges


def _worst_case(program: Program, layers: tuple[Dense, ...], input_max: float) -> Ranges:
    """Tensor biases by which no result saturates."""
    if not (np.isfinite(input_max) and input_max > 0):
        raise CompileError(f"the input bound must be positive and finite, not {input_max}")
    bias = int(model.bias_for(input_max))
    bound = np.full(len(layers[0].weight), 2.0 ** (bias / 8))
    following = iter(layers)
    tensors = dict.fromkeys(program.inputs.values(), bias)
    nodes: dict[int, tuple[int, ...]] = {}
    for i, step in enumerate(program.steps):
        if isinstance(step, Product):
            layer = next(following)
            bound = np.abs(layer.weight).T @ bound + np.abs(layer.bias)
            most = max(float(bound.max(initial=0.0)), float(np.finfo(np.float32).tiny))
            bias = int(model.bias_for(most * BOUND_MARGIN))
        elif isinstance(step, Map):
            nodes[i] = tuple(0 if x.op == CONSTANT else bias for x in step.expression.steps())
        tensors[step.out] = bias
    return Ranges(tensors, nodes, notes=tuple(program.notes), fixed=True)
