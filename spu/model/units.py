"""Golden models of the tile's units, driven once per executed cycle, for a whole batch.

Results are returned when an operation is issued; ``array`` delays them by ``timing``.
Arithmetic is that of ``pal_units.model``.  ``raised``: octaves by which the result's top lies
higher than the program says, for ``saturation``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import PAL16, Format
from pal_units.model.elementwise import fields, rounded
from spu.arch.blocks import reblock, unblock
from spu.arch.context import READS_B, READS_C, Op
from spu.arch.params import BLOCK, Architecture, code_pitch
from spu.model import words as w
from spu.model.words import Words

#: Width of the vector accumulators.
ACCUMULATOR_BITS = 48
_ONES, _TOP = 0xFFFF, PAL16.m_max


def codes_of(words: Words, fmt: Format) -> NDArray[np.uint8]:
    """All codes of words."""
    data = np.ascontiguousarray(w.lanes(words)).view(np.uint8)
    if code_pitch(fmt) == 8:
        return data & np.uint8((1 << fmt.n) - 1)
    halves = np.stack([data & np.uint8(15), data >> np.uint8(4)], axis=-1)
    return halves.reshape(*data.shape[:-1], -1)


def words_of(codes: NDArray[np.uint8], fmt: Format) -> NDArray[np.uint16]:
    """16-bit lanes that hold codes; inverse of ``codes_of``."""
    if code_pitch(fmt) == 4:
        codes = codes[..., ::2] | codes[..., 1::2] << np.uint8(4)
    return np.ascontiguousarray(codes.astype(np.uint8)).view("<u2")


def wrapped(x: Any, bits: int) -> NDArray[np.int64]:
    """Two's complement numbers of so many bits."""
    half = 1 << (bits - 1)
    return (x + half) % (2 * half) - half


def outside(total: NDArray[np.int64], bits: int) -> NDArray[np.int8]:
    """1 for sums above what so many bits hold, -1 for those below, 0 for others."""
    half = 1 << (bits - 1)
    return (total >= half).astype(np.int8) - (total < -half).astype(np.int8)


def beyond(codes: NDArray, side: NDArray, nan: NDArray) -> NDArray[np.uint16]:
    """The codes, but the top with the sign of its side where a sum left its accumulator."""
    top = np.where(side < 0, PAL16.sign_bit | _TOP, _TOP)
    return np.where((side != 0) & ~nan, top, codes).astype(np.uint16)


def drained(results: Sequence[tuple], arch: Architecture, raised: int = 0) -> Words:
    """Words of the results that several matrix units drain, of ``MatrixUnit.drain`` each."""
    accumulator, nan, side, valid, offset = (np.array(part) for part in zip(*results, strict=True))
    data = np.zeros((*valid.shape, arch.lanes16), np.uint16)
    codes = model.encode_accumulator(
        np.where(side, 0, accumulator), nan, offset[..., None] + 8 * raised, arch.dot
    )
    data[..., : arch.drain_lanes] = beyond(codes, side, nan)
    return w.build(data, 0, valid)


def operands_valid(op: Op, a: Words, b: Words, c: Words) -> NDArray[np.bool_]:
    """Whether all operands that an operation reads are there."""
    valid = w.valid(a)
    valid = valid & w.valid(b) if op in READS_B else valid
    return valid & w.valid(c) if op in READS_C else valid


def sums(op: Op, a: Words, b: Words, c: Words, offset: NDArray[np.int64]) -> Words:
    """ADD, ADD_RELU, SUB, FMA and LANE_SUM; ``offset`` in 1/16 octave, broadcast to words."""
    keep = operands_valid(op, a, b, c)
    x, y, z = (w.lanes(word) for word in (a, b, c))
    units = np.asarray(offset)[..., None] * 64
    if op is Op.LANE_SUM:
        nan = model.is_nan(x, PAL16).any(axis=-1, keepdims=True)
        total = model.linear16(x).sum(axis=-1, keepdims=True)
        code = model.encode_linear(total, nan, np.asarray(offset)[..., None])
        return w.build(np.broadcast_to(code, x.shape), 0, keep)
    if op is Op.FMA:
        total = model.fma16(x, y, z, units)
    else:
        y = model.neg(y, PAL16) if op is Op.SUB else y
        total = model.fma16(x, _TOP, y, units) if units.any() else model.add16(x, y)
    return w.build(model.relu16(total) if op is Op.ADD_RELU else total, 0, keep)


class Accumulators:
    """ACC: exact sums of words over time; ``side`` as in ``MatrixUnit``."""

    def __init__(self, arch: Architecture, batch: int) -> None:
        self.given: tuple = ()
        self._clear((batch, arch.lanes16))

    def _clear(self, shape: tuple[int, ...]) -> None:
        self.total, self.side = np.zeros(shape, np.int64), np.zeros(shape, np.int8)
        self.nan, self.any = np.zeros(shape, bool), np.zeros(shape[0], bool)

    def add(self, a: Words, emit: bool, offset: int) -> Words:
        """Add valid words; with ``emit`` hand out the sums and start again."""
        keep = w.valid(a)[:, None]
        self.total = self.total + np.where(keep, model.linear16(w.lanes(a)), 0)
        self.side = np.where(self.side != 0, self.side, outside(self.total, ACCUMULATOR_BITS))
        self.nan = self.nan | (keep & model.is_nan(w.lanes(a), PAL16))
        self.any = self.any | keep[:, 0]
        if not emit:
            return np.zeros_like(a)
        self.given = self.total, self.side, self.nan, self.any
        self._clear(self.total.shape)
        return self.handed(offset)

    def handed(self, offset: int, raised: int = 0) -> Words:
        """The sums that were handed out last."""
        total, side, nan, any_added = self.given
        codes = model.encode_linear(np.where(side, 0, total), nan, offset - 16 * raised)
        return w.build(beyond(codes, side, nan), 0, any_added)


def vector(
    op: Op, a: Words, b: Words, c: Words, mode: dict, part: int, fmt: Format, raised: int = 0
) -> Words:
    """VectorUnit operations of one cycle; ``mode`` is a VECTOR_MODE, ``fmt`` that of UNBLOCK."""
    x, y, z = (w.lanes(word) for word in (a, b, c))
    offset = mode["offset"] - 16 * raised
    biases = mode["bias"], int(wrapped(mode["offset"], 10)) + 8 * raised
    data: NDArray
    if op in (Op.MUL, Op.DIV, Op.SQRT, Op.RSQRT, Op.RECIP):
        data = _logarithms(op, x, y, offset)
    elif op is Op.UNBLOCK:
        count = x.shape[-1]
        codes = codes_of(a, fmt)[..., part * count : (part + 1) * count]
        data = unblock(codes, w.bias(a)[..., None], fmt, raised)
    elif op in (Op.LT, Op.EQ):
        compare = model.less if op is Op.LT else model.equal
        data = np.where(compare(x, y, PAL16), _ONES, 0)
    elif op in (Op.LANE_MIN, Op.LANE_MAX):
        reduce = model.minimum if op is Op.LANE_MIN else model.maximum
        best = x[..., :1]
        for lane in range(1, x.shape[-1]):
            best = reduce(best, x[..., lane : lane + 1], PAL16)
        data = np.broadcast_to(best, x.shape)
    else:
        data = {
            Op.EXP2: lambda: model.exp2(x, *biases, PAL16),
            Op.LOG2: lambda: model.log2(x, *biases, PAL16),
            Op.ABS: lambda: model.absolute(x, PAL16),
            Op.NEG: lambda: model.neg(x, PAL16),
            Op.MIN: lambda: model.minimum(x, y, PAL16),
            Op.MAX: lambda: model.maximum(x, y, PAL16),
            Op.SELECT: lambda: np.where(z != 0, x, y),
            Op.RELU: lambda: model.relu16(x),
        }[op]()
    return w.build(data, 0, operands_valid(op, a, b, c))


def _logarithms(op: Op, a: NDArray, b: NDArray, offset: int) -> NDArray:
    """Products, quotients and roots, their top ``offset`` / 16 octave below the operands'."""
    lam_a, negative_a, zero_a, nan_a = fields(a, PAL16)
    lam_b, negative_b, zero_b, nan_b = fields(b, PAL16)
    octaves_a, octaves_b = lam_a / 1024, lam_b / 1024
    none = np.zeros_like(zero_a)
    distance, negative, zero, over, nan = {
        Op.MUL: (
            octaves_a + octaves_b,
            negative_a != negative_b,
            zero_a | zero_b,
            none,
            nan_a | nan_b,
        ),
        Op.DIV: (
            octaves_a - octaves_b,
            negative_a != (negative_b & ~zero_b),
            zero_a,
            zero_b,
            nan_a | nan_b | (zero_a & zero_b),
        ),
        Op.SQRT: (octaves_a / 2, none, zero_a, none, nan_a | negative_a),
        Op.RSQRT: (-octaves_a / 2, none, none, zero_a, nan_a | negative_a),
        Op.RECIP: (-octaves_a, negative_a, none, zero_a, nan_a),
    }[op]
    code = rounded(np.where(over, 0, distance - offset / 16), 0, negative, PAL16)
    return model.with_nan(np.where(zero, 0, code), nan, PAL16)


def alu(op: Op, a: Words, b: Words, c: Words) -> Words:
    """ALU operations on int32 lanes, and predicates."""
    if op is Op.MERGE:
        return np.where(w.valid(a)[..., None], a, b)
    keep = operands_valid(op, a, b, c)
    if op in (Op.PASS, Op.WHEN, Op.UNLESS):
        holds = w.lanes(b)[..., 0] != 0
        return w.masked(a, keep & ((op is Op.PASS) | (holds == (op is Op.WHEN))))
    x, y, z = (
        np.ascontiguousarray(w.lanes(word)).view("<i4").astype(np.int64) for word in (a, b, c)
    )
    count = y & 31
    result = {
        Op.INT_ADD: x + y,
        Op.INT_SUB: x - y,
        Op.INT_AND: x & y,
        Op.INT_OR: x | y,
        Op.INT_XOR: x ^ y,
        Op.INT_SHL: x << count,
        Op.INT_SHR: x >> count,
        Op.INT_LT: -(x < y).astype(np.int64),
        Op.INT_EQ: -(x == y).astype(np.int64),
        Op.INT_SELECT: np.where(z != 0, x, y),
    }[op]
    data = (result & 0xFFFF_FFFF).astype("<u4").view("<u2")
    return w.build(data, 0, keep)


class Reblock:
    """Collects PAL16 values into a block and hands out its words."""

    def __init__(self, arch: Architecture, fmt: Format, batch: int) -> None:
        self.arch, self.fmt = arch, fmt
        self.values = np.zeros((batch, BLOCK), np.uint16)
        self.fill, self.left = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
        self.slices = arch.words_per_block(fmt)
        self.ready = np.zeros((batch, self.slices, w.width(arch)), np.uint16)

    def push(self, a: Words) -> None:
        """Take the lanes of valid words; a complete block replaces the one before."""
        rows, lanes = np.flatnonzero(w.valid(a)), self.arch.drain_lanes
        if not rows.size:
            return
        places = self.fill[rows, None] + np.arange(lanes)
        self.values[rows[:, None], places] = w.lanes(a)[rows, :lanes]
        self.fill[rows] += lanes
        full = rows[self.fill[rows] == BLOCK]
        if full.size:
            codes, beta = reblock(self.values[full], self.fmt)
            data = words_of(codes, self.fmt).reshape(len(full), self.slices, -1)
            biases = np.broadcast_to(beta[:, None].astype(np.int64), data.shape[:2])
            self.ready[full] = w.build(data, biases, np.ones(data.shape[:2], bool))
            self.left[full], self.fill[full] = self.slices, 0

    def pop(self) -> Words:
        """The next words of codes, invalid ones where there are none."""
        index = np.where(self.left > 0, self.slices - self.left, 0)
        words = self.ready[np.arange(len(index)), index]
        out = w.masked(words, self.left > 0)
        self.left = np.maximum(self.left - 1, 0)
        return out


class AddressGenerator:
    """Enumerates ``base + sum(counter_i * stride_i)``, counter 0 fastest.

    ``accesses``: how many there were, in every run or in each of the batch.
    """

    def __init__(self, rows: Sequence[dict], size: int, accesses: Any = 0) -> None:
        self.base, self.size, self.accesses = rows[0]["base"], size, accesses
        self.loops = [(loop["count_less_1"] + 1, loop["stride"]) for loop in rows[1:]]

    def next(self, taken: Any = 1) -> Any:
        """Address of this access; the next one follows where it is ``taken``."""
        rest, address = self.accesses, self.base
        for count, stride in self.loops:
            rest, counter = divmod(rest, count)
            address = address + counter * stride
        self.accesses = self.accesses + taken
        return address % self.size
