"""Real numbers to PAL arrays: what numpy's ``encode`` computes in float64, in integers."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK, Format, format_of, whole
from pal_units.jax.array import INVALID, PalArray, check_format
from pal_units.jax.float64 import (
    ONE,
    add,
    bits_of,
    exponent,
    from_real,
    mantissa,
    mul,
    shifted,
    u64,
    wide,
)
from pal_units.model.codec import EIGHTHS, check_tensor_bias, code_dtype
from pal_units.shapes import normal_axis

#: Bits of infinity; above it there is NaN.  Of float32 as ``from_real`` has them.
INFINITE = (255 + 1023 - 127) << 52
#: Octaves around 1.0 in which magnitudes of PAL16 under its own top lie.
_NEAR = 64


@cache
def round_up_from(fmt: Format) -> NDArray[np.uint64]:
    """Bits of the least float64 that rounds to ``m`` or above, for ``m`` in ``1..m_max``.

    It is the midpoint of two levels where that is a float64 and ties go up, to an even ``m``; else
    the next one.
    """
    levels = fmt.levels
    low, high = levels[:-1], levels[1:]
    total = low + high
    # What rounding left out of the sum (O. Moller, "Quasi double-precision in floating point
    # addition", BIT 5, 1965).
    rest = low - (total - high)
    even = np.arange(1, len(levels)) % 2 == 0
    bits = bits_of(total / 2)
    return np.where((rest < 0) | ((rest == 0) & even), bits, bits + np.uint64(1))


def eighth(bias: Array) -> Array:
    """``2^((bias % 8) / 8)``."""
    return u64(bits_of(EIGHTHS))[bias % BIAS_PER_OCTAVE]


def below_top(size: Array, bias: Array) -> Array:
    """``size * 2^(-bias / 8)``, rounded once."""
    return shifted(mul(size, eighth(-bias)), -bias // BIAS_PER_OCTAVE)


def nearest(size: Array, fmt: Format) -> Array:
    """Magnitudes ``m`` of the levels nearest to numbers below a top of 1.0; int32, saturating."""
    limits = round_up_from(fmt)
    method = "compare_all" if len(limits) < 64 else "scan"
    return jnp.searchsorted(u64(limits), size, side="right", method=method).astype(jnp.int32)


def least_bias(most: Array) -> Array:
    """Least bias whose top is not below ``most``, a number above 0."""
    above = (mantissa(most)[..., None] > u64(bits_of(EIGHTHS) & np.uint64((1 << 52) - 1))).sum(
        axis=-1, dtype=jnp.int32
    )
    return BIAS_PER_OCTAVE * exponent(most) + above


@cache
def _halfway() -> NDArray[np.uint64]:
    """Bits of the least number of 1 to 2 that counts as above each half of an eighth of an octave.

    A row for each exponent from ``-_NEAR`` on: the numbers halfway are magnitudes of PAL16, and
    which way the float64 logarithm of one rounds depends on its exponent.
    """
    halves = np.exp2((2 * np.arange(BIAS_PER_OCTAVE) + 1) / (2 * BIAS_PER_OCTAVE))
    octave = np.arange(-_NEAR, _NEAR)[:, None]
    eighths = np.floor(BIAS_PER_OCTAVE * np.log2(np.ldexp(halves, octave)) + 0.5)
    up = eighths == BIAS_PER_OCTAVE * octave + np.arange(1, BIAS_PER_OCTAVE + 1)
    return np.where(up, bits_of(halves), bits_of(halves) + np.uint64(1))


def _nearest_bias(most: Array) -> Array:
    limits = u64(_halfway())[jnp.clip(exponent(most) + _NEAR, 0, 2 * _NEAR - 1)]
    above = (u64(ONE) | mantissa(most))[..., None] >= limits
    return BIAS_PER_OCTAVE * exponent(most) + above.sum(axis=-1, dtype=jnp.int32)


def _searched_bias(blocks: Array, most: Array, fmt: Format) -> Array:
    """Bias of least squared error among the format's candidates, the first of equals.

    ``blocks`` (..., block), of NaN zeros.
    """
    levels = u64(bits_of(fmt.levels))
    near = _nearest_bias(most)
    tried = near[..., None] + jnp.asarray(np.array(fmt.bias_candidates, np.int32))
    a = below_top(blocks[..., None, :], tried[..., None])
    level = levels[nearest(a, fmt)]
    # A number and its nearest level are within a factor of two, or the level is 0: exact (P. H.
    # Sterbenz, "Floating-point computation", 1974).
    error = _difference(a, level)
    squares = jnp.moveaxis(mul(error, error), -1, 0)
    total, _ = lax.scan(lambda s, x: (add(s, x), None), jnp.zeros_like(squares[0]), squares)
    steps = 2 * np.array(fmt.bias_candidates)
    weights = bits_of(EIGHTHS[steps % 8] * np.exp2(steps // 8))
    errors = mul(total, u64(weights))
    # One after the other: argmin of 64 bits is not lowered outside of ``wide``.
    best, found = errors[..., 0], tried[..., 0]
    for k in range(1, len(steps)):
        better = errors[..., k] < best
        best, found = (jnp.where(better, v[..., k], w) for v, w in ((errors, best), (tried, found)))
    return found


def _difference(a: Array, b: Array) -> Array:
    """``|a - b|`` of numbers within a factor of two of each other, or one of them 0."""
    more, less = jnp.maximum(a, b), jnp.minimum(a, b)
    down = (more >> u64(52)) - (less >> u64(52))
    # Twice as fine as the larger, which is exact.
    x = (mantissa(more) | u64(1 << 52)) << jnp.minimum(down, u64(1))
    left = x - (mantissa(less) | u64(1 << 52))
    lead = 63 - lax.clz(jnp.maximum(left, u64(1))).astype(jnp.int32)
    bits = (left << u64(jnp.maximum(52 - lead, 0))) & u64((1 << 52) - 1)
    place = exponent(more) - jnp.minimum(down, u64(1)).astype(jnp.int32) + lead - 52
    found = u64(place + 1023) << u64(52) | bits
    return jnp.where(less == 0, more, jnp.where(left == 0, u64(0), found))


@wide
def encode_sizes(
    size: Array,
    negative: Array,
    nan: Array,
    infinite: Array,
    fmt: Format,
    tensor_bias: Array | None,
) -> tuple[Array, Array, Array]:
    """Codes and block biases of rows (..., K), ``K`` a multiple of the block, and the tensor bias.

    ``size``: bits of magnitudes, see ``float64``; of NaN and infinities anything.
    """
    shape = size.shape
    size = jnp.where(nan | infinite, u64(0), size)
    together = fmt.block if fmt.block > 1 else shape[-1]
    blocks = size.reshape(*shape[:-1], -1, max(together, 1))
    in_block = nan.reshape(blocks.shape).any(axis=-1)
    most = blocks.max(axis=-1, initial=0)
    numbers = most > 0
    positive = jnp.where(numbers, most, u64(ONE))
    searched = fmt.bias_candidates
    bias = _searched_bias(blocks, positive, fmt) if searched else least_bias(positive)
    if tensor_bias is None:
        least = np.iinfo(np.int32).min
        top = jnp.where(numbers, bias, least).max(initial=least)
        top = jnp.where(numbers.any(), top, 0)
    else:
        top = tensor_bias
    if fmt.block == 1:
        beta = jnp.zeros(bias.shape, jnp.int32)
        stored = jnp.zeros(shape, jnp.int8)
    else:
        down = (top - bias) // fmt.bias_step * fmt.bias_step
        beta = jnp.clip(-down, fmt.beta_min, 0)
        used = numbers | in_block
        stored = jnp.where(used, beta, ZERO_BLOCK).astype(jnp.int8)
        beta = jnp.where(used, beta, 0)
    m = nearest(below_top(blocks, (top + beta)[..., None]), fmt).reshape(shape)
    code = m | jnp.where(negative & (m > 0), fmt.sign_bit, 0)
    code = jnp.where(nan, fmt.sign_bit if fmt.has_nan else 0, code).astype(code_dtype(fmt))
    lost = infinite.any() | (False if fmt.has_nan else nan.any())
    lost |= (top < -(1 << 15)) | (top >= 1 << 15)
    return code, stored, jnp.where(lost, INVALID, top).astype(jnp.int32)


def padded(x: Array, fmt: Format, pad: bool, axis: int) -> Array:
    """Rows of whole blocks, filled up with zeros.

    Raises ``ValueError`` for a last axis that blocks do not divide, unless ``pad``.
    """
    rest = -x.shape[-1] % fmt.block
    if rest and not pad:
        raise ValueError(
            f"axis {axis} of length {x.shape[-1]} must be a multiple of the block of "
            f"{fmt.block}; pad=True fills the last block with zeros"
        )
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, rest)]) if rest else x


def encode(
    x: ArrayLike,
    fmt: Format | str,
    *,
    block: int | None = None,
    axis: int = -1,
    tensor_bias: int | None = None,
    pad: bool = False,
) -> PalArray:
    """Encode real numbers, rounding each to the nearest code; see ``pal_units.encode``.

    Codes, biases and tensor bias are those of the numpy library, on every device, within ``jit``,
    ``vmap`` and ``grad`` or without.  ``x``: floats or integers of up to 32 bits.

    Raises
    ------
    TypeError: ``x`` does not hold real numbers of up to 32 bits; ``fmt`` is no format, or of
        profile A; ``block``, ``axis`` or ``tensor_bias`` is no integer.
    ValueError: an unknown name; ``axis`` out of range or not a multiple of the block; a tensor bias
        that int16 cannot hold; outside of ``jit`` infinities, and NaN in a format of fewer than 6
        bits.  Inside, where values are not known, these make an array that is ``INVALID``: it
        decodes to NaN.
    """
    fmt = format_of(fmt)
    check_format(fmt)
    if block is not None:
        fmt = fmt.with_block(block)
    if tensor_bias is not None:
        tensor_bias = whole("tensor_bias", tensor_bias)
        check_tensor_bias(tensor_bias)
    values = real(x)
    axis = normal_axis(axis, values.ndim)
    if values.shape[axis] % fmt.block and not pad:
        padded(jnp.moveaxis(values, axis, -1), fmt, pad, axis)
    bias = None if tensor_bias is None else jnp.int32(tensor_bias)
    found = _encoded(values, fmt, axis, bias)
    if not isinstance(found.tensor_bias, jax.core.Tracer) and int(found.tensor_bias) == INVALID:
        held = np.asarray(values, np.float32)
        name, count = "infinities", int(np.isinf(held).sum())
        if not count:
            name, count = "NaN (n < 6)", int(np.isnan(held).sum())
        raise ValueError(f"{fmt.name} has no {name}; x holds {count}")
    return found


def real(x: Any) -> Array:
    """An array of real numbers of up to 32 bits; ``TypeError`` for another."""
    dtype = getattr(x, "dtype", None)
    values = jnp.asarray(x) if dtype is None or np.dtype(dtype).itemsize <= 4 else None
    if values is None or not (
        jnp.issubdtype(values.dtype, jnp.integer) or jnp.issubdtype(values.dtype, jnp.floating)
    ):
        raise TypeError(
            f"x must hold floats or integers of up to 32 bits, not {dtype or values.dtype}"  # type: ignore[union-attr]
        )
    if values.dtype.itemsize > 4:
        raise TypeError(f"x must hold floats or integers of up to 32 bits, not {values.dtype}")
    return values


@partial(jax.jit, static_argnums=(1, 2))
@wide
def _encoded(x: Array, fmt: Format, axis: int, tensor_bias: Array | None) -> PalArray:
    length = x.shape[axis]
    rows = padded(jnp.moveaxis(x, axis, -1), fmt, True, axis)
    size, negative = from_real(rows)
    nan, infinite = size > u64(INFINITE), size == u64(INFINITE)
    if jnp.issubdtype(x.dtype, jnp.integer):
        nan = infinite = jnp.zeros_like(nan)
    codes, biases, top = encode_sizes(size, negative, nan, infinite, fmt, tensor_bias)
    if fmt.block == 1:
        biases = biases[..., :length]
    return PalArray(
        jnp.moveaxis(codes[..., :length], -1, axis), jnp.moveaxis(biases, -1, axis), top, fmt, axis
    )
