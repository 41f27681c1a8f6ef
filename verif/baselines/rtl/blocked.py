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
    """Sum of a slice's products under the scales of its blocks.

    Combinational: latency 0.  Scales finer than octaves multiply the slice's sum
    (``FineScale``); the sum is then in units of ``2^dropped`` of the product.

    Parameters
    ----------
    slice_sum: the products; lanes: of them; scale: one of ``SCALES``; special: whether edges find
    NaN; significand_bits: of the multiplier of ``eighths``; dropped, compensation: of it.

    Members
    -------
    a, b : In(as of slice_sum); scale_a, scale_b : In(scale_layout), if there is anything to say
    o : Out(signed); octaves : Out(5), with a block scale only; nan : Out(1)
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
        members = slice_sum.signature.members
        correction = len(slice_sum.correction_a) if "correction_a" in members else 0
        self.layout = scale_layout(scale, special, correction)
        self.fine: FineScale | None = None
        if scale in ("eighths", "e4m3"):
            self.fine = FineScale(
                max(len(slice_sum.o), significand_bits + SUM_ABOVE),
                significand_bits,
                dropped,
                compensation,
            )
        said = {"scale_a": In(self.layout), "scale_b": In(self.layout)}
        total = self.fine.o if self.fine else slice_sum.o
        super().__init__(
            {
                "a": members["a"],
                "b": members["b"],
                **(said if self.layout.size else {}),
                "o": Out(signed(len(total))),
                **({"octaves": Out(OCTAVE_BITS)} if scale != "none" else {}),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slice_sum = slice_sum = self.slice_sum
        m.d.comb += [slice_sum.a.eq(self.a), slice_sum.b.eq(self.b)]
        if "correction" in self.layout.members:
            m.d.comb += [
                slice_sum.correction_a.eq(self.scale_a.correction),
                slice_sum.correction_b.eq(self.scale_b.correction),
            ]
        nan: Value = self.scale_a.nan | self.scale_b.nan if self.special else Const(0)
        total: Value = slice_sum.o
        if self.kind == "octaves":
            m.d.comb += self.octaves.eq(self.scale_a.block + self.scale_b.block)
        elif self.fine:
            m.submodules.fine = fine = self.fine
            if self.kind == "eighths":
                m.submodules.pair = eighth = EighthScale(len(fine.significand))
                m.d.comb += [
                    eighth.beta_a.eq(self.scale_a.block),
                    eighth.beta_b.eq(self.scale_b.block),
                ]
                pair: EighthScale | E4M3Scale = eighth
            else:
                m.submodules.pair = e4m3 = E4M3Scale()
                m.d.comb += [
                    e4m3.scale_a.eq(self.scale_a.block),
                    e4m3.scale_b.eq(self.scale_b.block),
                ]
                pair, nan = e4m3, nan | e4m3.nan
            m.d.comb += [
                fine.sum.eq(slice_sum.o),
                fine.significand.eq(pair.significand),
                self.octaves.eq(pair.octaves),
            ]
            total = fine.o
        m.d.comb += [self.o.eq(total), self.nan.eq(nan)]
        return m
