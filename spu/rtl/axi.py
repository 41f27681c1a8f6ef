"""AXI4-Lite: the bus, and a slave that turns it into register accesses."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: AXI4-Lite response codes (AMBA AXI and ACE protocol specification, table A3-4).
OKAY, SLVERR = 0, 2


class AxiLite(wiring.Signature):
    """AXI4-Lite with 32-bit data, seen from the slave; names as on the bus."""

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                "awaddr": In(address_bits),
                "awprot": In(3),
                "awvalid": In(1),
                "awready": Out(1),
                "wdata": In(32),
                "wstrb": In(4),
                "wvalid": In(1),
                "wready": Out(1),
                "bresp": Out(2),
                "bvalid": Out(1),
                "bready": In(1),
                "araddr": In(address_bits),
                "arprot": In(3),
                "arvalid": In(1),
                "arready": Out(1),
                "rdata": Out(32),
                "rresp": Out(2),
                "rvalid": Out(1),
                "rready": In(1),
            }
        )


class RegisterAccess(wiring.Signature):
    """Accesses to word registers, seen from the bus side.

    ``write`` and ``read`` hold with ``address`` (of a 32-bit word) until ``write_done`` and
    ``read_done``, which may come in the same cycle; ``refused`` and ``read_data`` then count.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                "write": Out(1),
                "write_address": Out(address_bits),
                "write_data": Out(32),
                "write_done": In(1),
                "write_refused": In(1),
                "read": Out(1),
                "read_address": Out(address_bits),
                "read_done": In(1),
                "read_refused": In(1),
                "read_data": In(32),
            }
        )


class AxiLiteSlave(wiring.Component):
    """AXI4-Lite to register accesses.

    Address and data of a write may come in any order, and are kept until both are there.  An access
    stays at ``registers`` until it is done.

    Parameters
    ----------
    address_bits: width of a byte address, at least 3.

    Raises
    ------
    ValueError: ``address_bits`` too small.

    Members
    -------
    bus : Out(AxiLite); registers : Out(RegisterAccess)

    Contract
    --------
    Latency: 2 cycles from the last of an access's channels to its response, and what the registers
        take.
    Throughput: one read and one write at a time; of each kind one in two cycles.
    Holds: all outputs of the bus follow from registers alone; a response is held until it is taken,
        and till then no further access is answered.
    Reset: nothing kept, no response.
    Corner cases: partial strobes and addresses that are no multiple of 4 answer SLVERR and reach no
        register; protection bits are ignored; reads and writes are in no order to each other.

    Example
    -------
    >>> from spu.rtl.observe import observe
    >>> ask = {"bus.araddr": 8, "bus.arvalid": 1, "bus.rready": 1}
    >>> answer = {"bus.arvalid": 0, "registers.read_done": 1, "registers.read_data": 42}
    >>> observe(AxiLiteSlave(4), [ask, answer, {}, {}], "registers.read_address", "bus.rvalid",
    ...         "bus.rdata")
    [(0, 0, 0), (2, 0, 0), (2, 1, 42), (2, 0, 42)]
    """

    latency = 2

    def __init__(self, address_bits: int) -> None:
        if address_bits < 3:
            raise ValueError(
                f"address_bits must be at least 3, two of them within a word, not {address_bits}"
            )
        self.address_bits = address_bits
        super().__init__(
            {"bus": Out(AxiLite(address_bits)), "registers": Out(RegisterAccess(address_bits - 2))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus, registers = self.bus, self.registers
        address, data, strobes = (Signal.like(p) for p in (bus.awaddr, bus.wdata, bus.wstrb))
        accept, answer = Signal(), Signal()
        has_address = self._kept(m, bus.awvalid, bus.awready, accept, [address.eq(bus.awaddr)])
        has_data = self._kept(
            m, bus.wvalid, bus.wready, accept, [data.eq(bus.wdata), strobes.eq(bus.wstrb)]
        )
        whole = strobes.all() & (address[:2] == 0)
        pending = has_address & has_data & ~bus.bvalid
        m.d.comb += [
            registers.write.eq(pending & whole),
            registers.write_address.eq(address[2:]),
            registers.write_data.eq(data),
            accept.eq(pending & (~whole | registers.write_done)),
        ]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(accept):
            m.d.sync += [
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(whole & ~registers.write_refused, OKAY, SLVERR)),
            ]

        place = Signal.like(bus.araddr)
        asked = (
            self._kept(m, bus.arvalid, bus.arready, answer, [place.eq(bus.araddr)]) & ~bus.rvalid
        )
        aligned = place[:2] == 0
        m.d.comb += [
            registers.read.eq(asked & aligned),
            registers.read_address.eq(place[2:]),
            answer.eq(asked & (~aligned | registers.read_done)),
        ]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(answer):
            good = aligned & ~registers.read_refused
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rresp.eq(Mux(good, OKAY, SLVERR)),
                bus.rdata.eq(Mux(good, registers.read_data, 0)),
            ]
        unused = Cat(bus.awprot, bus.arprot)
        assert len(unused) == 6  # protection bits are accepted and ignored
        return m

    @staticmethod
    def _kept(m: Module, valid: Value, ready: Value, done: Value, keep: list) -> Signal:
        """Whether a channel's word is kept, from when it was taken until ``done``."""
        full = Signal()
        m.d.comb += ready.eq(~full)
        with m.If(done):
            m.d.sync += full.eq(0)
        with m.Elif(valid & ready):
            m.d.sync += [full.eq(1), *keep]
        return full
