"""Encoding and decoding: values to codes and block biases, and back."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK, Format, widening
from pal_units.tables import argument_bits

Codes = NDArray[np.unsignedinteger[Any]]
#: ``2^(j/8)`` for ``j`` in ``0..7``: what biases are multiplied out with.
EIGHTHS = np.exp2(np.arange(BIAS_PER_OCTAVE) / BIAS_PER_OCTAVE)
#: Largest bias of a block of float64 values: a top above 2^1024 would not decode.
BIAS_MAX = 1024 * BIAS_PER_OCTAVE


def code_dtype(fmt: Format) -> type:
    """numpy type that holds a code: uint8 for ``n <= 8``, else uint16."""
    return np.uint8 if fmt.n <= 8 else np.uint16


def nearest_code(x: ArrayLike, fmt: Format) -> Codes:
    """Codes of values relative to a block top of 1.0: linear nearest, ties to the even code.

    Magnitudes above 1 saturate, those of at most half the least level become zero, NaN
    becomes NaN, or zero in a format without.  Shape as ``x``; uint8 for ``n <= 8``, else
    uint16.
    """
    x = np.asarray(x, dtype=np.float64)
    levels = fmt.levels
    a = np.where(np.isnan(x), 0.0, np.abs(x))
    above = np.clip(np.searchsorted(levels, a), 1, fmt.m_max)
    up = levels[above] - a
    down = a - levels[above - 1]
    m = np.where((up < down) | ((up == down) & (above % 2 == 0)), above, above - 1)
    code = np.where((x < 0) & (m > 0), fmt.sign_bit, 0) | m
    return with_nan(code, np.isnan(x), fmt)


def with_nan(codes: ArrayLike, nan: ArrayLike, fmt: Format) -> Codes:
    """Codes with NaN where ``nan``; zero there if the format has none."""
    invalid = fmt.sign_bit if fmt.has_nan else 0
    return np.where(nan, invalid, codes).astype(code_dtype(fmt))


def is_nan(codes: ArrayLike, fmt: Format) -> NDArray[np.bool_]:
    """Where codes are NaN."""
    return (np.asarray(codes) == fmt.sign_bit) & fmt.has_nan


def widen(codes: ArrayLike, fmt: Format, target: Format) -> Codes:
    """The codes of ``target`` with the values of codes of ``fmt``, by ``formats.widening``.

    Raises ``ValueError`` if there are none.
    """
    codes = np.asarray(codes, np.int64)
    shift, fill = widening(fmt, target)
    magnitude = codes & fmt.m_max
    sign = np.where(codes & fmt.sign_bit, target.sign_bit, 0)
    wide = np.where(magnitude > 0, magnitude << shift | fill | sign, 0)
    return with_nan(wide, is_nan(codes, fmt), target)


def value_of(codes: ArrayLike, fmt: Format) -> NDArray[np.float64]:
    """Values of codes relative to a block top of 1.0; NaN for the NaN code."""
    codes = np.asarray(codes)
    magnitude = fmt.levels[codes & fmt.m_max]
    value = np.where((codes & fmt.sign_bit != 0) & (magnitude > 0), -magnitude, magnitude)
    return np.where(is_nan(codes, fmt), np.nan, value)


def value_under(codes: ArrayLike, bias: ArrayLike, fmt: Format) -> NDArray[np.float64]:
    """Values of codes below the top ``2^(bias/8)``, powers of two exact; NaN for NaN."""
    codes = np.asarray(codes)
    unit = 1 << argument_bits(fmt)
    lam = fmt.lambdas[codes & fmt.m_max] * (unit >> fmt.fraction_bits)
    octaves, rest = np.divmod(np.asarray(bias, np.int64) * (unit // BIAS_PER_OCTAVE) - lam, unit)
    sign = np.sign(value_of(codes, fmt))
    # Zero times a top beyond float64 would be NaN.
    return sign * np.ldexp(np.exp2(rest / unit), np.where(sign == 0, 0, octaves))


def bias_for(amax: ArrayLike) -> NDArray[np.int64]:
    """Least bias ``b`` with ``2^(b/8) >= amax``: ``ceil(8 log2 amax)``, exact at the edges.

    ``amax`` must be positive and finite.
    """
    mantissa, exponent = np.frexp(np.asarray(amax, dtype=np.float64))
    # frexp's mantissa is in [1/2, 1); the first eighth not below twice of it.
    eighths = np.searchsorted(EIGHTHS, 2 * mantissa)
    return BIAS_PER_OCTAVE * (exponent.astype(np.int64) - 1) + eighths


def scaled(x: ArrayLike, bias: ArrayLike) -> NDArray[np.float64]:
    """``x * 2^(bias/8)``, with one rounding, however large or small ``x`` is."""
    octaves, eighths = np.divmod(np.asarray(bias, dtype=np.int64), BIAS_PER_OCTAVE)
    mantissa, exponent = np.frexp(x)
    return np.ldexp(mantissa * EIGHTHS[eighths], octaves + exponent)


def _searched_bias(
    blocks: NDArray[np.float64], amax: NDArray[np.float64], fmt: Format
) -> NDArray[np.int64]:
    """Bias of least squared error among the format's candidates; the first of equals."""
    nearest = np.floor(BIAS_PER_OCTAVE * np.log2(amax) + 0.5).astype(np.int64)
    errors = []
    for step in fmt.bias_candidates:
        relative = scaled(blocks, -(nearest + step)[..., None])
        difference = np.nan_to_num(value_of(nearest_code(relative, fmt), fmt) - relative)
        # Summed in order, so that every implementation decides alike.
        total = np.add.accumulate(difference * difference, axis=-1)[..., -1]
        errors.append(np.where(nearest + step > BIAS_MAX, np.inf, scaled(total, 2 * step)))
    return nearest + np.array(fmt.bias_candidates)[np.argmin(errors, axis=0)]


def encode_blocks(
    x: ArrayLike, fmt: Format, tensor_bias: int | None = None
) -> tuple[Codes, NDArray[np.int8], int]:
    """Encode ``x`` of shape ``(..., K)``, ``K`` a multiple of ``fmt.block``.

    Returns codes ``(..., K)``, block biases ``(..., K/block)`` and the tensor bias ``T``.
    Without ``tensor_bias`` the largest block is put at bias 0.  With it, values above
    ``2^(T/8)`` saturate.  Block biases round up to a multiple of ``fmt.bias_step``.

    Raises ``ValueError`` for a last axis that blocks do not divide, for infinities, for
    NaN in a format without, and for a ``T`` that int16 cannot hold.
    """
    x = np.asarray(x, dtype=np.float64)
    check_encodable(x, fmt)
    blocks = x.reshape(*x.shape[:-1], -1, fmt.block)
    nan = np.isnan(blocks)
    amax = np.abs(np.where(nan, 0.0, blocks)).max(axis=-1, initial=0.0)
    used = (amax > 0) | nan.any(axis=-1)
    positive = np.where(amax > 0, amax, 1.0)
    bias = _searched_bias(blocks, positive, fmt) if fmt.bias_candidates else bias_for(positive)
    tensor_bias, beta = place_biases(bias, used, amax > 0, fmt, tensor_bias)
    below_top = np.where(used, beta, 0)
    codes = nearest_code(scaled(blocks, -(tensor_bias + below_top)[..., None]), fmt)
    return codes.reshape(x.shape), beta.astype(np.int8), tensor_bias


def check_encodable(x: NDArray[np.floating[Any]], fmt: Format) -> None:
    """Raise ``ValueError`` unless the last axis divides into blocks and all values fit."""
    if x.ndim == 0 or x.shape[-1] % fmt.block:
        raise ValueError(
            f"the encoded axis must be a multiple of the block of {fmt.block}, shape is {x.shape}"
        )
    with np.errstate(invalid="ignore"):
        suspicious = not np.isfinite(x.sum())
    if suspicious and (count := int(np.isinf(x).sum())):
        raise ValueError(f"{fmt.name} has no infinities; x holds {count}")
    if suspicious and not fmt.has_nan and (count := int(np.isnan(x).sum())):
        raise ValueError(f"{fmt.name} has no NaN (n < 6); x holds {count}")


def check_tensor_bias(tensor_bias: int) -> None:
    """Raise ``ValueError`` for a tensor bias that int16 does not hold."""
    if not -(1 << 15) <= tensor_bias < 1 << 15:
        raise ValueError(f"tensor bias must fit int16, not {tensor_bias}")


def place_biases(
    bias: NDArray[np.int64],
    used: NDArray[np.bool_],
    numbers: NDArray[np.bool_],
    fmt: Format,
    tensor_bias: int | None,
) -> tuple[int, NDArray[np.int64]]:
    """Tensor bias and block biases for blocks that want ``bias``.

    ``used`` blocks are not all zeros, ``numbers`` hold more than zeros and NaN.  The tensor
    bias is the largest of the latter unless given.  Blocks of one element need no bias of
    their own: their codes reach far enough.
    """
    if tensor_bias is None:
        tensor_bias = int(bias[numbers].max()) if numbers.any() else 0
    check_tensor_bias(tensor_bias)
    if fmt.block == 1:
        return int(tensor_bias), np.zeros_like(bias)
    steps_down = (tensor_bias - bias) // fmt.bias_step
    below_top = np.clip(-steps_down * fmt.bias_step, fmt.beta_min, 0)
    return int(tensor_bias), np.where(used, below_top, ZERO_BLOCK)


def decode_blocks(
    codes: ArrayLike, beta: ArrayLike, tensor_bias: int, fmt: Format
) -> NDArray[np.float64]:
    """Values of codes ``(..., K)`` with block biases ``(..., K/block)``."""
    codes, beta = np.asarray(codes), np.asarray(beta, dtype=np.int64)[..., None]
    blocks = codes.reshape(*beta.shape[:-1], fmt.block)
    values = np.where(beta == ZERO_BLOCK, 0.0, value_under(blocks, tensor_bias + beta, fmt))
    return values.reshape(codes.shape)
