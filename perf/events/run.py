"""A run of a program on one region, with streams of given paces.

Where a run comes to do the same again and again, it is walked once, and the rest is multiplied:
two intervals that begin alike, in what FIFOs hold, in what is on its way and in what waits, are
followed by the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perf.events.program import Program
from perf.events.region import COUNTS, Region
from perf.events.streams import Clock, Fifo, Pace, Sink, Source
from spu.arch.errors import UserError


@dataclass(frozen=True)
class Streams:
    """Paces of streams by number of the region's input and output; others never hold.

    ``depth``: words of a FIFO; ``filled``: the input FIFOs are full when the run begins.
    ``lead``: cycles by which words are asked for after (before, if negative) the run begins.
    """

    inputs: Mapping[int, Pace] = field(default_factory=dict)
    outputs: Mapping[int, Pace] = field(default_factory=dict)
    depth: int = 16
    filled: bool = False
    lead: int = 0


#: Words as they are wanted.
IDEAL = Streams()


@dataclass(frozen=True)
class Result:
    """Of a run: ``executed`` cycles, those held, words.

    ``left``: cycles from the begin until the last word has left its FIFO.  ``walked``: executed
    cycles that were simulated, the others were multiplied.
    """

    executed: int
    held_input: int
    held_output: int
    words_in: int
    words_out: int
    left: int
    walked: int

    @property
    def cycles(self) -> int:
        """Cycles from the begin to the end of the run."""
        return self.executed + self.held_input + self.held_output


class _Skip:
    """Multiplies what repeats, once; called when the words of an interval are about to move."""

    def __init__(self, clock: Clock, parts: Sequence[Fifo | Source | Sink]) -> None:
        self.clock, self.parts = clock, parts
        self.places = {id(part): i for i, part in enumerate(parts)}
        self.seen: dict[tuple, tuple[int, int, dict[str, int]]] = {}
        self.on, self.skipped = True, 0

    def __call__(self, region: Region, now: int) -> int:
        program = region.program
        if (
            not self.on
            or not program.repeats
            or not program.depth <= region.number < region.iterations
        ):
            return 0
        coming = sorted(
            (time - now, self.places.get(id(actor), -1)) for time, _, actor in self.clock.heap
        )
        state = (
            region.number % program.inner,
            region.step.slot,
            *coming,
            *(part.state(now) for part in self.parts),
        )
        if state not in self.seen:
            self.seen[state] = region.number, now, dict(region.counts)
            return 0
        number, before, counts = self.seen[state]
        period, self.on = region.number - number, False
        times = (region.iterations - 1 - region.number) // period
        later = times * (now - before)
        region.number += times * period
        for name, count in counts.items():
            region.counts[name] += times * (region.counts[name] - count)
        self.skipped = times * period * program.ii
        self.clock.shift(later)
        for part in self.parts:
            part.shift(later)
        return later


def run(program: Program, rounds: int, streams: Streams = IDEAL, skip: bool = True) -> Result:
    """Run so many rounds of the outermost loop; without ``skip`` every word is walked.

    Raises ``UserError`` for a negative number of rounds.
    """
    if rounds < 0:
        raise UserError(f"rounds must not be negative, not {rounds}")
    clock = Clock()
    begin = max(0, -streams.lead)
    ways = [
        {n: Fifo(clock, streams.depth, filled * streams.depth) for n in paces}
        for paces, filled in ((streams.inputs, streams.filled), (streams.outputs, False))
    ]
    entering, leaving = ways
    sources = [
        Source(clock, entering[n], pace, begin + streams.lead) for n, pace in streams.inputs.items()
    ]
    sinks = [Sink(clock, leaving[n], pace, begin) for n, pace in streams.outputs.items()]
    fifos = (*entering.values(), *leaving.values())
    skipping = _Skip(clock, (*fifos, *sources, *sinks))
    region = Region(clock, program, rounds, entering, leaving, begin, skipping if skip else None)
    clock.run(lambda: region.end is not None)
    assert region.end is not None
    for source in sources:
        source.stopped = True
    clock.run(lambda: not any(fifo.level for fifo in leaving.values()))
    left = max([region.end, *(fifo.taken_at + 1 for fifo in leaving.values())])
    counts = region.counts
    return Result(
        region.cycles,
        left=left - begin,
        walked=region.cycles - skipping.skipped,
        **{name: counts[name] for name in COUNTS},
    )
