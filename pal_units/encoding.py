"""Real numbers to PAL arrays: what is taken, what is refused, and the encoding itself."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units.array import PalArray
from pal_units.formats import Format, format_of, whole
from pal_units.model.codec import EIGHTHS, code_dtype, place_biases
from pal_units.shapes import normal_axis


def encode(
    x: ArrayLike,
    fmt: Format | str,
    *,
    block: int | None = None,
    axis: int = -1,
    tensor_bias: int | None = None,
    pad: bool = False,
) -> PalArray:
    """Encode real numbers, rounding each to the nearest code.

    Parameters
    ----------
    x: real numbers, any shape of at least one axis; of any type that float64 holds.
    fmt: format or its name; ``block`` overrides its elements a block.
    axis: axis along which blocks lie, the one that products sum over.
    tensor_bias: fixes ``T`` (1/8 octave), so that values above ``2^(T/8)`` saturate; by
        default the largest block gets bias 0.
    pad: the last block of an axis may be shorter; hardware fills it with zeros.

    Raises
    ------
    TypeError: ``x`` does not hold real numbers, or some are masked; ``fmt`` is no format;
        ``block``, ``axis`` or ``tensor_bias`` is no integer.
    ValueError: an unknown name; ``axis`` out of range or not a multiple of the block;
        infinities; NaN in a format of fewer than 6 bits; a tensor bias that int16 cannot hold;
        numbers that float64 cannot hold.
    """
    from pal_units import adaptive, kernels
    from pal_units.compiled import in_pieces

    fmt = format_of(fmt)
    if block is not None:
        fmt = fmt.with_block(block)
    if tensor_bias is not None:
        tensor_bias = whole("tensor_bias", tensor_bias)
    values = _real(x)
    axis = normal_axis(axis, values.ndim)
    moved = np.moveaxis(values, axis, -1)
    length = moved.shape[-1]
    if length % fmt.block:
        if not pad:
            raise ValueError(
                f"axis {axis} of length {length} must be a multiple of the block of "
                f"{fmt.block}; pad=True fills the last block with zeros"
            )
        moved = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, -length % fmt.block)])
    moved = kernels.contiguous(moved)
    # Long rows in pieces, so that every core has some.
    piece = fmt.block * max(1, 4096 // fmt.block)
    width = piece if moved.size and moved.shape[-1] % piece == 0 else moved.shape[-1]
    rows = moved.reshape(moved.size // max(width, 1), width)
    shape = moved.shape
    if fmt.codebooks is not None:
        codes, byte, tensor_bias = adaptive.encode_rows(rows, fmt, tensor_bias)
        return _placed(codes, byte, tensor_bias, fmt, shape, length, axis)
    # Elements without a bias of their own need the largest magnitude only.
    together = fmt.block if fmt.block > 1 else max(width, 1)
    levels, (index, shift) = fmt.levels, kernels.cells(fmt)
    bias = np.empty((len(rows), width // together), np.int32)
    kind = np.empty(bias.shape, np.int8)
    in_pieces(
        kernels.biases,
        len(rows),
        rows.size,
        rows,
        together,
        levels,
        index,
        shift,
        EIGHTHS,
        np.array(fmt.bias_candidates, np.int64),
        bias,
        kind,
    )
    if (kind == kernels.HAS_INFINITY).any():
        raise ValueError(f"{fmt.name} has no infinities; x holds {int(np.isinf(moved).sum())}")
    if not fmt.has_nan and ((kind == kernels.HAS_NAN) | (kind == kernels.NAN_ONLY)).any():
        raise ValueError(f"{fmt.name} has no NaN (n < 6); x holds {int(np.isnan(moved).sum())}")
    used = kind != kernels.EMPTY
    numbers = used & (kind != kernels.NAN_ONLY)
    tensor_bias, beta = place_biases(bias, used, numbers, fmt, tensor_bias)
    codes = np.empty(rows.shape, code_dtype(fmt))
    in_pieces(
        kernels.codes,
        len(rows),
        rows.size,
        rows,
        np.where(used, beta, 0) + tensor_bias,
        together,
        levels,
        index,
        shift,
        EIGHTHS,
        fmt.sign_bit,
        codes,
    )
    biases = beta.astype(np.int8) if fmt.block > 1 else np.zeros((*shape[:-1], length), np.int8)
    return _placed(codes, biases, tensor_bias, fmt, shape, length, axis)


def _placed(
    codes: NDArray[Any],
    biases: NDArray[np.int8],
    tensor_bias: int,
    fmt: Format,
    shape: tuple[int, ...],
    length: int,
    axis: int,
) -> PalArray:
    """Rows of codes and biases as an array whose last axis is ``axis``."""
    codes = codes.reshape(shape)[..., :length]
    return PalArray(
        np.moveaxis(codes, -1, axis),
        np.moveaxis(biases.reshape(*shape[:-1], shape[-1] // fmt.block), -1, axis),
        tensor_bias,
        fmt,
        axis,
    )


def _real(x: ArrayLike) -> NDArray[Any]:
    """``x`` as an array of numbers that float64 holds."""
    if _any_masked(x):
        raise TypeError(
            "x has masked elements, which PAL has not: give x.filled(0), or "
            "x.filled(np.nan) where the format has NaN"
        )
    values = np.asarray(x)
    # Types of other packages (bfloat16, float8) are of kind V.
    if values.dtype.kind not in "fiu" and not (
        values.dtype.kind == "V" and np.can_cast(values.dtype, np.float64)
    ):
        raise TypeError(f"x must hold real numbers, not {values.dtype}")
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        with np.errstate(over="ignore", under="ignore"):
            as_float = values.astype(np.float64)
        lost = (np.isinf(as_float) != np.isinf(values)) | ((as_float == 0) != (values == 0))
        if lost.any():
            raise ValueError(f"x holds {int(lost.sum())} numbers beyond the range of float64")
        return as_float
    return values


def _any_masked(x: Any) -> bool:
    if isinstance(x, np.ma.MaskedArray):
        return bool(np.ma.is_masked(x))
    return isinstance(x, (list, tuple)) and any(map(_any_masked, x))
