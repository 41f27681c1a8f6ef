"""Golden model of a read channel: patterns of memory as words, cycle by cycle."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from spu.arch.memory import Fault, MemoryEngine
from spu.model.chip.memory import DECERR, OKAY, SLVERR, Burst, ReadBeat
from spu.model.chip.pattern import GeneratorModel
from spu.model.chip.requests import CutterModel, JoinerModel, Request

#: The fault that a response is.
RESPONSE_FAULTS = {OKAY: Fault.NONE, SLVERR: Fault.SLVERR, DECERR: Fault.DECERR}


class Job(NamedTuple):
    """A pattern for a channel, of descriptor ``tag``."""

    pattern: Mapping[str, Any]
    tag: int


class Word(NamedTuple):
    """A word of a channel's stream; ``last`` of its pattern."""

    data: int
    last: bool


class _Slot:
    """A burst under way: what arrived of it, and how much of that has left."""

    def __init__(self, burst: Request, last: bool) -> None:
        self.burst, self.last = burst, last
        self.beats: list[ReadBeat] = []
        self.left = 0


class ReadManagerModel:
    """Bursts on AR, and their beats in the order in which they were asked for.

    ``ar``: what AR offers; ``o``: the beat on offer, its tag.
    """

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.cutter = CutterModel(engine)
        self.ar: Burst | None = None
        self.o: tuple[ReadBeat, int] | None = None
        self._slots: deque[_Slot] = deque()
        self._waiting: list[deque[_Slot]] = [deque() for _ in range(engine.ids)]
        self._next = 0

    @property
    def busy(self) -> bool:
        """Whether a request is not answered and delivered."""
        return bool(self._slots) or self.o is not None or self.cutter.busy

    def burst_ready(self, ar_ready: bool) -> bool:
        """Whether a burst is taken from the cutter in this cycle."""
        return (self.ar is None or ar_ready) and len(self._slots) < self.engine.outstanding

    def tick(
        self,
        request: Request | None,
        ar_ready: bool,
        r: ReadBeat | None,
        o_ready: bool,
        flush: bool = False,
    ) -> None:
        """Go on by a cycle in which ``request`` is offered, and ``r`` comes on R."""
        takes = self.burst_ready(ar_ready)
        burst = None if flush else self.cutter.offer()
        leaves = None
        if self._slots and (self.o is None or o_ready or flush):
            first = self._slots[0]
            if first.left < len(first.beats):
                leaves = first
        self.cutter.tick(request, takes, flush)
        if ar_ready:
            self.ar = None
        if r is not None:
            slot = self._waiting[r.id % self.engine.ids][0]
            slot.beats.append(r)
            if r.last:
                self._waiting[r.id % self.engine.ids].popleft()
        if burst is not None and takes:
            self._ask(*burst)
        if leaves is not None:
            self.o = leaves.beats[leaves.left], leaves.burst.tag
            leaves.left += 1
            if leaves.left == leaves.burst.beats:
                self._slots.popleft()
        elif o_ready or flush:
            self.o = None

    def _ask(self, burst: Request, last: bool) -> None:
        number = self._next % self.engine.ids
        self.ar = Burst(number, burst.beat * self.engine.beat_bytes, burst.beats)
        slot = _Slot(burst, last)
        self._slots.append(slot)
        self._waiting[number].append(slot)
        self._next += 1


class _Place(NamedTuple):
    """Where an element of ``size`` bytes stands in its beat.

    ``new``: it is the first one of that beat; ``ends``: it is the last one of its word.
    """

    offset: int
    size: int
    zero: bool
    new: bool
    ends: bool
    last: bool


class ReadChannelModel:
    """Words of patterns, as ``ReadChannel`` offers them.

    ``o``: the word on offer; ``ar``: the burst on AR.  ``fault``: of the first fault, with the
    descriptor's number, until ``flush``.
    """

    def __init__(self, engine: MemoryEngine, limit: int) -> None:
        self.engine = engine
        self.generator = GeneratorModel(engine, limit)
        self.joiner, self.manager = JoinerModel(engine), ReadManagerModel(engine)
        self.fault, self.tag = Fault.NONE, 0
        self.o: Word | None = None
        self._job_tag, self._size, self._full = 0, 1, engine.word_bytes
        self._beat_bytes = engine.beat_bytes
        self._beat_seen = -1
        self._used = 0  # bytes of the word, by elements that got a place
        self._places: deque[_Place] = deque()
        beats = engine.outstanding * engine.burst_beats
        self._most_places = beats * engine.data_bits // engine.word_bits
        self._held, self._word, self._filled = 0, 0, 0

    @property
    def ar(self) -> Burst | None:
        return self.manager.ar

    @property
    def ready(self) -> bool:
        """Whether a job would be taken in this cycle, without ``flush``."""
        return not self.generator.running and self.fault is Fault.NONE

    @property
    def busy(self) -> bool:
        """Whether a pattern is not delivered."""
        return (
            (self.generator.running and self.fault is Fault.NONE)
            or self.joiner.busy
            or self.manager.busy
            or bool(self._places)
            or self.o is not None
        )

    def takes_index(self) -> bool:
        """Whether an index of a gather is taken in this cycle, if there is one."""
        return self.fault is Fault.NONE and self.generator.takes_index()

    def tick(
        self,
        job: Job | None,
        index: int | None,
        ar_ready: bool,
        r: ReadBeat | None,
        o_ready: bool,
        flush: bool = False,
    ) -> None:
        """Go on by a cycle: what is offered, and who is ready."""
        if not (job or r or flush or self.busy or self.fault is not Fault.NONE):
            return
        engine, generator, joiner, manager = self.engine, self.generator, self.joiner, self.manager
        failed = self.fault is not Fault.NONE
        flushes = flush or failed
        begins = job if not generator.running and not flushes else None
        request_ready = not flushes and manager.cutter.ready(manager.burst_ready(ar_ready))

        element = None if flushes else generator.offer()
        good = element is not None and element.fault is Fault.NONE
        room = len(self._places) < self._most_places
        beat, new, joins, steps = 0, False, False, False
        if element is not None:
            beat = element.address // self._beat_bytes
            new = not element.zero and beat != self._beat_seen
            fits = joiner.ready(beat, self._job_tag, request_ready)
            joins = good and new and room
            # A faulty element is taken, too: it ends its pattern.
            steps = room and (not new or fits)
        hurry = not good or not room or not manager.busy
        request = joiner.o
        put = None
        if good and element is not None and steps:
            offset, used = element.address % self._beat_bytes, self._used + self._size
            ends = element.last or used == self._full
            put = _Place(offset, self._size, element.zero, new, ends, element.last)
            self._used = 0 if ends else used

        takes_beat, bad = self._join(o_ready, flushes)
        bad_tag = manager.o[1] if manager.o is not None else 0
        if put is not None and not flushes:
            self._places.append(put)
        joiner.tick(beat if joins else None, self._job_tag, hurry, request_ready, flushes)
        manager.tick(None if flushes else request, ar_ready, r, takes_beat, flushes)
        generator.tick(
            element if steps else None, begins.pattern if begins else None, index, flushes
        )
        if begins is not None:
            self._job_tag, self._size = begins.tag, 1 << begins.pattern.get("size", 0)
            self._full = engine.word_bytes >> begins.pattern.get("narrow", 0)
            self._beat_seen = -1
        elif joins and new and steps:
            self._beat_seen = beat
        if flush:
            self.fault = Fault.NONE
        elif not failed:
            if bad is not Fault.NONE:
                self.fault, self.tag = bad, bad_tag
            elif element is not None and not good:
                self.fault, self.tag = element.fault, self._job_tag

    def _join(self, o_ready: bool, flushes: bool) -> tuple[bool, Fault]:
        """The next element into its word; whether a beat is taken, and its fault."""
        offered = None if flushes else self.manager.o
        bad, takes_beat, taken = Fault.NONE, False, False
        if self._places and not flushes:
            place = self._places[0]
            taken = not place.ends or self.o is None or o_ready
            if place.new:
                if offered is None:
                    taken = False
                else:
                    bad = RESPONSE_FAULTS[offered[0].response]
                    taken = taken and bad is Fault.NONE
            if taken:
                self._places.popleft()
                if place.new and offered is not None:
                    self._held, takes_beat = offered[0].data, True
        if o_ready or flushes:
            self.o = None
        if flushes:
            self._places.clear()
            self._used = self._filled = self._word = 0
        elif taken:
            if not place.zero:
                element = self._held >> (8 * place.offset) & ((1 << (8 * place.size)) - 1)
                self._word |= element << (8 * self._filled)
            self._filled += place.size
            if place.ends:
                self.o = Word(self._word, place.last)
                self._filled = self._word = 0
        return takes_beat, bad
