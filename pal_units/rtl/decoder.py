"""Element decoder: code to sign and log distance below the block's top."""

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import DotParams, Format


def element_layout(formats: tuple[Format, ...], params: DotParams) -> data.StructLayout:
    """Decoded element: ``lam`` in units of ``2^-F`` octave of ``params``, and its class."""
    bits = max((f.lambda_max << (params.fraction_bits - f.fraction_bits)).bit_length()
               for f in formats)
    return data.StructLayout({"lam": bits, "negative": 1, "zero": 1, "nan": 1})


def decode_lambda(m: Module, magnitude: Value, fmt: Format, name: str) -> Value:
    """``lambda`` of a nonzero magnitude in units of ``2^-fmt.fraction_bits`` octave.

    U: invert.  T: leading-zero count ``k``, then the inverted magnitude shifted left by
    ``k``; the two parts do not overlap, so no adder is needed.
    """
    if fmt.profile == "U":
        return ~magnitude
    bits = fmt.magnitude_bits
    shifted = Value.cast(0)
    for k in reversed(range(bits)):
        part = Cat((~magnitude << k)[:bits - 1], Const(k, bits.bit_length()))
        shifted = Mux(magnitude[bits - 1 - k], part, shifted)
    return shifted[:fmt.lambda_bits]


class ElementDecoder(wiring.Component):
    """Decode one element code of any of ``formats``, chosen at run time.

    Combinational: latency 0.  A code of zero gives ``zero``, the NaN code ``nan`` (and
    then ``lam`` is meaningless).  With one format there is nothing to select and
    ``select`` is ignored.

    Parameters
    ----------
    formats: formats of the same ``n``; ``select`` is an index into them.
    params: gives the unit of ``lam``; at least as fine as every format's.

    Members
    -------
    code : In(n); select : In; o : Out(element_layout)

    Raises
    ------
    ValueError: no formats, formats of different ``n``, or of finer logs than ``params``.
    """

    latency = 0

    def __init__(self, formats: tuple[Format, ...], params: DotParams) -> None:
        if len({f.n for f in formats}) != 1:
            raise ValueError("formats must be one or more of the same n, "
                             f"not {[f.name for f in formats]}")
        for f in formats:
            if f.fraction_bits > params.fraction_bits:
                raise ValueError(f"{f.name} needs fraction_bits >= {f.fraction_bits}, "
                                 f"not {params.fraction_bits}")
        self.formats, self.params = formats, params
        super().__init__({
            "code": In(formats[0].n),
            "select": In(range(max(len(formats), 2))),
            "o": Out(element_layout(formats, params)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        magnitude, sign = self.code[:-1], self.code[-1]
        m.d.comb += [
            self.o.negative.eq(sign),
            self.o.zero.eq(self.code == 0),
            self.o.nan.eq(sign & (magnitude == 0)),
        ]
        with m.Switch(self.select):
            for i, f in enumerate(self.formats):
                with m.Case(i) if i + 1 < len(self.formats) else m.Default():
                    lam = decode_lambda(m, magnitude, f, f.name)
                    m.d.comb += self.o.lam.eq(lam << (self.params.fraction_bits - f.fraction_bits))
        return m
