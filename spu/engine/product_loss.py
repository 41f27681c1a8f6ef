"""Which results of a product of blocks lose accuracy to the limits of range.

The bias of a block reaches only so far below that of its tensor, and the accumulator's unit lies a
fixed number of octaves below the tops of the tensors.  A row, column or block far below the
greatest values of its tensor has fewer bits for both reasons than its format has; and so have
elements far below the tops of their blocks, as a product has a least magnitude, too.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pal_units import model, tables
from pal_units.formats import BIAS_PER_OCTAVE, Format
from spu.arch.operations import constant_codes
from spu.arch.package.compiled import Package
from spu.arch.package.product import weight_blocks
from spu.arch.package.program import Product
from spu.arch.params import BLOCK, MATRIX_DOT

#: The accumulator's unit, of the product of the tensors' tops.
UNIT = 2.0 ** -float(tables.octaves_below(MATRIX_DOT))
#: Units of the accumulator that a block loses on average, as it cuts off.
CUT_OFF = 0.5
#: Half of the least product, of the tops of two blocks.
LEAST_PRODUCT = 2.0**-MATRIX_DOT.product_bits

Values = NDArray[np.float64]


def lost_accuracy(compiled: Package, i: int, a: Values, b: Values) -> NDArray[np.bool_]:
    """Which results (batch, rows, columns) of product ``i`` are off by limits of range more than by
    its format.

    ``a`` (batch, rows, depth), ``b`` (batch, depth, columns): operands as the array has them,
    constants as the model has them.  By limits: what blocks whose biases are as low as they need
    would give less what it is, what the accumulator cuts off, and, where that is more in a row or
    column as a whole, the root of the squares of what least products make.  By the format: the root
    of the squares of what it changes in each product, and at least as much as near the top of a
    block, of each product and of the result.
    """
    program = compiled.program
    step, fmt, biases = program.steps[i], compiled.formats[i], compiled.source_biases(i)
    assert isinstance(step, Product)
    known = program.tensors[step.b].constant is not None
    x = _blocked(np.nan_to_num(a), fmt, biases[0], False)
    y = _blocked(np.nan_to_num(b).transpose(0, 2, 1), fmt, biases[1], known)
    if compiled.ranges.fixed:
        x = x._replace(top=np.full_like(x.top, 2.0 ** (biases[0] / BIAS_PER_OCTAVE)))
    near = half_gap(np.ones(()), fmt)
    by_format = _products(x.off**2 + (near * x.free) ** 2, y.free**2) + _products(
        x.free**2, y.off**2 + (near * y.free) ** 2
    )
    by_limits = (
        UNIT
        * CUT_OFF
        * (x.top * y.top)[:, None, None]
        * _products((x.tops > 0).astype(float), (y.tops > 0).astype(float))
    )
    if x.limited is not x.free or y.limited is not y.free:
        by_limits += np.abs(_products(x.limited, y.limited) - _products(x.free, y.free))
    least = LEAST_PRODUCT**2 / BLOCK * _products(x.filled * x.tops**2, y.filled * y.tops**2)
    rows, columns = (
        least.sum(axis=axis, keepdims=True) > by_format.sum(axis=axis, keepdims=True)
        for axis in (2, 1)
    )
    # A column of one row is no more than an element.
    by_limits += np.where(rows | columns & (least.shape[1] > 1), np.sqrt(least), 0.0)
    return (by_limits**2 > by_format) & (by_limits > near * np.abs(a @ b))


def _products(x: Values, y: Values) -> Values:
    return x @ y.transpose(0, 2, 1)


class _Blocks(NamedTuple):
    """Rows (batch, rows, depth) in blocks: values as they are, the same if none had to be larger
    than the bias of a block reaches, values if biases were as low as they need, and how far these
    are off; numbers of elements other than zero, and tops, of the blocks (batch, rows, blocks), and
    tops of the tensors (batch,)."""

    limited: Values
    free: Values
    off: Values
    filled: NDArray[np.int64]
    tops: Values
    top: Values


def _blocked(rows: Values, fmt: Format, bias: int, known: bool) -> _Blocks:
    """Blocks along the depth, by the encoder if they are ``known`` beforehand, else by the reblock
    unit; ``bias`` of the tensor."""
    batch, count, depth = rows.shape
    padded = np.pad(rows, ((0, 0), (0, 0), (0, -depth % BLOCK)))
    blocks = padded.reshape(batch, count, -1, BLOCK)
    if known:
        found = [weight_blocks(matrix.T, fmt) for matrix in rows]
        codes = np.array([codes for codes, _, _ in found]).reshape(blocks.shape)
        beta = np.array([beta for _, beta, _ in found])
        own = np.array([bias for _, _, bias in found])
    else:
        codes, beta = model.reblock(constant_codes(blocks, bias), fmt)
        own = np.full(batch, bias)
    used = beta != model.ZERO_BLOCK
    tops = np.where(used, 2.0 ** ((own[:, None, None] + beta) / BIAS_PER_OCTAVE), 0.0)
    limited = np.stack(
        [
            model.decode_blocks(c, b[..., None], t, fmt)
            for c, b, t in zip(codes, beta, own, strict=True)
        ]
    )
    free, least = limited, used & (beta == fmt.beta_min)
    if least.any():
        free = limited.copy()
        free[least] = _moved(blocks[least], fmt, bias, known)

    def joined(values: Values) -> Values:
        return values.reshape(padded.shape)[:, :, :depth]

    held = joined(limited)
    wanted = held if free is limited else joined(free)
    return _Blocks(
        held,
        wanted,
        wanted - rows,
        (limited != 0).sum(axis=3),
        tops,
        tops.max(axis=(1, 2), initial=0.0),
    )


def _moved(blocks: Values, fmt: Format, bias: int, known: bool) -> Values:
    """Blocks (count, block) moved by whole octaves to below the top of their tensor, encoded, and
    back: nothing changes but that their biases have room."""
    most = np.abs(blocks).max(axis=1, keepdims=True, initial=0.0)
    octaves = (bias - model.bias_for(np.where(most > 0, most, 1.0))) // BIAS_PER_OCTAVE - 1
    moved = np.ldexp(blocks, octaves)
    codes, beta = (
        model.encode_blocks(moved, fmt, bias)[:2]
        if known
        else model.reblock(model.encode16(moved, bias), fmt)
    )
    return np.ldexp(model.decode_blocks(codes, beta.reshape(-1, 1), bias, fmt), -octaves)


def half_gap(size: Values, fmt: Format) -> Values:
    """Greatest error of rounding numbers up to ``size``, any shape, to codes of a block of
    top 1.
    """
    levels = np.sort(model.value_of(np.arange(fmt.m_max + 1), fmt))
    most = np.maximum.accumulate(np.diff(levels) / 2)
    index = np.clip(np.searchsorted(levels, size), 1, len(levels) - 1)
    return most[index - 1]
