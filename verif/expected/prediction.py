"""What a quantised network computes, straight from the PAL model: no array, no program."""

import numpy as np
from numpy.typing import NDArray

from compiler.map.pipeline.quantise import QuantisedNetwork
from pal_units import model
from pal_units.model import edge
from spu.arch.blocks import reblock
from spu.arch.params import Architecture


def predict(network: QuantisedNetwork, x: NDArray, arch: Architecture) -> NDArray[np.uint16]:
    """PAL16 codes ``(n, outputs)`` for inputs ``(n, inputs)``, by the array's bits.

    The order of elements within a block does not matter, because block sums are exact;
    so this must equal the array's result bit for bit.
    """
    fmt = network.fmt
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    x = np.pad(x, ((0, 0), (0, -x.shape[1] % fmt.block)))
    values = model.encode16(x, network.layers[0].t_in)
    codes, beta = reblock(values.reshape(len(x), -1, fmt.block), fmt)
    codes = codes.reshape(len(x), -1)
    result = np.zeros((len(x), 0), np.uint16)
    for layer in network.layers:
        width = layer.beta.shape[1] * fmt.block
        weights = np.pad(layer.codes, ((0, 0), (0, width - layer.codes.shape[1])))
        acc, nan = edge.dot(
            codes[:, None, :width],
            beta[:, None, :],
            weights[None],
            layer.beta[None],
            fmt,
            network.weights,
            arch.dot,
        )
        result = model.add16(model.encode_accumulator(acc, nan, layer.offset, arch.dot), layer.bias)
        result = model.relu16(result) if layer.relu else result
        if layer is not network.layers[-1]:
            blocks = result.reshape(len(x), -1, fmt.block)
            codes, beta = reblock(blocks, fmt)
            codes = codes.reshape(len(x), -1)
    return result[:, : network.outputs]
