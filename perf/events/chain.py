"""The runs of a model on a chip: loading, swaps of banks, runs and what they wait for.

There are two banks.  While a program runs, the file of the next one goes into the other bank; banks
swap in the last cycle of a run, and the next one begins in the cycle after.  A program that is in
use, or in the other bank, is not loaded again.  The host takes no time itself.  It asks for a file
when the run before has begun, for a run when its program is loaded, and for its words when the
results of the one before have left.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from perf.chips import Chip
from perf.events.jobs import Job, Jobs, Key
from perf.events.loading import load_cycles
from perf.events.program import Program
from perf.events.run import Result, Streams, run

#: Cycles from when the host asks for the program in the other bank to when banks may swap.
_RECOMMIT = 2
#: Cycles from when banks may swap, and the host asks for a run, to the run's first one.
_START = 2


@dataclass(frozen=True)
class Span:
    """A run in time, in cycles from the first word of the first file on.

    ``loaded`` is the cycle in which banks could swap, ``load_begin`` when its file was asked for,
    of ``words`` 32-bit words, 0 if none was needed; ``begin`` its first cycle, ``end`` the first
    one after it; ``left`` the first one after all its words have left.
    """

    job: Job
    result: Result
    words: int
    load_begin: int
    loaded: int
    begin: int
    end: int
    left: int


@dataclass
class Simulation:
    """Runs of ``jobs`` on a chip; the same runs are made once."""

    jobs: Jobs
    chip: Chip
    _results: dict[tuple, Result] = field(default_factory=dict)
    _loads: dict[tuple, tuple[int, int]] = field(default_factory=dict)
    _streams: dict[Key, Streams] = field(default_factory=dict)
    _words: dict[Key, tuple[dict[int, int], dict[int, int]]] = field(default_factory=dict)
    _same: dict[Program, int] = field(default_factory=dict)
    _number: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chip.check(self.jobs.arch)
        for key, program in self.jobs.programs.items():
            self._number[key] = self._same.setdefault(program, len(self._same))

    def spans(self) -> Iterator[Span]:
        """All runs in order."""
        active = shadow = None
        begin = end = left = 0  # of the last run
        for job in self.jobs.jobs:
            words, asked, loaded = 0, begin, begin
            if job.key == active:
                begin = end
            else:
                if job.key == shadow:
                    loaded = asked + _RECOMMIT
                else:
                    words, cycles = self._load(job.key, shadow)
                    loaded = asked + cycles
                active, shadow = job.key, active
                begin = max(loaded + _START, end)
            result = self._run(job, left - begin)
            end, left = begin + result.cycles, begin + result.left
            yield Span(job, result, words, asked, loaded, begin, end, left)

    def _load(self, key: Key, shadow: Key | None) -> tuple[int, int]:
        """Words of a file, and cycles until it is loaded."""
        found = self._loads.get((key, shadow))
        if found is None:
            file = self.jobs.file(key, shadow)
            found = self._loads[key, shadow] = file.words, load_cycles(file, self.chip.loading)
        return found

    def streams(self, key: Key) -> Streams:
        """Those that a program has, as the chip feeds them."""
        found = self._streams.get(key)
        if found is None:
            program, arch = self.jobs.programs[key], self.jobs.arch
            reads = sorted({t.stream for t in program.reads})
            emits = sorted({*(t.stream for t in program.emits), *program.traced})
            count = len(reads) + len(emits)
            entering = self.chip.pace(self.chip.input_cycles, count, arch)
            leaving = self.chip.pace(self.chip.output_cycles, count, arch)
            found = self._streams[key] = Streams(
                dict.fromkeys(reads, entering),
                dict.fromkeys(emits, type(leaving)(leaving.cycles)),
                self.chip.stream_words or arch.stream_words,
            )
        return found

    def moving(self, job: Job) -> tuple[int, int]:
        """Cycles that the busiest input and the busiest output take for the words of a job."""
        streams = self.streams(job.key)
        if job.key not in self._words:
            self._words[job.key] = self.jobs.programs[job.key].words()
        busiest = []
        for words, paces in zip(
            self._words[job.key], (streams.inputs, streams.outputs), strict=True
        ):
            busiest.append(
                max(
                    (-(-count * job.rounds * paces[n].cycles // 1) for n, count in words.items()),
                    default=0,
                )
            )
        return busiest[0], busiest[1]

    def _run(self, job: Job, lead: int) -> Result:
        """Of a job whose words are asked for ``lead`` cycles after its begin."""
        streams = self.streams(job.key)
        # Words that have been waiting for as long as this fill the FIFOs.
        paces = streams.inputs.values()
        waits = [p.latency + (streams.depth + 2) * -(-p.cycles // 1) for p in paces]
        lead = max(lead, -max(waits, default=0))
        key = self._number[job.key], job.rounds, lead
        found = self._results.get(key)
        if found is None:
            asked = Streams(streams.inputs, streams.outputs, streams.depth, False, lead)
            found = self._results[key] = run(self.jobs.programs[job.key], job.rounds, asked)
        return found
