"""Golden models of the tile's units, driven once per executed cycle.

A word is ``(data, bias)`` or None for an invalid one.  Results are queued under the cycle
in which they appear, so that every latency is a number from ``timing`` and nothing else.
"""

import numpy as np

from pal_units import model
from spu.arch import timing
from spu.arch.context import Op
from spu.arch.params import (
    ADDRESS_LOOPS,
    BLOCK,
    CODES_PER_WORD,
    MATRIX_DOT,
    PROFILES,
    WORDS_PER_BLOCK,
    Architecture,
)

Word = tuple[int, int] | None


def codes_of(data: int) -> np.ndarray:
    """The 8 codes of a word."""
    return np.frombuffer(data.to_bytes(8, "little"), np.uint8)


def lanes_of(data: int) -> np.ndarray:
    """The 4 PAL16 lanes of a word."""
    return np.frombuffer(data.to_bytes(8, "little"), "<u2")


def data_of(values: np.ndarray) -> int:
    """Data bits from codes or lanes; a short array leaves the upper bits 0."""
    return int.from_bytes(np.ascontiguousarray(values).tobytes(), "little")


def signed8(bits: int) -> int:
    """Block bias of 8 bits as a number."""
    return bits - 256 if bits >= 128 else bits


class MatrixUnit:
    """``columns`` dot products, an accumulator set and a result set."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.partial = np.zeros(arch.columns, np.int64)
        self.partial_nan = np.zeros(arch.columns, bool)
        self.accumulator = np.zeros(arch.columns, np.int64)
        self.accumulator_nan = np.zeros(arch.columns, bool)
        self.all_valid = True
        self.finished: dict[int, tuple] = {}
        self.results: tuple = ()
        self.left = 0

    def mac(self, cycle: int, x: Word, part: int, row: dict, mode: dict, block_last: bool,
            last: bool) -> None:
        """Multiply-accumulate a slice of ``x`` with an unpacked weight row."""
        data, bias = x if x is not None else (0, 0)
        lanes = self.arch.lanes
        codes = codes_of(data)[part * lanes:(part + 1) * lanes]
        weights = np.array(row["codes"], np.uint8)
        x_format, w_format = PROFILES[mode["x_profile"]], PROFILES[mode["w_profile"]]
        beta = np.array(row["beta"], np.int64)
        _, eighths = model.split_bias(signed8(bias), beta)
        table = model.product_tables(x_format, w_format, MATRIX_DOT)
        total = self.partial + table[eighths[:, None], codes[None, :], weights].sum(axis=1)
        half = 1 << (MATRIX_DOT.sum_bits(BLOCK) - 1)
        total = (total + half) % (2 * half) - half
        nan = self.partial_nan | (codes == x_format.sign_bit).any() \
            | (weights == w_format.sign_bit).any(axis=1)
        self.all_valid &= x is not None
        if not block_last:
            self.partial, self.partial_nan = total, nan
            return
        zero = (beta == model.ZERO_BLOCK) | (signed8(bias) == model.ZERO_BLOCK)
        acc = self.accumulator + model.scale_block(total, signed8(bias), beta, MATRIX_DOT)
        half = 1 << (MATRIX_DOT.accumulator_bits - 1)
        self.accumulator = (acc + half) % (2 * half) - half
        self.accumulator_nan = self.accumulator_nan | (nan & ~zero)
        self.partial, self.partial_nan = np.zeros_like(total), np.zeros_like(nan)
        if last:
            self.finished[cycle + timing.ACCUMULATE] = (
                self.accumulator, self.accumulator_nan, self.all_valid, mode["offset"])
            self.accumulator = np.zeros_like(total)
            self.accumulator_nan = np.zeros_like(nan)
            self.all_valid = True

    def settle(self, cycle: int) -> None:
        """Results that are complete in this cycle replace the ones before."""
        if cycle in self.finished:
            self.results = self.finished.pop(cycle)
            self.left = self.arch.words_per_drain

    def drain(self) -> Word:
        """The next word of results, None if there is none or it is invalid."""
        if not self.left:
            return None
        first = (self.arch.words_per_drain - self.left) * self.arch.drain_lanes
        self.left -= 1
        accumulator, nan, valid, offset = self.results
        if not valid:
            return None
        chosen = slice(first, first + self.arch.drain_lanes)
        return data_of(model.encode_accumulator(accumulator[chosen], nan[chosen], offset,
                                                MATRIX_DOT)), 0


def vector(op: Op, a: Word, b: Word) -> Word:
    """VectorUnit operations."""
    if op is Op.RELU and a is not None:
        return data_of(model.relu16(lanes_of(a[0]))), 0
    if op is Op.RELU or a is None or b is None:
        return None
    total = model.add16(lanes_of(a[0]), lanes_of(b[0]))
    return data_of(model.relu16(total) if op is Op.ADD_RELU else total), 0


def alu(op: Op, a: Word, b: Word) -> Word:
    """ALU operations on two int32 lanes."""
    if op is Op.PASS or a is None or b is None:
        return a if op is Op.PASS else None
    x, y = (np.frombuffer(w[0].to_bytes(8, "little"), "<i4").astype(np.int64) for w in (a, b))
    count = y & 31
    result = {
        Op.INT_ADD: x + y, Op.INT_SUB: x - y, Op.INT_AND: x & y, Op.INT_OR: x | y,
        Op.INT_XOR: x ^ y, Op.INT_SHL: x << count, Op.INT_SHR: x >> count,
        Op.INT_LT: (x < y).astype(np.int64), Op.INT_EQ: (x == y).astype(np.int64),
    }[op]
    return data_of((result & 0xFFFF_FFFF).astype("<u4")), 0


class Reblock:
    """Collects PAL16 values into a block and hands out its words."""

    def __init__(self, arch: Architecture, profile: int) -> None:
        self.arch, self.fmt = arch, PROFILES[profile]
        self.values: list[int] = []
        self.words: list[Word] = []

    def push(self, word: Word) -> None:
        """Take the lanes of a valid word; a complete block replaces the one before."""
        if word is None:
            return
        self.values += lanes_of(word[0])[:self.arch.drain_lanes].tolist()
        if len(self.values) == BLOCK:
            codes, beta = model.reblock(np.array(self.values, np.uint16), self.fmt)
            self.words = [(data_of(part), int(beta) & 0xFF)
                          for part in codes.reshape(WORDS_PER_BLOCK, CODES_PER_WORD)]
            self.values = []

    def pop(self) -> Word:
        """The next word of codes, None if there is none."""
        return self.words.pop(0) if self.words else None


class AddressGenerator:
    """Enumerates ``base + sum(counter_i * stride_i)``, counter 0 fastest."""

    def __init__(self, base: int, loops: list[dict], words: int) -> None:
        counts = [loop["count_less_1"] + 1 for loop in loops]
        strides = [loop["stride"] for loop in loops]
        self.base, self.counts, self.strides, self.words = base, counts, strides, words
        self.accesses = 0

    def next(self) -> int:
        """Address of this access."""
        rest, address = self.accesses, self.base
        for i in range(ADDRESS_LOOPS):
            rest, counter = divmod(rest, self.counts[i])
            address += counter * self.strides[i]
        self.accesses += 1
        return address % self.words

