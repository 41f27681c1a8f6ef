"""A stream of words into a pattern of memory."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.memory import INDEX_BITS, Fault, MemoryEngine
from spu.rtl.fifo import StreamFifo
from spu.rtl.memory import layouts
from spu.rtl.memory.axi4 import Axi4Write, beat_size
from spu.rtl.memory.joiner import RunJoiner
from spu.rtl.memory.pattern import PatternGenerator
from spu.rtl.memory.write_manager import WriteManager


class WriteChannel(wiring.Component):
    """Words to memory, taken apart into the elements of patterns, the first from the least bytes.

    Elements one after the other in one beat are written by it, beats one after the other by one
    burst, which is asked for when all its beats are there::

        i -> PatternGenerator -> RunJoiner -> WriteManager
        words -----------------> beats -------'

    Parameters
    ----------
    engine: all but its numbers of channels.

    Members
    -------
    i : In(stream of job); index : In(stream of INDEX_BITS) - the indices of a scatter
    words : In(stream of word_bits)
    bus : Out(Axi4Write); limit : In(address_bits + 1) - as of ``PatternGenerator``
    fault : Out(tagged_fault) - from the first fault on, until ``flush``
    flush : In(1) - forget all
    busy : Out(1) - a pattern is not written, or not answered

    Contract
    --------
    Latency: 6 from ``i`` to AW, if the pattern is one element.
    Throughput: an element a cycle: of words of one element a word a cycle, of smaller elements as
        many cycles a word as it has of them.  Of the beats to memory a cycle is lost a burst.
    Holds: no word is taken without its element.
    Reset: no pattern.
    Corner cases: elements outside the bounds use up their part of a word and write nothing; a
        pattern's last word is used up, though its elements be too few.  Two elements at one address
        leave either value where several IDs are used.  After a fault no word is taken, and what was
        not begun is not written; ``flush`` must stay until ``busy`` falls.

    Example
    -------
    >>> from spu.arch.memory import MemoryEngine
    >>> from spu.rtl.observe import observe
    >>> ask = {"i.valid": 1, "i.payload": {"pattern": {"base": 40, "size": 3}}, "limit": 64,
    ...        "words.valid": 1, "words.payload": 42, "bus.awready": 1, "bus.wready": 1}
    >>> shown = observe(WriteChannel(MemoryEngine()), [ask, {"i.valid": 0}, *[{}] * 6],
    ...                 "bus.awvalid", "bus.awaddr", "bus.wvalid", "bus.wstrb")
    >>> shown[6][:2], shown[7][2] , hex(shown[7][3])
    ((1, 32), 1, '0xff00')
    """

    latency = 6

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        super().__init__(
            {
                "i": In(stream.Signature(layouts.job(engine))),
                "index": In(stream.Signature(INDEX_BITS)),
                "words": In(stream.Signature(engine.word_bits)),
                "bus": Out(Axi4Write(engine)),
                "limit": In(engine.address_bits + 1),
                "fault": Out(layouts.TAGGED_FAULT),
                "flush": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        engine = self.engine
        shape = layouts.write_beat(engine)
        m.submodules.generator = generator = PatternGenerator(engine)
        m.submodules.joiner = joiner = RunJoiner(engine)
        m.submodules.beats = beats = StreamFifo(shape.size, 2 * engine.burst_beats)
        m.submodules.manager = manager = WriteManager(engine)
        wiring.connect(m, wiring.flipped(self.index), generator.index)
        wiring.connect(m, joiner.o, manager.i)
        wiring.connect(m, manager.bus, wiring.flipped(self.bus))
        failed = self.fault.fault != Fault.NONE
        flush = self.flush | failed
        kept, has_beat = Signal(shape), Signal()
        tag, size = Signal.like(self.fault.tag), Signal(layouts.pattern(engine)["size"].shape)
        full = Signal(range(engine.word_bytes + 1))  # bytes of a word of this pattern
        # A pattern begins when the one before has left: its last beat goes out alone.
        begins = generator.pattern.ready & ~has_beat
        m.d.comb += [
            generator.limit.eq(self.limit),
            *(part.flush.eq(flush) for part in (generator, joiner, manager, beats)),
            generator.pattern.payload.eq(self.i.payload.pattern),
            generator.pattern.valid.eq(self.i.valid & begins),
            self.i.ready.eq(begins),
            manager.beats.valid.eq(beats.o.valid),
            manager.beats.payload.eq(beats.o.payload),
            beats.o.ready.eq(manager.beats.ready),
        ]
        with m.If(self.i.valid & begins):
            m.d.sync += [
                tag.eq(self.i.payload.tag),
                size.eq(self.i.payload.pattern.size),
                full.eq(engine.word_bytes >> self.i.payload.pattern.narrow),
            ]

        element = generator.o.payload
        good = generator.o.valid & (element.fault == Fault.NONE)
        number, beat = element.address[beat_size(engine) :], Signal(engine.beat_address_bits)
        elsewhere = ~element.zero & has_beat & (number != beat)
        leaves, pushes, steps = Signal(), Signal(), Signal()
        piece = self._piece(m, element, size, full, steps)
        m.d.comb += [
            leaves.eq(
                has_beat
                & beats.i.ready
                & ((good & self.words.valid & elsewhere) | generator.pattern.ready)
            ),
            pushes.eq(leaves & joiner.i.ready),
            steps.eq(good & self.words.valid & (~elsewhere | pushes)),
            generator.o.ready.eq(steps),
            joiner.i.valid.eq(leaves),
            joiner.i.payload.eq(beat),
            joiner.tag.eq(tag),
            joiner.hurry.eq((~generator.o.valid & ~has_beat) | ~beats.i.ready),
            beats.i.valid.eq(pushes),
            beats.i.payload.eq(kept),
        ]
        with m.If(pushes):
            m.d.sync += has_beat.eq(0)
        with m.If(steps & ~element.zero):
            fresh = ~has_beat | pushes
            m.d.sync += [
                has_beat.eq(1),
                beat.eq(number),
                kept.data.eq(Mux(fresh, 0, kept.data & ~_bits(piece.strobes)) | piece.data),
                kept.strobes.eq(Mux(fresh, 0, kept.strobes) | piece.strobes),
            ]
        with m.If(flush):
            m.d.sync += has_beat.eq(0)

        m.d.comb += self.busy.eq(
            (~generator.pattern.ready & ~flush)
            | has_beat
            | joiner.busy
            | manager.busy
            | (beats.level != 0)
        )
        with m.If(self.flush):
            m.d.sync += self.fault.fault.eq(Fault.NONE)
        with m.Elif(~failed):
            with m.If(manager.fault.fault != Fault.NONE):
                m.d.sync += self.fault.eq(manager.fault)
            with m.Elif(generator.o.valid & ~good):
                m.d.sync += [self.fault.fault.eq(element.fault), self.fault.tag.eq(tag)]
        return m

    def _piece(
        self, m: Module, element: data.View, size: Value, full: Value, steps: Value
    ) -> data.View:
        """An element in its place of a beat; the word of ``full`` bytes is taken with its last."""
        word_bytes = self.engine.word_bytes
        used = Signal(range(word_bytes))  # bytes of the word, by elements before
        after = used + (1 << size)
        ends = element.last | (after == full)
        m.d.comb += self.words.ready.eq(steps & ends)
        with m.If(steps):
            m.d.sync += used.eq(Mux(ends, 0, after))
        with m.If(self.flush):
            m.d.sync += used.eq(0)
        piece, ones = Signal(layouts.write_beat(self.engine)), Signal(word_bytes)
        with m.Switch(size):
            for number in range(word_bytes.bit_length()):
                with m.Case(number):
                    m.d.comb += ones.eq((1 << (1 << number)) - 1)
        offset = element.address[: beat_size(self.engine)]
        value = (self.words.payload >> (used << 3)) & _bits(ones)
        m.d.comb += [piece.strobes.eq(ones << offset), piece.data.eq(value << (offset << 3))]
        return piece


def _bits(strobes: Value) -> Value:
    """The bits of the bytes of strobes."""
    return Cat(strobe.replicate(8) for strobe in strobes)
