"""Which elements of a kernel lie above the top, of which operation, and whether it matters.

The array counts them for a tile.  Here the kernel is evaluated again, element by element, to say
which nodes of the model they belong to; elements that a choice discards are left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import PAL8T
from spu.arch.context import SUM_OPS, Op
from spu.arch.operations import CONSTANT, constant_codes
from spu.arch.package.compiled import Work
from spu.arch.package.expression import COMPARISONS, Expression, operand_bias
from spu.model import exact, saturation
from spu.model.operations import NO_MODE
from spu.model.words import Words

Codes = NDArray[np.uint16]


def saturated(work: Work, sources: Sequence[Codes]) -> tuple[int, Counter[str]]:
    """Elements of a kernel's operations above the top: all, and those that matter by label."""
    above: dict[Expression, NDArray[np.bool_]] = {}

    def look(x: Expression, op: Op, terms: list[Words], mode: Any, out: Words) -> None:
        a, b, c = terms
        if op in SUM_OPS:
            counts = saturation.sums(out, op, a, b, c, np.zeros(1, np.int64))
        else:
            counts = saturation.vector(out, op, a, b, c, mode or NO_MODE, 0, PAL8T)
        above[x] = np.zeros(len(out), bool) if counts is None else counts > 0

    codes = exact.expression(work, [s.ravel() for s in sources], look)
    found: Counter[str] = Counter()
    biases = dict(zip(work[0].steps(), work[1], strict=True))
    for x, matters in _mattering(work[0], codes, biases).items():
        if x in above and (count := int((above[x] & matters).sum())):
            found[x.label] += count
    return sum(int(a.sum()) for a in above.values()), found


def _mattering(
    expression: Expression, codes: dict[Expression, Codes], biases: Mapping[Expression, int]
) -> dict[Expression, NDArray[np.bool_]]:
    """Where the value of each subexpression decides the result: not where another was chosen."""
    out = {x: np.zeros(codes[expression].shape, bool) for x in codes}
    out[expression][:] = True
    for x in reversed(expression.steps()):
        for place, y in enumerate(x.operands):
            if y.op != CONSTANT:
                out[y] |= out[x] & _taken(x, place, codes, biases)
    return out


def _taken(
    x: Expression, place: int, codes: dict[Expression, Codes], biases: Mapping[Expression, int]
) -> NDArray[np.bool_]:
    """Where a result depends on how far an operand is beyond the top."""
    result = codes[x]
    if x.op == "select":
        chosen = codes[x.operands[2]] != 0
        return {0: chosen, 1: ~chosen}.get(place, np.ones_like(chosen))
    if x.op in ("max", "min", "relu"):
        return result == codes[x.operands[place]]
    if x.op == "mul":  # with zero
        other = x.operands[1 - place]
        return codes[other] != 0 if other in codes else np.ones(result.shape, bool)
    if x.op == "exp2":  # of what is far below
        return result != 0
    if x.op in COMPARISONS:  # of what is at the top as well
        other = x.operands[1 - place]
        known = constant_codes(other.value, operand_bias(x, 1 - place, biases))
        return codes[x.operands[place]] == codes.get(other, known)
    return np.ones(result.shape, bool)
