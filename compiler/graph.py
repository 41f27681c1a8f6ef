"""Task graphs: what to compute, in real numbers and in PAL codes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import Format


@dataclass(frozen=True)
class Layer:
    """``y = relu?(x @ weight + bias)``; weight ``(K, N)`` and bias ``(N,)``, float64."""

    name: str
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    relu: bool


@dataclass(frozen=True)
class Network:
    """Layers in order; each takes the result of the one before it.

    ``input``: name of the graph's input.
    """

    name: str
    layers: tuple[Layer, ...]
    input: str = "input"

    @property
    def inputs(self) -> int:
        """Elements of an input vector."""
        return self.layers[0].weight.shape[0]

    @property
    def outputs(self) -> int:
        """Elements of an output vector."""
        return self.layers[-1].weight.shape[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one input vector."""
        return sum(layer.weight.size for layer in self.layers)

    def forward(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Real-valued result, shape ``(n, inputs)`` to ``(n, outputs)``."""
        for layer in self.layers:
            x = x @ layer.weight + layer.bias
            x = np.maximum(x, 0) if layer.relu else x
        return x


@dataclass(frozen=True)
class QuantisedLayer:
    """A layer in PAL codes, its inputs and outputs padded to whole blocks or groups.

    ``codes`` ``(N, K)`` and ``beta`` ``(N, blocks)`` are the weights, one row a result;
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
        return self.t_out - self.t_in - self.t_weight


@dataclass(frozen=True)
class QuantisedNetwork:
    """A network in PAL codes of ``fmt``; inputs are encoded with tensor bias ``t_in``."""

    name: str
    fmt: Format
    layers: tuple[QuantisedLayer, ...]
    inputs: int
    input_max: float
    macs: int

    @property
    def outputs(self) -> int:
        return self.layers[-1].outputs
