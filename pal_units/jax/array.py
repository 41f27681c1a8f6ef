"""PAL arrays on devices: what ``pal_units.PalArray`` holds, as a pytree."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import pal_units
from pal_units.formats import ZERO_BLOCK, Format
from pal_units.jax.float64 import bits_of, shifted, to_float32, u64, wide
from pal_units.model.codec import check_tensor_bias
from pal_units.tables import argument_bits

#: In place of a tensor bias: there were infinities, or NaN in a format without, and no array holds
#: them.  It is outside of int16, decodes to NaN, and stays in all that is computed with it.
INVALID = -(1 << 15) - 1


@dataclass(frozen=True, eq=False)
class PalArray:
    """Numbers in a PAL format, on a device.

    Parameters
    ----------
    codes: uint8 (``n <= 8``) or uint16, any shape.
    biases: int8, shape of ``codes`` with ``axis`` divided by ``fmt.block``.
    tensor_bias: int32, one element; ``INVALID`` where encoding was not possible.
    fmt, axis: static: another format is another compiled function.
    """

    codes: Array
    biases: Array
    tensor_bias: Array
    fmt: Format
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of numbers."""
        return tuple(self.codes.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return int(self.codes.ndim)

    @property
    def T(self) -> "PalArray":
        """The transposed array; blocks stay with their elements."""
        return replace(
            self, codes=self.codes.T, biases=self.biases.T, axis=self.ndim - 1 - self.axis
        )

    def decode(self) -> Array:
        """The values, float32, nearest to those of numpy's ``decode``; NaN codes give NaN.

        Infinite where float32 does not reach; NaN everywhere in an invalid array.
        """
        return _decoded(self)

    def numpy(self) -> pal_units.PalArray:
        """The array of the numpy library, of the same bits.

        Raises ``ValueError`` for an invalid array: encoding met what the format does not have.
        """
        tensor_bias = int(self.tensor_bias)
        if tensor_bias == INVALID:
            raise ValueError(
                f"no array of {self.fmt.name}: encoding met infinities, NaN in a format "
                "without, or a tensor bias beyond int16"
            )
        return pal_units.PalArray(
            np.asarray(self.codes), np.asarray(self.biases), tensor_bias, self.fmt, self.axis
        )

    def __add__(self, other: "PalArray") -> "PalArray":
        from pal_units.jax.functions import add

        return add(self, other)

    def __sub__(self, other: "PalArray") -> "PalArray":
        from pal_units.jax.functions import subtract

        return subtract(self, other)

    def __mul__(self, other: "PalArray") -> "PalArray":
        from pal_units.jax.functions import multiply

        return multiply(self, other)

    def __truediv__(self, other: "PalArray") -> "PalArray":
        from pal_units.jax.functions import divide

        return divide(self, other)

    def __matmul__(self, other: "PalArray") -> Array:
        from pal_units.jax.products import matmul

        return matmul(self, other)


jax.tree_util.register_dataclass(PalArray, ["codes", "biases", "tensor_bias"], ["fmt", "axis"])


def from_numpy(a: pal_units.PalArray) -> PalArray:
    """An array of the numpy library on the default device.

    Raises ``TypeError`` for what is none, and for profile A.
    """
    if not isinstance(a, pal_units.PalArray):
        raise TypeError(f"from_numpy takes a pal_units.PalArray, not {type(a).__name__}")
    check_format(a.fmt)
    check_tensor_bias(a.tensor_bias)
    return PalArray(
        jnp.asarray(a.codes), jnp.asarray(a.biases), jnp.int32(a.tensor_bias), a.fmt, a.axis
    )


def check_format(fmt: Format) -> None:
    """Raise ``TypeError`` for profile A, which this library does not have."""
    if fmt.codebooks is not None:
        raise TypeError(
            f"pal_units.jax has profiles T and U; {fmt.name} is of profile A: encode it with "
            "pal_units"
        )


def each(of_blocks: Array, a: PalArray) -> Array:
    """What is given for each block, for each of its elements."""
    wide_blocks = jnp.repeat(of_blocks, a.fmt.block, axis=a.axis)
    return jax.lax.slice_in_dim(wide_blocks, 0, a.shape[a.axis], axis=a.axis)


@jax.jit
@wide
def _decoded(a: PalArray) -> Array:
    fmt = a.fmt
    unit = 1 << argument_bits(fmt)
    codes = a.codes.astype(jnp.int32)
    magnitude = codes & fmt.m_max
    lam = jnp.asarray(fmt.lambdas.astype(np.int32))[magnitude] * (unit >> fmt.fraction_bits)
    beta = each(a.biases, a).astype(jnp.int32)
    log = (a.tensor_bias + beta) * (unit // 8) - lam
    powers = u64(bits_of(np.exp2(np.arange(unit) / unit)))
    bits = shifted(powers[log % unit], log // unit)
    zero = (magnitude == 0) | (beta == ZERO_BLOCK)
    value = to_float32(jnp.where(zero, u64(0), bits), (codes & fmt.sign_bit != 0) & ~zero)
    nan = (codes == fmt.sign_bit) & fmt.has_nan & (beta != ZERO_BLOCK)
    return jnp.where(nan | (a.tensor_bias == INVALID), jnp.float32(jnp.nan), value)
