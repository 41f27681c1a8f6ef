"""Address generators."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.params import ADDRESS_LOOPS
from spu.rtl.layouts import ADDRESS_BASE, ADDRESS_LOOP

#: The counters of a generator, the innermost first.
LOOPS = data.ArrayLayout(ADDRESS_LOOP, ADDRESS_LOOPS)


class AddressGenerator(wiring.Component):
    """Affine addresses: ``base + sum(counter_i * stride_i)`` modulo ``2^bits``.

    Four nested counters, number 0 innermost, step once for each ``advance``; counter
    ``i`` runs from 0 to ``count_i - 1``.  The address is combinational; it moves on in
    the cycle after ``advance``.

    Members
    -------
    advance : In(1); base : In(12); loops : In(4 x ADDRESS_LOOP); address : Out(bits)
    """

    latency = 0

    def __init__(self, bits: int) -> None:
        most = ADDRESS_BASE["base"].width
        if not 1 <= bits <= most:
            raise ValueError(f"bits must be 1 to {most}, those of a base, not {bits}")
        super().__init__({"advance": In(1), "base": In(ADDRESS_BASE["base"].shape),
                          "loops": In(LOOPS), "address": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        carry, total = self.advance, self.base
        for i in range(ADDRESS_LOOPS):
            loop = self.loops[i]
            counter = Signal.like(loop.count_less_1, name=f"counter_{i}")
            offset = Signal(len(self.address), name=f"offset_{i}")
            at_end = counter == loop.count_less_1
            with m.If(carry):
                m.d.sync += [
                    counter.eq(Mux(at_end, 0, counter + 1)),
                    offset.eq(Mux(at_end, 0, offset + loop.stride)),
                ]
            carry, total = carry & at_end, total + offset
        m.d.comb += self.address.eq(total)
        return m
