"""Encoder of profile A: a block of PAL16 values to codes of one codebook and the block's byte."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units import tables
from pal_units.codebook import SPREAD_LIMIT, SPREAD_UNITS, spread_shift
from pal_units.formats import PAL16, Format
from pal_units.rtl.codebook import ByteDecoder, check_adaptive
from pal_units.rtl.encoder import result_layout
from pal_units.rtl.log import UNITS_PER_BIAS
from pal_units.rtl.rom import rom

#: Signed bits of a distance below a block's top.
LAM_BITS = PAL16.magnitude_bits + 2


class CodebookEncoder(wiring.Component):
    """Nearest code of a codebook for a log distance in PAL16's units of ``2^-10`` octave.

    Between two levels the threshold is the midpoint of their values; half of the least level and
    less gives 0, what is above the top saturates.  A search by halves over the thresholds of the
    codebook and sign.  Combinational: latency 0.

    Parameters
    ----------
    fmt: format of profile A.

    Members
    -------
    i : In(result_layout(17)); selector : In(selector_bits, at least 1); o : Out(n)

    Raises
    ------
    ValueError: a format of another profile.

    Example
    -------
    >>> from pal_units.formats import PAL4A
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(CodebookEncoder(PAL4A), i={"lam": -5, "negative": 0}, selector=0)
    {'o': 8}
    """

    latency = 0

    def __init__(self, fmt: Format) -> None:
        check_adaptive(fmt)
        self.fmt = fmt
        books = fmt.codebooks
        assert books is not None
        super().__init__(
            {
                "i": In(result_layout(LAM_BITS)),
                "selector": In(max(books.selector_bits, 1)),
                "o": Out(fmt.n),
            }
        )

    def _thresholds(self, distances: tuple[int, ...]) -> list[int]:
        """For each magnitude from 1 the least distance, in PAL16's units, that is below it."""
        octave = 1 << PAL16.fraction_bits
        lam = [d << (PAL16.fraction_bits - self.fmt.fraction_bits) for d in distances]
        return [lam[0] + octave] + [
            near + tables.round_up_from(far - near, octave) for far, near in pairwise(lam)
        ]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt, books = self.fmt, self.fmt.codebooks
        assert books is not None
        rows = len(books.positive)
        book_bits = (rows - 1).bit_length()
        book = self.selector[:book_bits]
        mirror = self.selector[book_bits] if books.mirrored else 0
        negative = Signal()
        distance = Signal(PAL16.magnitude_bits + 1)
        m.d.comb += [
            negative.eq(self.i.negative ^ mirror),
            distance.eq(Mux(self.i.lam < 0, 0, self.i.lam)),
        ]
        symmetric = books.symmetric
        sides = [
            [self._thresholds(side[i]) for i in range(rows)]
            for side in ((books.positive,) if symmetric else (books.positive, books.negative))
        ]
        which = book if symmetric else Cat(book, negative)
        magnitude: Value = Cat()
        for bit in reversed(range(fmt.magnitude_bits)):
            # Magnitudes with this bit set and those above it as found.
            found = fmt.magnitude_bits - 1 - bit
            contents = [
                row[(high << (bit + 1) | 1 << bit) - 1]
                for side in sides
                for row in side
                for high in range(1 << found)
            ]
            place = Cat(magnitude, which)
            threshold = rom(m, f"threshold_{bit}", place, contents) if len(place) else contents[0]
            reached = Signal(name=f"reached_{bit}")
            m.d.comb += reached.eq(distance < threshold)
            magnitude = Cat(reached, magnitude)
        extra: Value | int = 0
        if books.has_extra:
            last = [row[-1] for row in sides[0]]
            threshold = rom(m, "threshold_extra", book, last) if book_bits else last[0]
            extra = ~negative & (distance < threshold)
        code = Mux(extra, fmt.sign_bit, Cat(magnitude, negative & magnitude.any()))
        nan = fmt.sign_bit if fmt.has_nan else 0
        m.d.comb += self.o.eq(Mux(self.i.nan, nan, Mux(self.i.zero, 0, code)))
        return m


def block_byte(
    m: Module, fmt: Format, peak: Value, mirrored: Value, magnitudes: list[Value], name: str = ""
) -> Value:
    """The byte of a block of PAL16 values: its spread picks codebook and bias.

    ``peak``, ``magnitudes``: of PAL16 codes, 0 for zero and NaN; ``mirrored``: most are negative;
    ``name``: behind the names of signals, of several formats in one module.
    """
    books = fmt.codebooks
    assert books is not None
    unit_at = PAL16.fraction_bits - (SPREAD_UNITS.bit_length() - 1)
    spread = Value.cast(0)
    for i, magnitude in enumerate(magnitudes):
        distance = Signal(PAL16.magnitude_bits - unit_at, name=f"distance{name}_{i}")
        m.d.comb += distance.eq((peak - magnitude)[unit_at:])
        near = (distance < SPREAD_LIMIT) & magnitude.any()
        spread = spread + Mux(near, distance[: SPREAD_LIMIT.bit_length()], SPREAD_LIMIT)
    chosen = Signal(range(SPREAD_LIMIT * fmt.block + 1), name=f"spread{name}")
    m.d.comb += chosen.eq(spread)
    spread_class = chosen[spread_shift(fmt.block) :]
    rows = len(books.positive)
    book_bits = (rows - 1).bit_length()
    book = rom(m, f"book{name}", spread_class, [b for b, _ in books.picks])
    lift = rom(m, f"lift{name}", spread_class, [s for _, s in books.picks])
    down = Signal(signed(PAL16.magnitude_bits), name=f"down{name}")
    m.d.comb += down.eq((PAL16.m_max - peak) // UNITS_PER_BIAS - lift)
    code: Value | int = 0
    for first, start, step in books.zones:
        code = Mux(down >= start, first + (down - start) // step, code)
    last = len(books.bias_steps) - 1
    code = Mux(down >= int(books.bias_steps[last]) + step, last, code)
    selector = Cat((book & (rows - 1))[:book_bits], mirrored if books.mirrored else Cat())
    return Mux(peak.any(), Cat(Value.cast(code)[: books.bias_bits], selector), 0)


class BlockEncoder(wiring.Component):
    """Encode a block of PAL16 values in profile A, one block a cycle.

    The codebook and the bias come from the block's spread: the sum of the distances of its
    elements below the largest, through ``Codebooks.picks``; mostly negative blocks are mirrored.
    The arithmetic is that of ``model.adaptive.reblock``.  Latency 3 cycles, throughput a block a
    cycle; no back pressure.  NaN stays where the format has it, a block without numbers has the
    byte 0.

    ::

        values -> largest, signs | spread, codebook, bias | codes -> codes, block_byte
                  cycle 1          cycle 2                  cycle 3

    Parameters
    ----------
    fmt: format of profile A with picks.

    Members
    -------
    push : In(1); values : In(block x 16)
    codes : Out(block x n); block_byte : Out(8); valid : Out(1)

    Raises
    ------
    ValueError: a format of another profile, or codebooks without picks.

    Example
    -------
    >>> from pal_units.formats import PAL4A, PAL16
    >>> from pal_units.rtl.evaluate import evaluate
    >>> unit = BlockEncoder(PAL4A)
    >>> found = evaluate(unit, push=1, values=[PAL16.m_max - 1024] * 16)  # all of them 1/2
    >>> set(found["codes"]), found["valid"]
    ({8}, 1)
    """

    latency = 3

    def __init__(self, fmt: Format) -> None:
        check_adaptive(fmt)
        books = fmt.codebooks
        if books is None or not books.picks:
            raise ValueError(f"{fmt.name} has no picks for the hardware's encoder")
        self.fmt = fmt
        super().__init__(
            {
                "push": In(1),
                "values": In(data.ArrayLayout(PAL16.n, fmt.block)),
                "codes": Out(data.ArrayLayout(fmt.n, fmt.block)),
                "block_byte": Out(8),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt, books = self.fmt, self.fmt.codebooks
        assert books is not None

        # Cycle 1: the largest magnitude, and how many are negative.
        def magnitude(value: Value) -> Value:
            return value[: PAL16.magnitude_bits]

        values = [self.values[i] for i in range(fmt.block)]
        level = [magnitude(v) for v in values]
        while len(level) > 1:
            level = [
                Mux(a > b, a, b) for a, b in zip(level[::2], level[1::2], strict=False)
            ] + level[len(level) & ~1 :]
        negatives = Value.cast(0)
        for v in values:
            negatives = negatives + (v[-1] & magnitude(v).any())
        values_1 = Signal(data.ArrayLayout(PAL16.n, fmt.block))
        peak_1, mirrored_1, push_1 = Signal(PAL16.magnitude_bits), Signal(), Signal()
        m.d.sync += [
            values_1.eq(self.values),
            peak_1.eq(level[0]),
            mirrored_1.eq(negatives > fmt.block // 2),
            push_1.eq(self.push),
        ]

        # Cycle 2: the spread, and what it picks.
        found = Signal(8)
        magnitudes = [magnitude(values_1[i]) for i in range(fmt.block)]
        m.d.comb += found.eq(block_byte(m, fmt, peak_1, mirrored_1, magnitudes))
        values_2, byte_2, push_2 = Signal.like(values_1), Signal(8), Signal()
        m.d.sync += [values_2.eq(values_1), byte_2.eq(found), push_2.eq(push_1)]

        # Cycle 3: the codes.
        m.submodules.decode_byte = decoder = ByteDecoder(fmt)
        m.d.comb += decoder.block_byte.eq(byte_2)
        for i in range(fmt.block):
            m.submodules[f"encode_{i}"] = encode = CodebookEncoder(fmt)
            value = values_2[i]
            m.d.comb += [
                encode.i.lam.eq(PAL16.m_max - magnitude(value) + decoder.beta * UNITS_PER_BIAS),
                encode.i.negative.eq(value[-1]),
                encode.i.zero.eq(value == 0),
                encode.i.nan.eq(value == PAL16.sign_bit),
                encode.selector.eq(decoder.selector),
            ]
            m.d.sync += self.codes[i].eq(encode.o)
        m.d.sync += [self.block_byte.eq(byte_2), self.valid.eq(push_2)]
        return m
