"""A program that makes blocks of codes from PAL16 words, for products of computed tensors."""

from dataclasses import dataclass

from pal_units.formats import Format
from spu.arch import timing
from spu.arch.bitstream import Image
from spu.arch.params import Architecture
from spu.arch.program import Timing


@dataclass(frozen=True)
class Reblocking:
    """A block an iteration in each of ``columns``.

    A block comes as ``arch.pushes_per_block`` words of ``arch.drain_lanes`` PAL16 values, and
    leaves as ``arch.words_per_block(fmt)`` words.  Throughput: a block a column every ``ii``.
    """

    arch: Architecture
    fmt: Format
    columns: tuple[int, ...]
    image: Image

    @property
    def ii(self) -> int:
        return self.arch.pushes_per_block

    @property
    def span(self) -> int:
        """Cycles of an iteration from its first word to its last being emitted."""
        return (
            self.ii
            + self.arch.words_per_block(self.fmt)
            + timing.REBLOCK
            + self.arch.rows * timing.HOP
        )

    @property
    def timing(self) -> Timing:
        """II and span."""
        return Timing(self.ii, self.span)

    def cycles(self, iterations: int) -> int:
        """Executed cycles of a run without holds."""
        return self.timing.cycles(iterations)
