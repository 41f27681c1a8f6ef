"""Streams: FIFOs of the array's edges, and what brings words to them and takes them away.

A FIFO is that of ``spu.rtl.fifo``: a word that enters can leave a cycle later, and a full one takes
no word in the cycle in which one leaves.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from typing import Protocol

from spu.arch.errors import UserError

#: Cycles of a word are rounded up to this share, so that streams come back to what they were.
SHARE = 16


@dataclass(frozen=True)
class Pace:
    """A word every ``cycles`` at most, the first one ``latency`` cycles after it is asked for.

    What a full FIFO stops does not catch up later: memories and links have no room for more than
    the word under way.  A fraction of a cycle is kept, so that 5/2 cycles are 3 and 2 in turn.
    Raises ``UserError`` for less than a cycle, the width of a stream, or a negative latency.
    """

    cycles: Fraction = Fraction(1)
    latency: int = 0

    def __post_init__(self) -> None:
        if self.cycles < 1:
            raise UserError(f"a stream moves at most a word a cycle, not one in {self.cycles}")
        if self.latency < 0:
            raise UserError(f"a latency must not be negative, not {self.latency}")

    @classmethod
    def of(cls, cycles: float | Fraction, latency: int = 0) -> "Pace":
        """Of any number of cycles, rounded up to a multiple of 1 / ``SHARE``."""
        return cls(Fraction(-(-Fraction(cycles) * SHARE // 1), SHARE), latency)


#: A word a cycle, at once.
FASTEST = Pace()


class Actor(Protocol):
    """What does something at certain times."""

    def act(self, now: int) -> None:
        """Do what is to be done in this cycle."""


class Clock:
    """Virtual time: actors in the order of their times; ``now`` is the cycle under way."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Actor]] = []
        self.now = self.count = 0

    def at(self, time: int, actor: Actor) -> None:
        """Let an actor act in a cycle."""
        self.count += 1
        heappush(self.heap, (time, self.count, actor))

    def shift(self, cycles: int) -> None:
        """Let all that is to come be as many cycles later."""
        self.now += cycles
        self.heap = [(time + cycles, count, actor) for time, count, actor in self.heap]

    def run(self, stop: Callable[[], bool]) -> None:
        """Go on until ``stop()``, or until nothing is to be done any more."""
        while self.heap and not stop():
            self.now, _, actor = heappop(self.heap)
            actor.act(self.now)


class Fifo:
    """Words between two actors; each cycle sees what was there when it began."""

    __slots__ = ("clock", "depth", "level", "put_at", "reader", "taken_at", "writer")

    def __init__(self, clock: Clock, depth: int, level: int = 0) -> None:
        self.clock, self.depth, self.level = clock, depth, level
        self.put_at = self.taken_at = -1
        self.reader: Actor | None = None
        self.writer: Actor | None = None

    def words(self, now: int) -> int:
        """Words at the begin of this cycle."""
        return self.level - (self.put_at == now) + (self.taken_at == now)

    def put(self, now: int) -> None:
        """A word enters; whoever waits for it can act in the next cycle."""
        self.level += 1
        self.put_at = now
        if self.reader is not None:
            self.clock.at(now + 1, self.reader)
            self.reader = None

    def take(self, now: int) -> None:
        """A word leaves; whoever waits for room can act in the next cycle."""
        self.level -= 1
        self.taken_at = now
        if self.writer is not None:
            self.clock.at(now + 1, self.writer)
            self.writer = None

    def await_word(self, now: int, actor: Actor) -> None:
        """Let the reader act in the cycle in which it sees a word; there is none in this one."""
        if self.level:  # put in this cycle
            self.clock.at(now + 1, actor)
        else:
            self.reader = actor

    def await_room(self, now: int, actor: Actor) -> None:
        """Let the writer act in the cycle in which it sees room; there is none in this one."""
        if self.level < self.depth:  # taken in this cycle
            self.clock.at(now + 1, actor)
        else:
            self.writer = actor

    def state(self, now: int) -> tuple:
        """What tells this cycle from another."""
        return (
            self.level,
            self.put_at == now,
            self.taken_at == now,
            self.reader is not None,
            self.writer is not None,
        )

    def shift(self, cycles: int) -> None:
        """Be as many cycles later."""
        self.put_at += cycles
        self.taken_at += cycles


class _End(ABC):
    """The other end of a FIFO: a token bucket of one word.

    Each cycle brings ``pace.cycles.denominator`` credits, a word costs ``numerator``; a fraction of
    a word is kept and no more.
    """

    def __init__(self, clock: Clock, fifo: Fifo, pace: Pace, begin: int) -> None:
        self.clock, self.fifo = clock, fifo
        self.cost, self.gain = pace.cycles.numerator, pace.cycles.denominator
        # As after a while without a word.
        self.credit, self.since = self.cost + self.gain - 1, begin + pace.latency
        self.stopped = False
        clock.at(self.since, self)

    def act(self, now: int) -> None:
        """Move a word, or wait until one can."""
        if self.stopped:
            return
        if not self._possible(now):
            self._wait(now)
            return
        credit = min(self.cost + self.gain - 1, self.credit + (now - self.since) * self.gain)
        self._move(now)
        self.credit, self.since = credit - self.cost, now
        self.clock.at(now + max(1, -(-(self.cost - self.credit) // self.gain)), self)

    def state(self, now: int) -> tuple:
        """What tells this cycle from another."""
        return (min(self.cost + self.gain - 1, self.credit + (now - self.since) * self.gain),)

    def shift(self, cycles: int) -> None:
        """Be as many cycles later."""
        self.since += cycles

    @abstractmethod
    def _possible(self, now: int) -> bool:
        """Whether a word can move in this cycle."""

    @abstractmethod
    def _move(self, now: int) -> None:
        """Move a word."""

    @abstractmethod
    def _wait(self, now: int) -> None:
        """Be called when a word may move."""


class Source(_End):
    """Brings words for as long as it is asked."""

    def _possible(self, now: int) -> bool:
        return self.fifo.words(now) < self.fifo.depth

    def _move(self, now: int) -> None:
        self.fifo.put(now)

    def _wait(self, now: int) -> None:
        self.fifo.await_room(now, self)


class Sink(_End):
    """Takes words away."""

    def _possible(self, now: int) -> bool:
        return self.fifo.words(now) > 0

    def _move(self, now: int) -> None:
        self.fifo.take(now)

    def _wait(self, now: int) -> None:
        self.fifo.await_word(now, self)
