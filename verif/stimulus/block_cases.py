"""Vectors of units of blocks and of accumulators: cycles of a stream, and where results come.

As in ``elementwise_cases``; vectors whose outputs count are marked.
"""

from typing import Any

import numpy as np

from pal_units import model
from pal_units.dot_params import DOT_PARAMS
from pal_units.formats import PAL16, Format
from pal_units.rtl.accumulator import Accumulator16
from pal_units.rtl.log import AccumulatorEncoder
from pal_units.rtl.matrix import DotUnit
from pal_units.rtl.reblock import ReblockUnit
from spu.arch import blocks
from verif.stimulus.codes import corner_codes, random_biases
from verif.stimulus.vectors import Case, join


def block_dot(fmt: Format, blocks: int = 2000, lanes: int = 0) -> Case:
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
    index = np.cumsum(last) - last.astype(int)  # hands a result to the cycle of its last block
    slices = fmt.block // lanes
    ends = np.arange(blocks * slices) % slices == slices - 1
    last, index, beta = (np.repeat(v, slices, axis=-1) for v in (last, index, beta))
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


def sliced_dot(fmt: Format) -> Case:
    """``block_dot`` of a unit that takes a block in eight cycles, so a small one."""
    return block_dot(fmt, lanes=fmt.block // 8)


def accumulator_encoder(fmt: Format, unit: Any = None) -> Case:
    unit = unit or AccumulatorEncoder(DOT_PARAMS[fmt.name])
    rng, params = np.random.default_rng(9), unit.params
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
        unit,
        {"i": acc, "nan": nan, "offset": offset},
        {"o": model.encode_accumulator(acc, nan, offset, params)},
    )


def accumulator(fmt: Format, unit: Any = None) -> Case:
    """Sums over time of different lengths, and over lanes; and where results come."""
    unit = unit or Accumulator16(4)
    rng, count, lanes = np.random.default_rng(26), 60_000, unit.lanes
    a = corner_codes(rng, fmt, (count, lanes))
    a = np.where(rng.random(a.shape) < 0.01, fmt.sign_bit, a)
    accumulate, lane_sum = rng.random((2, count)) < [[0.8], [0.3]]
    accumulate &= ~lane_sum
    emit = ~lane_sum & (rng.random(count) < 0.2)
    offset = rng.integers(-(1 << 11), 1 << 11, count) >> rng.integers(0, 11, count)
    values = model.linear16(a)
    nan: Any = model.is_nan(a, fmt)
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
        unit,
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


def reblock(unit: ReblockUnit, select: int = 0) -> Case:
    """Blocks pushed back to back while the block before is popped; and where words come."""
    rng, count, fmt = np.random.default_rng(11), 600, unit.formats[select]
    push_lanes, pitch = unit.push_lanes, unit.pitches[select]
    slice_lanes = unit.slice_lanes * unit.pitch // pitch
    pushes, pops = fmt.block // push_lanes, fmt.block // slice_lanes
    values = rng.integers(0, 1 << 16, (count, fmt.block))
    values = np.where((values == PAL16.sign_bit) & (rng.random(values.shape) < 0.9), 0, values)
    values[rng.random(values.shape) < 0.15] = 0
    small = rng.random(count) < 0.5
    values[small] &= 0x83FF | rng.integers(0, 32, (small.sum(), 1)) << 10
    values[5] = 0
    values[6] = 0
    values[6, 3] = PAL16.sign_bit
    codes, beta = blocks.reblock(values, fmt)
    words = codes.reshape(count, pops, slice_lanes)
    cycles = (count + 1) * pushes
    push = np.arange(cycles) < count * pushes
    pop = np.zeros(cycles, bool)
    want_codes, want_bias = [0] * cycles, np.zeros(cycles, np.int64)
    for n in range(count):
        # Pops of block n while block n + 1 comes in: first in the cycle after its last push.
        for i, at in enumerate(np.sort(rng.choice(pushes, pops, replace=False))):
            cycle = (n + 1) * pushes + at
            pop[cycle] = True
            want_codes[cycle], want_bias[cycle] = join(words[n, i][None], pitch)[0], beta[n]
    lanes = np.zeros((cycles, push_lanes), np.int64)
    lanes[: count * pushes] = values.reshape(-1, push_lanes)
    return (
        unit,
        {"push": push, "values": join(lanes, 16), "pop": pop, "select": np.full(cycles, select)},
        {"codes": want_codes, "bias": want_bias, "valid": pop},
        pop,
    )
