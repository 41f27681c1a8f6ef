"""The golden chip: descriptors in memory, from a doorbell to an interrupt, in clock cycles."""

from dataclasses import dataclass

from spu.arch.chip import Chip
from spu.arch.external import ExternalMemory
from spu.arch.memory import SEQUENCE_BITS, Fault
from spu.arch.params import BIAS_BITS
from spu.model.chip.array import ArrayModel, Pair
from spu.model.chip.dispatcher import DispatcherModel, Orders, Units
from spu.model.chip.memory import MemoryModel, ReadBeat
from spu.model.chip.merger import RequestMerger, WriteOwner
from spu.model.chip.read_channel import ReadChannelModel
from spu.model.chip.ring import LoadWatchModel, RingModel
from spu.model.chip.write_channel import WriteChannelModel
from spu.model.region import has_end

#: Numbers of managers that read: the ring, the loader's channel, then the read channels.
RING, LOADER, FIRST_READ = range(3)


@dataclass(frozen=True)
class Outcome:
    """How it came to an interrupt.

    ``cycles``: from the cycle in which DOORBELL is written to the one in which the interrupt is up.
    ``value``: of the NOTIFY, or None after a ``fault`` of ``descriptor``.  ``moved_bytes``: beats
    on R and W.  ``active_cycles``: executed ones of each region.  ``idle_cycles``: those in which
    no region executed and no beat moved.
    """

    cycles: int
    value: int | None
    fault: Fault
    descriptor: int
    moved_bytes: int
    active_cycles: tuple[int, ...]
    idle_cycles: int


class GoldenChip:
    """A chip before a memory of stated latency and bandwidth; ``memory.content`` is its bytes.

    ``limit``: the first address that is no memory to the engine; the memory's size if not said.
    A fault stops the chip for good: what RTL does to start again is not modelled.

    Raises ``ValueError`` for a memory that does not fit the chip's bus.
    """

    def __init__(
        self, chip: Chip, memory: ExternalMemory, content: bytearray, limit: int | None = None
    ) -> None:
        self.chip = chip
        engine, columns = chip.memory, range(chip.arch.cols)
        limit = memory.size_bytes if limit is None else limit
        self.memory = MemoryModel(engine, memory, content)
        self.array = ArrayModel(chip.arch)
        self.ring, self.watch = RingModel(engine, limit), LoadWatchModel()
        self.dispatcher = DispatcherModel(chip)
        self.loads = ReadChannelModel(engine, limit)
        self.reads = [ReadChannelModel(engine, limit) for _ in columns]
        self.writes = [WriteChannelModel(engine, limit) for _ in columns]
        self._ar, self._aw, self._w = RequestMerger(engine), RequestMerger(engine), WriteOwner()
        self._data_mask = (1 << chip.arch.data_bits) - 1
        self.fault, self.descriptor = Fault.NONE, 0
        self.value: int | None = None
        self.cycle = self.idle_cycles = 0

    def set_ring(self, base: int, size: int) -> None:
        """The ring of ``2^size`` descriptors at ``base``.

        Raises ``ValueError`` for a base that is no multiple of a descriptor's bytes.
        """
        if base % self.chip.memory.descriptor_bytes:
            raise ValueError(f"base must be a multiple of {self.chip.memory.descriptor_bytes}")
        self.ring.base, self.ring.size = base, size

    def run(self, doorbell: int, most_cycles: int = 1 << 32) -> Outcome:
        """Announce descriptors up to number ``doorbell``, and go on to the next interrupt.

        Raises ``TimeoutError`` if there is none within ``most_cycles``.
        """
        first, moved, idle = self.cycle, self.memory.moved_bytes, self.idle_cycles
        active = list(self.array.active)
        self.value = None
        if (doorbell - self.ring.next) % (1 << SEQUENCE_BITS) > 1 << self.ring.size:
            self.fault, self.descriptor, doorbell = (
                Fault.RING_OVERRUN,
                self.ring.next,
                self.ring.end,
            )
        self._tick(doorbell)
        while self.value is None and self.fault is Fault.NONE:
            if self.cycle - first >= most_cycles:
                raise TimeoutError(
                    f"no interrupt within {most_cycles} cycles, descriptor {self.ring.next} waits"
                )
            self._tick(None)
        return Outcome(
            self.cycle - first,
            self.value,
            self.fault,
            self.descriptor,
            self.memory.moved_bytes - moved,
            tuple(now - then for now, then in zip(self.array.active, active, strict=True)),
            self.idle_cycles - idle,
        )

    def _tick(self, doorbell: int | None) -> None:
        """Go on by a cycle."""
        array, memory, ring = self.array, self.memory, self.ring
        asked = [ring.manager.ar, self.loads.ar, *(channel.ar for channel in self.reads)]
        takes_reads, takes_writes = memory.takes_reads, memory.takes_writes
        reader = self._ar.chosen(asked, takes_reads)
        to_write = [channel.aw for channel in self.writes]
        w = self._w.w([channel.w for channel in self.writes])
        reads, writes = memory.moves(w is not None, True)
        owner = self._w.owner
        ends = owner is not None and writes and self.writes[owner].manager.w_last
        writer = self._aw.chosen(to_write, takes_writes, owner is None or ends)
        for_reader, r = self._ar.read_beat(memory.r)
        for_writer, b = -1, memory.b
        if b is not None:
            for_writer, own = self._aw.answer(b[0])
            b = own, b[1]

        units = Units(
            [channel.ready for channel in self.reads],
            [channel.ready for channel in self.writes],
            self.loads.ready,
            [channel.busy for channel in self.reads],
            [channel.busy for channel in self.writes],
            self.loads.busy or self.watch.busy,
            [array.running(region) for region in range(self.chip.arch.region_count)],
        )
        orders = self.dispatcher.orders(ring.o, ring.next, units)
        fault = self._look(orders)
        loads_busy = self.loads.busy
        executes = any(array.executes(region) for region in range(self.chip.arch.region_count))
        self.idle_cycles += not (executes or reads or writes or memory.r)

        self.watch.tick(
            orders.job.tag if orders.load and orders.taken and orders.job else None,
            loads_busy,
            array,
            False,
        )
        north, load = self._read(orders, reader, for_reader, r)
        south_ready = self._write(orders, writer, owner if writes else None, for_writer, b)
        array.tick(north, south_ready, load, orders.start)
        ring.tick(reader == RING, r if for_reader == RING else None, orders.taken, doorbell)
        on_bus = self._ar.o, self._aw.o
        self._ar.tick(asked, reader, takes_reads)
        self._aw.tick(to_write, writer, takes_writes)
        self._w.tick(ends, writer)
        memory.tick(*on_bus, w)
        self.cycle += 1
        if orders.value is not None:
            self.value = orders.value
        if fault is not None:
            self.fault, self.descriptor = fault

    def _look(self, orders: Orders) -> tuple[Fault, int] | None:
        """The fault that stops the chip in this cycle, and its descriptor."""
        if self.loads.fault is not Fault.NONE:
            return self.loads.fault, self.loads.tag
        if (fault := self.watch.fault()) is not Fault.NONE:
            return fault, self.watch.tag
        channels: list[ReadChannelModel | WriteChannelModel] = [*self.reads, *self.writes]
        for channel in channels:
            if channel.fault is not Fault.NONE:
                return channel.fault, channel.tag
        if orders.fault is not Fault.NONE:
            return orders.fault, self.ring.next
        loader = self.array.loader
        for region in orders.start:
            image = self.array.golden.images[region]
            if not loader.golden.loaded[region] or not has_end(image, region):
                return Fault.BAD_PROGRAM, self.ring.next
        return None

    def _read(
        self, orders: Orders, reader: int | None, for_reader: int, r: ReadBeat | None
    ) -> tuple[list[Pair | None], int | None]:
        """A cycle of the channels that read; what they offer to the array and its loader."""
        array, north = self.array, []
        for c, channel in enumerate(self.reads):
            word = channel.o
            north.append(None if word is None else self._pair(word.data))
            channel.tick(
                orders.job if orders.read == c else None,
                None,
                reader == FIRST_READ + c,
                r if for_reader == FIRST_READ + c else None,
                array.north_ready(c),
            )
        loads = self.loads
        load = None if loads.o is None else loads.o.data & 0xFFFFFFFF
        loads.tick(
            orders.job if orders.load else None,
            None,
            reader == LOADER,
            r if for_reader == LOADER else None,
            array.loader.ready,
        )
        return north, load

    def _write(
        self,
        orders: Orders,
        writer: int | None,
        moves: int | None,
        for_writer: int,
        b: tuple[int, int] | None,
    ) -> list[bool]:
        """A cycle of the channels that write; whether they take a word of the array."""
        south_ready = []
        for c, channel in enumerate(self.writes):
            pair = self.array.south(c)
            word = None if pair is None else pair[0] | pair[1] << self.chip.arch.data_bits
            south_ready.append(channel.takes_word(writer == c))
            channel.tick(
                orders.job if orders.write == c else None,
                None,
                word,
                writer == c,
                moves == c,
                b if for_writer == c else None,
            )
        return south_ready

    def _pair(self, word: int) -> Pair:
        """Data and bias of a word of a channel."""
        data_bits = self.chip.arch.data_bits
        return word & self._data_mask, word >> data_bits & ((1 << BIAS_BITS) - 1)
