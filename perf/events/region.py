"""Regions that execute, and hold where their streams do."""

from collections.abc import Callable, Iterator, Mapping

from perf.events.program import Program, Step
from perf.events.streams import Clock, Fifo

#: What a region counts, in cycles and words.
COUNTS = ("held_input", "held_output", "words_in", "words_out")


class Region:
    """A region with a program, whose run begins in a cycle.

    ``inputs`` and ``outputs`` by number of the stream; one that is not there never holds.
    ``at_interval``: is called before the first words of an interval move; it may go on to another
    one, and gives the cycles by which that is later.  ``end``: the first cycle
    after the run, None before.  ``counts``: ``COUNTS``.
    """

    def __init__(
        self,
        clock: Clock,
        program: Program,
        rounds: int,
        inputs: Mapping[int, Fifo],
        outputs: Mapping[int, Fifo],
        begin: int = 0,
        at_interval: Callable[["Region", int], int] | None = None,
    ) -> None:
        self.clock, self.program, self.rounds = clock, program, rounds
        self.inputs, self.outputs, self.at_interval = inputs, outputs, at_interval
        self.iterations = program.inner * rounds
        stage, slot = program.end
        #: Interval and slot of the last cycle.
        self.last = (self.iterations - 1 + stage, slot)
        self.counts = dict.fromkeys(COUNTS, 0)
        self.end: int | None = None
        self.number, self.step = -1, Step(0, (), ())
        self.pending: Iterator[Step] = iter(())
        self.seen = -1  # the last interval of which ``at_interval`` was told
        self.blocked: str | None = None
        self.since = self.due = begin
        self._alike: dict[int, list[Step]] = {}
        self._after(begin, 0)

    @property
    def cycles(self) -> int:
        """Executed cycles of the whole run."""
        number, slot = self.last
        return number * self.program.ii + slot + 1 if self.iterations else 0

    @property
    def executed(self) -> int:
        """Cycles before the one of the words that move next."""
        return self.number * self.program.ii + self.step.slot

    def act(self, now: int) -> None:
        """Move the words of a slot, or wait."""
        if self.end is not None or now < self.due:  # woken twice
            return
        step = self.step
        if self.blocked is not None:
            self.counts[self.blocked] += now - self.since
            self.blocked = None
        for stream in step.reads:
            fifo = self.inputs.get(stream)
            if fifo is not None and not fifo.words(now):
                fifo.await_word(now, self)
                self.blocked = "held_input"
        for stream in step.emits:
            fifo = self.outputs.get(stream)
            if fifo is not None and fifo.words(now) >= fifo.depth:
                fifo.await_room(now, self)
                self.blocked = self.blocked or "held_output"
        if self.blocked is not None:
            self.since = now
            return
        if self.at_interval is not None and self.seen != self.number:
            now += self.at_interval(self, now)
            self.seen = self.number
        for stream in step.reads:
            if stream in self.inputs:
                self.inputs[stream].take(now)
        for stream in step.emits:
            if stream in self.outputs:
                self.outputs[stream].put(now)
        self.counts["words_in"] += len(step.reads)
        self.counts["words_out"] += len(step.emits)
        self._after(now + 1, self.executed + 1)

    def _after(self, now: int, executed: int) -> None:
        """Go to the next slot in which words move, or to the end; ``executed`` before ``now``."""
        if not self.iterations:
            self.end = now
            return
        while (step := next(self.pending, None)) is None:
            if self.number >= self.last[0]:
                break
            self.number += 1
            self.pending = self._steps()
        if step is None or (self.number, step.slot) > self.last:
            self.end = now + self.cycles - executed
            return
        self.step = step
        self.due = now + self.executed - executed
        self.clock.at(self.due, self)

    def _steps(self) -> Iterator[Step]:
        """Of an interval; those that are alike are made once."""
        program, number = self.program, self.number
        if not program.repeats or not program.depth <= number < self.iterations:
            return iter(program.interval(number, self.rounds))
        phase = number % program.inner
        if phase not in self._alike:
            self._alike[phase] = program.interval(number, self.rounds)
        return iter(self._alike[phase])
