"""Peers as the studies' units take them: edges that decode codes, products under block scales.

Equal rules with PAL: what depends on one operand alone is done once, at an edge, for all lanes
that share it: fields of floating-point codes, Booth's digits of the numbers that all columns
share, Winograd's corrections, octaves of a block.
"""

from amaranth.hdl import Cat, Const, Module, Shape, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import BETA_MIN, BIAS_PER_OCTAVE
from pal_units.rtl.block_accumulator import OCTAVE_BITS
from verif.baselines.elements import FP8_E4M3, FloatFormat
from verif.baselines.rtl.floating import FloatDecoder, float_layout
from verif.baselines.rtl.integer import booth_digits, digits_layout
from verif.baselines.rtl.scales import SUM_ABOVE, E4M3Scale, EighthScale, FineScale
from verif.baselines.rtl.winograd import WinogradCorrection

#: Scales of a block: a bias in whole octaves, one in eighths, an E4M3 number; or none.
SCALES = ("octaves", "eighths", "e4m3", "none")
#: Bits of what an edge hands on of a block's scale, and of the edge's port for it.
_BLOCK_BITS = {
    "octaves": ((-BETA_MIN // BIAS_PER_OCTAVE).bit_length(), 8),
    "eighths": (8, 8),
    "e4m3": (FP8_E4M3.bits - 1, FP8_E4M3.bits - 1),
    "none": (0, 0),
}


def scale_layout(scale: str, special: bool = False, correction: int = 0) -> data.StructLayout:
    """What is said of an operand's block: its scale, NaN in a slice, Winograd's correction."""
    fields: dict[str, Shape | int] = {}
    if bits := _BLOCK_BITS[scale][0]:
        fields["block"] = bits
    if special:
        fields["nan"] = 1
    if correction:
        fields["correction"] = signed(correction)
    return data.StructLayout(fields)


class PeerEdge(wiring.Component):
    """Decode a slice of codes once for all lanes that share them.

    Combinational: latency 0.

    Parameters
    ----------
    lanes: codes; bits: of one; scale: one of ``SCALES``.
    fmt: decode floating-point fields; recoded: hand out Booth's digits of integers;
    correction: its bits, of Winograd's, with ``dropped`` columns left out; 0 for none.

    Members
    -------
    codes : In(lanes x bits); bias : In(8, or 7 of e4m3), with a block scale only
    o : Out(lanes x operand); scale : Out(scale_layout), if there is anything to say
    """

    latency = 0

    def __init__(
        self,
        lanes: int,
        bits: int,
        scale: str,
        fmt: FloatFormat | None = None,
        recoded: bool = False,
        correction: int = 0,
        dropped: int = 0,
    ) -> None:
        self.lanes, self.bits, self.kind, self.fmt = lanes, bits, scale, fmt
        self.recoded, self.dropped = recoded, dropped
        special = fmt is not None and fmt.codes < 1 << (fmt.bits - 1)
        self.layout = scale_layout(scale, special, correction)
        operand = float_layout(fmt) if fmt else digits_layout(bits) if recoded else bits
        port = _BLOCK_BITS[scale][1]
        super().__init__(
            {
                "codes": In(data.ArrayLayout(bits, lanes)),
                **({"bias": In(port)} if port else {}),
                "o": Out(data.ArrayLayout(operand, lanes)),
                **({"scale": Out(self.layout)} if self.layout.size else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        specials = []
        for lane in range(self.lanes):
            code, o = self.codes[lane], self.o[lane]
            if self.fmt:
                m.submodules[f"decode_{lane}"] = decode = FloatDecoder(self.fmt)
                m.d.comb += [decode.code.eq(code), o.eq(decode.o)]
                specials.append(decode.special)
            elif self.recoded:
                m.d.comb += o.eq(Cat(*booth_digits(code)))
            else:
                m.d.comb += o.eq(code)
        fields = self.layout.members
        if "nan" in fields:
            m.d.comb += self.scale.nan.eq(Cat(*specials).any())
        if "correction" in fields:
            m.submodules.correct = correct = WinogradCorrection(self.bits, self.lanes, self.dropped)
            m.d.comb += [correct.x.eq(self.codes), self.scale.correction.eq(correct.o)]
        if self.kind == "octaves":
            octave_at = BIAS_PER_OCTAVE.bit_length() - 1
            m.d.comb += self.scale.block.eq((-self.bias.as_signed())[octave_at:])
        elif self.kind != "none":
            m.d.comb += self.scale.block.eq(self.bias)
        return m


class PeerProducts(wiring.Component):
    """Sum of a slice's products, or of a block so far, and the scales of its blocks.

    Combinational: latency 0.

    Parameters
    ----------
    slice_sum: the products; scale: one of ``SCALES``; special: whether edges find NaN;
    significand_bits: of ``eighths``; dropped, compensation: of what multiplies by a scale that is
    finer than octaves (``FineScale``).

    Members
    -------
    a, b, kept : In(as of slice_sum); scale_a, scale_b : In(scale_layout), if there is any
    o : Out(as of slice_sum); octaves : Out(5), with a block scale only; nan : Out(1)
    significand : Out(significand_bits), with a fine scale only
    """

    latency = 0

    def __init__(
        self,
        slice_sum: wiring.Component,
        scale: str,
        special: bool = False,
        significand_bits: int = 8,
        dropped: int = 0,
        compensation: int = 0,
    ) -> None:
        self.slice_sum, self.kind, self.special = slice_sum, scale, special
        self.cut = dropped, compensation
        members = slice_sum.signature.members
        correction = len(slice_sum.correction_a) if "correction_a" in members else 0
        self.layout = scale_layout(scale, special, correction)
        self.fine = scale in ("eighths", "e4m3")
        said = {"scale_a": In(self.layout), "scale_b": In(self.layout)}
        super().__init__(
            {
                **{name: members[name] for name in ("a", "b", "kept", "o") if name in members},
                **(said if self.layout.size else {}),
                **({"octaves": Out(OCTAVE_BITS)} if scale != "none" else {}),
                **({"significand": Out(significand_bits)} if self.fine else {}),
                "nan": Out(1),
            }
        )

    def multiplier(self) -> FineScale:
        """What multiplies the sum by the significand."""
        bits = len(self.significand)
        return FineScale(max(len(self.o), bits + SUM_ABOVE), bits, *self.cut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slice_sum = slice_sum = self.slice_sum
        m.d.comb += [slice_sum.a.eq(self.a), slice_sum.b.eq(self.b), self.o.eq(slice_sum.o)]
        if "kept" in self.signature.members:
            m.d.comb += slice_sum.kept.eq(self.kept)
        if "correction" in self.layout.members:
            m.d.comb += [
                slice_sum.correction_a.eq(self.scale_a.correction),
                slice_sum.correction_b.eq(self.scale_b.correction),
            ]
        nan: Value = self.scale_a.nan | self.scale_b.nan if self.special else Const(0)
        if self.kind == "octaves":
            m.d.comb += self.octaves.eq(self.scale_a.block + self.scale_b.block)
        elif self.fine:
            pair: EighthScale | E4M3Scale
            if self.kind == "eighths":
                pair = EighthScale(len(self.significand))
                sides = pair.beta_a, pair.beta_b
            else:
                pair = E4M3Scale()
                sides = pair.scale_a, pair.scale_b
                nan = nan | pair.nan
            m.submodules.pair = pair
            m.d.comb += [
                sides[0].eq(self.scale_a.block),
                sides[1].eq(self.scale_b.block),
                self.significand.eq(pair.significand),
                self.octaves.eq(pair.octaves),
            ]
        m.d.comb += self.nan.eq(nan)
        return m
