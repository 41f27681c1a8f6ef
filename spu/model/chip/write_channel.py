"""Golden model of a write channel: words into patterns of memory, cycle by cycle."""

from collections import deque

from spu.arch.memory import Fault, MemoryEngine
from spu.model.chip.memory import Burst, WriteBeat
from spu.model.chip.pattern import Element, GeneratorModel
from spu.model.chip.read_channel import RESPONSE_FAULTS, Job
from spu.model.chip.requests import CutterModel, JoinerModel, Request


class WriteManagerModel:
    """Bursts on AW and W, and their responses.

    ``aw``, ``w``: what is on offer; ``w_last``: of its burst.
    """

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        self.cutter = CutterModel(engine)
        self.aw: Burst | None = None
        self.w: WriteBeat | None = None
        self.w_last = False
        # Tags by slot of the bursts that are not answered, and by ID the slots in their order.
        self._tags: list[int | None] = [None] * engine.outstanding
        self._waiting: list[deque[int]] = [deque() for _ in range(engine.ids)]
        self._next, self._left, self._open = 0, 0, 0

    @property
    def busy(self) -> bool:
        """Whether a request is not written and answered."""
        return self.cutter.busy or self._left > 0 or self.w is not None or self._open > 0

    def burst_ready(self, aw_ready: bool) -> bool:
        """Whether a burst is taken from the cutter in this cycle."""
        slot = self._next % self.engine.outstanding
        return (self.aw is None or aw_ready) and not self._left and self._tags[slot] is None

    def beat_ready(self, w_ready: bool) -> bool:
        """Whether a beat would be taken in this cycle, without ``flush``."""
        return self._left > 0 and (self.w is None or w_ready)

    def answered(self, b: tuple[int, int] | None) -> tuple[Fault, int]:
        """The fault of a response on B, and the descriptor of its burst."""
        if b is None:
            return Fault.NONE, 0
        slot = self._waiting[b[0] % self.engine.ids][0]
        return RESPONSE_FAULTS[b[1]], self._tags[slot] or 0

    def tick(
        self,
        request: Request | None,
        beat: WriteBeat | None,
        aw_ready: bool,
        w_ready: bool,
        b: tuple[int, int] | None,
        flush: bool = False,
    ) -> None:
        """Go on by a cycle in which ``request`` and ``beat`` are offered, and ``b`` comes on B."""
        takes, moves = self.burst_ready(aw_ready), self.beat_ready(w_ready)
        burst = None if flush else self.cutter.offer()
        self.cutter.tick(request, takes, flush)
        if b is not None:
            self._tags[self._waiting[b[0] % self.engine.ids].popleft()] = None
            self._open -= 1
        if aw_ready:
            self.aw = None
        if w_ready:
            self.w = None
        if moves and (beat is not None or flush):
            self.w = WriteBeat(beat.data if beat else 0, 0 if flush or not beat else beat.strobes)
            self.w_last = self._left == 1
            self._left -= 1
        if burst is not None and takes:
            asked, _ = burst
            slot = self._next % self.engine.outstanding
            number = slot % self.engine.ids
            self.aw = Burst(number, asked.beat * self.engine.beat_bytes, asked.beats)
            self._left = asked.beats
            self._tags[slot] = asked.tag
            self._waiting[number].append(slot)
            self._next, self._open = self._next + 1, self._open + 1


class WriteChannelModel:
    """Patterns of words, as ``WriteChannel`` writes them.

    ``aw``, ``w``: what is on offer.  ``fault``: of the first fault, with the descriptor's number,
    until ``flush``.
    """

    def __init__(self, engine: MemoryEngine, limit: int) -> None:
        self.engine = engine
        self.generator = GeneratorModel(engine, limit)
        self.joiner, self.manager = JoinerModel(engine), WriteManagerModel(engine)
        self.fault, self.tag = Fault.NONE, 0
        self._job_tag, self._size, self._full = 0, 1, engine.word_bytes
        self._beats: deque[WriteBeat] = deque()
        self._most_beats, self._beat_bytes = 2 * engine.burst_beats, engine.beat_bytes
        # The beat that is put together, with its number; no beat if below 0.
        self._number, self._data, self._strobes = -1, 0, 0
        self._used = 0  # bytes of the word

    @property
    def aw(self) -> Burst | None:
        return self.manager.aw

    @property
    def w(self) -> WriteBeat | None:
        return self.manager.w

    @property
    def ready(self) -> bool:
        """Whether a job would be taken in this cycle, without ``flush``."""
        return self._free and self._number < 0

    @property
    def busy(self) -> bool:
        """Whether a pattern is not written, or not answered."""
        return (
            (self.generator.running and self.fault is Fault.NONE)
            or self._number >= 0
            or self.joiner.busy
            or self.manager.busy
            or bool(self._beats)
        )

    @property
    def _free(self) -> bool:
        return not self.generator.running and self.fault is Fault.NONE

    def takes_index(self) -> bool:
        """Whether an index of a scatter is taken in this cycle, if there is one."""
        return self.fault is Fault.NONE and self.generator.takes_index()

    def takes_word(self, aw_ready: bool, flush: bool = False) -> bool:
        """Whether a word is taken in this cycle, if there is one."""
        element = None if flush or self.fault is not Fault.NONE else self.generator.offer()
        if element is None or element.fault is not Fault.NONE:
            return False
        return self._ends(element) and (
            not self._elsewhere(element) or self._pushes(element, True, aw_ready)
        )

    def _ends(self, element: Element) -> bool:
        """Whether the element is the last one of its word."""
        return element.last or self._used + self._size == self._full

    def _elsewhere(self, element: Element) -> bool:
        """Whether an element is of another beat than the one that is put together."""
        number = element.address // self._beat_bytes
        return not element.zero and self._number >= 0 and number != self._number

    def _request_ready(self, aw_ready: bool) -> bool:
        return self.manager.cutter.ready(self.manager.burst_ready(aw_ready))

    def _leaves(self, element: Element | None, has_word: bool) -> bool:
        """Whether the beat that is put together goes to the joiner, if that takes it."""
        return (
            self._number >= 0
            and len(self._beats) < self._most_beats
            and (self._free or (element is not None and has_word and self._elsewhere(element)))
        )

    def _pushes(self, element: Element | None, has_word: bool, aw_ready: bool) -> bool:
        return self._leaves(element, has_word) and self.joiner.ready(
            self._number, self._job_tag, self._request_ready(aw_ready)
        )

    def tick(
        self,
        job: Job | None,
        index: int | None,
        word: int | None,
        aw_ready: bool,
        w_ready: bool,
        b: tuple[int, int] | None,
        flush: bool = False,
    ) -> None:
        """Go on by a cycle: what is offered, and who is ready."""
        if not (job or flush or self.busy or self.fault is not Fault.NONE):
            return
        generator, joiner, manager = self.generator, self.joiner, self.manager
        failed = self.fault is not Fault.NONE
        flushes = flush or failed
        begins = job if self.ready and not flush else None
        offered = None if flushes else generator.offer()
        element = offered if offered is not None and offered.fault is Fault.NONE else None
        has_word = word is not None
        leaves = not flushes and self._leaves(element, has_word)
        pushes = not flushes and self._pushes(element, has_word, aw_ready)
        steps = element is not None and has_word and (not self._elsewhere(element) or pushes)
        hurry = (offered is None and self._number < 0) or len(self._beats) == self._most_beats
        request, request_ready = joiner.o, not flushes and self._request_ready(aw_ready)
        beat = self._beats[0] if self._beats else None
        takes_beat = beat is not None and not flushes and manager.beat_ready(w_ready)
        bad, bad_tag = manager.answered(b)

        kept = WriteBeat(self._data, self._strobes)
        joiner.tick(self._number if leaves else None, self._job_tag, hurry, request_ready, flushes)
        manager.tick(None if flushes else request, beat, aw_ready, w_ready, b, flushes)
        if takes_beat:
            self._beats.popleft()
        if pushes:
            self._beats.append(kept)
            self._number = -1
        if steps and element is not None and word is not None:
            self._put(element, word)
        generator.tick(
            element if steps else None, begins.pattern if begins else None, index, flushes
        )
        if begins is not None:
            self._job_tag, self._size = begins.tag, 1 << begins.pattern.get("size", 0)
            self._full = self.engine.word_bytes >> begins.pattern.get("narrow", 0)
        if flushes:
            self._beats.clear()
            self._number = -1
        if flush:
            self._used = 0
            self.fault = Fault.NONE
        elif not failed:
            if bad is not Fault.NONE:
                self.fault, self.tag = bad, bad_tag
            elif offered is not None and element is None:
                self.fault, self.tag = offered.fault, self._job_tag

    def _put(self, element: Element, word: int) -> None:
        """An element of the word into the beat that is put together."""
        if not element.zero:
            number, offset = divmod(element.address, self._beat_bytes)
            if self._number < 0:
                self._number, self._data, self._strobes = number, 0, 0
            ones = (1 << (8 * self._size)) - 1
            value = word >> (8 * self._used) & ones
            self._data = self._data & ~(ones << (8 * offset)) | value << (8 * offset)
            self._strobes |= ((1 << self._size) - 1) << offset
        self._used = 0 if self._ends(element) else self._used + self._size
