"""Block dot product: log adders, antilog tables, one exact integer sum, one block scale."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK, DotParams
from pal_units.rtl.rom import rom


class Product(wiring.Component):
    """Signed integer product of two decoded elements.

    Combinational: latency 0.  The table holds the significand for each fraction of
    ``lam_a + lam_b``, doubled where the fraction is 0, so that the shift is the plain
    integer part: no negation and no carry between table and shifter.  The magnitude is
    truncated toward zero.

    Members
    -------
    a, b : In(element); o : Out(signed(k + 1)); nan : Out(1)
    """

    latency = 0

    def __init__(self, element: data.StructLayout, params: DotParams) -> None:
        self.params = params
        super().__init__({"a": In(element), "b": In(element),
                          "o": Out(signed(params.product_bits + 1)), "nan": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.params
        one = 1 << p.antilog_bits
        entries = one + tables.antilog(p.fraction_bits, p.antilog_bits)
        significands = [2 * one, *reversed(entries[1:])]
        total = Signal(len(self.a.lam) + 1)
        significand = rom(m, "antilog", total[:p.fraction_bits], significands)
        magnitude = Signal(p.product_bits)
        m.d.comb += [
            total.eq(self.a.lam + self.b.lam),
            magnitude.eq((significand << (p.product_bits - 2 - p.antilog_bits))
                         >> total[p.fraction_bits:]),
            self.nan.eq(self.a.nan | self.b.nan),
        ]
        dead = self.a.zero | self.b.zero | self.nan
        negative = self.a.negative ^ self.b.negative
        m.d.comb += self.o.eq(Mux(dead, 0, Mux(negative, -magnitude, magnitude)))
        return m


class DotColumn(wiring.Component):
    """Accumulate dot products of decoded elements, ``lanes`` a cycle.

    ::

        elements -> products | sum, block sum | block scale | accumulator -> result
                    cycle 1        cycle 2       cycle 3        cycle 4

    Latency 4 cycles from the last elements to ``result``; throughput one slice of
    ``lanes`` elements a cycle, back to back.  A slice with ``block_last`` closes a block
    and adds it, scaled by ``2^((beta_a + beta_b)/8)``, to the accumulator; a slice with
    ``last`` (and ``block_last``) also hands the accumulator to ``result`` and the next
    one starts from 0.  ``result`` holds until the next hand-over: the second accumulator
    set, so that draining overlaps accumulation.  Arithmetic is that of ``model.dot``.

    Parameters
    ----------
    element: layout of decoded elements; params: bits kept; lanes: products a cycle;
    block: elements in a block, which sizes the block sum.

    Members
    -------
    a, b : In(lanes x element); beta_a, beta_b : In(signed(8)), used with ``block_last``
    mac, block_last, last : In(1) - control of this cycle's slice
    result : Out(signed(accumulator_bits)); nan : Out(1)
    """

    latency = 4

    def __init__(self, element: data.StructLayout, params: DotParams, lanes: int, block: int
                 ) -> None:
        self.element, self.params, self.lanes, self.block = element, params, lanes, block
        super().__init__({
            "a": In(data.ArrayLayout(element, lanes)),
            "b": In(data.ArrayLayout(element, lanes)),
            "beta_a": In(signed(8)),
            "beta_b": In(signed(8)),
            "mac": In(1),
            "block_last": In(1),
            "last": In(1),
            "result": Out(signed(params.accumulator_bits)),
            "nan": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.params

        # Cycle 1: products.
        products, nans = [], []
        for lane in range(self.lanes):
            m.submodules[f"product_{lane}"] = unit = Product(self.element, p)
            product = Signal(signed(p.product_bits + 1), name=f"product_{lane}")
            m.d.comb += [unit.a.eq(self.a[lane]), unit.b.eq(self.b[lane])]
            m.d.sync += product.eq(unit.o)
            products.append(product)
            nans.append(unit.nan)
        nan_1 = Signal()
        mac_1, block_last_1, last_1 = Signal(), Signal(), Signal()
        bias_1 = Signal(signed(9))
        zero_1 = Signal()
        bias = Signal(signed(9))
        m.d.comb += bias.eq(self.beta_a + self.beta_b)
        m.d.sync += [
            mac_1.eq(self.mac),
            block_last_1.eq(self.mac & self.block_last),
            last_1.eq(self.mac & self.block_last & self.last),
            nan_1.eq(Cat(*nans).any()),
            zero_1.eq((self.beta_a == ZERO_BLOCK) | (self.beta_b == ZERO_BLOCK)),
            bias_1.eq(Mux(bias > 0, 0, bias)),
        ]

        # Cycle 2: the exact sum of the block.
        sum_bits = p.sum_bits(self.block)
        partial = Signal(signed(sum_bits))
        partial_nan = Signal()
        total = Signal(signed(sum_bits))
        total_nan = Signal()
        block_2, block_nan_2, close_2, last_2 = (
            Signal(signed(sum_bits)), Signal(), Signal(), Signal())
        bias_2 = Signal(signed(9))
        m.d.comb += [
            total.eq(_tree_sum(products) + partial),
            total_nan.eq(nan_1 | partial_nan),
        ]
        with m.If(mac_1):
            m.d.sync += [
                partial.eq(Mux(block_last_1, 0, total)),
                partial_nan.eq(Mux(block_last_1, 0, total_nan)),
            ]
        m.d.sync += [
            block_2.eq(Mux(zero_1, 0, total)),
            block_nan_2.eq(~zero_1 & total_nan),
            bias_2.eq(bias_1),
            close_2.eq(block_last_1),
            last_2.eq(last_1),
        ]

        # Cycle 3: the block scale, bias = 8 * octaves + eighths.
        scale = rom(m, "block_scale", bias_2[:3], tables.block_scale(p.scale_bits, p.gain))
        assert BIAS_PER_OCTAVE == 8
        term_3 = Signal(signed(sum_bits + p.scale_bits + 1))
        nan_3, close_3, last_3 = Signal(), Signal(), Signal()
        octaves_down = Signal(6)
        m.d.comb += octaves_down.eq(-(bias_2 >> 3))
        m.d.sync += [
            term_3.eq((block_2 * scale) >> octaves_down),
            nan_3.eq(block_nan_2),
            close_3.eq(close_2),
            last_3.eq(last_2),
        ]

        # Cycle 4: the accumulator and, after the last block, the result.
        accumulator = Signal(signed(p.accumulator_bits))
        accumulator_nan = Signal()
        with m.If(close_3):
            m.d.sync += [
                accumulator.eq(Mux(last_3, 0, accumulator + term_3)),
                accumulator_nan.eq(Mux(last_3, 0, accumulator_nan | nan_3)),
            ]
        with m.If(last_3):
            m.d.sync += [
                self.result.eq(accumulator + term_3),
                self.nan.eq(accumulator_nan | nan_3),
            ]
        return m


def _tree_sum(terms: list[Signal]) -> object:
    """Balanced sum, so that the adder depth is logarithmic."""
    while len(terms) > 1:
        terms = [sum(terms[i:i + 2][1:], terms[i]) for i in range(0, len(terms), 2)]
    return terms[0]
