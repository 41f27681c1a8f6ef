"""The registers of an array for two: the host, and the engine beside it."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from spu.rtl.axi import SLVERR, AxiLite, RegisterAccess


class ArrayPort(wiring.Component):
    """Register accesses of host and engine as those of one AXI4-Lite manager, the engine's first.

    Parameters
    ----------
    address_bits: width of a byte address of the array.

    Members
    -------
    host, engine : In(RegisterAccess); bus : In(AxiLite) - to the array's slave

    Contract
    --------
    Latency: 2 from an access to its end, if the slave answers as ``AxiLiteSlave``.
    Throughput: a read and a write at a time, each in 3 cycles.
    Holds: what is offered on ``bus`` stays until it is taken: an access that has begun ends before
        another one.
    Reset: no access.
    Corner cases: reads and writes are in no order to each other.

    Example
    -------
    >>> from spu.rtl.observe import observe
    >>> ask = {"engine.write": 1, "engine.write_address": 3, "engine.write_data": 42,
    ...        "host.write": 1, "bus.awready": 1, "bus.wready": 1}
    >>> observe(ArrayPort(13), [ask, {}, {"bus.bvalid": 1}], "bus.awvalid", "bus.awaddr",
    ...         "engine.write_done", "host.write_done")
    [(1, 12, 0, 0), (0, 12, 0, 0), (0, 12, 1, 0)]
    """

    latency = 2

    def __init__(self, address_bits: int) -> None:
        access = RegisterAccess(address_bits - 2)
        super().__init__(
            {"host": In(access), "engine": In(access), "bus": In(AxiLite(address_bits))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        chosen, ask = self._choose(m, "write", bus.bvalid)
        address, data = (
            Mux(chosen, getattr(self.engine, name), getattr(self.host, name))
            for name in ("write_address", "write_data")
        )
        m.d.comb += [
            bus.awaddr.eq(address << 2),
            bus.awvalid.eq(self._once(m, ask, bus.awready, bus.bvalid)),
            bus.wdata.eq(data),
            bus.wstrb.eq(~0),
            bus.wvalid.eq(self._once(m, ask, bus.wready, bus.bvalid)),
            bus.bready.eq(1),
        ]
        chosen, ask = self._choose(m, "read", bus.rvalid)
        address = Mux(chosen, self.engine.read_address, self.host.read_address)
        m.d.comb += [
            bus.araddr.eq(address << 2),
            bus.arvalid.eq(self._once(m, ask, bus.arready, bus.rvalid)),
            bus.rready.eq(1),
        ]
        for side in (self.host, self.engine):
            m.d.comb += [
                side.write_refused.eq(bus.bresp == SLVERR),
                side.read_refused.eq(bus.rresp == SLVERR),
                side.read_data.eq(bus.rdata),
            ]
        return m

    def _choose(self, m: Module, kind: str, answered: Value) -> tuple[Signal, Value]:
        """Whether it is the engine's access, and whether there is one; end it when answered."""
        asked = [getattr(side, kind) for side in (self.host, self.engine)]
        begun, owner, chosen = (Signal(name=f"{kind}_{n}") for n in ("begun", "owner", "chosen"))
        m.d.comb += chosen.eq(Mux(begun, owner, asked[1]))
        m.d.sync += [begun.eq((asked[0] | asked[1]) & ~answered), owner.eq(chosen)]
        for side, mine in ((self.host, ~chosen), (self.engine, chosen)):
            m.d.comb += getattr(side, f"{kind}_done").eq(begun & answered & mine)
        return chosen, asked[0] | asked[1]

    @staticmethod
    def _once(m: Module, ask: Value, ready: Value, answered: Value) -> Value:
        """Valid of a channel, until it was taken."""
        sent = Signal()
        with m.If(answered):
            m.d.sync += sent.eq(0)
        with m.Elif(ask & ready):
            m.d.sync += sent.eq(1)
        return ask & ~sent
