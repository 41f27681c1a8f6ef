"""Decoders of profile A: the byte of a block, and codes by the codebook that it names."""

from contextlib import AbstractContextManager

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.formats import BETA_MIN, BIAS_PER_OCTAVE, PAL8T, PAL8U, ZERO_BLOCK, Format, widening
from pal_units.rtl.decoder import ElementDecoder, element_layout
from pal_units.rtl.rom import rom
from pal_units.rtl.widen import Widener, wide_format

#: Bits of the octaves that a block bias puts an operand down.
OPERAND_OCTAVE_BITS = (-BETA_MIN // BIAS_PER_OCTAVE).bit_length()


def check_adaptive(fmt: Format) -> None:
    """Raise ``ValueError`` unless a format has codebooks."""
    if fmt.codebooks is None:
        raise ValueError(f"a format of profile A is needed, {fmt.name} is of {fmt.profile}")


class ByteDecoder(wiring.Component):
    """The byte of a block of profile A: the codebook that it names, and its bias.

    ``beta = -bias_steps[code]`` in 1/8 octave, ``code`` the lower bits.  Combinational:
    latency 0.

    Parameters
    ----------
    fmt: format of profile A.

    Members
    -------
    block_byte : In(8); selector : Out(selector_bits, at least 1); beta : Out(signed(9))

    Raises
    ------
    ValueError: a format of another profile.

    Example
    -------
    >>> from pal_units.formats import PAL4A
    >>> from pal_units.rtl.evaluate import evaluate
    >>> evaluate(ByteDecoder(PAL4A), block_byte=0b101_10001)  # codebook 5, 18 eighths down
    {'selector': 5, 'beta': -18}
    """

    latency = 0

    def __init__(self, fmt: Format) -> None:
        check_adaptive(fmt)
        self.fmt = fmt
        books = fmt.codebooks
        assert books is not None
        super().__init__(
            {
                "block_byte": In(8),
                "selector": Out(max(books.selector_bits, 1)),
                "beta": Out(signed(9)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        books = self.fmt.codebooks
        assert books is not None
        code = self.block_byte[: books.bias_bits]
        m.d.comb += self.selector.eq(self.block_byte[books.bias_bits :])
        (_, _, step), *zones = books.zones
        down = code * step
        for first, start, step in zones:
            down = Mux(code >= first, start + (code - first) * step, down)
        m.d.comb += self.beta.eq(-down)
        return m


class CodebookDecoder(wiring.Component):
    """Decode one code by a codebook of its format.

    Combinational: latency 0; a table of all codes of all codebooks.  A mirrored codebook is the
    other one with its signs turned.

    Parameters
    ----------
    fmt: format of profile A.
    fraction_bits: of ``lam``; at least the format's.
    octaves: codes this far below the top, or farther, count as zero; None for no limit.

    Members
    -------
    code : In(n); selector : In(selector_bits, at least 1); o : Out(element_layout)

    Raises
    ------
    ValueError: a format of another profile, or of a finer logarithm than ``lam``.

    Example
    -------
    >>> from pal_units.formats import PAL4A
    >>> from pal_units.rtl.evaluate import evaluate
    >>> decoded = evaluate(CodebookDecoder(PAL4A, 3), code=8, selector=4)["o"]
    >>> decoded.lam, decoded.negative  # the 16th level of a mirrored codebook
    (0, 1)
    """

    latency = 0

    def __init__(self, fmt: Format, fraction_bits: int, octaves: int | None = None) -> None:
        check_adaptive(fmt)
        if fmt.fraction_bits > fraction_bits:
            raise ValueError(
                f"{fmt.name} needs fraction_bits >= {fmt.fraction_bits}, not {fraction_bits}"
            )
        self.fmt, self.fraction_bits, self.octaves = fmt, fraction_bits, octaves
        books = fmt.codebooks
        assert books is not None
        super().__init__(
            {
                "code": In(fmt.n),
                "selector": In(max(books.selector_bits, 1)),
                "o": Out(element_layout((fmt,), fraction_bits, octaves)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        books = self.fmt.codebooks
        assert books is not None
        rows = len(books.positive)
        book_bits = (rows - 1).bit_length()
        # Of symmetric codebooks the magnitudes alone.
        symmetric = books.symmetric
        index_bits = self.fmt.n - symmetric
        lam, _ = books.tables
        book = self.selector[:book_bits]
        index = Cat(self.code[:index_bits], book)
        distances = lam[:rows, : 1 << index_bits].ravel()
        distance = rom(m, "levels", index, distances.tolist())
        magnitude = self.code[:-1].any()
        # A code of a sign alone is the level beyond the positive ones, or none.
        negative = self.code[-1] & magnitude
        extra = self.code[-1] & ~magnitude
        zero = self.code == 0 if books.has_extra else ~magnitude
        mirror = self.selector[book_bits] if books.mirrored else 0
        shift = self.fraction_bits - self.fmt.fraction_bits
        nan = extra if self.fmt.has_nan else 0
        far: Value | int = 0
        if self.octaves:
            far = distance >= self.octaves << self.fmt.fraction_bits
        m.d.comb += [
            self.o.lam.eq(distance << shift),
            self.o.negative.eq((negative ^ mirror) & ~zero),
            self.o.nan.eq(nan),
            self.o.zero.eq((zero | far) & ~self.o.nan),
        ]
        return m


def operand_layout(formats: tuple[Format, ...], params: DotParams) -> data.StructLayout:
    """Decoded element whose ``lam`` has the bias fraction of its block in it, and no NaN."""
    most = max(f.lambda_max << (params.fraction_bits - f.fraction_bits) for f in formats)
    if params.operand_octaves:
        most = min(most, (params.operand_octaves << params.fraction_bits) - 1)
    fraction = (BIAS_PER_OCTAVE - params.bias_step << params.fraction_bits) // BIAS_PER_OCTAVE
    return data.StructLayout({"lam": (most + fraction).bit_length(), "negative": 1, "zero": 1})


def check_operands(formats: tuple[Format, ...], params: DotParams) -> None:
    """Raise ``ValueError`` unless operands of the formats can be decoded with their biases."""
    if not params.edge_biases:
        raise ValueError("operands are decoded with their biases under edge_biases only")
    if not formats:
        raise ValueError("formats must be one or more")
    wide = widened(formats)
    for f in (*formats, *wide):
        if f.fraction_bits > params.fraction_bits:
            raise ValueError(
                f"{f.name} needs fraction_bits >= {f.fraction_bits}, not {params.fraction_bits}"
            )
    if len(formats) > 1 and max(f.n for f in formats) > 8:
        raise ValueError(f"several formats have up to 8 bits, not {[f.name for f in formats]}")
    if len(formats) > 1:
        for f in formats:
            if f.codebooks is None:
                widening(f, wide_format(f))


def widened(formats: tuple[Format, ...]) -> tuple[Format, ...]:
    """What codes of profiles T and U are widened to where there are several formats."""
    profiles = {f.profile for f in formats}
    return tuple(f for f in (PAL8T, PAL8U) if f.profile in profiles and len(formats) > 1)


class OperandDecoder(wiring.Component):
    """Decode the codes of a slice of a block, and put the fraction of its bias into them.

    ``lam + fraction``, ``fraction`` what ``-beta`` is beyond whole octaves: what a lane multiplies
    by adding.  Combinational: latency 0.  A bias above 0 counts as 0.  NaN counts as zero, and so
    does all of a block of zeros, whose octaves mean nothing.

    Parameters
    ----------
    formats: of a slice, chosen at run time by ``select``, which is ignored if there is one; several
        have up to 8 bits.  params: bits kept, of ``edge_biases``; lanes: codes at once.

    Members
    -------
    codes : In(lanes x n), of several formats In(lanes x 8), the code in the lowest bits
    bias : In(8) - the block's bias, in profile A its byte; select : In - index of the format
    o : Out(lanes x operand_layout); octaves : Out(4); zero : Out(1) - a block of zeros;
    nan : Out(1) - a code of the slice is NaN

    Raises
    ------
    ValueError: parameters without ``edge_biases``, or of a coarser logarithm than a format's; no
        formats, or several of which one has more than 8 bits, or is of profile T or U and its
        codes are not codes of PAL8T or PAL8U; no lanes.

    Example
    -------
    >>> from pal_units.dot_params import DOT_PARAMS
    >>> from pal_units.formats import PAL4A
    >>> from pal_units.rtl.evaluate import evaluate
    >>> unit = OperandDecoder((PAL4A,), DOT_PARAMS["PAL4A"], 1)
    >>> found = evaluate(unit, codes=[8], bias=10)  # the top, 10 eighths down
    >>> found["o"][0].lam, found["octaves"]
    (2, 1)
    """

    latency = 0

    def __init__(self, formats: tuple[Format, ...], params: DotParams, lanes: int) -> None:
        check_operands(formats, params)
        if lanes < 1:
            raise ValueError(f"lanes must be at least 1, not {lanes}")
        self.formats, self.params, self.lanes = formats, params, lanes
        self.element = operand_layout(formats, params)
        super().__init__(
            {
                "codes": In(data.ArrayLayout(8 if len(formats) > 1 else formats[0].n, lanes)),
                "bias": In(8),
                "select": In(range(max(len(formats), 2))),
                "o": Out(data.ArrayLayout(self.element, lanes)),
                "octaves": Out(OPERAND_OCTAVE_BITS),
                "zero": Out(1),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.params
        beta = Signal(signed(9))
        selectors: dict[int, Signal] = {}
        plain = [i for i, f in enumerate(self.formats) if f.codebooks is None]
        plain_select = Signal(range(max(len(plain), 2)))
        for i, f in enumerate(self.formats):
            if f.codebooks is not None:
                m.submodules[f"decode_byte_{i}"] = decode_byte = ByteDecoder(f)
                m.d.comb += decode_byte.block_byte.eq(self.bias)
                selectors[i] = decode_byte.selector
            with self._case(m, i):
                if i in selectors:
                    m.d.comb += beta.eq(decode_byte.beta)
                else:
                    m.d.comb += [
                        beta.eq(self.bias.as_signed()),
                        self.zero.eq(self.bias.as_signed() == ZERO_BLOCK),
                        plain_select.eq(plain.index(i)),
                    ]
        down = Signal(8)
        octave_at = BIAS_PER_OCTAVE.bit_length() - 1
        m.d.comb += [
            down.eq(Cat((-beta)[:8]) & (~(beta > 0)).replicate(8)),
            self.octaves.eq(down[octave_at:]),
        ]
        fraction = down[octave_at - p.bias_bits : octave_at] << (p.fraction_bits - p.bias_bits)
        layout = element_layout(self.formats, p.fraction_bits, p.operand_octaves)
        nans = []
        for lane in range(self.lanes):
            elements = {i: self._of_book(m, lane, i, selector) for i, selector in selectors.items()}
            if plain:
                elements |= dict.fromkeys(plain, self._of_plain(m, lane, plain, plain_select))
            element = Signal(layout, name=f"element_{lane}")
            for i, decoded in elements.items():
                with self._case(m, i):
                    m.d.comb += [element[name].eq(decoded[name]) for name, _ in layout]
            m.d.comb += [
                self.o[lane].lam.eq(element.lam + fraction),
                self.o[lane].negative.eq(element.negative),
                self.o[lane].zero.eq(element.zero | element.nan | self.zero),
            ]
            nans.append(element.nan)
        m.d.comb += self.nan.eq(Cat(*nans).any())
        return m

    def _case(self, m: Module, i: int) -> AbstractContextManager[None]:
        """Of a format; numbers of none are the last one's."""
        last = len(self.formats) - 1
        numbers = [n for n in range(1 << len(self.select)) if n == i or (i == last and n > last)]
        return m.If(self.select.matches(*numbers)) if last else m.If(1)

    def _of_book(self, m: Module, lane: int, i: int, selector: Value) -> data.View:
        """A code by the codebook that the block's byte names."""
        fmt, p = self.formats[i], self.params
        m.submodules[f"decode_{i}_{lane}"] = decoder = CodebookDecoder(
            fmt, p.fraction_bits, p.operand_octaves
        )
        m.d.comb += [decoder.code.eq(self.codes[lane]), decoder.selector.eq(selector)]
        return decoder.o

    def _of_plain(self, m: Module, lane: int, plain: list[int], select: Value) -> data.View:
        """A code of profile T or U; of several formats widened, so that one decoder serves them."""
        p, formats = self.params, tuple(self.formats[i] for i in plain)
        code: Value = self.codes[lane]
        uniform: Value | int = 0
        if len(self.formats) > 1:
            m.submodules[f"widen_{lane}"] = widener = Widener(formats)
            m.d.comb += [widener.i.eq(code), widener.select.eq(select)]
            code, uniform = widener.o, widener.uniform
            formats = widened(self.formats)
        m.submodules[f"decode_{lane}"] = decoder = ElementDecoder(
            formats, p.fraction_bits, p.operand_octaves
        )
        m.d.comb += [decoder.code.eq(code), decoder.select.eq(uniform)]
        return decoder.o
