"""A pattern of memory as a stream of words."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import INDEX_BITS, Fault, MemoryEngine
from spu.rtl.fifo import StreamFifo
from spu.rtl.memory import layouts
from spu.rtl.memory.axi4 import Axi4Read, beat_size
from spu.rtl.memory.joiner import RunJoiner
from spu.rtl.memory.pattern import PatternGenerator
from spu.rtl.memory.read_manager import ReadManager


class ReadChannel(wiring.Component):
    """Elements of patterns from memory, joined into words, the first in the least bytes.

    Elements one after the other in one beat share it, beats one after the other share a burst.
    What stands where in its beat waits in a FIFO for the beat::

        i -> PatternGenerator -> RunJoiner -> ReadManager -> o
                              `-> places -----------------'

    Parameters
    ----------
    engine: all but its numbers of channels.

    Members
    -------
    i : In(stream of job); index : In(stream of INDEX_BITS) - the indices of its gathers
    o : Out(stream of word) - ``last`` of its pattern
    bus : Out(Axi4Read); limit : In(address_bits + 1) - as of ``PatternGenerator``
    fault : Out(tagged_fault) - from the first fault on, until ``flush``
    flush : In(1) - forget all
    busy : Out(1) - a pattern is not delivered

    Contract
    --------
    Latency: 5 from ``i`` to AR, 3 from R to ``o``.
    Throughput: an element a cycle: elements of a word's size make a word a cycle, smaller ones take
        as many cycles a word as it has of them.  Bursts cover the latency of memory with
        ``outstanding * burst_beats`` beats, but at most as many elements as these have words.
    Holds: ``o`` keeps valid and payload until ready, or ``flush``.
    Reset: no pattern.
    Corner cases: zeros read no memory; a last word of too few elements is filled with zeros.  From
        a fault on no word comes out, not even those of elements before it that are under way;
        ``flush`` must stay until ``busy`` falls.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i.valid": 1, "i.payload": {"pattern": {"base": 40, "size": 3}}, "limit": 64,
    ...        "bus.arready": 1, "o.ready": 1}
    >>> answer = {"bus.rvalid": 1, "bus.rlast": 1, "bus.rdata": 42 << 64}
    >>> shown = observe(
    ...     ReadChannel(MemoryEngine()),
    ...     [ask, {"i.valid": 0}, *[{}] * 5, answer, {"bus.rvalid": 0}, *[{}] * 4],
    ...     "bus.arvalid", "bus.araddr", "o.valid", "o.payload.data", "o.payload.last")
    >>> shown[5][:2], shown[10][2:]
    ((1, 32), (1, 42, 1))
    """

    latency = 5

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "i": In(stream.Signature(layouts.job(engine))),
                "index": In(stream.Signature(INDEX_BITS)),
                "o": Out(stream.Signature(layouts.word(engine))),
                "bus": Out(Axi4Read(engine)),
                "limit": In(engine.address_bits + 1),
                "fault": Out(layouts.TAGGED_FAULT),
                "flush": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine = self.engine
        m.submodules.generator = generator = PatternGenerator(engine)
        m.submodules.joiner = joiner = RunJoiner(engine)
        m.submodules.manager = manager = ReadManager(engine)
        size = Signal(layouts.pattern(engine)["size"].shape)
        full = Signal(range(engine.word_bytes + 1))  # bytes of a word of this pattern
        place = data.StructLayout(
            {
                "offset": beat_size(engine),
                "size": size.shape(),
                "zero": 1,
                "new": 1,
                "ends": 1,
                "last": 1,
            }
        )
        words = engine.outstanding * engine.burst_beats * engine.data_bits // engine.word_bits
        m.submodules.places = places = StreamFifo(place.size, words)
        wiring.connect(m, wiring.flipped(self.index), generator.index)
        wiring.connect(m, joiner.o, manager.i)
        wiring.connect(m, manager.bus, wiring.flipped(self.bus))
        failed = self.fault.fault != Fault.NONE
        flush = self.flush | failed
        m.d.comb += [
            generator.limit.eq(self.limit),
            *(part.flush.eq(flush) for part in (generator, joiner, manager, places)),
        ]

        # A pattern begins when the one before has left the generator.
        tag = Signal.like(self.i.payload.tag)
        seen, beat_seen = Signal(), Signal(engine.beat_address_bits)
        m.d.comb += [
            generator.pattern.payload.eq(self.i.payload.pattern),
            generator.pattern.valid.eq(self.i.valid & ~failed),
            self.i.ready.eq(generator.pattern.ready & ~failed),
        ]
        element = generator.o.payload
        good = generator.o.valid & (element.fault == Fault.NONE)
        beat = element.address[beat_size(engine) :]
        new = ~element.zero & ~(seen & (beat == beat_seen))
        used = Signal(range(engine.word_bytes))  # bytes of the word, by elements before
        after = used + (1 << size)
        put = data.View(place, places.i.payload)
        m.d.comb += [
            put.offset.eq(element.address[: beat_size(engine)]),
            put.size.eq(size),
            put.zero.eq(element.zero),
            put.new.eq(new),
            put.ends.eq(element.last | (after == full)),
            put.last.eq(element.last),
            places.i.valid.eq(good & (~new | joiner.i.ready)),
            joiner.i.valid.eq(good & new & places.i.ready),
            joiner.i.payload.eq(beat),
            joiner.tag.eq(tag),
            joiner.hurry.eq(~good | ~places.i.ready | ~manager.busy),
            generator.o.ready.eq(places.i.ready & (~new | joiner.i.ready)),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                tag.eq(self.i.payload.tag),
                size.eq(self.i.payload.pattern.size),
                full.eq(engine.word_bytes >> self.i.payload.pattern.narrow),
                seen.eq(0),
            ]
        with m.Elif(joiner.i.valid & joiner.i.ready):
            m.d.sync += [seen.eq(1), beat_seen.eq(beat)]
        with m.If(flush):
            m.d.sync += used.eq(0)
        with m.Elif(places.i.valid & places.i.ready):
            m.d.sync += used.eq(Mux(put.ends, 0, after))

        bad_beat = self._join(m, data.View(place, places.o.payload), places.o, manager.o)
        m.d.comb += self.busy.eq(
            ~generator.pattern.ready & ~flush
            | joiner.busy
            | manager.busy
            | (places.level != 0)
            | self.o.valid
        )
        with m.If(self.flush):
            m.d.sync += self.fault.fault.eq(Fault.NONE)
        with m.Elif(~failed):
            with m.If(bad_beat != Fault.NONE):
                m.d.sync += [
                    self.fault.fault.eq(bad_beat),
                    self.fault.tag.eq(manager.o.payload.tag),
                ]
            with m.Elif(generator.o.valid & ~good):
                m.d.sync += [self.fault.fault.eq(element.fault), self.fault.tag.eq(tag)]
        return m

    def _join(self, m: Module, place: data.View, places: Value, beats: Value) -> Value:
        """Elements of beats into words; returns the fault of the beat that the next one needs."""
        word_bytes = self.engine.word_bytes
        held, word = Signal(self.engine.data_bits), Signal(self.engine.word_bits)
        filled, takes, completes = Signal(range(word_bytes)), Signal(), Signal()
        within = (word_bytes - 1).bit_length()
        beat = Mux(place.new, beats.payload.data, held)
        chosen = beat.word_select(place.offset[within:], self.engine.word_bits)
        ones = Signal(self.engine.word_bits)
        with m.Switch(place.size):
            for size in range(within + 1):
                with m.Case(size):
                    m.d.comb += ones.eq((1 << (8 << size)) - 1)
        element = Mux(place.zero, 0, (chosen >> (place.offset[:within] << 3)) & ones)
        joined = Signal.like(word)
        bad = Signal(Fault)
        m.d.comb += [
            joined.eq(Mux(filled == 0, 0, word) | (element << (filled << 3))),
            completes.eq(place.ends),
            bad.eq(Mux(places.valid & place.new & beats.valid, beats.payload.fault, Fault.NONE)),
            takes.eq(
                places.valid
                & (~place.new | (beats.valid & (bad == Fault.NONE)))
                & (~completes | ~self.o.valid | self.o.ready)
            ),
            places.ready.eq(takes),
            beats.ready.eq(takes & place.new),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(takes):
            m.d.sync += [filled.eq(Mux(completes, 0, filled + (1 << place.size))), word.eq(joined)]
            with m.If(place.new):
                m.d.sync += held.eq(beats.payload.data)
            with m.If(completes):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(joined),
                    self.o.payload.last.eq(place.last),
                ]
        with m.If(self.flush | (self.fault.fault != Fault.NONE)):
            m.d.sync += [filled.eq(0), self.o.valid.eq(0)]
        return bad
