"""What stands around any products: the core of a dot unit, and a column of a matrix.

The same for PAL and its peers.  ``products`` is a combinational component with decoded operands
``a`` and ``b``, with what their blocks' scales are (``scale_a``, ``scale_b``) unless there are
none, with the sum of a slice, ``o``, its ``nan``, and the ``octaves`` that scales put it down.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.rtl.block_accumulator import BlockAccumulator, shifted_block

#: Doublings that an accumulator holds above a full-scale product: sums of 1024 of them.
HEADROOM_BITS = 10
#: Ports of operands.
OPERANDS = ("a", "b", "scale_a", "scale_b")


def _bits(count: int) -> int:
    return (count - 1).bit_length()


def operand_ports(products: wiring.Component) -> dict[str, wiring.Member]:
    """Those of the ports of operands that products have."""
    members = products.signature.members
    return {name: members[name] for name in OPERANDS if name in members}


class DotCore(wiring.Component):
    """Accumulate sums of products in one register, a slice a cycle.

    Latency 1, throughput one slice a cycle.  ``result`` and ``nan`` are the only registers.  A
    slice with ``first`` starts a new sum.  The accumulator holds the sum of 1024 products of any
    values.  With a block scale the slice's sum goes its octaves down first, keeping guard bits.

    Parameters
    ----------
    products: see above; lanes: in a slice; guard_bits: below a product's unit.

    Members
    -------
    a, b, scale_a, scale_b : In(as of products); first : In(1)
    result : Out(signed(product + guard + 10)); nan : Out(1)
    """

    latency = 1

    def __init__(self, products: wiring.Component, lanes: int, guard_bits: int) -> None:
        self.products, self.guard_bits = products, guard_bits
        width = len(products.o) - _bits(lanes) + guard_bits + HEADROOM_BITS
        super().__init__(
            {**operand_ports(products), "first": In(1), "result": Out(signed(width)), "nan": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.products = products = self.products
        m.d.comb += [getattr(products, n).eq(getattr(self, n)) for n in operand_ports(products)]
        term = products.o << self.guard_bits
        if "octaves" in products.signature.members:
            term = shifted_block(m, products.o, products.octaves, self.guard_bits)
        kept = Signal.like(self.result)
        m.d.comb += kept.eq(Mux(self.first, 0, self.result))
        m.d.sync += [
            self.result.eq(kept + term),
            self.nan.eq((self.nan & ~self.first) | products.nan),
        ]
        return m


class MatrixColumn(wiring.Component):
    """A column of a matrix unit: registers of its weights, products, and a ``BlockAccumulator``.

    Latency 4 from weights, 3 from ``a``, which comes from registers at the matrix' edge a cycle
    later; throughput one slice a cycle.

    Parameters
    ----------
    products: see above; lanes: in a slice; block: elements that share a scale, a multiple of
    ``lanes``, or ``lanes`` without scales; guard_bits: below a product's unit.

    Members
    -------
    a, scale_a : In(as of products), of the slice whose weights came a cycle before;
    b, scale_b : In(as of products); mac, block_last, last : In(1) - with ``a``
    result : Out(signed(product + guard + 10)); nan : Out(1); overflowed : Out(2)
    """

    latency = 1 + BlockAccumulator.latency

    def __init__(self, products: wiring.Component, lanes: int, block: int, guard_bits: int) -> None:
        self.products, self.lanes, self.block, self.guard_bits = products, lanes, block, guard_bits
        self.scaled = "octaves" in products.signature.members
        width = len(products.o) - _bits(lanes) + guard_bits + HEADROOM_BITS
        super().__init__(
            {
                **operand_ports(products),
                "mac": In(1),
                "block_last": In(1),
                "last": In(1),
                "result": Out(signed(width)),
                "nan": Out(1),
                "overflowed": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.products = products = self.products
        for name in operand_ports(products):
            value = getattr(self, name)
            if name in ("b", "scale_b"):
                register = Signal.like(value, name=f"{name}_register")
                m.d.sync += register.eq(value)
                value = register
            m.d.comb += getattr(products, name).eq(value)
        bits = len(products.o)
        m.submodules.accumulate = accumulate = BlockAccumulator(
            bits,
            bits - _bits(self.lanes) + _bits(self.block),
            self.block // self.lanes,
            self.guard_bits,
            len(self.result),
            self.scaled,
        )
        if self.scaled:
            m.d.comb += accumulate.octaves.eq(products.octaves)
        m.d.comb += [
            accumulate.sum.eq(products.o),
            accumulate.sum_nan.eq(products.nan),
            accumulate.mac.eq(self.mac),
            accumulate.block_last.eq(self.block_last),
            accumulate.last.eq(self.last),
            self.result.eq(accumulate.result),
            self.nan.eq(accumulate.nan),
            self.overflowed.eq(accumulate.overflowed),
        ]
        return m


class RegisteredEdge(wiring.Component):
    """An edge unit with registers at its outputs: the operands of all columns of a matrix.

    Latency 1.  Members: those of ``edge``, a combinational component.
    """

    latency = 1

    def __init__(self, edge: wiring.Component) -> None:
        self.edge = edge
        super().__init__(dict(edge.signature.members.items()))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.edge = edge = self.edge
        for name, member in edge.signature.members.items():
            here, there = getattr(self, name), getattr(edge, name)
            if member.flow is In:
                m.d.comb += there.eq(here)
            else:
                m.d.sync += here.eq(there)
        return m
