"""PAL numbers in JAX: integer code for CPU, GPU and TPU, of the bits of the numpy library.

>>> import jax.numpy as jnp
>>> import pal_units.jax as pj
>>> x = pj.encode(jnp.array([[1.0, -0.5, 0.3, 0.0]]), "PAL8T", block=4)
>>> x.decode().tolist()
[[1.0, -0.5, 0.2973017692565918, 0.0]]
>>> pj.matmul(x, x.T).tolist()
[[1.3310726881027222]]

Needs the extra ``jax``.
"""

from pal_units.jax.array import INVALID, PalArray, from_numpy
from pal_units.jax.encoding import encode
from pal_units.jax.functions import (
    add,
    divide,
    exp2,
    log2,
    maximum,
    minimum,
    multiply,
    rsqrt,
    sqrt,
    subtract,
)
from pal_units.jax.products import accumulate, matmul
from pal_units.jax.training import fake_quantise, pal_matmul

__all__ = [
    "INVALID",
    "PalArray",
    "accumulate",
    "add",
    "divide",
    "encode",
    "exp2",
    "fake_quantise",
    "from_numpy",
    "log2",
    "matmul",
    "maximum",
    "minimum",
    "multiply",
    "pal_matmul",
    "rsqrt",
    "sqrt",
    "subtract",
]
