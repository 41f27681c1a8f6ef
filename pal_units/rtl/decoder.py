"""Element decoder: code to sign and log distance below the block's top."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import Format


def element_layout(
    formats: tuple[Format, ...], fraction_bits: int, octaves: int | None = None
) -> data.StructLayout:
    """Decoded element: ``lam`` in units of ``2^-fraction_bits`` octave, and its class."""
    bits = max((f.lambda_max << (fraction_bits - f.fraction_bits)).bit_length() for f in formats)
    if octaves:
        bits = min(bits, fraction_bits + octaves.bit_length() - 1)
    return data.StructLayout({"lam": bits, "negative": 1, "zero": 1, "nan": 1})


def refuse_adaptive(*formats: Format) -> None:
    """Raise ``ValueError`` for formats of profile A: a unit of bare codes knows no codebook."""
    for f in formats:
        if f.codebooks is not None:
            raise ValueError(f"{f.name} is of profile A: its codes need a block's codebook")


def check_formats(formats: tuple[Format, ...], fraction_bits: int) -> None:
    """Raise ``ValueError`` unless one decoder can serve all the formats."""
    if len({f.n for f in formats}) != 1:
        raise ValueError(
            f"formats must be one or more of the same n, not {[f.name for f in formats]}"
        )
    refuse_adaptive(*formats)
    for f in formats:
        if f.fraction_bits > fraction_bits:
            raise ValueError(
                f"{f.name} needs fraction_bits >= {f.fraction_bits}, not {fraction_bits}"
            )


def check_block(formats: tuple[Format, ...], **lanes: int) -> int:
    """The block that all formats share.

    Raises ``ValueError`` if there is none, and for lanes that do not divide it, by their name.
    """
    if len({f.block for f in formats}) != 1:
        said = ", ".join(f"{f.name} of {f.block}" for f in formats) or "none"
        raise ValueError(f"formats must be one or more of the same block, not {said}")
    block = formats[0].block
    for name, count in lanes.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")
        if block % count:
            raise ValueError(f"{name} must divide the block of {block}, not {count}")
    return block


def decode_lambda(magnitude: Value, fmt: Format, octaves: int | None) -> tuple[Value, Value]:
    """``lambda`` of a magnitude in units of ``2^-fmt.fraction_bits`` octave; whether it counts.

    U: invert.  T: leading-zero count ``k``, then the inverted magnitude shifted left by
    ``k``; the two parts do not overlap, so no adder is needed.  Zero does not count, nor
    does what lies ``octaves`` below the top; ``lambda`` means nothing then.
    """
    bits = fmt.magnitude_bits
    limit_bits = fmt.fraction_bits + octaves.bit_length() - 1 if octaves else fmt.lambda_bits
    if fmt.profile == "U":
        lam = ~magnitude
        return lam[:limit_bits], magnitude.any() & ~lam[limit_bits:].any()
    zones = min(octaves // 2, bits) if octaves else bits
    shifted = Value.cast(0)
    for k in reversed(range(zones)):
        part = Cat((~magnitude << k)[: bits - 1], Const(k, bits.bit_length()))
        shifted = Mux(magnitude[bits - 1 - k], part, shifted) if k + 1 < zones else part
    return shifted[: min(limit_bits, fmt.lambda_bits)], magnitude[bits - zones :].any()


class ElementDecoder(wiring.Component):
    """Decode one element code of any of ``formats``, chosen at run time.

    Combinational: latency 0.  A code of zero gives ``zero``, the NaN code ``nan`` (and
    then ``lam`` is meaningless); a format without NaN has two codes of zero.  With one
    format there is nothing to select and ``select`` is ignored.

    Parameters
    ----------
    formats: formats of the same ``n``; ``select`` is an index into them.
    fraction_bits: of ``lam``; at least those of every format.
    octaves: codes this far below the top, or farther, count as zero; None for no limit.

    Members
    -------
    code : In(n); select : In; o : Out(element_layout)

    Raises
    ------
    ValueError: no formats, formats of different ``n``, or of finer logs than ``lam``.

    Example
    -------
    >>> from pal_units.formats import PAL8T
    >>> from pal_units.rtl.evaluate import evaluate
    >>> decoded = evaluate(ElementDecoder((PAL8T,), 5), code=95 | 128)["o"]
    >>> decoded.lam, decoded.negative  # 32 units of 1/32 octave below the top
    (32, 1)
    """

    latency = 0

    def __init__(
        self, formats: tuple[Format, ...], fraction_bits: int, octaves: int | None = None
    ) -> None:
        check_formats(formats, fraction_bits)
        self.formats, self.fraction_bits, self.octaves = formats, fraction_bits, octaves
        super().__init__(
            {
                "code": In(formats[0].n),
                "select": In(range(max(len(formats), 2))),
                "o": Out(element_layout(formats, fraction_bits, octaves)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        magnitude, sign = self.code[:-1], self.code[-1]
        nan = sign & ~magnitude.any() if self.formats[0].has_nan else 0
        counts = Signal()
        m.d.comb += [
            self.o.negative.eq(sign),
            self.o.nan.eq(nan),
            self.o.zero.eq(~counts & ~self.o.nan),
        ]
        with m.Switch(self.select):
            for i, f in enumerate(self.formats):
                with m.Case(i) if i + 1 < len(self.formats) else m.Default():
                    lam, found = decode_lambda(magnitude, f, self.octaves)
                    m.d.comb += [
                        self.o.lam.eq(lam << (self.fraction_bits - f.fraction_bits)),
                        counts.eq(found),
                    ]
        return m
