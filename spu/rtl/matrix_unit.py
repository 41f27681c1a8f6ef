"""MatrixUnit: ``lanes x columns`` multiply-accumulates a cycle on decoded operands."""

from collections.abc import Callable

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import PAL16
from pal_units.rtl.codebook import OperandDecoder
from pal_units.rtl.dot import DotColumn
from pal_units.rtl.log import AccumulatorEncoder
from spu.arch import timing
from spu.arch.config import OFFSET_BITS
from spu.arch.params import BLOCK, SLICES, Architecture, code_pitch
from spu.rtl.layouts import matrix_mode, weight_row, word_layout


class MatrixUnit(wiring.Component):
    """Dot products of a stream of words with ``columns`` weight columns.

    A ``mac`` multiplies the chosen slice of word ``x`` with a weight row, which the
    weight memory delivers one cycle later.  Codes of ``x`` are decoded once for all columns, with
    the fraction of their block's bias, before the operand register; lanes add two logarithms.
    Weight rows hold operands, or codes that are decoded in each column (``decoded_weights``).
    After a mac with ``last`` the results of all columns go to the result set, while the next dot
    product accumulates.  Each ``drain`` encodes the next ``drain_lanes`` results to PAL16.

    Parameters
    ----------
    arch: its ``lanes``, ``columns``, ``formats``, bits of dot products and word.

    Members
    -------
    x : In(WORD); slice : In(3); mac, block_last, last, drain : In(1) - from the context word
    mode : In(matrix mode) - of the mac; a dot product drains with the offset of its last mac
    weights : In(weight row) - of the mac one cycle before
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
    >>> weights = {"mac": 0, "weights": {"weights": [[{"lam": 0}, {"zero": 1}]]}}
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
                "mode": In(matrix_mode(arch)),
                "weights": In(weight_row(arch)),
                "o": Out(word),
                "saturated": Out(arch.drain_lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch = self.arch

        columns = self._columns(m)
        results, nans, overflows = (
            [getattr(column, name) for column in columns]
            for name in ("result", "nan", "overflowed")
        )
        assert timing.ACCUMULATE == 1 + DotColumn.latency

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
            m.submodules[f"encode_{lane}"] = encode = AccumulatorEncoder(arch.dot, OFFSET_BITS)
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

    def _columns(self, m: Module) -> list[DotColumn]:
        """Dot products of the columns: operands of ``x`` in a register, weights beside them."""
        arch = self.arch
        m.submodules.decode_x = x = OperandDecoder(arch.data_formats, arch.dot, arch.lanes)
        m.d.comb += [x.bias.eq(self.x.bias), x.select.eq(self.mode.x_format)]
        # Codes of each pitch are the same bits of the word, for all formats of that pitch.
        pitches = [code_pitch(f) for f in arch.data_formats]
        for lane in range(arch.lanes):
            codes = [
                self.x.data.word_select(self.slice, pitch * arch.lanes).word_select(lane, pitch)
                for pitch in pitches
            ]
            m.d.comb += x.codes[lane].eq(_chosen(codes, self.mode.x_format))
        held = Signal(
            data.ArrayLayout(x.element, arch.lanes),
            name="operands",
            init=[{"zero": 1}] * arch.lanes,
        )
        octaves, zero, nan = Signal.like(x.octaves), Signal(init=1), Signal()
        block_last, last = Signal(), Signal()
        m.d.sync += [
            held.eq(x.o),
            # Without a mac all is zero.
            *(held[lane].zero.eq(x.o[lane].zero | ~self.mac) for lane in range(arch.lanes)),
            octaves.eq(x.octaves),
            zero.eq(x.zero | ~self.mac),
            nan.eq(x.nan),
            block_last.eq(self.mac & self.block_last),
            last.eq(self.last),
        ]
        weights = self._decoded if arch.decoded_weights else self._decoders(m)
        columns = []
        for c in range(arch.columns):
            lanes, block = weights(c)
            m.submodules[f"column_{c}"] = column = DotColumn(
                (x.element, lanes.shape().elem_shape), arch.dot, arch.lanes, BLOCK
            )
            m.d.comb += [
                column.a.eq(held),
                column.octaves_a.eq(octaves),
                column.zero_a.eq(zero),
                column.nan_a.eq(nan),
                column.b.eq(lanes),
                *(
                    getattr(column, f"{name}_b").eq(value)
                    for name, value in zip(("octaves", "zero", "nan"), block, strict=True)
                ),
                column.mac.eq(1),
                column.block_last.eq(block_last),
                column.last.eq(last),
            ]
            columns.append(column)
        return columns

    def _decoded(self, c: int) -> tuple[data.View, tuple[Value, ...]]:
        """Operands of a column, and its block's octaves, whether it is empty, whether it has NaN:
        of decoded weights."""
        block = self.weights.blocks[c]
        return self.weights.weights[c], (block.octaves, block.zero, block.nan)

    def _decoders(self, m: Module) -> Callable[[int], tuple[data.View, tuple[Value, ...]]]:
        """The same of codes."""
        arch = self.arch
        w_format = Signal.like(self.mode.w_format)
        m.d.sync += w_format.eq(self.mode.w_format)

        def decoded(c: int) -> tuple[data.View, tuple[Value, ...]]:
            m.submodules[f"decode_w_{c}"] = w = OperandDecoder(
                arch.data_formats, arch.dot, arch.lanes
            )
            m.d.comb += [w.bias.eq(self.weights.blocks[c]), w.select.eq(w_format)]
            for lane in range(arch.lanes):
                m.d.comb += w.codes[lane].eq(self.weights.weights[c][lane])
            return w.o, (w.octaves, w.zero, w.nan)

        return decoded


def _chosen(values: list[Value], number: Value) -> Value:
    """One of some values; of numbers beyond the last one."""
    chosen = values[-1]
    for i, value in enumerate(values[:-1]):
        chosen = Mux(number == i, value, chosen)
    return chosen
