"""Products of decoded elements and the exact sum of a slice of them."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.dot_params import DotParams
from pal_units.rtl.heap import heap_sum
from pal_units.rtl.rom import rom
from pal_units.rtl.shift import aligned


class Product(wiring.Component):
    """Product of two decoded elements: an odd number of ``k`` bits and its sign, or 0.

    Combinational: latency 0.  The magnitude is an antilog of ``lam_a + lam_b + bias``,
    shifted down by the octaves; its least bit is 1 in place of all bits from there on
    ("jamming", see ``model.product_table``).  So ``-magnitude`` in two's complement
    inverts the upper bits and leaves the least one: no carry, and nothing else in a lane
    depends on the sign.

    Members
    -------
    a, b : In(elements), which may lack NaN
    bias : In(lane_bias_bits, or 1 that is ignored) - fraction of an octave that the block biases
    put the product down
    upper : Out(k - 1) - bits of the magnitude above the least, inverted if negative
    negative : Out(1); nonzero : Out(1) - and the least bit; nan : Out(1)
    """

    latency = 0

    def __init__(
        self, elements: tuple[data.StructLayout, data.StructLayout], params: DotParams
    ) -> None:
        self.params = params
        super().__init__(
            {
                "a": In(elements[0]),
                "b": In(elements[1]),
                "bias": In(max(params.lane_bias_bits, 1)),
                "upper": Out(params.product_bits - 1),
                "negative": Out(1),
                "nonzero": Out(1),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.params
        log = (
            self.a.lam
            + self.b.lam
            + (self.bias[: p.lane_bias_bits] << (p.fraction_bits - p.lane_bias_bits))
        )
        total = Signal(len(log))
        significand = rom(
            m, "antilog", total[: p.fraction_bits], tables.antilog(p.fraction_bits, p.antilog_bits)
        )
        nans = [side.nan for side in (self.a, self.b) if "nan" in side.shape().members]
        nonzero = ~(self.a.zero | self.b.zero | self.nan)
        # Bits above the least one; a product of 0 has none before the shift either.
        upper = aligned(
            m,
            "aligned",
            significand & nonzero.replicate(len(significand)),
            total[p.fraction_bits :],
            p.product_bits - 1,
        )
        m.d.comb += [
            total.eq(log),
            self.nan.eq(Cat(*nans).any()),
            self.nonzero.eq(nonzero),
            self.negative.eq((self.a.negative ^ self.b.negative) & nonzero),
            self.upper.eq(upper ^ self.negative.replicate(len(upper))),
        ]
        return m


class SliceSum(wiring.Component):
    """Exact sum of ``lanes`` products.

    Combinational: latency 0.  One sum of unsigned numbers: the sign of a product is a bit
    above it that counts ``2^k`` unless negative, and a constant takes all of them off.

    Parameters
    ----------
    elements: layouts of decoded elements of a and b; params: bits kept; lanes: products;
    block: elements in a block, if its sum so far is one of the terms.

    Members
    -------
    a, b : In(lanes x elements); bias : In(lane_bias_bits) - see ``Product``
    kept : In(as o) - added, of blocks longer than a slice
    o : Out(signed(k + 1 + log2(lanes or block))); nan : Out(1)
    """

    latency = 0

    def __init__(
        self,
        elements: tuple[data.StructLayout, data.StructLayout],
        params: DotParams,
        lanes: int,
        block: int = 0,
    ) -> None:
        self.elements, self.params, self.lanes = elements, params, lanes
        self.keeps = block > lanes
        total = signed(params.sum_bits(max(block, lanes)))
        super().__init__(
            {
                "a": In(data.ArrayLayout(elements[0], lanes)),
                "b": In(data.ArrayLayout(elements[1], lanes)),
                "bias": In(max(params.lane_bias_bits, 1)),
                **({"kept": In(total)} if self.keeps else {}),
                "o": Out(total),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows, nans = [Cat(self.kept)] if self.keeps else [], []
        for lane in range(self.lanes):
            m.submodules[f"product_{lane}"] = product = Product(self.elements, self.params)
            m.d.comb += [
                product.a.eq(self.a[lane]),
                product.b.eq(self.b[lane]),
                product.bias.eq(self.bias),
            ]
            rows.append(Cat(product.nonzero, product.upper, ~product.negative))
            nans.append(product.nan)
        m.d.comb += [
            self.o.eq(heap_sum([*rows, -(self.lanes << self.params.product_bits)], len(self.o))),
            self.nan.eq(Cat(*nans).any()),
        ]
        return m
