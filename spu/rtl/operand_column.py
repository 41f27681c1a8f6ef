"""A column of a matrix unit: products of decoded operands, and their accumulators."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.rtl.block_accumulator import OCTAVE_BITS, shifted_block
from pal_units.rtl.codebook import OPERAND_OCTAVE_BITS
from pal_units.rtl.heap import heap_sum
from pal_units.rtl.product import Product
from spu.arch.params import BLOCK


class OperandColumn(wiring.Component):
    """Accumulate dot products of decoded operands, ``lanes`` a cycle.

    ::

        operands -> products, block sum | shift | accumulator -> result
                    cycle 1               cycle 2 cycle 3

    The arithmetic of ``DotColumn`` under ``edge_biases``.  Where nothing is multiplied ``zero_a``
    is set and all of ``a`` is zero: so no register but ``result`` needs to be told that it holds.
    The sum of a block so far goes into the heap of the products, which saves a register of theirs.

    Parameters
    ----------
    elements: layouts of operands ``a`` and ``b``: ``lam``, ``negative``, ``zero``.
    params: bits kept, of ``edge_biases``.
    lanes: products a cycle.

    Members
    -------
    a, b : In(lanes x element); octaves_a, octaves_b : In(4) - that their blocks are down
    zero_a, zero_b, nan_a, nan_b : In(1) - a block of zeros; a slice has NaN
    block_last, last : In(1) - a slice closes its block; and the dot product
    result : Out(signed(accumulator_bits)); nan : Out(1)
    overflowed : Out(2) - bit 0 if a sum of the dot product left the accumulator's range, then bit 1
        if below it where it first did; the result has wrapped

    Contract
    --------
    Latency: 3 from the last operands of a dot product to its ``result``.
    Throughput: a slice a cycle.
    Holds: none of its own; ``result`` stays until the next one comes.
    Reset: nothing accumulated.
    Corner cases: ``block_last`` without a slice closes an empty block, which changes no sum; NaN in
        a block of zeros does not count.

    Example
    -------
    >>> from spu.arch.params import DOTS
    >>> from spu.rtl.observe import observe
    >>> element = data.StructLayout({"lam": 9, "negative": 1, "zero": 1})
    >>> unit = OperandColumn((element, element), DOTS["lean"], 1)
    >>> last = {"a": [{"lam": 32}], "b": [{"lam": 32}], "block_last": 1, "last": 1}
    >>> idle = {"a": [{"zero": 1}], "zero_a": 1, "block_last": 0, "last": 0}
    >>> observe(unit, [last, idle, {}, {}], "result")[-1] / 2**16   # 1/2 * 1/2, cut to 7 bits
    0.248291015625
    """

    latency = 3

    def __init__(
        self, elements: tuple[data.StructLayout, data.StructLayout], params: DotParams, lanes: int
    ) -> None:
        self.elements, self.params, self.lanes = elements, params, lanes
        super().__init__(
            {
                **{
                    side: In(data.ArrayLayout(element, lanes))
                    for side, element in zip("ab", elements, strict=True)
                },
                **{f"octaves_{side}": In(OPERAND_OCTAVE_BITS) for side in "ab"},
                **{f"{flag}_{side}": In(1) for side in "ab" for flag in ("zero", "nan")},
                "block_last": In(1),
                "last": In(1),
                "result": Out(signed(params.accumulator_bits)),
                "nan": Out(1),
                "overflowed": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.params

        # Cycle 1: the exact sum of the block so far.
        rows = []
        for lane in range(self.lanes):
            m.submodules[f"product_{lane}"] = product = Product(self.elements, p)
            m.d.comb += [product.a.eq(self.a[lane]), product.b.eq(self.b[lane])]
            rows.append(Cat(product.nonzero, product.upper, ~product.negative))
        total, total_nan = Signal(signed(p.sum_bits(BLOCK))), Signal()
        octaves, block_last, last = Signal(OCTAVE_BITS), Signal(), Signal()
        # First in the heap, so that all partial sums have its width.
        kept = Mux(block_last, 0, total)
        nan = (self.nan_a | self.nan_b) & ~(self.zero_a | self.zero_b)
        m.d.sync += [
            total.eq(heap_sum([kept, *rows, -(self.lanes << p.product_bits)], len(total))),
            total_nan.eq((total_nan & ~block_last) | nan),
            octaves.eq(self.octaves_a + self.octaves_b),
            block_last.eq(self.block_last),
            last.eq(self.block_last & self.last),
        ]

        # Cycle 2: in units of the accumulator.
        closed = Mux(block_last, total, 0).as_signed()
        term = Signal(signed(len(total) + p.guard_bits))
        term_nan, ends = Signal(), Signal()
        m.d.sync += [
            term.eq(shifted_block(m, closed, octaves, p.guard_bits)),
            term_nan.eq(total_nan & block_last),
            ends.eq(last),
        ]

        # Cycle 3: the accumulator and, after the last block, the result.
        accumulator, accumulator_nan = Signal.like(self.result), Signal()
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
