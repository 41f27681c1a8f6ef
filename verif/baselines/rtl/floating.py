"""Products of small floating-point numbers, aligned to one fixed point."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.heap import heap_sum
from pal_units.rtl.shift import aligned
from verif.baselines.elements import FloatFormat

#: What happens to bits below the window: cut off, or the least kept bit becomes 1.
ROUNDINGS = ("truncate", "jam")


class FloatProduct(wiring.Component):
    """Product of two floating-point codes as an aligned magnitude.

    Combinational: latency 0.  Significands multiply, exponents add and shift; of the
    magnitude ``kept`` bits below the format's largest product remain.

    Members
    -------
    a, b : In(n); magnitude : Out(kept); negative : Out(1); special : Out(1) - infinity, NaN
    """

    latency = 0

    def __init__(self, fmt: FloatFormat, kept: int) -> None:
        self.fmt, self.kept = fmt, kept
        super().__init__(
            {
                "a": In(fmt.bits),
                "b": In(fmt.bits),
                "magnitude": Out(kept),
                "negative": Out(1),
                "special": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        (mantissa_a, exponent_a), (mantissa_b, exponent_b) = (
            self._fields(m, code, name) for code, name in ((self.a, "a"), (self.b, "b"))
        )
        product = Signal(2 * (fmt.mantissa_bits + 1))
        exponent = Signal(range(2 * fmt.exponent_span + 1))
        full = Signal(fmt.product_bits)
        m.d.comb += [product.eq(mantissa_a * mantissa_b), exponent.eq(exponent_a + exponent_b)]
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
        m.d.comb += [
            self.negative.eq(self.a[-1] ^ self.b[-1]),
            self.special.eq(self._special(self.a) | self._special(self.b)),
        ]
        return m

    def _fields(self, m: Module, code: Value, name: str) -> tuple[Value, Value]:
        """Significand with its leading bit, and exponent from 0; subnormals have exponent 0."""
        fmt = self.fmt
        exponent = code[fmt.mantissa_bits : -1]
        normal = exponent.any()
        significand = Signal(fmt.mantissa_bits + 1, name=f"significand_{name}")
        above = Signal(range(fmt.exponent_span + 1), name=f"exponent_{name}")
        m.d.comb += [
            significand.eq(Cat(code[: fmt.mantissa_bits], normal)),
            above.eq(exponent - normal),
        ]
        return significand, above

    def _special(self, code: Value) -> Value:
        magnitudes = range(self.fmt.codes, 1 << (self.fmt.bits - 1))
        if not magnitudes:
            return Value.cast(0)
        # Special codes are the last ones: E4M3's 0x7F, E5M2's from 0x7C.
        fixed = len(magnitudes).bit_length() - 1
        return code[fixed:-1].all()


class FloatSlice(wiring.Component):
    """Sum of ``lanes`` products of floating-point codes, exact or in a window.

    Combinational: latency 0.  A negative product inverts its magnitude and adds 1 in the
    same sum; with ``jam`` the least bit of a nonzero product is 1, which needs no addition,
    as in PAL's units.

    Parameters
    ----------
    fmt: format; lanes: products; window: bits of magnitude kept, all of them if None;
    rounding: one of ``ROUNDINGS``.

    Members
    -------
    a, b : In(lanes x n); o : Out(signed(kept + 1 + log2(lanes))); nan : Out(1)
    """

    latency = 0

    def __init__(
        self, fmt: FloatFormat, lanes: int, window: int | None = None, rounding: str = "truncate"
    ) -> None:
        if rounding not in ROUNDINGS:
            raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")
        self.fmt, self.lanes, self.rounding = fmt, lanes, rounding
        self.kept = min(window or fmt.product_bits, fmt.product_bits)
        operands = data.ArrayLayout(fmt.bits, lanes)
        super().__init__(
            {
                "a": In(operands),
                "b": In(operands),
                "nan": Out(1),
                "o": Out(signed(self.kept + 1 + (lanes - 1).bit_length())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows, specials = [], []
        for lane in range(self.lanes):
            m.submodules[f"product_{lane}"] = product = FloatProduct(self.fmt, self.kept)
            m.d.comb += [product.a.eq(self.a[lane]), product.b.eq(self.b[lane])]
            negative, magnitude = product.negative, product.magnitude
            inverted = negative.replicate(self.kept)
            if self.rounding == "jam":
                nonzero = self.a[lane][:-1].any() & self.b[lane][:-1].any()
                upper = Mux(nonzero, magnitude[1:] ^ inverted[1:], 0)
                rows.append(Cat(nonzero, upper, ~(negative & nonzero)))
            else:
                rows += [Cat(magnitude ^ inverted, ~negative), negative]
            specials.append(product.special)
        m.d.comb += [
            self.o.eq(heap_sum([*rows, -(self.lanes << self.kept)], len(self.o))),
            self.nan.eq(Cat(*specials).any()),
        ]
        return m
