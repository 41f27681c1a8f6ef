"""Real-valued layers to PAL codes, with tensor biases from worst-case bounds."""

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.graph import Layer, Network, QuantisedLayer, QuantisedNetwork
from pal_units import model
from pal_units.formats import Format
from spu.arch.config import OFFSET_BITS
from spu.arch.params import BLOCK, MATRIX_DOT, Architecture

#: Margin on the worst-case bound of a result, for the rounding of codes on the way.
BOUND_MARGIN = 1.05


def quantise(network: Network, arch: Architecture, fmt: Format, input_max: float
             ) -> QuantisedNetwork:
    """Encode weights and biases; choose every tensor bias.

    A result's tensor bias comes from the bound ``|W|^T x_max + |b|``: results cannot
    saturate for inputs up to ``input_max``.  No calibration data are needed, because
    block biases adapt at run time and PAL16 keeps its precision over 32 octaves.

    Raises ``CompileError`` for a non-positive or non-finite ``input_max``, and for
    layers whose range or length the matrix unit cannot take.
    """
    if not (np.isfinite(input_max) and input_max > 0):
        raise CompileError(f"the input bound must be positive and finite, not {input_max}")
    t_in = int(model.bias_for(input_max))
    bound = np.full(network.inputs, float(input_max))
    layers = []
    for position, layer in enumerate(network.layers):
        last = position == len(network.layers) - 1
        bound = np.abs(layer.weight).T @ bound + np.abs(layer.bias)
        t_out = int(model.bias_for(max(bound.max(), np.finfo(np.float32).tiny) * BOUND_MARGIN))
        # The words of an input vector; results of a layer come in whole blocks.
        width = BLOCK if position else arch.codes_per_word(fmt)
        layers.append(_layer(layer, arch, fmt, t_in, t_out, width, last))
        t_in = t_out
    return QuantisedNetwork(network.name, fmt, tuple(layers), network.inputs, float(input_max),
                            network.macs)


def _pad(x: NDArray[np.float64], axis: int, multiple: int) -> NDArray[np.float64]:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % multiple)
    return np.pad(x, widths)


def _layer(layer: Layer, arch: Architecture, fmt: Format, t_in: int, t_out: int, width: int,
           last: bool) -> QuantisedLayer:
    """Inputs padded to ``width``; outputs to blocks, or to column groups for the last layer."""
    outputs = layer.weight.shape[1]
    step = arch.columns if last else max(BLOCK, arch.columns)
    weight = _pad(_pad(layer.weight, 0, BLOCK), 1, step)
    bias = _pad(layer.bias, 0, step)
    blocks = weight.shape[0] // BLOCK
    if blocks > MATRIX_DOT.max_blocks(BLOCK):
        raise CompileError(f"layer {layer.name!r}: {layer.weight.shape[0]} inputs exceed the "
                           f"{MATRIX_DOT.max_blocks(BLOCK) * BLOCK} that the accumulator holds")
    codes, beta, t_weight = model.encode_blocks(weight.T, fmt)
    offset, limit = t_out - t_in - t_weight, 1 << (OFFSET_BITS - 1)
    if not -limit <= offset < limit:
        raise CompileError(f"layer {layer.name!r}: the ratio of result bound to weight and "
                           f"input bounds is 2^({offset}/8), outside 2^(+-{limit // 8})")
    inputs = -(-layer.weight.shape[0] // width) * width
    return QuantisedLayer(layer.name, codes[:, :inputs], beta,
                          model.encode16(bias, t_out), layer.relu, outputs, t_in, t_weight, t_out)
