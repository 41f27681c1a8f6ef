"""Registers of the memory engine."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spu.arch import engine_map
from spu.arch.memory import SEQUENCE_BITS, Fault, MemoryEngine
from spu.rtl.axi import RegisterAccess
from spu.rtl.memory import layouts


class EngineRegisters(wiring.Component):
    """What the host sees of an engine, ``spu.arch.engine_map``, and its interrupt.

    Parameters
    ----------
    engine: all its parameters.
    address_bits: width of a byte address; those of the engine begin at its upper half.

    Members
    -------
    access : In(RegisterAccess)
    base : Out(address_bits); size : Out(4); limit : Out(address_bits + 1); end : Out(SEQUENCE_BITS)
    next : In(SEQUENCE_BITS) - of the ring
    fault : In(tagged_fault); settled : In(1); failed : In(1) - of the dispatcher
    ordered : Out(Fault) - a faulty doorbell, a stop; clear : Out(1) - forget the fault
    notify : In(1); value : In(32)
    interrupt : Out(1)

    Contract
    --------
    Latency: 0; what is written holds from the cycle after.
    Throughput: a read and a write a cycle.
    Holds: ``interrupt`` stays until its causes are cleared, or no more enabled.
    Reset: all registers 0; memory of no bytes.
    Corner cases: refused are writes of what cannot be written, of bits that no register has, of the
        ring and the limit while descriptors wait, of a base that is no multiple of
        ``descriptor_bytes``, and doorbells while a fault is kept.  A cause that comes in the cycle
        in which it is cleared stays.

    Example
    -------
    >>> from spu.arch import engine_map
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> place = engine_map.engine_map()["DOORBELL"] // 4
    >>> ring = {"access.write": 1, "access.write_address": place, "access.write_data": 1}
    >>> far = {"access.write_data": 3}
    >>> observe(EngineRegisters(MemoryEngine(), 14), [ring, far, {}], "end", "ordered")
    [(0, 0), (1, 6), (1, 6)]
    """

    latency = 0

    def __init__(self, engine: MemoryEngine, address_bits: int) -> None:
        self.engine = engine
        self.map = {name: at // 4 for name, at in engine_map.engine_map().items()}
        super().__init__(
            {
                "access": In(RegisterAccess(address_bits - 2)),
                "base": Out(engine.address_bits),
                "size": Out(range(engine_map.MOST_RING_SIZE + 1)),
                "limit": Out(engine.address_bits + 1),
                "end": Out(SEQUENCE_BITS),
                "next": In(SEQUENCE_BITS),
                "fault": In(layouts.TAGGED_FAULT),
                "settled": In(1),
                "failed": In(1),
                "ordered": Out(Fault),
                "clear": Out(1),
                "notify": In(1),
                "value": In(32),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        enable, cause, notified = Signal(2), Signal(2), Signal(32)
        has_fault = self.fault.fault != Fault.NONE
        waiting = self.next != self.end
        busy = (waiting & ~self.failed) | (has_fault & ~self.failed)
        m.d.comb += self.interrupt.eq((cause & enable).any())
        cleared = Signal.like(cause)
        came = Signal.like(cause)
        m.d.comb += came.eq(
            Mux(self.notify, engine_map.CAUSE_NOTIFY, 0)
            | Mux(self.settled, engine_map.CAUSE_FAULT, 0)
        )
        m.d.sync += cause.eq((cause & ~cleared) | came)
        with m.If(self.notify):
            m.d.sync += notified.eq(self.value)
        self._write(m, waiting, has_fault, busy, enable, cleared)
        self._read(m, busy, enable, cause, notified)
        return m

    def _write(
        self,
        m: Module,
        waiting: Value,
        has_fault: Value,
        busy: Value,
        enable: Signal,
        cleared: Signal,
    ) -> None:
        access = self.access
        value = access.write_data
        m.d.comb += [access.write_done.eq(1), access.write_refused.eq(1)]

        def accepted(condition: Value, *actions: object, comb: tuple = ()) -> None:
            m.d.comb += access.write_refused.eq(~condition)
            with m.If(condition):
                m.d.sync += list(actions)
                m.d.comb += list(comb)

        idle = ~waiting & ~busy
        aligned = (value & (self.engine.descriptor_bytes - 1)) == 0
        with m.If(access.write), m.Switch(access.write_address):
            for name, register, extra in (
                ("RING_BASE", self.base, aligned),
                ("LIMIT", self.limit, ~Value.cast(0)),
            ):
                low, high = register[:32], register[32:]
                with m.Case(self.map[f"{name}_LOW"]):
                    accepted(idle & extra & fits(value, low), low.eq(value))
                with m.Case(self.map[f"{name}_HIGH"]):
                    accepted(idle & fits(value, high), *([high.eq(value)] if len(high) else []))
            with m.Case(self.map["RING_SIZE"]):
                accepted(idle & fits(value, self.size), self.size.eq(value))
            with m.Case(self.map["DOORBELL"]):
                announced = Signal(SEQUENCE_BITS)
                overrun = announced > (1 << self.size)
                m.d.comb += announced.eq(value - self.next)
                accepted(
                    fits(value, self.end) & ~has_fault,
                    comb=(self.ordered.eq(Mux(overrun, Fault.RING_OVERRUN, Fault.NONE)),),
                )
                with m.If(~access.write_refused & ~overrun):
                    m.d.sync += self.end.eq(value)
            with m.Case(self.map["ENGINE_CONTROL"]):
                clears = (value & engine_map.CONTROL_CLEAR).any()
                stops = (value & engine_map.CONTROL_STOP).any()
                known = engine_map.CONTROL_CLEAR | engine_map.CONTROL_STOP
                accepted(
                    ((value & ~known & 0xFFFF_FFFF) == 0) & (~clears | self.failed | ~has_fault),
                    comb=(
                        self.clear.eq(clears & self.failed),
                        self.ordered.eq(Mux(stops & ~has_fault, Fault.STOPPED, Fault.NONE)),
                    ),
                )
            with m.Case(self.map["INTERRUPT_ENABLE"]):
                accepted(fits(value, enable), enable.eq(value))
            with m.Case(self.map["INTERRUPT_CAUSE"]):
                accepted(fits(value, cleared), comb=(cleared.eq(value),))

    def _read(
        self, m: Module, busy: Value, enable: Signal, cause: Signal, notified: Signal
    ) -> None:
        access = self.access
        readable: dict[str, Value | int] = {
            "ENGINE_ID": engine_map.ENGINE_ID,
            "ENGINE": engine_map.engine_parameters(self.engine),
            "RING_BASE_LOW": self.base[:32],
            "RING_BASE_HIGH": self.base[32:],
            "RING_SIZE": self.size,
            "LIMIT_LOW": self.limit[:32],
            "LIMIT_HIGH": self.limit[32:],
            "DOORBELL": self.end,
            "NEXT": self.next,
            "ENGINE_STATUS": busy
            | self.fault.fault << engine_map.STATUS_FAULT_SHIFT
            | Mux(self.fault.fault == Fault.NONE, 0, self.fault.tag)
            << engine_map.STATUS_DESCRIPTOR_SHIFT,
            "INTERRUPT_ENABLE": enable,
            "INTERRUPT_CAUSE": cause,
            "NOTIFIED": notified,
        }
        m.d.comb += [access.read_done.eq(1), access.read_refused.eq(1)]
        with m.If(access.read), m.Switch(access.read_address):
            for name, value in readable.items():
                with m.Case(self.map[name]):
                    m.d.comb += [access.read_data.eq(value), access.read_refused.eq(0)]


def fits(value: Value, register: Value) -> Value:
    """Whether a 32-bit value has no bits above those of a register."""
    return ~value[len(register) :].any()
