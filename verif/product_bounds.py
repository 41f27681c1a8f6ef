"""How far matrix products of blocks can be from real ones, and where limits of range are why.

Each row of an operand is cut into blocks, whose biases reach only so far below the tensor bias, and
the accumulator's unit lies a fixed number of octaves below the tops of the tensors.  A row far
below the greatest values that its tensor may hold has fewer bits for both reasons.
"""

import numpy as np
from numpy.typing import NDArray

from compiler.tensors.compiled import Compiled, weight_blocks
from compiler.tensors.expressions import least_magnitude
from compiler.tensors.program import Product
from pal_units import model, tables
from pal_units.formats import Format
from spu.arch.params import BLOCK, MATRIX_DOT

Values = NDArray[np.float64]
#: Octaves from the accumulator's unit to the tops of the tensors.
UNIT = 2.0 ** -float(tables.octaves_below(MATRIX_DOT))


def product_error(a: tuple[Values, Values], b: tuple[Values, Values] | Values, depth: range,
                  fmt: Format, biases: tuple[int, ...], limited: bool = True,
                  largest: Values | None = None) -> tuple[Values, Values]:
    """Results of part of the depth of a product, and how far the computed ones are at most, before
    they are rounded to PAL16: blocks, products, sums.

    ``a`` (batch, rows, depth), ``b`` (batch, depth, columns): values and their errors, or constant
    weights; ``biases`` of the tensors.  Without ``limited``: as if block biases and accumulators
    went as low as values ask.  ``largest``: top of all rows (batch, 1, 1), if these are some.
    """
    taken = slice(depth.start, depth.stop)
    value_a, error_a, top_a = _blocked(a, taken, fmt, biases[0], limited)
    if not limited and not isinstance(b, tuple):
        b = b, np.zeros_like(b)
    if isinstance(b, tuple):
        columns = b[0].transpose(0, 2, 1), b[1].transpose(0, 2, 1)
        value_b, error_b, top_b = _blocked(columns, taken, fmt, biases[1], limited)
        tensor_b = top_b.max(axis=(1, 2))[:, None, None]
    else:
        value_b = b.transpose(0, 2, 1)[:, :, taken]
        error_b, top_b, tensor_b = _known_weights(b, taken, fmt)
    size_b = (np.abs(value_b) + error_b).transpose(0, 2, 1)
    value = value_a @ value_b.transpose(0, 2, 1)
    # Of what is multiplied, and of the products.
    error = np.abs(value_a) @ error_b.transpose(0, 2, 1) + error_a @ size_b
    error = error + 2.0 ** -(MATRIX_DOT.antilog_bits + 1) * ((np.abs(value_a) + error_a) @ size_b)
    error = error + BLOCK * 2.0 ** -(MATRIX_DOT.product_bits - 1) \
        * (top_a @ top_b.transpose(0, 2, 1))
    if limited:
        # A unit of the accumulator for each block.
        if largest is None:
            largest = top_a.max(axis=(1, 2))[:, None, None]
        error = error + top_a.shape[2] * UNIT * largest * tensor_b
    return value, error


def underflow(compiled: Compiled, i: int, a: Values, b: Values) -> NDArray[np.bool_]:
    """Which results of a product have less than half of the accuracy that their row has by the
    format, as operands are far below what their tensors may hold.

    ``a``, ``b``: operands as they are, constants as the model has them.
    """
    program = compiled.program
    step, fmt, biases = program.steps[i], compiled.formats[i], compiled.source_biases(i)
    assert isinstance(step, Product)
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    known = program.tensors[step.b].constant is not None
    # Only where a limit may bind: a small operand in a row, or in any column.
    tops, columns = _block_tops(a), _block_tops(b.transpose(0, 2, 1))
    floors = [_floor(fmt, biases[0]), _floor(fmt, _bias(columns) if known else biases[1])]
    largest = np.maximum(2.0 ** (1 / 8) * tops.max(axis=(1, 2), initial=0.0), floors[0])
    low = np.ones(a.shape[:2], bool)
    if not _below(columns, floors[1]).any():
        unit = tops.shape[2] * UNIT * 2.0 ** (MATRIX_DOT.product_bits - 1) / BLOCK
        low = _below(tops, floors[0]).any(axis=2) | _below(
            tops.max(axis=2, initial=0.0), 2 * unit * largest[:, None])
    out, rows = np.zeros((*a.shape[:2], b.shape[2]), bool), low.any(axis=0)
    if rows.any():
        small, found = a[:, rows], list[Values]()
        for limited in (True, False):
            found.append(sum((product_error(
                (small, np.zeros_like(small)), b if known else (b, np.zeros_like(b)), d, fmt,
                biases, limited, largest[:, None, None])[1] for d in dict.fromkeys(
                    p.depth for p in compiled.pieces[i])), np.zeros(())))
        out[:, rows] = found[0] - found[1] > found[1].max(axis=2, keepdims=True, initial=0.0)
    return out


def _block_tops(rows: Values) -> Values:
    """Greatest magnitudes of blocks (batch, rows, blocks)."""
    padded = np.pad(np.abs(rows), ((0, 0), (0, 0), (0, -rows.shape[2] % BLOCK)))
    return np.asarray(padded.reshape(*rows.shape[:2], -1, BLOCK).max(axis=3))


def _bias(tops: Values) -> int:
    """Tensor bias of constant weights."""
    return int(model.bias_for(tops.max(initial=0.0))) if tops.any() else 0


def _floor(fmt: Format, bias: int) -> float:
    """The least top that a block may have under a tensor bias."""
    return float(2.0 ** ((bias + fmt.beta_min) / 8))


def _below(tops: Values, least: Values | float) -> NDArray[np.bool_]:
    """Which are not zero and below the least."""
    return (tops > 0) & (tops < least)


def _blocked(rows: tuple[Values, Values], taken: slice, fmt: Format, bias: int, limited: bool
             ) -> tuple[Values, Values, Values]:
    """Part of rows (batch, rows, depth) in blocks: values, errors, tops (batch, rows, blocks)."""
    value, error = (x[:, :, taken] for x in rows)
    short = -value.shape[2] % BLOCK
    blocks = [np.pad(x, ((0, 0), (0, 0), (0, short))).reshape(*value.shape[:2], -1, BLOCK)
              for x in (value, error)]
    size = np.abs(blocks[0])
    tops = [2.0 ** (model.bias_for(np.maximum(amax.max(axis=-1), least_magnitude(bias))) / 8)
            for amax in (np.maximum(size - blocks[1], 0), size + blocks[1])]
    if limited:
        # The least bias of the format holds for smaller blocks too.
        tops = [np.maximum(t, _floor(fmt, bias)) for t in tops]
    lost = np.maximum(*(half_gap((size + blocks[1]) / t[..., None], fmt) * t[..., None]
                        for t in tops))
    # What becomes zero is no further off than it is large.
    out = (blocks[1] + np.minimum(lost, size + blocks[1])).reshape(*value.shape[:2], -1)
    return value, out[:, :, :value.shape[2]], tops[1]


def half_gap(size: Values, fmt: Format) -> Values:
    """Greatest error of rounding numbers up to ``size`` to codes of a block of top 1."""
    levels = np.sort(model.value_of(np.arange(fmt.m_max + 1), fmt))
    most = np.maximum.accumulate(np.diff(levels) / 2)
    index = np.clip(np.searchsorted(levels, size), 1, len(levels) - 1)
    return most[index - 1]


def _known_weights(constant: Values, taken: slice, fmt: Format) -> tuple[Values, Values, float]:
    """Errors of weights that are known, tops of their blocks, and of the tensor."""
    errors, tops, tensor = [], [], 0.0
    for matrix in constant:
        codes, beta, t_weight = weight_blocks(matrix, fmt)
        decoded = model.decode_blocks(codes, beta, t_weight, fmt)
        padded = np.pad(matrix.T, ((0, 0), (0, -matrix.shape[0] % BLOCK)))
        blocks = slice(taken.start // BLOCK, -(-taken.stop // BLOCK))
        errors.append(np.abs(decoded - padded)[:, taken])
        tops.append(2.0 ** ((beta[:, blocks].astype(np.float64) + t_weight) / 8))
        tensor = max(tensor, 2.0 ** (t_weight / 8))
    return np.array(errors), np.array(tops), tensor
