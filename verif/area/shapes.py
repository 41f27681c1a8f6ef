"""Shapes of units: a dot unit of 16 lanes, and matrices, as parts that are synthesised apart.

A **dot unit** is its core; what decodes its operands stands at the edges of an array of 16 x 16
of them and counts 1/16 for each operand.  A **matrix unit** multiplies a slice of ``lanes`` numbers
with ``columns`` slices of weights in each cycle: an edge decodes the slice once, into registers,
for all columns; weights come from a memory as decoded operands, into registers of their own; each
column has its accumulator and its result register.  Columns are alike: one is synthesised.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.lib import wiring

from verif.area.datapaths import Datapath
from verif.baselines.rtl.core import DotCore, MatrixColumn, RegisteredEdge


@dataclass(frozen=True)
class Shape:
    """``lanes`` products a dot product and cycle, ``columns`` dot products side by side."""

    name: str
    lanes: int
    columns: int

    @property
    def matrix(self) -> bool:
        """Whether it is a matrix unit, not a dot unit."""
        return self.columns > 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates a cycle."""
        return self.lanes * self.columns


DOT16 = Shape("dot16", 16, 1)
MATRIX8 = Shape("matrix8x8", 8, 8)
MATRIX16 = Shape("matrix16x16", 16, 16)
SHAPES = {shape.name: shape for shape in (DOT16, MATRIX8, MATRIX16)}
#: Dot units that an edge unit serves.
SHARED = 16


@dataclass(frozen=True)
class Part:
    """A part of a unit, how many of them there are, its component.

    ``role``: ``core``, ``edge``, or ``edge_b``, a dot unit's second operand's if that is another.
    """

    role: str
    count: float
    component: wiring.Component


def parts(path: Datapath, shape: Shape) -> Iterator[Part]:
    """The parts of a unit."""
    if not shape.matrix:
        products = path.products(shape.lanes, 0)
        yield Part("core", 1, DotCore(products, shape.lanes, path.guard_bits))
        yield Part("edge", (1 if path.edge_b else 2) / SHARED, path.edge(shape.lanes))
        if path.edge_b:
            yield Part("edge_b", 1 / SHARED, path.edge_b(shape.lanes))
        return
    block = max(path.block, shape.lanes)
    column = MatrixColumn(path.products(shape.lanes, block), shape.lanes, block, path.guard_bits)
    yield Part("core", shape.columns, column)
    yield Part("edge", 1, RegisteredEdge(path.edge(shape.lanes)))
