"""Pools: the greatest, mean or norm of windows and of whole planes."""

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.operators.windows import Windows
from compiler.front.registry import operator
from compiler.ir import expressions as ex
from spu.arch.package.expression import apply, variable

X, Y = variable(0), variable(1)


@operator("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
def pool(low: Lowering, node: Operator) -> int:
    """MaxPool, AveragePool, LpPool of x (n, channels, *size): (n, channels, *out); global ones
    have one window, the whole plane.

    Padding is never the greatest; averages count it with ``count_include_pad``, but never what is
    beyond it.  The norm is ``(sum |x|^p)^(1/p)``.  One output: indices of the greatest are refused.

    Raises ``CompileError`` for a window of nothing but padding that is not counted, or ``p`` that
    is not positive.
    """
    x, program = low.tensor(node.inputs[0]), low.program
    size = program.shape(x)[2:]
    glob, kind = node.op.startswith("Global"), node.op.removeprefix("Global")
    if not glob and "kernel_shape" not in node.attributes:
        raise CompileError("has no kernel_shape")
    kernel = size if glob else [int(k) for k in node.attributes["kernel_shape"]]
    windows = Windows.of({} if glob else node.attributes, size, kernel)
    counted = bool(node.attributes.get("count_include_pad", 0)) or kind == "LpPool"

    def taken(i: NDArray) -> NDArray:
        out = windows.taken(i)
        if kind == "MaxPool":
            # Padding never is the greatest: some element of the window stands for it.
            out = np.where(out < 0, out.max(axis=-1, keepdims=True), out)
        if (out.max(axis=-1, initial=-1) < 0).any() and not counted:
            raise CompileError("a window lies wholly in the padding: nothing is its result")
        return out

    p = float(node.attributes.get("p", 2))
    if not p > 0:
        raise CompileError(f"p must be positive, not {p:g}")
    if kind == "LpPool":
        x = program.map(ex.power(apply("abs", X), p), x)
    values = program.layout([x], taken)
    out = program.reduce("max" if kind == "MaxPool" else "add", values, (-1,))
    out = program.layout([out], lambda i: i[..., 0])
    match kind:
        case "AveragePool":
            return program.map(X * Y, out, program.constant(1 / windows.count(counted)))
        case "LpPool":
            return program.map(ex.power(X, 1 / p), out)
    return out
