"""What the host computes between steps of the array: integers, exactly, and choices by index.

An operation is a function of numpy arrays and settings.  Integers and truth values are arrays of
their own type; elements of tensors of real numbers are codes or values, which are moved as they
are, and of which only ``rank``, ``truth`` and ``quantise`` make integers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError

#: Types of tensors that the host computes with.
INTEGERS = (*("bool", "int8", "int16", "int32", "int64"), *("uint8", "uint16", "uint32", "uint64"))
#: Type of a tensor of real numbers, which are PAL16 in a run.
REAL = ""
Shape = tuple[int, ...]
#: Reductions by what they reduce by.
REDUCTIONS: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


@dataclass(frozen=True)
class Operation:
    """``sources``: how many it takes; ``shape``: of the result, for shapes of sources and settings.

    ``data``: places of the sources whose elements the result has, none if it has new ones.
    ``compares``: takes real numbers as well, and makes integers of them.  ``makes_real``: the
    result is real numbers.  ``settings``: names of those that it takes, all of them; of ``sizes``
    the result's type does not depend.
    """

    function: Callable[..., NDArray]
    sources: int
    shape: Callable[..., Shape]
    data: tuple[int, ...] = ()
    compares: bool = False
    makes_real: bool = False
    settings: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()


def apply(name: str, sources: Sequence[NDArray], settings: Mapping[str, Any]) -> NDArray:
    """The result; ``InputError`` for an index that there is not, and a division by zero."""
    with np.errstate(all="ignore"):  # integers wrap around
        return np.asarray(OPERATIONS[name].function(*sources, **settings))


def result(
    name: str, shapes: Sequence[tuple[int, ...]], types: Sequence[str], settings: Mapping[str, Any]
) -> tuple[tuple[int, ...], str]:
    """Shape and type of the result for sources of these; no tensor is made.

    Raises ``ValueError`` for settings, and for sources of numbers and types, that the operation
    does not take, and what numpy has to say of shapes.
    """
    operation = OPERATIONS[name]
    if len(types) != operation.sources:
        raise ValueError(f"{name} takes {operation.sources} tensors, not {len(types)}")
    if set(settings) != set(operation.settings):
        raise ValueError(f"{name} has the settings {sorted(settings)}")
    for setting, value in settings.items():
        if not SETTINGS[setting](value):
            raise ValueError(f"{name} has {setting} {value!r}")
    if name == "where" and types[0] != "bool":
        raise ValueError(f"{name} chooses by truth values, not {types[0] or 'real numbers'}")
    for place, kind in enumerate(types):
        if kind == REAL and place not in operation.data and not operation.compares:
            raise ValueError(f"{name} takes integers, not real numbers")
    moved = {types[place] for place in operation.data}
    if len(moved) > 1:
        raise ValueError(f"{name} takes elements of one type, not {' and '.join(sorted(moved))}")
    shape = operation.shape(*shapes, **settings)
    if moved or operation.makes_real:
        return shape, moved.pop() if moved else REAL
    # The type is that of one element.
    made = apply(
        name,
        [np.ones([1] * len(s), kind or np.float64) for s, kind in zip(shapes, types, strict=True)],
        {**settings, **dict.fromkeys(operation.sizes, 1)},
    )
    if made.dtype.name not in INTEGERS:
        raise ValueError(f"{name} makes {made.dtype}")
    return shape, made.dtype.name


def _whole(x: Any) -> bool:
    return type(x) is int and x >= 0


#: Whether a setting of this name may have a value.
SETTINGS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("axis", "batch", "count", "depth"), _whole),
    **dict.fromkeys(
        ("exclusive", "keep", "largest", "last", "nan_first", "negative", "of_dividend", "reverse"),
        lambda x: type(x) is bool,
    ),
    "axes": lambda x: isinstance(x, list) and all(map(_whole, x)),
    "by": lambda x: isinstance(x, str) and x in REDUCTIONS,
    "to": lambda x: isinstance(x, str) and x in INTEGERS,
}


# Shapes of results.


def _broadcast(*shapes: Shape, **settings: Any) -> Shape:
    return np.broadcast_shapes(*shapes)


def _resized(shape: Shape, axis: int, size: int) -> Shape:
    """With another size of an axis; ``ValueError`` if there is none such."""
    if axis >= len(shape):
        raise ValueError(f"axis {axis} of a tensor of {len(shape)} dimensions")
    return *shape[:axis], size, *shape[axis + 1 :]


def _reduced_shape(shape: Shape, by: str, axes: Sequence[int], keep: bool) -> Shape:
    if len(set(axes)) < len(axes):
        raise ValueError(f"axes {list(axes)} are not all different")
    for axis in axes:
        shape = _resized(shape, axis, 1)
    return tuple(n for k, n in enumerate(shape) if keep or k not in axes)


def _one_hot_shape(shape: Shape, depth: int, axis: int) -> Shape:
    return _resized((*shape[:axis], 0, *shape[axis:]), axis, depth)


def _gathered_shape(shape: Shape, ids: Shape, axis: int, negative: bool = True) -> Shape:
    _resized(shape, axis, 0)
    return *shape[:axis], *ids, *shape[axis + 1 :]


def _gathered_elements_shape(shape: Shape, ids: Shape, axis: int) -> Shape:
    within = _resized(shape, axis, ids[axis] if axis < len(ids) else 0)
    if len(ids) != len(shape) or any(n > m for n, m in zip(ids, within, strict=True)):
        raise ValueError(f"indices of shape {ids} do not fit {shape} along axis {axis}")
    return ids


def _gathered_nd_shape(shape: Shape, ids: Shape, batch: int) -> Shape:
    if not (batch < len(ids) and shape[:batch] == ids[:batch]):
        raise ValueError(f"batch {batch} of shapes {shape} and {ids}")
    if not 1 <= ids[-1] <= len(shape) - batch:
        raise ValueError(f"indices of {ids[-1]} axes into {len(shape) - batch}")
    return *ids[:-1], *shape[batch + ids[-1] :]


def _ranked_shape(shape: Shape, axis: int, count: int, **_: bool) -> Shape:
    made = _resized(shape, axis, count)
    if count > shape[axis]:
        raise ValueError(f"{count} of an axis of {shape[axis]}")
    return made


# Integers.


def _divided(a: NDArray, b: NDArray) -> NDArray:
    """Towards zero, as the standard divides integers."""
    _check_divisor(b)
    quotient = a // b
    return quotient + ((quotient * b != a) & ((a < 0) ^ (b < 0))).astype(quotient.dtype)


def _remainder(a: NDArray, b: NDArray, of_dividend: bool) -> NDArray:
    """With the sign of the divisor, or of the dividend."""
    _check_divisor(b)
    return np.fmod(a, b) if of_dividend else np.mod(a, b)


def _check_divisor(b: NDArray) -> None:
    if count := int((b == 0).sum()):
        raise InputError(f"integers are divided by zero, {count} of {b.size} divisors")


def _reduced(x: NDArray, by: str, axes: Sequence[int], keep: bool) -> NDArray:
    ends = (False, True) if x.dtype == bool else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    empty = {"add": 0, "mul": 1, "max": ends[0], "min": ends[1]}[by]
    return np.asarray(
        REDUCTIONS[by].reduce(x, axis=tuple(axes), dtype=x.dtype, keepdims=keep, initial=empty)
    )


def _summed(x: NDArray, axis: int, exclusive: bool, reverse: bool) -> NDArray:
    x = np.flip(x, axis) if reverse else x
    out = np.cumsum(x, axis, dtype=x.dtype)
    out = out - x if exclusive else out
    return np.flip(out, axis) if reverse else out


def _quantised(x: NDArray, scale: NDArray, zero: NDArray, to: str) -> NDArray:
    """Real numbers as integers that stand for ``(q - zero) * scale``; ties to even."""
    ends = np.iinfo(to)
    return np.clip(np.rint(x / scale) + zero.astype(np.float64), ends.min, ends.max).astype(to)


def _one_hot(ids: NDArray, depth: int, axis: int) -> NDArray:
    """Where the new axis is at an index; those outside of it are nowhere."""
    wide = ids if ids.dtype.kind == "u" else ids.astype(np.int64)
    counted = np.where(wide < 0, wide + depth, wide)
    return np.moveaxis(counted[..., None] == np.arange(depth), -1, axis)


# Choices by index.


def _indices(ids: NDArray, size: int, negative: bool = True) -> NDArray[np.intp]:
    """Indices of an axis; ``InputError`` for one that it does not have."""
    least = -size if negative else 0
    wrong = (ids < least) | (ids >= size)
    if wrong.any():
        raise InputError(
            f"index {ids[wrong].flat[0]} of an axis of {size}, which has {least} to {size - 1}"
        )
    return ids.astype(np.intp)


def _gathered(x: NDArray, ids: NDArray, axis: int, negative: bool = True) -> NDArray:
    return np.take(x, _indices(ids, x.shape[axis], negative), axis)


def _gathered_elements(x: NDArray, ids: NDArray, axis: int) -> NDArray:
    places: list[NDArray] = list(np.indices(ids.shape, sparse=True))
    places[axis] = _indices(ids, x.shape[axis])
    return x[tuple(places)]


def _gathered_nd(x: NDArray, ids: NDArray, batch: int) -> NDArray:
    """Indices along the last axis, of as many axes of ``x`` after the first ``batch``."""
    depth, lead = ids.shape[-1], ids.shape[:batch]
    count = int(np.prod(lead))
    rows = ids.reshape(count, int(np.prod(ids.shape[batch:-1])), depth)
    places = [_indices(rows[..., k], x.shape[batch + k]) for k in range(depth)]
    chosen = x.reshape(count, *x.shape[batch:])[(np.arange(count)[:, None], *places)]
    return chosen.reshape(*ids.shape[:-1], *x.shape[batch + depth :])


def rank(
    x: NDArray, axis: int, count: int, largest: bool, last: bool = False, nan_first: bool = True
) -> NDArray[np.int64]:
    """Indices of the first ``count`` along an axis, the largest or the least first.

    Of those that are equal, the lowest index is first, or the highest with ``last``.  NaN comes
    before all numbers, or after them.
    """
    if x.dtype.kind == "f" and np.isnan(x).any():
        # Places among all, in which NaN has one of its own.
        places = np.unique(x, return_inverse=True, equal_nan=True)[1].reshape(x.shape)
        x = np.where(np.isnan(x), -1, places) if nan_first != largest else places
    size = x.shape[axis]
    if not 0 <= count <= size:
        raise ValueError(f"{count} of an axis of {size}")
    turned = largest != last
    order = np.argsort(np.flip(x, axis) if turned else x, axis, kind="stable")
    order = size - 1 - order if turned else order
    return np.take(np.flip(order, axis) if largest else order, range(count), axis).astype(np.int64)


_UNARY: dict[str, Callable[..., NDArray]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "not": np.logical_not,
}
_BINARY: dict[str, Callable[..., NDArray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divided,
    "max": np.maximum,
    "min": np.minimum,
    "less": np.less,
    "less_or_equal": np.less_equal,
    "greater": np.greater,
    "greater_or_equal": np.greater_equal,
    "equal": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
}
#: By name; what a step of the host has.
OPERATIONS: dict[str, Operation] = {
    **{name: Operation(function, 1, _broadcast) for name, function in _UNARY.items()},
    **{name: Operation(function, 2, _broadcast) for name, function in _BINARY.items()},
    "mod": Operation(_remainder, 2, _broadcast, settings=("of_dividend",)),
    "cast": Operation(lambda x, to: x.astype(to), 1, _broadcast, settings=("to",)),
    "real": Operation(lambda x: x.astype(np.float64), 1, _broadcast, makes_real=True),
    "reduce": Operation(_reduced, 1, _reduced_shape, settings=("by", "axes", "keep")),
    "cumsum": Operation(
        _summed,
        1,
        lambda shape, axis, **_: _resized(shape, axis, shape[axis]),
        settings=("axis", "exclusive", "reverse"),
    ),
    "one_hot": Operation(_one_hot, 1, _one_hot_shape, settings=("depth", "axis"), sizes=("depth",)),
    "where": Operation(np.where, 3, _broadcast, data=(1, 2)),
    "gather": Operation(_gathered, 2, _gathered_shape, data=(0,), settings=("axis", "negative")),
    "gather_elements": Operation(
        _gathered_elements, 2, _gathered_elements_shape, data=(0,), settings=("axis",)
    ),
    "gather_nd": Operation(_gathered_nd, 2, _gathered_nd_shape, data=(0,), settings=("batch",)),
    "rank": Operation(
        rank,
        1,
        _ranked_shape,
        compares=True,
        settings=("axis", "count", "largest", "last", "nan_first"),
        sizes=("count",),
    ),
    "truth": Operation(lambda x: x != 0, 1, _broadcast, compares=True),
    "quantise": Operation(_quantised, 3, _broadcast, compares=True, settings=("to",)),
}
