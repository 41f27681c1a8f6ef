"""Reblock unit: PAL16 values to a block of element codes with a common bias."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import BETA_MIN, PAL16, ZERO_BLOCK, Format
from pal_units.rtl.block_encoder import LAM_BITS, CodebookEncoder, block_byte
from pal_units.rtl.codebook import ByteDecoder
from pal_units.rtl.decoder import check_block
from pal_units.rtl.encoder import ElementEncoder
from pal_units.rtl.log import UNITS_PER_BIAS


class ReblockUnit(wiring.Component):
    """Collect a block of PAL16 values, then hand out its codes, ``slice_lanes`` at a time.

    ``push`` takes ``push_lanes`` values; the push that completes a block makes it ready
    in the next cycle and starts another block in the other of two buffers.  ``pop``
    gives the next slice of the ready block two cycles later, with ``valid``: the block's bias is
    found in the first, the codes in the second.  A ``pop`` with nothing left gives ``valid = 0``
    and changes nothing.  A block that completes before the one before it was fully popped
    replaces it.  Throughput: a push and a pop every cycle.

    The bias is ``ceil(8 log2 max|x|)``, moved by ``reblock_step`` and rounded up to a
    multiple of ``bias_step``, within ``beta_min`` and 0; each
    element becomes the nearest code below it, so that the result is that of encoding the
    values: half the spacing of the format is the error bound (more for what clips at
    4 bits and below).  NaN stays.  In profile A the block's byte takes the place of the bias; it
    and the codes are those of ``BlockEncoder``.

    Parameters
    ----------
    formats: formats of the same block; ``select``, which must not change while a block is
        under way, is an index into them.
    push_lanes, slice_lanes: values in, codes out; both divide the block.  Formats of one
        ``n`` are packed tightly.  Of several, a code takes 8 bits, or 4 if it has no more;
        then twice ``slice_lanes`` of these go out at once.

    Raises
    ------
    ValueError: no formats, or of different blocks; ``push_lanes`` or ``slice_lanes`` that do not
        divide the block; codebooks without picks.

    Members
    -------
    push : In(1); values : In(push_lanes x 16); pop : In(1); select : In
    codes : Out(slice_lanes x n, or x 8) - two codes of 4 bits in one of 8
    bias : Out(signed(8)), in profile A the byte; valid : Out(1)

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
    ...     await ctx.tick().repeat(2)
    ...     print(ctx.get(unit.codes)[0], ctx.get(unit.codes)[1], ctx.get(unit.bias))
    >>> simulator = Simulator(unit)
    >>> simulator.add_clock(1e-6)
    >>> simulator.add_testbench(testbench)
    >>> simulator.run()
    127 95 -8
    """

    latency = 2

    def __init__(self, formats: tuple[Format, ...], push_lanes: int, slice_lanes: int) -> None:
        block = check_block(formats, push_lanes=push_lanes, slice_lanes=slice_lanes)
        for f in formats:
            if f.codebooks is not None and not f.codebooks.picks:
                raise ValueError(f"{f.name} has no picks for the hardware's encoder")
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
        negatives = Signal(range(self.block + 1))
        left = Signal(range(most + 1))
        ready_peak, ready_nan, ready_mirrored = Signal.like(peak), Signal(), Signal()

        # Push side: store, and keep the largest magnitude, and how many are negative.
        pushed_peak, pushed_nan, pushed_negatives = peak, any_nan, negatives
        for lane in range(self.push_lanes):
            value = self.values[lane]
            magnitude = value[: PAL16.magnitude_bits]
            pushed_peak = Mux(magnitude > pushed_peak, magnitude, pushed_peak)
            pushed_nan = pushed_nan | (value == PAL16.sign_bit)
            pushed_negatives = pushed_negatives + (value[-1] & magnitude.any())
        new_peak, new_nan, new_negatives = Signal.like(peak), Signal(), Signal.like(negatives)
        m.d.comb += [
            new_peak.eq(pushed_peak),
            new_nan.eq(pushed_nan),
            new_negatives.eq(pushed_negatives),
        ]
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
                    negatives.eq(0),
                    fill_bank.eq(~fill_bank),
                    ready_peak.eq(new_peak),
                    ready_nan.eq(new_nan),
                    ready_mirrored.eq(new_negatives > self.block // 2),
                ]
            with m.Else():
                m.d.sync += [
                    fill.eq(fill + 1),
                    peak.eq(new_peak),
                    any_nan.eq(new_nan),
                    negatives.eq(new_negatives),
                ]

        # Pop side, first cycle: which slice, and the bias of the ready bank.
        slices = Signal(range(most + 1))
        bias = Signal(8)
        ready = [Mux(fill_bank, values[0][i], values[1][i]) for i in range(self.block)]
        common = self._bias(m, ready_peak, ready_nan)
        with m.Switch(self.select):
            for i, f in enumerate(self.formats):
                with m.Case(i) if i + 1 < len(self.formats) else m.Default():
                    m.d.comb += slices.eq(most * self.pitches[i] // self.pitch)
                    found = common
                    if f.codebooks is not None:
                        magnitudes = [v[: PAL16.magnitude_bits] for v in ready]
                        found = block_byte(m, f, ready_peak, ready_mirrored, magnitudes, f"_{i}")
                    m.d.comb += bias.eq(found)
        popping = self.pop & (left != 0)
        with m.If(self.push & (fill == pushes - 1)):
            m.d.sync += left.eq(slices)
        with m.Elif(popping):
            m.d.sync += left.eq(left - 1)
        popped, popped_bias, popped_format = Signal(), Signal(8), Signal.like(self.select)
        popped_bank, index = Signal(), Signal(range(most))
        m.d.sync += [
            popped.eq(popping),
            popped_bias.eq(bias),
            popped_format.eq(self.select),
            popped_bank.eq(~fill_bank),
            index.eq(slices - left),
        ]

        # Second cycle: encode the slice.
        m.d.sync += [self.valid.eq(popped), self.bias.eq(popped_bias)]
        encoded: list[list[Value]] = [[] for _ in self.formats]
        bytes_of = {}
        for i, f in enumerate(self.formats):
            if f.codebooks is not None:
                m.submodules[f"decode_byte_{i}"] = bytes_of[i] = ByteDecoder(f)
                m.d.comb += bytes_of[i].block_byte.eq(popped_bias)
        for pitch in sorted(set(self.pitches)):
            lanes = self.slice_lanes * self.pitch // pitch
            for lane in range(lanes):
                value = self._value(m, values, popped_bank, index, lanes, lane)
                for i, f in enumerate(self.formats):
                    if self.pitches[i] == pitch:
                        encoded[i].append(
                            self._encode(m, f, f"{i}_{lane}", value, popped_bias, bytes_of.get(i))
                        )
        slice_codes = [
            Cat(*(Cat(code, Const(0, pitch - len(code))) for code in codes))
            for codes, pitch in zip(encoded, self.pitches, strict=True)
        ]
        m.d.sync += self.codes.eq(Array(slice_codes)[popped_format])
        return m

    def _bias(self, m: Module, peak: Value, any_nan: Value) -> Value:
        """Bias of a block of profile T or U, by its largest magnitude."""
        lam = Signal(PAL16.magnitude_bits)
        wanted_down = Signal(range(-BETA_MIN + 130))
        bias_down = Signal.like(wanted_down)
        limit, unused = Signal(range(-BETA_MIN + 1)), Signal.like(bias_down)
        step = Signal(range(2))
        with m.Switch(self.select):
            for i, f in enumerate(self.formats):
                with m.Case(i) if i + 1 < len(self.formats) else m.Default():
                    m.d.comb += [
                        limit.eq(-f.beta_min),
                        unused.eq(f.bias_step - 1),
                        step.eq(-f.reblock_step),
                    ]
        m.d.comb += [
            lam.eq(PAL16.m_max - peak),
            wanted_down.eq(lam // UNITS_PER_BIAS + step),
            bias_down.eq(wanted_down & ~unused),
        ]
        return Mux(
            peak == 0, Mux(any_nan, -limit, ZERO_BLOCK), Mux(bias_down > limit, -limit, -bias_down)
        )

    def _value(
        self, m: Module, values: Array, bank: Signal, index: Signal, lanes: int, lane: int
    ) -> Signal:
        """The value of a lane in slice ``index`` of a bank."""
        slices = self.block // lanes
        source = Array([values[b][s * lanes + lane] for b in range(2) for s in range(slices)])
        value = Signal(PAL16.n, name=f"popped_{lanes}_{lane}")
        m.d.comb += value.eq(source[Mux(bank, slices, 0) + index])
        return value

    @staticmethod
    def _encode(
        m: Module, fmt: Format, name: str, value: Signal, bias: Signal, byte: ByteDecoder | None
    ) -> Value:
        """Code of a value under the block's bias, or in profile A its byte."""
        relative = Signal(signed(LAM_BITS), name=f"relative_{name}")
        beta = bias.as_signed() if byte is None else byte.beta
        encoder: ElementEncoder | CodebookEncoder
        if byte is None:
            encoder = ElementEncoder(fmt, PAL16.fraction_bits, len(relative))
        else:
            encoder = CodebookEncoder(fmt)
            m.d.comb += encoder.selector.eq(byte.selector)
        m.submodules[f"encode_{name}"] = encoder
        m.d.comb += [
            relative.eq(PAL16.m_max - value[: PAL16.magnitude_bits] + beta * UNITS_PER_BIAS),
            encoder.i.lam.eq(relative),
            encoder.i.negative.eq(value[-1]),
            encoder.i.zero.eq(value == 0),
            encoder.i.nan.eq(value == PAL16.sign_bit),
        ]
        return encoder.o
