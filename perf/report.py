"""What the runs of a model take on a chip, by step, and what bounds each step."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from perf.chips import Chip
from perf.events.chain import Simulation, Span
from perf.events.jobs import Jobs

#: What bounds a step from below, each as if it were alone, in cycles.
BOUNDS = ("loading", "input", "output", "program", "multipliers")
#: A step is said to be bound by its multipliers from this share of the program's cycles on.
_BUSY = 0.9


@dataclass
class Step:
    """A step of a model, in cycles, words and bytes.

    ``cycles`` from the end of the step before to its own; of these ``executed``, ``held_input`` and
    ``held_output`` of its runs, and ``idle``, in which the array waits for a file.  ``bounds``: of
    ``BOUNDS``, as if nothing else took time: to load its files, to move the words of its busiest
    stream, to execute, to multiply with all multipliers.
    """

    number: int
    node: str
    runs: int = 0
    cycles: int = 0
    executed: int = 0
    held_input: int = 0
    held_output: int = 0
    idle: int = 0
    load_words: int = 0
    words_in: int = 0
    words_out: int = 0
    bytes: int = 0
    macs: int = 0
    bounds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BOUNDS, 0))

    @property
    def binds(self) -> str:
        """The largest bound; multipliers where these are busy for most of the program."""
        name = max(BOUNDS[:-1], key=lambda bound: self.bounds[bound])
        busy = self.bounds["multipliers"] >= _BUSY * self.bounds["program"]
        return "multipliers" if name == "program" and busy else name

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return vars(self) | {"binds": self.binds}


@dataclass
class Report:
    """Steps in order; ``cycles`` from the first word of the first file until all words left."""

    chip: Chip
    jobs: Jobs
    steps: list[Step]
    spans: list[Span]

    @property
    def cycles(self) -> int:
        """Of everything, loading of the first program included."""
        return max((span.left for span in self.spans), default=0)

    @property
    def seconds(self) -> float | None:
        """None without a clock."""
        clock = self.chip.clock_mhz
        return self.cycles / (clock * 1e6) if clock else None

    @cached_property
    def total(self) -> Step:
        """Sums over the steps."""
        total = Step(len(self.steps), "all")
        for step in self.steps:
            for name, value in vars(step).items():
                if name == "bounds":
                    for bound, cycles in value.items():
                        total.bounds[bound] += cycles
                elif name not in ("number", "node"):
                    setattr(total, name, getattr(total, name) + value)
        return total

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "array": self.jobs.arch.name,
            "chip": {name: value for name, value in vars(self.chip).items() if value is not None},
            "cycles": self.cycles,
            "seconds": self.seconds,
            "peak_macs_per_cycle": self.jobs.arch.peak_macs_per_cycle,
            "total": {k: v for k, v in self.total.row().items() if k not in ("number", "node")},
            "steps": [step.row() for step in self.steps],
        }


def report(simulation: Simulation) -> Report:
    """All runs on the chip, by step."""
    jobs = simulation.jobs
    spans = list(simulation.spans())
    return Report(simulation.chip, jobs, _steps(simulation, spans), spans)


def _steps(simulation: Simulation, spans: Iterable[Span]) -> list[Step]:
    jobs, before = simulation.jobs, 0
    steps = {number: Step(number, label) for number, label in jobs.labels.items()}
    peak, word = jobs.arch.peak_macs_per_cycle, jobs.arch.data_bits // 8
    for span in spans:
        step, result, bounds = steps[span.job.step], span.result, steps[span.job.step].bounds
        step.runs += 1
        step.cycles += span.end - before
        step.idle += span.begin - before
        before = span.end
        step.executed += result.executed
        step.held_input += result.held_input
        step.held_output += result.held_output
        step.load_words += span.words
        step.words_in += result.words_in
        step.words_out += result.words_out
        step.bytes += word * (result.words_in + result.words_out) + 4 * span.words
        step.macs += span.job.macs
        bounds["loading"] += (span.loaded - span.load_begin) if span.words else 0
        bounds["program"] += result.executed
        bounds["multipliers"] = -(-step.macs // peak)
        for name, cycles in zip(("input", "output"), simulation.moving(span.job), strict=True):
            bounds[name] += cycles
    return list(steps.values())
