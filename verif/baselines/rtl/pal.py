"""Operands and products of PAL as the studies' units take them."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.formats import Format
from pal_units.rtl.block_accumulator import OCTAVE_BITS
from pal_units.rtl.codebook import OPERAND_OCTAVE_BITS, OperandDecoder, operand_layout
from pal_units.rtl.product import SliceSum

#: What an edge says of a block: octaves down, whether it is all zeros, whether a slice has NaN.
SCALE = data.StructLayout({"octaves": OPERAND_OCTAVE_BITS, "zero": 1, "nan": 1})


class PalEdge(wiring.Component):
    """``OperandDecoder`` with what it says of the block in one port.

    Combinational: latency 0.

    Members
    -------
    codes : In(lanes x n); bias : In(8); o : Out(lanes x operand); scale : Out(SCALE)
    """

    latency = 0

    def __init__(self, fmt: Format, params: DotParams, lanes: int) -> None:
        self.decoder = OperandDecoder((fmt,), params, lanes)
        members = self.decoder.signature.members
        super().__init__(
            {**{name: members[name] for name in ("codes", "bias", "o")}, "scale": Out(SCALE)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.decoder = decoder = self.decoder
        m.d.comb += [
            decoder.codes.eq(self.codes),
            decoder.bias.eq(self.bias),
            self.o.eq(decoder.o),
            self.scale.octaves.eq(decoder.octaves),
            self.scale.zero.eq(decoder.zero),
            self.scale.nan.eq(decoder.nan),
        ]
        return m


class PalProducts(wiring.Component):
    """Sum of ``lanes`` products of PAL operands, or of a block so far, and its octaves.

    Combinational: latency 0.

    Parameters
    ----------
    fmt: format; params: bits kept, of ``edge_biases``; lanes: products; block: elements that add
    up before the shift, 0 for a slice alone.

    Members
    -------
    a, b : In(lanes x operand); scale_a, scale_b : In(SCALE)
    kept : In(as o), of blocks longer than a slice
    o : Out(signed(k + 1 + log2(lanes or block))); octaves : Out(5); nan : Out(1)
    """

    latency = 0

    def __init__(self, fmt: Format, params: DotParams, lanes: int, block: int = 0) -> None:
        element = operand_layout((fmt,), params)
        self.slice_sum = SliceSum((element, element), params, lanes, block)
        members = self.slice_sum.signature.members
        super().__init__(
            {
                "a": In(data.ArrayLayout(element, lanes)),
                "b": In(data.ArrayLayout(element, lanes)),
                "scale_a": In(SCALE),
                "scale_b": In(SCALE),
                **{name: members[name] for name in ("kept", "o") if name in members},
                "octaves": Out(OCTAVE_BITS),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slice_sum = slice_sum = self.slice_sum
        if slice_sum.keeps:
            m.d.comb += slice_sum.kept.eq(self.kept)
        x, w = self.scale_a, self.scale_b
        m.d.comb += [
            slice_sum.a.eq(self.a),
            slice_sum.b.eq(self.b),
            self.o.eq(slice_sum.o),
            self.octaves.eq(x.octaves + w.octaves),
            self.nan.eq((x.nan | w.nan) & ~(x.zero | w.zero)),
        ]
        return m
