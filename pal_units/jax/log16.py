"""Arithmetic of PAL16 codes, integers throughout: the functions of ``pal_units.model``, by their
names, of PAL16 alone.

Codes are uint16, biases and offsets as there; everything broadcasts.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from pal_units import tables
from pal_units.dot_params import DotParams
from pal_units.formats import PAL16
from pal_units.model.log16 import _add_tables as add_tables
from pal_units.model.log16 import log_table

_TOP, _NAN, _OCTAVE = PAL16.m_max, PAL16.sign_bit, 1 << PAL16.fraction_bits
#: Far beyond all distances, and far from the ends of int32.
_FAR = 1 << 29


def _int(x: ArrayLike) -> Array:
    return jnp.asarray(x).astype(jnp.int32)


def fields(codes: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """Log distance below the top, and whether negative, zero, NaN."""
    codes = _int(codes)
    magnitude, nan = codes & _TOP, codes == _NAN
    zero = (magnitude == 0) & ~nan
    return jnp.where(magnitude == 0, 0, _TOP - magnitude), codes > _NAN, zero, nan


def code16(m: Array, negative: ArrayLike) -> Array:
    """The code of a magnitude that may be out of range: saturated, or the least, or zero."""
    m = jnp.where(m > _TOP, _TOP, jnp.where(m >= 1, m, jnp.where(m > 1 - _OCTAVE, 1, 0)))
    return (m | jnp.where(negative & (m > 0), _NAN, 0)).astype(jnp.uint16)


def _with(code: ArrayLike, nan: Array) -> Array:
    return jnp.where(nan, _NAN, _int(code)).astype(jnp.uint16)


def mul(a: ArrayLike, b: ArrayLike) -> Array:
    """Products, below the product of the operands' tops."""
    lam_a, negative_a, zero_a, nan_a = fields(a)
    lam_b, negative_b, zero_b, nan_b = fields(b)
    code = code16(_TOP - lam_a - lam_b, negative_a != negative_b)
    return _with(jnp.where(zero_a | zero_b, 0, code), nan_a | nan_b)


def div(a: ArrayLike, b: ArrayLike, headroom: ArrayLike = 0) -> Array:
    """Quotients; ``x / 0`` saturates with the sign of ``x``, ``0 / 0`` is NaN."""
    lam_a, negative_a, zero_a, nan_a = fields(a)
    lam_b, negative_b, zero_b, nan_b = fields(b)
    distance = lam_a - lam_b + _int(headroom) * _OCTAVE
    code = code16(_TOP - distance, negative_a != negative_b)
    code = jnp.where(zero_b, code16(_int(_TOP), negative_a), code)
    return _with(jnp.where(zero_a, 0, code), nan_a | nan_b | (zero_a & zero_b))


def sqrt(a: ArrayLike, odd: ArrayLike) -> Array:
    """Square roots; of a negative NaN."""
    lam, negative, zero, nan = fields(a)
    code = code16(_TOP - _halved(lam + 128 * _int(odd)), False)
    return _with(jnp.where(zero, 0, code), nan | negative)


def rsqrt(a: ArrayLike, odd: ArrayLike, headroom: ArrayLike = 0) -> Array:
    """Reciprocal square roots; of a negative NaN, of zero saturated."""
    lam, negative, zero, nan = fields(a)
    distance = 2 * _OCTAVE * _int(headroom) - lam + 128 * _int(odd)
    code = code16(_TOP - _halved(distance), False)
    return _with(jnp.where(zero, _TOP, code), nan | negative)


def _halved(distance: Array) -> Array:
    """Half a distance: a number halfway between two logs is nearer to the lower one."""
    return (distance + 1) >> 1


def log_of_integer(x: Array) -> Array:
    """``1024 * log2(x)`` of positive integers, uint32, faithful."""
    x = x.astype(jnp.uint32)
    place = 31 - lax.clz(x).astype(jnp.int32)
    bits = tables.LOG_MANTISSA_BITS
    up = jnp.clip(bits - place, 0, bits).astype(jnp.uint32)
    down = jnp.maximum(place - bits, 0).astype(jnp.uint32)
    index = ((x << up) >> down).astype(jnp.int32) & (1 << bits) - 1
    return place * _OCTAVE + jnp.asarray(log_table().astype(np.int32))[index]


def exp2(a: ArrayLike, bias: ArrayLike, result_bias: ArrayLike) -> Array:
    """``2^x`` of ``x = value(a) * 2^(bias/8)``, below the top ``2^(result_bias/8)``; saturates."""
    lam, negative, zero, nan = fields(a)
    bits, guard = PAL16.fraction_bits, tables.EXP_GUARD_BITS
    log = _int(bias) * (1 << bits - 3) - lam
    table = jnp.asarray(tables.exp_antilog(bits, bits).astype(np.int32))
    shift = tables.EXP_INTEGER_BITS - 1 - (log >> bits)
    entry = 2 * table[log & (1 << bits) - 1] >> jnp.clip(shift, 0, 31)
    size = jnp.where(zero, 0, jnp.where(shift < 0, _FAR, (entry + 1) >> 1))
    distance = _int(result_bias) * (1 << bits + guard - 3) - jnp.where(negative, -size, size)
    step = 1 << guard
    near = (distance + step - tables.round_up_from(step, _OCTAVE << guard)) >> guard
    # Below the least level there is zero alone, an octave down.
    near = jnp.where(distance > PAL16.lambda_max << guard, distance >> guard, near)
    return _with(code16(_TOP - near, False), nan)


def log2(a: ArrayLike, bias: ArrayLike, result_bias: ArrayLike) -> Array:
    """``log2 x`` of ``x = value(a) * 2^(bias/8)``, below the top ``2^(result_bias/8)``.

    ``log2 0`` saturates at the negative top; of a negative NaN.
    """
    lam, negative, zero, nan = fields(a)
    bits = PAL16.fraction_bits
    log = _int(bias) * (1 << bits - 3) - lam
    size = log_of_integer(jnp.maximum(jnp.abs(log), 1))
    distance = 128 * _int(result_bias) - size + (bits << bits)
    code = jnp.where(log == 0, 0, code16(_TOP - distance, log < 0))
    return _with(jnp.where(zero, _TOP | _NAN, code), nan | negative)


def add16(a: ArrayLike, b: ArrayLike) -> Array:
    """Sums of operands under one top; NaN if either is, ``x + (-x)`` is zero."""
    a, b = jnp.broadcast_arrays(_int(a), _int(b))
    ma, mb = a & _TOP, b & _TOP
    total, negative, zero = _add_logs(ma, a > _TOP, mb, b > _TOP)
    code = jnp.where(zero, 0, code16(total, negative))
    code = jnp.where(mb == 0, a, jnp.where(ma == 0, b, code))
    return _with(code, (a == _NAN) | (b == _NAN))


def fma16(a: ArrayLike, b: ArrayLike, c: ArrayLike, offset: ArrayLike = 0) -> Array:
    """``a * b + c``, rounded once; the top of ``c`` lies ``offset`` / 1024 octave below that of the
    product."""
    a, b, c = jnp.broadcast_arrays(_int(a), _int(b), _int(c))
    ma, mb, mc = (v & _TOP for v in (a, b, c))
    product, addend = ma + mb - _TOP, mc - _int(offset)
    negative, negative_c = (a > _TOP) != (b > _TOP), c > _TOP
    total, sign, zero = _add_logs(product, negative, addend, negative_c)
    code = jnp.where(zero, 0, code16(total, sign))
    code = jnp.where(mc == 0, code16(product, negative), code)
    no_product = (ma == 0) | (mb == 0)
    code = jnp.where(no_product, jnp.where(mc == 0, 0, code16(addend, negative_c)), code)
    return _with(code, (a == _NAN) | (b == _NAN) | (c == _NAN))


def _add_logs(
    ma: Array, negative_a: Array, mb: Array, negative_b: Array
) -> tuple[Array, Array, Array]:
    grow, shrink = (jnp.asarray(t.astype(np.int32)) for t in add_tables())
    d = jnp.minimum(jnp.abs(ma - mb), len(grow) - 1)
    opposite = negative_a != negative_b
    total = jnp.maximum(ma, mb) + jnp.where(opposite, shrink[d], grow[d])
    return total, jnp.where(ma >= mb, negative_a, negative_b), opposite & (ma == mb)


def neg(a: ArrayLike) -> Array:
    """``-a``; zero and NaN stay."""
    a = _int(a)
    return jnp.where(a & _TOP == 0, a, a ^ _NAN).astype(jnp.uint16)


def absolute(a: ArrayLike) -> Array:
    """``|a|``; NaN stays."""
    a = _int(a)
    return _with(a & _TOP, a == _NAN)


def relu16(a: ArrayLike) -> Array:
    """``max(a, 0)``; NaN stays NaN."""
    a = _int(a)
    return jnp.where((a & _NAN != 0) & (a != _NAN), 0, a).astype(jnp.uint16)


def _ordinal(a: ArrayLike) -> tuple[Array, Array]:
    a = _int(a)
    return jnp.where(a & _NAN != 0, -(a & _TOP), a & _TOP), a == _NAN


def less(a: ArrayLike, b: ArrayLike) -> Array:
    """``a < b``; False if either is NaN."""
    (x, nan_a), (y, nan_b) = _ordinal(a), _ordinal(b)
    return (x < y) & ~nan_a & ~nan_b


def equal(a: ArrayLike, b: ArrayLike) -> Array:
    """``a == b``; False if either is NaN."""
    (x, nan_a), (y, nan_b) = _ordinal(a), _ordinal(b)
    return (x == y) & ~nan_a & ~nan_b


def minimum(a: ArrayLike, b: ArrayLike) -> Array:
    """The lesser value; NaN if either is."""
    return _with(jnp.where(less(b, a), b, a), (_int(a) == _NAN) | (_int(b) == _NAN))


def maximum(a: ArrayLike, b: ArrayLike) -> Array:
    """The greater value; NaN if either is."""
    return _with(jnp.where(less(a, b), b, a), (_int(a) == _NAN) | (_int(b) == _NAN))


def encode_accumulator(acc: Array, nan: Array, offset: ArrayLike, params: DotParams) -> Array:
    """Codes of accumulators, int32; ``offset = T_result - T_a - T_b`` in 1/8 octave; faithful."""
    size = jnp.where(acc < 0, -acc.astype(jnp.uint32), acc.astype(jnp.uint32))
    top = int(_OCTAVE * tables.octaves_below(params))
    lam = top + 128 * _int(offset) - log_of_integer(jnp.maximum(size, jnp.uint32(1)))
    return _with(jnp.where(acc == 0, 0, code16(_TOP - lam, acc < 0)), nan)
