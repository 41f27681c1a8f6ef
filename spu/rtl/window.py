"""Window: configuration words one by one, for readback and bring-up."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.config import Space
from spu.arch.params import Architecture
from spu.rtl.loader import space_geometry
from spu.rtl.ports import ConfigBus

#: WINDOW_SELECT and WINDOW_ROW, see ``regmap``.
SELECT = data.StructLayout({"space": 8, "shadow": 1, "unused": 7, "row": 8, "col": 8})
ROW = data.StructLayout({"row": 16, "word": 8, "unused": 8})


class Window(wiring.Component):
    """Accesses the configuration word that ``select`` and ``position`` name.

    ``read`` asks for the word; ``write`` writes it, ``set_select`` and ``set_position`` the
    registers.  They may come at once: accesses happen one after the other, so that none meets
    another's place.  Each stays until its ``done``.

    Parameters
    ----------
    arch: its spaces, tiles and regions.

    Members
    -------
    set_select, set_position, write, read : In(1); value : In(32) - what to write
    write_done, write_refused, read_done, read_refused : Out(1); answer : Out(32)
    select, position : Out(32)
    running : In(regions); busy : In(1) - the loader
    spoils : Out(regions) - a shadow bank was written; spoils_memory : Out(1) - data memory
    config : Out(ConfigBus); rows, cols : Out(16); config_data : In(32)

    Contract
    --------
    Latency: 3 from ``read`` to ``read_done`` with ``answer``; the others are done in their own
        cycle.
    Throughput: a read takes 4 cycles, the others 1, and an access waits for one other at most.
    Holds: an access stays at the inputs until it is done; regions are to begin no run while
        ``config.read`` is on.
    Reset: ``select`` and ``position`` 0.
    Corner cases: an access is ``refused`` if there is no such word, if a region that is to be read
        runs, or if the loader is busy, which a write must not disturb; after a read or a write
        ``position`` is the next word, after the last word of a row the first of the next.

    Example
    -------
    >>> from spu.arch.config import Space
    >>> from spu.rtl.observe import ONE, observe
    >>> choose = {"set_select": 1, "value": Space.CONTEXT.value}
    >>> read = {"set_select": 0, "read": 1, "config_data": 77}
    >>> observe(Window(ONE), [choose, read, {}, {}, {}], "config.read", "read_done", "answer")
    [(0, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 0), (0, 1, 77)]
    """

    latency = 3

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__(
            {
                "set_select": In(1),
                "set_position": In(1),
                "write": In(1),
                "read": In(1),
                "value": In(32),
                "write_done": Out(1),
                "write_refused": Out(1),
                "read_done": Out(1),
                "read_refused": Out(1),
                "answer": Out(32),
                "select": Out(SELECT),
                "position": Out(ROW),
                "running": In(arch.region_count),
                "busy": In(1),
                "spoils": Out(arch.region_count),
                "spoils_memory": Out(1),
                "config": Out(ConfigBus()),
                "rows": Out(16),
                "cols": Out(16),
                "config_data": In(32),
            }
        )
        self.reading = Signal(3)  # a read has begun: its second, third, last cycle

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, select, position = self.arch, self.select, self.position
        width, depth_rows, in_tiles = space_geometry(m, select.space, arch)
        # Region of the place, and whether there is such a place.
        region, exists = Signal(range(max(arch.region_count, 2))), Signal()
        with m.If(in_tiles):
            numbers = Array(
                Array(arch.region(r, c) for c in range(arch.cols)) for r in range(arch.rows)
            )
            m.d.comb += [
                exists.eq((select.row < arch.rows) & (select.col < arch.cols)),
                region.eq(numbers[select.row][select.col]),
            ]
        with m.Else():
            m.d.comb += [
                exists.eq((select.row < arch.region_count) & (select.col == 0)),
                region.eq(select.row),
            ]
        running = self.running.bit_select(region, 1)
        valid = exists & (position.row < depth_rows) & (position.word < width)
        asked, coming, waiting = self.reading
        idle, wrote = ~self.reading.any(), Signal()
        # Writes go first, but not twice in a row.
        changes = self.write | self.set_select | self.set_position
        may_write, may_read = Signal(), Signal()
        m.d.comb += [
            may_write.eq(changes & idle & ~(self.read & wrote)),
            may_read.eq(self.read & idle & ~may_write),
        ]
        m.d.sync += wrote.eq(may_write)
        reads = may_read & valid & ~running
        writes = may_write & self.write & valid & ~self.busy
        m.d.comb += [
            self.config.space.eq(select.space),
            self.config.shadow.eq(select.shadow),
            self.config.row.eq(position.row),
            self.config.word.eq(position.word),
            self.config.data.eq(self.value),
            self.config.write.eq(writes),
            self.config.read.eq(reads | asked),
            self.rows.eq(1 << select.row[:4]),
            self.cols.eq(1 << select.col[:4]),
            self.spoils.eq(Mux(writes, 1 << region, 0)),
            self.spoils_memory.eq(select.space == Space.MEMORY),
            self.write_done.eq(may_write),
            self.write_refused.eq(self.write & ~writes),
            self.read_done.eq(waiting | (may_read & ~reads)),
            self.read_refused.eq(~waiting),
        ]
        # Cycles 1 and 2: address; cycle 3: the word, kept; cycle 4: answer.
        m.d.sync += self.reading.eq(Cat(reads, asked, coming))
        with m.If(coming):
            m.d.sync += self.answer.eq(self.config_data)
        with m.If(may_write & self.set_select):
            m.d.sync += select.eq(self.value)
        with m.If(may_write & self.set_position):
            m.d.sync += position.eq(self.value)
        with m.Elif(waiting | writes):
            at_end = position.word == width - 1
            m.d.sync += [
                position.word.eq(Mux(at_end, 0, position.word + 1)),
                position.row.eq(position.row + at_end),
            ]
        return m
