"""Golden model of the external memory: what it answers, and in which cycle."""

from collections import deque
from typing import NamedTuple

from spu.arch.external import ExternalMemory
from spu.arch.memory import MemoryEngine

#: Responses of AXI (AMBA AXI and ACE protocol specification, table A3-4).
OKAY, SLVERR, DECERR = 0, 2, 3


class Burst(NamedTuple):
    """An address of AR or AW: whole beats, one after the other."""

    id: int
    address: int
    beats: int


class ReadBeat(NamedTuple):
    """A beat on R."""

    id: int
    data: int
    response: int
    last: bool


class WriteBeat(NamedTuple):
    """A beat on W; ``strobes`` has a bit a byte."""

    data: int
    strobes: int


class MemoryModel:
    """Memory ``content`` of stated latency and bandwidth, cycle by cycle.

    ``r`` is what R offers in this cycle, ``b`` what B does: an ID and a response; ``takes_reads``,
    ``takes_writes``: whether AR and AW are ready.  ``moved_bytes``: of beats on R and W so far.
    """

    def __init__(self, engine: MemoryEngine, memory: ExternalMemory, content: bytearray) -> None:
        memory.check(engine)
        if len(content) != memory.size_bytes:
            raise ValueError(f"{len(content)} bytes for a memory of {memory.size_bytes}")
        self.engine, self.memory, self.content = engine, memory, content
        self.beat_bytes = engine.beat_bytes
        self.cycle = 0
        self.moved_bytes = 0
        self.r: ReadBeat | None = None
        # Bursts with the cycle from which on they are answered, and beats of the first one done.
        self._reads: deque[tuple[int, Burst]] = deque()
        self._writes: deque[Burst] = deque()
        self._answers: deque[tuple[int, int, int]] = deque()
        self._read_done = self._write_done = self._worst = 0
        self._saved, self._write_first = 0, False

    @property
    def takes_reads(self) -> bool:
        return len(self._reads) < self.memory.bursts

    @property
    def takes_writes(self) -> bool:
        return len(self._writes) < self.memory.bursts

    @property
    def b(self) -> tuple[int, int] | None:
        if self._answers and self._answers[0][0] <= self.cycle:
            return self._answers[0][1:]
        return None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self._reads or self._writes or self._answers or self.r)

    def moves(self, w_valid: bool, r_ready: bool) -> tuple[bool, bool]:
        """Whether a beat is read, and whether one on W is taken, in this cycle."""
        reads = (
            bool(self._reads) and self._reads[0][0] <= self.cycle and (self.r is None or r_ready)
        )
        writes = w_valid and bool(self._writes) and len(self._answers) < self.memory.bursts
        has = self._saved + self.memory.bytes_per_cycle
        if reads and writes and has < 2 * self.beat_bytes:
            reads, writes = not self._write_first, self._write_first
        if has < self.beat_bytes:
            return False, False
        return reads, writes

    def tick(
        self,
        ar: Burst | None,
        aw: Burst | None,
        w: WriteBeat | None,
        r_ready: bool = True,
        b_ready: bool = True,
    ) -> None:
        """Go on by a cycle in which AR and AW offer these bursts, W this beat."""
        takes_reads, takes_writes = self.takes_reads, self.takes_writes
        reads, writes = self.moves(w is not None, r_ready)
        self._pay(reads, writes)
        if b_ready and self.b is not None:
            self._answers.popleft()
        if r_ready:
            self.r = None
        if reads:
            self.r = self._read()
        if w is not None and writes:
            self._write(w)
        if ar is not None and takes_reads:
            self._reads.append((self.cycle + self.memory.latency_cycles - 1, ar))
        if aw is not None and takes_writes:
            self._writes.append(aw)
        self.cycle += 1

    def skip(self, cycles: int) -> None:
        """Go on by cycles in which nothing is under way and nothing comes."""
        self.cycle += cycles
        beat = self.beat_bytes
        self._saved = min(beat - 1, self._saved + cycles * self.memory.bytes_per_cycle)

    def _pay(self, reads: bool, writes: bool) -> None:
        beat, moved = self.beat_bytes, (reads + writes) * self.beat_bytes
        self._saved = min(beat - 1, self._saved + self.memory.bytes_per_cycle - moved)
        self.moved_bytes += moved
        if reads != writes:
            self._write_first = reads

    def _place(self, burst: Burst, done: int) -> tuple[int, int]:
        """Address of a beat, and its response."""
        at = (burst.address // self.beat_bytes + done) * self.beat_bytes
        return at, OKAY if at < self.memory.size_bytes else DECERR

    def _read(self) -> ReadBeat:
        _, burst = self._reads[0]
        at, response = self._place(burst, self._read_done)
        self._read_done += 1
        last = self._read_done == burst.beats
        if last:
            self._reads.popleft()
            self._read_done = 0
        data = self.content[at : at + self.beat_bytes] if response == OKAY else b""
        return ReadBeat(burst.id, int.from_bytes(data, "little"), response, last)

    def _write(self, beat: WriteBeat) -> None:
        burst, size = self._writes[0], self.beat_bytes
        at, response = self._place(burst, self._write_done)
        self._worst = max(self._worst, response)
        self._write_done += 1
        if response == OKAY:
            new = beat.data.to_bytes(size, "little")
            if beat.strobes == (1 << size) - 1:
                self.content[at : at + size] = new
            else:
                for n in range(size):
                    if beat.strobes >> n & 1:
                        self.content[at + n] = new[n]
        if self._write_done == burst.beats:
            self._writes.popleft()
            due = self.cycle + self.memory.latency_cycles
            self._answers.append((due, burst.id, self._worst))
            self._write_done = self._worst = 0
