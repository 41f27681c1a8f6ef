"""Matrix products and convolutions."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.onnx_graph import Operator
from compiler.front.operators.windows import Windows
from compiler.front.registry import operator
from compiler.ir.builder import Builder
from spu.arch.package.expression import variable

X, Y = variable(0), variable(1)


@operator("MatMul")
def matmul(low: Lowering, node: Operator) -> int:
    """MatMul, as ``numpy.matmul``: of vectors, matrices, and stacks of these that broadcast."""
    return multiplied(low.program, *low.inputs(node))


def multiplied(program: Builder, a: int, b: int) -> int:
    """``numpy.matmul`` of two tensors."""
    shapes = [program.shape(t) for t in (a, b)]
    if len(shapes[0]) == 1:
        a = program.layout([a], lambda i: i[None])
    if len(shapes[1]) == 1:
        b = program.layout([b], lambda i: i[:, None])
    out = program.product(a, b)
    drop = tuple(axis for axis, s in ((-2, shapes[0]), (-1, shapes[1])) if len(s) == 1)
    return program.layout([out], lambda i: i.squeeze(drop)) if drop else out


@operator("Gemm")
def gemm(low: Lowering, node: Operator) -> int:
    """Gemm, ``alpha A B + beta C``: matrices, of which ``transA`` and ``transB`` transpose.

    A (M, K), B (K, N); C, which may be left out, broadcasts to (M, N).

    Raises ``CompileError`` for C of another shape before version 7 if ``broadcast`` is 0.
    """
    a, b, *c = low.inputs(node)
    program, attributes = low.program, node.attributes
    if attributes.get("transA", 0):
        a = program.layout([a], np.transpose)
    if attributes.get("transB", 0):
        b = program.layout([b], np.transpose)
    out, alpha = program.product(a, b), float(attributes.get("alpha", 1.0))
    beta = float(attributes.get("beta", 1.0)) if c else 0.0
    scaled = X * alpha if alpha != 1 else X
    if not beta:
        return program.map(scaled, out)
    if not attributes.get("broadcast", 1) and program.shape(c[0]) != program.shape(out):
        raise CompileError(
            f"C of shape {program.shape(c[0])} must have that of the product, "
            f"{program.shape(out)}: attribute broadcast is 0"
        )
    return program.map(scaled + (Y * beta if beta != 1 else Y), out, c[0])


@operator("Conv")
def conv(low: Lowering, node: Operator) -> int:
    """Conv of any number of spatial axes, as a product of windows and filters.

    x (n, channels, *size), weights (filters, channels / groups, *kernel), bias (filters,), which
    may be left out; the result is (n, filters, *out), see ``Windows``.

    Raises ``CompileError`` for weights that do not fit the channels in so many groups.
    """
    return convolved(low.program, node.attributes, *low.inputs(node))


def convolved(
    program: Builder, attributes: Mapping[str, Any], x: int, weight: int, *bias: int
) -> int:
    """A convolution of tensors, with the attributes of Conv; see there.

    Raises ``CompileError`` for weights that do not fit the channels in so many groups.
    """
    groups = int(attributes.get("group", 1))
    n, channels, *size = program.shape(x)
    filters, depth, *kernel = program.shape(weight)
    if groups < 1 or depth * groups != channels or filters % groups:
        raise CompileError(
            f"weights of shape {program.shape(weight)} do not fit "
            f"{channels} channels in {groups} groups"
        )
    windows = Windows.of(attributes, size, kernel)
    positions, elements = prod(windows.out), prod(kernel)

    def rows(i: NDArray) -> NDArray:
        """Groups, rows of windows of all images, elements of a window."""
        taken = windows.taken(i).reshape(n, groups, depth, positions, elements)
        return taken.transpose(1, 0, 3, 2, 4).reshape(groups, n * positions, depth * elements)

    columns = program.layout(
        [weight],
        lambda i: i.reshape(groups, filters // groups, depth * elements).transpose(0, 2, 1),
    )
    out = program.product(program.layout([x], rows), columns)
    out = program.layout(
        [out],
        lambda i: (
            i.reshape(groups, n, positions, filters // groups)
            .transpose(1, 0, 3, 2)
            .reshape(n, filters, *windows.out)
        ),
    )
    if not bias:
        return out
    wide = program.layout([bias[0]], lambda i: i.reshape(-1, *[1] * len(size)))
    return program.map(X + Y, out, wide)
