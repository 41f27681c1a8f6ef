"""Host registers: an AXI4-Lite slave for control, status and counters."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spu.arch import regmap
from spu.arch.params import Architecture

#: AXI4-Lite response codes (AMBA AXI and ACE protocol specification, table A3-4).
OKAY, SLVERR = 0, 2


class AxiLite(wiring.Signature):
    """AXI4-Lite with 32-bit data, seen from the slave; names as on the bus."""

    def __init__(self, address_bits: int) -> None:
        super().__init__({
            "awaddr": In(address_bits), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
            "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
            "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
            "araddr": In(address_bits), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
            "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
        })


class HostRegisters(wiring.Component):
    """The register map of ``regmap`` on AXI4-Lite.

    One read and one write at a time; a write is taken when address and data are both
    there.  Byte strobes must all be set.  Addresses outside the map, writes to read-only
    registers and partial strobes answer SLVERR and change nothing.

    Members
    -------
    bus : Out(AxiLite); start, clear : Out(1) - one-cycle pulses; iterations : Out(16)
    status : In(32); counters : In(n x 32) - all registers from CYCLES on
    """

    address_bits = 12

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.map = regmap.register_map(arch)
        self.counter_names = list(self.map)[list(self.map).index("CYCLES"):]
        super().__init__({
            "bus": Out(AxiLite(self.address_bits)),
            "start": Out(1), "clear": Out(1), "iterations": Out(16), "status": In(32),
            **{name.lower(): In(32) for name in self.counter_names},
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus

        # Writes.
        accept = Signal()
        m.d.comb += [
            accept.eq(bus.awvalid & bus.wvalid & ~bus.bvalid),
            bus.awready.eq(accept), bus.wready.eq(accept),
        ]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(accept):
            m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(SLVERR)]
            with m.If(bus.wstrb.all()):
                with m.If(bus.awaddr == self.map["CONTROL"]):
                    m.d.comb += [
                        self.start.eq((bus.wdata & regmap.CONTROL_START).any()),
                        self.clear.eq((bus.wdata & regmap.CONTROL_CLEAR).any()),
                    ]
                    m.d.sync += bus.bresp.eq(OKAY)
                with m.If((bus.awaddr == self.map["ITERATIONS"]) & (bus.wdata[16:] == 0)):
                    m.d.sync += [self.iterations.eq(bus.wdata), bus.bresp.eq(OKAY)]

        # Reads.
        readable = {**regmap.constant_registers(self.arch), "STATUS": self.status,
                    "ITERATIONS": self.iterations,
                    **{name: getattr(self, name.lower()) for name in self.counter_names}}
        m.d.comb += bus.arready.eq(~bus.rvalid)
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rresp.eq(SLVERR), bus.rdata.eq(0)]
            with m.Switch(bus.araddr):
                for name, value in readable.items():
                    with m.Case(self.map[name]):
                        m.d.sync += [bus.rdata.eq(value), bus.rresp.eq(OKAY)]
        unused = Cat(bus.awprot, bus.arprot)
        assert len(unused) == 6  # protection bits are accepted and ignored
        return m
