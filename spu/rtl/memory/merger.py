"""Several AXI4 managers on one bus."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import MemoryEngine
from spu.rtl.memory.axi4 import Axi4Read, Axi4Write, id_bits

#: What a manager asks for in AR and AW; the ID gets the manager's number above its own bits.
_REQUEST = ("addr", "len", "size", "burst")


class ReadMerger(wiring.Component):
    """Managers that read, in turn, a burst each; the upper bits of an ID say whose it is.

    Parameters
    ----------
    engine: its widths and ``ids``.
    managers: at least 1.

    Members
    -------
    i_N : In(Axi4Read) of manager N; bus : Out(Axi4Read of so many managers)

    Contract
    --------
    Latency: 1 on AR, 0 on R.
    Throughput: a burst a cycle, a beat a cycle.
    Holds: AR keeps valid and payload until ready.  ``bus.rready`` is always 1, as is the managers'.
    Reset: nothing asked for; manager 0 is first in turn.
    Corner cases: after a burst the turn is the next manager's; who asks for nothing is passed over
        at no cost.  A beat of no manager's number is dropped.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i_1.arvalid": 1, "i_1.araddr": 64, "i_1.arid": 3, "bus.arready": 1}
    >>> observe(ReadMerger(MemoryEngine(), 2), [ask, {"i_1.arvalid": 0}], "i_1.arready",
    ...         "bus.arvalid", "bus.araddr", "bus.arid")
    [(1, 0, 0, 0), (0, 1, 64, 11)]
    """

    latency = 1

    def __init__(self, engine: MemoryEngine, managers: int) -> None:
        self.engine, self.managers = engine, managers
        super().__init__(
            {
                **{f"i_{n}": In(Axi4Read(engine)) for n in range(managers)},
                "bus": Out(Axi4Read(engine, managers)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus, sources = self.bus, [getattr(self, f"i_{n}") for n in range(self.managers)]
        own = id_bits(self.engine)
        _merge_requests(m, "ar", sources, bus, own, Value.cast(1))
        m.d.comb += bus.rready.eq(1)
        for number, source in enumerate(sources):
            m.d.comb += [
                source.rvalid.eq(bus.rvalid & (bus.rid >> own == number)),
                source.rid.eq(bus.rid[:own]),
                source.rdata.eq(bus.rdata),
                source.rresp.eq(bus.rresp),
                source.rlast.eq(bus.rlast),
            ]
        return m


class WriteMerger(wiring.Component):
    """Managers that write, in turn, a burst each; the upper bits of an ID say whose it is.

    W has no ID: its beats come in the order of AW, those of a burst without others between.

    Parameters
    ----------
    engine: its widths and ``ids``.
    managers: at least 1.

    Members
    -------
    i_N : In(Axi4Write) of manager N; bus : Out(Axi4Write of so many managers)

    Contract
    --------
    Latency: 1 on AW, 0 on W and B.
    Throughput: a beat a cycle, also from one manager's burst to the next one's.
    Holds: AW and W keep valid and payload until ready.  ``bus.bready`` is always 1, as is the
        managers'.
    Reset: nothing asked for; manager 0 is first in turn.
    Corner cases: a burst is taken while the last beat of the one before leaves, so that a manager
        without beats holds up the others: ``WriteManager`` asks for none that it has no beats for.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i_1.awvalid": 1, "i_1.wvalid": 1, "i_1.wdata": 42, "i_1.wlast": 1,
    ...        "bus.awready": 1, "bus.wready": 1}
    >>> observe(WriteMerger(MemoryEngine(), 2), [ask, {"i_1.awvalid": 0}, {"i_1.wvalid": 0}],
    ...         "bus.awvalid", "bus.awid", "bus.wvalid", "bus.wdata")
    [(0, 0, 0, 0), (1, 8, 1, 42), (0, 8, 0, 42)]
    """

    latency = 1

    def __init__(self, engine: MemoryEngine, managers: int) -> None:
        self.engine, self.managers = engine, managers
        super().__init__(
            {
                **{f"i_{n}": In(Axi4Write(engine)) for n in range(managers)},
                "bus": Out(Axi4Write(engine, managers)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus, sources = self.bus, [getattr(self, f"i_{n}") for n in range(self.managers)]
        own = id_bits(self.engine)
        owned, owner = Signal(), Signal(range(max(2, self.managers)))
        ends = owned & bus.wvalid & bus.wready & bus.wlast
        takes, which = _merge_requests(m, "aw", sources, bus, own, ~owned | ends)
        with m.If(takes):
            m.d.sync += [owned.eq(1), owner.eq(which)]
        with m.Elif(ends):
            m.d.sync += owned.eq(0)
        m.d.comb += bus.bready.eq(1)
        for name in ("wdata", "wstrb", "wlast"):
            given = Array(getattr(source, name) for source in sources)
            m.d.comb += getattr(bus, name).eq(given[owner])
        m.d.comb += bus.wvalid.eq(owned & Array(source.wvalid for source in sources)[owner])
        for number, source in enumerate(sources):
            m.d.comb += [
                source.wready.eq(owned & (owner == number) & bus.wready),
                source.bvalid.eq(bus.bvalid & (bus.bid >> own == number)),
                source.bid.eq(bus.bid[:own]),
                source.bresp.eq(bus.bresp),
            ]
        return m


def _merge_requests(
    m: Module, channel: str, sources: list, bus: wiring.PureInterface, own: int, allowed: Value
) -> tuple[Value, Signal]:
    """Take requests in turn into the registers of ``bus``; whether, and whose."""

    def port(side: wiring.PureInterface, name: str) -> Value:
        return getattr(side, channel + name)

    count = len(sources)
    turn, which = Signal(range(max(2, count))), Signal(range(max(2, count)))
    asking = Cat(port(source, "valid") for source in sources)
    # The first one at or after ``turn``; if there is none, the first one.
    for number in reversed(range(count)):
        with m.If(asking[number]):
            m.d.comb += which.eq(number)
    for number in reversed(range(count)):
        with m.If(asking[number] & (turn <= number) if number < count - 1 else asking[number]):
            m.d.comb += which.eq(number)
    takes = Signal(name=f"takes_{channel}")
    m.d.comb += takes.eq(asking.any() & (~port(bus, "valid") | port(bus, "ready")) & allowed)
    for number, source in enumerate(sources):
        m.d.comb += port(source, "ready").eq(takes & (which == number))
    with m.If(port(bus, "ready")):
        m.d.sync += port(bus, "valid").eq(0)
    with m.If(takes):
        m.d.sync += [port(bus, "valid").eq(1), turn.eq(Mux(which == count - 1, 0, which + 1))]
        for name in _REQUEST:
            given = Array(port(source, name) for source in sources)
            m.d.sync += port(bus, name).eq(given[which])
        ids = Array(port(source, "id") for source in sources)
        m.d.sync += port(bus, "id").eq(Cat(ids[which], which)[: len(port(bus, "id"))])
    return takes, which
