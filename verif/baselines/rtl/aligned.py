"""Products of wide-range floating-point numbers, aligned to the largest of a slice."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.heap import heap_sum
from pal_units.rtl.shift import aligned
from verif.baselines.elements import FloatFormat


class AlignedSlice(wiring.Component):
    """Sum of ``lanes`` products below the largest exponent of the slice.

    Combinational: latency 0.  Each product shifts right by the distance of its exponent
    from the largest one; bits below the window are cut off the magnitude.  Subnormal
    operands count as zero, as usual for bfloat16.

    Parameters
    ----------
    fmt: format whose top exponent is infinity and NaN; lanes: products.
    window: bits of a product's magnitude, at least ``2 * (mantissa_bits + 1)``.

    Members
    -------
    a, b : In(lanes x n); o : Out(signed(window + 1 + log2(lanes))); nan : Out(1)
    exponent : Out(signed) - ``o`` counts in ``2^(exponent - window + 2)``
    """

    latency = 0

    def __init__(self, fmt: FloatFormat, lanes: int, window: int) -> None:
        if window < 2 * (fmt.mantissa_bits + 1):
            raise ValueError(f"window must hold a product, not {window} bits")
        self.fmt, self.lanes, self.window = fmt, lanes, window
        operands = data.ArrayLayout(fmt.bits, lanes)
        super().__init__(
            {
                "a": In(operands),
                "b": In(operands),
                "nan": Out(1),
                "exponent": Out(signed(fmt.exponent_bits + 2)),
                "o": Out(signed(window + 1 + (lanes - 1).bit_length())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        products, exponents, negatives, specials = [], [], [], []
        for lane in range(self.lanes):
            significands, fields = [], []
            for code in (self.a[lane], self.b[lane]):
                exponent = code[fmt.mantissa_bits : -1]
                significands.append(Cat(code[: fmt.mantissa_bits], 1))
                fields.append(exponent)
                specials.append(exponent.all())
            product = Signal(2 * (fmt.mantissa_bits + 1), name=f"product_{lane}")
            total = Signal(fmt.exponent_bits + 1, name=f"exponent_{lane}")
            live = fields[0].any() & fields[1].any()
            m.d.comb += [
                product.eq(Mux(live, significands[0] * significands[1], 0)),
                total.eq(Mux(live, fields[0] + fields[1], 0)),
            ]
            products.append(product)
            exponents.append(total)
            negatives.append(self.a[lane][-1] ^ self.b[lane][-1])
        largest = _maximum(m, exponents)
        rows: list[Value] = []
        for lane, (product, exponent, negative) in enumerate(
            zip(products, exponents, negatives, strict=True)
        ):
            distance = Signal(fmt.exponent_bits + 1, name=f"distance_{lane}")
            m.d.comb += distance.eq(largest - exponent)
            magnitude = aligned(m, f"aligned_{lane}", product, distance, self.window)
            rows += [Cat(magnitude ^ negative.replicate(self.window), ~negative), negative]
        m.d.comb += [
            self.o.eq(heap_sum([*rows, -(self.lanes << self.window)], len(self.o))),
            self.exponent.eq(largest - 2 * fmt.bias),
            self.nan.eq(Cat(*specials).any()),
        ]
        return m


def _maximum(m: Module, values: list[Signal]) -> Signal:
    level = 0
    while len(values) > 1:
        pairs = []
        for i in range(0, len(values), 2):
            if i + 1 == len(values):
                pairs.append(values[i])
                continue
            larger = Signal.like(values[i], name=f"maximum_{level}_{i}")
            m.d.comb += larger.eq(Mux(values[i] > values[i + 1], values[i], values[i + 1]))
            pairs.append(larger)
        values, level = pairs, level + 1
    return values[0]
