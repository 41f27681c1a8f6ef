"""MatrixUnit: ``lanes x columns`` multiply-accumulates a cycle on PAL8 codes."""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.log import AccumulatorEncoder
from pal_units.rtl.matrix import DotMatrix
from spu.arch import timing
from spu.arch.config import MATRIX_MODE, OFFSET_BITS, weight_row
from spu.arch.context import WORD
from spu.arch.params import (
    CODES_PER_WORD,
    LANES16_PER_WORD,
    MATRIX_DOT,
    PROFILES,
    Architecture,
)


class MatrixUnit(wiring.Component):
    """Dot products of a stream of words with ``columns`` weight columns.

    A ``mac`` multiplies the chosen slice of word ``x`` with a weight row, which the
    weight memory delivers one cycle later.  ``timing.ACCUMULATE`` cycles after a mac with
    ``last`` the results of all columns stand in the result set, while the next dot
    product accumulates.  Each ``drain`` encodes the next ``drain_lanes`` results to PAL16;
    the word follows ``timing.DRAIN`` cycles later.  Throughput: one mac and one drain a
    cycle.

    A result is valid if every word of its dot product was.  A drain with nothing left,
    or of an invalid result, gives an invalid word.

    Members
    -------
    x : In(WORD); slice, mac, block_last, last, drain : In - from the context word
    mode : In(MATRIX_MODE) - of the mac; a dot product drains with the offset of its last mac
    weights : In(weight row) - of the mac one cycle before
    o : Out(WORD)
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__({
            "x": In(WORD), "slice": In(range(CODES_PER_WORD // 2)), "mac": In(1),
            "block_last": In(1), "last": In(1), "drain": In(1),
            "mode": In(MATRIX_MODE), "weights": In(weight_row(arch)), "o": Out(WORD),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch = self.arch

        # Operand register: the weight row arrives together with it.
        codes = Signal(data.ArrayLayout(PROFILES[0].n, arch.lanes))
        beta, mac, block_last, last = Signal(signed(8)), Signal(), Signal(), Signal()
        x_profile, w_profile = Signal(1), Signal(1)
        slices = Array(self.x.data.word_select(i, PROFILES[0].n * arch.lanes)
                       for i in range(arch.slices_per_word))
        m.d.sync += [
            codes.eq(slices[self.slice]), beta.eq(self.x.bias), mac.eq(self.mac),
            block_last.eq(self.block_last), last.eq(self.last),
            x_profile.eq(self.mode.x_profile), w_profile.eq(self.mode.w_profile),
        ]

        m.submodules.matrix = matrix = DotMatrix(PROFILES, MATRIX_DOT, arch.lanes, arch.columns)
        m.d.comb += [
            matrix.x.eq(codes), matrix.x_beta.eq(beta),
            matrix.x_format.eq(x_profile), matrix.w_format.eq(w_profile),
            matrix.w.eq(self.weights.codes), matrix.w_beta.eq(self.weights.beta),
            matrix.mac.eq(mac), matrix.block_last.eq(block_last), matrix.last.eq(last),
        ]
        results = [matrix.result[c] for c in range(arch.columns)]
        nans = [matrix.nan[c] for c in range(arch.columns)]
        assert timing.ACCUMULATE == 1 + DotMatrix.latency

        # Validity of the running dot product, delayed to meet its results.
        so_far, complete = Signal(init=1), Signal()
        m.d.comb += complete.eq(so_far & self.x.valid)
        closing = self.mac & self.block_last & self.last
        with m.If(self.mac):
            m.d.sync += so_far.eq(Mux(closing, 1, complete))
        done, valid, offset = closing, complete, self.mode.offset
        for i in range(timing.ACCUMULATE - 1):
            done_next, valid_next = Signal(name=f"done_{i}"), Signal(name=f"valid_{i}")
            offset_next = Signal(signed(OFFSET_BITS), name=f"offset_{i}")
            m.d.sync += [done_next.eq(done), valid_next.eq(valid), offset_next.eq(offset)]
            done, valid, offset = done_next, valid_next, offset_next

        # Drain the result set, ``drain_lanes`` columns a word.
        left, result_valid = Signal(range(arch.words_per_drain + 1)), Signal()
        result_offset = Signal(signed(OFFSET_BITS))
        draining = Signal()
        m.d.comb += draining.eq(self.drain & (left != 0))
        with m.If(done):
            m.d.sync += [left.eq(arch.words_per_drain), result_valid.eq(valid),
                         result_offset.eq(offset)]
        with m.Elif(draining):
            m.d.sync += left.eq(left - 1)
        index = Signal(range(max(arch.words_per_drain, 2)))
        m.d.comb += index.eq(arch.words_per_drain - left)
        out_valid = draining & result_valid
        for i in range(timing.DRAIN):
            following = Signal(name=f"out_valid_{i}")
            m.d.sync += following.eq(out_valid)
            out_valid = following
        lanes = Signal(data.ArrayLayout(16, LANES16_PER_WORD))
        for lane in range(arch.drain_lanes):
            m.submodules[f"encode_{lane}"] = encode = AccumulatorEncoder(MATRIX_DOT, OFFSET_BITS)
            m.d.comb += [
                encode.i.eq(Array(results[lane::arch.drain_lanes])[index]),
                encode.nan.eq(Array(nans[lane::arch.drain_lanes])[index]),
                encode.offset.eq(result_offset),
                lanes[lane].eq(encode.o),
            ]
        assert timing.DRAIN == AccumulatorEncoder.latency
        with m.If(out_valid):
            m.d.comb += [self.o.data.eq(lanes), self.o.valid.eq(1)]
        return m
