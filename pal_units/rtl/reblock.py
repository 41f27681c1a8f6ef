"""Reblock unit: PAL16 values to a block of element codes with a common bias."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import BETA_MIN, PAL16, ZERO_BLOCK, Format
from pal_units.rtl.decoder import refuse_adaptive
from pal_units.rtl.encoder import ElementEncoder
from pal_units.rtl.log import UNITS_PER_BIAS


class ReblockUnit(wiring.Component):
    """Collect a block of PAL16 values, then hand out its codes, ``slice_lanes`` at a time.

    ``push`` takes ``push_lanes`` values; the push that completes a block makes it ready
    in the next cycle and starts another block in the other of two buffers.  ``pop``
    gives the next slice of the ready block one cycle later, with ``valid``; a ``pop``
    with nothing left gives ``valid = 0`` and changes nothing.  A block that completes
    before the one before it was fully popped replaces it.  Throughput: a push and a pop
    every cycle.

    The bias is ``ceil(8 log2 max|x|)``, moved by ``reblock_step`` and rounded up to a
    multiple of ``bias_step``, within ``beta_min`` and 0; each
    element becomes the nearest code below it, so that the result is that of encoding the
    values: half the spacing of the format is the error bound (more for what clips at
    4 bits and below).  NaN stays.

    Parameters
    ----------
    formats: formats of the same block; ``select``, which must not change while a block is
        under way, is an index into them.
    push_lanes, slice_lanes: values in, codes out; both divide the block.  Formats of one
        ``n`` are packed tightly.  Of several, a code takes 8 bits, or 4 if it has no more;
        then twice ``slice_lanes`` of these go out at once.

    Raises
    ------
    ValueError: ``push_lanes`` or ``slice_lanes`` that do not divide the block.

    Members
    -------
    push : In(1); values : In(push_lanes x 16); pop : In(1); select : In
    codes : Out(slice_lanes x n, or x 8) - two codes of 4 bits in one of 8
    bias : Out(signed(8)); valid : Out(1)

    Example
    -------
    A block pushed in one cycle and popped in the next:

    >>> from amaranth.sim import Simulator
    >>> from pal_units.formats import PAL8T
    >>> unit = ReblockUnit((PAL8T.with_block(2),), push_lanes=2, slice_lanes=2)
    >>> async def testbench(ctx):
    ...     ctx.set(unit.values, [31743, 30719])  # 1/2 and 1/4
    ...     ctx.set(unit.push, 1)
    ...     await ctx.tick()
    ...     ctx.set(unit.push, 0)
    ...     ctx.set(unit.pop, 1)
    ...     await ctx.tick()
    ...     print(ctx.get(unit.codes)[0], ctx.get(unit.codes)[1], ctx.get(unit.bias))
    >>> simulator = Simulator(unit)
    >>> simulator.add_clock(1e-6)
    >>> simulator.add_testbench(testbench)
    >>> simulator.run()
    127 95 -8
    """

    latency = 1

    def __init__(self, formats: tuple[Format, ...], push_lanes: int, slice_lanes: int) -> None:
        refuse_adaptive(*formats)
        block = formats[0].block
        for name, lanes in (("push_lanes", push_lanes), ("slice_lanes", slice_lanes)):
            if block % lanes:
                raise ValueError(f"{name} must divide the block of {block}, not {lanes}")
        self.formats, self.block = formats, block
        self.push_lanes, self.slice_lanes = push_lanes, slice_lanes
        one_size = len({f.n for f in formats}) == 1
        #: Bits from code to code in each format, and at most.
        self.pitches = [f.n if one_size else 8 if f.n > 4 else 4 for f in formats]
        self.pitch = max(self.pitches)
        super().__init__(
            {
                "push": In(1),
                "values": In(data.ArrayLayout(PAL16.n, push_lanes)),
                "pop": In(1),
                "select": In(range(max(len(formats), 2))),
                "codes": Out(data.ArrayLayout(self.pitch, slice_lanes)),
                "bias": Out(signed(8)),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pushes, most = self.block // self.push_lanes, self.block // self.slice_lanes
        values = Array(
            [
                [Signal(PAL16.n, name=f"value_{bank}_{i}") for i in range(self.block)]
                for bank in range(2)
            ]
        )
        fill_bank, fill = Signal(), Signal(range(pushes))
        peak, any_nan = Signal(PAL16.magnitude_bits), Signal()
        left = Signal(range(most + 1))
        lam, ready_bias = Signal(PAL16.magnitude_bits), Signal(signed(8))

        # Push side: store, and keep the largest magnitude.
        pushed_peak, pushed_nan = peak, any_nan
        for lane in range(self.push_lanes):
            value = self.values[lane]
            magnitude = value[: PAL16.magnitude_bits]
            pushed_peak = Mux(magnitude > pushed_peak, magnitude, pushed_peak)
            pushed_nan = pushed_nan | (value == PAL16.sign_bit)
        new_peak, new_nan = Signal.like(peak), Signal()
        m.d.comb += [
            new_peak.eq(pushed_peak),
            new_nan.eq(pushed_nan),
            lam.eq(PAL16.m_max - new_peak),
        ]
        bias_down = Signal(range(-BETA_MIN + 130))
        wanted_down = Signal.like(bias_down)
        limit, unused = Signal(range(-BETA_MIN + 1)), Signal.like(bias_down)
        slices, step = Signal(range(most + 1)), Signal(range(2))
        m.d.comb += wanted_down.eq(lam // UNITS_PER_BIAS + step)
        with m.Switch(self.select):
            for i, f in enumerate(self.formats):
                with m.Case(i) if i + 1 < len(self.formats) else m.Default():
                    m.d.comb += [
                        limit.eq(-f.beta_min),
                        unused.eq(f.bias_step - 1),
                        step.eq(-f.reblock_step),
                        slices.eq(most * self.pitches[i] // self.pitch),
                    ]
        m.d.comb += bias_down.eq(wanted_down & ~unused)
        with m.If(self.push):
            for bank in range(2):
                for i in range(self.block):
                    with m.If((fill_bank == bank) & (fill == i // self.push_lanes)):
                        m.d.sync += values[bank][i].eq(self.values[i % self.push_lanes])
            with m.If(fill == pushes - 1):
                m.d.sync += [
                    fill.eq(0),
                    peak.eq(0),
                    any_nan.eq(0),
                    fill_bank.eq(~fill_bank),
                    ready_bias.eq(
                        Mux(
                            new_peak == 0,
                            Mux(new_nan, -limit, ZERO_BLOCK),
                            Mux(bias_down > limit, -limit, -bias_down),
                        )
                    ),
                ]
            with m.Else():
                m.d.sync += [fill.eq(fill + 1), peak.eq(new_peak), any_nan.eq(new_nan)]

        # Pop side: encode one slice of the ready bank.
        popping = self.pop & (left != 0)
        with m.If(self.push & (fill == pushes - 1)):
            m.d.sync += left.eq(slices)
        with m.Elif(popping):
            m.d.sync += left.eq(left - 1)
        m.d.sync += [self.valid.eq(popping), self.bias.eq(ready_bias)]
        index = Signal(range(most))
        m.d.comb += index.eq(slices - left)
        encoded: list[list[Signal]] = [[] for _ in self.formats]
        for pitch in sorted(set(self.pitches)):
            lanes = self.slice_lanes * self.pitch // pitch
            for lane in range(lanes):
                value = self._value(m, values, fill_bank, index, lanes, lane)
                for i, f in enumerate(self.formats):
                    if self.pitches[i] == pitch:
                        encoded[i].append(self._encode(m, f, f"{f.name}_{lane}", value, ready_bias))
        slice_codes = [
            Cat(*(Cat(code, Const(0, pitch - len(code))) for code in codes))
            for codes, pitch in zip(encoded, self.pitches, strict=True)
        ]
        m.d.sync += self.codes.eq(Array(slice_codes)[self.select])
        return m

    def _value(
        self, m: Module, values: Array, fill_bank: Signal, index: Signal, lanes: int, lane: int
    ) -> Signal:
        """The value of a lane in slice ``index`` of the bank that is not being filled."""
        slices = self.block // lanes
        source = Array([values[bank][s * lanes + lane] for bank in range(2) for s in range(slices)])
        value = Signal(PAL16.n, name=f"popped_{lanes}_{lane}")
        m.d.comb += value.eq(source[Mux(fill_bank, 0, slices) + index])
        return value

    @staticmethod
    def _encode(m: Module, fmt: Format, name: str, value: Signal, bias: Signal) -> Signal:
        """Code of a value under the block's bias."""
        relative = Signal(signed(PAL16.magnitude_bits + 2), name=f"relative_{name}")
        m.submodules[f"encode_{name}"] = encoder = ElementEncoder(
            fmt, PAL16.fraction_bits, len(relative)
        )
        m.d.comb += [
            relative.eq(PAL16.m_max - value[: PAL16.magnitude_bits] + bias * UNITS_PER_BIAS),
            encoder.i.lam.eq(relative),
            encoder.i.negative.eq(value[-1]),
            encoder.i.zero.eq(value == 0),
            encoder.i.nan.eq(value == PAL16.sign_bit),
        ]
        return encoder.o
