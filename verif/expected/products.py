"""Matrix products as the PAL model predicts them: no array, no program."""

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from spu.arch.package.product import Gemm
from spu.arch.params import MATRIX_DOT


def predicted_codes(plan: Gemm, x: NDArray, weight: NDArray, t_in: int = 0) -> NDArray[np.uint16]:
    """PAL16 codes (rows, outputs) of a product."""
    fmt, depth = plan.fmt, plan.ii * plan.steps * plan.arch.lanes
    pad = ((0, 0), (0, depth - plan.depth))
    codes, beta, _ = model.encode_blocks(np.pad(x, pad), fmt, t_in)
    w_codes, w_beta, t_weight = model.encode_blocks(np.pad(weight.T, pad), fmt)
    bound = np.abs(weight).sum(axis=0).max() * 2.0 ** (t_in / 8)
    offset = int(model.bias_for(bound)) - t_in - t_weight
    out = np.zeros((len(x), weight.shape[1]), np.uint16)
    for row in range(len(x)):
        acc, nan = model.dot(codes[row][None], beta[row][None], w_codes, w_beta, fmt, MATRIX_DOT)
        out[row] = model.encode_accumulator(acc, nan, offset, MATRIX_DOT)
    return out
