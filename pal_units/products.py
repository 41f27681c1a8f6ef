"""Exact products of PAL arrays: the accumulators of the hardware, and their values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units import model, tables
from pal_units.array import PalArray
from pal_units.dot_params import DotParams, dot_params
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK
from pal_units.model import edge


def accumulate(
    a: PalArray, b: PalArray, params: DotParams | None = None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Accumulators and NaN flags of ``a @ b``, bit for bit those of the hardware's dot units.

    Units of profile A are of one format; products of two are what one with both would give.

    A sum that leaves ``params.accumulator_bits`` on its way and comes back is taken as it ends, as
    a unit's accumulator has it, which wraps.  The array differs there: its MatrixUnit hands out the
    top from the first partial sum outside the range.  None of up to ``params.max_blocks`` blocks
    (127 or more by default) is outside.

    ``a`` is ``(M, K)`` with blocks along K, ``b`` ``(K, N)`` with blocks along K, both of
    up to 8 bits, formats may differ.  The unit of an accumulator is
    ``2^-octaves_below(params)`` of the product of the tops; ``params`` are by default
    ``dot_params`` of the formats.

    Raises
    ------
    TypeError: an operand is no ``PalArray``, ``params`` no ``DotParams``.
    ValueError: shapes, block axes or blocks that do not match; a format above 8 bits; block
        biases that are finer than ``params`` take.
    OverflowError: a sum that does not fit ``params.accumulator_bits``, or may not fit 64 bits.
    """
    from pal_units import kernels
    from pal_units.compiled import in_pieces

    params = _checked(a, b, params)
    rows, inner, columns = *a.shape, b.shape[1]
    if params.sum_bits(max(inner, 1)) + params.guard_bits > 64:
        raise OverflowError(
            f"sums of {inner} products of {params.product_bits} bits with "
            f"{params.guard_bits} guard bits may not fit 64 bits"
        )
    sums = np.empty(0, np.int32 if params.sum_bits(a.fmt.block) <= 32 else np.int64)
    total = np.empty((rows, columns), np.int64)
    if params.edge_biases:
        left, right = _decoded(a, params), _decoded(b.T, params)
        most = int(left[0].max(initial=0)) + int(right[0].max(initial=0))
        in_pieces(
            kernels.accumulate_logs,
            rows,
            rows * inner * columns,
            *left,
            *(np.ascontiguousarray(part.T) for part in right),
            edge.magnitudes(np.arange(most + 1), params).astype(sums.dtype),
            a.fmt.block,
            params.guard_bits,
            sums,
            total,
        )
        return _within(total, params), _nan_results(a, b)
    in_pieces(
        kernels.accumulate,
        rows,
        rows * inner * columns,
        np.ascontiguousarray(a.codes),
        np.ascontiguousarray(a.biases),
        np.ascontiguousarray(b.codes),
        np.ascontiguousarray(b.biases),
        model.product_tables(a.fmt, b.fmt, params),
        a.fmt.block,
        params.guard_bits,
        ZERO_BLOCK,
        sums,
        total,
    )
    return _within(total, params), _nan_results(a, b)


def _within(total: NDArray[np.int64], params: DotParams) -> NDArray[np.int64]:
    """The accumulators, if they fit; ``OverflowError`` otherwise."""
    limit = 1 << (params.accumulator_bits - 1)
    if total.size and (total.max() >= limit or total.min() < -limit):
        raise OverflowError(
            f"a sum needs more than {params.accumulator_bits} accumulator bits; "
            "give params with more"
        )
    return total


def _decoded(a: PalArray, params: DotParams) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Logarithms and signs (rows, K), octaves (rows, K / block) of an array with blocks along K."""
    inner = a.shape[1]
    codes = np.pad(a.codes, ((0, 0), (0, -inner % a.fmt.block)))
    blocks = codes.reshape(*a.biases.shape, a.fmt.block)
    found = edge.operand(blocks, a.biases, a.fmt, params)
    return (
        found.log.reshape(codes.shape)[:, :inner].astype(np.int32),
        found.sign.reshape(codes.shape)[:, :inner].astype(np.int32),
        found.octaves.astype(np.int32),
    )


def _checked(a: PalArray, b: PalArray, params: DotParams | None) -> DotParams:
    """The bits of a product that can be computed."""
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
        raise ValueError(
            f"blocks must lie along the summed axis: axis 1 of a, 0 of b, not {a.axis} and {b.axis}"
        )
    if a.fmt.block != b.fmt.block:
        raise ValueError(f"blocks differ: {a.fmt.block} and {b.fmt.block}")
    if params is None:
        return dot_params(a.fmt, b.fmt)
    if not isinstance(params, DotParams):
        raise TypeError(f"params must be DotParams, not {type(params).__name__}")
    adaptive = [v.fmt.name for v in (a, b) if v.fmt.codebooks is not None]
    if adaptive and not params.edge_biases:
        raise ValueError(f"products of {adaptive[0]} need params with edge_biases")
    for name, operand in (("a", a), ("b", b)):
        if operand.fmt.codebooks is not None:
            used = operand.fmt.codebooks.split(operand.biases)[1]
        else:
            used = operand.biases[operand.biases != ZERO_BLOCK]
        if (used % params.bias_step).any():
            raise ValueError(
                f"block biases of {name} are finer than the bias_step of "
                f"{params.bias_step} of params"
            )
    return params


def _nan_results(a: PalArray, b: PalArray) -> NDArray[np.bool_]:
    """Where a NaN takes part in a result, blocks of zeros aside."""
    nan_a, nan_b = (model.is_nan(v.codes, v.fmt) for v in (a, b))
    if not nan_a.any() and not nan_b.any():
        return np.zeros((a.shape[0], b.shape[1]), bool)
    starts = np.arange(0, a.shape[1], a.fmt.block)
    in_a = np.logical_or.reduceat(nan_a, starts, axis=1)
    in_b = np.logical_or.reduceat(nan_b, starts, axis=0)
    # Bytes of profile A mark no blocks of zeros.
    used_a, used_b = (
        v.biases != ZERO_BLOCK if v.fmt.codebooks is None else np.ones(v.biases.shape, bool)
        for v in (a, b)
    )
    return (
        (in_a & used_a).astype(int) @ used_b.astype(int)
        + used_a.astype(int) @ (in_b & used_b).astype(int)
    ) > 0


def matmul(a: PalArray, b: PalArray, params: DotParams | None = None) -> NDArray[np.float64]:
    """``a @ b`` as float64, exactly the accumulators of ``accumulate``; NaN where one is.

    Raises as ``accumulate``, and ``OverflowError`` for a result beyond float64.
    """
    total, nan = accumulate(a, b, params)
    params = params or dot_params(a.fmt, b.fmt)
    octaves, rest = divmod(tables.octaves_below(params), 1)
    bias = a.tensor_bias + b.tensor_bias - BIAS_PER_OCTAVE * int(octaves)
    with np.errstate(over="ignore"):
        result = np.where(nan, np.nan, model.scaled(total * np.exp2(-rest), bias))
    if np.isinf(result).any():
        raise OverflowError(
            f"a result is beyond float64: tensor biases are {a.tensor_bias} and {b.tensor_bias}"
        )
    return result


def dot(a: PalArray, b: PalArray, params: DotParams | None = None) -> Any:
    """Dot product of two vectors as a float, otherwise ``matmul``."""
    if not (isinstance(a, PalArray) and isinstance(b, PalArray) and a.ndim == b.ndim == 1):
        return matmul(a, b, params)
    row = PalArray(a.codes[None], a.biases[None], a.tensor_bias, a.fmt, 1)
    column = PalArray(b.codes[:, None], b.biases[:, None], b.tensor_bias, b.fmt, 0)
    return float(matmul(row, column, params)[0, 0])
