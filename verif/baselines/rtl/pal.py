"""Products of PAL codes: decoders and the slice of pal_units, as one combinational unit."""

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.formats import Format
from pal_units.rtl.decoder import ElementDecoder, element_layout
from pal_units.rtl.product import SliceSum


class PalSlice(wiring.Component):
    """Sum of ``lanes`` products of PAL codes.

    Combinational: latency 0.

    Parameters
    ----------
    fmt: format; params: bits kept; lanes: products.
    decoded: take decoded operands, as in a matrix whose decoders stand at its edge.

    Members
    -------
    a, b : In(lanes x n, or lanes x element); bias : In(bias_bits)
    o : Out(signed(k + 1 + log2(lanes))); nan : Out(1)
    """

    latency = 0

    def __init__(self, fmt: Format, params: DotParams, lanes: int, decoded: bool = False) -> None:
        self.fmt, self.params, self.lanes, self.decoded = fmt, params, lanes, decoded
        self.element = element_layout((fmt,), params.fraction_bits, params.operand_octaves)
        operands = data.ArrayLayout(self.element if decoded else fmt.n, lanes)
        super().__init__(
            {
                "a": In(operands),
                "b": In(operands),
                "bias": In(max(params.bias_bits, 1)),
                "o": Out(signed(params.sum_bits(lanes))),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slice_sum = slice_sum = SliceSum(
            (self.element, self.element), self.params, self.lanes
        )
        for name, codes, ports in (("a", self.a, slice_sum.a), ("b", self.b, slice_sum.b)):
            for lane in range(self.lanes):
                element = codes[lane]
                if not self.decoded:
                    decode = ElementDecoder(
                        (self.fmt,), self.params.fraction_bits, self.params.operand_octaves
                    )
                    m.submodules[f"decode_{name}_{lane}"] = decode
                    m.d.comb += decode.code.eq(codes[lane])
                    element = decode.o
                m.d.comb += ports[lane].eq(element)
        m.d.comb += [
            slice_sum.bias.eq(self.bias),
            self.o.eq(slice_sum.o),
            self.nan.eq(slice_sum.nan),
        ]
        return m
