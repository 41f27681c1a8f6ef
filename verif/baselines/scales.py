"""Scales that peers share: E4M3 below a tensor scale, and PAL's block bias in 1/8 octave."""

import numpy as np

from verif.baselines.blocks import Values
from verif.baselines.elements import E4M3, Element

#: Least bias of a block below the tensor's, in 1/8 octave: that of an int8.
BIAS_MIN = -127


def tensor_scale(largest: float, target: float, top: float = E4M3.largest) -> float:
    """Float32 scale that puts a tensor's largest magnitude at ``target`` under a block scale of
    ``top``; 1.0 for a tensor of zeros."""
    return float(np.float32(largest / (target * top))) or 1.0


def e4m3_scales(amax: Values, target: float, tensor: float) -> Values:
    """E4M3 scales that put ``amax`` at ``target``, in units of the tensor's; 0 for small blocks."""
    return E4M3.round(amax / target / tensor)


def elements(blocks: Values, element: Element, scale: Values) -> Values:
    """Blocks divided by their scales and rounded; 0 under a scale of 0."""
    return element.round(np.where(scale == 0, 0.0, blocks) / np.where(scale == 0, 1.0, scale))


def kept_biases(blocks: Values, bias: Values) -> Values:
    """Biases ``(N,)``, in 1/8 octave, of blocks ``(N, block)`` as they are stored.

    None lies further below the highest of a block that is not all zeros than ``BIAS_MIN``, where
    those of zeros lie.
    """
    used = np.abs(blocks).max(axis=1) > 0
    least = (bias[used].max() if used.any() else 0.0) + BIAS_MIN
    return np.where(used, np.maximum(bias, least), least)


def fine_scales(blocks: Values, bias: Values) -> Values:
    """Scales ``(N, 1)`` of ``kept_biases``."""
    return np.exp2(kept_biases(blocks, bias) / 8)[:, None]
