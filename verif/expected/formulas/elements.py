"""Of elements and along axes: roundings, softmaxes, norms, normalisations."""

from math import prod

import numpy as np
from numpy.typing import NDArray

from verif.expected.formulas.registry import OWN, Formula, Given, formula

#: How near to a whole number another counts as that, of itself, and at most.
NEAR, MOST_NEAR = 2.0**-10, 0.4999


@formula("GlobalLpPool")
def whole_norm(version: int, given: Given, x: NDArray) -> NDArray:
    """The evaluator lacks it."""
    axes, p = tuple(range(2, x.ndim)), given.get("p", 2)
    return (np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)


@formula("MeanVarianceNormalization")
def mean_variance(version: int, given: Given, x: NDArray) -> NDArray:
    """The evaluator has the constant of its body in float32 alone."""
    axes = tuple(given["axes"])
    mean = x.mean(axes, keepdims=True)
    variance = (x**2).mean(axes, keepdims=True) - mean**2
    return (x - mean) / (np.sqrt(variance) + 1e-9)


@formula("GroupNormalization")
def group_normalised(
    version: int, given: Given, x: NDArray, scale: NDArray, bias: NDArray
) -> NDArray:
    """The evaluator computes mean and variance in float32."""
    groups = x.reshape(x.shape[0], given["num_groups"], -1)
    centred = groups - groups.mean(-1, keepdims=True)
    made = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + given["epsilon"])
    along = (1, -1, *[1] * (x.ndim - 2))
    return made.reshape(x.shape) * scale.reshape(along) + bias.reshape(along)


def _whole(op: str) -> Formula:
    def made(version: int, given: Given, x: NDArray) -> NDArray:
        """Of numbers as near to a whole one, or to a half, as ``front/operators/periods.py`` says,
        that one: PAL16 does not tell them apart."""
        near = np.rint(x) if op != "Round" else np.floor(x) + 0.5
        x = np.where(np.abs(near - x) <= np.minimum(NEAR * np.abs(x), MOST_NEAR), near, x)
        return {"Floor": np.floor, "Ceil": np.ceil, "Round": np.rint}[op](x)

    return made


OWN.update((op, _whole(op)) for op in ("Floor", "Ceil", "Round"))


@formula("Softsign")
def softsign(version: int, given: Given, x: NDArray) -> NDArray:
    """The evaluator makes no array of a single number."""
    return x / (1 + np.abs(x))


@formula("ReduceLogSumExp")
def log_sum_exp(version: int, given: Given, x: NDArray, axes: NDArray | None = None) -> NDArray:
    """The evaluator fails of no axes, and overflows."""
    chosen = given.get("axes") if axes is None else axes
    if chosen is None or not len(chosen):
        if given.get("noop_with_empty_axes"):
            return x
        chosen = range(x.ndim)
    along_all, keep = tuple(int(a) for a in chosen), bool(given["keepdims"])
    most = x.max(along_all, keepdims=True, initial=-np.inf)
    most = np.where(np.isfinite(most), most, 0.0)  # of these it is infinite or NaN all the same
    total = np.log(np.exp(x - most).sum(along_all, keepdims=True)) + most
    return total if keep else total.squeeze(along_all)


@formula("LRN")
def across_channels(version: int, given: Given, x: NDArray) -> NDArray:
    """The evaluator takes four axes alone, and of even sizes other channels."""
    size, channels = given["size"], x.shape[1]
    squares = [
        (x[:, max(0, c - (size - 1) // 2) : min(channels, c + size // 2 + 1)] ** 2).sum(1)
        for c in range(channels)
    ]
    total = np.stack(squares, 1) if squares else x
    return x / (given["bias"] + given["alpha"] / size * total) ** given["beta"]


@formula("Dropout")
def kept(version: int, given: Given, x: NDArray, *_: NDArray | None) -> list[NDArray]:
    """At inference; the evaluator has no older versions."""
    return [x, np.ones(x.shape, bool)]


def _softmax(op: str) -> Formula:
    def made(version: int, given: Given, x: NDArray) -> NDArray:
        """Up to version 11 of all axes from one on; the evaluator has the newest alone."""
        shape, axis = x.shape, given["axis"]
        if version < 13:
            axis %= x.ndim
            x, axis = x.reshape(prod(shape[:axis]), -1), 1
        if op == "Hardmax":
            first = np.expand_dims(x.argmax(axis), axis)
            return (np.arange(x.shape[axis]).reshape(along(x, axis)) == first).reshape(
                shape
            ) * np.ones(())
        powers = np.exp(x - x.max(axis, keepdims=True))
        total = powers.sum(axis, keepdims=True)
        log = x - x.max(axis, keepdims=True) - np.log(total)
        return (log if op == "LogSoftmax" else powers / total).reshape(shape)

    return made


def along(x: NDArray, axis: int) -> tuple[int, ...]:
    shape = [1] * x.ndim
    shape[axis] = -1
    return tuple(shape)


OWN.update((op, _softmax(op)) for op in ("Softmax", "LogSoftmax", "Hardmax"))


@formula("GlobalMaxPool")
def greatest(version: int, given: Given, x: NDArray) -> NDArray:
    """The evaluator drops an axis of three."""
    return x.max(tuple(range(2, x.ndim)), keepdims=True)


@formula("LpNormalization")
def vectors_of_norm_one(version: int, given: Given, x: NDArray) -> NDArray:
    """The evaluator sums powers that may be negative.  Of zeros 0, as version 22 says."""
    p, axis = given["p"], given["axis"]
    size = (np.abs(x) ** p).sum(axis, keepdims=True) ** (1 / p)
    return np.where(size == 0, 0.0, x / size)


@formula("BatchNormalization")
def batch_normalised(version: int, given: Given, x: NDArray, *inputs: NDArray) -> NDArray:
    """At inference; the evaluator has no older versions."""
    scale, bias, mean, variance = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in inputs)
    return (x - mean) / np.sqrt(variance + given["epsilon"]) * scale + bias
