"""Logarithm of an integer, and the PAL16 code made from it."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, PAL16
from pal_units.rtl.rom import rom

OCTAVE = 1 << PAL16.fraction_bits
#: PAL16 log units in one unit of a bias.
UNITS_PER_BIAS = OCTAVE // BIAS_PER_OCTAVE


class IntegerLog(wiring.Component):
    """``log2`` of a positive integer in units of 1/1024, faithful (error under 0.8 unit).

    Combinational: latency 0.  Leading one, left shift, bipartite table over the 12
    mantissa bits below it; see ``tables.log_base``.  For input 0 the output is meaningless.

    Parameters
    ----------
    width: bits of the integer, more than 12.

    Raises
    ------
    ValueError: a width of 12 bits or less.

    Members
    -------
    i : In(width); o : Out - ``1024 * log2(i)``, rounding up to the next octave included.

    Example
    -------
    >>> from pal_units.formats import PAL16
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(IntegerLog(16), i=1000)  # 1024 * log2(1000) = 10204.96
    {'o': 10205}
    >>> PAL16.fraction_bits
    10
    """

    latency = 0

    def __init__(self, width: int) -> None:
        if width <= tables.LOG_MANTISSA_BITS:
            raise ValueError(f"width must exceed {tables.LOG_MANTISSA_BITS} bits, not {width}")
        self.width = width
        super().__init__({"i": In(width), "o": Out(range(width * OCTAVE + 1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Normalise in log2(width) steps; each step that shifts subtracts from the exponent.
        normal: Value = self.i
        exponent = Const(self.width - 1, range(self.width))
        down = Signal(range(self.width))
        for step in reversed(range((self.width - 1).bit_length())):
            size = 1 << step
            if size >= self.width:
                continue
            stage, empty = Signal(self.width, name=f"normal_{step}"), down[step]
            m.d.comb += [
                empty.eq(normal[self.width - size :] == 0),
                stage.eq(Mux(empty, normal << size, normal)),
            ]
            normal = stage
        bits, low = tables.LOG_MANTISSA_BITS, tables.LOG_LOW_BITS
        mantissa = normal[self.width - 1 - bits : self.width - 1]
        high = mantissa[bits - tables.LOG_HIGH_BITS :]
        base = rom(m, "log_base", mantissa[low:], tables.log_base())
        offset = rom(m, "log_offset", Cat(mantissa[:low], high), tables.log_offset().ravel())
        fraction = Signal(signed(PAL16.fraction_bits + 2))
        m.d.comb += [
            fraction.eq((base + offset) >> tables.LOG_GUARD_BITS),
            self.o.eq(((exponent - down) << PAL16.fraction_bits) + fraction),
        ]
        return m


def pal16_code(m: Module, magnitude: Value, negative: Value, name: str) -> Signal:
    """PAL16 code for a signed magnitude index: saturates above, least level, then zero."""
    code = Signal(PAL16.n, name=name)
    with m.If(magnitude > PAL16.m_max):
        m.d.comb += code.eq(Cat(Const(PAL16.m_max, PAL16.magnitude_bits), negative))
    with m.Elif(magnitude >= 1):
        m.d.comb += code.eq(Cat(magnitude[: PAL16.magnitude_bits], negative))
    with m.Elif(magnitude > 1 - OCTAVE):
        m.d.comb += code.eq(Cat(Const(1, PAL16.magnitude_bits), negative))
    return code


class AccumulatorEncoder(wiring.Component):
    """Two's complement accumulator to PAL16 code.

    Latency 2 (absolute value, then logarithm), throughput one a cycle.  ``offset`` is
    ``T_result - T_a - T_b`` in 1/8 octave.  Arithmetic is that of
    ``model.encode_accumulator``.

    Members
    -------
    i : In(signed(accumulator_bits)); nan : In(1); offset : In(signed(offset_bits))
    o : Out(16)

    ``saturates``, a signal beside ``o`` for who counts: the result lies above the top.

    Example
    -------
    >>> from pal_units.dot_params import DOT_PARAMS
    >>> from pal_units.formats import PAL16
    >>> from pal_units.rtl.evaluate import evaluate
    >>> from pal_units.tables import octaves_below
    >>> params = DOT_PARAMS["PAL8T"]
    >>> evaluate(AccumulatorEncoder(params), i=round(2**octaves_below(params) / 2))  # half the top
    {'o': 31743}
    >>> PAL16.levels[31743]
    np.float64(0.5)
    """

    latency = 2

    def __init__(self, params: DotParams, offset_bits: int = 10) -> None:
        self.params = params
        super().__init__(
            {
                "i": In(signed(params.accumulator_bits)),
                "nan": In(1),
                "offset": In(signed(offset_bits)),
                "o": Out(PAL16.n),
            }
        )
        self.saturates = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.params.accumulator_bits
        absolute = Signal(width)
        negative, nan = Signal(), Signal()
        offset = Signal.like(self.offset)
        m.d.sync += [
            absolute.eq(Mux(self.i < 0, -self.i, self.i)),
            negative.eq(self.i < 0),
            nan.eq(self.nan),
            offset.eq(self.offset),
        ]
        m.submodules.log = log = IntegerLog(width)
        top = PAL16.m_max - int(OCTAVE * tables.octaves_below(self.params))
        magnitude = Signal(signed(PAL16.n + 3))
        m.d.comb += [log.i.eq(absolute), magnitude.eq(log.o + top - offset * UNITS_PER_BIAS)]
        code = pal16_code(m, magnitude, negative, "code")
        m.d.sync += self.o.eq(Mux(nan, PAL16.sign_bit, Mux(absolute == 0, 0, code)))
        m.d.sync += self.saturates.eq((magnitude > PAL16.m_max) & (absolute != 0) & ~nan)
        return m
