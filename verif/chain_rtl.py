"""Loader, sequencer and stream FIFOs in RTL, with runs that follow each other on two banks.

The host here does what ``perf.events.chain`` says of it, and takes no time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from perf.chips import Chip
from perf.events.chain import Simulation
from perf.events.jobs import Job, Jobs, Key
from perf.events.observed import observe
from perf.events.program import read_program
from perf.events.run import Streams, run
from perf.events.streams import Pace
from spu.arch import bitstream
from spu.arch.params import Architecture
from spu.rtl.fifo import StreamFifo
from spu.rtl.loader import Loader
from spu.rtl.sequencer import Sequencer
from verif.edge_rtl import PATIENCE, Bucket
from verif.stimulus.programs import Case, random_case


@dataclass(frozen=True)
class Run:
    """A run: the file that is loaded for it, b"" for the program in the other bank, None for the
    one in use; ``cycles`` that it executes; words of its input streams; in which executed cycles
    words leave, by stream."""

    content: bytes | None
    rounds: int
    cycles: int
    streams: Streams
    words: Mapping[int, int]
    emitted: Mapping[int, Sequence[int]]

    @cached_property
    def masks(self) -> dict[int, int]:
        """Streams whose words are valid, by executed cycle."""
        masks: dict[int, int] = {}
        for stream, cycles in self.emitted.items():
            for cycle in cycles:
                masks[cycle] = masks.get(cycle, 0) | 1 << stream
        return masks


class _Chain(wiring.Component):
    """A loader and a sequencer between FIFOs; words are of one bit."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__({})
        self.loader, self.sequencer = Loader(arch), Sequencer(arch, 0)
        self.entering = [StreamFifo(1, arch.stream_words) for _ in arch.inputs(0)]
        self.leaving = [StreamFifo(1, arch.stream_words) for _ in arch.outputs(0)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader, m.submodules.sequencer = loader, sequencer = (
            self.loader,
            self.sequencer,
        )
        m.d.comb += [
            sequencer.commit.eq(loader.commit),
            loader.swapping.eq(sequencer.swapping),
            *(
                getattr(sequencer.config, name).eq(getattr(loader.config, name))
                for name in ("write", "whole", "space", "row", "word", "data")
            ),
        ]
        for n, fifo in enumerate(self.entering):
            m.submodules[f"entering_{n}"] = fifo
            m.d.comb += [
                sequencer.input_ready[n].eq(fifo.o.valid),
                fifo.o.ready.eq(sequencer.input_read[n]),
            ]
        for n, fifo in enumerate(self.leaving):
            m.submodules[f"leaving_{n}"] = fifo
            m.d.comb += [
                sequencer.output_ready[n].eq(fifo.i.ready),
                fifo.i.valid.eq(sequencer.output_emit[n]),
            ]
        return m


def simulate(arch: Architecture, runs: Sequence[Run], loading: Pace) -> list[tuple[int, ...]]:
    """Begin, end, and cycle after the last word has left, of each run; see ``chain.Span``.

    Raises ``TimeoutError`` if nothing goes on.
    """
    chain = _Chain(arch)
    found: list[tuple[int, ...]] = []

    async def testbench(ctx: Any) -> None:
        await _follow(ctx, chain, runs, loading, found)

    simulator = Simulator(chain)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return found


class _Host:
    """Prepares a run when the one before has begun, cycle by cycle."""

    def __init__(self, chain: _Chain, runs: Sequence[Run], loading: Pace) -> None:
        self.loader, self.unit, self.runs = chain.loader, chain.sequencer, runs
        self.loading, self.port = loading, Bucket(loading, 0)
        self.words: list[int] = []
        self.next, self.waits = 0, False  # the run to prepare, and whether it is not asked for

    def prepare(self, ctx: Any) -> None:
        """Ask for the file or the bank of the next run."""
        content = self.runs[self.next].content
        self.waits = True
        if content:
            self.words = np.frombuffer(content, "<u4").tolist()
            self.port = Bucket(self.loading, 0)
        ctx.set(self.loader.request, content == b"")

    def before(self, ctx: Any) -> None:
        """What a cycle brings."""
        ctx.set(self.loader.i.valid, bool(self.words) and self.port.ready)
        ctx.set(self.loader.i.payload, self.words[0] if self.words else 0)
        moved = bool(ctx.get(self.loader.i.valid) and ctx.get(self.loader.i.ready))
        self.port.tick(moved)
        del self.words[:moved]
        start = self.waits and (
            not ctx.get(self.unit.starting)
            if self.runs[self.next].content is None
            else bool(ctx.get(self.loader.commit))
        )
        ctx.set(self.unit.start, start)
        if start:
            ctx.set(self.unit.iterations, self.runs[self.next].rounds)
            self.next, self.waits = self.next + 1, False


async def _follow(
    ctx: Any, chain: _Chain, runs: Sequence[Run], loading: Pace, found: list[tuple[int, ...]]
) -> None:
    """Fill ``found``."""
    unit, host = chain.sequencer, _Host(chain, runs, loading)
    number, executed, now, quiet = 0, 0, 0, 0  # the run that executes, its cycles
    begin, begun, ends = -1, list[int](), list[int]()
    left, asked = 0, -1
    sources: list[tuple[Bucket, Any, list[int]]] = []
    sinks: list[tuple[Bucket, Any]] = []
    while len(found) < len(runs):
        ctx.set(chain.loader.request, 0)
        if now == 0:
            host.prepare(ctx)
        if number < len(runs) and begin < 0 and ctx.get(unit.running):
            begin = now
            if host.next < len(runs):
                host.prepare(ctx)
        host.before(ctx)
        if asked < len(found):
            asked = len(found)
            run = runs[asked]
            sources = [
                (Bucket(pace, 0), chain.entering[n].i, [run.words.get(n, 0)])
                for n, pace in run.streams.inputs.items()
            ]
            sinks = [
                (Bucket(pace, 0), chain.leaving[n].o) for n, pace in run.streams.outputs.items()
            ]
        masks = runs[number].masks if number < len(runs) else {}
        ctx.set(unit.output_valid, masks.get(executed, 0))
        for bucket, port, rest in sources:
            ctx.set(port.valid, bucket.ready and rest[0] > 0)
        for bucket, port in sinks:
            ctx.set(port.ready, bucket.ready)
        for bucket, port, rest in sources:
            moved = bool(ctx.get(port.valid) and ctx.get(port.ready))
            bucket.tick(moved)
            rest[0] -= moved
        for bucket, port in sinks:
            moved = bool(ctx.get(port.valid) and ctx.get(port.ready))
            bucket.tick(moved)
            left = now + 1 if moved else left
        active = ctx.get(unit.active)
        executed += active
        quiet = 0 if active or host.words else quiet + 1
        if quiet > PATIENCE:
            raise TimeoutError(f"nothing goes on in cycle {now}")
        await ctx.tick()
        now += 1
        if number < len(runs) and executed == runs[number].cycles:
            ends.append(now)
            begun.append(begin)
            number, executed, begin = number + 1, 0, -1
        if len(found) < number and not any(ctx.get(fifo.level) for fifo in chain.leaving):
            n = len(found)
            found.append((begun[n], ends[n], max(left, ends[n])))


#: A small array whose banks are loaded soon.
SHORT = Architecture(
    "short",
    ("Mm", "MM"),
    lanes=2,
    columns=1,
    contexts=16,
    memory_words=4,
    weight_rows=8,
    stream_words=8,
)


def random_chain(seed: int, count: int = 6) -> tuple[Simulation, dict[Key, Case]]:
    """Runs of three random programs in any order, on a random chip.

    No word leaves before one has entered: what constants alone make could leave among the words
    of the run before, which are of one stream.
    """
    rng, cases, jobs = np.random.default_rng(seed), dict[Key, Case](), Jobs(SHORT)
    for number in range(100 * seed, 100 * seed + 100):
        case, key = random_case(SHORT, number), ("random", number)
        found = observe(case.image, case.inputs, case.rounds)
        program = replace(read_program(case.image, 0), traced=found.emitted[0])
        first = min((t.time for t in program.reads if not t.predicate.always), default=-1)
        if 0 <= first < min((min(times) for times in program.traced.values()), default=-1):
            jobs.images[key], jobs.programs[key], cases[key] = case.image, program, case
        if len(cases) == 3:
            break
    keys = list(cases)
    for step, place in enumerate(rng.integers(0, len(keys), count).tolist()):
        jobs.labels[step] = f"run {step}"
        jobs.jobs.append(Job(step, keys[place], cases[keys[place]].rounds[0]))
    chip = Chip(
        input_cycles=float(rng.choice([1, 1.5, 3])),
        output_cycles=float(rng.choice([1, 2.25])),
        load_cycles=float(rng.choice([1, 1.25])),
        latency_cycles=int(rng.integers(0, 30)),
    )
    return Simulation(jobs, chip), cases


def simulate_chain(simulation: Simulation, cases: Mapping[Key, Case]) -> list[tuple[int, ...]]:
    """``simulate``, of the jobs of a simulation, with files as the driver sends them."""
    jobs, runs = simulation.jobs, []
    sent = dict[Key, bytes]()
    active: Key | None = None
    shadow: Key | None = None
    for job in jobs.jobs:
        content: bytes | None = None
        if job.key != active:
            content = b"" if job.key == shadow else bitstream.encode(jobs.images[job.key])
            if content and shadow is not None:
                base = bitstream.signature(sent[shadow])
                changes = bitstream.encode(jobs.images[job.key], None, jobs.images[shadow], base)
                content = min(content, changes, key=len)
            sent[job.key] = content or sent[job.key]
            active, shadow = job.key, active
        program, case = jobs.programs[job.key], cases[job.key]
        words = {
            n: len(case.inputs.get(port.col, [])) for n, port in enumerate(jobs.arch.inputs(0))
        }
        cycles = run(program, job.rounds).executed
        streams = simulation.streams(job.key)
        runs.append(Run(content, job.rounds, cycles, streams, words, program.traced))
    return simulate(jobs.arch, runs, simulation.chip.loading)
