"""Golden model of the ring: descriptors from memory, and the watch over a program's loading."""

from enum import Enum, auto

from spu.arch.memory import SEQUENCE_BITS, Fault, MemoryEngine
from spu.model.chip.array import ArrayModel
from spu.model.chip.memory import ReadBeat
from spu.model.chip.read_channel import RESPONSE_FAULTS, ReadManagerModel
from spu.model.chip.requests import Request

_NUMBERS = 1 << SEQUENCE_BITS


class RingModel:
    """Fetches descriptors ``next`` to ``end``; ``o`` is the one on offer, as bits and a fault.

    ``base``, ``size``: address of the ring, log2 of its places.
    """

    def __init__(self, engine: MemoryEngine, limit: int) -> None:
        self.engine, self.limit = engine, limit
        self.manager = ReadManagerModel(engine)
        self.base = self.size = 0
        self.end = self.next = self._asked = 0
        self.o: tuple[int, Fault] | None = None
        self._beats: list[ReadBeat] = []
        self._bytes = engine.descriptor_bytes
        self._count = self._bytes // engine.beat_bytes

    @property
    def busy(self) -> bool:
        """Whether a burst is not answered."""
        return self.manager.busy

    def tick(
        self,
        ar_ready: bool,
        r: ReadBeat | None,
        taken: bool,
        doorbell: int | None = None,
        flush: bool = False,
    ) -> None:
        """Go on by a cycle in which the descriptor is taken or not, and ``end`` is written."""
        manager, full = self.manager, self.o is not None
        outside = self.base + (self._bytes << self.size) > self.limit
        request = None
        if self._asked != self.end and not outside:
            place = self._asked % (1 << self.size)
            first = (self.base // self._bytes + place) * self._count
            request = Request(first, self._count, self._asked)
        asks = (
            request is not None
            and not flush
            and manager.cutter.ready(manager.burst_ready(ar_ready))
        )
        found = None if flush else manager.o
        manager.tick(None if flush else request, ar_ready, r, not full, flush)
        if flush:
            self._asked, self.o, self._beats = self.next, None, []
        else:
            if asks:
                self._asked = (self._asked + 1) % _NUMBERS
            if taken:
                self.o, self.next = None, (self.next + 1) % _NUMBERS
            elif found is not None and not full:
                self._keep(found[0])
            elif outside and self.next != self.end and not full:
                self.o = 0, Fault.OUT_OF_RANGE
        if doorbell is not None:
            self.end = doorbell

    def _keep(self, beat: ReadBeat) -> None:
        self._beats.append(beat)
        if len(self._beats) == self._count:
            bits = sum(b.data << n * self.engine.data_bits for n, b in enumerate(self._beats))
            faults = (RESPONSE_FAULTS[b.response] for b in self._beats)
            self.o = bits, next((f for f in faults if f is not Fault.NONE), Fault.NONE)
            self._beats = []


class _Watch(Enum):
    """What the watch waits for."""

    IDLE = auto()
    WORDS = auto()
    ASK = auto()


#: Cycles of a read of the array's registers: the value is that of the second.
READ_CYCLES = 3


class LoadWatchModel:
    """Asks for the array's status after a file's last word, until its program is the active one."""

    def __init__(self) -> None:
        self.state, self.tag = _Watch.IDLE, 0
        self._asking = 0
        self._status = False, False  # error, under way

    @property
    def busy(self) -> bool:
        return self.state is not _Watch.IDLE

    def fault(self) -> Fault:
        """What is found in this cycle."""
        answers = self.state is _Watch.ASK and self._asking == READ_CYCLES - 1
        return Fault.BAD_PROGRAM if answers and self._status[0] else Fault.NONE

    def tick(self, begin: int | None, words_left: bool, array: ArrayModel, flush: bool) -> None:
        """Go on by a cycle in which a file of descriptor ``begin`` is asked for."""
        if self.state is _Watch.IDLE:
            if begin is not None and not flush:
                self.state, self.tag = _Watch.WORDS, begin
        elif self.state is _Watch.WORDS:
            if flush:
                self.state = _Watch.IDLE
            elif not words_left:
                self.state, self._asking = _Watch.ASK, 0
        elif self._asking == READ_CYCLES - 1:
            self._asking = 0
            error, under_way = self._status
            if flush or error or not under_way:
                self.state = _Watch.IDLE
        else:
            loader = array.loader
            if self._asking == 1:
                self._status = loader.error != 0, loader.loading or bool(loader.commit)
            self._asking += 1
