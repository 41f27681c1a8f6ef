"""Operands and products of PAL as the studies' units take them."""

from amaranth.hdl import Const, Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.formats import Format
from pal_units.rtl.block_accumulator import OCTAVE_BITS
from pal_units.rtl.codebook import OPERAND_OCTAVE_BITS, OperandDecoder, operand_layout
from pal_units.rtl.product import SliceSum


def scale_layout(fmt: Format) -> data.StructLayout:
    """What an edge says of a block: octaves down; of formats with NaN whether a slice has one and,
    where a bias stands for a block of zeros, which has none, whether it is one."""
    fields = {"octaves": OPERAND_OCTAVE_BITS}
    if fmt.has_nan:
        fields["nan"] = 1
        if fmt.codebooks is None:
            fields["zero"] = 1
    return data.StructLayout(fields)


class PalEdge(wiring.Component):
    """``OperandDecoder`` with what it says of the block in one port.

    Combinational: latency 0.

    Members
    -------
    codes : In(lanes x n); bias : In(8); o : Out(lanes x operand); scale : Out(scale_layout)
    """

    latency = 0

    def __init__(self, fmt: Format, params: DotParams, lanes: int) -> None:
        self.decoder = OperandDecoder((fmt,), params, lanes)
        members = self.decoder.signature.members
        self.layout = scale_layout(fmt)
        super().__init__(
            {**{name: members[name] for name in ("codes", "bias", "o")}, "scale": Out(self.layout)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.decoder = decoder = self.decoder
        m.d.comb += [
            decoder.codes.eq(self.codes),
            decoder.bias.eq(self.bias),
            self.o.eq(decoder.o),
            *(self.scale[name].eq(getattr(decoder, name)) for name in self.layout.members),
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
    a, b : In(lanes x operand); scale_a, scale_b : In(scale_layout)
    kept : In(as o), of blocks longer than a slice
    o : Out(signed(k + 1 + log2(lanes or block))); octaves : Out(5); nan : Out(1)
    """

    latency = 0

    def __init__(self, fmt: Format, params: DotParams, lanes: int, block: int = 0) -> None:
        element = operand_layout((fmt,), params)
        self.slice_sum = SliceSum((element, element), params, lanes, block)
        members = self.slice_sum.signature.members
        self.layout = scale_layout(fmt)
        super().__init__(
            {
                "a": In(data.ArrayLayout(element, lanes)),
                "b": In(data.ArrayLayout(element, lanes)),
                "scale_a": In(self.layout),
                "scale_b": In(self.layout),
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
        nan: Value = x.nan | w.nan if "nan" in self.layout.members else Const(0)
        if "zero" in self.layout.members:
            nan = nan & ~(x.zero | w.zero)
        m.d.comb += [
            slice_sum.a.eq(self.a),
            slice_sum.b.eq(self.b),
            self.o.eq(slice_sum.o),
            self.octaves.eq(x.octaves + w.octaves),
            self.nan.eq(nan),
        ]
        return m
