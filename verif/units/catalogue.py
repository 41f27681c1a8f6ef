"""The units: in which formats each is made, how, and with which vectors it is checked.

The one list of them: pages of units, areas and ``spu unit`` go over it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from amaranth.lib import wiring

from pal_units.dot_params import DOT_PARAMS
from pal_units.formats import ADAPTIVE, FORMATS, PAL8T, PAL8U, PAL16, Format
from pal_units.rtl.accumulator import Accumulator16, Linear16
from pal_units.rtl.adder import Adder, FusedMultiplyAdd
from pal_units.rtl.adder16 import Adder16, FusedMultiplyAdd16
from pal_units.rtl.block_encoder import BlockEncoder, CodebookEncoder
from pal_units.rtl.codebook import ByteDecoder, CodebookDecoder, OperandDecoder
from pal_units.rtl.convert import FloatToPal, IntToPal, PalToFloat, PalToInt, Unblock
from pal_units.rtl.decoder import ElementDecoder
from pal_units.rtl.elementwise import (
    Comparator,
    Divider,
    Multiplier,
    ReciprocalSquareRoot,
    SquareRoot,
)
from pal_units.rtl.encoder import ElementEncoder, MagnitudeEncoder
from pal_units.rtl.log import AccumulatorEncoder, IntegerLog
from pal_units.rtl.matrix import DotMatrix, DotUnit
from pal_units.rtl.reblock import ReblockUnit
from pal_units.rtl.transcendental import Exponential, Logarithm
from pal_units.rtl.widen import Widener
from verif.stimulus import adaptive_cases as adaptive
from verif.stimulus import block_cases as block
from verif.stimulus import codec_cases as codec
from verif.stimulus import elementwise_cases as elementwise
from verif.stimulus.codes import SMALL
from verif.stimulus.vectors import Case

Maker = Callable[[], wiring.Component]
_ALL = tuple(FORMATS.values())
_BOOKS = tuple(ADAPTIVE.values())
_WIDE = (PAL16,)


def _each(make: Callable[[Format], wiring.Component], *formats: Format) -> dict[str, Maker]:
    return {f.name: partial(make, f) for f in formats}


@dataclass(frozen=True)
class Unit:
    """A unit.

    Parameters
    ----------
    component: its class.
    formats: those that it is made in.
    case: vectors in a format for a unit, as in ``verif.stimulus``.
    maker: the unit in a format; by default the class, with the format and its ``stages``.
    paged: configurations that its page has areas of, by default those of ``formats``.
    """

    component: type[wiring.Component]
    formats: tuple[Format, ...]
    case: Callable[[Format, Any], Case]
    maker: Callable[[Format], wiring.Component] | None = None
    paged: Mapping[str, Maker] | None = None

    @property
    def name(self) -> str:
        """That of the class."""
        return self.component.__name__

    @property
    def configurations(self) -> Mapping[str, Maker]:
        """Those that its page has areas of, by label."""
        return _each(self.make, *self.formats) if self.paged is None else self.paged

    def make(self, fmt: Format, stages: int | None = None) -> Any:
        """The unit in a format, with rows of pipeline registers: none by default.

        Raises ``ValueError`` for stages that it does not take.
        """
        if self.maker is None:
            component: Callable[..., wiring.Component] = self.component
            return component(fmt, stages=stages or 0)
        unit: Any = self.maker(fmt)
        if stages not in (None, unit.latency):
            raise ValueError(
                f"{self.name} has a latency of its own, stages must be {unit.latency}, not {stages}"
            )
        return unit

    @property
    def most_stages(self) -> int | None:
        """Rows of registers that it takes at most; None if its latency is its own."""
        if self.maker is not None:
            return None
        return int(getattr(self.component, "steps", 1))


UNITS = (
    Unit(
        ElementDecoder,
        SMALL,
        codec.element_decoder,
        lambda f: ElementDecoder((f,), f.fraction_bits),
    ),
    Unit(MagnitudeEncoder, SMALL, codec.magnitude_encoder, lambda f: MagnitudeEncoder(f, 10, 16)),
    Unit(ElementEncoder, SMALL, codec.element_encoder, lambda f: ElementEncoder(f, 10, 17)),
    Unit(Multiplier, _ALL, elementwise.multiplier),
    Unit(Divider, _ALL, elementwise.divider),
    Unit(SquareRoot, _ALL, elementwise.square_root),
    Unit(ReciprocalSquareRoot, _ALL, elementwise.reciprocal_square_root),
    Unit(Comparator, _ALL, elementwise.comparator),
    Unit(Adder, SMALL, elementwise.adder),
    Unit(Adder16, _WIDE, elementwise.adder, lambda f: Adder16()),
    Unit(FusedMultiplyAdd, SMALL, elementwise.fused_multiply_add),
    Unit(Linear16, _WIDE, codec.linear16, lambda f: Linear16()),
    Unit(
        Accumulator16,
        _WIDE,
        block.accumulator,
        lambda f: Accumulator16(4),
        {"4 lanes": lambda: Accumulator16(4)},
    ),
    Unit(FusedMultiplyAdd16, _WIDE, elementwise.fused_multiply_add, lambda f: FusedMultiplyAdd16()),
    Unit(Exponential, _ALL, elementwise.exponential),
    Unit(Logarithm, _ALL, elementwise.logarithm),
    Unit(
        FloatToPal,
        _ALL,
        elementwise.float_to_pal,
        paged={
            **_each(FloatToPal, *_ALL),
            "PAL8T, bfloat16": lambda: FloatToPal(PAL8T, "bfloat16"),
        },
    ),
    Unit(
        PalToFloat,
        _ALL,
        elementwise.pal_to_float,
        paged={
            **_each(PalToFloat, *SMALL),
            "PAL8T, bfloat16": lambda: PalToFloat(PAL8T, "bfloat16"),
        },
    ),
    Unit(IntToPal, _ALL, elementwise.int_to_pal),
    Unit(PalToInt, _ALL, elementwise.pal_to_int, paged=_each(PalToInt, *SMALL)),
    Unit(Unblock, SMALL, elementwise.unblock),
    Unit(
        ReblockUnit,
        SMALL,
        lambda f, unit: block.reblock(unit),
        lambda f: ReblockUnit((f,), 4, 8),
        {
            **_each(lambda f: ReblockUnit((f,), 4, 8), *SMALL),
            "all of them": lambda: ReblockUnit(SMALL, 4, 8),
        },
    ),
    Unit(
        Widener,
        SMALL,
        elementwise.widener,
        lambda f: Widener((f,)),
        {"all of 8, 6 and 4 bits": lambda: Widener(SMALL)},
    ),
    Unit(
        IntegerLog,
        _WIDE,
        codec.integer_log,
        lambda f: IntegerLog(24),
        {"24 bits": lambda: IntegerLog(24), "32 bits": lambda: IntegerLog(32)},
    ),
    Unit(
        AccumulatorEncoder,
        (*SMALL, *_BOOKS),
        block.accumulator_encoder,
        lambda f: AccumulatorEncoder(DOT_PARAMS[f.name]),
        {"32-bit accumulator": lambda: AccumulatorEncoder(DOT_PARAMS["PAL8T"])},
    ),
    Unit(
        DotUnit,
        (*SMALL, *_BOOKS),
        adaptive.dot_products,
        lambda f: DotUnit(f, DOT_PARAMS[f.name], 16),
    ),
    Unit(ByteDecoder, _BOOKS, adaptive.byte_decoder, ByteDecoder),
    Unit(
        CodebookDecoder,
        _BOOKS,
        adaptive.codebook_decoder,
        lambda f: CodebookDecoder(f, f.fraction_bits),
    ),
    Unit(
        OperandDecoder,
        _BOOKS,
        adaptive.operand_decoder,
        lambda f: OperandDecoder((f,), DOT_PARAMS[f.name], 8),
    ),
    Unit(CodebookEncoder, _BOOKS, adaptive.codebook_encoder, CodebookEncoder),
    Unit(BlockEncoder, _BOOKS, adaptive.block_encoder, BlockEncoder),
    Unit(
        DotMatrix,
        (*SMALL, *_BOOKS),
        adaptive.dot_products,
        lambda f: DotMatrix((f,), DOT_PARAMS[f.name], 8, 4),
        {
            "PAL8T and PAL8U, 8 lanes, 4 columns": lambda: DotMatrix(
                (PAL8T, PAL8U), DOT_PARAMS["PAL8T"], 8, 4
            )
        },
    ),
)
