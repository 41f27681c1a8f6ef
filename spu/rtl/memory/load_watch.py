"""What became of a program that was sent to the loader."""

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from spu.arch import regmap
from spu.arch.memory import SEQUENCE_BITS, Fault
from spu.arch.params import Architecture
from spu.rtl.axi import RegisterAccess
from spu.rtl.memory import layouts

#: Cycles after its last word within which a complete file is no longer being loaded: those that
#: write a section, or zero the data memories after a reset, are fewer, and the host's window that
#: stalls them takes a few a word.
PATIENCE = 1 << 14


class State(enum.Enum):
    """What the watch waits for."""

    IDLE = 0
    WORDS = 1  # the last word of the file
    ASK = 2  # the array's STATUS


class LoadWatch(wiring.Component):
    """Reads the array's STATUS after a file's last word until its program is the active one.

    Parameters
    ----------
    arch: the array, for its register map.
    address_bits: width of a byte address of the array.

    Members
    -------
    begin : In(1); tag : In(SEQUENCE_BITS) - a file is on its way, of this descriptor
    words_left : In(1) - the channel has words for the loader
    registers : Out(RegisterAccess) - the array's; reads alone
    busy : Out(1) - from the cycle after ``begin`` until the program is active
    fault : Out(tagged_fault) - BAD_PROGRAM in the cycle in which it is found
    flush : In(1) - forget the file

    Contract
    --------
    Latency: 3 from the last word to the end of ``busy``, and what a read takes.
    Throughput: one file at a time; a read of STATUS after the other.
    Holds: a read that was begun is ended, also with ``flush``.
    Reset: no file.
    Corner cases: an error of the loader is BAD_PROGRAM, as is a file that is not complete
        ``PATIENCE`` cycles after its last word; a region that runs on before it swaps its banks may
        take for ever.

    Example
    -------
    >>> from spu.rtl.observe import ONE, observe
    >>> answer = {"registers.read_done": 1, "registers.read_data": 5 << 8}
    >>> observe(LoadWatch(ONE, 13), [{"begin": 1, "tag": 7}, {"begin": 0}, answer],
    ...         "registers.read", "busy", "fault")[-1]
    (1, 1, {'fault': 7, 'tag': 7})
    """

    latency = 3

    def __init__(self, arch: Architecture, address_bits: int) -> None:
        self.status = regmap.register_map(arch)["STATUS"] // 4
        super().__init__(
            {
                "begin": In(1),
                "tag": In(SEQUENCE_BITS),
                "words_left": In(1),
                "registers": Out(RegisterAccess(address_bits - 2)),
                "busy": Out(1),
                "fault": Out(layouts.TAGGED_FAULT),
                "flush": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        access = self.registers
        state, waited = Signal(State), Signal(range(PATIENCE + 1))
        error = access.read_data[regmap.STATUS_ERROR_SHIFT : regmap.STATUS_SECTION_SHIFT].any()
        loading = (access.read_data & regmap.STATUS_LOADING).any()
        committing = (access.read_data & regmap.STATUS_COMMITTING).any()
        bad = Signal()
        m.d.comb += [
            self.busy.eq(state != State.IDLE),
            access.read.eq(state == State.ASK),
            access.read_address.eq(self.status),
            bad.eq(error | (loading & (waited == PATIENCE))),
        ]
        with m.If(waited != PATIENCE):
            m.d.sync += waited.eq(waited + 1)
        with m.Switch(state):
            with m.Case(State.IDLE), m.If(self.begin & ~self.flush):
                m.d.sync += [state.eq(State.WORDS), self.fault.tag.eq(self.tag)]
            with m.Case(State.WORDS):
                m.d.sync += waited.eq(0)
                with m.If(self.flush):
                    m.d.sync += state.eq(State.IDLE)
                with m.Elif(~self.words_left):
                    m.d.sync += state.eq(State.ASK)
            with m.Case(State.ASK), m.If(access.read_done):
                with m.If(self.flush | bad | ~(loading | committing)):
                    m.d.sync += state.eq(State.IDLE)
                with m.If(bad & ~self.flush):
                    m.d.comb += self.fault.fault.eq(Fault.BAD_PROGRAM)
        return m
