"""What stands around any products: the core of a dot unit, and a column of a matrix.

The same for PAL and its peers.  ``products`` is a combinational component with decoded operands
``a`` and ``b`` and what is said of their blocks (``scale_a``, ``scale_b``) if there is anything to
say; with the sum of a slice, ``o``, and of a block so far, ``kept``, if blocks are longer; with its
``nan``, the ``octaves`` that scales put it down, and the ``significand`` that they multiply it by
if they are finer than octaves: ``multiplier`` makes the component that does so.
"""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
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


def _multiplier(products: Any) -> Any:
    """What multiplies a sum by the significand of its blocks, None if nothing does."""
    return products.multiplier() if "significand" in products.signature.members else None


def _accumulator_bits(
    products: wiring.Component, multiplier: Any, elements: int, guard: int
) -> int:
    """Of sums of ``elements`` products."""
    total = multiplier.o if multiplier else products.o
    return len(total) - _bits(elements) + guard + HEADROOM_BITS


class DotCore(wiring.Component):
    """Accumulate sums of products in one register, a slice a cycle.

    Latency 1, throughput one slice a cycle.  ``result`` and ``nan`` are the only registers.  A
    slice with ``first`` starts a new sum.  The accumulator holds the sum of 1024 products of any
    values.  With a block scale the slice's sum goes its octaves down first, keeping guard bits.

    Parameters
    ----------
    products: see above, of slices alone; lanes: in a slice; guard_bits: below a product's unit.

    Members
    -------
    a, b, scale_a, scale_b : In(as of products); first : In(1)
    result : Out(signed(product + guard + 10)); nan : Out(1)
    """

    latency = 1

    def __init__(self, products: wiring.Component, lanes: int, guard_bits: int) -> None:
        self.products, self.guard_bits = products, guard_bits
        self.multiplier = _multiplier(products)
        width = _accumulator_bits(products, self.multiplier, lanes, guard_bits)
        super().__init__(
            {**operand_ports(products), "first": In(1), "result": Out(signed(width)), "nan": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.products = products = self.products
        m.d.comb += [getattr(products, n).eq(getattr(self, n)) for n in operand_ports(products)]
        total: Value = products.o
        if self.multiplier:
            m.submodules.multiplier = multiplier = self.multiplier
            m.d.comb += [multiplier.sum.eq(total), multiplier.significand.eq(products.significand)]
            total = multiplier.o
        term = total << self.guard_bits
        if "octaves" in products.signature.members:
            term = shifted_block(m, total, products.octaves, self.guard_bits)
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
    later; throughput one slice a cycle, and a slice each cycle of a dot product: what comes between
    two is closed with ``block_last`` and ``last`` before the second.

    Parameters
    ----------
    products: see above, of a block; lanes: in a slice; block: elements that share a scale, a
    multiple of ``lanes``, or ``lanes`` without scales; guard_bits: below a product's unit.

    Members
    -------
    a, scale_a : In(as of products), of the slice whose weights came a cycle before;
    b, scale_b : In(as of products); block_last, last : In(1) - with ``a``
    result : Out(signed(product + guard + 10)); nan : Out(1); overflowed : Out(2)
    """

    latency = 1 + BlockAccumulator.latency

    def __init__(self, products: wiring.Component, lanes: int, block: int, guard_bits: int) -> None:
        self.products, self.slices, self.guard_bits = products, block // lanes, guard_bits
        self.scaled = "octaves" in products.signature.members
        self.multiplier = _multiplier(products)
        width = _accumulator_bits(products, self.multiplier, block, guard_bits)
        super().__init__(
            {
                **operand_ports(products),
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
        m.submodules.accumulate = accumulate = BlockAccumulator(
            len(products.o),
            self.guard_bits,
            len(self.result),
            self.slices,
            self.scaled,
            self.multiplier,
        )
        members = products.signature.members
        if "kept" in members:
            m.d.comb += products.kept.eq(accumulate.kept)
        if self.scaled:
            m.d.comb += accumulate.octaves.eq(products.octaves)
        if self.multiplier:
            m.d.comb += accumulate.significand.eq(products.significand)
        m.d.comb += [
            accumulate.sum.eq(products.o),
            accumulate.sum_nan.eq(products.nan),
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
