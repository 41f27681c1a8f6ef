"""Encoders: log distance below the block's top to the nearest code."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.formats import Format
from pal_units.rtl.decoder import refuse_adaptive


class MagnitudeEncoder(wiring.Component):
    """Nearest magnitude ``m`` (in the linear domain) for a log distance ``lam``.

    Combinational: latency 0.  Levels are equally spaced in the log within a zone (two
    octaves for T, everything for U), so rounding is one constant added per zone, then a
    fixed shift.  Half of the least level and less gives 0.

    Parameters
    ----------
    fmt: format of the result.
    fraction_bits: fraction bits of ``lam``, at least ``fmt.fraction_bits``.
    lam_bits: width of ``lam``.

    Raises
    ------
    ValueError: fewer fraction bits than the format's.

    Members
    -------
    lam : In(lam_bits) - distance below the top in units of ``2^-fraction_bits`` octave.
    magnitude : Out(n - 1)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(MagnitudeEncoder(PAL8T, 10, 16), lam=1024)  # an octave below the top
    {'magnitude': 95}
    """

    latency = 0

    def __init__(self, fmt: Format, fraction_bits: int, lam_bits: int) -> None:
        refuse_adaptive(fmt)
        if fraction_bits < fmt.fraction_bits:
            raise ValueError(
                f"{fmt.name} needs fraction_bits >= {fmt.fraction_bits}, not {fraction_bits}"
            )
        self.fmt, self.fraction_bits = fmt, fraction_bits
        super().__init__({"lam": In(lam_bits), "magnitude": Out(fmt.magnitude_bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt, octave = self.fmt, 1 << self.fraction_bits
        unit_bits = self.fraction_bits - fmt.fraction_bits

        def rounded(zone_shift: int, top: int, distance: object) -> object:
            shift = unit_bits + zone_shift
            step = 1 << shift
            return top - ((distance + (step - tables.round_up_from(step, octave))) >> shift)

        least = fmt.lambda_max << unit_bits
        if fmt.profile == "U":
            nearest = rounded(0, fmt.m_max, self.lam)
        else:
            zone_bits = fmt.n - 2 + unit_bits
            zone = self.lam >> zone_bits
            within = self.lam[:zone_bits]
            nearest = 1
            for k in reversed(range(fmt.magnitude_bits - 1)):
                top = (1 << (fmt.magnitude_bits - k)) - 1
                nearest = Mux(zone == k, rounded(k, top, within), nearest)
        m.d.comb += self.magnitude.eq(
            Mux(self.lam >= least + octave, 0, Mux(self.lam >= least, 1, nearest))
        )
        return m


def result_layout(lam_bits: int) -> data.StructLayout:
    """Result of an operation: signed log distance below the top, and its class."""
    return data.StructLayout({"lam": signed(lam_bits), "negative": 1, "zero": 1, "nan": 1})


class ElementEncoder(wiring.Component):
    """Code of a result: saturates above the top, otherwise the nearest code.

    Combinational: latency 0.  NaN goes before zero, zero before ``lam``; a format without
    NaN gives zero instead.  There is no negative zero.

    Parameters
    ----------
    fmt: format of the code.
    fraction_bits: fraction bits of ``lam``, at least ``fmt.fraction_bits``.
    lam_bits: signed width of ``lam``.

    Members
    -------
    i : In(result_layout(lam_bits)); o : Out(n)

    ``saturates``, a signal for who counts: the nearest code of an endless scale lies above the top.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(ElementEncoder(PAL8T, 10, 17), i={"lam": 1024, "negative": 1})
    {'o': 223}
    """

    latency = 0

    def __init__(self, fmt: Format, fraction_bits: int, lam_bits: int) -> None:
        refuse_adaptive(fmt)
        self.fmt, self.fraction_bits = fmt, fraction_bits
        super().__init__({"i": In(result_layout(lam_bits)), "o": Out(fmt.n)})
        self.saturates = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt, i = self.fmt, self.i
        m.submodules.magnitude = encode = MagnitudeEncoder(fmt, self.fraction_bits, len(i.lam) - 1)
        magnitude = Signal(fmt.magnitude_bits)
        octave, step = 1 << self.fraction_bits, 1 << (self.fraction_bits - fmt.fraction_bits)
        m.d.comb += [
            self.saturates.eq(
                (i.lam < tables.round_up_from(step, octave) - step) & ~i.zero & ~i.nan
            ),
            encode.lam.eq(Mux(i.lam < 0, 0, i.lam)),
            magnitude.eq(Mux(i.zero | i.nan, 0, encode.magnitude)),
            self.o.eq(Cat(magnitude, Mux(i.nan, int(fmt.has_nan), i.negative & magnitude.any()))),
        ]
        return m
