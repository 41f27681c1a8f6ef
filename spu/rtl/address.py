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

    Four nested counters, number 0 innermost, step once for each ``advance``; counter ``i`` runs
    from 0 to ``count_less_1`` of its loop.

    Parameters
    ----------
    bits: width of an address, 1 to 12.

    Raises
    ------
    ValueError: ``bits`` out of range.

    Members
    -------
    advance : In(1); base : In(12); loops : In(4 x ADDRESS_LOOP); address : Out(bits)

    Contract
    --------
    Latency: 0 from ``base`` to ``address``; the step of an ``advance`` shows in the next cycle.
    Throughput: an address a cycle.
    Holds: without ``advance`` nothing changes.
    Reset: all counters to 0, so that ``address`` is ``base``.
    Corner cases: the first address follows the last; a loop with ``count_less_1`` 0 has no effect;
        strides are signed, addresses wrap.

    Example
    -------
    >>> from spu.rtl.observe import observe
    >>> loops = [{"count_less_1": 1, "stride": 3}, {"count_less_1": 2, "stride": 10}, {}, {}]
    >>> first = {"base": 5, "loops": loops, "advance": 1}
    >>> observe(AddressGenerator(8), [first, *[{}] * 6], "address")
    [5, 8, 15, 18, 25, 28, 5]
    """

    latency = 0

    def __init__(self, bits: int) -> None:
        most = ADDRESS_BASE["base"].width
        if not 1 <= bits <= most:
            raise ValueError(f"bits must be 1 to {most}, those of a base, not {bits}")
        super().__init__(
            {
                "advance": In(1),
                "base": In(ADDRESS_BASE["base"].shape),
                "loops": In(LOOPS),
                "address": Out(bits),
            }
        )

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
