"""MatrixUnit: ``lanes x columns`` multiply-accumulates a cycle on codes of 8, 6 and 4 bits."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import PAL8T, PAL8U, PAL16
from pal_units.rtl.log import AccumulatorEncoder
from pal_units.rtl.matrix import DotMatrix
from pal_units.rtl.widen import Widener
from spu.arch import timing
from spu.arch.config import OFFSET_BITS
from spu.arch.params import MATRIX_DOT, MATRIX_FORMATS, SLICES, Architecture, code_pitch
from spu.rtl.layouts import MATRIX_MODE, weight_row, word_layout

#: What every code is widened to.
_WIDE = (PAL8T, PAL8U)


def packed(number: Value) -> Value:
    """Whether codes of a format share bytes: two slices of weights in a row."""
    return number.matches(*(i for i, f in enumerate(MATRIX_FORMATS) if code_pitch(f) < 8))


class MatrixUnit(wiring.Component):
    """Dot products of a stream of words with ``columns`` weight columns.

    A ``mac`` multiplies the chosen slice of word ``x`` with a weight row, which the
    weight memory delivers one cycle later.  Codes of 6 and 4 bits are widened to 8, which
    is exact, so that all formats multiply alike.  After a mac with ``last`` the results of all
    columns go to the result set, while the next dot product accumulates.  Each ``drain`` encodes
    the next ``drain_lanes`` results to PAL16.

    Parameters
    ----------
    arch: its ``lanes``, ``columns`` and word.

    Members
    -------
    x : In(WORD); slice : In(3); mac, block_last, last, drain : In(1) - from the context word
    mode : In(MATRIX_MODE) - of the mac; a dot product drains with the offset of its last mac
    weights : In(weight row) - of the mac one cycle before; upper : In(1) - its second slice
    o : Out(WORD)
    saturated : Out(drain_lanes) - lanes of ``o`` whose result lay above the top of PAL16

    Contract
    --------
    Latency: ``timing.ACCUMULATE`` = 4 from a mac with ``last`` to the first drain of its results,
        ``timing.DRAIN`` = 2 from a drain to its word; 6 in all.
    Throughput: a mac and a drain a cycle.
    Holds: none of its own; in a tile it stands still with its region.
    Reset: no results, nothing accumulated.
    Corner cases: a result is valid if every word of its dot product was; a drain with nothing left,
        or of an invalid result, gives an invalid word; results that were not drained are lost when
        the next ones come; a dot product whose sum left the accumulator's range gives the top of
        PAL16, with the sign of the side that it first left it on, unless it is NaN.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from spu.rtl.observe import ONE, observe
    >>> top = PAL8T.m_max | PAL8T.m_max << 8   # twice the largest code
    >>> last = {"x": {"data": top, "valid": 1}, "mac": 1, "block_last": 1, "last": 1}
    >>> weights = {"mac": 0, "weights": {"codes": [[PAL8T.m_max, 0]]}}
    >>> steps = [last, weights, *[{}] * 2, {"drain": 1}, {"drain": 0}, {}]
    >>> observe(MatrixUnit(ONE), steps, "o")[-1]   # 1 * 1 + 1 * 0, to a unit of the log
    {'data': 32766, 'bias': 0, 'valid': 1}
    """

    latency = timing.ACCUMULATE + timing.DRAIN

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        word = word_layout(arch)
        super().__init__(
            {
                "x": In(word),
                "slice": In(range(SLICES)),
                "mac": In(1),
                "block_last": In(1),
                "last": In(1),
                "drain": In(1),
                "mode": In(MATRIX_MODE),
                "weights": In(weight_row(arch)),
                "upper": In(1),
                "o": Out(word),
                "saturated": Out(arch.drain_lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch = self.arch

        # Operand register: the weight row arrives together with it.
        codes = Signal(data.ArrayLayout(8, arch.lanes))
        uniform = Signal()
        beta, mac, block_last, last = Signal(signed(8)), Signal(), Signal(), Signal()
        w_format, upper = Signal.like(self.mode.w_format), Signal()
        m.d.sync += [
            beta.eq(self.x.bias),
            mac.eq(self.mac),
            upper.eq(self.upper),
            block_last.eq(self.block_last),
            last.eq(self.last),
            w_format.eq(self.mode.w_format),
        ]
        for lane in range(arch.lanes):
            part = self.x.data.word_select(self.slice, 8 * arch.lanes).word_select(lane, 8)
            half = self.x.data.word_select(self.slice, 4 * arch.lanes).word_select(lane, 4)
            widen = self._widener(m, f"x_{lane}", self.mode.x_format, part, half)
            m.d.sync += [codes[lane].eq(widen.o), uniform.eq(widen.uniform)]

        m.submodules.matrix = matrix = DotMatrix(_WIDE, MATRIX_DOT, arch.lanes, arch.columns)
        for c in range(arch.columns):
            for lane in range(arch.lanes):
                byte = self.weights.codes[c][lane]
                widen = self._widener(
                    m, f"w_{c}_{lane}", w_format, byte, Mux(upper, byte[4:], byte[:4])
                )
                m.d.comb += [matrix.w[c][lane].eq(widen.o), matrix.w_format.eq(widen.uniform)]
        m.d.comb += [
            matrix.x.eq(codes),
            matrix.x_beta.eq(beta),
            matrix.x_format.eq(uniform),
            matrix.w_beta.eq(self.weights.beta),
            matrix.mac.eq(mac),
            matrix.block_last.eq(block_last),
            matrix.last.eq(last),
        ]
        results = [matrix.result[c] for c in range(arch.columns)]
        nans = [matrix.nan[c] for c in range(arch.columns)]
        overflows = [matrix.overflowed[c] for c in range(arch.columns)]
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
            m.d.sync += [
                left.eq(arch.words_per_drain),
                result_valid.eq(valid),
                result_offset.eq(offset),
            ]
        with m.Elif(draining):
            m.d.sync += left.eq(left - 1)
        index = Signal(range(max(arch.words_per_drain, 2)))
        m.d.comb += index.eq(arch.words_per_drain - left)
        out_valid = draining & result_valid
        for i in range(timing.DRAIN):
            following = Signal(name=f"out_valid_{i}")
            m.d.sync += following.eq(out_valid)
            out_valid = following
        lanes, above = Signal(data.ArrayLayout(PAL16.n, arch.lanes16)), Signal(arch.drain_lanes)
        for lane in range(arch.drain_lanes):
            m.submodules[f"encode_{lane}"] = encode = AccumulatorEncoder(MATRIX_DOT, OFFSET_BITS)
            m.d.comb += [
                encode.i.eq(Array(results[lane :: arch.drain_lanes])[index]),
                encode.nan.eq(Array(nans[lane :: arch.drain_lanes])[index]),
                encode.offset.eq(result_offset),
            ]
            overflow: Value = Array(overflows[lane :: arch.drain_lanes])[index]
            for i in range(timing.DRAIN):
                kept = Signal(2, name=f"overflow_{lane}_{i}")
                m.d.sync += kept.eq(overflow)
                overflow = kept
            beyond = overflow[0] & (encode.o != PAL16.sign_bit)
            m.d.comb += [
                lanes[lane].eq(
                    Mux(
                        beyond, Cat(Const(PAL16.m_max, PAL16.magnitude_bits), overflow[1]), encode.o
                    )
                ),
                above[lane].eq(beyond | encode.saturates),
            ]
        assert timing.DRAIN == AccumulatorEncoder.latency
        with m.If(out_valid):
            m.d.comb += [self.o.data.eq(lanes), self.o.valid.eq(1), self.saturated.eq(above)]
        return m

    @staticmethod
    def _widener(m: Module, name: str, number: Value, byte: Value, half: Value) -> Widener:
        """Widen a code: a byte, or half of one if codes of the format share bytes."""
        m.submodules[f"widen_{name}"] = widen = Widener(MATRIX_FORMATS)
        m.d.comb += [widen.i.eq(Mux(packed(number), half, byte)), widen.select.eq(number)]
        return widen
