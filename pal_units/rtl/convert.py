"""Converters: float32, bfloat16 and int8 to and from element codes, PALn to PAL16."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.formats import FLOAT_MANTISSAS, PAL16, TABLE_FRACTION_BITS, ZERO_BLOCK, Format
from pal_units.rtl.decoder import ElementDecoder, refuse_adaptive
from pal_units.rtl.encoder import ElementEncoder, result_layout
from pal_units.rtl.log import UNITS_PER_BIAS, IntegerLog, pal16_code
from pal_units.rtl.pipeline import Pipeline, check_stages
from pal_units.rtl.rom import rom
from pal_units.rtl.transcendental import BIAS_BITS

_EXPONENT_BIAS, _EXPONENT_MAX = 127, 255
_GUARD = tables.CONVERT_FRACTION_BITS
_BIAS_SHIFT = _GUARD - tables.BIAS_FRACTION_BITS


class _Converter(wiring.Component):
    """Base of the converters: ``steps`` steps with pipeline registers after them."""

    steps = 3

    def __init__(self, fmt: Format, stages: int, ports: dict[str, wiring.Member]) -> None:
        refuse_adaptive(fmt)
        check_stages(stages, self.steps)
        if fmt.fraction_bits < 1:
            raise ValueError(f"conversions need F >= 1, {fmt.name} has F = 0")
        self.fmt, self.stages, self.latency = fmt, stages, stages
        super().__init__({**ports, "bias": In(signed(BIAS_BITS))})

    def encoded(self, m: Module, pipe: Pipeline, result: dict[str, Value], tie: Value) -> Value:
        """Last two steps: the nearest code for ``lam`` in units of 2^-14 octave.

        ``tie`` says that the value may be halfway between two levels an octave apart.
        ``lam`` rounds up there, which is even between m = 1 and 2 but not between 2 and 3.
        """
        fmt = self.fmt
        signal = Signal(result_layout(_GUARD + BIAS_BITS))
        for field, value in result.items():
            m.d.comb += signal[field].eq(value)
        signal, tie = pipe.step(signal, tie)
        m.submodules.encode = encode = ElementEncoder(fmt, _GUARD, len(signal.lam))
        m.d.comb += encode.i.eq(signal)
        code = encode.o
        if fmt.profile == "T":
            odd = tie & (code[:-1] == 3)
            code = Cat(code[0] & ~odd, code[1:])
        (code,) = pipe.step(code)
        return code


class FloatToPal(_Converter):
    """float32 or bfloat16 to the code below the top ``2^(bias/8)``.

    Nearest, ties to even: the log table is indexed by the number of rounding thresholds
    that the mantissa passes.  PAL16 takes the bipartite logarithm instead: faithful, under
    one unit of the log.  Subnormal numbers count as zero, infinities saturate, NaN becomes
    NaN (zero in a format without).  Latency ``stages`` (0 to 3), throughput one a cycle.

    Parameters
    ----------
    fmt: PAL format of 1 to 5 fraction bits, or PAL16.
    kind: ``"float32"`` or ``"bfloat16"``.
    stages: rows of pipeline registers, 0 to 3; the latency.

    Members
    -------
    i : In(32 or 16); bias : In(signed(10)), 1/8 octave; o : Out(n)

    Raises
    ------
    ValueError: another format or kind.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(FloatToPal(PAL8T), i=0x3F000000)  # 0.5
    {'o': 95}
    >>> evaluate(FloatToPal(PAL8T, "bfloat16"), i=0x3F00, bias=8)  # below a top of 2
    {'o': 63}
    """

    def __init__(self, fmt: Format, kind: str = "float32", stages: int = 0) -> None:
        self.mantissa_bits = _mantissa_bits(kind)
        if fmt.fraction_bits > TABLE_FRACTION_BITS and fmt != PAL16:
            raise ValueError(
                f"conversions from float are for F <= {TABLE_FRACTION_BITS} and "
                f"PAL16, not {fmt.name} with F = {fmt.fraction_bits}"
            )
        super().__init__(fmt, stages, {"i": In(9 + self.mantissa_bits), "o": Out(fmt.n)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipe = Pipeline(m, self.steps, self.stages)
        exponent, negative = self.i[self.mantissa_bits : -1], self.i[-1]
        padding = Const(0, tables.FLOAT_MANTISSA_BITS - self.mantissa_bits)
        mantissa = Cat(padding, self.i[: self.mantissa_bits])
        special, fraction = exponent == _EXPONENT_MAX, mantissa.any()

        # Step: the mantissa's log, or its rank among the thresholds.
        if self.fmt == PAL16:
            m.submodules.log = log = IntegerLog(tables.FLOAT_MANTISSA_BITS + 1)
            m.d.comb += log.i.eq(Cat(mantissa, 1))
            found = log.o - (tables.FLOAT_MANTISSA_BITS << PAL16.fraction_bits)
        else:
            thresholds = [int(t) for t in tables.rounding_thresholds(self.fmt)]
            found = _count([mantissa >= t for t in thresholds])
        tie = (mantissa == tables.TIE_MANTISSA) & (self.bias[: tables.BIAS_FRACTION_BITS] == 0)
        found, exponent, bias, negative, zero, infinite, nan, tie = pipe.step(
            found,
            exponent,
            self.bias,
            negative,
            exponent == 0,
            special & ~fraction,
            special & fraction,
            tie,
        )

        # Step: distance below the top.
        if self.fmt == PAL16:
            log_of_mantissa = found << (_GUARD - PAL16.fraction_bits)
        else:
            log_of_mantissa = rom(m, "logs", found, tables.rounding_logs(self.fmt))
        lam = (bias << _BIAS_SHIFT) - ((exponent - _EXPONENT_BIAS) << _GUARD) - log_of_mantissa
        m.d.comb += self.o.eq(
            self.encoded(
                m,
                pipe,
                {"lam": Mux(infinite, -1, lam), "negative": negative, "zero": zero, "nan": nan},
                tie,
            )
        )
        return m


class PalToFloat(_Converter):
    """Code below the top ``2^(bias/8)`` to the nearest float32 or bfloat16.

    A table of the mantissas of one octave.  Magnitudes below 2^-126 become zero, too large
    ones infinity, NaN the quiet NaN.  Latency ``stages`` (0 to 3), throughput one a cycle.

    Parameters
    ----------
    fmt: PAL format.
    kind: ``"float32"`` or ``"bfloat16"``.
    stages: rows of pipeline registers, 0 to 3; the latency.

    Members
    -------
    i : In(n); bias : In(signed(10)), 1/8 octave; o : Out(32 or 16)

    Raises
    ------
    ValueError: another kind.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> hex(evaluate(PalToFloat(PAL8T), i=95)["o"])  # 0.5
    '0x3f000000'
    """

    def __init__(self, fmt: Format, kind: str = "float32", stages: int = 0) -> None:
        self.mantissa_bits = _mantissa_bits(kind)
        super().__init__(fmt, stages, {"i": In(fmt.n), "o": Out(9 + self.mantissa_bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipe = Pipeline(m, self.steps, self.stages)
        bits, width = tables.argument_bits(self.fmt), self.mantissa_bits
        log, element = _value_log(m, self.fmt, self.i, self.bias)
        log, element = pipe.step(log, element)

        # Step: exponent and mantissa; a mantissa that rounds up to 2.0 carries.
        mantissa = rom(m, "mantissas", log[:bits], tables.float_mantissas(bits, width))
        number = Signal(signed(BIAS_BITS + width + 2))
        m.d.comb += number.eq((((log >> bits) + _EXPONENT_BIAS) << width) + mantissa)
        number, element = pipe.step(number, element)

        # Step: special cases.
        limit = _EXPONENT_MAX << width
        magnitude = Mux(
            element.zero | (number < (1 << width)), 0, Mux(number >= limit, limit, number)
        )
        (o,) = pipe.step(
            Mux(
                element.nan,
                limit | 1 << (width - 1),
                Cat(magnitude[: 8 + width], element.negative & magnitude.any()),
            )
        )
        m.d.comb += self.o.eq(o)
        return m


class IntToPal(_Converter):
    """int8 to the nearest code below the top ``2^(bias/8)``, ties to even.

    A table of the logs of 1 to 128.  Latency ``stages`` (0 to 3), throughput one a cycle.

    Parameters
    ----------
    fmt: PAL format.
    stages: rows of pipeline registers, 0 to 3; the latency.

    Members
    -------
    i : In(signed(8)); bias : In(signed(10)), 1/8 octave; o : Out(n)

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(IntToPal(PAL8T), i=64, bias=56)  # 64 below a top of 128
    {'o': 95}
    """

    def __init__(self, fmt: Format, stages: int = 0) -> None:
        super().__init__(fmt, stages, {"i": In(signed(8)), "o": Out(fmt.n)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipe = Pipeline(m, self.steps, self.stages)
        absolute = Signal(8)
        m.d.comb += absolute.eq(Mux(self.i < 0, -self.i, self.i))
        log = rom(m, "logs", absolute, tables.integer_logs(self.fmt))
        tie = absolute.matches(*(3 << i for i in range(6))) & (
            self.bias[: tables.BIAS_FRACTION_BITS] == 0
        )
        log, bias, negative, zero, tie = pipe.step(log, self.bias, self.i < 0, absolute == 0, tie)
        m.d.comb += self.o.eq(
            self.encoded(
                m,
                pipe,
                {
                    "lam": (bias << _BIAS_SHIFT) - log,
                    "negative": negative,
                    "zero": zero,
                    "nan": Const(0),
                },
                tie,
            )
        )
        return m


class PalToInt(_Converter):
    """Code below the top ``2^(bias/8)`` to the nearest int8, ties to even, saturating.

    NaN becomes 0.  Latency ``stages`` (0 to 3), throughput one a cycle.

    Parameters
    ----------
    fmt: PAL format.
    stages: rows of pipeline registers, 0 to 3; the latency.

    Members
    -------
    i : In(n); bias : In(signed(10)), 1/8 octave; o : Out(signed(8))

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(PalToInt(PAL8T), i=95 | 128, bias=56)  # -1/2 of 128
    {'o': -64}
    """

    #: Fraction bits of the antilog: enough that no entry rounds across a half.
    antilog_bits = 22

    def __init__(self, fmt: Format, stages: int = 0) -> None:
        super().__init__(fmt, stages, {"i": In(fmt.n), "o": Out(signed(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pipe = Pipeline(m, self.steps, self.stages)
        bits = tables.argument_bits(self.fmt)
        log, element = _value_log(m, self.fmt, self.i, self.bias)
        log, element = pipe.step(log, element)

        # Step: twice the value, rounded down.
        significand = (1 << self.antilog_bits) + tables.float_mantissas(bits, self.antilog_bits)
        octave = log >> bits
        twice = (
            rom(m, "antilog", log[:bits], significand)
            >> (self.antilog_bits - 1 - octave).as_unsigned()
        )
        half = log == -(1 << bits)  # one half is the only tie
        twice, large, element = pipe.step(
            Mux(half | element.zero | element.nan, 0, twice[:9]),
            (octave >= 7) & ~element.zero & ~element.nan,
            element,
        )

        # Step: round and saturate.
        magnitude = Mux(large, 128, (twice + 1) >> 1)
        (o,) = pipe.step(Mux(element.negative, -magnitude, Mux(magnitude > 127, 127, magnitude)))
        m.d.comb += self.o.eq(o)
        return m


class Unblock(wiring.Component):
    """Code under a block bias to PAL16 under the same tensor bias.

    Exact, down to the 32 octaves of PAL16; a block bias of -128 gives zero.  Latency
    ``stages`` (0 or 1), throughput one a cycle.

    Parameters
    ----------
    fmt: PAL format of up to 10 fraction bits.
    stages: rows of pipeline registers, 0 or 1; the latency.

    Members
    -------
    i : In(n); beta : In(signed(8)); o : Out(16)

    Raises
    ------
    ValueError: more fraction bits than PAL16 has.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(Unblock(PAL8T), i=95, beta=-8)  # 1/2, an octave down
    {'o': 30719}
    """

    def __init__(self, fmt: Format, stages: int = 0) -> None:
        refuse_adaptive(fmt)
        check_stages(stages, 1)
        if fmt.fraction_bits > PAL16.fraction_bits:
            raise ValueError(
                f"PAL16 has {PAL16.fraction_bits} fraction bits, {fmt.name} {fmt.fraction_bits}"
            )
        self.fmt, self.stages, self.latency = fmt, stages, stages
        super().__init__({"i": In(fmt.n), "beta": In(signed(8)), "o": Out(PAL16.n)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.decode = decode = ElementDecoder((self.fmt,), PAL16.fraction_bits)
        m.d.comb += decode.code.eq(self.i)
        magnitude = PAL16.m_max - decode.o.lam + self.beta * UNITS_PER_BIAS
        code = pal16_code(m, magnitude, decode.o.negative, "code")
        zero = decode.o.zero | (self.beta == ZERO_BLOCK)
        nan = decode.o.nan & (self.beta != ZERO_BLOCK)
        domain = m.d.sync if self.stages else m.d.comb
        domain += self.o.eq(Mux(nan, PAL16.sign_bit, Mux(zero, 0, code)))
        return m


def _mantissa_bits(kind: str) -> int:
    if kind not in FLOAT_MANTISSAS:
        raise ValueError(f"kind must be one of {', '.join(FLOAT_MANTISSAS)}, not {kind!r}")
    return FLOAT_MANTISSAS[kind]


def _value_log(m: Module, fmt: Format, code: Value, bias: Value) -> tuple[Value, Value]:
    """Log of a code's value under a bias, and the decoded element."""
    bits = tables.argument_bits(fmt)
    m.submodules.decode = decode = ElementDecoder((fmt,), bits)
    m.d.comb += decode.code.eq(code)
    return (bias << (bits - tables.BIAS_FRACTION_BITS)) - decode.o.lam, decode.o


def _count(conditions: list[Value]) -> Value:
    """How many of the conditions hold."""
    while len(conditions) > 1:
        conditions = [
            conditions[i] + conditions[i + 1] if i + 1 < len(conditions) else conditions[i]
            for i in range(0, len(conditions), 2)
        ]
    return conditions[0]
