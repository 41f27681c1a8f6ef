"""Scales that peers share: E4M3 below a tensor scale, and PAL's block bias in 1/8 octave."""

import numpy as np

from verif.baselines.blocks import Values
from verif.baselines.elements import E4M3

#: Least bias of a block below the tensor's, in 1/8 octave: that of an int8.
BIAS_MIN = -127


def tensor_scale(largest: float, target: float, top: float = E4M3.largest) -> float:
    """Float32 scale that puts a tensor's largest magnitude at ``target`` under a block scale of
    ``top``; 1.0 for a tensor of zeros."""
    return float(np.float32(largest / (target * top))) or 1.0


def e4m3_scales(amax: Values, target: float, tensor: float) -> Values:
    """E4M3 scales that put ``amax`` at ``target``, times the tensor's; never 0."""
    scale = E4M3.round(amax / target / tensor) * tensor
    return np.where(scale == 0, 1.0, scale)


def fine_scales(blocks: Values, bias: Values) -> Values:
    """Scales ``(N, 1)`` of the biases ``(N,)``, in 1/8 octave, of blocks ``(N, block)``.

    None lies further below the highest of a block that is not all zeros than ``BIAS_MIN``.
    """
    used = np.abs(blocks).max(axis=1) > 0
    tensor = bias[used].max() if used.any() else 0.0
    return np.exp2(np.maximum(bias, tensor + BIAS_MIN) / 8)[:, None]
