"""Sequencer and stream FIFOs in RTL, with streams of given paces: what holds, and for how long.

Tiles are not there: which words are valid when they leave comes from a run of the golden model, in
executed cycles.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from perf.events.run import Streams
from perf.events.streams import Pace
from spu.arch.bitstream import Image
from spu.arch.config import Space
from spu.arch.params import Architecture
from spu.rtl.fifo import StreamFifo
from spu.rtl.loader import Loader
from spu.rtl.sequencer import Sequencer

#: Cycles in a row without a word that moves, after which a simulation is given up.
PATIENCE = 5_000


class _Edge(wiring.Component):
    """A sequencer between FIFOs; words are of one bit."""

    def __init__(self, image: Image, region: int, streams: Streams) -> None:
        super().__init__({})
        self.sequencer = Sequencer(image.arch, region)
        self.entering = {n: StreamFifo(1, streams.depth) for n in streams.inputs}
        self.leaving = {n: StreamFifo(1, streams.depth) for n in streams.outputs}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = self.sequencer
        for n in range(sequencer.inputs):
            fifo = self.entering.get(n)
            if fifo is None:
                m.d.comb += sequencer.input_ready[n].eq(1)
                continue
            m.submodules[f"entering_{n}"] = fifo
            m.d.comb += [
                sequencer.input_ready[n].eq(fifo.o.valid),
                fifo.o.ready.eq(sequencer.input_read[n]),
            ]
        for n in range(sequencer.outputs):
            fifo = self.leaving.get(n)
            if fifo is None:
                m.d.comb += sequencer.output_ready[n].eq(1)
                continue
            m.submodules[f"leaving_{n}"] = fifo
            m.d.comb += [
                sequencer.output_ready[n].eq(fifo.i.ready),
                fifo.i.valid.eq(sequencer.output_emit[n]),
            ]
        return m


class Bucket:
    """A word as often as its pace lets it, with a fraction of one kept."""

    def __init__(self, pace: Pace, lead: int) -> None:
        self.cost = Fraction(pace.cycles)
        self.credit = self.most = self.cost + 1 - Fraction(1, self.cost.denominator)
        self.wait = pace.latency + lead

    @property
    def ready(self) -> bool:
        """Whether a word may move in this cycle."""
        return not self.wait and self.credit >= self.cost

    def tick(self, moved: bool) -> None:
        """The end of a cycle."""
        if self.wait:
            self.wait -= 1
            return
        self.credit = min(self.most, self.credit + 1 - moved * self.cost)


def simulate(
    image: Image, region: int, rounds: int, streams: Streams, traced: Mapping[int, Sequence[int]]
) -> dict[str, int]:
    """Cycles of a run: ``active``, ``held_input``, ``held_output``, and ``left``.

    ``left``: cycles from its first until the last word has left its FIFO.  Raises ``TimeoutError``
    for a run without end.
    """
    edge = _Edge(image, region, streams)
    unit = edge.sequencer
    counts = dict.fromkeys(("active", "held_input", "held_output", "left"), 0)
    valid: dict[int, int] = {}
    for stream, cycles in traced.items():
        for cycle in cycles:
            valid[cycle] = valid.get(cycle, 0) | 1 << stream

    async def configure(ctx: Any) -> None:
        ctx.set(unit.config.write, 1)
        for space in (Space.SEQUENCER, Space.STREAM):
            for row, bits in image.rows.get((space, region, 0), {}).items():
                ctx.set(unit.config.space, space.value)
                ctx.set(unit.config.row, row)
                ctx.set(unit.config.data, bits)
                await ctx.tick()
        ctx.set(unit.config.write, 0)
        ctx.set(unit.commit, 1)
        await ctx.tick()
        ctx.set(unit.commit, 0)

    async def testbench(ctx: Any) -> None:
        await configure(ctx)
        if streams.filled:
            for fifo in edge.entering.values():
                ctx.set(fifo.i.valid, 1)
            await ctx.tick().repeat(streams.depth)
            for fifo in edge.entering.values():
                ctx.set(fifo.i.valid, 0)
        ctx.set(unit.iterations, rounds)
        ctx.set(unit.start, 1)
        await ctx.tick()
        ctx.set(unit.start, 0)
        while not ctx.get(unit.running):
            await ctx.tick()
        sources = [
            (Bucket(pace, streams.lead), edge.entering[n].i) for n, pace in streams.inputs.items()
        ]
        sinks = [(Bucket(pace, 0), edge.leaving[n].o) for n, pace in streams.outputs.items()]
        executed = quiet = cycle = 0
        while ctx.get(unit.running) or any(ctx.get(f.level) for f in edge.leaving.values()):
            ctx.set(unit.output_valid, valid.get(executed, 0))
            for bucket, port in sources:
                ctx.set(port.valid, bucket.ready)
            for bucket, port in sinks:
                ctx.set(port.ready, bucket.ready)
            for bucket, port in (*sources, *sinks):
                moved = bool(ctx.get(port.valid) and ctx.get(port.ready))
                bucket.tick(moved)
                if moved and (bucket, port) in sinks:
                    counts["left"] = cycle + 1
            active = ctx.get(unit.active)
            for name in ("active", "held_input", "held_output"):
                counts[name] += ctx.get(getattr(unit, name))
            executed += active
            quiet = 0 if active else quiet + 1
            if quiet > PATIENCE:
                raise TimeoutError(f"no cycle was executed after {executed}")
            cycle += 1
            if ctx.get(unit.running):
                counts["left"] = max(counts["left"], cycle)
            await ctx.tick()

    simulator = Simulator(edge)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return counts


def random_streams(rng: np.random.Generator, inputs: int, outputs: int) -> Streams:
    """Paces of all streams, a third of them as fast as can be."""

    def pace() -> Pace:
        cycles = Fraction(int(rng.integers(16, 80)), 16) if rng.random() < 2 / 3 else Fraction(1)
        return Pace(cycles, int(rng.integers(0, 20)))

    return Streams(
        {n: pace() for n in range(inputs)},
        {n: pace() for n in range(outputs)},
        int(2 ** rng.integers(1, 5)),
        bool(rng.random() < 0.3),
        int(rng.integers(0, 8)),
    )


def simulate_load(content: bytes, arch: Architecture, pace: Pace) -> int:
    """The cycle in which the loader lets banks swap, from the one that asks for the file on.

    Raises ``TimeoutError`` if it never does.
    """
    loader, found = Loader(arch), list[int]()

    async def testbench(ctx: Any) -> None:
        words, port, cycle = np.frombuffer(content, "<u4").tolist(), Bucket(pace, 0), 0
        while not ctx.get(loader.commit):
            ctx.set(loader.i.valid, bool(words) and port.ready)
            ctx.set(loader.i.payload, words[0] if words else 0)
            moved = bool(ctx.get(loader.i.valid) and ctx.get(loader.i.ready))
            port.tick(moved)
            del words[:moved]
            cycle += 1
            if cycle > PATIENCE + 10 * len(content):
                raise TimeoutError(f"not loaded after {cycle} cycles")
            await ctx.tick()
        found.append(cycle)

    simulator = Simulator(loader)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return found[0]
