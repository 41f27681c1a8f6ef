"""Of windows: pools, convolutions and their transposes."""

from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verif.expected.formulas.registry import OWN, Formula, Given, formula


def last(place: Sequence[int | slice]) -> Any:
    """An index of the last axes."""
    return (..., *place)


def _pads(given: Given, sizes: tuple[int, ...], kernel: list[int]) -> NDArray:
    """Begin and end of each axis, [axes, 2]."""
    rank = len(sizes)
    strides, dilations = (list(given.get(n) or [1] * rank) for n in ("strides", "dilations"))
    auto = given.get("auto_pad") or "NOTSET"
    if auto.startswith("SAME"):
        found = []
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
            total = max(0, (ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
            less = total // 2
            found.append((total - less, less) if auto == "SAME_LOWER" else (less, total - less))
        return np.array(found)
    pads = given.get("pads") if auto == "NOTSET" else None
    return np.reshape(pads or [0] * 2 * rank, (2, rank)).T


def convolved(given: Given, x: NDArray, w: NDArray, b: NDArray | None = None) -> NDArray:
    """Conv, element of the window by element."""
    rank, group = x.ndim - 2, given.get("group", 1)
    kernel = list(w.shape[2:])
    strides, dilations = (list(given.get(n) or [1] * rank) for n in ("strides", "dilations"))
    x = np.pad(x, [(0, 0), (0, 0), *_pads(given, x.shape[2:], kernel)])
    sizes = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[0], *sizes))
    per, own = w.shape[0] // group, x.shape[1] // group
    for at in product(*map(range, kernel)):
        place = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, s, n in zip(at, dilations, strides, sizes, strict=True)
        )
        for part in range(group):
            filters = slice(part * per, (part + 1) * per)
            seen = x[:, part * own : (part + 1) * own][last(place)]
            y[:, filters] += np.einsum("nc...,fc->nf...", seen, w[filters][last(at)])
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def _windows(given: Given, x: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Elements of each window [..., out, kernel], those within ``x`` and within its padding."""
    rank, kernel = x.ndim - 2, list(given["kernel_shape"])
    strides, dilations = (list(given.get(n) or [1] * rank) for n in ("strides", "dilations"))
    pads = _pads(given, x.shape[2:], kernel)
    inside, padded = np.ones((), bool), np.ones((), bool)
    for a, size in enumerate(x.shape[2:]):
        begin, end = pads[a]
        room = size + begin + end - (kernel[a] - 1) * dilations[a] - 1
        count = room // strides[a] + 1
        if given.get("ceil_mode"):
            count = ceil(room / strides[a]) + 1
            count -= (count - 1) * strides[a] >= size + begin
        at = np.arange(count)[:, None] * strides[a] - begin + np.arange(kernel[a]) * dilations[a]
        x = np.take(x, np.clip(at, 0, size - 1), 2 + 2 * a)
        along = [1] * (2 * rank)
        along[2 * a : 2 * a + 2] = at.shape
        inside = inside & ((at >= 0) & (at < size)).reshape(along)
        padded = padded & (at < size + end).reshape(along)
    order = [*range(2), *range(2, x.ndim, 2), *range(3, x.ndim, 2)]
    found = [np.broadcast_to(v, x.shape).transpose(order) for v in (x, inside, padded)]
    shape = (*found[0].shape[: 2 + rank], -1)
    seen, within, counted = (v.reshape(shape) for v in found)
    return seen, within, counted


def _pool(op: str) -> Formula:
    def made(version: int, given: Given, x: NDArray) -> NDArray:
        """The evaluator lacks ceil_mode beside auto_pad, and has other shapes with some strides."""
        seen, inside, padded = _windows(given, x)
        if op == "MaxPool":
            return np.where(inside, seen, -np.inf).max(-1)
        if op == "LpPool":
            p = given.get("p", 2)
            return (np.where(inside, np.abs(seen), 0) ** p).sum(-1) ** (1 / p)
        counted = padded if given.get("count_include_pad") else inside
        return np.where(inside, seen, 0).sum(-1) / counted.sum(-1)

    return made


OWN.update((op, _pool(op)) for op in ("MaxPool", "AveragePool", "LpPool"))


@formula("ConvTranspose")
def transposed(
    version: int, given: Given, x: NDArray, w: NDArray, b: NDArray | None = None
) -> NDArray:
    """The evaluator is wrong of groups, of strides beside auto_pad, and adds up batches."""
    rank, group = x.ndim - 2, given.get("group", 1)
    kernel = list(w.shape[2:])
    strides, dilations = (list(given.get(n) or [1] * rank) for n in ("strides", "dilations"))
    more = list(given.get("output_padding") or [0] * rank)
    full = [
        (n - 1) * s + (k - 1) * d + 1 + m
        for n, s, k, d, m in zip(x.shape[2:], strides, kernel, dilations, more, strict=True)
    ]
    wanted, auto = given.get("output_shape"), given.get("auto_pad") or "NOTSET"
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        full = [max(f, n) for f, n in zip(full, wanted, strict=True)]
        total = [max(0, f - n) for f, n in zip(full, wanted, strict=True)]
        pads = [
            (t // 2, t - t // 2) if auto == "SAME_UPPER" else (t - t // 2, t // 2) for t in total
        ]
    else:
        pads = [tuple(p) for p in _pads(given, x.shape[2:], kernel)]
    per, own = w.shape[1], x.shape[1] // group
    y = np.zeros((x.shape[0], per * group, *full))
    for at in product(*map(range, kernel)):
        place = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, s, n in zip(at, dilations, strides, x.shape[2:], strict=True)
        )
        for part in range(group):
            channels = slice(part * own, (part + 1) * own)
            made = np.einsum("nc...,cf->nf...", x[:, channels], w[channels][last(at)])
            y[:, part * per : (part + 1) * per][last(place)] += made
    kept = [slice(a, n - e) for (a, e), n in zip(pads, full, strict=True)]
    y = y[last(kept)]
    return y if b is None else y + b.reshape(-1, *[1] * rank)
