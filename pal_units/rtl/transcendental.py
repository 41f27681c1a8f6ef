"""``2^x`` and ``log2 x`` of element codes."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data

from pal_units import tables
from pal_units.formats import PAL16, Format
from pal_units.rtl.elementwise import ElementwiseUnit
from pal_units.rtl.log import UNITS_PER_BIAS, IntegerLog
from pal_units.rtl.pipeline import Pipeline
from pal_units.rtl.rom import rom

#: Width of bias inputs, in 1/8 octave: up to 64 octaves either way.
BIAS_BITS = 10


class _BiasedUnit(ElementwiseUnit):
    """Base of the functions whose argument needs its bias."""

    def __init__(self, fmt: Format, stages: int = 0) -> None:
        super().__init__(fmt, stages, {"bias": signed(BIAS_BITS), "result_bias": signed(BIAS_BITS)})

    @property
    def decoded_fraction_bits(self) -> int:
        return tables.argument_bits(self.fmt)

    def argument(self, m: Module, a: data.View, bias: Value) -> Signal:
        """Log of the argument in units of ``2^-decoded_fraction_bits`` octave."""
        log = Signal(signed(BIAS_BITS + self.decoded_fraction_bits + 1))
        m.d.comb += log.eq(
            (bias << (self.decoded_fraction_bits - tables.BIAS_FRACTION_BITS)) - a.lam
        )
        return log


class Exponential(_BiasedUnit):
    """``o = 2^x`` with ``x = value(a) * 2^(bias/8)``, below the top ``2^(result_bias/8)``.

    The fixed-point value of ``x`` is the log of the result: one antilog table, one shift.
    Faithful: under one unit of the log (of the spacing there, in profile T).  Saturates;
    NaN stays.  Latency ``stages`` (0 to 3), throughput one a cycle.

    Members
    -------
    a : In(n); bias, result_bias : In(signed(10)), 1/8 octave; o : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Exponential(PAL8T), a=95 | 128, bias=8)  # 2^-1: -1/2 under a bias of 2
    {'o': 95}
    """

    @property
    def result_fraction_bits(self) -> int:
        return self.fmt.fraction_bits + tables.EXP_GUARD_BITS

    @property
    def lam_bits(self) -> int:
        return self.result_fraction_bits + tables.EXP_INTEGER_BITS + 2

    def operate(
        self, m: Module, pipe: Pipeline, a: data.View, bias: Value, result_bias: Value
    ) -> dict[str, Value]:
        bits, integer = self.decoded_fraction_bits, tables.EXP_INTEGER_BITS
        log = self.argument(m, a, bias)
        entry = rom(m, "antilog", log[:bits], tables.exp_antilog(self.fmt.fraction_bits, bits))
        octave = Signal(signed(len(log) - bits))
        magnitude = Signal(len(entry))
        # One bit more than needed, so that the last one rounds.
        m.d.comb += [
            octave.eq(log >> bits),
            magnitude.eq((((entry << 1) >> (integer - 1 - octave).as_unsigned()) + 1) >> 1),
        ]
        top = result_bias << (self.result_fraction_bits - tables.BIAS_FRACTION_BITS)
        distance = Mux(a.zero, top, Mux(a.negative, top + magnitude, top - magnitude))
        limit = (1 << (self.lam_bits - 1)) - 1
        huge = (octave >= integer) & ~a.zero
        return {
            "lam": Mux(huge, Mux(a.negative, limit, -limit), distance),
            "negative": 0,
            "zero": 0,
            "nan": a.nan,
        }


class Logarithm(_BiasedUnit):
    """``o = log2 x`` with ``x = value(a) * 2^(bias/8)``, below the top ``2^(result_bias/8)``.

    The log code is the fixed-point value of the result; its own log is taken from a
    bipartite table.  Faithful: under one unit of the log (of the spacing there, in
    profile T).  Of 0 the negative top, of a negative number NaN.  Latency ``stages``
    (0 to 3), throughput one a cycle.

    Members
    -------
    a : In(n); bias, result_bias : In(signed(10)), 1/8 octave; o : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Logarithm(PAL8T), a=95, result_bias=8)  # -1 below a top of 2
    {'o': 223}
    """

    @property
    def result_fraction_bits(self) -> int:
        return PAL16.fraction_bits

    @property
    def lam_bits(self) -> int:
        return self.result_fraction_bits + BIAS_BITS

    def operate(
        self, m: Module, pipe: Pipeline, a: data.View, bias: Value, result_bias: Value
    ) -> dict[str, Value]:
        fraction, bits = PAL16.fraction_bits, self.decoded_fraction_bits
        argument = self.argument(m, a, bias)
        m.submodules.log = log = IntegerLog(max(len(argument), tables.LOG_MANTISSA_BITS + 1))
        m.d.comb += log.i.eq(Mux(argument < 0, -argument, argument))
        distance = result_bias * UNITS_PER_BIAS - log.o + (bits << fraction)
        return {
            "lam": Mux(a.zero, 0, distance),
            "negative": a.zero | (argument < 0),
            "zero": ~a.zero & (argument == 0),
            "nan": a.nan | (a.negative & ~a.zero),
        }
