"""The memory engine: channels, ring, dispatcher, registers, on one bus."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spu.arch.chip import Chip
from spu.arch.memory import Fault
from spu.rtl.axi import RegisterAccess
from spu.rtl.memory.axi4 import Axi4Read, Axi4Write
from spu.rtl.memory.dispatcher import Dispatcher
from spu.rtl.memory.engine_registers import EngineRegisters
from spu.rtl.memory.load_watch import LoadWatch
from spu.rtl.memory.merger import ReadMerger, WriteMerger
from spu.rtl.memory.read_channel import ReadChannel
from spu.rtl.memory.ring import DescriptorRing
from spu.rtl.memory.write_channel import WriteChannel


class Engine(wiring.Component):
    """Runs the descriptors of a ring in memory: patterns to and from streams, files, runs.

    On the bus the managers that read are the ring, the loader's channel, the read channels, those
    that write the write channels, in the order of their numbers in IDs::

        ring -> Dispatcher -> read channels  -> words to the array
                           -> write channels <- words from the array
                           -> loader's channel -> words of program files
                           -> registers of the array

    Parameters
    ----------
    chip: the array and its engine.
    address_bits: width of a byte address of the array's registers; the engine's need one more.

    Members
    -------
    access : In(RegisterAccess) - the engine's registers; array : Out(RegisterAccess) - the array's
    read : Out(Axi4Read); write : Out(Axi4Write) - of all managers
    to_C : Out(stream of word_bits); from_C : In(stream of word_bits) - of column C
    file : Out(stream of 32); running : In(regions) - of the array
    interrupt : Out(1)

    Contract
    --------
    Latency: 4 from ``end`` of the registers to the ring's AR on the bus.
    Throughput: a word a cycle on each stream, as far as the bus has beats; a descriptor in b + 1
        cycles, where it has b beats.
    Holds: streams to the array keep valid and payload until ready, or a fault.
    Reset: no descriptors, memory of no bytes.
    Corner cases: the first fault is kept, of those in one cycle the ring's, the loader's, that of
        the read channels in order, of the write channels; what has not begun to be written is not
        written, words from the array are swallowed, all regions are reset.

    Example
    -------
    >>> from spu.arch.chip import CHIPS
    >>> engine = Engine(CHIPS["tiny"], 13)
    >>> [name for name in engine.signature.members if name[:2] in ("to", "fr")]
    ['to_0', 'from_0', 'to_1', 'from_1']
    """

    latency = 4

    def __init__(self, chip: Chip, address_bits: int) -> None:
        self.chip, self.address_bits = chip, address_bits
        engine = chip.memory
        self.reading, self.writing = 2 + engine.read_channels, engine.write_channels
        words = stream.Signature(engine.word_bits)
        streams: dict[str, wiring.Member] = {}
        for c in range(chip.arch.cols):
            streams |= {f"to_{c}": Out(words), f"from_{c}": In(words)}
        super().__init__(
            {
                "access": In(RegisterAccess(address_bits - 1)),
                "array": Out(RegisterAccess(address_bits - 2)),
                "read": Out(Axi4Read(engine, self.reading)),
                "write": Out(Axi4Write(engine, self.writing)),
                **streams,
                "file": Out(stream.Signature(32)),
                "running": In(chip.arch.region_count),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip, engine = self.chip, self.chip.memory
        m.submodules.registers = registers = EngineRegisters(engine, self.address_bits + 1)
        m.submodules.ring = ring = DescriptorRing(engine)
        m.submodules.dispatcher = dispatcher = Dispatcher(chip, self.address_bits)
        m.submodules.watch = watch = LoadWatch(chip.arch, self.address_bits)
        wiring.connect(m, wiring.flipped(self.access), registers.access)
        wiring.connect(m, ring.o, dispatcher.i)
        m.d.comb += [
            *(getattr(ring, n).eq(getattr(registers, n)) for n in ("base", "size", "limit", "end")),
            registers.next.eq(ring.next),
            ring.skip.eq(registers.clear),
            ring.flush.eq(dispatcher.flush | dispatcher.failed),
            dispatcher.ring_busy.eq(ring.busy),
            dispatcher.running.eq(self.running),
            *(getattr(dispatcher, n).eq(getattr(registers, n)) for n in ("ordered", "clear")),
            *(
                getattr(registers, n).eq(getattr(dispatcher, n))
                for n in ("fault", "failed", "settled", "notify", "value")
            ),
            self.interrupt.eq(registers.interrupt),
        ]
        writes, reads = dispatcher.registers, watch.registers
        m.d.comb += [
            self.array.write.eq(writes.write),
            self.array.write_address.eq(writes.write_address),
            self.array.write_data.eq(writes.write_data),
            writes.write_done.eq(self.array.write_done),
            writes.write_refused.eq(self.array.write_refused),
            self.array.read.eq(reads.read),
            self.array.read_address.eq(reads.read_address),
            reads.read_done.eq(self.array.read_done),
            reads.read_refused.eq(self.array.read_refused),
            reads.read_data.eq(self.array.read_data),
        ]
        self._channels(m, registers, ring, dispatcher, watch)
        return m

    def _channels(
        self,
        m: Module,
        registers: EngineRegisters,
        ring: DescriptorRing,
        dispatcher: Dispatcher,
        watch: LoadWatch,
    ) -> None:
        engine = self.chip.memory
        m.submodules.reads = reads = ReadMerger(engine, self.reading)
        m.submodules.writes = writes = WriteMerger(engine, self.writing)
        wiring.connect(m, reads.bus, wiring.flipped(self.read))
        wiring.connect(m, writes.bus, wiring.flipped(self.write))
        m.submodules.loads = loads = ReadChannel(engine)
        m.d.comb += [
            self.file.payload.eq(loads.o.payload.data),
            self.file.valid.eq(loads.o.valid),
            loads.o.ready.eq(self.file.ready),
        ]
        readers: list[ReadChannel] = []
        writers: list[WriteChannel] = []
        for c in range(self.chip.arch.cols):
            reader, writer = ReadChannel(engine), WriteChannel(engine)
            m.submodules[f"read_{c}"], m.submodules[f"write_{c}"] = reader, writer
            to, source = getattr(self, f"to_{c}"), getattr(self, f"from_{c}")
            m.d.comb += [
                to.payload.eq(reader.o.payload.data),
                to.valid.eq(reader.o.valid),
                reader.o.ready.eq(to.ready),
                writer.words.payload.eq(source.payload),
                writer.words.valid.eq(source.valid),
                source.ready.eq(writer.words.ready | dispatcher.flush),
            ]
            readers.append(reader)
            writers.append(writer)
        managers: list[Any] = [ring, loads, *readers]
        for n, manager in enumerate(managers):
            wiring.connect(m, manager.bus, getattr(reads, f"i_{n}"))
        for n, writer in enumerate(writers):
            wiring.connect(m, writer.bus, getattr(writes, f"i_{n}"))
        units: list[Any] = [*readers, *writers, loads]  # in the order of ``Dispatcher``
        for n, unit in enumerate(units):
            m.d.comb += [
                unit.i.payload.eq(dispatcher.job),
                unit.i.valid.eq(dispatcher.offers[n]),
                unit.limit.eq(registers.limit),
                unit.flush.eq(dispatcher.flush),
            ]
        m.d.comb += [
            dispatcher.takes.eq(Cat(unit.i.ready for unit in units)),
            dispatcher.unit_busy.eq(
                Cat(*(unit.busy for unit in units[:-1]), loads.busy | watch.busy)
            ),
            watch.words_left.eq(loads.busy),
            watch.begin.eq(dispatcher.offers[-1] & loads.i.ready),
            watch.tag.eq(dispatcher.job.tag),
            watch.flush.eq(dispatcher.flush),
        ]
        found = Signal.like(dispatcher.found)
        parts: list[Any] = [loads, watch, *readers, *writers]
        for part in reversed(parts):
            with m.If(part.fault.fault != Fault.NONE):
                m.d.comb += found.eq(part.fault)
        m.d.comb += dispatcher.found.eq(found)
