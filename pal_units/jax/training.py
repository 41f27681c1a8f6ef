"""PAL numbers in training: gradients go straight through the rounding.

Straight-through estimator: Y. Bengio, N. Leonard, A. Courville, "Estimating or propagating
gradients through stochastic neurons for conditional computation", arXiv:1308.3432, 2013.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from pal_units.formats import PAL8T, Format, format_of
from pal_units.jax.encoding import encode
from pal_units.jax.products import matmul


def fake_quantise(x: ArrayLike, fmt: Format | str = PAL8T, axis: int = -1) -> Array:
    """``x`` rounded to a format, as float32: ``encode(x).decode()``; its gradient is that of ``x``.

    Blocks lie along ``axis``, the last of them may be shorter.  For speed: a product of two such
    arrays in the device's own floats lacks the rounding of ``pal_matmul``'s products alone.
    Raises as ``encode``.
    """
    return _through(jnp.asarray(x), format_of(fmt), axis)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _through(x: Array, fmt: Format, axis: int) -> Array:
    return encode(x, fmt, axis=axis, pad=True).decode()


@_through.defjvp
def _(fmt: Format, axis: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    return _through(*primals, fmt, axis), tangents[0].astype(jnp.float32)


def pal_matmul(x: ArrayLike, w: ArrayLike, fmt: Format | str = PAL8T) -> Array:
    """``x @ w`` of matrices, both rounded to a format, as exact block products; float32.

    The gradients are those of a product of the rounded operands, themselves such exact products.
    Raises as ``encode`` and ``matmul``.
    """
    return _product(jnp.asarray(x), jnp.asarray(w), format_of(fmt))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(x: Array, w: Array, fmt: Format) -> Array:
    return matmul(encode(x, fmt, pad=True), encode(w, fmt, axis=0, pad=True))


def _forward(x: Array, w: Array, fmt: Format) -> tuple[Array, tuple[Array, Array]]:
    return _product(x, w, fmt), (x, w)


def _backward(fmt: Format, kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    x, w = kept
    of_x, of_w = _product(slope, w.T, fmt), _product(x.T, slope, fmt)
    return of_x.astype(x.dtype), of_w.astype(w.dtype)


_product.defvjp(_forward, _backward)
