"""Operations of the array by name: what computes them, how long it takes, and their vector modes.

An operation is named like its ``Op``, in small letters.  ``in`` takes a word of a stream from the
north edge, ``out`` emits one over the south edge, ``const`` is a word that is known beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import PAL16
from spu.arch import timing
from spu.arch.config import VECTOR_MODE
from spu.arch.context import ALU_OPS, READS_B, READS_C, SUM_OPS, VECTOR_OPS, Op, Source

IN, OUT, CONSTANT = "in", "out", "const"
#: What moves a word and changes nothing.
PASS = "pass"
#: Bound of the offset of a vector mode.
MOST_OFFSET = 1 << VECTOR_MODE["offset"].width - 1
#: Logarithm of a result in terms of those of its operands, in halves.
LOGARITHMS = {Op.MUL: (2, 2), Op.DIV: (2, -2), Op.SQRT: (1,), Op.RSQRT: (-1,), Op.RECIP: (-2,)}


@dataclass(frozen=True)
class Operation:
    """``op`` of as many ``operands``; its result is at ``source`` after ``latency`` cycles."""

    op: Op
    source: Source
    latency: int
    operands: int


def _operations() -> dict[str, Operation]:
    units = [
        (VECTOR_OPS, Source.VECTOR, timing.VECTOR),
        (SUM_OPS, Source.SUM, timing.SUM),
        (ALU_OPS, Source.ALU, timing.ALU),
    ]
    found = {
        op.name.lower(): Operation(
            op, source, latency, 1 + (op in READS_B or op is Op.MERGE) + (op in READS_C)
        )
        for ops, source, latency in units
        for op in ops
        if op not in (Op.ACC, Op.UNBLOCK)
    }
    passing = found[PASS]
    return found | {IN: Operation(passing.op, passing.source, passing.latency, 0), OUT: passing}


#: By name.  Sums over time and codes of blocks take registers that a graph does not describe.
OPERATIONS = _operations()


def vector_mode(op: Op, operands: Sequence[int], result: int) -> dict[str, int] | None:
    """The vector mode of an operation whose operands and result have these tensor biases.

    None if it has no use for a mode.  Sums have the bias of their first operand.  Raises
    ``ValueError`` for biases too far from each other.
    """
    if op in (Op.EXP2, Op.LOG2):
        return {"offset": result, "bias": operands[0]}
    if op in LOGARITHMS:
        # The top of the result below that of the operands, in 1/16 octave.
        terms = zip(LOGARITHMS[op], operands, strict=True)
        offset = sum(factor * bias for factor, bias in terms) - 2 * result
    elif op in SUM_OPS:
        offset = 2 * (operands[0] - operands[1]) if len(operands) > 1 else 0
    else:
        return None
    if not -MOST_OFFSET <= offset < MOST_OFFSET:
        raise ValueError(
            f"{op.name.lower()}: magnitudes of operands and result are "
            f"{abs(offset) / 16:g} octaves apart, more than {MOST_OFFSET // 16}"
        )
    return {"offset": offset, "bias": 0}


def constant_codes(values: NDArray | float, bias: int) -> NDArray[np.uint16]:
    """PAL16 codes of constants: nearest, but none other than zero becomes zero."""
    codes = model.encode16(values, bias)
    least = np.where(np.asarray(values) < 0, PAL16.sign_bit | 1, 1)
    return np.where((codes == 0) & (np.asarray(values) != 0), least, codes).astype(np.uint16)
