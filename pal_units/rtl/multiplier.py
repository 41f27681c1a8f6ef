"""Elementwise multiplier: an adder of logs between a decoder and an encoder."""

from amaranth.hdl import Const, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import DotParams, Format
from pal_units.rtl.decoder import ElementDecoder
from pal_units.rtl.encoder import MagnitudeEncoder


class Multiplier(wiring.Component):
    """``o = a * b`` of element codes; the block biases add outside.

    Combinational: latency 0.  The log of the product is exact; it is rounded once, to
    the nearest code.  NaN if either operand is NaN; no negative zero.

    Members
    -------
    a, b : In(n); o : Out(n)
    """

    latency = 0

    def __init__(self, fmt: Format) -> None:
        self.fmt = fmt
        super().__init__({"a": In(fmt.n), "b": In(fmt.n), "o": Out(fmt.n)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        exact = DotParams(fmt.fraction_bits, antilog_bits=1)
        m.submodules.decode_a = a = ElementDecoder((fmt,), exact)
        m.submodules.decode_b = b = ElementDecoder((fmt,), exact)
        m.submodules.encode = encode = MagnitudeEncoder(fmt, fmt.fraction_bits,
                                                        fmt.lambda_bits + 1)
        zero = a.o.zero | b.o.zero
        negative = (a.o.negative ^ b.o.negative) & (encode.magnitude != 0)
        product = encode.magnitude | (negative << fmt.magnitude_bits)
        m.d.comb += [
            a.code.eq(self.a),
            b.code.eq(self.b),
            encode.lam.eq(a.o.lam + b.o.lam),
            self.o.eq(Mux(a.o.nan | b.o.nan, Const(fmt.sign_bit), Mux(zero, 0, product))),
        ]
        return m
