"""Primitives that take elements by indices: known ones, or of a run, which the host looks up."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from compiler.front.jax.lowering import Lowering, computed
from compiler.front.jax.moves import tensors_alike
from compiler.front.jax.registry import Value, primitive


@primitive("gather")
def gather(low: Lowering, eqn: Any, x: Value, indices: Value) -> Value:
    """Elements by known indices, or rows of one axis by indices of a run.

    Raises ``CompileError`` for known indices beyond an axis, and for indices of a run into several
    axes; an index of a run beyond its axis is an error of that run.
    """
    (source,) = tensors_alike(low, (x,))
    if isinstance(indices, np.ndarray):
        # What JAX would fill in is no element's place.
        of_places = eqn.replace(params={**eqn.params, "fill_value": -1})

        def arrange(i: NDArray) -> NDArray:
            return np.asarray(computed(of_places, [i.astype(np.int32), indices])[0], np.int64)

        found = low.program.layout([source], arrange)
        if (arrange(np.arange(low.program.tensors[source].size).reshape(low.shape(x))) < 0).any():
            raise CompileError("a constant index beyond its axis")
        return found
    numbers, shape = eqn.params["dimension_numbers"], low.shape(x)
    axes = tuple(numbers.start_index_map)
    one = len(axes) == 1 and tuple(numbers.collapsed_slice_dims) == axes
    if not one or numbers.operand_batching_dims:
        raise CompileError("indices of a run take rows of one axis")
    (axis,) = axes
    wanted = tuple(1 if k == axis else n for k, n in enumerate(shape))
    if tuple(eqn.params["slice_sizes"]) != wanted:
        raise CompileError("indices of a run take whole rows")
    ids = low.program.layout([low.of_host(indices)], lambda i: i[..., 0])
    made = low.program.on_host("gather", source, ids, axis=int(axis), negative=False)
    # Its axes are those before, of indices, and behind; JAX says where those of rows are.
    rank, several = len(low.shape(ids)), len(shape) - 1
    rows = [*range(axis), *range(axis + rank, axis + rank + several - axis)]
    order = [0] * (rank + several)
    of_ids = iter(range(axis, axis + rank))
    of_rows = dict(zip(numbers.offset_dims, rows, strict=True))
    for place in range(rank + several):
        order[place] = of_rows[place] if place in of_rows else next(of_ids)
    return low.program.layout([made], lambda i: i.transpose(order))


@primitive("dynamic_slice")
def dynamic_slice(low: Lowering, eqn: Any, x: Value, *starts: Value) -> Value:
    """A part from indices on, which are moved so that it lies within."""
    (out,) = tensors_alike(low, (x,))
    program = low.program
    for axis, (start, size) in enumerate(zip(starts, eqn.params["slice_sizes"], strict=True)):
        last = low.shape(out)[axis] - size
        if last == 0:
            continue
        if isinstance(start, np.ndarray):
            first = int(np.clip(start, 0, last))
            ids = program.constant(np.arange(first, first + size))
        else:
            wide = program.on_host("cast", start, to="int64")
            low_end = program.on_host("max", wide, program.constant(np.array(0, np.int64)))
            begin = program.on_host("min", low_end, program.constant(np.array(last, np.int64)))
            ids = program.on_host("add", begin, program.constant(np.arange(size)))
        out = program.on_host("gather", out, ids, axis=axis, negative=False)
    return out
