"""Narrow codes as codes of more bits: exact, and nothing but wires."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import PAL8T, PAL8U, Format, widening


def wide_format(fmt: Format) -> Format:
    """What codes of a format are widened to."""
    return PAL8U if fmt.profile == "U" else PAL8T


class Widener(wiring.Component):
    """Codes of any of several formats as codes of 8 bits with the same value.

    Combinational: latency 0.  NaN stays NaN, both zeros of a format without become 0.

    Parameters
    ----------
    formats: formats of at most 8 bits; ``select`` is an index into them.

    Members
    -------
    i : In(8) - the code in its lowest bits; select : In
    o : Out(8); uniform : Out(1) - the code is of PAL8U, otherwise of PAL8T

    Raises
    ------
    ValueError: a format whose codes are not codes of PAL8T or PAL8U.

    Example
    -------
    >>> from pal_units.formats import PAL4T, PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> done = evaluate(Widener((PAL8T, PAL4T)), i=6, select=1)
    >>> done, PAL4T.levels[6] == PAL8T.levels[done["o"]]
    ({'o': 111, 'uniform': 0}, np.True_)
    """

    latency = 0

    def __init__(self, formats: Sequence[Format]) -> None:
        self.formats = tuple(formats)
        self.targets = [wide_format(f) for f in formats]
        self.widenings = [widening(f, t) for f, t in zip(formats, self.targets, strict=True)]
        super().__init__(
            {"i": In(8), "select": In(range(max(len(formats), 2))), "o": Out(8), "uniform": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with m.Switch(self.select):
            for i, f in enumerate(self.formats):
                with m.Case(i) if i + 1 < len(self.formats) else m.Default():
                    m.d.comb += [
                        self.o.eq(self._widened(i)),
                        self.uniform.eq(int(f.profile == "U")),
                    ]
        return m

    def _widened(self, index: int) -> Value:
        f, target = self.formats[index], self.targets[index]
        shift, fill = self.widenings[index]
        magnitude, sign = self.i[: f.n - 1], self.i[f.n - 1]
        wide = Cat(Const(0, shift), magnitude)[: target.n - 1] | fill
        if not f.has_nan:
            sign = sign & magnitude.any()
        return Cat(Mux(magnitude.any(), wide, 0)[: target.n - 1], sign)
