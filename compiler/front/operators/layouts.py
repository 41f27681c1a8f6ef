"""Operators that move elements: they cost nothing on the array."""

from math import prod

import numpy as np

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.named import axis_of
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator


@operator("Flatten")
def flatten(low: Lowering, node: Operator) -> int:
    """Flatten: a matrix, the dimensions before ``axis`` as rows, those from it on as columns."""
    x = low.tensor(node.inputs[0])
    shape = low.program.shape(x)
    axis = int(node.attributes.get("axis", 1))
    axis = axis + len(shape) if axis < 0 else axis
    return low.program.layout([x], lambda i: i.reshape(prod(shape[:axis]), prod(shape[axis:])))


@operator("Reshape")
def reshape(low: Lowering, node: Operator) -> int:
    """Reshape to a shape that must be constant, an input or an attribute of old versions.

    There -1 stands for what is left, 0 for the dimension of the input unless ``allowzero`` is set.

    Raises ``CompileError`` for a node without shape.
    """
    x, wanted = low.tensor(node.inputs[0]), low.known(node, 1, "shape")
    if wanted is None:
        raise CompileError("has no shape")
    old, keep = low.program.shape(x), not node.attributes.get("allowzero", 0)
    shape = [old[k] if n == 0 and keep else int(n) for k, n in enumerate(wanted.ravel())]
    return low.program.layout([x], lambda i: i.reshape(shape))


@operator("Transpose")
def transpose(low: Lowering, node: Operator) -> int:
    """Transpose: axes in the order of ``perm``, by default backwards."""
    return low.program.layout(
        [low.tensor(node.inputs[0])], lambda i: i.transpose(node.attributes.get("perm"))
    )


@operator("Expand")
def expand(low: Lowering, node: Operator) -> int:
    """Expand: the input broadcast with a constant shape, each to the other as numpy does."""
    x, wanted = low.tensor(node.inputs[0]), low.known(node, 1)
    assert wanted is not None
    shape = np.broadcast_shapes(low.program.shape(x), tuple(int(n) for n in wanted.ravel()))
    return low.program.broadcast(x, shape)


@operator("Concat")
def concat(low: Lowering, node: Operator) -> int:
    """Concat of any number of tensors along ``axis``."""
    axis = node.attributes.get("axis", 1)  # of version 1, the only one with a default
    return low.program.layout(low.inputs(node), lambda *parts: np.concatenate(parts, axis))


@operator("Split")
def split(low: Lowering, node: Operator) -> list[int]:
    """Split along ``axis`` into parts of constant lengths, or of equal ones; a tensor for each.

    The last of equal ones are shorter where their number does not divide the axis.

    Raises ``CompileError`` for lengths that do not make up the axis.
    """
    x = low.tensor(node.inputs[0])
    shape = low.program.shape(x)
    axis = axis_of(node.attributes.get("axis", 0), len(shape))  # version 1 states no default
    sizes = low.known(node, 1, "split")
    if sizes is None:
        count = int(node.attributes.get("num_outputs", len(node.outputs)))
        each = -(-shape[axis] // count)
        sizes = np.diff(np.minimum(np.arange(count + 1) * each, shape[axis]))
    if sizes.sum() != shape[axis] or (sizes < 0).any():
        raise CompileError(f"parts of {sizes.tolist()} do not make up {shape[axis]}")
    ends = np.cumsum(sizes).tolist()
    return [
        low.program.layout([x], lambda i, a=end - int(n), b=end: np.take(i, range(a, b), axis))
        for n, end in zip(sizes, ends, strict=True)
    ]


@operator("Slice")
def slice_of(low: Lowering, node: Operator) -> int:
    """Slice: elements from ``starts`` to before ``ends`` in steps that may go back.

    All of it must be constant.  Positions below 0 count from the end, what is beyond an end is
    taken for it; ``axes`` are all from the first on, steps 1, where nothing is given.

    Raises ``CompileError`` for a node without starts or ends, or if the four differ in length.
    """
    x = low.tensor(node.inputs[0])
    shape = low.program.shape(x)
    starts, ends = low.known(node, 1, "starts"), low.known(node, 2, "ends")
    if starts is None or ends is None:
        raise CompileError("has no starts and ends")
    axes = low.axes(node, len(shape), 3) or tuple(range(len(starts)))
    steps = low.known(node, 4)
    steps = np.ones_like(starts) if steps is None else steps
    if len({len(starts), len(ends), len(axes), len(steps)}) > 1:
        raise CompileError("starts, ends, axes and steps differ in length")
    chosen = [range(n) for n in shape]
    for axis, start, end, step in zip(
        axes, map(int, starts), map(int, ends), map(int, steps), strict=True
    ):
        size = shape[axis]
        # Positions beyond an end are taken for it: of the elements if steps go back.
        low_end, high_end = (0, size) if step > 0 else (-1, size - 1)
        first, last = (p + size if p < 0 else p for p in (start, end))
        chosen[axis] = range(min(max(first, 0), high_end), min(max(last, low_end), high_end), step)
    return low.program.layout([x], lambda i: i[np.ix_(*chosen)] if chosen else i)


@operator("Squeeze")
def squeeze(low: Lowering, node: Operator) -> int:
    """Squeeze: takes out axes of length 1, the constant ``axes`` or, without these, all."""
    x = low.tensor(node.inputs[0])
    axes = low.axes(node, len(low.program.shape(x)))
    return low.program.layout([x], lambda i: i.squeeze(axes))


@operator("Unsqueeze")
def unsqueeze(low: Lowering, node: Operator) -> int:
    """Unsqueeze: constant ``axes`` of length 1 more, counted in the result.

    Raises ``CompileError`` for a node without axes.
    """
    x, axes = low.tensor(node.inputs[0]), low.known(node, 1, "axes")
    if axes is None:
        raise CompileError("has no axes")
    return low.program.layout([x], lambda i: np.expand_dims(i, tuple(int(a) for a in axes.ravel())))
