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


@dataclass(frozen=True)
class Operation:
    """``data``: places of the sources whose elements the result has, none if it has new ones.

    ``compares``: takes real numbers as well, and makes integers of them.  ``makes_real``: the
    result is real numbers.  ``probe``: an element with which it is defined, of any source.
    """

    function: Callable[..., NDArray]
    data: tuple[int, ...] = ()
    compares: bool = False
    makes_real: bool = False
    probe: int = 0


def apply(name: str, sources: Sequence[NDArray], settings: Mapping[str, Any]) -> NDArray:
    """The result; ``InputError`` for an index that there is not, and a division by zero."""
    with np.errstate(all="ignore"):  # integers wrap around
        return np.asarray(OPERATIONS[name].function(*sources, **settings))


def result(
    name: str, shapes: Sequence[tuple[int, ...]], types: Sequence[str], settings: Mapping[str, Any]
) -> tuple[tuple[int, ...], str]:
    """Shape and type of the result for sources of these, by trying it.

    Raises ``ValueError`` for sources of types that the operation does not take, and what numpy has
    to say of shapes.
    """
    operation = OPERATIONS[name]
    for place, kind in enumerate(types):
        if kind == REAL and place not in operation.data and not operation.compares:
            raise ValueError(f"{name} takes integers, not real numbers")
    moved = {types[place] for place in operation.data}
    if len(moved) > 1:
        raise ValueError(f"{name} takes elements of one type, not {' and '.join(sorted(moved))}")
    made = apply(
        name,
        [
            np.broadcast_to(np.array(operation.probe, kind or np.float64), shape)
            for shape, kind in zip(shapes, types, strict=True)
        ],
        settings,
    )
    if moved or operation.makes_real:
        return made.shape, moved.pop() if moved else REAL
    if made.dtype.name not in INTEGERS:
        raise ValueError(f"{name} makes {made.dtype}")
    return made.shape, made.dtype.name


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
    make: Any
    make, empty = {
        "add": (np.add, 0),
        "mul": (np.multiply, 1),
        "max": (np.maximum, ends[0]),
        "min": (np.minimum, ends[1]),
    }[by]
    return np.asarray(make.reduce(x, axis=tuple(axes), dtype=x.dtype, keepdims=keep, initial=empty))


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


def rank(x: NDArray, axis: int, count: int, largest: bool, last: bool = False) -> NDArray[np.int64]:
    """Indices of the first ``count`` along an axis, the largest or the least first.

    Of those that are equal, the lowest index is first, or the highest with ``last``.
    """
    size = x.shape[axis]
    if not 0 <= count <= size:
        raise ValueError(f"{count} of an axis of {size}")
    turned = largest != last
    order = np.argsort(np.flip(x, axis) if turned else x, axis, kind="stable")
    order = size - 1 - order if turned else order
    return np.take(np.flip(order, axis) if largest else order, range(count), axis).astype(np.int64)


_ELEMENTWISE: dict[str, Callable[..., NDArray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "less": np.less,
    "less_or_equal": np.less_equal,
    "greater": np.greater,
    "greater_or_equal": np.greater_equal,
    "equal": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
}
#: By name; what a step of the host has.
OPERATIONS: dict[str, Operation] = {
    **{name: Operation(function) for name, function in _ELEMENTWISE.items()},
    "div": Operation(_divided, probe=1),
    "mod": Operation(_remainder, probe=1),
    "cast": Operation(lambda x, to: x.astype(to)),
    "real": Operation(lambda x: x.astype(np.float64), makes_real=True),
    "reduce": Operation(_reduced),
    "cumsum": Operation(_summed),
    "one_hot": Operation(_one_hot),
    "where": Operation(np.where, data=(1, 2)),
    "gather": Operation(_gathered, data=(0,)),
    "gather_elements": Operation(_gathered_elements, data=(0,)),
    "gather_nd": Operation(_gathered_nd, data=(0,)),
    "rank": Operation(rank, compares=True),
    "truth": Operation(lambda x: x != 0, compares=True),
    "quantise": Operation(_quantised, compares=True, probe=1),
}
