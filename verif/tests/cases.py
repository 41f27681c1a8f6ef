"""Vectors of every elementwise unit and converter, with what the model expects.

A case is ``(unit, inputs, expected)``.  One- and two-operand units of up to 8 bits are
exhaustive in their codes; what cannot be is random, weighted towards corners.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pal_units import model, tables
from pal_units.dot_params import DOT_PARAMS
from pal_units.formats import FORMATS, PAL4A, PAL4T, PAL6A, PAL6T, PAL8T, PAL8U, PAL16, Format
from pal_units.rtl.accumulator import Accumulator16
from pal_units.rtl.adder import Adder, FusedMultiplyAdd
from pal_units.rtl.adder16 import Adder16, FusedMultiplyAdd16
from pal_units.rtl.convert import FloatToPal, IntToPal, PalToFloat, PalToInt, Unblock
from pal_units.rtl.elementwise import (
    Comparator,
    Divider,
    Multiplier,
    ReciprocalSquareRoot,
    SquareRoot,
)
from pal_units.rtl.log import AccumulatorEncoder
from pal_units.rtl.matrix import DotUnit
from pal_units.rtl.reblock import ReblockUnit
from pal_units.rtl.transcendental import Exponential, Logarithm
from pal_units.rtl.widen import Widener
from spu.arch.blocks import reblock as blocks_of
from verif.stimulus.vectors import join

SMALL = tuple(f for f in FORMATS.values() if f.n <= 8)
#: Formats of several profiles that one unit serves, in blocks of the same size.
TOGETHER = (PAL8T, PAL6T, PAL4T, PAL4A.with_block(32), PAL6A)
#: Random vectors of units that cannot be exhausted.
MANY = 1_000_000
#: Biases, in 1/8 octave, that the 10-bit bias ports take.
BIASES = np.arange(-512, 512)

Case = tuple[Any, dict[str, Any], dict[str, Any]]


def every(*ranges: Any) -> list[np.ndarray]:
    """All combinations, as one flat array a variable."""
    return [v.ravel() for v in np.meshgrid(*ranges, indexing="ij")]


def codes_of(fmt: Format) -> np.ndarray:
    """All codes of a format."""
    return np.arange(1 << fmt.n)


def corner_codes(rng: np.random.Generator, fmt: Format, shape: Any) -> np.ndarray:
    """Random codes: two thirds uniform, the rest corners; NaN only rarely."""
    top = fmt.m_max
    corners = np.array([0, 1, 2, top // 2, top // 2 + 1, top - 1, top])
    corners = np.concatenate([corners, corners[1:] | fmt.sign_bit])
    codes = np.where(
        rng.random(shape) < 0.33, rng.choice(corners, shape), rng.integers(0, 1 << fmt.n, shape)
    )
    return np.where((codes == fmt.sign_bit) & (rng.random(shape) < 0.95), 0, codes)


def near_pairs(rng: np.random.Generator, fmt: Format, count: int) -> list[np.ndarray]:
    """Corner-weighted pairs, a third of them close in magnitude, where sums cancel."""
    a, b = corner_codes(rng, fmt, (2, count))
    near = rng.random(count) < 0.33
    close = np.where(near, a ^ rng.integers(0, 64, count), b)
    return [a, np.where(near & (rng.random(count) < 0.7), close ^ fmt.sign_bit, close)]


def _pairs(fmt: Format) -> list[np.ndarray]:
    if fmt.n <= 8:
        return every(codes_of(fmt), codes_of(fmt))
    return near_pairs(np.random.default_rng(20), fmt, MANY)


def multiplier(fmt: Format) -> Case:
    a, b = _pairs(fmt)
    return Multiplier(fmt, stages=fmt.n % 4), {"a": a, "b": b}, {"o": model.mul(a, b, fmt)}


def divider(fmt: Format) -> Case:
    a, b = _pairs(fmt)
    return Divider(fmt, 2, 3), {"a": a, "b": b}, {"o": model.div(a, b, fmt, 2)}


def saturating_divider(fmt: Format) -> Case:
    a, b = _pairs(fmt)
    return Divider(fmt), {"a": a, "b": b}, {"o": model.div(a, b, fmt)}


def square_root(fmt: Format) -> Case:
    a, odd = every(codes_of(fmt), [0, 1])
    return SquareRoot(fmt, 2), {"a": a, "odd": odd}, {"o": model.sqrt(a, odd, fmt)}


def reciprocal_square_root(fmt: Format) -> Case:
    a, odd = every(codes_of(fmt), [0, 1])
    return (
        ReciprocalSquareRoot(fmt, 1, 1),
        {"a": a, "odd": odd},
        {"o": model.rsqrt(a, odd, fmt, 1)},
    )


def comparator(fmt: Format) -> Case:
    a, b = _pairs(fmt)
    nan = model.is_nan(a, fmt) | model.is_nan(b, fmt)
    return (
        Comparator(fmt, fmt.n % 3 // 2),
        {"a": a, "b": b},
        {
            "less": model.less(a, b, fmt),
            "equal": model.equal(a, b, fmt),
            "unordered": nan,
            "minimum": model.minimum(a, b, fmt),
            "maximum": model.maximum(a, b, fmt),
        },
    )


def adder(fmt: Format) -> Case:
    a, b = _pairs(fmt)
    headroom = int(fmt.profile == "T")
    subtract = np.repeat([0, 1], len(a))
    a, b = np.tile(a, 2), np.tile(b, 2)
    if fmt.n == 16:
        want = np.where(subtract, model.sub(a, b, fmt), model.add(a, b, fmt))
        return Adder16(), {"a": a, "b": b, "subtract": subtract}, {"o": want}
    want = np.where(subtract, model.sub(a, b, fmt, headroom), model.add(a, b, fmt, headroom))
    return (Adder(fmt, headroom, fmt.n // 2), {"a": a, "b": b, "subtract": subtract}, {"o": want})


def fused_multiply_add(fmt: Format) -> Case:
    rng = np.random.default_rng(21)
    if fmt.n <= 6:
        a, b, c = every(*[codes_of(fmt)] * 3)
    else:
        a, c = near_pairs(rng, fmt, MANY)
        b = corner_codes(rng, fmt, MANY)
    width = 16 if fmt.n == 16 else fmt.lambda_bits
    offset = rng.integers(-(1 << width), 1 << width, len(a)) >> rng.integers(0, width, len(a))
    unit = FusedMultiplyAdd16() if fmt.n == 16 else FusedMultiplyAdd(fmt, stages=fmt.n // 2)
    return (
        unit,
        {"a": a, "b": b, "c": c, "offset": offset},
        {"o": model.fma(a, b, c, fmt, offset)},
    )


def _biased(
    fmt: Format, result: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> list[np.ndarray]:
    """Codes, their biases, and biases of the results: all codes and biases at 8 bits."""
    rng = np.random.default_rng(22)
    a, bias = every(codes_of(fmt), BIASES if fmt.n <= 8 else np.arange(16))
    if fmt.n == 16:
        bias = rng.integers(-512, 512, len(a)) >> rng.integers(0, 9, len(a))
    return [a, bias, np.clip(result(bias, rng), -512, 511)]


def exponential(fmt: Format) -> Case:
    # Results from far below to above the top.
    a, bias, top = _biased(
        fmt, lambda b, rng: rng.integers(-90, 90, len(b)) >> rng.integers(0, 7, len(b))
    )
    return (
        Exponential(fmt, fmt.n % 4),
        {"a": a, "bias": bias, "result_bias": top},
        {"o": model.exp2(a, bias, top, fmt)},
    )


def logarithm(fmt: Format) -> Case:
    a, bias, top = _biased(fmt, lambda b, rng: rng.integers(-30, 60, len(b)))
    return (
        Logarithm(fmt, 3),
        {"a": a, "bias": bias, "result_bias": top},
        {"o": model.log2(a, bias, top, fmt)},
    )


def float_to_pal(fmt: Format) -> Case:
    """Mantissas around every rounding threshold, ties, special values, random bits."""
    rng = np.random.default_rng(23)
    around = (tables.rounding_thresholds(fmt)[:, None] + np.arange(-2, 3)).ravel()
    around = np.unique(np.concatenate([around, [0, 1, 1 << 22, (1 << 23) - 1]]))
    around = around[(around >= 0) & (around < 1 << 23)]
    octaves = np.arange(-fmt.lambda_max // (1 << fmt.fraction_bits) - 4, 3)
    if fmt.n == 16:
        around, octaves = rng.choice(around, 300), octaves[::3]
    mantissa, octave, bias = every(around, octaves, np.arange(-3, 13))
    bias = np.where(rng.random(len(bias)) < 0.2, bias + 8 * rng.integers(-60, 60, len(bias)), bias)
    bias = np.clip(bias, -512, 511)
    exponent = np.clip(127 + octave + bias // 8, 0, 255)
    bits = exponent << 23 | mantissa | rng.integers(0, 2, len(bias)) << 31
    special = np.array(
        [0, 1, 0x7F800000, 0x7F800001, 0x7FC00000, 0x007FFFFF, 0x00800000, 0x7F7FFFFF]
    )
    special = np.concatenate([special, special | 1 << 31])
    random = 900_000 if fmt.n == 16 else 100_000
    bits = np.concatenate([bits, special, rng.integers(0, 1 << 32, random)]).astype(np.uint32)
    bias = np.concatenate([bias, np.zeros(len(special), int), rng.integers(-512, 512, random)])
    want = model.from_float(bits.view(np.float32), bias, fmt)
    return FloatToPal(fmt, stages=fmt.n // 4 - 1), {"i": bits, "bias": bias}, {"o": want}


def bfloat16_to_pal(fmt: Format) -> Case:
    """All patterns, each with 8 biases that differ modulo an octave."""
    bits, eighth = every(np.arange(1 << 16), np.arange(8))
    bias = eighth + 8 * np.random.default_rng(23).integers(-20, 20, len(bits))
    values = (bits << 16).astype(np.uint32).view(np.float32)
    return (
        FloatToPal(fmt, "bfloat16", fmt.n // 4 - 1),
        {"i": bits, "bias": bias},
        {"o": model.from_float(values, bias, fmt)},
    )


def pal_to_float(fmt: Format, kind: str = "float32") -> Case:
    codes, bias = every(codes_of(fmt), BIASES if fmt.n <= 8 else np.arange(16))
    if fmt.n == 16:
        bias = np.random.default_rng(24).integers(-512, 512, len(codes))
    bits = model.to_float(codes, bias, fmt, kind).view(np.uint32)
    if kind == "bfloat16":
        bits = bits >> np.uint32(16)
    return PalToFloat(fmt, kind, fmt.n % 4), {"i": codes, "bias": bias}, {"o": bits}


def pal_to_bfloat16(fmt: Format) -> Case:
    return pal_to_float(fmt, "bfloat16")


def int_to_pal(fmt: Format) -> Case:
    x, bias = every(np.arange(-128, 128), BIASES)
    return IntToPal(fmt, 2), {"i": x, "bias": bias}, {"o": model.from_int8(x, bias, fmt)}


def pal_to_int(fmt: Format) -> Case:
    codes, bias = every(codes_of(fmt), BIASES if fmt.n <= 8 else np.arange(16))
    if fmt.n == 16:
        bias = np.random.default_rng(25).integers(-60, 330, len(codes))
    return PalToInt(fmt, 1), {"i": codes, "bias": bias}, {"o": model.to_int8(codes, bias, fmt)}


def unblock(fmt: Format) -> Case:
    codes, beta = every(codes_of(fmt), np.arange(-128, 128))
    return (
        Unblock(fmt, fmt.n % 4 // 2),
        {"i": codes, "beta": beta},
        {"o": model.unblock(codes, beta, fmt)},
    )


def random_biases(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Block biases: uniform, corners, and a few above 0, which count as 0."""
    beta = rng.integers(-127, 1, shape)
    beta = np.where(rng.random(shape) < 0.3, rng.choice([0, -1, -8, -127, -128], shape), beta)
    return np.where(rng.random(shape) < 0.02, rng.integers(1, 128, shape), beta)


def block_dot(
    fmt: Format, blocks: int = 2000, lanes: int = 0
) -> tuple[Any, dict, dict, np.ndarray]:
    """Dot products one to many blocks long, ``lanes`` products a cycle; and where results come.

    Without ``lanes`` it is a whole block a cycle.
    """
    rng, params, lanes = np.random.default_rng(7), DOT_PARAMS[fmt.name], lanes or fmt.block
    a, b = corner_codes(rng, fmt, (2, blocks, fmt.block))
    beta = random_biases(rng, (2, blocks))
    last = rng.random(blocks) < 0.5
    last[-1] = True
    total, nan = model.block_sum(a, b, fmt, params, model.split_bias(*beta)[1])
    zero = (beta == model.ZERO_BLOCK).any(axis=0)
    term = model.scale_block(total, beta[0], beta[1], params)
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    result = np.add.reduceat(term, starts)
    any_nan = np.logical_or.reduceat(nan & ~zero, starts)
    index = np.cumsum(last) - last  # hands a result to the cycle of its last block
    slices = fmt.block // lanes
    ends = np.arange(blocks * slices) % slices == slices - 1
    last, index, *beta = (np.repeat(of_block, slices) for of_block in (last, index, *beta))
    return (
        DotUnit(fmt, params, lanes),
        {
            "a": join(a.reshape(-1, lanes), fmt.n),
            "b": join(b.reshape(-1, lanes), fmt.n),
            "beta_a": beta[0],
            "beta_b": beta[1],
            "mac": np.ones(len(ends)),
            "block_last": ends,
            "last": last,
        },
        {"result": result[index], "nan": any_nan[index]},
        last & ends,
    )


def sliced_dot(fmt: Format) -> tuple[Any, dict, dict, np.ndarray]:
    """``block_dot`` of a unit that takes a block in eight cycles, so a small one."""
    return block_dot(fmt, lanes=fmt.block // 8)


def accumulator_encoder(fmt: Format) -> Case:
    rng, params = np.random.default_rng(9), DOT_PARAMS[fmt.name]
    powers = np.array([s * ((1 << i) + d) for i in range(31) for d in (-1, 0, 1) for s in (1, -1)])
    acc = np.concatenate(
        [
            powers,
            rng.integers(-(1 << 31), 1 << 31, 500_000),
            rng.integers(-(1 << 12), 1 << 12, 50_000),
            [-(1 << 31)],
        ]
    )
    offset = np.where(
        rng.random(len(acc)) < 0.7,
        rng.integers(-130, 130, len(acc)),
        rng.integers(-512, 512, len(acc)),
    )
    nan = rng.random(len(acc)) < 0.01
    return (
        AccumulatorEncoder(params),
        {"i": acc, "nan": nan, "offset": offset},
        {"o": model.encode_accumulator(acc, nan, offset, params)},
    )


def accumulator(fmt: Format) -> tuple[Any, dict, dict, np.ndarray]:
    """Sums over time of different lengths, and over lanes; and where results come."""
    rng, count, lanes = np.random.default_rng(26), 60_000, 4
    a = corner_codes(rng, fmt, (count, lanes))
    a = np.where(rng.random(a.shape) < 0.01, fmt.sign_bit, a)
    accumulate, lane_sum = rng.random((2, count)) < [[0.8], [0.3]]
    accumulate &= ~lane_sum
    emit = ~lane_sum & (rng.random(count) < 0.2)
    offset = rng.integers(-(1 << 11), 1 << 11, count) >> rng.integers(0, 11, count)
    values, nan = model.linear16(a), model.is_nan(a, fmt)
    total, total_nan = values.sum(axis=1)[:, None] + 0 * values, nan.any(axis=1)[:, None] | nan
    so_far, so_far_nan = np.zeros(lanes, np.int64), np.zeros(lanes, bool)
    for i in np.flatnonzero(~lane_sum):
        so_far = so_far + accumulate[i] * values[i]
        so_far_nan = so_far_nan | (accumulate[i] & nan[i])
        total[i], total_nan[i] = so_far, so_far_nan
        if emit[i]:
            so_far, so_far_nan = np.zeros(lanes, np.int64), np.zeros(lanes, bool)
    want = model.encode_linear(total, total_nan, offset[:, None])
    return (
        Accumulator16(lanes),
        {
            "a": join(a, 16),
            "accumulate": accumulate,
            "lane_sum": lane_sum,
            "emit": emit,
            "offset": offset,
        },
        {"o": join(want, 16)},
        emit | lane_sum,
    )


def widener(fmt: Format) -> Case:
    codes, select = every(np.arange(256), np.arange(len(SMALL)))
    want = [
        np.where(
            select == i,
            model.widen(codes & (1 << f.n) - 1, f, PAL8U if f.profile == "U" else PAL8T),
            0,
        )
        for i, f in enumerate(SMALL)
    ]
    uniform = np.isin(select, [i for i, f in enumerate(SMALL) if f.profile == "U"])
    return Widener(SMALL), {"i": codes, "select": select}, {"o": sum(want), "uniform": uniform}


def reblock(
    formats: tuple[Format, ...], select: int, push_lanes: int, slice_lanes: int
) -> tuple[Any, dict, dict, np.ndarray]:
    """Blocks pushed back to back while the block before is popped; and where words come."""
    rng, blocks, fmt = np.random.default_rng(11), 600, formats[select]
    unit = ReblockUnit(formats, push_lanes, slice_lanes)
    pitch = unit.pitches[select]
    slice_lanes = slice_lanes * unit.pitch // pitch
    pushes, pops = fmt.block // push_lanes, fmt.block // slice_lanes
    values = rng.integers(0, 1 << 16, (blocks, fmt.block))
    values = np.where((values == PAL16.sign_bit) & (rng.random(values.shape) < 0.9), 0, values)
    values[rng.random(values.shape) < 0.15] = 0
    small = rng.random(blocks) < 0.5
    values[small] &= 0x83FF | rng.integers(0, 32, (small.sum(), 1)) << 10
    values[5] = 0
    values[6] = 0
    values[6, 3] = PAL16.sign_bit
    codes, beta = blocks_of(values, fmt)
    words = codes.reshape(blocks, pops, slice_lanes)
    cycles = (blocks + 1) * pushes
    push = np.arange(cycles) < blocks * pushes
    pop = np.zeros(cycles, bool)
    want_codes, want_bias = [0] * cycles, np.zeros(cycles, np.int64)
    for n in range(blocks):
        # Pops of block n while block n + 1 comes in: first in the cycle after its last push.
        for i, at in enumerate(np.sort(rng.choice(pushes, pops, replace=False))):
            cycle = (n + 1) * pushes + at
            pop[cycle] = True
            want_codes[cycle], want_bias[cycle] = join(words[n, i][None], pitch)[0], beta[n]
    lanes = np.zeros((cycles, push_lanes), np.int64)
    lanes[: blocks * pushes] = values.reshape(-1, push_lanes)
    return (
        unit,
        {"push": push, "values": join(lanes, 16), "pop": pop, "select": np.full(cycles, select)},
        {"codes": want_codes, "bias": want_bias, "valid": pop},
        pop,
    )


#: Makers of cases, with the formats that each unit takes.
CASES: dict[Callable[[Format], Case], tuple[Format, ...]] = {
    multiplier: (*SMALL, PAL16),
    divider: (*SMALL, PAL16),
    saturating_divider: SMALL,
    square_root: (*SMALL, PAL16),
    reciprocal_square_root: (*SMALL, PAL16),
    comparator: (*SMALL, PAL16),
    adder: (*SMALL, PAL16),
    fused_multiply_add: (*SMALL, PAL16),
    exponential: (*SMALL, PAL16),
    logarithm: (*SMALL, PAL16),
    float_to_pal: (*SMALL, PAL16),
    bfloat16_to_pal: (*SMALL, PAL16),
    pal_to_float: (*SMALL, PAL16),
    pal_to_bfloat16: (*SMALL, PAL16),
    int_to_pal: (*SMALL, PAL16),
    pal_to_int: (*SMALL, PAL16),
    unblock: SMALL,
    widener: (PAL8T,),
}
