"""Positive float64 numbers in integers: the bits are IEEE 754's on every device.

Encoding is defined by what numpy computes in float64.  Processors differ there: they fuse products
and sums, flush small numbers to zero, or have no float64.  A number here is its bit pattern,
uint64; 0 is zero, all others are normal.  Order of bits is order of numbers.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

#: Bits of the mantissa below the leading one, and the bits of 1.0.
MANTISSA_BITS, ONE = 52, 1023 << 52
_BELOW = (1 << MANTISSA_BITS) - 1
_HALF_WORD = 26
#: Guard bits of a sum.
_GUARD = 9
#: Exponents of float32: bias and most.
_BIAS32, _MOST32 = 127, 254

F = TypeVar("F", bound=Callable[..., Any])


def wide(function: F) -> F:
    """With 64 bit integers inside, whatever ``jax_enable_x64`` says outside."""

    @wraps(function)
    def inside(*args: Any, **options: Any) -> Any:
        with jax.enable_x64(True):
            return function(*args, **options)

    return inside  # type: ignore[return-value]


def u64(x: Any) -> Array:
    """As uint64."""
    return jnp.asarray(x, jnp.uint64)


def bits_of(x: np.ndarray) -> np.ndarray:
    """Of positive float64 numbers, for tables."""
    return np.ascontiguousarray(x, np.float64).view(np.uint64)


def from_real(x: Array) -> tuple[Array, Array]:
    """Magnitudes of integers and floats of up to 32 bits, and whether they are negative.

    Of infinities and NaN the bits are above those of all numbers.
    """
    if jnp.issubdtype(x.dtype, jnp.integer):
        negative = x < 0
        size = jnp.where(negative, -x.astype(jnp.int64), x.astype(jnp.int64)).astype(jnp.uint64)
        zeros = lax.clz(size)
        mantissa = (size << jnp.minimum(zeros, u64(63))) >> u64(11)
        exponent = u64(1023 + 63) - zeros
        return jnp.where(
            size == 0, u64(0), (exponent << u64(52)) | (mantissa & u64(_BELOW))
        ), negative
    bits = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    size = bits & jnp.uint32(0x7FFF_FFFF)
    exponent, mantissa = (size >> 23).astype(jnp.int32), size & jnp.uint32(0x7F_FFFF)
    # Subnormal numbers: 2^-149 times the mantissa.
    shift = lax.clz(jnp.maximum(mantissa, jnp.uint32(1))) - jnp.uint32(8)
    small = exponent == 0
    mantissa = jnp.where(small, mantissa << shift & jnp.uint32(0x7F_FFFF), mantissa)
    exponent = jnp.where(small, 1 - shift.astype(jnp.int32), exponent)
    wide_bits = u64(exponent + (1023 - _BIAS32)) << u64(52) | u64(mantissa) << u64(29)
    return jnp.where(size == 0, u64(0), wide_bits), bits >> 31 == 1


def shifted(a: Array, octaves: Array) -> Array:
    """``a * 2^octaves``: exact where it is a normal number, else zero or the largest one; what is
    no number stays."""
    place = (a >> u64(MANTISSA_BITS)).astype(jnp.int64)
    after = place + jnp.asarray(octaves, jnp.int64)
    moved = jnp.clip(after, 0, 2046).astype(jnp.uint64) << u64(MANTISSA_BITS) | mantissa(a)
    moved = jnp.where(after > 2046, u64((2047 << MANTISSA_BITS) - 1), moved)
    moved = jnp.where(after < 1, u64(0), moved)
    return jnp.where((a == 0) | (place == 2047), a, moved)


def exponent(a: Array) -> Array:
    """``floor(log2(a))`` as int32; of zero it means nothing."""
    return (a >> u64(MANTISSA_BITS)).astype(jnp.int32) - 1023


def mantissa(a: Array) -> Array:
    """The bits below the leading one, uint64."""
    return a & u64(_BELOW)


def mul(a: Array, b: Array) -> Array:
    """Products, rounded to nearest, ties to even."""
    low = u64((1 << _HALF_WORD) - 1)
    x, y = (mantissa(v) | u64(1 << MANTISSA_BITS) for v in (a, b))
    x1, x0, y1, y0 = x >> u64(_HALF_WORD), x & low, y >> u64(_HALF_WORD), y & low
    middle = x1 * y0 + x0 * y1
    rest = x0 * y0 + ((middle & low) << u64(_HALF_WORD))
    high = x1 * y1 + (middle >> u64(_HALF_WORD)) + (rest >> u64(MANTISSA_BITS))
    rest = rest & u64(_BELOW)
    # The product is high * 2^52 + rest; its leading one is bit 104 or 105.
    carry = high >> u64(MANTISSA_BITS + 1)
    whole = high >> carry
    below = jnp.where(carry == 1, (high & u64(1)) << u64(MANTISSA_BITS) | rest, rest << u64(1))
    half = u64(1 << MANTISSA_BITS)
    up = (below > half) | ((below == half) & (whole & u64(1) == 1))
    found = (
        ((a >> u64(MANTISSA_BITS)) + (b >> u64(MANTISSA_BITS)) + carry - u64(1023))
        << u64(MANTISSA_BITS)
    ) + (whole - u64(1 << MANTISSA_BITS))
    return jnp.where((a == 0) | (b == 0), u64(0), found + up.astype(jnp.uint64))


def add(a: Array, b: Array) -> Array:
    """Sums, rounded to nearest, ties to even."""
    more, less = jnp.maximum(a, b), jnp.minimum(a, b)
    down = jnp.minimum((more >> u64(MANTISSA_BITS)) - (less >> u64(MANTISSA_BITS)), u64(63))
    x, y = ((mantissa(v) | u64(1 << MANTISSA_BITS)) << u64(_GUARD) for v in (more, less))
    moved = y >> down
    sticky = (moved << down != y).astype(jnp.uint64)
    total = x + (moved | sticky)
    carry = total >> u64(MANTISSA_BITS + 1 + _GUARD)
    drop = u64(_GUARD) + carry
    whole, below = total >> drop, total & ((u64(1) << drop) - u64(1))
    half = u64(1) << (drop - u64(1))
    up = (below > half) | ((below == half) & (whole & u64(1) == 1))
    found = (((more >> u64(MANTISSA_BITS)) + carry) << u64(MANTISSA_BITS)) + (
        whole - u64(1 << MANTISSA_BITS)
    )
    return jnp.where(less == 0, more, found + up.astype(jnp.uint64))


def to_float32(a: Array, negative: Array) -> Array:
    """The nearest float32, subnormal numbers among them; too large ones are infinite."""
    place = exponent(a) + _BIAS32
    drop = u64(29 + jnp.clip(1 - place, 0, 30))
    whole = mantissa(a) | u64(1 << MANTISSA_BITS)
    kept, below = whole >> drop, whole & ((u64(1) << drop) - u64(1))
    half = u64(1) << (drop - u64(1))
    up = (below > half) | ((below == half) & (kept & u64(1) == 1))
    kept = (kept + up.astype(jnp.uint64)).astype(jnp.int32)
    # The leading one of a normal number counts as one in the exponent's place.
    size = kept + (jnp.maximum(place, 1) - 1 << 23)
    size = jnp.where(place > _MOST32, 0x7F80_0000, jnp.where(a == 0, 0, size))
    bits = size.astype(jnp.uint32) | negative.astype(jnp.uint32) << 31
    return lax.bitcast_convert_type(bits, jnp.float32)
