"""Elementwise functions of PAL arrays: those of ``pal_units.functions``, bit for bit.

Operands go to PAL16, the operation is that of ``log16``, and the result is encoded anew.  Where
numpy raises, since values or formats do not allow it, the result is ``INVALID`` and decodes to NaN.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pal_units import tables
from pal_units.formats import BIAS_PER_OCTAVE, PAL16, ZERO_BLOCK
from pal_units.jax import log16
from pal_units.jax.array import INVALID, PalArray, each
from pal_units.jax.encoding import encode_sizes, least_bias, padded
from pal_units.jax.float64 import bits_of, exponent, from_real, mantissa, shifted, u64, wide

_PER_BIAS = (1 << PAL16.fraction_bits) // BIAS_PER_OCTAVE


def _jitted(function: Callable[..., PalArray]) -> Callable[..., PalArray]:
    """With operands looked at, compiled; invalid if an operand is."""

    @jax.jit
    @wide
    def inside(*operands: PalArray) -> PalArray:
        found = function(*operands)
        lost = jnp.stack([a.tensor_bias == INVALID for a in operands]).any()
        bias = jnp.where(lost, INVALID, found.tensor_bias).astype(jnp.int32)
        return PalArray(found.codes, found.biases, bias, found.fmt, found.axis)

    @wraps(function)
    def checked(*operands: Any) -> PalArray:
        kinds = [type(a).__name__ for a in operands]
        if not all(isinstance(a, PalArray) for a in operands):
            raise TypeError("operands must be pal_units.jax.PalArrays, not " + " and ".join(kinds))
        facts = [(a.shape, a.fmt, a.axis) for a in operands]
        if any(fact != facts[0] for fact in facts):
            told = " and ".join(f"{shape} {fmt.name} {axis}" for shape, fmt, axis in facts)
            raise ValueError(f"operands must agree in shape, format and block axis, not {told}")
        return inside(*operands)

    return checked


def codes16(a: PalArray, tensor_bias: Array) -> Array:
    """PAL16 codes under a tensor bias; exact in range."""
    fmt = a.fmt
    codes = a.codes.astype(jnp.int32)
    magnitude, nan = codes & fmt.m_max, (codes == fmt.sign_bit) & fmt.has_nan
    lam = jnp.asarray(fmt.lambdas.astype(np.int32))[magnitude]
    beta = each(a.biases, a).astype(jnp.int32)
    distance = (lam << PAL16.fraction_bits - fmt.fraction_bits) + (
        tensor_bias - a.tensor_bias - beta
    ) * _PER_BIAS
    code = log16.code16(PAL16.m_max - distance, codes > fmt.sign_bit)
    code = jnp.where(nan, PAL16.sign_bit, jnp.where(magnitude == 0, 0, code))
    return jnp.where(beta == ZERO_BLOCK, 0, code).astype(jnp.uint16)


def _sizes(lam: Array, bias: Array) -> Array:
    """Bits of ``2^(bias / 8 - lam / 1024)``."""
    unit = 1 << PAL16.fraction_bits
    log = bias * _PER_BIAS - lam
    return shifted(u64(bits_of(np.exp2(np.arange(unit) / unit)))[log % unit], log // unit)


def _result(code: Array, tensor_bias: Array, like: PalArray) -> PalArray:
    """PAL16 codes encoded as ``like``."""
    octaves = tensor_bias // BIAS_PER_OCTAVE
    fmt, axis, length = like.fmt, like.axis, like.shape[like.axis]
    rows = padded(jnp.moveaxis(code, axis, -1), fmt, True, axis)
    lam, negative, zero, nan = log16.fields(rows)
    size = jnp.where(zero | nan, u64(0), _sizes(lam, tensor_bias - BIAS_PER_OCTAVE * octaves))
    codes, biases, top = encode_sizes(size, negative, nan, jnp.zeros_like(nan), fmt, None)
    moved = top + BIAS_PER_OCTAVE * octaves
    lost = (top == INVALID) | (moved < -(1 << 15)) | (moved >= 1 << 15)
    biases = biases[..., :length] if fmt.block == 1 else biases
    return PalArray(
        jnp.moveaxis(codes[..., :length], -1, axis),
        jnp.moveaxis(biases, -1, axis),
        jnp.where(lost, INVALID, moved).astype(jnp.int32),
        fmt,
        axis,
    )


def _own(a: PalArray) -> Array:
    return codes16(a, a.tensor_bias)


def _headroom(code: Array, octave: int) -> Array:
    """Octaves above 1.0 that the reciprocals of codes reach."""
    return log16.fields(code)[0].max(initial=0) // octave + 1


@_jitted
def multiply(a: PalArray, b: PalArray) -> PalArray:
    """``a * b``.

    Raises ``TypeError`` for what is no ``PalArray``, ``ValueError`` for operands of unequal shape,
    format or block axis.
    """
    return _result(log16.mul(_own(a), _own(b)), a.tensor_bias + b.tensor_bias, a)


@_jitted
def divide(a: PalArray, b: PalArray) -> PalArray:
    """``a / b``; ``x / 0`` is NaN.  Raises as ``multiply``."""
    x, y = _own(a), _own(b)
    headroom = _headroom(y, 1024)
    code = jnp.where(y == 0, jnp.uint16(PAL16.sign_bit), log16.div(x, y, headroom))
    return _result(code, a.tensor_bias - b.tensor_bias + BIAS_PER_OCTAVE * headroom, a)


def _under_one_top(function: Callable[..., Array], a: PalArray, b: PalArray) -> PalArray:
    bias = jnp.maximum(a.tensor_bias, b.tensor_bias) + BIAS_PER_OCTAVE
    return _result(function(codes16(a, bias), codes16(b, bias)), bias, a)


@_jitted
def add(a: PalArray, b: PalArray) -> PalArray:
    """``a + b``.  Raises as ``multiply``."""
    return _under_one_top(log16.add16, a, b)


@_jitted
def subtract(a: PalArray, b: PalArray) -> PalArray:
    """``a - b``.  Raises as ``multiply``."""
    return _under_one_top(lambda x, y: log16.add16(x, log16.neg(y)), a, b)


@_jitted
def minimum(a: PalArray, b: PalArray) -> PalArray:
    """The lesser of each pair; NaN if either is.  Raises as ``multiply``."""
    return _under_one_top(log16.minimum, a, b)


@_jitted
def maximum(a: PalArray, b: PalArray) -> PalArray:
    """The greater of each pair; NaN if either is.  Raises as ``multiply``."""
    return _under_one_top(log16.maximum, a, b)


@_jitted
def sqrt(a: PalArray) -> PalArray:
    """Square roots; of negative numbers NaN.  Raises ``TypeError`` for what is no ``PalArray``."""
    return _result(log16.sqrt(_own(a), a.tensor_bias % 2), -(-a.tensor_bias // 2), a)


@_jitted
def rsqrt(a: PalArray) -> PalArray:
    """Reciprocal square roots; of 0 and negative numbers NaN.  Raises as ``sqrt``."""
    x = _own(a)
    headroom = _headroom(x, 2048)
    code = log16.rsqrt(x, a.tensor_bias % 2, headroom)
    code = jnp.where(x == 0, jnp.uint16(PAL16.sign_bit), code)
    return _result(code, -(a.tensor_bias // 2) + BIAS_PER_OCTAVE * headroom, a)


@_jitted
def log2(a: PalArray) -> PalArray:
    """``log2(a)``; of zero and negative numbers NaN.  Raises as ``sqrt``."""
    x = _own(a)
    lam, _, zero, nan = log16.fields(x)
    some = ~(zero & ~nan)
    least, most = PAL16.m_max, 0
    ends = jnp.stack(
        [
            a.tensor_bias * _PER_BIAS - jnp.where(some, lam, least).min(initial=least),
            a.tensor_bias * _PER_BIAS - jnp.where(some, lam, most).max(initial=most),
        ]
    )
    largest = jnp.maximum(jnp.abs(ends).max(), 1)
    bias = least_bias(from_real(largest)[0]) - BIAS_PER_OCTAVE * PAL16.fraction_bits
    code = log16.log2(x, a.tensor_bias, bias)
    return _result(jnp.where(x == 0, jnp.uint16(PAL16.sign_bit), code), bias, a)


@_jitted
def exp2(a: PalArray) -> PalArray:
    """``2^a``; invalid for values of 64 and above, and where all are -64 and below.

    Raises as ``sqrt``.
    """
    fmt = a.fmt
    codes = a.codes.astype(jnp.int32)
    magnitude, beta = codes & fmt.m_max, each(a.biases, a).astype(jnp.int32)
    lam = jnp.asarray(fmt.lambdas.astype(np.int32))[magnitude]
    size = _sizes(lam << PAL16.fraction_bits - fmt.fraction_bits, a.tensor_bias + beta)
    size = jnp.where((magnitude == 0) | (beta == ZERO_BLOCK), u64(0), size)
    nan = (codes == fmt.sign_bit) & fmt.has_nan & (beta != ZERO_BLOCK)
    negative = (codes & fmt.sign_bit != 0) & (size > 0)
    most = jnp.where(negative | nan, u64(0), size).max(initial=0)
    above = (~negative & ~nan).any()
    nearest = jnp.where(negative, size, u64(bits_of(np.array([1e300])))[0]).min(
        initial=bits_of(np.array([1e300]))[0]
    )
    # Eighths, upwards: of a number below 0 the magnitude downwards.
    limit = BIAS_PER_OCTAVE << tables.EXP_INTEGER_BITS
    bias = jnp.where(above, _eighths(most, 1), -_eighths(nearest, 0))
    bias = jnp.where(above | negative.any(), jnp.clip(bias, -limit, limit), -limit)
    top = u64(bits_of(np.array([2.0**tables.EXP_INTEGER_BITS])))[0]
    lost = (most >= top) | (~above & negative.any() & (nearest >= top))
    found = _result(log16.exp2(_own(a), a.tensor_bias, bias), bias, a)
    return PalArray(
        found.codes, found.biases, jnp.where(lost, INVALID, found.tensor_bias), fmt, a.axis
    )


def _eighths(size: Array, up: int) -> Array:
    """``8 size`` as a whole number, downwards or upwards; what is large saturates."""
    place = exponent(size) + 3
    drop = u64(jnp.clip(52 - place, 0, 63))
    whole = mantissa(size) | u64(1 << 52)
    kept = (whole >> drop).astype(jnp.int32)
    more = (kept.astype(jnp.uint64) << drop != whole) & (up == 1)
    found = kept + more.astype(jnp.int32)
    return jnp.where(size == 0, 0, jnp.where(place > 20, 1 << 21, found))
