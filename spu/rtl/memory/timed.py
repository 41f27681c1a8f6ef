"""A memory behind AXI4 of stated latency and bandwidth, for simulations of a chip."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spu.arch.external import ExternalMemory
from spu.arch.memory import MemoryEngine
from spu.rtl.axi import SLVERR
from spu.rtl.fifo import StreamFifo
from spu.rtl.memory.axi4 import DECERR, INCR, Axi4Read, Axi4Write, beat_size


class TimedMemory(wiring.Component):
    """An AXI4 subordinate that answers bursts in their order.

    Reads and writes share the bandwidth.  ``bytes_per_cycle`` are earned each cycle, a beat costs
    its bytes; where both could move and only one can pay, the one moves that did not move last.
    What is earned and not spent is kept up to one byte less than a beat.

    Parameters
    ----------
    engine: of which the bus is: ``data_bits`` and ``address_bits``.
    memory: size, latency and bandwidth.
    id_bits: of the IDs of the bus, at least 1.

    Raises
    ------
    ValueError: the memory does not fit the bus, or ``id_bits`` is out of range.

    Members
    -------
    bus : In(the members of ``Axi4Read`` and ``Axi4Write``)
    load : In(1); load_beat : In; load_data : In(data_bits) - write a beat at once, beside the bus
    peek_beat : In; peek_data : Out(data_bits) - a beat of memory in the same cycle

    Contract
    --------
    Latency: ``latency_cycles``, from AR to R and from the last W to B; 2 at least.
    Throughput: ``bytes_per_cycle``, a beat a cycle on each of R and W at most.
    Holds: R and B keep valid and payload until ready; ``wready`` depends on ``wvalid``, since only
        a beat that is there is paid for.
    Reset: no burst under way; memory keeps its content.
    Corner cases: a beat is read in the cycle before it is on R for the first time, before a write
        in the same cycle.  A beat on W is taken from the cycle after its AW on.  A beat outside the
        memory reads zeros with ``DECERR``; a burst with such a beat is answered with it, and its
        other beats are written.  Bursts of beats that are narrower than the bus, or do not follow
        each other, are answered with ``SLVERR``, read zeros and write nothing.  The first address
        may lie within a beat.  A burst ends by its length: ``wlast`` is not looked at.  ``load``
        while W moves a beat takes the place of that beat.

    Example
    -------
    >>> from spu.arch.external import ExternalMemory
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> memory = TimedMemory(MemoryEngine(), ExternalMemory(64, latency_cycles=3), 1)
    >>> ask = {"load": 1, "load_beat": 1, "load_data": 42, "bus.arvalid": 1, "bus.araddr": 32,
    ...        "bus.arsize": 5, "bus.arburst": 1}
    >>> observe(memory, [ask, {"load": 0, "bus.arvalid": 0}, {}, {}], "bus.rvalid", "bus.rdata")
    [(0, 0), (0, 0), (0, 0), (1, 42)]
    """

    def __init__(self, engine: MemoryEngine, memory: ExternalMemory, id_bits: int) -> None:
        memory.check(engine)
        if id_bits < 1:
            raise ValueError(f"id_bits must be at least 1, not {id_bits}")
        self.engine, self.memory, self.id_bits = engine, memory, id_bits
        self.latency = memory.latency_cycles
        self.depth = memory.size_bytes // engine.beat_bytes
        number = range(max(2, self.depth))
        channels = {**Axi4Read(engine).members, **Axi4Write(engine).members}
        for name in ("arid", "rid", "awid", "bid"):
            channels[name] = type(channels[name])(channels[name].flow, id_bits)
        super().__init__(
            {
                "bus": In(wiring.Signature(channels)),
                "load": In(1),
                "load_beat": In(number),
                "load_data": In(engine.data_bits),
                "peek_beat": In(number),
                "peek_data": Out(engine.data_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine = self.engine
        m.submodules.memory = memory = Memory(shape=engine.data_bits, depth=self.depth, init=[])
        read_wants, read_moves, write_wants, write_moves = (
            Signal(name=f"{way}_{what}") for way in ("read", "write") for what in ("wants", "moves")
        )
        self._share(m, read_wants, read_moves, write_wants, write_moves)
        self._reads(m, memory, read_wants, read_moves)
        self._writes(m, memory, write_wants, write_moves)
        peek = memory.read_port(domain="comb")
        m.d.comb += [peek.addr.eq(self.peek_beat), self.peek_data.eq(peek.data)]
        return m

    def _share(
        self,
        m: Module,
        read_wants: Value,
        read_moves: Value,
        write_wants: Value,
        write_moves: Value,
    ) -> None:
        """Pay for the beats that want to move."""
        beat, earned = self.engine.beat_bytes, self.memory.bytes_per_cycle
        saved, write_first = Signal(range(beat)), Signal()
        has, rest = Signal(range(beat + earned)), Signal(range(beat + earned))
        both, any_moves = has >= 2 * beat, has >= beat
        m.d.comb += [
            has.eq(saved + earned),
            read_moves.eq(read_wants & Mux(write_wants & write_first, both, any_moves)),
            write_moves.eq(write_wants & Mux(read_wants & ~write_first, both, any_moves)),
            rest.eq(has - Mux(read_moves, beat, 0) - Mux(write_moves, beat, 0)),
        ]
        m.d.sync += saved.eq(Mux(rest >= beat, beat - 1, rest))
        with m.If(read_moves ^ write_moves):
            m.d.sync += write_first.eq(read_moves)

    def _ripe(self, m: Module, name: str, delay: int, arrives: Value, leaves: Value) -> Value:
        """Whether one that arrived ``delay + 1`` cycles ago or before has not left."""
        line, count = Signal(delay, name=f"{name}_line"), Signal(16, name=f"{name}_ripe")
        if delay:
            m.d.sync += line.eq(Cat(arrives, line))
            arrives = line[-1]
        m.d.sync += count.eq(count + arrives - leaves)
        return count != 0

    def _queue(self, m: Module, way: str) -> tuple[StreamFifo, data.View]:
        """Bursts that ``way``, AR or AW, asked for; what the first one is."""
        bus = self.bus
        asked = {name: getattr(bus, way + name) for name in ("id", "addr", "len", "size", "burst")}
        shape = data.StructLayout({name: value.shape() for name, value in asked.items()})
        m.submodules[f"{way}_queue"] = queue = StreamFifo(shape.size, self.memory.bursts)
        m.d.comb += [
            queue.i.valid.eq(getattr(bus, f"{way}valid")),
            getattr(bus, f"{way}ready").eq(queue.i.ready),
            queue.i.payload.eq(Cat(*asked.values())),
        ]
        return queue, data.View(shape, queue.o.payload)

    def _beat(self, m: Module, way: str, burst: data.View, moves: Value) -> tuple[Value, ...]:
        """Number of the burst's next beat, whether it is the last one, its response."""
        done = Signal(8, name=f"{way}_done")
        last, response = Signal(name=f"{way}_last"), Signal(2, name=f"{way}_response")
        size = beat_size(self.engine)
        beat = Signal(self.engine.beat_address_bits + 1, name=f"{way}_beat")
        m.d.comb += [last.eq(done == burst.len), beat.eq((burst.addr >> size) + done)]
        with m.If((burst.burst != INCR) | (burst.size != size)):
            m.d.comb += response.eq(SLVERR)
        with m.Elif(beat >= self.depth):
            m.d.comb += response.eq(DECERR)
        with m.If(moves):
            m.d.sync += done.eq(Mux(last, 0, done + 1))
        return beat, last, response

    def _reads(self, m: Module, memory: Memory, wants: Value, moves: Value) -> None:
        bus = self.bus
        queue, burst = self._queue(m, "ar")
        beat, last, response = self._beat(m, "ar", burst, moves)
        taken, ends = queue.i.valid & queue.i.ready, moves & last
        ripe = self._ripe(m, "read", self.memory.latency_cycles - 2, taken, ends)
        port, good = memory.read_port(), Signal()
        m.d.comb += [
            wants.eq(ripe & (~bus.rvalid | bus.rready)),
            queue.o.ready.eq(ends),
            port.addr.eq(beat),
            port.en.eq(moves),
            bus.rdata.eq(Mux(good, port.data, 0)),
        ]
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(moves):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rid.eq(burst.id),
                bus.rlast.eq(last),
                bus.rresp.eq(response),
                good.eq(response == 0),
            ]

    def _writes(self, m: Module, memory: Memory, wants: Value, moves: Value) -> None:
        bus = self.bus
        queue, burst = self._queue(m, "aw")
        beat, last, response = self._beat(m, "aw", burst, moves)
        answer = data.StructLayout({"id": self.id_bits, "response": 2})
        m.submodules.answers = answers = StreamFifo(answer.size, self.memory.bursts)
        worst, ends, answered = Signal(2), moves & last, bus.bvalid & bus.bready
        put, given = data.View(answer, answers.i.payload), data.View(answer, answers.o.payload)
        port = memory.write_port(granularity=8)
        m.d.comb += [
            wants.eq(bus.wvalid & queue.o.valid & answers.i.ready),
            bus.wready.eq(moves),
            queue.o.ready.eq(ends),
            answers.i.valid.eq(ends),
            put.id.eq(burst.id),
            put.response.eq(worst | response),  # all that fail of a burst fail alike
            port.addr.eq(Mux(self.load, self.load_beat, beat)),
            port.data.eq(Mux(self.load, self.load_data, bus.wdata)),
            port.en.eq(
                Mux(
                    self.load,
                    (1 << self.engine.beat_bytes) - 1,
                    Mux(moves & (response == 0), bus.wstrb, 0),
                )
            ),
            bus.bvalid.eq(self._ripe(m, "write", self.memory.latency_cycles - 1, ends, answered)),
            answers.o.ready.eq(answered),
            bus.bid.eq(given.id),
            bus.bresp.eq(given.response),
        ]
        with m.If(moves):
            m.d.sync += worst.eq(Mux(last, 0, worst | response))
