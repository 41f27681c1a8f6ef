"""Matrix products as the PAL model predicts them: no array, no program."""

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.model import edge
from spu.arch.blocks import encode_blocks
from spu.arch.package.product import Gemm


def predicted_codes(plan: Gemm, x: NDArray, weight: NDArray, t_in: int = 0) -> NDArray[np.uint16]:
    """PAL16 codes (rows, outputs) of a product."""
    fmt, dot, depth = plan.fmt, plan.arch.dot, plan.ii * plan.steps * plan.arch.lanes
    pad = ((0, 0), (0, depth - plan.depth))
    codes, beta, _ = encode_blocks(np.pad(x, pad), fmt, t_in)
    w_codes, w_beta, t_weight = encode_blocks(np.pad(weight.T, pad), plan.weights)
    bound = np.abs(weight).sum(axis=0).max() * 2.0 ** (t_in / 8)
    offset = int(model.bias_for(bound)) - t_in - t_weight
    out = np.zeros((len(x), weight.shape[1]), np.uint16)
    for row in range(len(x)):
        acc, nan = edge.dot(
            codes[row][None], beta[row][None], w_codes, w_beta, fmt, plan.weights, dot
        )
        out[row] = model.encode_accumulator(acc, nan, offset, dot)
    return out
