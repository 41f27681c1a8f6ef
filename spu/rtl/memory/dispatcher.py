"""What descriptors ask for, handed out in their order; and the way back from a fault."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch import regmap
from spu.arch.chip import Chip
from spu.arch.memory import Fault, Kind, descriptor_layout
from spu.rtl.axi import RegisterAccess
from spu.rtl.layouts import of
from spu.rtl.memory import layouts
from spu.rtl.memory.checker import DescriptorChecker


class State(enum.Enum):
    """What the dispatcher does."""

    HAND_OUT = 0
    ROUNDS = 1  # write ITERATIONS
    START = 2  # write START
    BEGIN = 3  # wait until the run is on
    RESET = 4  # after a fault: write RESET of all regions
    CLEAR = 5  # write CONTROL
    DRAIN = 6  # wait until all are idle
    FAILED = 7  # until ``clear``


class Dispatcher(wiring.Component):
    """Hands out a descriptor when its unit can take it; a fault stops all and cleans up.

    Units are numbered as the bits of FENCE: read channels, write channels, the loader.

    Parameters
    ----------
    chip: the array and its engine.
    address_bits: width of a byte address of the array.

    Members
    -------
    i : In(stream of descriptor)
    job : Out(job); offers : Out(units); takes : In(units) - a pattern for one of them
    unit_busy : In(units); running : In(regions)
    registers : Out(RegisterAccess) - the array's; writes alone
    notify : Out(1); value : Out(32) - a NOTIFY
    found : In(tagged_fault) - the first one of other parts of the engine
    ordered : In(Fault) - a fault that the host causes, with the next descriptor's number
    clear : In(1) - forget the fault
    fault : Out(tagged_fault) - sticky
    flush : Out(1) - the fault is being cleaned up: all parts forget what they have
    failed : Out(1) - it is cleaned up; settled : Out(1) - in the first cycle of that
    ring_busy : In(1) - the ring waits for memory

    Contract
    --------
    Latency: 1 from a descriptor to what it asks for, 8 for a run.
    Throughput: a descriptor a cycle; a run in 8 and what the array takes to begin it.
    Holds: a descriptor is taken in the cycle in which it is handed out: a pattern with the ready of
        its channel, LOAD also not before the file before it is active; RUN when no file is on its
        way and the region's run before has ended, until its own has begun; FENCE when what it names
        is idle; NOTIFY at once.
    Reset: no fault.
    Corner cases: of faults in one cycle that of another part counts before the descriptor's, and
        that before the host's.  After a fault regions have no program.

    Example
    -------
    >>> from spu.arch.chip import CHIPS
    >>> from spu.arch.memory import Kind, descriptor_layout
    >>> from spu.arch.packing import pack
    >>> from spu.rtl.observe import observe
    >>> chip = CHIPS["tiny"]
    >>> bits = pack(descriptor_layout(Kind.NOTIFY, chip.memory), {"kind": 6, "value": 42})
    >>> ask = {"i.valid": 1, "i.payload": {"bits": bits, "number": 7}}
    >>> worse = {"i.payload": {"bits": 0, "number": 8}}
    >>> observe(Dispatcher(chip, 13), [ask, worse, {}], "i.ready", "notify", "value",
    ...         "fault")[::2]
    [(1, 1, 42, {'fault': 0, 'tag': 0}), (0, 0, 0, {'fault': 5, 'tag': 8})]
    """

    latency = 0

    def __init__(self, chip: Chip, address_bits: int) -> None:
        self.chip = chip
        engine, regions = chip.memory, chip.arch.region_count
        units = engine.read_channels + engine.write_channels + 1
        super().__init__(
            {
                "i": In(stream.Signature(layouts.descriptor(engine))),
                "job": Out(layouts.job(engine)),
                "offers": Out(units),
                "takes": In(units),
                "unit_busy": In(units),
                "running": In(regions),
                "registers": Out(RegisterAccess(address_bits - 2)),
                "notify": Out(1),
                "value": Out(32),
                "found": In(layouts.TAGGED_FAULT),
                "ordered": In(Fault),
                "clear": In(1),
                "fault": Out(layouts.TAGGED_FAULT),
                "flush": Out(1),
                "failed": Out(1),
                "settled": Out(1),
                "ring_busy": In(1),
            }
        )
        self.state = Signal(State)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        state, own = self.state, Signal(Fault)
        caught = self.fault.fault != Fault.NONE
        with m.If(~caught):
            with m.If(self.found.fault != Fault.NONE):
                m.d.sync += self.fault.eq(self.found)
            with m.Elif((own != Fault.NONE) | (self.ordered != Fault.NONE)):
                m.d.sync += self.fault.tag.eq(self.i.payload.number)
                m.d.sync += self.fault.fault.eq(own)
                with m.If(own == Fault.NONE):
                    m.d.sync += self.fault.fault.eq(self.ordered)
        m.d.comb += [self.failed.eq(state == State.FAILED), self.flush.eq(caught & ~self.failed)]
        m.submodules.checker = checker = DescriptorChecker(
            self.chip.memory, self.chip.arch.region_count
        )
        m.d.comb += checker.i.eq(self.i.payload.bits)
        idle = ~Cat(self.unit_busy, self.running, self.ring_busy).any()
        # A run may end before the write that began it.
        begun, running = Signal(), Signal()
        m.d.comb += running.eq(self.running >> self._field(Kind.RUN).target)
        m.d.sync += begun.eq((state == State.START) & (begun | running))
        with m.Switch(state):
            with m.Case(State.HAND_OUT):
                with m.If(caught):
                    m.d.sync += state.eq(State.RESET)
                with m.Elif(self.i.valid):
                    with m.If(self.i.payload.fault != Fault.NONE):
                        m.d.comb += own.eq(self.i.payload.fault)
                    with m.Elif(~checker.good):
                        m.d.comb += own.eq(Fault.BAD_DESCRIPTOR)
                    with m.Else():
                        self._hand_out(m)
            with m.Case(State.BEGIN):
                with m.If(caught):
                    m.d.sync += state.eq(State.RESET)
                with m.Elif(begun | running):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += state.eq(State.HAND_OUT)
            with m.Case(State.DRAIN), m.If(idle):
                m.d.comb += self.settled.eq(1)
                m.d.sync += state.eq(State.FAILED)
            with m.Case(State.FAILED), m.If(self.clear):
                m.d.sync += [state.eq(State.HAND_OUT), self.fault.fault.eq(Fault.NONE)]
        self._write(m, caught, own)
        return m

    def _field(self, kind: Kind) -> wiring.PureInterface:
        """The descriptor's fields as those of a kind."""
        shape = of(descriptor_layout(kind, self.chip.memory))
        return shape(self.i.payload.bits[: shape.size])

    def _hand_out(self, m: Module) -> None:
        """Take a good descriptor when its condition holds."""
        engine = self.chip.memory
        first_write = engine.read_channels
        loader = first_write + engine.write_channels
        pattern, fence = self._field(Kind.LOAD), self._field(Kind.FENCE)
        m.d.comb += [
            self.job.pattern.eq(pattern.pattern),
            self.job.tag.eq(self.i.payload.number),
            self.value.eq(self._field(Kind.NOTIFY).value),
        ]
        with m.Switch(pattern.kind):
            for kind, unit, free in (
                (Kind.LOAD, loader, ~self.unit_busy[loader]),
                (Kind.READ, pattern.target, 1),
                (Kind.WRITE, first_write + pattern.target, 1),
            ):
                with m.Case(kind.value), m.If(free):
                    m.d.comb += self.offers.eq(1 << unit)
                    m.d.comb += self.i.ready.eq((self.offers & self.takes).any())
            with m.Case(Kind.RUN.value):
                running = (self.running >> pattern.target)[0]
                with m.If(~running & ~self.unit_busy[loader]):
                    m.d.sync += self.state.eq(State.ROUNDS)
            with m.Case(Kind.FENCE.value):
                waits = Cat(
                    fence.read_channels[: engine.read_channels],
                    fence.write_channels[: engine.write_channels],
                    fence.loader,
                    fence.regions[: len(self.running)],
                )
                m.d.comb += self.i.ready.eq(~(waits & Cat(self.unit_busy, self.running)).any())
            with m.Case(Kind.NOTIFY.value):
                m.d.comb += [self.i.ready.eq(1), self.notify.eq(1)]

    def _write(self, m: Module, caught: Signal, own: Signal) -> None:
        """The writes to the array's registers, each until it is done."""
        places = regmap.register_map(self.chip.arch)
        access, run = self.registers, self._field(Kind.RUN)
        everyone = (1 << self.chip.arch.region_count) - 1
        for here, address, data, following in (
            (State.ROUNDS, places["ITERATIONS_0"] // 4 + run.target, run.rounds, State.START),
            (State.START, places["START"] // 4, 1 << run.target, State.BEGIN),
            (State.RESET, places["RESET"] // 4, everyone, State.CLEAR),
            (State.CLEAR, places["CONTROL"] // 4, regmap.CONTROL_CLEAR, State.DRAIN),
        ):
            with m.If(self.state == here):
                m.d.comb += [
                    access.write.eq(1),
                    access.write_address.eq(address),
                    access.write_data.eq(data),
                ]
                with m.If(access.write_done):
                    m.d.sync += self.state.eq(following)
                    if here in (State.ROUNDS, State.START):
                        with m.If(caught):
                            m.d.sync += self.state.eq(State.RESET)
                        with m.Elif(access.write_refused):
                            m.d.comb += own.eq(Fault.BAD_PROGRAM)
                            m.d.sync += self.state.eq(State.RESET)
