"""Configuration storage in two banks: one in use, one that the loader writes."""

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spu.arch.config import Space
from spu.rtl.ports import ConfigBus


class BankedRegisters(wiring.Component):
    """Configuration registers of up to 32 bits, all readable at once.

    Parameters
    ----------
    space: the configuration space.
    widths: stored bits of each of its rows, 0 to 32; 0 for rows that are not there.
    first: number of its first row here.

    Raises
    ------
    ValueError: a width out of range.

    Members
    -------
    config : In(ConfigBus); bank : In(1) - the bank in use
    values, others : Out(len(widths) x 32) - of the bank in use, of the other one
    read_data : Out(32) - for ``config.read``, 0 for other rows

    Contract
    --------
    Latency: 0 from ``bank`` to ``values``; 1 for readback.
    Throughput: a write, or an answer to a read, a cycle.
    Holds: none; the bank in use changes with ``bank`` alone, never by a write.
    Reset: both banks 0.
    Corner cases: a write goes to the bank that is not in use; of a value only the stored bits are
        kept, the others are read as 0; rows of other spaces are ignored.

    Example
    -------
    >>> from spu.arch.config import Space
    >>> from spu.rtl.observe import observe
    >>> write = {"config.write": 1, "config.space": Space.REGISTER, "config.row": 1,
    ...          "config.data": 0x123}
    >>> registers = BankedRegisters(Space.REGISTER, [8, 8])
    >>> observe(registers, [write, {"config.write": 0}, {"bank": 1}], "values", "others")
    [([0, 0], [0, 0]), ([0, 0], [0, 35]), ([0, 35], [0, 0])]
    """

    latency = 0

    def __init__(self, space: Space, widths: Sequence[int], first: int = 0) -> None:
        if wrong := [width for width in widths if not 0 <= width <= 32]:
            raise ValueError(f"widths of registers must be 0 to 32, not {wrong}")
        self.space, self.widths, self.first = space, widths, first
        super().__init__(
            {
                "config": In(ConfigBus()),
                "bank": In(1),
                "values": Out(data.ArrayLayout(unsigned(32), len(widths))),
                "others": Out(data.ArrayLayout(unsigned(32), len(widths))),
                "read_data": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        chosen = Signal(32)
        for i, width in enumerate(self.widths):
            if not width:
                continue
            banks = [Signal(width, name=f"register_{i}_{bank}") for bank in range(2)]
            here = (config.space == self.space) & (config.row == self.first + i)
            for bank in range(2):
                with m.If(config.write & here & (self.bank != bank)):
                    m.d.sync += banks[bank].eq(config.data)
            m.d.comb += [
                self.values[i].eq(Mux(self.bank, banks[1], banks[0])),
                self.others[i].eq(Mux(self.bank, banks[0], banks[1])),
            ]
            with m.If(here):
                m.d.comb += chosen.eq(Mux(self.bank ^ config.shadow, banks[1], banks[0]))
        m.d.sync += self.read_data.eq(chosen)
        return m


class BankedMemory(wiring.Component):
    """Configuration rows of several 32-bit words, one row read at a time.

    Parameters
    ----------
    space: the configuration space.
    depth: rows of a bank, a power of two.
    width: bits of a row, at least 1.
    registered: reads are those of a block memory, a cycle later; otherwise combinational.

    Raises
    ------
    ValueError: ``depth`` or ``width`` out of range.

    Members
    -------
    config : In(ConfigBus); bank : In(1) - the bank in use
    read_enable : In(1); read_row : In(range(depth)); read_bank : In(1) - need not be the one in use
    read_data : Out(width)
    config_data : Out(32) - one cycle after ``config.read``

    Contract
    --------
    Latency: from ``read_row`` to ``read_data`` 1 if ``registered``, else 0; 1 for readback.
    Throughput: a word or, with ``config.whole``, a row of equal words written, and a row read, a
        cycle.
    Holds: with ``registered``, ``read_data`` stays as it is without ``read_enable`` and readback.
    Reset: the memory keeps what it has, so a bank means nothing before a file filled it.
    Corner cases: a write goes to the bank that is not in use; readback takes the only read port,
        so that a read in its cycle gives the wrong row: only idle regions are read back.

    Example
    -------
    >>> from spu.arch.config import Space
    >>> from spu.rtl.observe import observe
    >>> write = {"config.write": 1, "config.space": Space.CONTEXT, "config.row": 1,
    ...          "config.data": 7}
    >>> read = {"config.write": 0, "bank": 1, "read_bank": 1, "read_row": 1, "read_enable": 1}
    >>> observe(BankedMemory(Space.CONTEXT, 2, 64, True), [write, read, {}], "read_data")
    [0, 0, 7]
    """

    def __init__(self, space: Space, depth: int, width: int, registered: bool) -> None:
        if depth < 1 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, not {depth}")
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.space, self.depth, self.width, self.registered = space, depth, width, registered
        self.words = -(-width // 32)
        super().__init__(
            {
                "config": In(ConfigBus()),
                "bank": In(1),
                "read_enable": In(1),
                "read_row": In(range(depth)),
                "read_bank": In(1),
                "read_data": Out(width),
                "config_data": Out(32),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``read_row`` to ``read_data``."""
        return int(self.registered)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.memory = memory = Memory(
            shape=data.ArrayLayout(unsigned(32), self.words), depth=2 * self.depth, init=[]
        )
        write = memory.write_port(granularity=1)
        read = memory.read_port(domain="sync" if self.registered else "comb")
        row_bits = len(self.read_row)
        here = config.space == self.space
        words = Array(read.data[i] for i in range(self.words))
        m.d.comb += [
            write.addr.eq(Cat(config.row[:row_bits], ~self.bank)),
            write.data.eq(Cat(config.data for _ in range(self.words))),
            write.en.eq(
                Mux(
                    config.whole,
                    (config.write & here).replicate(self.words),
                    (config.write & here) << config.word,
                )
            ),
            read.addr.eq(
                Mux(
                    config.read,
                    Cat(config.row[:row_bits], self.bank ^ config.shadow),
                    Cat(self.read_row, self.read_bank),
                )
            ),
            self.read_data.eq(read.data),
        ]
        if self.registered:
            m.d.comb += [
                read.en.eq(self.read_enable | config.read),
                self.config_data.eq(words[config.word]),
            ]
        else:
            m.d.sync += self.config_data.eq(words[config.word])
        return m
