"""Arrays in PAL formats, in the manner of numpy: ``encode``, arithmetic, ``decode``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units import model, tables
from pal_units.formats import (
    BIAS_PER_OCTAVE,
    PAL16,
    ZERO_BLOCK,
    DotParams,
    Format,
    dot_params,
)
from pal_units.model.codec import EIGHTHS, code_dtype, place_biases
from pal_units.model.elementwise import fields, rounded


@dataclass(frozen=True, eq=False)
class PalArray:
    """Numbers in a PAL format.

    Elementwise operators work as the hardware does: operands go to PAL16, the operation
    is that of ``model``, and the result is encoded anew in the format of the operands.
    A tensor bias is chosen for every result so that nothing saturates; what is more than
    32 octaves below the largest result becomes zero.

    Parameters
    ----------
    codes: element codes, uint8 (``n <= 8``) or uint16, any shape.
    biases: block biases, int8, shape of ``codes`` with ``axis`` divided by ``fmt.block``; all
        0 and not stored where a block is one element.
    tensor_bias: ``T``, 1/8 octave.
    fmt: format.
    axis: axis along which blocks lie, not negative.
    """

    codes: NDArray[Any]
    biases: NDArray[np.int8]
    tensor_bias: int
    fmt: Format
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of numbers."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.codes.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.codes.size

    @property
    def nbytes(self) -> int:
        """Bytes that codes, block biases and the tensor bias take when packed."""
        biases = self.biases.size if self.fmt.block > 1 else 0
        return -(-self.size * self.fmt.n // 8) + biases + 2

    @property
    def T(self) -> "PalArray":
        """The transposed array; blocks stay with their elements."""
        return PalArray(self.codes.T, self.biases.T, self.tensor_bias, self.fmt,
                        self.ndim - 1 - self.axis)

    def decode(self) -> NDArray[np.float64]:
        """The values, float64; NaN codes give NaN."""
        codes, biases = (np.moveaxis(v, self.axis, -1) for v in (self.codes, self.biases))
        values = model.decode_blocks(codes, biases, self.tensor_bias, self.fmt)
        return np.moveaxis(values, -1, self.axis)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("the values of a PalArray are decoded, so they are always a copy")
        return self.decode().astype(dtype or np.float64, copy=False)

    def __repr__(self) -> str:
        return f"PalArray({self.decode()!r}, {self.fmt.name}, axis={self.axis})"

    def __len__(self) -> int:
        return len(self.codes)

    def __neg__(self) -> "PalArray":
        return self._with_codes(model.neg(self.codes, self.fmt))

    def __abs__(self) -> "PalArray":
        return self._with_codes(model.absolute(self.codes, self.fmt))

    def __mul__(self, other: "PalArray") -> "PalArray":
        return multiply(self, other)

    def __truediv__(self, other: "PalArray") -> "PalArray":
        return divide(self, other)

    def __add__(self, other: "PalArray") -> "PalArray":
        return add(self, other)

    def __sub__(self, other: "PalArray") -> "PalArray":
        return subtract(self, other)

    def __matmul__(self, other: "PalArray") -> NDArray[np.float64]:
        return matmul(self, other)

    def dot(self, other: "PalArray") -> Any:
        """``dot(self, other)``."""
        return dot(self, other)

    def _with_codes(self, codes: NDArray[Any]) -> "PalArray":
        return PalArray(codes, self.biases, self.tensor_bias, self.fmt, self.axis)

    def codes16(self, tensor_bias: int) -> NDArray[np.uint16]:
        """PAL16 codes under a tensor bias; exact in range for ``F <= 10``."""
        lam, negative, zero, nan = fields(self.codes, self.fmt)
        beta = np.repeat(self.biases.astype(np.int64), self.fmt.block, axis=self.axis)
        distance = lam / 2.0**self.fmt.fraction_bits \
            + (tensor_bias - self.tensor_bias - beta) / BIAS_PER_OCTAVE
        code = model.with_nan(np.where(zero, 0, rounded(distance, 0, negative, PAL16)), nan, PAL16)
        return np.where(beta == ZERO_BLOCK, 0, code).astype(np.uint16)


def encode(x: ArrayLike, fmt: Format, *, block: int | None = None, axis: int = -1,
           tensor_bias: int | None = None) -> PalArray:
    """Encode real numbers, rounding each to the nearest code.

    Parameters
    ----------
    x: real numbers, any shape of at least one axis.
    fmt: format; ``block`` overrides its elements a block.
    axis: axis along which blocks lie, the one that products sum over.
    tensor_bias: fixes ``T`` (1/8 octave), so that values above ``2^(T/8)`` saturate; by
        default the largest block gets bias 0.

    Raises
    ------
    TypeError: ``x`` does not hold real numbers, or ``fmt`` is no ``Format``.
    ValueError: ``axis`` out of range or not a multiple of the block; infinities; NaN in a
        format of fewer than 6 bits; a tensor bias that int16 cannot hold.
    """
    from pal_units import kernels

    if not isinstance(fmt, Format):
        raise TypeError(f"fmt must be a Format, not {fmt!r}")
    if block is not None:
        fmt = fmt.with_block(block)
    values = np.asarray(x)
    if values.dtype.kind not in "fiu" and values.dtype.name != "bfloat16":
        raise TypeError(f"x must hold real numbers, not {values.dtype}")
    axis = _normal_axis(axis, values.ndim)
    moved = kernels.contiguous(np.moveaxis(values, axis, -1))
    if moved.shape[-1] % fmt.block:
        raise ValueError(f"axis {axis} of length {moved.shape[-1]} must be a multiple of the "
                         f"block of {fmt.block}")
    # Long rows in pieces, so that every core has some.
    piece = fmt.block * max(1, 4096 // fmt.block)
    width = piece if moved.size and moved.shape[-1] % piece == 0 else moved.shape[-1]
    rows = moved.reshape(moved.size // max(width, 1), width)
    # Elements without a bias of their own need the largest magnitude only.
    together = fmt.block if fmt.block > 1 else max(width, 1)
    levels, (index, shift) = fmt.levels, kernels.cells(fmt)
    bias, kind = kernels.biases(rows, together, levels, index, shift, EIGHTHS,
                                np.array(fmt.bias_candidates, np.int64))
    if (kind == kernels.HAS_INFINITY).any():
        raise ValueError(f"{fmt.name} has no infinities; x holds {int(np.isinf(moved).sum())}")
    if not fmt.has_nan and ((kind == kernels.HAS_NAN) | (kind == kernels.NAN_ONLY)).any():
        raise ValueError(f"{fmt.name} has no NaN (n < 6); x holds {int(np.isnan(moved).sum())}")
    used = kind != kernels.EMPTY
    numbers = used & (kind != kernels.NAN_ONLY)
    tensor_bias, beta = place_biases(bias, used, numbers, fmt, tensor_bias)
    codes: NDArray[Any] = np.empty(rows.shape, code_dtype(fmt))
    kernels.codes(rows, np.where(used, beta, 0) + tensor_bias, together, levels, index, shift,
                  EIGHTHS, fmt.sign_bit, codes)
    shape = moved.shape
    biases = beta.astype(np.int8) if fmt.block > 1 else np.zeros(shape, np.int8)
    return PalArray(np.moveaxis(codes.reshape(shape), -1, axis),
                    np.moveaxis(biases.reshape(*shape[:-1], shape[-1] // fmt.block), -1, axis),
                    tensor_bias, fmt, axis)


def decode(a: PalArray) -> NDArray[np.float64]:
    """The values of ``a``."""
    return a.decode()


def accumulate(a: PalArray, b: PalArray, params: DotParams | None = None
               ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Accumulators and NaN flags of ``a @ b``, bit for bit those of the hardware.

    ``a`` is ``(M, K)`` with blocks along K, ``b`` ``(K, N)`` with blocks along K, both of
    up to 8 bits, formats may differ.  The unit of an accumulator is
    ``2^-octaves_below(params)`` of the product of the tops.

    Raises
    ------
    TypeError: an operand is no ``PalArray``.
    ValueError: shapes, block axes or blocks that do not match; a format above 8 bits.
    OverflowError: a sum that does not fit ``params.accumulator_bits``.
    """
    from pal_units import kernels

    for name, operand in (("a", a), ("b", b)):
        if not isinstance(operand, PalArray):
            raise TypeError(f"{name} must be a PalArray, not {type(operand).__name__}")
        if operand.fmt.n > 8:
            raise ValueError(f"products are for up to 8 bits, {name} is {operand.fmt.name}")
        if operand.ndim != 2:
            raise ValueError(f"{name} must have 2 axes, its shape is {operand.shape}")
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"inner dimensions differ: {a.shape} @ {b.shape}")
    if a.axis != 1 or b.axis != 0:
        raise ValueError("blocks must lie along the summed axis: axis 1 of a, 0 of b, not "
                         f"{a.axis} and {b.axis}")
    if a.fmt.block != b.fmt.block:
        raise ValueError(f"blocks differ: {a.fmt.block} and {b.fmt.block}")
    params = params or dot_params(max(a.fmt, b.fmt, key=lambda f: f.fraction_bits))
    total = kernels.accumulate(
        np.ascontiguousarray(a.codes), np.ascontiguousarray(a.biases),
        np.ascontiguousarray(b.codes), np.ascontiguousarray(b.biases),
        model.product_tables(a.fmt, b.fmt, params), a.fmt.block, params.guard_bits, ZERO_BLOCK)
    limit = 1 << (params.accumulator_bits - 1)
    if total.size and (total.max() >= limit or total.min() < -limit):
        raise OverflowError(f"a sum needs more than {params.accumulator_bits} accumulator bits; "
                            "give params with more")
    return total, _nan_results(a, b)


def _nan_results(a: PalArray, b: PalArray) -> NDArray[np.bool_]:
    """Where a NaN takes part in a result, blocks of zeros aside."""
    nan_a, nan_b = (model.is_nan(v.codes, v.fmt) for v in (a, b))
    if not nan_a.any() and not nan_b.any():
        return np.zeros((a.shape[0], b.shape[1]), bool)
    count = a.biases.shape[1]
    in_a = nan_a.reshape(len(nan_a), count, -1).any(axis=2)
    in_b = nan_b.reshape(count, -1, nan_b.shape[1]).any(axis=1)
    used_a, used_b = a.biases != ZERO_BLOCK, b.biases != ZERO_BLOCK
    return ((in_a & used_a).astype(int) @ used_b.astype(int)
            + used_a.astype(int) @ (in_b & used_b).astype(int)) > 0


def matmul(a: PalArray, b: PalArray, params: DotParams | None = None) -> NDArray[np.float64]:
    """``a @ b`` as float64, exactly the accumulators of ``accumulate``; NaN where one is."""
    total, nan = accumulate(a, b, params)
    params = params or dot_params(max(a.fmt, b.fmt, key=lambda f: f.fraction_bits))
    octaves, rest = divmod(tables.octaves_below(params), 1)
    bias = a.tensor_bias + b.tensor_bias - BIAS_PER_OCTAVE * int(octaves)
    return np.where(nan, np.nan, model.scaled(total * np.exp2(-rest), bias))


def dot(a: PalArray, b: PalArray, params: DotParams | None = None) -> Any:
    """Dot product of two vectors as a float, otherwise ``matmul``."""
    if not (isinstance(a, PalArray) and isinstance(b, PalArray) and a.ndim == b.ndim == 1):
        return matmul(a, b, params)
    row = PalArray(a.codes[None], a.biases[None], a.tensor_bias, a.fmt, 1)
    column = PalArray(b.codes[:, None], b.biases[:, None], b.tensor_bias, b.fmt, 0)
    return float(matmul(row, column, params)[0, 0])


def _result(codes16: NDArray[np.uint16], tensor_bias: int, like: PalArray) -> PalArray:
    """PAL16 codes encoded as ``like``."""
    if not like.fmt.has_nan and (codes16 == PAL16.sign_bit).any():
        raise ValueError(f"the result holds NaN, which {like.fmt.name} has not (n < 6)")
    # Powers of two away from the tensor bias, so that float64 holds it.
    octaves = tensor_bias // BIAS_PER_OCTAVE
    values = model.decode16(codes16, tensor_bias - BIAS_PER_OCTAVE * octaves)
    found = encode(values, like.fmt, axis=like.axis)
    return PalArray(found.codes, found.biases, found.tensor_bias + BIAS_PER_OCTAVE * octaves,
                    like.fmt, like.axis)


def _check_alike(a: PalArray, b: PalArray) -> None:
    if not isinstance(a, PalArray) or not isinstance(b, PalArray):
        raise TypeError("operands must be PalArrays, not "
                        f"{type(a).__name__} and {type(b).__name__}")
    if (a.shape, a.fmt, a.axis) != (b.shape, b.fmt, b.axis):
        raise ValueError("operands must agree in shape, format and block axis, not "
                         f"{a.shape} {a.fmt.name} {a.axis} and {b.shape} {b.fmt.name} {b.axis}")


def multiply(a: PalArray, b: PalArray) -> PalArray:
    """``a * b``; the log is exact before the result is encoded."""
    _check_alike(a, b)
    code = model.mul(a.codes16(a.tensor_bias), b.codes16(b.tensor_bias), PAL16)
    return _result(code, a.tensor_bias + b.tensor_bias, a)


def divide(a: PalArray, b: PalArray) -> PalArray:
    """``a / b``; ``x / 0`` is NaN (an error in a format without)."""
    _check_alike(a, b)
    x, y = a.codes16(a.tensor_bias), b.codes16(b.tensor_bias)
    headroom = int(fields(y, PAL16)[0].max(initial=0)) // 1024 + 1
    code = model.div(x, y, PAL16, headroom)
    code = np.where(y == 0, PAL16.sign_bit, code).astype(np.uint16)
    return _result(code, a.tensor_bias - b.tensor_bias + BIAS_PER_OCTAVE * headroom, a)


def _under_one_top(function: Callable[..., NDArray[Any]], a: PalArray, b: PalArray) -> PalArray:
    """A function of PAL16 codes under one top, with an octave of room for sums."""
    _check_alike(a, b)
    tensor_bias = max(a.tensor_bias, b.tensor_bias) + BIAS_PER_OCTAVE
    return _result(function(a.codes16(tensor_bias), b.codes16(tensor_bias), PAL16), tensor_bias, a)


def add(a: PalArray, b: PalArray) -> PalArray:
    """``a + b``; under one unit of PAL16's log before the result is encoded."""
    return _under_one_top(model.add, a, b)


def subtract(a: PalArray, b: PalArray) -> PalArray:
    """``a - b``; see ``add``."""
    return _under_one_top(model.sub, a, b)


def minimum(a: PalArray, b: PalArray) -> PalArray:
    """The lesser of each pair; NaN if either is."""
    return _under_one_top(model.minimum, a, b)


def maximum(a: PalArray, b: PalArray) -> PalArray:
    """The greater of each pair; NaN if either is."""
    return _under_one_top(model.maximum, a, b)


def sqrt(a: PalArray) -> PalArray:
    """Square roots; of negative numbers NaN."""
    code = model.sqrt(a.codes16(a.tensor_bias), a.tensor_bias % 2, PAL16)
    return _result(code, -(-a.tensor_bias // 2), a)


def rsqrt(a: PalArray) -> PalArray:
    """Reciprocal square roots; of zero and negative numbers NaN."""
    x = a.codes16(a.tensor_bias)
    headroom = int(fields(x, PAL16)[0].max(initial=0)) // 2048 + 1
    code = model.rsqrt(x, a.tensor_bias % 2, PAL16, headroom)
    code = np.where(x == 0, PAL16.sign_bit, code).astype(np.uint16)
    return _result(code, -(a.tensor_bias // 2) + BIAS_PER_OCTAVE * headroom, a)


def exp2(a: PalArray) -> PalArray:
    """``2^a``; under one unit of PAL16's log before the result is encoded.

    Raises ``OverflowError`` for values of 64 and above.
    """
    largest = float(np.nanmax(a.decode(), initial=-np.inf))
    limit = 1 << tables.EXP_INTEGER_BITS
    if largest >= limit:
        raise OverflowError(f"exp2 takes values below {limit}, not {largest}")
    bias = int(np.ceil(BIAS_PER_OCTAVE * max(largest, -limit)))
    return _result(model.exp2(a.codes16(a.tensor_bias), a.tensor_bias, bias, PAL16), bias, a)


def log2(a: PalArray) -> PalArray:
    """``log2(a)``; of zero and negative numbers NaN."""
    x = a.codes16(a.tensor_bias)
    lam = fields(x, PAL16)[0][x != 0]
    # The log of largest magnitude is that of the largest or of the least value.
    ends = a.tensor_bias / BIAS_PER_OCTAVE - np.array([lam.min(initial=PAL16.m_max),
                                                       lam.max(initial=0)]) / 1024
    bias = int(model.bias_for(max(np.abs(ends).max(), 2.0**-PAL16.fraction_bits)))
    code = model.log2(x, a.tensor_bias, bias, PAL16)
    return _result(np.where(x == 0, PAL16.sign_bit, code).astype(np.uint16), bias, a)


def _normal_axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must be within the {ndim} axes of x, not {axis}")
    return axis % ndim
