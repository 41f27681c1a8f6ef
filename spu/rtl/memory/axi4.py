"""AXI4: the channels of a manager that reads and of one that writes."""

from amaranth.hdl import Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import Fault, MemoryEngine
from spu.rtl.axi import SLVERR

#: Response of an interconnect that has nothing at an address (AMBA AXI and ACE protocol
#: specification, table A3-4; the others are in ``spu.rtl.axi``).
DECERR = 3
#: Addresses of a burst's beats follow each other (table A3-3).
INCR = 1


def id_bits(engine: MemoryEngine, managers: int = 1) -> int:
    """Bits of an ID of some managers on one bus, their numbers above those of a single one; one
    where a manager has a single ID.
    """
    return max(1, (engine.ids - 1).bit_length()) + (managers - 1).bit_length()


def beat_size(engine: MemoryEngine) -> int:
    """What ``arsize`` and ``awsize`` are: log2 of the bytes of a beat."""
    return (engine.beat_bytes - 1).bit_length()


def response_fault(response: Value) -> Value:
    """The fault that a response is."""
    return Mux(response == SLVERR, Fault.SLVERR, Mux(response == DECERR, Fault.DECERR, Fault.NONE))


class Axi4Read(wiring.Signature):
    """The channels AR and R, seen from the manager; names as on the bus.

    Signals that are left out have the values that AXI gives those that are absent.
    ``managers``: how many there are behind it, whose numbers are the upper bits of an ID.
    """

    def __init__(self, engine: MemoryEngine, managers: int = 1) -> None:
        super().__init__(
            {
                "arid": Out(id_bits(engine, managers)),
                "araddr": Out(engine.address_bits),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arvalid": Out(1),
                "arready": In(1),
                "rid": In(id_bits(engine, managers)),
                "rdata": In(engine.data_bits),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Axi4Write(wiring.Signature):
    """The channels AW, W and B, seen from the manager; names as on the bus.

    Signals that are left out have the values that AXI gives those that are absent.
    ``managers``: how many there are behind it, whose numbers are the upper bits of an ID.
    """

    def __init__(self, engine: MemoryEngine, managers: int = 1) -> None:
        super().__init__(
            {
                "awid": Out(id_bits(engine, managers)),
                "awaddr": Out(engine.address_bits),
                "awlen": Out(8),
                "awsize": Out(3),
                "awburst": Out(2),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(engine.data_bits),
                "wstrb": Out(engine.beat_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(id_bits(engine, managers)),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )
