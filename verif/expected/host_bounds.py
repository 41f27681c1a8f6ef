"""How far results of the host's steps can be from those of real arithmetic.

Integers of integers are exact.  Indices of the largest of computed numbers are those of real
arithmetic where these differ by more than their errors, else anything; so is what depends on them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spu.arch.package.host_operations import rank
from spu.arch.package.program import HostStep, Program


@dataclass(frozen=True)
class Bounded:
    """Real values, and how far computed ones are from them at most: of integers 0 or infinite."""

    value: NDArray
    error: NDArray[np.float64]


def exact(values: NDArray) -> Bounded:
    """Integers of which nothing is unsure."""
    return Bounded(values, np.zeros(np.shape(values)))


def host_bounds(program: Program, step: HostStep, sources: list[Bounded]) -> Bounded:
    """Of a step's result, before it is encoded if that makes real numbers of integers."""
    value = program.computed(step, [s.value for s in sources])
    moved = program.moved(step)
    if step.operation == "rank":
        return Bounded(value, np.where(_decided(sources[0], **step.settings), 0.0, np.inf))
    if step.operation == "truth":
        return Bounded(value, np.where(sources[0].error < 0.5, 0.0, np.inf))
    if step.operation == "quantise":
        return Bounded(value, _quantised(program, step, value, sources))
    unsure = [
        t for t, s in zip(step.sources, sources, strict=True) if t not in moved and s.error.any()
    ]
    if not unsure:
        if not moved:
            return exact(value)
        given = [
            s.error if t in moved else s.value for t, s in zip(step.sources, sources, strict=True)
        ]
        return Bounded(value, program.computed(step, given))
    if step.operation == "real":
        return Bounded(value, sources[0].error)
    if _in_order(program, step, unsure):
        # The largest of numbers that are off by so much are off by no more.
        axis = step.settings["axis"]
        return Bounded(
            value, np.broadcast_to(sources[0].error.max(axis=axis, keepdims=True), value.shape)
        )
    return Bounded(value, np.full(value.shape, np.inf))


def _quantised(
    program: Program, step: HostStep, value: NDArray, sources: list[Bounded]
) -> NDArray[np.float64]:
    """By the ends of what numbers and scales may be; a zero point is off by its own error."""
    x, scale, zero = sources
    ends = [
        program.computed(step, [x.value + a * x.error, scale.value + b * scale.error, zero.value])
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    off = np.max([np.abs(np.subtract(end, value, dtype=np.float64)) for end in ends], axis=0)
    return np.where(scale.value > scale.error, off + zero.error, np.inf)


def _in_order(program: Program, step: HostStep, unsure: list[int]) -> bool:
    """Whether a step takes the elements that are first along an axis, by their indices."""
    made = {s.out: s for s in program.steps}
    ranks = made.get(unsure[0])
    return (
        step.operation == "gather_elements"
        and isinstance(ranks, HostStep)
        and ranks.operation == "rank"
        and ranks.sources[0] == step.sources[0]
        and ranks.settings["axis"] == step.settings["axis"]
    )


def _decided(
    x: Bounded, axis: int, count: int, largest: bool, last: bool, nan_first: bool
) -> NDArray[np.bool_]:
    """Whether no error changes which elements are first along an axis, place by place."""
    size = x.value.shape[axis]
    order = rank(x.value, axis, size, largest, last, nan_first)
    sign = 1.0 if largest else -1.0
    value, error = (
        np.moveaxis(np.take_along_axis(y, order, axis), axis, -1)
        for y in (sign * x.value.astype(np.float64), x.error)
    )
    least, most = value - error, value + error
    above, below = np.full(value.shape, np.inf), np.full(value.shape, -np.inf)
    above[..., 1:] = np.minimum.accumulate(least, -1)[..., :-1]
    below[..., :-1] = np.maximum.accumulate(most[..., ::-1], -1)[..., ::-1][..., 1:]
    sure = (above > most) & (least > below)
    # Of equal numbers that are exact, the order is that of their indices.
    sure |= ~error.any(axis=-1, keepdims=True)
    return np.moveaxis(sure, -1, axis)[tuple([slice(None)] * axis + [slice(count)])]
