"""Matrix unit of a tile: modes, weight rows, dot products."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import Format
from pal_units.model import edge
from spu.arch import timing
from spu.arch.config import lam_bits
from spu.arch.params import BLOCK, Architecture, code_pitch
from spu.arch.weights import operands_of, unpacked_rows
from spu.model import words as w
from spu.model.kernels import add_slice
from spu.model.units import outside
from spu.model.words import Words


class MatrixMode:
    """A row of matrix modes, with what a mac needs of its formats.

    A number of no format stands for the last one, as in the units.  ``offset`` has one number, or
    one for each of the batch: of ``rows``, which differ in nothing else.
    """

    def __init__(self, rows: Sequence[dict], arch: Architecture) -> None:
        self.offset, row = np.array([each["offset"] for each in rows]), rows[0]
        last = len(arch.formats) - 1
        self.x_format = arch.data_formats[min(row["x_format"], last)]
        #: Of codes of weights; None where rows are decoded.
        self.w_format = (
            None if arch.decoded_weights else arch.data_formats[min(row["w_format"], last)]
        )
        self.pitch, self.mask = code_pitch(self.x_format), (1 << self.x_format.n) - 1
        self.data = operand_tables(self.x_format, arch)


class Weights:
    """Weight rows of a tile, as operands of each format that a mode may name.

    ``sets`` of rows by address: one, or one for each of the batch.
    """

    def __init__(self, sets: Sequence[dict[int, int]], arch: Architecture) -> None:
        self.arch = arch
        written = sorted(set().union(*sets))
        self.number = {row: i for i, row in enumerate(written)}
        # The last one is that of all rows that were not written.
        bits = [rows.get(address, 0) for address in written for rows in sets] + [0] * len(sets)
        weights, blocks = unpacked_rows(bits, arch)
        self.weights = weights.reshape(-1, len(sets), *weights.shape[1:])
        self.blocks = blocks.reshape(-1, len(sets), *blocks.shape[1:])
        self.operands: dict[Format | None, tuple] = {}

    def row(self, address: int, mode: MatrixMode) -> tuple:
        """Logs, signs (sets, columns, lanes), octaves, NaN, emptiness (sets, columns) of a row."""
        if mode.w_format not in self.operands:
            fmt = mode.w_format or mode.x_format
            found = operands_of(self.weights, self.blocks, fmt, self.arch)
            self.operands[mode.w_format] = (
                found.log,
                found.sign,
                found.octaves,
                found.nan,
                found.empty,
            )
        i = self.number.get(address % self.arch.weight_rows, len(self.number))
        return tuple(part[i] for part in self.operands[mode.w_format])


@cache
def operand_tables(
    fmt: Format, arch: Architecture
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], int]:
    """Operands of data: logs and signs (256 biases or bytes, codes), octaves (256) and which are
    blocks of zeros, the NaN code or -1."""
    every = np.arange(256, dtype=np.uint8).view(np.int8)
    codes = np.broadcast_to(np.arange(1 << fmt.n), (256, 1 << fmt.n))
    found = edge.operand(codes, every, fmt, arch.dot)
    return (found.log, found.sign, found.octaves, found.empty, fmt.sign_bit if fmt.has_nan else -1)


@cache
def products(arch: Architecture) -> NDArray[np.int64]:
    """Magnitudes of products by the sum of both logarithms."""
    return edge.magnitudes(np.arange(2 << lam_bits(arch)), arch.dot)


class MatrixUnit:
    """``columns`` dot products, an accumulator set and a result set.

    Sums are exact; ``side`` is that on which one first left the accumulator's range.
    """

    def __init__(self, arch: Architecture, batch: int) -> None:
        self.arch = arch
        shape = (batch, arch.columns)
        self.partial, self.partial_nan = np.zeros(shape, np.int64), np.zeros(shape, bool)
        self.accumulator, self.accumulator_nan = self.partial.copy(), self.partial_nan.copy()
        self.side = np.zeros(shape, np.int8)
        self.all_valid = np.ones(batch, bool)
        self.finished: dict[int, tuple] = {}
        self.results: tuple = ()
        self.left = 0

    def mac(
        self,
        cycle: int,
        x: Words,
        part: int,
        row: tuple,
        mode: MatrixMode,
        block_last: bool,
        last: bool,
    ) -> None:
        """Multiply-accumulate a slice of ``x`` with a weight row, see ``Weights.row``."""
        dot, (log, sign, octaves, nan, empty) = self.arch.dot, row
        log_x, sign_x, octaves_x, empty_x, nan_code = mode.data
        add_slice(
            products(self.arch),
            log_x,
            sign_x,
            empty_x,
            nan_code,
            x,
            part * self.arch.lanes,
            mode.pitch,
            mode.mask,
            log,
            sign,
            nan,
            empty,
            dot.sum_bits(BLOCK),
            self.partial,
            self.partial_nan,
            self.all_valid,
        )
        if not block_last:
            return
        down = octaves_x[w.bias(x) & 0xFF][:, None] + octaves
        term = model.shift_block(self.partial, down, dot)
        self.accumulator = self.accumulator + term
        self.side = np.where(
            self.side != 0, self.side, outside(self.accumulator, dot.accumulator_bits)
        )
        self.accumulator_nan = self.accumulator_nan | self.partial_nan
        self.partial[:], self.partial_nan[:] = 0, False
        if last:
            self.finished[cycle + timing.ACCUMULATE] = (
                self.accumulator,
                self.accumulator_nan,
                self.side,
                self.all_valid,
                mode,
            )
            self.accumulator, self.side = np.zeros_like(self.partial), np.zeros_like(self.side)
            self.accumulator_nan = np.zeros_like(self.partial_nan)
            self.all_valid = np.ones_like(self.all_valid)

    def settle(self, cycle: int) -> None:
        """Results that are complete in this cycle replace the ones before."""
        if cycle in self.finished:
            self.results = self.finished.pop(cycle)
            self.left = self.arch.words_per_drain

    def drain(self) -> tuple | None:
        """The next results, see ``drained``, or None if there are none."""
        if not self.left:
            return None
        first = (self.arch.words_per_drain - self.left) * self.arch.drain_lanes
        self.left -= 1
        accumulator, nan, side, valid, mode = self.results
        chosen = slice(first, first + self.arch.drain_lanes)
        return accumulator[:, chosen], nan[:, chosen], side[:, chosen], valid, mode.offset
