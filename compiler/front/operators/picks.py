"""Elements put at places that constant indices name."""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.lowering import Lowering
from compiler.front.named import axis_of
from compiler.front.onnx_graph import Operator
from compiler.front.registry import operator

#: Operations of reductions, and the value that changes nothing.
REDUCTIONS = {"add": ("add", 0.0), "mul": ("mul", 1.0), "max": ("max", None), "min": ("min", None)}


@operator("ScatterElements", "Scatter")
def scatter_elements(low: Lowering, node: Operator) -> int:
    """ScatterElements, and Scatter before it: the tensor with updates put where constant indices
    along ``axis`` say, or added to, multiplied by, compared with what is there (``reduction``).

    Raises ``CompileError`` for indices of another shape than the updates, beyond the axis, or two
    of one place without ``reduction``.
    """
    indices, shape = low.known(node, 1), low.program.shape(low.tensor(node.inputs[0]))
    assert indices is not None
    places = _along(indices, shape, axis_of(node.attributes["axis"], len(shape)))
    return _scattered(low, node, np.ravel_multi_index(places, shape), indices.shape)


@operator("ScatterND")
def scatter_nd(low: Lowering, node: Operator) -> int:
    """ScatterND: the tensor with slices put at constant tuples of indices (..., depth), or
    combined with what is there as ``reduction`` says.

    Raises ``CompileError`` for indices that do not fit the axes or the updates, or two of one
    place without ``reduction``.
    """
    indices, shape = low.known(node, 1), low.program.shape(low.tensor(node.inputs[0]))
    assert indices is not None
    depth = indices.shape[-1] if indices.ndim else 0
    if not 1 <= depth <= len(shape):
        raise CompileError(f"indices of {depth} axes into {len(shape)}")
    every = np.arange(prod(shape)).reshape(shape)
    places = every[tuple(np.moveaxis(indices, -1, 0))]
    return _scattered(low, node, places, (*indices.shape[:-1], *shape[depth:]))


def _along(indices: NDArray, shape: Sequence[int], axis: int) -> tuple[NDArray, ...]:
    """Places of all axes, of indices along one; those below 0 count from the end."""
    if indices.ndim != len(shape) or any(
        n > m for k, (n, m) in enumerate(zip(indices.shape, shape, strict=True)) if k != axis
    ):
        raise CompileError(f"indices of shape {indices.shape} do not fit {tuple(shape)}")
    if ((indices < -shape[axis]) | (indices >= shape[axis])).any():
        raise CompileError(f"an index beyond the {shape[axis]} of axis {axis}")
    places: list[NDArray] = list(np.indices(indices.shape, sparse=True))
    places[axis] = np.where(indices < 0, indices + shape[axis], indices)
    return tuple(np.broadcast_arrays(*places))


def _scattered(low: Lowering, node: Operator, places: NDArray, wanted: tuple[int, ...]) -> int:
    """The data with updates at ``places``, counted over all of it."""
    program = low.program
    data, updates = low.tensor(node.inputs[0]), low.tensor(node.inputs[2])
    name = node.attributes.get("reduction", "none")
    if program.shape(updates) != wanted:
        raise CompileError(f"updates have the shape {program.shape(updates)}, not {wanted}")
    flat = places.ravel()
    order = np.argsort(flat, kind="stable")
    at, first, counts = np.unique(flat[order], return_index=True, return_counts=True)
    if name == "none" or not flat.size:
        if (counts > 1).any():
            raise CompileError("two indices of one place: which update stays is not defined")
        return program.layout([data, updates], lambda d, u: _put(d, at, u.ravel()[order]))
    if name not in REDUCTIONS or (node.version < 18 and name in ("max", "min")):
        raise CompileError(f"reduction {name!r} of version {node.version} is unknown")
    op, fill = REDUCTIONS[name]
    parts = [program.layout([data], lambda i: i.ravel()[at])]
    for k in range(int(counts.max())):
        # The updates of each place one after another; where there are no more, nothing changes.
        own = order[first + np.minimum(k, counts - 1)]
        if fill is None:
            part = program.layout([updates], lambda u, own=own: u.ravel()[own])
        else:
            there = counts > k
            part = program.layout(
                [updates], lambda u, own=own, there=there: np.where(there, u.ravel()[own], -1), fill
            )
        parts.append(part)
    return program.layout([data, program.combine(op, parts)], lambda d, u: _put(d, at, u))


def _put(data: NDArray, at: NDArray, values: NDArray) -> NDArray:
    """A copy with values at places."""
    out = data.ravel().copy()
    out[at] = values
    return out.reshape(data.shape)
