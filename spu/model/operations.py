"""Operations of the array on words, one at a time."""

import numpy as np

from pal_units.formats import PAL8T
from spu.arch.context import SUM_OPS, VECTOR_OPS, Op
from spu.model import units
from spu.model.words import Words

#: Of operations that have no use for a vector mode.
NO_MODE = {"offset": 0, "bias": 0}


def apply(op: Op, words: list[Words], mode: dict[str, int] | None) -> Words:
    """An operation of the array on three words, some of which it may have no use for."""
    a, b, c = words
    if op in SUM_OPS:
        return units.sums(op, a, b, c, np.zeros(1, np.int64))
    if op in VECTOR_OPS:
        return units.vector(op, a, b, c, mode or NO_MODE, 0, PAL8T)
    return units.alu(op, a, b, c)
