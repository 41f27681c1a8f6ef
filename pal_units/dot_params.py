"""Bits that dot products keep, and good points of them for each format."""

import reprlib
from dataclasses import dataclass, fields, replace

from pal_units.formats import BIAS_PER_OCTAVE, BIAS_STEPS, Format, check_bias_step, format_of
from pal_units.whole import whole


@dataclass(frozen=True)
class DotParams:
    """Number of bits kept on the way of a dot product (see ``docs/numerics.md``).

    Parameters
    ----------
    fraction_bits: ``P``, fraction bits of the product's logarithm: those of the operands'
        and of the block biases'.
    antilog_bits: ``L``, fraction bits of the antilog table, at least ``P - 2``: with fewer no
        significands of an octave round into one.
    product_bits: ``k``, bits of a product's magnitude, the least of which is always 1.
    guard_bits: bits of the accumulator below a product's least bit.
    accumulator_bits: width of the two's complement accumulator; it wraps.
    bias_step: resolution of the block biases in 1/8 octave; finer parts are ignored.
    operand_octaves: operands that lie this far below their block's top, or farther, count
        as zero; a power of two above 1, or None for no such limit.
    edge_biases: each operand's logarithm takes the fraction of an octave of its own block bias
        where it is decoded, so that lanes add two numbers, not three.  Products then lie up to
        an octave lower in their ``product_bits``.

    Raises
    ------
    TypeError: a number that is not an integer, ``edge_biases`` that is no bool.
    ValueError: a number out of range, no more ``product_bits`` than ``antilog_bits``, fewer of
        these than ``fraction_bits - 2``, too few ``fraction_bits`` for the biases, or
        ``operand_octaves`` that are no power of two.
    """

    fraction_bits: int
    antilog_bits: int
    product_bits: int = 12
    guard_bits: int = 8
    accumulator_bits: int = 32
    bias_step: int = 1
    operand_octaves: int | None = None
    edge_biases: bool = False

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name != "edge_biases" and (value is not None or f.name != "operand_octaves"):
                object.__setattr__(self, f.name, whole(f.name, value))
        if not isinstance(self.edge_biases, bool):
            raise TypeError(f"edge_biases must be a bool, not {reprlib.repr(self.edge_biases)}")
        check_bias_step(self.bias_step)
        for name, least, most in (
            ("fraction_bits", 0, 10),
            ("antilog_bits", 0, 30),
            ("product_bits", 1, 31),
            ("guard_bits", 0, 32),
            ("accumulator_bits", 2, 64),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be {least} to {most}, not {getattr(self, name)}")
        octaves = self.operand_octaves
        if octaves is not None and (octaves < 2 or octaves & (octaves - 1)):
            raise ValueError(f"operand_octaves must be a power of two above 1, not {octaves}")
        if self.product_bits <= self.antilog_bits:
            raise ValueError(
                f"product_bits must exceed antilog_bits, not {self.product_bits} "
                f"<= {self.antilog_bits}"
            )
        if self.antilog_bits < self.fraction_bits - 2:
            raise ValueError(
                f"antilog_bits must be at least fraction_bits - 2, not {self.antilog_bits} "
                f"< {self.fraction_bits - 2}"
            )
        if self.fraction_bits < self.bias_bits:
            raise ValueError(
                f"biases in steps of {self.bias_step}/8 octave need fraction_bits "
                f">= {self.bias_bits}, not {self.fraction_bits}"
            )

    @property
    def bias_bits(self) -> int:
        """Fraction bits of a block bias in octaves."""
        return (BIAS_PER_OCTAVE // self.bias_step).bit_length() - 1

    @property
    def lane_bias_bits(self) -> int:
        """Those that reach the lanes: none where operands have them."""
        return 0 if self.edge_biases else self.bias_bits

    def sum_bits(self, products: int) -> int:
        """Signed width of the exact sum of so many products."""
        return self.product_bits + 1 + (products - 1).bit_length()

    def max_blocks(self, block: int) -> int:
        """Blocks of ``block`` elements that no operand values can make overflow."""
        largest_term = block << (self.product_bits + self.guard_bits)
        return ((1 << (self.accumulator_bits - 1)) - 1) // largest_term


#: Good points for each format: enough bits that products do not cost accuracy, on data with
#: outliers too, and room for 127 blocks of any values.  Leaner ones are in ``docs/area.md``.
DOT_PARAMS = {
    "PAL4U": DotParams(3, 3, product_bits=9),
    "PAL4T": DotParams(3, 3, product_bits=10),
    "PAL6U": DotParams(3, 4, guard_bits=7),
    "PAL6T": DotParams(3, 5, product_bits=11),
    "PAL8U": DotParams(4, 5, guard_bits=7, bias_step=8),
    "PAL8T": DotParams(5, 6, product_bits=13, guard_bits=6),
    "PAL4A": DotParams(3, 4, product_bits=11, edge_biases=True),
    "PAL6A": DotParams(4, 6, product_bits=13, guard_bits=6, edge_biases=True),
    "PAL8A": DotParams(6, 9, product_bits=16, guard_bits=3, edge_biases=True),
}


def _of_codebooks(fmt: Format) -> DotParams:
    """Bits for a format of profile A without a good point of its own.

    With the levels of the library's formats, on gaussian numbers and on such with outliers, they
    cost less than 0.1 dB.  Products reach below the least level, an octave of edge biases further
    down; the accumulator has room for 127 blocks.
    """
    depth = -(-fmt.lambda_max >> fmt.fraction_bits)
    product_bits, guard_bits = min(max(fmt.fraction_bits + 11, depth + 2), 31), 6
    return DotParams(
        fmt.fraction_bits,
        fmt.fraction_bits + 3,
        product_bits,
        guard_bits,
        min(max(32, product_bits + guard_bits + (fmt.block - 1).bit_length() + 8), 64),
        edge_biases=True,
    )


def dot_params(fmt: Format | str, other: Format | str | None = None) -> DotParams:
    """Bits for dot products of one or two formats.

    The good point of the format with more fraction bits, or one more antilog bit than its
    ``F``, three more in profile A; no block bias is finer than the products take.
    """
    fmt = format_of(fmt)
    other = fmt if other is None else format_of(other)
    # Of equally fine ones that of profile A, whatever the order of the operands.
    finer = max(fmt, other, key=lambda f: (f.fraction_bits, f.codebooks is not None, f.name))
    adaptive = "A" in (fmt.profile, other.profile)
    params = DOT_PARAMS.get(finer.name)
    if params is None and finer.codebooks is not None:
        params = _of_codebooks(finer)
    elif params is None:
        params = DotParams(finer.fraction_bits, finer.fraction_bits + 1, bias_step=max(BIAS_STEPS))
    bias_step = min(fmt.bias_step, other.bias_step, params.bias_step)
    bias_bits = (BIAS_PER_OCTAVE // bias_step).bit_length() - 1
    return replace(
        params,
        fraction_bits=max(params.fraction_bits, bias_bits),
        bias_step=bias_step,
        edge_biases=adaptive,
    )
