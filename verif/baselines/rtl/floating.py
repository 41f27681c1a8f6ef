"""Products of small floating-point numbers, aligned to one fixed point."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.heap import heap_sum
from pal_units.rtl.shift import aligned
from verif.baselines.elements import FloatFormat

#: What happens to bits below the window: cut off, or the least kept bit becomes 1.
ROUNDINGS = ("truncate", "jam")


def float_layout(fmt: FloatFormat) -> data.StructLayout:
    """Decoded number: significand with its leading bit, exponent from 0, sign."""
    return data.StructLayout(
        {
            "significand": fmt.mantissa_bits + 1,
            "exponent": range(fmt.exponent_span + 1),
            "negative": 1,
        }
    )


class FloatDecoder(wiring.Component):
    """Fields of a floating-point code; subnormals have exponent 0.

    Combinational: latency 0.

    Members
    -------
    code : In(n); o : Out(float_layout); special : Out(1) - infinity, NaN
    """

    latency = 0

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        super().__init__({"code": In(fmt.bits), "o": Out(float_layout(fmt)), "special": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt, code = self.fmt, self.code
        exponent = code[fmt.mantissa_bits : -1]
        normal = exponent.any()
        m.d.comb += [
            self.o.significand.eq(Cat(code[: fmt.mantissa_bits], normal)),
            self.o.exponent.eq(exponent - normal),
            self.o.negative.eq(code[-1]),
        ]
        magnitudes = range(fmt.codes, 1 << (fmt.bits - 1))
        if magnitudes:
            # Special codes are the last ones: E4M3's 0x7F, E5M2's from 0x7C.
            fixed = len(magnitudes).bit_length() - 1
            m.d.comb += self.special.eq(code[fixed:-1].all())
        return m


class FloatProduct(wiring.Component):
    """Product of two decoded numbers as an aligned magnitude.

    Combinational: latency 0.  Significands multiply, exponents add and shift; of the
    magnitude ``kept`` bits below the format's largest product remain.

    Members
    -------
    a, b : In(float_layout); magnitude : Out(kept); negative : Out(1)
    """

    latency = 0

    def __init__(self, fmt: FloatFormat, kept: int) -> None:
        self.fmt, self.kept = fmt, kept
        element = float_layout(fmt)
        super().__init__(
            {"a": In(element), "b": In(element), "magnitude": Out(kept), "negative": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        product = Signal(2 * (fmt.mantissa_bits + 1))
        exponent = Signal(range(2 * fmt.exponent_span + 1))
        full = Signal(fmt.product_bits)
        m.d.comb += [
            product.eq(self.a.significand * self.b.significand),
            exponent.eq(self.a.exponent + self.b.exponent),
        ]
        # Below the window nothing is computed: a product at the top, shifted right.
        down = Signal.like(exponent)
        top = 2 * fmt.exponent_span
        m.d.comb += down.eq(~exponent if top == (1 << len(exponent)) - 1 else top - exponent)
        if self.kept >= fmt.product_bits:
            m.d.comb += [full.eq(product << exponent), self.magnitude.eq(full)]
        else:
            # A product wider than the window is cut after the shift.
            wide = max(self.kept, len(product))
            m.d.comb += self.magnitude.eq(
                aligned(m, "aligned", product, down, wide)[wide - self.kept :]
            )
        m.d.comb += self.negative.eq(self.a.negative ^ self.b.negative)
        return m


class FloatSlice(wiring.Component):
    """Sum of ``lanes`` products of floating-point numbers, exact or in a window.

    Combinational: latency 0.  A negative product inverts its magnitude and adds 1 in the
    same sum; with ``jam`` the least bit of a nonzero product is 1, which needs no addition,
    as in PAL's units.

    Parameters
    ----------
    fmt: format; lanes: products; window: bits of magnitude kept, all of them if None;
    rounding: one of ``ROUNDINGS``; decoded: take decoded numbers, none of them special, as in an
    array whose edges decode; kept: signed width of another term, 0 for none.

    Members
    -------
    a, b : In(lanes x n), or lanes x float_layout
    o : Out(signed(kept + 1 + log2(lanes))); nan : Out(1)
    """

    latency = 0

    def __init__(
        self,
        fmt: FloatFormat,
        lanes: int,
        window: int | None = None,
        rounding: str = "truncate",
        decoded: bool = False,
        kept: int = 0,
    ) -> None:
        if rounding not in ROUNDINGS:
            raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")
        self.fmt, self.lanes, self.rounding, self.decoded = fmt, lanes, rounding, decoded
        self.window = min(window or fmt.product_bits, fmt.product_bits)
        operands = data.ArrayLayout(float_layout(fmt) if decoded else fmt.bits, lanes)
        super().__init__(
            {
                "a": In(operands),
                "b": In(operands),
                "nan": Out(1),
                **({"kept": In(signed(kept))} if kept else {}),
                "o": Out(signed(max(self.window + 1 + (lanes - 1).bit_length(), kept))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows, specials = [], []
        if "kept" in self.signature.members:
            rows.append(Cat(self.kept))
        for lane in range(self.lanes):
            m.submodules[f"product_{lane}"] = product = FloatProduct(self.fmt, self.window)
            for name, operands, port in (("a", self.a, product.a), ("b", self.b, product.b)):
                if self.decoded:
                    m.d.comb += port.eq(operands[lane])
                    continue
                m.submodules[f"decode_{name}_{lane}"] = decode = FloatDecoder(self.fmt)
                m.d.comb += [decode.code.eq(operands[lane]), port.eq(decode.o)]
                specials.append(decode.special)
            negative, magnitude = product.negative, product.magnitude
            inverted = negative.replicate(self.window)
            if self.rounding == "jam":
                nonzero = (product.a.significand != 0) & (product.b.significand != 0)
                upper = Mux(nonzero, magnitude[1:] ^ inverted[1:], 0)
                rows.append(Cat(nonzero, upper, ~(negative & nonzero)))
            else:
                rows += [Cat(magnitude ^ inverted, ~negative), negative]
        m.d.comb += [
            self.o.eq(heap_sum([*rows, -(self.lanes << self.window)], len(self.o))),
            self.nan.eq(Cat(*specials).any()),
        ]
        return m
