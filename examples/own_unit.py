"""A unit for `spu area --unit`: sums of 16 products of 8-bit integers, one of them a tensor's."""

from amaranth.hdl import Module, Mux, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from verif.area.user import UserUnit

NUMBERS = data.ArrayLayout(signed(8), 16)


class PlainDot(wiring.Component):
    a: In(NUMBERS)
    b: In(NUMBERS)
    first: In(1)
    result: Out(signed(26))

    def elaborate(self, platform):
        m = Module()
        total = Mux(self.first, 0, self.result)
        for x, y in zip(self.a, self.b, strict=True):
            total = (total + x * y)[:26].as_signed()
        m.d.sync += self.result.eq(total)
        return m


def dots(a, b):
    """Dot products of rows of numbers as the unit computes them, each side under one scale."""
    scale_a, scale_b = abs(a).max() / 127, abs(b).max() / 127
    return (a / scale_a).round() @ (b / scale_b).round().T * scale_a * scale_b


unit = UserUnit("plain INT8", macs=16, bits=8, component=PlainDot(), dots=dots)
