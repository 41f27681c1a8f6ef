"""Sums of a block, shifted by the octaves of its biases, in an accumulator."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK

#: Bits that count the octaves of two block biases together.
OCTAVE_BITS = (2 * -ZERO_BLOCK // BIAS_PER_OCTAVE - 1).bit_length()


def shifted_block(m: Module, total: Value, octaves: Value, guard_bits: int) -> Value:
    """A block sum in accumulator units, shifted down by octaves and rounded down."""
    term = Signal(signed(len(total) + guard_bits), name="shifted")
    m.d.comb += term.eq((total << guard_bits) >> octaves)
    return term


class BlockAccumulator(wiring.Component):
    """Accumulate dot products of blocks from the sums of their slices.

    ::

        products + kept | shift   | accumulator -> result
                  cycle 1   cycle 2   cycle 3

    Latency 3 cycles from the last sum to ``result``, throughput one slice a cycle, back to back.
    The sum of a block so far goes back into the heap of the products (``kept``), so that they have
    no register of their own; where nothing is multiplied ``sum`` is ``kept``.  The block's sum goes
    its octaves down with ``guard_bits`` below, rounded down, and into the accumulator.  ``result``
    holds until the next hand-over: the second accumulator set, so that draining overlaps
    accumulation.

    Parameters
    ----------
    block_bits: signed width of a block's sum; guard_bits: of the accumulator below the sums' unit;
    accumulator_bits: its width; it wraps.
    slices: of a block; with one nothing is kept.
    scaled: whether blocks have octaves; without, sums are added as they are.
    multiplier: component that multiplies a block's sum before the shift, ports ``sum``,
        ``significand`` and ``o``; for number formats with finer scales than PAL's, see
        ``verif.baselines.rtl.scales``.

    Members
    -------
    sum : In(signed(block_bits)); sum_nan : In(1) - with this slice; a NaN in this slice
    kept : Out(signed(block_bits)) - what the sum of the next slice begins with
    octaves : In(5); zero : In(1) - of the block, whose sum then counts 0; with ``scaled`` only
    significand : In - of the block, with a ``multiplier`` only
    block_last, last : In(1) - a slice closes its block; and the dot product
    result : Out(signed(accumulator_bits)); nan : Out(1)

    ``overflowed``, a signal beside ``result`` for who needs it: bit 0 if a sum of the dot product
    left the accumulator's range, then bit 1 if below it where it first did; the result has wrapped.

    Example
    -------
    >>> from pal_units.rtl.evaluate import evaluate
    >>> unit = BlockAccumulator(8, 2, 16)
    >>> evaluate(unit, sum=-5, octaves=1, block_last=1, last=1)["result"]  # -5 * 4 / 2
    -10
    """

    latency = 3

    def __init__(
        self,
        block_bits: int,
        guard_bits: int,
        accumulator_bits: int,
        slices: int = 1,
        scaled: bool = True,
        multiplier: wiring.Component | None = None,
    ) -> None:
        self.guard_bits, self.slices, self.scaled = guard_bits, slices, scaled
        self.multiplier = multiplier
        block = {"octaves": In(OCTAVE_BITS), "zero": In(1)} if scaled else {}
        if multiplier:
            block["significand"] = multiplier.signature.members["significand"]
        super().__init__(
            {
                "sum": In(signed(block_bits)),
                "sum_nan": In(1),
                "kept": Out(signed(block_bits)),
                **block,
                "block_last": In(1),
                "last": In(1),
                "result": Out(signed(accumulator_bits)),
                "nan": Out(1),
            }
        )
        self.overflowed = Signal(2)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Cycle 1: the exact sum of the block so far.
        total, total_nan = Signal.like(self.sum), Signal()
        block_last, last = Signal(), Signal()
        m.d.sync += [
            total.eq(self.sum),
            total_nan.eq(self.sum_nan),
            block_last.eq(self.block_last),
            last.eq(self.block_last & self.last),
        ]
        if self.slices > 1:
            m.d.comb += self.kept.eq(Mux(block_last, 0, total))
            m.d.sync += total_nan.eq((total_nan & ~block_last) | self.sum_nan)

        # Cycle 2: in units of the accumulator.
        closes, nan = block_last, total_nan & block_last
        if self.scaled:
            octaves, zero = Signal(OCTAVE_BITS), Signal()
            m.d.sync += [octaves.eq(self.octaves), zero.eq(self.zero)]
            closes, nan = block_last & ~zero, nan & ~zero
        block: Value = total
        if self.multiplier:
            m.submodules.multiplier = multiplier = self.multiplier
            significand = Signal.like(self.significand)
            m.d.sync += significand.eq(self.significand)
            m.d.comb += [multiplier.sum.eq(total), multiplier.significand.eq(significand)]
            block = multiplier.o
        closed = Mux(closes, block, 0).as_signed()
        shifted = closed << self.guard_bits
        if self.scaled:
            shifted = shifted_block(m, closed, octaves, self.guard_bits)
        term, term_nan, ends = Signal(signed(len(shifted))), Signal(), Signal()
        m.d.sync += [term.eq(shifted), term_nan.eq(nan), ends.eq(last)]

        # Cycle 3: the accumulator and, after the last block, the result.
        accumulator, accumulator_nan = Signal.like(self.result), Signal()
        # Terms may be wider than the accumulator: all bits from its sign on are alike within it.
        width = len(accumulator)
        following = Signal(signed(max(width, len(term)) + 1))
        signs = range(width - 1, len(following) - 1)
        outside = reduce(or_, (following[-1] ^ following[i] for i in signs))
        left, accumulator_left = Signal(2), Signal(2)
        m.d.comb += [
            following.eq(accumulator + term),
            left.eq(Mux(accumulator_left[0], accumulator_left, Cat(outside, following[-1]))),
        ]
        m.d.sync += [
            accumulator.eq(Mux(ends, 0, following)),
            accumulator_nan.eq(~ends & (accumulator_nan | term_nan)),
            accumulator_left.eq(Mux(ends, 0, left)),
        ]
        with m.If(ends):
            m.d.sync += [
                self.result.eq(following),
                self.nan.eq(accumulator_nan | term_nan),
                self.overflowed.eq(left),
            ]
        return m
