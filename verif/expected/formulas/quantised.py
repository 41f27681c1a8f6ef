"""Of quantised numbers, which are not rounded here: see ``expected/reference.py``."""

import numpy as np
from numpy.typing import NDArray

from verif.expected.formulas.registry import Given, formula
from verif.expected.formulas.windows import convolved


def _spread(values: NDArray, rank: int, axis: int) -> NDArray:
    return (
        values.reshape(-1, *[1] * (rank - 1 - axis % rank))
        if values.size > 1
        else values.ravel()[0]
    )


def _quantised(x: NDArray, scale: NDArray, zero: NDArray | None, axis: int = 1) -> NDArray:
    info = np.iinfo(np.uint8 if zero is None else zero.dtype)
    point = 0.0 if zero is None else _spread(zero, x.ndim, axis).astype(np.float64)
    return np.clip(x / _spread(scale, x.ndim, axis) + point, info.min, info.max)


def _real(q: NDArray, scale: NDArray, zero: NDArray | None, axis: int = 1) -> NDArray:
    point = 0.0 if zero is None else _spread(zero, q.ndim, axis).astype(np.float64)
    return (q - point) * _spread(scale, q.ndim, axis)


@formula("QuantizeLinear")
def quantised(
    version: int, given: Given, x: NDArray, scale: NDArray, zero: NDArray | None = None
) -> NDArray:
    """Not rounded."""
    return _quantised(x, scale, zero, given.get("axis", 1))


@formula("DequantizeLinear")
def dequantised(
    version: int, given: Given, q: NDArray, scale: NDArray, zero: NDArray | None = None
) -> NDArray:
    """The evaluator has no older versions."""
    return _real(q, scale, zero, given.get("axis", 1))


@formula("DynamicQuantizeLinear")
def by_range(version: int, given: Given, x: NDArray) -> list[NDArray]:
    """Not rounded but for the zero point, which may lead out of the range by half."""
    low, high = x.min(initial=0), x.max(initial=0)
    scale = np.array(((high - low) or x.dtype.type(1)) / x.dtype.type(255))
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return [x / scale + zero, scale, zero.astype(np.uint8)]


@formula("QLinearMatMul")
def quantised_product(version: int, given: Given, *inputs: NDArray) -> NDArray:
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = inputs
    made = _real(a, a_scale, a_zero, -2) @ _real(b, b_scale, b_zero, -1)
    return _quantised(made, scale, zero, -2)


@formula("QLinearConv")
def quantised_conv(version: int, given: Given, *inputs: NDArray) -> NDArray:
    x, x_scale, x_zero, w, w_scale, w_zero, scale, zero, *bias = inputs
    more = [bias[0] * x_scale.ravel() * w_scale.ravel()] if bias else []
    made = convolved(given, _real(x, x_scale, x_zero), _real(w, w_scale, w_zero, 0), *more)
    return _quantised(made, scale, zero)


@formula("MatMulInteger")
def integer_product(version: int, given: Given, a: NDArray, b: NDArray, *zeros: NDArray) -> NDArray:
    points = [*zeros, *[None] * (2 - len(zeros))]
    one = np.ones(())
    return _real(a, one, points[0], -2) @ _real(b, one, points[1], -1)


@formula("ConvInteger")
def integer_conv(version: int, given: Given, x: NDArray, w: NDArray, *zeros: NDArray) -> NDArray:
    points = [*zeros, *[None] * (2 - len(zeros))]
    one = np.ones(())
    return convolved(given, _real(x, one, points[0]), _real(w, one, points[1], 0))
