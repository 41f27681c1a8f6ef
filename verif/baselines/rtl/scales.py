"""Block scales finer than octaves: a multiplier for a slice's sum, and what drives it."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import BIAS_PER_OCTAVE
from pal_units.rtl.block_accumulator import OCTAVE_BITS
from pal_units.rtl.heap import heap_sum
from verif.baselines.elements import FP8_E4M3
from verif.baselines.pairs import check_scale, eighth_significands
from verif.baselines.rtl.integer import booth_rows

#: Bits that a sum has above a significand, so that no dropped column makes it overflow.
SUM_ABOVE = 4
OCTAVES_MOST = (1 << OCTAVE_BITS) - 1


class FineScale(wiring.Component):
    """A slice's sum times an unsigned significand.

    Combinational: latency 0.  Booth rows of the significand in one sum, of which the lowest
    columns can be left out; the product is then in units of ``2^dropped``, and gets a constant
    for the mean of what they held.

    Parameters
    ----------
    sum_bits: signed width of the sum, at least ``significand_bits + 4``.
    significand_bits: 3 to 10; dropped: columns left out; compensation: 0 to the rows, of which
    there are ``significand_bits // 2 + 1``.

    Members
    -------
    sum : In(signed(sum_bits)); significand : In(significand_bits)
    o : Out(signed(sum_bits + significand_bits - dropped))

    Raises
    ------
    ValueError: a parameter out of range.
    """

    latency = 0

    def __init__(
        self, sum_bits: int, significand_bits: int, dropped: int = 0, compensation: int = 0
    ) -> None:
        check_scale(significand_bits, dropped, compensation)
        if sum_bits < significand_bits + SUM_ABOVE:
            raise ValueError(
                f"sum_bits must be {significand_bits + SUM_ABOVE} or more, not {sum_bits}"
            )
        self.dropped, self.compensation = dropped, compensation
        super().__init__(
            {
                "sum": In(signed(sum_bits)),
                "significand": In(significand_bits),
                "o": Out(signed(sum_bits + significand_bits - dropped)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows, constant = booth_rows(self.sum, Cat(self.significand, Const(0, 1)), self.dropped)
        m.d.comb += self.o.eq(heap_sum([*rows, constant + self.compensation], len(self.o)))
        return m


class EighthScale(wiring.Component):
    """Two block biases as the significand and the octaves of their pair.

    Combinational: latency 0.  The significand is ``2^(g / 8)``, rounded to nearest, its leading
    bit always 1; octaves are rounded away from the top.  A sum of biases above 0 counts as 0;
    of one below -248 the octaves stay 31.

    Parameters
    ----------
    significand_bits: 3 to 10.

    Members
    -------
    beta_a, beta_b : In(signed(8)) - in 1/8 octave
    significand : Out(significand_bits); octaves : Out(5) - that the sum goes down

    Raises ``ValueError`` for other ``significand_bits``.
    """

    latency = 0

    def __init__(self, significand_bits: int) -> None:
        self.table = eighth_significands(significand_bits)
        super().__init__(
            {
                "beta_a": In(signed(8)),
                "beta_b": In(signed(8)),
                "significand": Out(significand_bits),
                "octaves": Out(OCTAVE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total, up = Signal(signed(9)), Signal(signed(9))
        octave_at = BIAS_PER_OCTAVE.bit_length() - 1
        octaves = Signal(OCTAVE_BITS + 1)
        m.d.comb += [
            total.eq(self.beta_a + self.beta_b),
            up.eq(Mux(total < 0, total, 0)),
            octaves.eq(-(up >> octave_at)),
            self.octaves.eq(Mux(octaves[-1], OCTAVES_MOST, octaves)),
            self.significand.eq(Array(self.table)[up[:octave_at]]),
        ]
        return m


class E4M3Scale(wiring.Component):
    """Two E4M3 block scales as the significand and the octaves of their pair.

    Combinational: latency 0.  Exact: subnormal scales have no leading bit and the exponent of
    the least normal ones, and 0 is one of them.

    Members
    -------
    scale_a, scale_b : In(7) - codes without a sign
    significand : Out(8) - in units of 2^-6, below 64 with a subnormal scale only
    octaves : Out(5) - down from a pair of scales of 2^8; nan : Out(1) - a scale is NaN
    """

    latency = 0

    def __init__(self) -> None:
        bits = FP8_E4M3.bits - 1
        super().__init__(
            {
                "scale_a": In(bits),
                "scale_b": In(bits),
                "significand": Out(2 * (FP8_E4M3.mantissa_bits + 1)),
                "octaves": Out(OCTAVE_BITS),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        significands, down = [], []
        for side, code in (("a", self.scale_a), ("b", self.scale_b)):
            exponent = code[FP8_E4M3.mantissa_bits :]
            significand = Signal(FP8_E4M3.mantissa_bits + 1, name=f"significand_{side}")
            below = Signal(FP8_E4M3.exponent_bits, name=f"below_{side}")
            m.d.comb += [
                significand.eq(Cat(code[: FP8_E4M3.mantissa_bits], exponent.any())),
                # 15 - e is ~e; of a subnormal scale 14, not 15.
                below.eq(Cat(~exponent[0] & exponent.any(), ~exponent[1:])),
            ]
            significands.append(significand)
            down.append(below)
        m.d.comb += [
            self.significand.eq(significands[0] * significands[1]),
            self.octaves.eq(down[0] + down[1]),
            self.nan.eq(self.scale_a.all() | self.scale_b.all()),
        ]
        return m
