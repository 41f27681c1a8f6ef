"""CumSum: sums of all elements up to each, in as many steps as the length has bits."""

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.named import axis_of
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator
from spu.arch.package.expression import variable


@operator("CumSum")
def cumsum(low: Lowering, node: Operator) -> int:
    """CumSum along a constant ``axis``, of elements before each too (``exclusive`` without itself),
    or after each (``reverse``).

    Step k adds the sum of 2^k elements to that of the 2^k next to them.  Raises ``CompileError``
    for an axis that is no single number.
    """
    x, axes, program = low.tensor(node.inputs[0]), low.known(node, 1), low.program
    if axes is None or axes.size != 1:
        raise CompileError("axis must be one number")
    axis = axis_of(int(axes.ravel()[0]), len(program.shape(x)))
    length, back = program.shape(x)[axis], bool(node.attributes["reverse"])

    def shifted(i: NDArray, by: int) -> NDArray:
        """The element so far before each, or after; none at the end."""
        lines = np.moveaxis(i, axis, 0)
        none = np.full_like(lines[:by], -1)
        moved = np.concatenate([lines[by:], none]) if back else np.concatenate([none, lines[:-by]])
        return np.moveaxis(moved, 0, axis)

    if node.attributes["exclusive"] and length:
        x = program.layout([x], lambda i: shifted(i, 1))
    by = 1
    while by < length:
        x = program.map(
            variable(0) + variable(1), x, program.layout([x], lambda i, by=by: shifted(i, by))
        )
        by *= 2
    return x
