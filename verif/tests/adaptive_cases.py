"""Vectors of the units of profile A, and of dot products whose biases go in at the edge.

A case is as in ``verif.tests.cases``.  Decoders are exhaustive; encoders see every threshold of
every codebook from both sides.  What a unit says means nothing is hidden by a wrapper.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.codebook import SPREAD_CLASSES, Codebooks
from pal_units.dot_params import DOT_PARAMS, DotParams
from pal_units.formats import PAL16, Format
from pal_units.model import adaptive, edge
from pal_units.rtl.block_encoder import BlockEncoder, CodebookEncoder
from pal_units.rtl.codebook import ByteDecoder, CodebookDecoder, OperandDecoder
from pal_units.rtl.matrix import DotMatrix, DotUnit
from verif.stimulus.vectors import join
from verif.tests.cases import Case, corner_codes, every, random_biases

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
        *((tuple(row[:15]) for row in side) for side in zip(*_BOOKS, strict=True)),
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


class _Shown(wiring.Component):
    """A unit with flat outputs, of which some are 0 where others say that they mean nothing."""

    def __init__(
        self, unit: Any, outputs: dict[str, tuple[Callable[[Any], Value], Callable[[Any], Value]]]
    ) -> None:
        self.unit, self.outputs, self.latency = unit, outputs, unit.latency
        inputs = {k: v for k, v in unit.signature.members.items() if v.flow is In}
        widths = {k: Shape.cast(Value.cast(v(unit)).shape()).width for k, (v, _) in outputs.items()}
        super().__init__({**inputs, **{name: Out(width) for name, width in widths.items()}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = unit = self.unit
        for name, member in unit.signature.members.items():
            if member.flow is In:
                m.d.comb += getattr(unit, name).eq(getattr(self, name))
        for name, (value, shown) in self.outputs.items():
            m.d.comb += getattr(self, name).eq(Mux(shown(unit), Value.cast(value(unit)), 0))
        return m


def _always(unit: Any) -> Value:
    return Value.cast(1)


def byte_decoder(fmt: Format) -> Case:
    """All 256 bytes."""
    books = fmt.codebooks
    assert books is not None
    byte, down = np.arange(256), down_of_codes(fmt)
    count = 256 // books.selectors
    return (
        ByteDecoder(fmt),
        {"block_byte": byte},
        {"selector": byte // count, "beta": [-down[v % count] for v in byte]},
    )


def codebook_decoder(fmt: Format, fraction_bits: int = 0, octaves: int | None = None) -> Case:
    """All codes of all codebooks."""
    books, fraction_bits = fmt.codebooks, fraction_bits or fmt.fraction_bits
    assert books is not None
    selector, code = every(np.arange(books.selectors), np.arange(1 << fmt.n))
    nan = (code == fmt.sign_bit) & fmt.has_nan
    lam, negative = np.zeros((2, len(code)), np.int64)
    zero = ~nan
    for s, c, distance, sign in levels(fmt):
        if octaves and distance >= octaves << fmt.fraction_bits:
            continue
        at = s << fmt.n | c
        lam[at], negative[at], zero[at] = distance << (fraction_bits - fmt.fraction_bits), sign, 0
    number = ("lam", "negative")
    unit = _Shown(
        CodebookDecoder(fmt, fraction_bits, octaves),
        {
            name: (
                lambda u, name=name: u.o[name],
                (lambda u: ~u.o.zero & ~u.o.nan) if name in number else _always,
            )
            for name in (*number, "zero", "nan")
        },
    )
    return (
        unit,
        {"selector": selector, "code": code},
        {"lam": lam, "negative": negative, "zero": zero, "nan": nan},
    )


def far_codebook_decoder(fmt: Format) -> Case:
    """With a limit of two octaves, and bits below the format's."""
    return codebook_decoder(fmt, fmt.fraction_bits + 2, 2)


def operand_decoder(
    fmt: Format, params: DotParams | None = None, formats: tuple[Format, ...] = ()
) -> Case:
    """All codes under all biases or bytes; two lanes, the second has the code's complement.

    ``formats``: of the unit, of which ``fmt`` is selected; none for it alone.
    """
    params, formats = params or edge_params(fmt), formats or (fmt,)
    byte, code = every(np.arange(256), np.arange(1 << fmt.n))
    codes = np.stack([code, code ^ (1 << fmt.n) - 1], axis=1)
    found = edge.operand(codes, byte.astype(np.uint8).view(np.int8), fmt, params)
    alive = found.sign != 0
    bits = len(OperandDecoder(formats, params, 1).o[0].lam)
    want = (
        np.where(alive, found.log, 0)
        | (found.sign < 0).astype(np.int64) << bits
        | (~alive).astype(np.int64) << bits + 1
    )

    def lane(unit: Any, i: int) -> Value:
        o = unit.o[i]
        return Cat(Mux(o.zero, 0, o.lam), o.negative & ~o.zero, o.zero)

    unit = _Shown(
        OperandDecoder(formats, params, 2),
        {
            "o": (lambda u: Cat(lane(u, 0), lane(u, 1)), _always),
            "octaves": (lambda u: u.octaves, lambda u: ~u.zero),
            "zero": (lambda u: u.zero, _always),
            "nan": (lambda u: u.nan, _always),
        },
    )
    return (
        unit,
        {
            "codes": join(codes, fmt.n if len(formats) == 1 else 8),
            "bias": byte,
            "select": np.full(len(byte), formats.index(fmt)),
        },
        {
            "o": join(want, bits + 2),
            "octaves": found.octaves,
            "zero": found.empty,
            "nan": found.nan,
        },
    )


def near_operand_decoder(fmt: Format) -> Case:
    """Operands two octaves down are zero, and biases count in half octaves."""
    params = edge_params(fmt)
    return operand_decoder(
        fmt, replace(params, fraction_bits=params.fraction_bits + 1, bias_step=4, operand_octaves=2)
    )


def codebook_encoder(fmt: Format) -> Case:
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
    bits = len(CodebookEncoder(fmt).i.lam)
    i = lam & (1 << bits) - 1 | negative << bits | zero << bits + 1 | nan << bits + 2
    return CodebookEncoder(fmt), {"i": i, "selector": selector}, {"o": want}


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


def block_encoder(fmt: Format, count: int = 3000) -> Case:
    """Blocks with bubbles between them, in which the values are other blocks."""
    rng, values = np.random.default_rng(32), blocks16(fmt, count)
    codes, byte = adaptive.reblock(values, fmt)
    push = rng.random(count) < 0.7
    push[:2] = [True, False]
    unit = _Shown(
        BlockEncoder(fmt),
        {
            "codes": (lambda u: u.codes, lambda u: u.valid),
            "block_byte": (lambda u: u.block_byte, lambda u: u.valid),
            "valid": (lambda u: u.valid, _always),
        },
    )
    return (
        unit,
        {"push": push, "values": join(values, 16)},
        {
            "codes": [v if p else 0 for v, p in zip(join(codes, fmt.n), push, strict=True)],
            "block_byte": np.where(push, byte.view(np.uint8), 0),
            "valid": push,
        },
    )


def small_block_encoder(fmt: Format) -> Case:
    """Of blocks of 8."""
    return block_encoder(fmt.with_block(8), 1500)


def biases_of(rng: np.random.Generator, fmt: Format, shape: Any) -> np.ndarray:
    """Bytes of blocks, or biases, as int8."""
    if fmt.codebooks is not None:
        return rng.integers(0, 256, shape).astype(np.uint8).view(np.int8)
    return random_biases(rng, shape).astype(np.int8)


def edge_dot(
    fmt: Format, params: DotParams | None = None, columns: int = 0, lanes: int = 0, blocks: int = 0
) -> tuple[Any, dict, dict, np.ndarray]:
    """Dot products one to many blocks long, in slices with idle cycles between them.

    Of ``columns`` a ``DotMatrix``, otherwise a ``DotUnit``.  Idle cycles hold other operands.
    """
    rng, params = np.random.default_rng(33), params or edge_params(fmt)
    lanes, blocks, columns_ = lanes or max(fmt.block // 8, 2), blocks or 1000, max(columns, 1)
    x = corner_codes(rng, fmt, (blocks, fmt.block))
    w = corner_codes(rng, fmt, (blocks, columns_, fmt.block))
    x_bias, w_bias = biases_of(rng, fmt, blocks), biases_of(rng, fmt, (blocks, columns_))
    last = rng.random(blocks) < 0.4
    last[-1] = True
    term, nan = edge.dot(x[:, None], x_bias[:, None, None], w, w_bias[..., None], fmt, fmt, params)
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
    ws = w.reshape(blocks, columns_, slices, lanes)[block, :, part]
    xs[idle] = rng.integers(0, 1 << fmt.n, xs[idle].shape)
    ws[idle] = rng.integers(0, 1 << fmt.n, ws[idle].shape)
    xb, wb = x_bias[block], w_bias[block]
    done = mac & block_last & last_slice
    index = (np.cumsum(last) - last)[block]
    control = {"mac": mac, "block_last": block_last, "last": last_slice}
    if not columns:
        return (
            DotUnit(fmt, params, lanes),
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
        DotMatrix((fmt,), params, lanes, columns),
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


def edge_matrix(fmt: Format) -> tuple[Any, dict, dict, np.ndarray]:
    """Three columns."""
    return edge_dot(fmt, columns=3, lanes=2, blocks=400)


def near_edge_dot(fmt: Format) -> tuple[Any, dict, dict, np.ndarray]:
    """Operands four octaves down count as zero, biases in whole octaves."""
    return edge_dot(fmt, edge_params(fmt, bias_step=8, operand_octaves=4))
