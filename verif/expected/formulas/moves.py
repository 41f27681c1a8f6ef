"""Of what moves elements: gathers, scatters, pads, upsampling."""

import numpy as np
from numpy.typing import NDArray

from verif.expected.formulas.elements import along
from verif.expected.formulas.registry import Given, formula


@formula("Upsample")
def upsampled(version: int, given: Given, x: NDArray, scales: NDArray | None = None) -> NDArray:
    """The evaluator lacks it.  Element ``i`` is at ``i / scale``, at the end the last one."""
    factors = given["scales"] if scales is None else scales
    for axis, factor in enumerate(np.asarray(factors, np.float64)):
        size = x.shape[axis]
        at = np.arange(int(np.floor(size * factor))) / factor
        below = np.floor(at).astype(np.int64)
        part = (at - below if given["mode"] == "linear" else 0 * at).reshape(along(x, axis))
        first, second = (np.take(x, np.minimum(k, size - 1), axis) for k in (below, below + 1))
        x = first * (1 - part) + second * part
    return x


@formula("GatherElements")
def gathered(version: int, given: Given, x: NDArray, indices: NDArray) -> NDArray:
    """The evaluator takes indices of the data's other sizes alone."""
    axis = given["axis"] % x.ndim
    places: list[NDArray] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices % x.shape[axis]
    return x[tuple(places)]


@formula("Scatter")
def scattered(
    version: int, given: Given, x: NDArray, indices: NDArray, updates: NDArray
) -> NDArray:
    """The evaluator lacks it."""
    made, axis = x.copy(), given["axis"] % x.ndim
    places: list[NDArray] = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices % x.shape[axis]
    made[tuple(places)] = updates
    return made


@formula("Pad")
def padded(
    version: int,
    given: Given,
    x: NDArray,
    pads: NDArray | None = None,
    value: NDArray | None = None,
    axes: NDArray | None = None,
) -> NDArray:
    """The evaluator lacks negative pads."""
    if version < 11:
        pads, value = np.array(given["pads"]), np.array(given["value"])
    assert pads is not None
    chosen = range(x.ndim) if axes is None else [int(a) % x.ndim for a in axes]
    widths = np.zeros((x.ndim, 2), np.int64)
    widths[list(chosen)] = pads.reshape(2, -1).T
    x = x[
        tuple(slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(widths, x.shape, strict=True))
    ]
    mode, more = given.get("mode", "constant"), np.maximum(widths, 0)
    if mode == "constant":
        return np.pad(x, more, constant_values=0 if value is None else value.ravel()[0])
    return np.pad(x, more, mode=mode)
