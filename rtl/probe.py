"""A small circuit that shows at once whether a cell library can be mapped to."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.liberty import Library, LibraryError
from rtl.synthesis import UnmappedCells, synthesise
from rtl.yosys import YosysError


class Probe(wiring.Component):
    """``o`` follows the sum of two numbers one cycle later."""

    a: In(2)
    b: In(2)
    o: Out(3)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(3, reset_less=True)
        m.d.sync += total.eq(self.a + self.b)
        m.d.comb += self.o.eq(total)
        return m


def check(library: Library, origin: str) -> None:
    """Raise ``LibraryError`` if the tools cannot use a library; ``origin`` names its file."""
    try:
        synthesise(Probe(), library, recipes=1)
    except (YosysError, UnmappedCells) as error:
        raise LibraryError(f"{origin}: nothing can be mapped to its cells: {error}") from None
