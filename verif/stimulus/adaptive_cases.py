"""Vectors of the units of profile A, and of dot products whose biases go in at the edge.

As in ``elementwise_cases``.  Decoders are exhaustive; encoders see every threshold of every
codebook from both sides.  What a unit says means nothing is not compared.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from amaranth.lib import data

from pal_units import model
from pal_units.codebook import SPREAD_CLASSES, Codebooks
from pal_units.dot_params import DOT_PARAMS, DotParams
from pal_units.formats import PAL16, ZERO_BLOCK, Format
from pal_units.model import adaptive, edge
from pal_units.rtl.block_encoder import BlockEncoder, CodebookEncoder
from pal_units.rtl.codebook import ByteDecoder, CodebookDecoder, OperandDecoder
from pal_units.rtl.matrix import DotMatrix, DotUnit
from verif.stimulus.codes import corner_codes, every, random_biases
from verif.stimulus.vectors import Case, join, packed

#: PAL16's units of a distance in an octave.
OCTAVE = 1 << PAL16.fraction_bits

#: What the formats of the library have not: codebooks that are neither mirrored nor symmetric and a
#: zone of biases that begins coarse; and a single codebook, of the finest logarithm.
_BOOKS = (
    (tuple(range(75, -1, -5)), tuple(range(59, 2, -4))),
    ((120, 90, 70, *range(64, 12, -4)), (130, 95, *range(60, -1, -5))),
    (tuple(range(47, 1, -3)), tuple(range(31, 1, -2))),
    (tuple(range(16, 0, -1)), (100, *range(28, 0, -2))),
)
FOUR_BOOKS = Format(
    "four books",
    5,
    "A",
    4,
    block=8,
    codebooks=Codebooks(
        tuple(positive[:15] for positive, _ in _BOOKS),
        tuple(negative[:15] for _, negative in _BOOKS),
        bias_zones=((20, 2), (34, 1), (10, 3)),
        picks=tuple((i // 10, i % 4 - 2) for i in range(SPREAD_CLASSES)),
    ),
)
ONE_BOOK = Format(
    "one book",
    4,
    "A",
    10,
    block=4,
    codebooks=Codebooks(
        ((4095, 3000, 2001, 1500, 1022, 511, 257, 3),),
        ((3500, 2500, 1700, 1200, 700, 300, 0),),
        True,
        ((126, 1), (2, 1)),
        ((0, 0),) * SPREAD_CLASSES,
    ),
)
DOT = {"four books": DotParams(4, 6, guard_bits=6), "one book": DotParams(10, 12, product_bits=16)}


def levels(fmt: Format) -> Iterator[tuple[int, int, int, bool]]:
    """Selector, code, distance and sign of each level of a format, as ``Codebooks`` documents."""
    books = fmt.codebooks
    assert books is not None
    rows = len(books.positive)
    for selector in range(rows << books.mirrored):
        turned = selector >= rows
        for i, distance in enumerate(books.positive[selector % rows]):
            # The one beyond the positive magnitudes has the code of a sign alone.
            yield selector, i + 1, distance, turned
        for i, distance in enumerate(books.negative[selector % rows]):
            yield selector, fmt.sign_bit + i + 1, distance, not turned


def down_of_codes(fmt: Format) -> list[int]:
    """What each bias code is down in 1/8 octave, as ``Codebooks`` documents."""
    books = fmt.codebooks
    assert books is not None
    down = [0]
    for count, step in books.bias_zones:
        down += [down[-1] + step * (i + 1) for i in range(count)]
    return down[:-1]


def edge_params(fmt: Format, **changes: Any) -> DotParams:
    """The good point of a format, with the biases at the edge."""
    return replace((DOT_PARAMS | DOT)[fmt.name], edge_biases=True, **changes)


def byte_decoder(fmt: Format, unit: Any = None) -> Case:
    """All 256 bytes."""
    books = fmt.codebooks
    assert books is not None
    byte, down = np.arange(256), down_of_codes(fmt)
    count = 256 // books.selectors
    return (
        unit or ByteDecoder(fmt),
        {"block_byte": byte},
        {"selector": byte // count, "beta": [-down[v % count] for v in byte]},
    )


def codebook_decoder(fmt: Format, unit: Any = None) -> Case:
    """All codes of all codebooks."""
    unit = unit or CodebookDecoder(fmt, fmt.fraction_bits)
    books = fmt.codebooks
    assert books is not None
    selector, code = every(np.arange(books.selectors), np.arange(1 << fmt.n))
    nan = (code == fmt.sign_bit) & fmt.has_nan
    lam, negative = np.zeros((2, len(code)), np.int64)
    zero = ~nan
    for s, c, distance, sign in levels(fmt):
        if unit.octaves and distance >= unit.octaves << fmt.fraction_bits:
            continue
        at = s << fmt.n | c
        lam[at] = distance << (unit.fraction_bits - fmt.fraction_bits)
        negative[at], zero[at] = sign, 0
    want, care = decoded(unit.o.shape(), lam, negative, zero, nan)
    return unit, {"selector": selector, "code": code}, {"o": want}, None, {"o": care}


def decoded(
    layout: data.StructLayout, lam: np.ndarray, negative: Any, zero: Any, nan: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Decoded elements and which of their bits mean something: of zeros and NaN their class."""
    number = np.where(zero | nan, 0, -1)
    lam = lam & number
    care = packed(layout, lam=number, negative=number, zero=-1, nan=-1)
    return packed(layout, lam=lam, negative=negative, zero=zero, nan=nan), care


def far_codebook_decoder(fmt: Format) -> Case:
    """With a limit of two octaves, and bits below the format's."""
    return codebook_decoder(fmt, CodebookDecoder(fmt, fmt.fraction_bits + 2, 2))


def operand_decoder(fmt: Format, unit: Any = None) -> Case:
    """All codes under all biases or bytes; every other lane has the code's complement."""
    unit = unit or OperandDecoder((fmt,), edge_params(fmt), 2)
    byte, code = every(np.arange(256), np.arange(1 << fmt.n))
    codes = np.where(np.arange(unit.lanes) % 2, code[:, None] ^ (1 << fmt.n) - 1, code[:, None])
    found = edge.operand(codes, byte.astype(np.uint8).view(np.int8), fmt, unit.params)
    number = np.where(found.sign == 0, 0, -1)
    want = packed(
        unit.element, lam=found.log & number, negative=found.sign < 0, zero=found.sign == 0
    )
    care = packed(unit.element, lam=number, negative=number, zero=-1)
    bits = unit.element.size
    return (
        unit,
        {
            "codes": join(codes, fmt.n if len(unit.formats) == 1 else 8),
            "bias": byte,
            "select": np.full(len(byte), unit.formats.index(fmt)),
        },
        {"o": join(want, bits), "octaves": found.octaves, "zero": found.empty, "nan": found.nan},
        None,
        {"o": join(care, bits), "octaves": np.where(found.empty, 0, -1)},
    )


def near_operand_decoder(fmt: Format) -> Case:
    """Operands two octaves down are zero, and biases count in half octaves."""
    params = edge_params(fmt)
    near = replace(params, fraction_bits=params.fraction_bits + 1, bias_step=4, operand_octaves=2)
    return operand_decoder(fmt, OperandDecoder((fmt,), near, 2))


def codebook_encoder(fmt: Format, unit: Any = None) -> Case:
    """Every distance at 4 bits; above, those on both sides of every threshold, and random ones."""
    books, rng = fmt.codebooks, np.random.default_rng(30)
    assert books is not None
    ends = [-65536, -1025, -1, 0, 1, 32766, 32767, 65534, 65535]
    if fmt.n == 4:
        least = fmt.lambda_max * OCTAVE >> fmt.fraction_bits
        distance = np.append(np.arange(-3, least + OCTAVE + 4), ends)
        selector, negative, lam = every(np.arange(books.selectors), [0, 1], distance)
    else:
        parts = []
        for s in range(books.selectors):
            ascending = np.sort(fmt.book_levels[0][s])
            middle = (ascending[1:] + ascending[:-1]) / 2
            for sign in (0, 1):
                side = np.abs(middle[middle < 0] if sign else middle[middle > 0])
                near = np.floor(-OCTAVE * np.log2(side)).astype(np.int64)
                at = np.unique(np.append((near[:, None] + np.arange(-1, 3)).ravel(), ends))
                at = np.append(at, rng.integers(0, 14 * OCTAVE, 500))
                parts.append([np.full(len(at), s), np.full(len(at), sign), at])
        selector, negative, lam = np.concatenate(parts, axis=1)
    special = rng.integers(0, 16, len(lam))
    zero, nan = special == 1, special == 2
    # Each number without one of them too.
    selector, negative, lam = (np.tile(v, 2) for v in (selector, negative, lam))
    zero, nan = (np.append(v, np.zeros(len(v), bool)) for v in (zero, nan))
    x = np.where(negative, -1.0, 1.0) * np.exp2(-lam / OCTAVE)
    want = np.zeros(len(lam), np.int64)
    for s in range(books.selectors):
        want[selector == s] = adaptive.nearest_in_book(x[selector == s], fmt, s)
    want = np.where(zero, 0, want)
    want = np.where(nan, fmt.sign_bit if fmt.has_nan else 0, want)
    unit = unit or CodebookEncoder(fmt)
    i = packed(unit.i.shape(), lam=lam, negative=negative, zero=zero, nan=nan)
    return unit, {"i": i, "selector": selector}, {"o": want}


def blocks16(fmt: Format, count: int) -> np.ndarray:
    """Blocks of PAL16 codes: narrow and wide ones, corners, and one number alone."""
    rng, block, top = np.random.default_rng(31), fmt.block, PAL16.m_max
    width = np.exp2(rng.uniform(0, 15, (count, 1)))
    peak = top - (rng.random((count, 1)) ** 3 * 0.9 * top).astype(np.int64)
    values = np.maximum(peak - (rng.random((count, block)) * width).astype(np.int64), 0)
    values |= (rng.random((count, block)) < rng.random((count, 1))) * PAL16.sign_bit
    values[rng.random(values.shape) < 0.05] = 0
    values[rng.random(values.shape) < 0.004] = PAL16.sign_bit
    values[values & top == 0] &= PAL16.sign_bit
    one = np.zeros((8, block), np.int64)
    one[np.arange(8), rng.integers(0, block, 8)] = [1, top, top | 32768, 32769, 5, 20000, 600, 127]
    halves = np.full((4, block), top)
    # Half of the least level of each codebook, and next to it.
    books = fmt.codebooks
    assert books is not None
    for i, row in enumerate(books.positive[:4]):
        least = (row[0] * OCTAVE >> fmt.fraction_bits) + OCTAVE
        halves[i, 1:] = top - least + np.resize([0, 1, -1], block - 1)
    # As many negative as positive, one more, one less.
    even = np.full((3, block), top - 100)
    for i, n in enumerate((block // 2, block // 2 + 1, block // 2 - 1)):
        even[i, :n] |= PAL16.sign_bit
    nan = np.full((2, block), PAL16.sign_bit)
    nan[1, 3] = 20000
    values[:19] = np.concatenate(
        [
            np.zeros((1, block), np.int64),
            np.full((1, block), top | PAL16.sign_bit),
            one,
            halves,
            even,
            nan,
        ]
    )
    return values[rng.permutation(count)]


def block_encoder(fmt: Format, unit: Any = None, count: int = 3000) -> Case:
    """Blocks with bubbles between them, in which the values are other blocks."""
    rng, values = np.random.default_rng(32), blocks16(fmt, count)
    codes, byte = adaptive.reblock(values, fmt)
    push = rng.random(count) < 0.7
    push[:2] = [True, False]
    pushed = np.where(push, -1, 0)
    return (
        unit or BlockEncoder(fmt),
        {"push": push, "values": join(values, 16)},
        {"codes": join(codes, fmt.n), "block_byte": byte, "valid": push},
        None,
        {"codes": pushed, "block_byte": pushed},
    )


def small_block_encoder(fmt: Format) -> Case:
    """Of blocks of 8."""
    return block_encoder(fmt.with_block(8), count=1500)


def biases_of(rng: np.random.Generator, fmt: Format, shape: Any) -> np.ndarray:
    """Bytes of blocks, or biases, as int8."""
    if fmt.codebooks is not None:
        return rng.integers(0, 256, shape).astype(np.uint8).view(np.int8)
    return random_biases(rng, shape).astype(np.int8)


def edge_dot(fmt: Format, lanes: int = 0, blocks: int = 1000) -> Case:
    """Of a ``DotUnit`` with biases at the edge."""
    unit = DotUnit(fmt, edge_params(fmt), lanes or max(fmt.block // 8, 2))
    return dot_products(fmt, unit, blocks)


def dot_products(fmt: Format, unit: Any, blocks: int = 1000) -> Case:
    """Dot products one to many blocks long, in slices with idle cycles between them.

    Of a ``DotMatrix`` or a ``DotUnit``.  Idle cycles hold other operands.
    """
    rng, single = np.random.default_rng(33), isinstance(unit, DotUnit)
    matrix = unit.matrix if single else unit
    params, lanes, columns = matrix.params, matrix.lanes, matrix.columns
    x = corner_codes(rng, fmt, (blocks, fmt.block))
    w = corner_codes(rng, fmt, (blocks, columns, fmt.block))
    x_bias, w_bias = biases_of(rng, fmt, blocks), biases_of(rng, fmt, (blocks, columns))
    if fmt.has_nan and fmt.codebooks is None:
        # Blocks of zeros hide NaN.
        w[x_bias == ZERO_BLOCK, 0, 0] = fmt.sign_bit
    last = rng.random(blocks) < 0.4
    last[-1] = True
    pairs = x[:, None], x_bias[:, None, None], w, w_bias[..., None]
    # A dot product of one block each: what it adds to an accumulator.
    term, nan = (
        edge.dot(*pairs, fmt, fmt, params) if params.edge_biases else model.dot(*pairs, fmt, params)
    )
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    result, any_nan = np.add.reduceat(term, starts), np.logical_or.reduceat(nan, starts)
    slices = fmt.block // lanes
    # The cycle of each slice; in the others there is none.
    cycles = blocks * slices * 5 // 4
    mac = np.zeros(cycles, bool)
    mac[np.sort(rng.choice(cycles - 1, blocks * slices - 1, replace=False))] = True
    mac[-1] = True
    number = np.maximum(np.cumsum(mac) - 1, 0)
    block, part = number // slices, number % slices
    block_last, last_slice = part == slices - 1, last[block]
    idle = ~mac
    block_last = np.where(idle, rng.random(cycles) < 0.5, block_last)
    last_slice = np.where(idle, rng.random(cycles) < 0.5, last_slice)
    xs = x.reshape(blocks, slices, lanes)[block, part]
    ws = w.reshape(blocks, columns, slices, lanes)[block, :, part]
    xs[idle] = rng.integers(0, 1 << fmt.n, xs[idle].shape)
    ws[idle] = rng.integers(0, 1 << fmt.n, ws[idle].shape)
    xb, wb = x_bias[block], w_bias[block]
    done = mac & block_last & last_slice
    index = (np.cumsum(last) - last.astype(int))[block]
    control = {"mac": mac, "block_last": block_last, "last": last_slice}
    if single:
        return (
            unit,
            {
                "a": join(xs, fmt.n),
                "b": join(ws[:, 0], fmt.n),
                "beta_a": xb,
                "beta_b": wb[:, 0],
                **control,
            },
            {"result": result[index, 0], "nan": any_nan[index, 0]},
            done,
        )
    mask = (1 << params.accumulator_bits) - 1
    return (
        unit,
        {
            "x": join(xs, fmt.n),
            "x_beta": xb,
            "w": join(ws.reshape(cycles, -1), fmt.n),
            "w_beta": join(wb.view(np.uint8), 8),
            **control,
        },
        {
            "result": join(result[index] & mask, params.accumulator_bits),
            "nan": join(any_nan[index], 1),
        },
        done,
    )


def edge_matrix(fmt: Format) -> Case:
    """Three columns."""
    return dot_products(fmt, DotMatrix((fmt,), edge_params(fmt), 2, 3), 400)


def near_edge_dot(fmt: Format) -> Case:
    """Operands four octaves down count as zero, biases in whole octaves."""
    params = edge_params(fmt, bias_step=8, operand_octaves=4)
    return dot_products(fmt, DotUnit(fmt, params, max(fmt.block // 8, 2)))
