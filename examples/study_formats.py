"""Formats for `spu numerics --format` (docs/howto/own-format.md): one of PAL, and a peer."""

import numpy as np

from pal_units import Codebooks, Format
from verif.baselines.blocks import Quantiser, split

# Four bits on a grid of 1/8 octave; a block of 16 takes one of two rows of levels.
LEVELS = ((24, 16, 11, 8, 5, 2, 0), (16, 11, 8, 6, 4, 2, 0))
BOOKS = Codebooks(positive=LEVELS, negative=LEVELS, bias_zones=((128, 1),))
TWO = Format("PAL4-two", 4, "A", 3, block=16, codebooks=BOOKS)


def ternary(x):
    """-1, 0 and 1 times a float32 scale for 32 numbers."""
    blocks, amax = split(x, 32)
    code = np.rint(blocks / amax)
    count = np.maximum(np.abs(code).sum(axis=-1, keepdims=True), 1)
    scale = (blocks * code).sum(axis=-1, keepdims=True) / count
    return (code * scale.astype(np.float32)).reshape(np.shape(x))


TERNARY = Quantiser("ternary/32", 2 + 32 / 32, ternary)
