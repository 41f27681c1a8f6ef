"""Exact matrix products of PAL arrays, in integers of 32 bits.

Lanes add logarithms and look their product up, block sums are exact, blocks are shifted by the
octaves of their biases: the accumulators are those of ``pal_units.accumulate`` in any order.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from pal_units import tables
from pal_units.dot_params import DotParams, dot_params
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK
from pal_units.jax.array import INVALID, PalArray
from pal_units.jax.encoding import eighth
from pal_units.jax.float64 import bits_of, mul, shifted, to_float32, u64, wide
from pal_units.model import edge

#: Accumulators are summed as two halves of so many bits, so that 32 bits hold the sums of each.
_HALF = 16
#: Blocks that halves have room for.
MOST_BLOCKS = 1 << 14


def accumulate(a: PalArray, b: PalArray, params: DotParams | None = None) -> tuple[Array, Array]:
    """Exact integer accumulators of ``a @ b``, int32, and where they are none.

    ``a`` is (M, K) with blocks along K, ``b`` (K, N) with blocks along K, both of up to 8 bits,
    formats may differ.  None are those in which a NaN takes part, which do not fit
    ``params.accumulator_bits`` (numpy's ``accumulate`` raises there), and all of an invalid array.

    Raises
    ------
    TypeError: an operand is no ``PalArray``, ``params`` no ``DotParams``.
    ValueError: shapes, block axes or blocks that do not match; a format above 8 bits; ``params``
        that 32 bits do not hold, or with ``edge_biases``; more than ``MOST_BLOCKS`` blocks.
    """
    params = _checked(a, b, params)
    return _accumulated(a, b, params)


def matmul(a: PalArray, b: PalArray, params: DotParams | None = None) -> Array:
    """``a @ b`` as float32, nearest to what numpy's ``matmul`` gives; NaN where there is none.

    Raises as ``accumulate``.
    """
    params = _checked(a, b, params)
    return _scaled(*_accumulated(a, b, params), a.tensor_bias + b.tensor_bias, params)


def _checked(a: Any, b: Any, params: DotParams | None) -> DotParams:
    for name, operand in (("a", a), ("b", b)):
        if not isinstance(operand, PalArray):
            raise TypeError(
                f"{name} must be a pal_units.jax.PalArray, not {type(operand).__name__}"
            )
        if operand.fmt.n > 8:
            raise ValueError(f"products are for up to 8 bits, {name} is {operand.fmt.name}")
        if operand.ndim != 2:
            raise ValueError(f"{name} must have 2 axes, its shape is {operand.shape}")
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"inner dimensions differ: {a.shape} @ {b.shape}")
    if a.axis != 1 or b.axis != 0:
        raise ValueError(
            f"blocks must lie along the summed axis: axis 1 of a, 0 of b, not {a.axis} and {b.axis}"
        )
    if a.fmt.block != b.fmt.block:
        raise ValueError(f"blocks differ: {a.fmt.block} and {b.fmt.block}")
    if params is None:
        params = dot_params(a.fmt, b.fmt)
    if not isinstance(params, DotParams):
        raise TypeError(f"params must be DotParams, not {type(params).__name__}")
    if params.edge_biases:
        raise ValueError("params with edge_biases are of profile A, which pal_units.jax has not")
    for fmt in (a.fmt, b.fmt):
        if fmt.fraction_bits > params.fraction_bits or fmt.bias_step % params.bias_step:
            raise ValueError(f"params are coarser than {fmt.name}")
    if params.sum_bits(a.fmt.block) + params.guard_bits > 32 or params.accumulator_bits > 32:
        raise ValueError("params need more than the 32 bits that accumulators have here")
    if a.biases.shape[1] > MOST_BLOCKS:
        raise ValueError(
            f"a product of {a.biases.shape[1]} blocks, more than {MOST_BLOCKS}: cut it"
        )
    return params


def _lanes(codes: Array, fmt: Any, params: DotParams) -> tuple[Array, Array, Array]:
    """Logarithms in units of the product, signs (0 for no number), and NaN."""
    codes = codes.astype(jnp.int32)
    lam = fmt.lambdas << params.fraction_bits - fmt.fraction_bits
    counts = (np.arange(len(lam)) > 0) & (
        lam < (params.operand_octaves or 1 << 16) << params.fraction_bits
    )
    magnitude = codes & fmt.m_max
    sign = (
        jnp.where(codes & fmt.sign_bit != 0, -1, 1)
        * jnp.asarray(counts.astype(np.int32))[magnitude]
    )
    return jnp.asarray(lam.astype(np.int32))[magnitude], sign, (codes == fmt.sign_bit) & fmt.has_nan


@partial(jax.jit, static_argnums=2)
def _accumulated(a: PalArray, b: PalArray, params: DotParams) -> tuple[Array, Array]:
    block, count = a.fmt.block, a.biases.shape[1]
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    rest = count * block - inner
    left = _lanes(jnp.pad(a.codes, ((0, 0), (0, rest))), a.fmt, params)
    right = _lanes(jnp.pad(b.codes, ((0, rest), (0, 0))), b.fmt, params)
    eighths = BIAS_PER_OCTAVE // params.bias_step
    most = sum(int(f.lambda_max) << params.fraction_bits - f.fraction_bits for f in (a.fmt, b.fmt))
    unit = 1 << params.fraction_bits
    table = jnp.asarray(edge.magnitudes(np.arange(most + unit), params).astype(np.int32))

    def one(total: Any, part: Any) -> tuple[Any, None]:
        """The sum of a block added to those before."""
        log_a, sign_a, nan_a, beta_a, log_b, sign_b, nan_b, beta_b = part
        down = jnp.maximum(-(beta_a[:, None] + beta_b[None, :]), 0)
        fraction = down % BIAS_PER_OCTAVE // params.bias_step * (unit // eighths)
        at = log_a[:, :, None] + log_b[None, :, :] + fraction[:, None, :]
        signed = sign_a[:, :, None] * sign_b[None, :, :] * table[at]
        term = signed.sum(axis=1, dtype=jnp.int32) << params.guard_bits
        term >>= jnp.minimum(down // BIAS_PER_OCTAVE, 31)
        used = (beta_a != ZERO_BLOCK)[:, None] & (beta_b != ZERO_BLOCK)[None, :]
        term = jnp.where(used, term, 0)
        lost = used & (nan_a.any(axis=1)[:, None] | nan_b.any(axis=0)[None, :])
        low, high, nan = total
        return (low + (term & (1 << _HALF) - 1), high + (term >> _HALF), nan | lost), None

    of_a = [jnp.moveaxis(v.reshape(rows, count, block), 1, 0) for v in left]
    of_b = [v.reshape(count, block, columns) for v in right]
    beta_a, beta_b = a.biases.T.astype(jnp.int32), b.biases.astype(jnp.int32)
    zero = jnp.zeros((rows, columns), jnp.int32)
    (low, high, nan), _ = lax.scan(one, (zero, zero, zero != 0), (*of_a, beta_a, *of_b, beta_b))
    high += low >> _HALF
    limit = 1 << params.accumulator_bits - 1 - _HALF if params.accumulator_bits > _HALF else 0
    found = (high << _HALF) | (low & (1 << _HALF) - 1)
    if limit:
        beyond = (high >= limit) | (high < -limit)
    else:
        small = 1 << params.accumulator_bits - 1
        beyond = (high != found >> _HALF) | (found >= small) | (found < -small)
    invalid = (a.tensor_bias == INVALID) | (b.tensor_bias == INVALID)
    return found, nan | beyond | invalid


@partial(jax.jit, static_argnums=3)
@wide
def _scaled(total: Array, lost: Array, bias: Array, params: DotParams) -> Array:
    """Accumulators as float32, by the two roundings that numpy's float64 makes."""
    octaves, rest = divmod(tables.octaves_below(params), 1)
    size = jnp.abs(total.astype(jnp.int64)).astype(jnp.uint64)
    zeros = lax.clz(size)
    mantissa = ((size << jnp.minimum(zeros, u64(63))) >> u64(11)) & u64((1 << 52) - 1)
    bits = jnp.where(size == 0, u64(0), (u64(1023 + 63) - zeros) << u64(52) | mantissa)
    bias = bias - BIAS_PER_OCTAVE * int(octaves)
    bits = mul(bits, u64(bits_of(np.exp2(np.array([-rest]))))[0])
    bits = shifted(mul(bits, eighth(bias)), bias // BIAS_PER_OCTAVE)
    return jnp.where(lost, jnp.float32(jnp.nan), to_float32(bits, total < 0))
