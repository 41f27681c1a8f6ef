"""Profile A: encoding and decoding of blocks that name their codebook."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pal_units.codebook import BIAS_WINDOW, SPREAD_LIMIT, SPREAD_UNITS, spread_shift
from pal_units.formats import BIAS_PER_OCTAVE, PAL16, Format
from pal_units.model.codec import (
    BIAS_MAX,
    Codes,
    check_encodable,
    check_tensor_bias,
    scaled,
    with_nan,
)
from pal_units.model.elementwise import fields


def nearest_in_book(x: ArrayLike, fmt: Format, selector: int) -> Codes:
    """Codes of values relative to a block top of 1.0 in a codebook: nearest, ties to even.

    What lies beyond the codebook saturates, NaN becomes NaN, or zero in a format without.
    """
    x = np.asarray(x, np.float64)
    levels, order = fmt.book_levels
    # Far outside all distances are equal.
    values = np.clip(np.where(np.isnan(x), 0.0, x), levels[selector][0], levels[selector][-1])
    distance = np.abs(values[..., None] - levels[selector])
    nearest = distance == distance.min(axis=-1, keepdims=True)
    # At most two neighbours are equally near, and one of them has an even code.
    even = nearest & (order[selector] % 2 == 0)
    place = np.where(nearest.sum(axis=-1) > 1, even.argmax(axis=-1), nearest.argmax(axis=-1))
    return with_nan(order[selector][place], np.isnan(x), fmt)


def book_fields(
    codes: ArrayLike, selector: ArrayLike, fmt: Format
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Distance in units of ``2^-F``, negative, zero and NaN of codes in codebooks (broadcast)."""
    assert fmt.codebooks is not None
    codes, selector = np.broadcast_arrays(np.asarray(codes), np.asarray(selector))
    lam, sign = (table[selector, codes] for table in fmt.codebooks.tables)
    nan = (codes == fmt.sign_bit) & fmt.has_nan
    return lam, sign < 0, (sign == 0) & ~nan, nan


def values_in_books(
    codes: ArrayLike, selector: ArrayLike, bias: ArrayLike, fmt: Format
) -> NDArray[np.float64]:
    """Values of codes in codebooks below the top ``2^(bias/8)``, powers of two exact."""
    books, unit = fmt.codebooks, 1 << fmt.fraction_bits
    assert books is not None
    lam, sign = books.tables
    eighths = np.arange(BIAS_PER_OCTAVE)[:, None, None]
    octaves, rest = np.divmod(eighths * (unit // BIAS_PER_OCTAVE) - lam, unit)
    # Of every code of every codebook below each top within an octave.
    value = sign * np.ldexp(np.exp2(np.arange(unit) / unit)[rest], octaves)
    if fmt.has_nan:
        value[..., fmt.sign_bit] = np.nan
    octaves, eighth = np.divmod(np.asarray(bias, np.int64), BIAS_PER_OCTAVE)
    return np.ldexp(value[eighth, np.asarray(selector), np.asarray(codes)], octaves)


def _errors(
    blocks: NDArray[np.float64], bias: NDArray[np.int64], step: NDArray[np.int64], fmt: Format
) -> NDArray[np.float64]:
    """Squared error of blocks in each codebook, ``(selectors, blocks)``, weighted by ``step``."""
    assert fmt.codebooks is not None
    relative = scaled(blocks, -bias[:, None])
    errors = []
    for selector in range(fmt.codebooks.selectors):
        levels, order = (table[selector] for table in fmt.book_levels)
        codes = nearest_in_book(np.where(np.isnan(relative), 0.0, relative), fmt, selector)
        value = np.zeros(1 << fmt.n)
        value[order] = levels
        difference = np.where(np.isnan(relative), 0.0, value[codes] - relative)
        # Summed in order, so that every implementation decides alike.
        with np.errstate(over="ignore"):
            errors.append(np.add.accumulate(difference * difference, axis=-1)[..., -1])
    return scaled(np.array(errors), 2 * step)


def _search(
    blocks: NDArray[np.float64],
    nearest: NDArray[np.int64],
    tensor: NDArray[np.int64],
    steps: NDArray[np.int64],
    fmt: Format,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Selector and bias code of each block, of least squared error; the first of equals."""
    low, high = BIAS_WINDOW
    biases = tensor[:, None] - steps
    within = (biases <= (nearest + high)[:, None]) & (biases >= (nearest + low)[:, None])
    # Where the byte names none of the window, the next lower one, or the lowest.
    below = biases <= (nearest + high)[:, None]
    next_lower = np.where(below.any(axis=1), below.argmax(axis=1), len(steps) - 1)
    within[np.arange(len(blocks)), next_lower] |= ~within.any(axis=1)
    best = np.full(len(blocks), np.inf)
    selector, code = np.zeros(len(blocks), np.int64), within.argmax(axis=1)
    for i in range(len(steps)):
        tried = within[:, i]
        # Outside the window there is one bias, and nothing to weigh.
        weight = np.clip(biases[tried, i] - nearest[tried], low, high)
        errors = _errors(blocks[tried], biases[tried, i], weight, fmt)
        for s, error in enumerate(errors):
            better = np.flatnonzero(tried)[error < best[tried]]
            best[better] = error[error < best[tried]]
            selector[better], code[better] = s, i
    return selector, code


def encode_blocks(
    x: ArrayLike, fmt: Format, tensor_bias: int | None = None
) -> tuple[Codes, NDArray[np.int8], int]:
    """Encode ``x`` of shape ``(..., K)``, ``K`` a multiple of ``fmt.block``, in profile A.

    Returns codes ``(..., K)``, the bytes of blocks ``(..., K/block)`` and the tensor bias ``T``.
    Each block takes the codebook and the bias of least squared error, of the biases
    ``BIAS_WINDOW`` around the nearest to its largest magnitude that its byte can name.  Without
    ``tensor_bias`` that is the highest bias that a block wants.  With it, values above saturate.
    A block of zeros, or of NaN, has the byte 0.

    Raises ``ValueError`` for a last axis that blocks do not divide, for infinities, for NaN in a
    format without, and for a ``T`` that int16 cannot hold.
    """
    assert fmt.codebooks is not None
    x = np.asarray(x, np.float64)
    check_encodable(x, fmt)
    blocks = x.reshape(-1, fmt.block)
    peak = np.abs(np.where(np.isnan(blocks), 0.0, blocks)).max(axis=-1, initial=0.0)
    numbers = peak > 0
    nearest = np.floor(BIAS_PER_OCTAVE * np.log2(np.where(numbers, peak, 1.0)) + 0.5)
    nearest = nearest.astype(np.int64)
    low, high = BIAS_WINDOW
    if tensor_bias is None:
        top = np.minimum(nearest + high, BIAS_MAX)
        _, code = _search(blocks, nearest, top, np.arange(high - low + 1), fmt)
        wanted = (top - code)[numbers]
        tensor_bias = int(wanted.max()) if len(wanted) else 0
    check_tensor_bias(tensor_bias)
    steps = fmt.codebooks.bias_steps
    selector, code = _search(blocks, nearest, np.full(len(blocks), tensor_bias), steps, fmt)
    selector, code = np.where(numbers, selector, 0), np.where(numbers, code, 0)
    codes = np.zeros(blocks.shape, np.uint8)
    relative = scaled(blocks, -(tensor_bias - steps[code])[:, None])
    for s in range(fmt.codebooks.selectors):
        codes[selector == s] = nearest_in_book(relative[selector == s], fmt, s)
    byte = fmt.codebooks.join(selector, code)
    return codes.reshape(x.shape), byte.reshape(*x.shape[:-1], -1), tensor_bias


def decode_blocks(
    codes: ArrayLike, byte: ArrayLike, tensor_bias: int, fmt: Format
) -> NDArray[np.float64]:
    """Values of codes ``(..., K)`` under the bytes ``(..., K/block)`` of their blocks."""
    assert fmt.codebooks is not None
    codes, byte = np.asarray(codes), np.asarray(byte)[..., None]
    selector, beta = fmt.codebooks.split(byte)
    blocks = codes.reshape(*byte.shape[:-1], fmt.block)
    return values_in_books(blocks, selector, tensor_bias + beta, fmt).reshape(codes.shape)


def reblock(codes16: ArrayLike, fmt: Format) -> tuple[Codes, NDArray[np.int8]]:
    """PAL16 codes ``(..., block)`` to one block of profile A under the same tensor bias.

    As the hardware does, which looks at cheap statistics of a block and not at every codebook:
    its spread, which names a codebook and a bias through ``Codebooks.picks``, and whether most
    numbers are negative, which mirrors it.  The bias is rounded up to one that the byte can name,
    elements to nearest.  Returns codes ``(..., block)`` and bytes ``(...)``; a block without
    numbers has the byte 0.

    Raises ``ValueError`` for codebooks without picks.
    """
    books = fmt.codebooks
    if books is None or not books.picks:
        raise ValueError(f"{fmt.name} has no picks for the hardware's encoder")
    lam, negative, zero, nan = fields(codes16, PAL16)
    number = ~(zero | nan)
    peak = np.where(number, lam, PAL16.m_max).min(axis=-1)
    per_unit = (1 << PAL16.fraction_bits) // SPREAD_UNITS
    distance = np.where(number, (lam - peak[..., None]) // per_unit, SPREAD_LIMIT)
    spread = np.minimum(distance, SPREAD_LIMIT).sum(axis=-1) >> spread_shift(fmt.block)
    book, step = np.array(books.picks)[spread].transpose(-1, *range(spread.ndim))
    mirrored = (negative & number).sum(axis=-1) > fmt.block // 2
    selector = np.where(mirrored & books.mirrored, book + len(books.positive), book)
    empty = ~number.any(axis=-1)
    down = np.maximum(peak * BIAS_PER_OCTAVE // (1 << PAL16.fraction_bits) - step, 0)
    code = np.searchsorted(books.bias_steps, down, side="right") - 1
    selector, code = np.where(empty, 0, selector), np.where(empty, 0, code)
    # Below the block's top, with one rounding: ties must not be lost in a product.
    below = lam - books.bias_steps[code][..., None] * (
        (1 << PAL16.fraction_bits) // BIAS_PER_OCTAVE
    )
    value = np.where(negative, -1.0, 1.0) * np.exp2(-below / 2.0**PAL16.fraction_bits)
    value = np.where(number, value, 0.0)
    codes = np.zeros(value.shape, np.uint8)
    for s in range(books.selectors):
        codes[selector == s] = nearest_in_book(value[selector == s], fmt, s)
    return with_nan(codes, nan, fmt), books.join(selector, code)
