"""Which results of a product of blocks lose accuracy to the limits of range.

The bias of a block reaches only so far below that of its tensor, and the accumulator's unit lies a
fixed number of octaves below the tops of the tensors.  A row, column or block far below the
greatest values of its tensor has fewer bits for both reasons than its format has; and so have
elements far below the tops of their blocks, as a product has a least magnitude, and as operands
count as zero from some octaves on, too.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pal_units import model, tables
from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, Format
from spu.arch.blocks import decode_blocks, encode_blocks, reblock
from spu.arch.operations import constant_codes
from spu.arch.package.compiled import Package
from spu.arch.package.program import Product
from spu.arch.package.weights import Weights, least_bias
from spu.arch.params import BLOCK

#: Units of the accumulator that a block loses on average, as it cuts off.
CUT_OFF = 0.5

Values = NDArray[np.float64]


def unit(dot: DotParams) -> float:
    """The accumulator's unit, of the product of the tensors' tops."""
    return float(2.0 ** -float(tables.octaves_below(dot)))


def lost_accuracy(compiled: Package, i: int, a: Values, b: Values) -> NDArray[np.bool_]:
    """Which results (batch, rows, columns) of product ``i`` are off by limits of range more than by
    its format.

    ``a`` (batch, rows, depth), ``b`` (batch, depth, columns): operands as the array has them, see
    ``Weights.values`` of constant ones.  By limits: what blocks whose biases are as low as they
    need would give less what it is, what the accumulator cuts off, and, where that is more in a row
    or column as a whole, the root of the squares of what least products make.  By the format: the
    root of the squares of what it changes in each product, and at least as much as near the top of
    a block, of each product and of the result.
    """
    program = compiled.program
    step, fmt, biases = program.steps[i], compiled.formats[i], compiled.source_biases(i)
    dot, weights = compiled.arch.dot, compiled.weight_format(i)
    assert isinstance(step, Product)
    known = compiled.weight_blocks(i)
    x = _made(np.nan_to_num(a), fmt, biases[0], dot)
    y = (
        _made(np.nan_to_num(b).transpose(0, 2, 1), weights, biases[1], dot)
        if known is None
        else _known(known, dot)
    )
    if compiled.ranges.fixed:
        x = x._replace(top=np.full_like(x.top, 2.0 ** (biases[0] / BIAS_PER_OCTAVE)))
    near_x, near_y = (half_gap(np.ones(()), f) for f in (fmt, weights))
    near = max(near_x, near_y)
    by_format = _products(x.off**2 + (near_x * x.free) ** 2, y.free**2) + _products(
        x.free**2, y.off**2 + (near_y * y.free) ** 2
    )
    by_limits = (
        unit(dot)
        * CUT_OFF
        * (x.top * y.top)[:, None, None]
        * _products((x.tops > 0).astype(float), (y.tops > 0).astype(float))
    )
    if x.limited is not x.free or y.limited is not y.free:
        by_limits += np.abs(_products(x.limited, y.limited) - _products(x.free, y.free))
    # Half of the least product, of the tops of two blocks.
    least = (
        2.0 ** (-2 * dot.product_bits)
        / BLOCK
        * _products(x.filled * x.tops**2, y.filled * y.tops**2)
    )
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
    """Rows (batch, rows, depth) in blocks: values as they are multiplied, the same if none had to
    be larger than the bias of a block reaches or counts as zero, values if biases were as low as
    they need and nothing did, and how far these are off; numbers of elements other than zero, and
    tops, of the blocks (batch, rows, blocks), and tops of the tensors (batch,).
    """

    limited: Values
    free: Values
    off: Values
    filled: NDArray[np.int64]
    tops: Values
    top: Values


def _made(rows: Values, fmt: Format, bias: int, dot: DotParams) -> _Blocks:
    """Blocks along the depth of ``rows`` (batch, rows, depth) by the reblock unit; ``bias`` of the
    tensor."""
    batch, count, depth = rows.shape
    padded = np.pad(rows, ((0, 0), (0, 0), (0, -depth % BLOCK)))
    blocks = padded.reshape(batch, count, -1, BLOCK)
    codes, biases = reblock(constant_codes(blocks, bias), fmt)
    beta = _block_biases(biases, fmt)
    used = biases != model.ZERO_BLOCK if fmt.codebooks is None else (blocks != 0).any(axis=-1)
    limited = decode_blocks(codes, np.asarray(biases)[..., None], bias, fmt)
    free, least = limited, used & (beta == least_bias(fmt))
    if least.any():
        free = limited.copy()
        moved, back = _moved(blocks[least], bias)
        inner, beneath = reblock(model.encode16(moved, bias), fmt)
        free[least] = np.ldexp(decode_blocks(inner, beneath.reshape(-1, 1), bias, fmt), back)
    return _joined(limited, free, free - blocks, used, np.full(batch, bias), beta, depth, dot)


def _known(weights: Weights, dot: DotParams) -> _Blocks:
    """Blocks of constant weights, a row of each output.  Where the model's numbers are not kept
    they are off by what rounding takes on average."""
    fmt, limited = weights.fmt, np.nan_to_num(weights.decoded())
    own, beta = np.array(weights.tensor_biases), _block_biases(weights.biases, fmt)
    low = np.unravel_index(weights.low, beta.shape)
    used = (limited != 0).any(axis=-1)
    used[low] = True
    tops = _tops(used, own, beta)[..., None]
    sizes = np.divide(np.abs(limited), tops, out=np.zeros_like(limited), where=tops > 0)
    free, off = limited, tops * half_gap(sizes, fmt) / np.sqrt(3)
    if len(weights.low):
        free = limited.copy()
    for batch in np.unique(low[0]):
        here, bias = low[0] == batch, weights.tensor_biases[batch]
        places, meant = tuple(axis[here] for axis in low), weights.meant[here]
        moved, back = _moved(meant, bias)
        free[places] = np.ldexp(decode_blocks(*encode_blocks(moved, fmt, bias), fmt), back)
        off[places] = free[places] - meant
    return _joined(limited, free, off, used, own, beta, weights.depth, dot)


def _block_biases(biases: NDArray, fmt: Format) -> NDArray[np.int64]:
    """In 1/8 octave, of biases or bytes."""
    whole = np.asarray(biases, np.int64)
    return whole if fmt.codebooks is None else np.asarray(fmt.codebooks.split(biases)[1], np.int64)


def _tops(used: NDArray[np.bool_], own: NDArray, beta: NDArray[np.int64]) -> Values:
    """Of blocks (batch, rows, blocks), 0 of those without numbers."""
    return np.where(used, 2.0 ** ((own[:, None, None] + beta) / BIAS_PER_OCTAVE), 0.0)


def _joined(
    limited: Values,
    free: Values,
    off: Values,
    used: NDArray[np.bool_],
    own: NDArray,
    beta: NDArray[np.int64],
    depth: int,
    dot: DotParams,
) -> _Blocks:
    """Of blocks (batch, rows, blocks, block), see there; ``own`` tensor biases (batch,)."""
    tops = _tops(used, own, beta)
    held = limited
    if dot.operand_octaves:
        far = (limited != 0) & (np.abs(limited) <= tops[..., None] * 2.0**-dot.operand_octaves)
        if far.any():
            held = np.where(far, 0.0, limited)

    def joined(values: Values) -> Values:
        return values.reshape(*values.shape[:2], -1)[:, :, :depth]

    multiplied = joined(held)
    return _Blocks(
        multiplied,
        multiplied if free is held else joined(free),
        joined(off),
        (held != 0).sum(axis=3),
        tops,
        tops.max(axis=(1, 2), initial=0.0),
    )


def _moved(blocks: Values, bias: int) -> tuple[Values, NDArray[np.int64]]:
    """Blocks (count, block) moved by whole octaves to below the top of their tensor, so that
    nothing changes but that their biases have room; and by how many (count, 1) they go back."""
    most = np.abs(blocks).max(axis=1, keepdims=True, initial=0.0)
    octaves = (bias - model.bias_for(np.where(most > 0, most, 1.0))) // BIAS_PER_OCTAVE - 1
    return np.ldexp(blocks, octaves), -octaves


def half_gap(size: Values, fmt: Format) -> Values:
    """Greatest error of rounding numbers up to ``size``, any shape, to codes of a block of
    top 1, in profile A by whatever codebook, whose highest level may be less.
    """
    if fmt.codebooks is None:
        books = [model.value_of(np.arange(fmt.m_max + 1), fmt)]
    else:
        signed, _ = fmt.book_levels
        books = [np.abs(row[side]) for row in signed for side in (row >= 0, row <= 0)]

    def gaps(levels: Values) -> Values:
        levels = np.sort(levels)
        most = np.maximum.accumulate(np.diff(levels) / 2)
        inside = most[np.clip(np.searchsorted(levels, size), 1, len(levels) - 1) - 1]
        return np.maximum(inside, size - levels[-1])

    return np.max([gaps(levels) for levels in books], axis=0)
