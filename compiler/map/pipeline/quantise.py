"""A chain of dense layers in PAL codes, for one pipelined program."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compiler.map.pipeline.chain import Dense
from pal_units.formats import Format
from spu.arch.blocks import encode_blocks
from spu.arch.operations import constant_codes
from spu.arch.package.ranges import Ranges
from spu.arch.params import BLOCK, Architecture


@dataclass(frozen=True)
class QuantisedLayer:
    """A layer in PAL codes, its inputs and outputs padded to whole blocks or groups.

    ``codes`` ``(N, K)`` and ``beta`` ``(N, blocks)``, biases or bytes, are the weights, one row a
    result;
    ``bias`` ``(N,)`` are PAL16 codes with tensor bias ``t_out``; ``offset`` is
    ``t_out - t_in - t_weight``.  All biases are in 1/8 octave.
    """

    name: str
    codes: NDArray[np.uint8]
    beta: NDArray[np.int8]
    bias: NDArray[np.uint16]
    relu: bool
    outputs: int
    t_in: int
    t_weight: int
    t_out: int

    @property
    def offset(self) -> int:
        """Of the matrix mode, in 1/8 octave."""
        return self.t_out - self.t_in - self.t_weight


@dataclass(frozen=True)
class QuantisedNetwork:
    """A network in PAL codes: data of ``fmt``, weights of ``weights``; inputs are encoded with
    tensor bias ``t_in``.

    ``macs``: multiply-accumulates for one input vector, without padding.
    """

    name: str
    fmt: Format
    weights: Format
    layers: tuple[QuantisedLayer, ...]
    inputs: int
    macs: int

    @property
    def outputs(self) -> int:
        """Elements of an output vector."""
        return self.layers[-1].outputs

    @property
    def input_max(self) -> float:
        """Largest magnitude of an input."""
        return float(2.0 ** (self.layers[0].t_in / 8))


def quantise(
    name: str,
    layers: Sequence[Dense],
    ranges: Ranges,
    arch: Architecture,
    fmt: Format,
    weights: Format,
) -> QuantisedNetwork:
    """Encode weights and biases under the tensor biases of ``ranges``."""
    made = []
    for position, layer in enumerate(layers):
        last = position == len(layers) - 1
        # The words of an input vector; results of a layer come in whole blocks.
        width = BLOCK if position else arch.codes_per_word(fmt)
        step = arch.columns if last else max(BLOCK, arch.columns)
        weight = _pad(_pad(layer.weight, 0, BLOCK), 1, step)
        codes, beta, t_weight = encode_blocks(weight.T, weights)
        t_in, t_out = ranges.tensors[layer.operand], ranges.tensors[layer.result]
        inputs = -(-len(layer.weight) // width) * width
        made.append(
            QuantisedLayer(
                layer.name,
                codes[:, :inputs],
                beta,
                constant_codes(_pad(layer.bias, 0, step), t_out),
                layer.relu,
                layer.weight.shape[1],
                t_in,
                t_weight,
                t_out,
            )
        )
    return QuantisedNetwork(
        name,
        fmt,
        weights,
        tuple(made),
        len(layers[0].weight),
        sum(layer.weight.size for layer in layers),
    )


def _pad(x: NDArray[np.float64], axis: int, multiple: int) -> NDArray[np.float64]:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % multiple)
    return np.pad(x, widths)
