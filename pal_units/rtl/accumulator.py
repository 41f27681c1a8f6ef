"""PAL16 accumulation: exact sums of linear fixed-point values."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.formats import PAL16
from pal_units.rtl.log import OCTAVE, IntegerLog, pal16_code
from pal_units.rtl.rom import rom

#: Width of an accumulator: 30 fraction bits, 17 integer bits, sign.
ACCUMULATOR_BITS = 48
#: Bits of the offset between tops, in 1/16 octave.
OFFSET_BITS = 12
#: Units of PAL16's log in one of the offset.
UNITS_PER_OFFSET = OCTAVE // 16


class Linear16(wiring.Component):
    """PAL16 code to a signed integer in units of ``2^-30`` of its top.

    Bipartite antilog of the fraction, shifted down by the octaves and rounded towards zero:
    ``model.linear16``.  Combinational: latency 0.  NaN gives 0 and ``nan``.

    Members
    -------
    i : In(16); o : Out(signed(32)); nan : Out(1)

    Example
    -------
    >>> from pal_units.rtl.evaluate import evaluate
    >>> round(evaluate(Linear16(), i=31743)["o"] / 2**30, 4)  # 1/2
    0.5
    """

    latency = 0

    i: In(PAL16.n)
    o: Out(signed(tables.LINEAR_FRACTION_BITS + 2))
    nan: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fraction, low = PAL16.fraction_bits, tables.LINEAR_LOW_BITS
        lam = Signal(PAL16.magnitude_bits)
        m.d.comb += lam.eq(~self.i[:-1])
        rest = lam[:fraction]
        base = rom(m, "linear_base", rest[low:], tables.linear_base())
        offset = rom(
            m,
            "linear_offset",
            Cat(rest[:low], rest[fraction - tables.LINEAR_HIGH_BITS :]),
            tables.linear_offset().ravel(),
        )
        entry = Signal(tables.LINEAR_ENTRY_BITS + 1)
        magnitude = Signal(tables.LINEAR_FRACTION_BITS + 1)
        scale = tables.LINEAR_FRACTION_BITS - tables.LINEAR_ENTRY_BITS
        m.d.comb += [
            entry.eq((base + offset) >> tables.LINEAR_GUARD_BITS),
            magnitude.eq(Mux(self.i[:-1].any(), (entry << scale) >> lam[fraction:], 0)),
            self.o.eq(Mux(self.i[-1], -magnitude, magnitude)),
            self.nan.eq(self.i == PAL16.sign_bit),
        ]
        return m


class Accumulator16(wiring.Component):
    """Sums of PAL16 values, over time in every lane, or over the lanes.

    ::

        codes -> linear values | sums, accumulators | logarithm -> codes
                 cycle 1         cycle 2              cycle 3

    Latency 3, throughput one operation a cycle; an accumulation may follow the one before in
    the next cycle.  ``accumulate`` adds the values to the accumulators; with ``emit`` the
    accumulators, this cycle's values included, become the result and start again from 0.
    ``lane_sum`` gives the sum of this cycle's values in all lanes and leaves the
    accumulators alone.  A value is within 2^-13 of itself plus ``2^-30`` of the top, sums are
    exact, their logarithm is under one unit off.  Accumulators hold 2^17 times the top; one that
    has left this range gives the top with the sign of the side that it first left it on.  NaN
    stays until it is handed out.

    Members
    -------
    a : In(lanes x 16); accumulate, lane_sum, emit : In(1)
    offset : In(signed(12)) - octaves/16 from the top of the values down to that of the result
    o : Out(lanes x 16)

    ``saturates``, a signal (lanes) beside ``o`` for who counts: sums above the top.

    Example
    -------
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Accumulator16(2), a=[31743, 30719], lane_sum=1)["o"][0]  # 1/2 + 1/4
    32342
    """

    latency = 3

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        codes = data.ArrayLayout(PAL16.n, lanes)
        super().__init__(
            {
                "a": In(codes),
                "accumulate": In(1),
                "lane_sum": In(1),
                "emit": In(1),
                "offset": In(signed(OFFSET_BITS)),
                "o": Out(codes),
            }
        )
        self.saturates = Signal(lanes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Cycle 1: linear values.
        values, nans = [], []
        for lane in range(self.lanes):
            m.submodules[f"linear_{lane}"] = linear = Linear16()
            value, nan = Signal.like(linear.o, name=f"value_{lane}"), Signal(name=f"nan_{lane}")
            m.d.comb += linear.i.eq(self.a[lane])
            m.d.sync += [value.eq(linear.o), nan.eq(linear.nan)]
            values.append(value)
            nans.append(nan)
        accumulate, lane_sum, emit = Signal(), Signal(), Signal()
        offset_1, offset_2 = Signal.like(self.offset), Signal.like(self.offset)
        m.d.sync += [
            accumulate.eq(self.accumulate),
            lane_sum.eq(self.lane_sum),
            emit.eq(self.emit),
            offset_1.eq(self.offset),
            offset_2.eq(offset_1),
        ]

        # Cycle 2: sums.  Cycle 3: logarithms.
        across = Signal(signed(ACCUMULATOR_BITS))
        m.d.comb += across.eq(sum(values))
        shared = Signal()
        m.d.sync += shared.eq(lane_sum)
        codes, above = [], []
        for lane in range(self.lanes):
            total, kept = (
                Signal(signed(ACCUMULATOR_BITS), name=f"{name}_{lane}")
                for name in ("total", "accumulator")
            )
            nan, kept_nan = Signal(name=f"total_nan_{lane}"), Signal(name=f"accumulator_nan_{lane}")
            following = Signal(signed(ACCUMULATOR_BITS + 1), name=f"following_{lane}")
            following_nan = Signal(name=f"following_nan_{lane}")
            m.d.comb += [
                following.eq(kept + Mux(accumulate, values[lane], 0)),
                following_nan.eq(kept_nan | (accumulate & nans[lane])),
            ]
            # Whether the sum has left the range, and whether below.
            left, kept_left, total_left = (
                Signal(2, name=f"{name}_{lane}") for name in ("left", "kept_left", "total_left")
            )
            m.d.comb += left.eq(
                Mux(kept_left[0], kept_left, Cat(following[-1] ^ following[-2], following[-1]))
            )
            with m.If(emit):
                m.d.sync += [kept.eq(0), kept_nan.eq(0)]
                m.d.sync += kept_left.eq(0)
            with m.Else():
                m.d.sync += [kept.eq(following), kept_nan.eq(following_nan), kept_left.eq(left)]
            m.d.sync += total_left.eq(left)
            if lane == 0:
                m.d.sync += [
                    total.eq(Mux(lane_sum, across, following)),
                    nan.eq(Mux(lane_sum, Cat(*nans).any(), following_nan)),
                ]
                with m.If(lane_sum):
                    m.d.sync += total_left.eq(0)
            else:
                m.d.sync += [total.eq(following), nan.eq(following_nan)]
            m.submodules[f"log_{lane}"] = log = IntegerLog(ACCUMULATOR_BITS)
            magnitude = Signal(signed(PAL16.n + 3), name=f"magnitude_{lane}")
            m.d.comb += [
                log.i.eq(Mux(total < 0, -total, total)),
                magnitude.eq(
                    log.o
                    + Const(PAL16.m_max - tables.LINEAR_FRACTION_BITS * OCTAVE)
                    + offset_2 * UNITS_PER_OFFSET
                ),
            ]
            code = pal16_code(m, magnitude, total < 0, f"code_{lane}")
            top = Cat(Const(PAL16.m_max, PAL16.magnitude_bits), total_left[1])
            codes.append(
                Mux(nan, PAL16.sign_bit, Mux(total_left[0], top, Mux(total == 0, 0, code)))
            )
            above.append(~nan & (total_left[0] | ((magnitude > PAL16.m_max) & (total != 0))))
        for lane in range(self.lanes):
            m.d.sync += [
                self.o[lane].eq(Mux(shared, codes[0], codes[lane])),
                self.saturates[lane].eq(Mux(shared, above[0], above[lane])),
            ]
        return m
