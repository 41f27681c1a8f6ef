"""Chains of dense layers for tests and studies: built from arrays, compiled as a pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.build import VECTORS
from compiler.front.lower import lower
from compiler.front.onnx_graph import read
from compiler.ir.builder import Builder
from compiler.map.pipeline.chain import chain_of, fixed_ranges
from compiler.map.pipeline.compile import Compiled, compile_chain
from compiler.passes.fuse import fuse
from pal_units.formats import PAL8T, Format
from spu.arch.package.expression import apply, variable
from spu.arch.package.program import Program
from spu.arch.params import Architecture


@dataclass(frozen=True)
class Layer:
    """``y = relu?(x @ weight + bias)``; weight ``(K, N)`` and bias ``(N,)``, float64."""

    name: str
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    relu: bool


def program_of(name: str, layers: tuple[Layer, ...]) -> Program:
    """The tensor program of layers, of one vector."""
    program = Builder(name)
    current = program.inputs["input"] = program.tensor((1, len(layers[0].weight)))
    for layer in layers:
        program.current = f"Gemm node {layer.name!r}"
        total = program.product(current, program.constant(layer.weight))
        current = program.map(variable(0) + variable(1), total, program.constant(layer.bias))
        if layer.relu:
            current = program.map(apply("relu", variable(0)), current)
    program.outputs["output"] = current
    return fuse(program)


def forward(layers: tuple[Layer, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Real-valued result, shape ``(n, inputs)`` to ``(n, outputs)``."""
    for layer in layers:
        x = x @ layer.weight + layer.bias
        x = np.maximum(x, 0) if layer.relu else x
    return x


def pipeline(
    model: Program | Path,
    arch: Architecture,
    fmt: Format = PAL8T,
    input_max: float | None = None,
    **options: Any,
) -> Compiled:
    """A chain, or that of an ONNX file, as a pipeline."""
    program = model if isinstance(model, Program) else lower(read(model), model.stem)
    layers = chain_of(program)
    # As of a model that leaves the number of vectors open.
    return compile_chain(
        program,
        layers,
        fixed_ranges(program, layers, arch, input_max, None),
        arch,
        fmt,
        vectors=(1, VECTORS[-1]),
        **options,
    )


def random_network(
    sizes: Sequence[int], seed: int = 0, relu_last: bool = False
) -> tuple[Layer, ...]:
    """Layers of these numbers of inputs and, last, outputs, with a relu between them."""
    rng = np.random.default_rng(seed)
    layers = [
        Layer(
            f"layer_{i}",
            rng.normal(0, k**-0.5, (k, n)),
            rng.normal(0, 0.3, n),
            i + 2 < len(sizes) or relu_last,
        )
        for i, (k, n) in enumerate(pairwise(sizes))
    ]
    return tuple(layers)
