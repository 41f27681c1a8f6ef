"""Dot products of decoded elements: lanes of products before a ``BlockAccumulator``."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK
from pal_units.rtl.block_accumulator import OCTAVE_BITS, BlockAccumulator
from pal_units.rtl.codebook import OPERAND_OCTAVE_BITS
from pal_units.rtl.product import SliceSum


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


class DotColumn(wiring.Component):
    """Accumulate dot products of decoded elements, ``lanes`` a cycle.

    ::

        elements -> products, block sum | shift   | accumulator -> result
                    cycle 1               cycle 2   cycle 3

    Latency 3 cycles from the last elements to ``result``; throughput one slice of
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
    octaves_a, octaves_b : In(4); zero_a, zero_b, nan_a, nan_b : In(1) - of ``OperandDecoder``
    mac, block_last, last : In(1) - control of this cycle's slice; without ``mac`` all of ``a`` is
    zero
    result : Out(signed(accumulator_bits)); nan : Out(1)

    ``overflowed``, a signal beside ``result`` for who needs it: bit 0 if a sum of the dot product
    left the accumulator's range, then bit 1 if below it where it first did; the result has wrapped.
    """

    latency = 3

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
                **{f"{flag}_{side}": In(1) for side in "ab" for flag in ("zero", "nan")},
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
        m.submodules.slice_sum = slice_sum = SliceSum(self.elements, p, self.lanes, self.block)
        m.submodules.block = block = BlockAccumulator(
            p.sum_bits(self.block), p.guard_bits, p.accumulator_bits, self.block // self.lanes
        )
        if slice_sum.keeps:
            m.d.comb += slice_sum.kept.eq(block.kept)
        nan: Value = slice_sum.nan
        if p.edge_biases:
            nan = self.nan_a | self.nan_b
            m.d.comb += [
                block.octaves.eq(self.octaves_a + self.octaves_b),
                # Operands of a block of zeros are zeros.
                block.zero.eq(0),
            ]
            nan = nan & ~(self.zero_a | self.zero_b)
        else:
            m.submodules.bias = bias = BlockBias(p)
            m.d.comb += [
                bias.beta_a.eq(self.beta_a),
                bias.beta_b.eq(self.beta_b),
                block.octaves.eq(bias.octaves),
                block.zero.eq(bias.zero),
                slice_sum.bias.eq(bias.fraction),
            ]
        m.d.comb += [
            slice_sum.a.eq(self.a),
            slice_sum.b.eq(self.b),
            block.sum.eq(slice_sum.o),
            block.sum_nan.eq(nan & self.mac),
            block.block_last.eq(self.mac & self.block_last),
            block.last.eq(self.last),
            self.result.eq(block.result),
            self.nan.eq(block.nan),
            self.overflowed.eq(block.overflowed),
        ]
        return m
