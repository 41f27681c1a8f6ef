"""Sums of a block, shifted by the octaves of its biases, in an accumulator."""

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

        slice sum | block sum, shift | accumulator -> result
                  cycle 1            cycle 2       cycle 3

    Latency 3 cycles from the last slice sum to ``result``, throughput one slice a cycle, back to
    back.  The sums of the slices of a block add up exactly; the block's sum goes its octaves down
    with ``guard_bits`` below, rounded down, and into the accumulator.  ``result`` holds until the
    next hand-over: the second accumulator set, so that draining overlaps accumulation.

    Parameters
    ----------
    slice_bits: signed width of a slice's sum; block_bits: that of a block's sum;
    slices: of a block; guard_bits: of the accumulator below the sums' unit;
    accumulator_bits: its width; it wraps.
    scaled: whether blocks have octaves; without, sums are added as they are.

    Members
    -------
    sum : In(signed(slice_bits)); sum_nan : In(1)
    octaves : In(5) - that the block's sum goes down; with ``scaled`` only
    mac, block_last, last : In(1) - a slice; it closes a block; it also closes the dot product
    result : Out(signed(accumulator_bits)); nan : Out(1)

    ``overflowed``, a signal beside ``result`` for who needs it: bit 0 if a sum of the dot product
    left the accumulator's range, then bit 1 if below it where it first did; the result has wrapped.

    Example
    -------
    >>> from pal_units.rtl.evaluate import evaluate
    >>> unit = BlockAccumulator(8, 8, 1, 2, 16)
    >>> evaluate(unit, sum=-5, octaves=1, mac=1, block_last=1, last=1)["result"]  # -5 * 4 / 2
    -10
    """

    latency = 3

    def __init__(
        self,
        slice_bits: int,
        block_bits: int,
        slices: int,
        guard_bits: int,
        accumulator_bits: int,
        scaled: bool = True,
    ) -> None:
        self.block_bits, self.slices = block_bits, slices
        self.guard_bits, self.scaled = guard_bits, scaled
        super().__init__(
            {
                "sum": In(signed(slice_bits)),
                "sum_nan": In(1),
                **({"octaves": In(OCTAVE_BITS)} if scaled else {}),
                "mac": In(1),
                "block_last": In(1),
                "last": In(1),
                "result": Out(signed(accumulator_bits)),
                "nan": Out(1),
            }
        )
        self.overflowed = Signal(2)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sum_1, nan_1 = Signal.like(self.sum), Signal()
        mac_1, block_last_1, last_1 = Signal(), Signal(), Signal()
        m.d.sync += [
            sum_1.eq(self.sum),
            nan_1.eq(self.sum_nan),
            mac_1.eq(self.mac),
            block_last_1.eq(self.mac & self.block_last),
            last_1.eq(self.mac & self.block_last & self.last),
        ]

        # Cycle 2: the exact sum of the block, and its octaves.
        total, total_nan = Signal(signed(self.block_bits)), Signal()
        m.d.comb += [total.eq(sum_1), total_nan.eq(nan_1)]
        if self.slices > 1:
            partial, partial_nan = Signal.like(total), Signal()
            m.d.comb += [total.eq(sum_1 + partial), total_nan.eq(nan_1 | partial_nan)]
            with m.If(mac_1):
                m.d.sync += [
                    partial.eq(Mux(block_last_1, 0, total)),
                    partial_nan.eq(Mux(block_last_1, 0, total_nan)),
                ]
        term = Signal(signed(self.block_bits + self.guard_bits))
        nan_2, close_2, last_2 = Signal(), Signal(), Signal()
        m.d.sync += [close_2.eq(block_last_1), last_2.eq(last_1), nan_2.eq(total_nan)]
        if self.scaled:
            octaves = Signal(OCTAVE_BITS)
            m.d.sync += [
                octaves.eq(self.octaves),
                term.eq(shifted_block(m, total, octaves, self.guard_bits)),
            ]
        else:
            m.d.sync += term.eq(total << self.guard_bits)

        # Cycle 3: the accumulator and, after the last block, the result.
        accumulator = Signal.like(self.result)
        accumulator_nan = Signal()
        following = Signal(signed(len(accumulator) + 1))
        left, accumulator_left = Signal(2), Signal(2)
        m.d.comb += [
            following.eq(accumulator + term),
            left.eq(
                Mux(
                    accumulator_left[0],
                    accumulator_left,
                    Cat(following[-1] ^ following[-2], following[-1]),
                )
            ),
        ]
        with m.If(close_2):
            m.d.sync += [
                accumulator.eq(Mux(last_2, 0, following)),
                accumulator_nan.eq(Mux(last_2, 0, accumulator_nan | nan_2)),
                accumulator_left.eq(Mux(last_2, 0, left)),
            ]
        with m.If(last_2):
            m.d.sync += [
                self.result.eq(following),
                self.nan.eq(accumulator_nan | nan_2),
                self.overflowed.eq(left),
            ]
        return m
