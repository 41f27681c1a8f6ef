"""Shapes of arrays in blocks: axes, indexing and reshaping that leave blocks whole."""

import operator
import reprlib
from typing import Any

import numpy as np

from pal_units.formats import whole


def normal_axis(axis: Any, ndim: int) -> int:
    """An axis counted from 0.

    Raises ``TypeError`` for no integer, ``ValueError`` for one that is out of range.
    """
    axis = whole("axis", axis)
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must be within the {ndim} axes of x, not {axis}")
    return axis % ndim


def indices(
    index: Any, shape: tuple[int, ...], axis: int, block: int
) -> tuple[tuple[Any, ...], tuple[Any, ...], int]:
    """Indices into codes and block biases that mean ``index``, and the block axis of the result.

    Along ``axis`` an index is a slice of whole blocks; where a block is one element, anything.

    Raises
    ------
    TypeError: an index of another type than numpy takes.
    IndexError: out of range, or too many.
    ValueError: parts of blocks.
    """
    items = _expanded(index, len(shape))
    ends = np.cumsum([_consumed(item) for item in items])
    place = int(np.searchsorted(ends, axis, side="right"))  # of the item that takes the axis
    if block == 1:
        in_biases = items
    else:
        in_biases = [
            *items[:place],
            _blocks(items[place], shape[axis], axis, block),
            *items[place + 1 :],
        ]
    # Where the block axis goes shows in how its length changes a result's shape.
    found = axis
    if isinstance(items[place], slice):
        whole_axis = (*items[:place], slice(None), *items[place + 1 :])
        shapes = [
            np.broadcast_to(np.False_, (*shape[:axis], n, *shape[axis + 1 :]))[whole_axis].shape
            for n in (1, 2)
        ]
        found = next(i for i, (m, n) in enumerate(zip(*shapes, strict=True)) if m != n)
    else:
        result = np.broadcast_to(np.False_, shape)[tuple(items)].ndim
        if not result:
            raise ValueError(
                "a PalArray has at least one axis: take a slice of one element, or index .decode()"
            )
        found = min(axis, result - 1)
    return tuple(items), tuple(in_biases), found


def _expanded(index: Any, ndim: int) -> list[Any]:
    """Items of an index that take all ``ndim`` axes."""
    items = [_item(i) for i in (index if isinstance(index, tuple) else (index,))]
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("an index can have one ellipsis only")
    missing = ndim - sum(map(_consumed, items))
    if missing < 0:
        raise IndexError(f"too many indices: the array has {ndim} axes")
    at = ellipses[0] if ellipses else len(items)
    return [*items[:at], *[slice(None)] * missing, *items[at + 1 :]]


def _item(item: Any) -> Any:
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, slice):
        return slice(
            *(
                None if v is None else whole("a slice's bound", v)
                for v in (item.start, item.stop, item.step)
            )
        )
    if not isinstance(item, (bool, np.bool_)):
        if hasattr(item, "__index__") and not getattr(item, "ndim", 0):
            return operator.index(item)
        array = np.asarray(item)
        if array.size == 0 and not isinstance(item, np.ndarray):
            array = array.astype(np.intp)
        if array.ndim and array.dtype.kind in "iub":
            return array
    raise TypeError(
        "an index is made of integers, slices, ellipsis, None and arrays of integers "
        f"or booleans, not {reprlib.repr(item)}"
    )


def _consumed(item: Any) -> int:
    """Axes that an item takes."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, np.ndarray) and item.dtype.kind == "b" else 1


def _blocks(item: Any, length: int, axis: int, block: int) -> slice:
    """A slice of elements as one of blocks."""
    rule = f"axis {axis} holds blocks of {block}: take whole ones, or index .decode()"
    if not isinstance(item, slice):
        raise ValueError(rule)
    start, stop, step = item.indices(length)
    if step == 1 and start >= stop:
        return slice(0, 0)
    if step != 1 or start % block or (stop % block and stop != length):
        raise ValueError(f"{rule}; not {start}:{stop}" + f":{step}" * (step != 1))
    return slice(start // block, -(-stop // block))


def reshaped_axis(shape: tuple[int, ...], axis: int, block: int, new: tuple[int, ...]) -> int:
    """The block axis of an array of ``shape`` in another shape of as many elements.

    Raises ``ValueError`` if blocks would not lie along an axis, whole and in order.
    """
    behind = _size(shape[axis + 1 :])
    for i, length in enumerate(new):
        if _size(new[i + 1 :]) == behind and (
            length == shape[axis] or not (length % block or shape[axis] % block)
        ):
            return i
    if block == 1:
        return min(axis, len(new) - 1)
    raise ValueError(
        f"reshape from {shape} to {new} would cut the blocks of {block} along axis "
        f"{axis}; encode anew, or reshape .decode()"
    )


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
