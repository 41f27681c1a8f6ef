"""Block dot product: exact integer sums of slices and blocks, a shift, an accumulator."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK
from pal_units.rtl.codebook import OPERAND_OCTAVE_BITS
from pal_units.rtl.product import SliceSum

#: Bits that count the octaves of two block biases together.
OCTAVE_BITS = (2 * -ZERO_BLOCK // BIAS_PER_OCTAVE - 1).bit_length()


class BlockBias(wiring.Component):
    """Sum of two block biases as octaves down and a fraction of an octave down.

    Combinational: latency 0.  A sum above 0 counts as 0; what is finer than the bias step
    is ignored.

    Members
    -------
    beta_a, beta_b : In(signed(8)); octaves : Out(5); fraction : Out(bias_bits); zero : Out(1)
    """

    latency = 0

    def __init__(self, params: DotParams) -> None:
        self.params = params
        super().__init__(
            {
                "beta_a": In(signed(8)),
                "beta_b": In(signed(8)),
                "octaves": Out(OCTAVE_BITS),
                "fraction": Out(max(params.bias_bits, 1)),
                "zero": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        down = Signal(signed(10))
        below_top = Signal(9)
        octave_at = BIAS_PER_OCTAVE.bit_length() - 1
        m.d.comb += [
            down.eq(-(self.beta_a + self.beta_b)),
            below_top.eq(Mux(down < 0, 0, down)),
            self.octaves.eq(below_top[octave_at:]),
            self.fraction.eq(below_top[octave_at - self.params.bias_bits : octave_at]),
            self.zero.eq((self.beta_a == ZERO_BLOCK) | (self.beta_b == ZERO_BLOCK)),
        ]
        return m


def shifted_block(m: Module, total: Value, octaves: Value, params: DotParams) -> Value:
    """A block sum in accumulator units, shifted down by octaves and rounded down."""
    term = Signal(signed(len(total) + params.guard_bits), name="term")
    m.d.comb += term.eq((total << params.guard_bits) >> octaves)
    return term


class DotColumn(wiring.Component):
    """Accumulate dot products of decoded elements, ``lanes`` a cycle.

    ::

        elements -> products, slice sum | block sum | shift   | accumulator -> result
                    cycle 1               cycle 2     cycle 3   cycle 4

    Latency 4 cycles from the last elements to ``result``; throughput one slice of
    ``lanes`` elements a cycle, back to back.  The biases of a block come with all of its
    slices: their fraction of an octave goes into the products, their octaves shift the
    block's sum.  A slice with ``block_last`` closes a block and adds it to the accumulator;
    a slice with ``last`` (and ``block_last``) also hands the accumulator to ``result`` and
    the next one starts from 0.  ``result`` holds until the next hand-over: the second
    accumulator set, so that draining overlaps accumulation.  Arithmetic is that of
    ``model.dot``.

    Parameters
    ----------
    element: layout of decoded elements, or of those of ``a`` and of ``b``; params: bits kept;
    lanes: products a cycle; block: elements in a block, which sizes the block sum.

    Members
    -------
    a, b : In(lanes x element); beta_a, beta_b : In(signed(8)), or under ``edge_biases``
    octaves_a, octaves_b : In(4); zero_a, zero_b : In(1) - those of ``OperandDecoder``
    mac, block_last, last : In(1) - control of this cycle's slice
    result : Out(signed(accumulator_bits)); nan : Out(1)

    ``overflowed``, a signal beside ``result`` for who needs it: bit 0 if a sum of the dot product
    left the accumulator's range, then bit 1 if below it where it first did; the result has wrapped.
    """

    latency = 4

    def __init__(
        self,
        element: data.StructLayout | tuple[data.StructLayout, data.StructLayout],
        params: DotParams,
        lanes: int,
        block: int,
    ) -> None:
        self.elements = element if isinstance(element, tuple) else (element, element)
        self.params, self.lanes, self.block = params, lanes, block
        biases: dict[str, Any] = {"beta_a": In(signed(8)), "beta_b": In(signed(8))}
        if params.edge_biases:
            biases = {
                **{f"octaves_{side}": In(OPERAND_OCTAVE_BITS) for side in "ab"},
                **{f"zero_{side}": In(1) for side in "ab"},
            }
        super().__init__(
            {
                "a": In(data.ArrayLayout(self.elements[0], lanes)),
                "b": In(data.ArrayLayout(self.elements[1], lanes)),
                **biases,
                "mac": In(1),
                "block_last": In(1),
                "last": In(1),
                "result": Out(signed(params.accumulator_bits)),
                "nan": Out(1),
            }
        )
        self.overflowed = Signal(2)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.params

        # Cycle 1: products and their sum.
        m.submodules.slice_sum = slice_sum = SliceSum(self.elements, p, self.lanes)
        octaves, zero = Signal(OCTAVE_BITS), Signal()
        if p.edge_biases:
            m.d.comb += [
                octaves.eq(self.octaves_a + self.octaves_b),
                zero.eq(self.zero_a | self.zero_b),
            ]
        else:
            m.submodules.bias = bias = BlockBias(p)
            m.d.comb += [
                bias.beta_a.eq(self.beta_a),
                bias.beta_b.eq(self.beta_b),
                octaves.eq(bias.octaves),
                zero.eq(bias.zero),
                slice_sum.bias.eq(bias.fraction),
            ]
        sum_1, nan_1 = Signal.like(slice_sum.o), Signal()
        mac_1, block_last_1, last_1 = Signal(), Signal(), Signal()
        octaves_1, zero_1 = Signal(OCTAVE_BITS), Signal()
        m.d.comb += [slice_sum.a.eq(self.a), slice_sum.b.eq(self.b)]
        m.d.sync += [
            sum_1.eq(slice_sum.o),
            nan_1.eq(slice_sum.nan),
            mac_1.eq(self.mac),
            block_last_1.eq(self.mac & self.block_last),
            last_1.eq(self.mac & self.block_last & self.last),
            octaves_1.eq(octaves),
            zero_1.eq(zero),
        ]

        # Cycle 2: the exact sum of the block.
        sum_bits = p.sum_bits(self.block)
        total, total_nan = Signal(signed(sum_bits)), Signal()
        m.d.comb += [total.eq(sum_1), total_nan.eq(nan_1)]
        if self.lanes < self.block:
            partial, partial_nan = Signal(signed(sum_bits)), Signal()
            m.d.comb += [total.eq(sum_1 + partial), total_nan.eq(nan_1 | partial_nan)]
            with m.If(mac_1):
                m.d.sync += [
                    partial.eq(Mux(block_last_1, 0, total)),
                    partial_nan.eq(Mux(block_last_1, 0, total_nan)),
                ]
        block_2, block_nan_2, close_2, last_2 = (
            Signal(signed(sum_bits)),
            Signal(),
            Signal(),
            Signal(),
        )
        octaves_2 = Signal(OCTAVE_BITS)
        m.d.sync += [
            block_2.eq(Mux(zero_1, 0, total)),
            block_nan_2.eq(~zero_1 & total_nan),
            octaves_2.eq(octaves_1),
            close_2.eq(block_last_1),
            last_2.eq(last_1),
        ]

        # Cycle 3: the block's octaves.
        term_3 = Signal(signed(sum_bits + p.guard_bits))
        nan_3, close_3, last_3 = Signal(), Signal(), Signal()
        m.d.sync += [
            term_3.eq(shifted_block(m, block_2, octaves_2, p)),
            nan_3.eq(block_nan_2),
            close_3.eq(close_2),
            last_3.eq(last_2),
        ]

        # Cycle 4: the accumulator and, after the last block, the result.
        accumulator = Signal(signed(p.accumulator_bits))
        accumulator_nan = Signal()
        following = Signal(signed(p.accumulator_bits + 1))
        left, accumulator_left = Signal(2), Signal(2)
        m.d.comb += [
            following.eq(accumulator + term_3),
            left.eq(
                Mux(
                    accumulator_left[0],
                    accumulator_left,
                    Cat(following[-1] ^ following[-2], following[-1]),
                )
            ),
        ]
        with m.If(close_3):
            m.d.sync += [
                accumulator.eq(Mux(last_3, 0, following)),
                accumulator_nan.eq(Mux(last_3, 0, accumulator_nan | nan_3)),
                accumulator_left.eq(Mux(last_3, 0, left)),
            ]
        with m.If(last_3):
            m.d.sync += [
                self.result.eq(following),
                self.nan.eq(accumulator_nan | nan_3),
                self.overflowed.eq(left),
            ]
        return m
