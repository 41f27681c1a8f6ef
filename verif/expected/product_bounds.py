"""How far matrix products of blocks can be from real ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, Format
from spu.arch.blocks import decode_blocks
from spu.arch.package.expression import least_magnitude
from spu.arch.package.product import weight_blocks
from spu.arch.package.weights import least_bias
from spu.arch.params import BLOCK
from spu.engine.product_loss import half_gap, unit

Values = NDArray[np.float64]


def product_errors(
    a: tuple[Values, Values],
    b: tuple[Values, Values] | Values,
    depths: Sequence[range],
    formats: tuple[Format, Format],
    dot: DotParams,
    biases: tuple[int, ...],
) -> list[tuple[Values, Values]]:
    """Results of parts of the depth of a product, and how far the computed ones are at most, before
    they are rounded to PAL16: blocks, products, sums.

    ``a`` (batch, rows, depth), ``b`` (batch, depth, columns): values and their errors, or constant
    weights; ``biases`` of the tensors.
    """
    fmt, weights = formats
    value_a, error_a, top_a = block_errors(a, fmt, biases[0], dot)
    if isinstance(b, tuple):
        columns = b[0].transpose(0, 2, 1), b[1].transpose(0, 2, 1)
        value_b, error_b, top_b = block_errors(columns, weights, biases[1], dot)
    else:
        value_b = b.transpose(0, 2, 1)
        error_b, top_b = _known_weights(b, weights, dot)
    # A unit of the accumulator, far below the tops of the whole tensors, for each block.
    units = unit(dot) * (top_a.max(axis=(1, 2)) * top_b.max(axis=(1, 2)))[:, None, None]
    parts = []
    for depth in depths:
        taken = slice(depth.start, depth.stop)
        blocks = slice(depth.start // BLOCK, -(-depth.stop // BLOCK))
        x, off_x, top_x = value_a[:, :, taken], error_a[:, :, taken], top_a[:, :, blocks]
        y, off_y, top_y = (
            z.transpose(0, 2, 1)
            for z in (value_b[:, :, taken], error_b[:, :, taken], top_b[:, :, blocks])
        )
        size_y = np.abs(y) + off_y
        # Of what is multiplied, and of the products.
        error = np.abs(x) @ off_y + off_x @ size_y
        error = error + 2.0 ** -(dot.antilog_bits + 1) * ((np.abs(x) + off_x) @ size_y)
        # Products lie below the whole octaves of both biases.
        error = error + BLOCK * 2.0 ** -(dot.product_bits - 2) * (top_x @ top_y)
        parts.append((x @ y, error + top_x.shape[2] * units))
    return parts


def block_errors(
    rows: tuple[Values, Values], fmt: Format, bias: int, dot: DotParams
) -> tuple[Values, Values, Values]:
    """Rows (batch, rows, depth) in blocks: values, errors, tops (batch, rows, blocks)."""
    value, error = rows
    short = -value.shape[2] % BLOCK
    blocks = [
        np.pad(x, ((0, 0), (0, 0), (0, short))).reshape(*value.shape[:2], -1, BLOCK)
        for x in (value, error)
    ]
    size = np.abs(blocks[0])
    # The least bias of the format holds for smaller blocks too.
    least = least_magnitude(bias)
    # What a block's bias lies above the least that does not clip.
    raised = 0 if fmt.codebooks is None else max((n for _, n in fmt.codebooks.picks), default=0)
    tops = []
    for amax, more in ((np.maximum(size - blocks[1], 0), 0), (size + blocks[1], raised)):
        beta = model.bias_for(np.maximum(amax.max(axis=-1), least)) - bias + more
        tops.append(2.0 ** ((bias + _next_bias(beta, fmt)) / BIAS_PER_OCTAVE))
    lost = np.maximum(
        *(half_gap((size + blocks[1]) / t[..., None], fmt) * t[..., None] for t in tops)
    )
    if dot.operand_octaves:
        far = size - blocks[1] <= tops[1][..., None] * 2.0**-dot.operand_octaves
        lost = np.where(far, np.inf, lost)
    # What becomes zero is no further off than it is large.
    out = (blocks[1] + np.minimum(lost, size + blocks[1])).reshape(*value.shape[:2], -1)
    return value, out[:, :, : value.shape[2]], tops[1]


def _next_bias(beta: NDArray[np.int64], fmt: Format) -> NDArray[np.int64]:
    """The least block bias of the format that is no less."""
    if fmt.codebooks is None:
        return np.maximum(-(-beta // fmt.bias_step) * fmt.bias_step, least_bias(fmt))
    steps = np.asarray(fmt.codebooks.bias_steps)
    return -steps[np.maximum(np.searchsorted(steps, -beta, side="right") - 1, 0)]


def _known_weights(constant: Values, fmt: Format, dot: DotParams) -> tuple[Values, Values]:
    """Errors of weights that are known (batch, columns, depth), and tops of their blocks."""
    errors, tops = [], []
    for matrix in constant:
        codes, beta, t_weight = weight_blocks(matrix, fmt)
        decoded = decode_blocks(codes, beta, t_weight, fmt)
        if fmt.codebooks is not None:
            _, beta = fmt.codebooks.split(beta)
        top = 2.0 ** ((beta.astype(np.float64) + t_weight) / 8)
        if dot.operand_octaves:
            limit = np.repeat(top, BLOCK, axis=-1) * 2.0**-dot.operand_octaves
            decoded = np.where(np.abs(decoded) <= limit, 0.0, decoded)
        errors.append(np.abs(decoded[:, : matrix.shape[0]] - matrix.T))
        tops.append(top)
    return np.array(errors), np.array(tops)
