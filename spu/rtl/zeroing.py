"""Zeroes the data memories after a reset."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from spu.arch.config import Space
from spu.arch.params import Architecture
from spu.rtl.ports import ConfigBus


class Zeroing(wiring.Component):
    """Writes 0 to both halves of all data memories at once, a row a cycle, when reset ends.

    A program may read what none before it wrote, and memories hold anything after power-up, and
    what was written before after a reset.  (Other memories need none of this: a file clears the
    banks that it fills, and of FIFOs, of the loader's buffer and of the trace nothing is taken that
    was not put in.)  Configuration writes go to the half that is not in use, so each has its turn.

    Parameters
    ----------
    arch: its ``memory_words``.

    Members
    -------
    busy : Out(1) - from the first cycle on; half : Out(1) - tiles must exchange their halves
    config : Out(ConfigBus) - to all tiles

    Contract
    --------
    Latency: ``2 * memory_words`` cycles from reset to the end of ``busy``.
    Throughput: a row of each data memory a cycle.
    Holds: none: the bus is its own meanwhile, the loader waits, the window refuses.
    Reset: begins anew.
    Corner cases: an array without data memories is never ``busy``.

    Example
    -------
    >>> from spu.rtl.observe import ONE, observe
    >>> zeroing = Zeroing(ONE)
    >>> busy = observe(zeroing, [{}] * 20, "busy")
    >>> zeroing.latency, sum(busy), busy[-1]
    (4, 4, 0)
    """

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__(
            {
                "busy": Out(1, init=bool(arch.memory_tiles)),
                "half": Out(1),
                "config": Out(ConfigBus()),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from reset to the end of the last write; 0 if there is no data memory."""
        if not self.arch.memory_tiles:
            return 0
        return 2 * self.arch.memory_words

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        half_ends = config.row == self.arch.memory_words - 1
        m.d.comb += [config.write.eq(self.busy), config.whole.eq(1), config.space.eq(Space.MEMORY)]
        with m.If(self.busy):
            m.d.sync += config.row.eq(config.row + 1)
            with m.If(half_ends):
                m.d.sync += [config.row.eq(0), self.half.eq(~self.half), self.busy.eq(~self.half)]
        return m
