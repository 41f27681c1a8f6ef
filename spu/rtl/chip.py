"""A chip: an array and the memory engine around it, for a SoC."""

from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spu.arch.chip import Chip
from spu.arch.params import BIAS_BITS
from spu.rtl.axi import AxiLite, AxiLiteSlave
from spu.rtl.host import HostRegisters
from spu.rtl.memory.array_port import ArrayPort
from spu.rtl.memory.engine import Engine
from spu.rtl.top import Spu


class ChipTop(wiring.Component):
    """An array whose streams and program files come from memory and go there.

    The host writes inputs and a ring of descriptors into memory, rings the doorbell, waits for the
    interrupt and reads outputs.

    Parameters
    ----------
    chip: the array and its engine.

    Members
    -------
    s_axil_NAME : AXI4-Lite slave: the array's registers (``regmap``), from 0x2000 on the engine's
        (``engine_map``); NAME is that of ``AxiLite``
    m_axi_NAME : AXI4 manager; NAME is that of ``Axi4Read`` and ``Axi4Write``
    irq : Out(1) - the interrupt

    Contract
    --------
    Latency: 2 from an access to an engine's register to its response; to one of the array's 3 more.
    Throughput: as of ``Engine`` and ``Spu``.
    Holds: as of ``Engine`` and ``Spu``.
    Reset: as of ``Engine`` and ``Spu``.
    Corner cases: host and engine share the array's registers, the engine's accesses first: a host
        that starts, resets or loads regions beside the ring gets what it asks for.

    Example
    -------
    >>> from rtl.chip import chip_modules
    >>> from spu.arch.chip import CHIPS
    >>> {name: type(module).__name__ for name, module in chip_modules(CHIPS["basic"]).items()}
    {'tile_memory': 'Tile', 'tile_plain': 'Tile', 'chip': 'ChipTop'}
    """

    address_bits = HostRegisters.address_bits + 1
    latency = AxiLiteSlave.latency

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.engine = Engine(chip, HostRegisters.address_bits)
        members = {
            f"s_axil_{name}": member for name, member in AxiLite(self.address_bits).members.items()
        }
        for bus in (self.engine.signature.members["read"], self.engine.signature.members["write"]):
            members |= {f"m_axi_{name}": member for name, member in bus.signature.members.items()}
        super().__init__({**members, "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine, array = self.engine, Spu(self.chip.arch)
        m.submodules.engine, m.submodules.array = engine, array
        m.submodules.slave = slave = AxiLiteSlave(self.address_bits)
        m.submodules.port = port = ArrayPort(HostRegisters.address_bits)
        # The ports are named as buses of AXI are, which members of a signature are not.
        _join(m, self, "s_axil_", slave.bus)
        _join(m, self, "m_axi_", engine.read)
        _join(m, self, "m_axi_", engine.write)
        for name, member in AxiLite(HostRegisters.address_bits).members.items():
            inside, outside = getattr(port.bus, name), getattr(array, f"s_axil_{name}")
            m.d.comb += outside.eq(inside) if member.flow == In else inside.eq(outside)

        host, upper = slave.registers, HostRegisters.address_bits - 2
        for kind in ("write", "read"):
            of_engine = getattr(host, f"{kind}_address")[upper]
            for side, mine in ((engine.access, of_engine), (port.host, ~of_engine)):
                m.d.comb += [
                    getattr(side, kind).eq(getattr(host, kind) & mine),
                    getattr(side, f"{kind}_address").eq(getattr(host, f"{kind}_address")),
                ]
            for name in (f"{kind}_done", f"{kind}_refused"):
                m.d.comb += getattr(host, name).eq(
                    Mux(of_engine, getattr(engine.access, name), getattr(port.host, name))
                )
        m.d.comb += [
            engine.access.write_data.eq(host.write_data),
            port.host.write_data.eq(host.write_data),
            host.read_data.eq(
                Mux(host.read_address[upper], engine.access.read_data, port.host.read_data)
            ),
            engine.running.eq(array.region_running),
            self.irq.eq(engine.interrupt),
            array.s_axis_load_tdata.eq(engine.file.payload),
            array.s_axis_load_tvalid.eq(engine.file.valid),
            engine.file.ready.eq(array.s_axis_load_tready),
        ]
        wiring.connect(m, engine.array, port.engine)
        for c in range(self.chip.arch.cols):
            to, source = getattr(engine, f"to_{c}"), getattr(engine, f"from_{c}")
            data, user = getattr(array, f"s_axis_{c}_tdata"), getattr(array, f"s_axis_{c}_tuser")
            assert len(user) == BIAS_BITS
            m.d.comb += [
                Cat(data, user).eq(to.payload),
                getattr(array, f"s_axis_{c}_tvalid").eq(to.valid),
                to.ready.eq(getattr(array, f"s_axis_{c}_tready")),
                source.payload.eq(
                    Cat(getattr(array, f"m_axis_{c}_tdata"), getattr(array, f"m_axis_{c}_tuser"))
                ),
                source.valid.eq(getattr(array, f"m_axis_{c}_tvalid")),
                getattr(array, f"m_axis_{c}_tready").eq(source.ready),
            ]
        return m


def _join(m: Module, top: ChipTop, prefix: str, bus: wiring.PureInterface) -> None:
    """Connect a bus with the ports of the top that have its names."""
    for name, member in bus.signature.members.items():
        outside, inside = getattr(top, prefix + name), getattr(bus, name)
        m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
