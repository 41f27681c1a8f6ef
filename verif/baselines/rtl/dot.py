"""Fixed-point dot unit around any slice of products: the same for PAL and its peers."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.dot_params import DotParams
from pal_units.rtl.block_accumulator import shifted_block
from pal_units.rtl.dot import BlockBias

#: Doublings that an accumulator holds above a full-scale product: sums of 1024 of them.
HEADROOM_BITS = 10


class FixedPointDot(wiring.Component):
    """Accumulate sums of products in one register, a slice a cycle.

    Latency 1, throughput one slice a cycle.  ``result`` and ``nan`` are the only registers:
    inputs are not registered.  A slice with ``first`` starts a new sum.  The accumulator
    holds the sum of 1024 products of any values.  With a block scale the slice's sum goes
    ``octaves`` of the two biases down first, keeping guard bits (``BlockBias``); without,
    it is added as it is.

    Parameters
    ----------
    slice_sum: combinational component with ports ``a``, ``b`` and outputs ``o`` (signed,
        the sum) and ``nan``; one with a port ``bias`` takes the fraction of an octave.
    lanes: products in a slice.
    scale: resolution of the block biases and guard bits, of which only those two matter;
        None for no block scale.

    Members
    -------
    a, b : In(as of slice_sum); first : In(1)
    beta_a, beta_b : In(signed(8)), 1/8 octave, with a block scale only
    result : Out(signed(product + guard + 10)); nan : Out(1)
    """

    latency = 1

    def __init__(
        self, slice_sum: wiring.Component, lanes: int, scale: DotParams | None = None
    ) -> None:
        self.slice_sum, self.lanes, self.scale = slice_sum, lanes, scale
        guard = scale.guard_bits if scale else 0
        width = len(slice_sum.o) - (lanes - 1).bit_length() + guard + HEADROOM_BITS
        ports = slice_sum.signature.members
        betas = {"beta_a": In(signed(8)), "beta_b": In(signed(8))} if scale else {}
        super().__init__(
            {
                "a": ports["a"],
                "b": ports["b"],
                "first": In(1),
                **betas,
                "result": Out(signed(width)),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slice_sum = slice_sum = self.slice_sum
        m.d.comb += [slice_sum.a.eq(self.a), slice_sum.b.eq(self.b)]
        term = slice_sum.o
        if self.scale:
            m.submodules.bias = bias = BlockBias(self.scale)
            m.d.comb += [bias.beta_a.eq(self.beta_a), bias.beta_b.eq(self.beta_b)]
            if "bias" in slice_sum.signature.members:
                m.d.comb += slice_sum.bias.eq(bias.fraction)
            term = shifted_block(m, term, bias.octaves, self.scale.guard_bits)
        kept = Signal.like(self.result)
        m.d.comb += kept.eq(Mux(self.first, 0, self.result))
        m.d.sync += [
            self.result.eq(kept + term),
            self.nan.eq((self.nan & ~self.first) | slice_sum.nan),
        ]
        return m
