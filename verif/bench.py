"""cocotb testbench of a whole array: load a program over AXI, stream, compare, count.

Runs inside the simulator; ``rtl_engine`` prepares the job directory named by ``SPU_JOB``
and reads what is left there.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from spu.arch import regmap
from spu.arch.context import LINKS
from spu.arch.params import Architecture, architecture

CLOCK_NS = 10
#: Cycles after which a run that has not finished is given up, beyond the expected ones.
PATIENCE = 4_000
#: Cycles between two looks at the status register.
POLL_CYCLES = 200


class Host:
    """Bus drivers of one array; only the streams that are ``used`` get one."""

    def __init__(self, dut: Any, arch: Architecture, inputs: Collection[int] = (),
                 outputs: Collection[int] = ()) -> None:
        self.dut, self.arch, self.map = dut, arch, regmap.register_map(arch)
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.load = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_load"), dut.clk, dut.rst,
                                    byte_lanes=4)
        self.sources = {c: AxiStreamSource(AxiStreamBus.from_prefix(dut, f"s_axis_{c}"), dut.clk,
                                           dut.rst, byte_lanes=8) for c in inputs}
        self.sinks = {c: AxiStreamSink(AxiStreamBus.from_prefix(dut, f"m_axis_{c}"), dut.clk,
                                       dut.rst, byte_lanes=8) for c in outputs}
        for c in range(arch.cols):
            if c not in self.sources:
                getattr(dut, f"s_axis_{c}_tvalid").value = 0
            if c not in self.sinks:
                getattr(dut, f"m_axis_{c}_tready").value = 1

    async def reset(self) -> None:
        """Start the clock, reset, and check that no handshake signal is unknown."""
        Clock(self.dut.clk, CLOCK_NS, "ns").start()
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)
        for c in range(self.arch.cols):
            for name in (f"s_axis_{c}_tready", f"m_axis_{c}_tvalid"):
                assert getattr(self.dut, name).value.is_resolvable, f"{name} is unknown"

    async def read(self, name: str) -> int:
        """Register by name."""
        return await self.lite.read_dword(self.map[name])

    async def write(self, name: str, value: int) -> None:
        """Register by name."""
        await self.lite.write_dword(self.map[name], value)

    async def load_program(self, content: bytes, expect_loaded: bool = True) -> int:
        """Send a program file; returns STATUS, and raises if it is not activated in time."""
        await self.load.send(AxiStreamFrame(content))
        await self.load.wait()
        await ClockCycles(self.dut.clk, 8)
        status = await self.read("STATUS")
        if expect_loaded and (status >> regmap.STATUS_ERROR_SHIFT & 0xFF
                              or not status & regmap.STATUS_LOADED
                              or status & regmap.STATUS_LOADING):
            raise RuntimeError(f"the loader refused the program: {describe(status)}")
        return status


def describe(status: int) -> str:
    """STATUS in words."""
    error = status >> regmap.STATUS_ERROR_SHIFT & 0xFF
    section = status >> regmap.STATUS_SECTION_SHIFT
    if error:
        return f"{regmap.LOAD_ERRORS[error]} in section {section}"
    return "incomplete file" if status & regmap.STATUS_LOADING else "no error"


def _pauses(seed: int, share: float) -> Iterator[bool]:
    """Endless random pauses: stretches of 1 to 63 cycles, paused with probability ``share``."""
    rng = np.random.default_rng(seed)
    while True:
        yield from [bool(rng.random() < share)] * int(rng.integers(1, 64))


class Lockstep:
    """Compares every link of every tile in every executed cycle with the golden model."""

    def __init__(self, dut: Any, arch: Architecture, links: np.ndarray) -> None:
        self.dut, self.arch = dut, arch
        # Links that leave the grid lead nowhere, but for the south edge's.
        every = [(r, c, link) for r, c in arch.tiles for link in LINKS]
        chosen = [i for i, (r, c, link) in enumerate(every)
                  if (link == "south" or (link == "north" and r > 0) or (link == "west" and c > 0)
                      or (link == "east" and c < arch.cols - 1))]
        self.handles = [(*every[i], getattr(dut, "link_{}_{}_{}".format(*every[i])))
                        for i in chosen]
        self.expected = [[int(low) | int(high) << 64 for low, high in cycle[chosen].tolist()]
                         for cycle in links]
        self.cycle = self.run_cycles = 0
        self.first: dict | None = None

    async def watch(self) -> None:
        """Run for ever; the first difference is kept."""
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            self.run_cycles += int(dut.region_running.value)
            if not dut.region_step.value:
                continue
            if self.first is None and self.cycle < len(self.expected):
                for (r, c, link, handle), want in zip(self.handles, self.expected[self.cycle],
                                                      strict=True):
                    value = handle.value
                    got = int(value) if value.is_resolvable else -1
                    if got != want:
                        self.first = {"cycle": self.cycle, "tile": [r, c], "link": link,
                                      "expected": f"{want:#x}",
                                      "got": f"{got:#x}" if got >= 0 else str(value)}
                        break
            self.cycle += 1


async def _collect(sink: AxiStreamSink, words: list[tuple[int, int]],
                   report: Callable[[], None]) -> None:
    while True:
        frame = await sink.recv()
        user = frame.tuser if isinstance(frame.tuser, list) else [frame.tuser]
        words.append((int.from_bytes(bytes(frame.tdata), "little"), int(user[0])))
        report()


@cocotb.test()
async def run_program(dut: Any) -> None:
    """Load, run, and leave outputs, counters and the first difference in the job directory."""
    job_directory = Path(os.environ["SPU_JOB"])
    job = json.loads((job_directory / "job.json").read_text())
    arch = architecture(job["arch"])
    with np.load(job_directory / "inputs.npz") as stored:
        inputs = {c: list(zip(stored[f"data_{c}"].tolist(), stored[f"bias_{c}"].tolist(),
                              strict=True)) for c in range(arch.cols) if stored[f"data_{c}"].size}
    # An unexpected output word on another stream shows as a difference on its link.
    used = [c for c in range(arch.cols) if job["expected_words"][c]]
    host = Host(dut, arch, inputs, used)
    await host.reset()
    await host.load_program((job_directory / "program.spub").read_bytes())

    outputs: list[list[tuple[int, int]]] = [[] for _ in range(arch.cols)]
    total, state = sum(job["expected_words"]), {"seen": 0}
    progress = job_directory / "progress"

    def report() -> None:
        state["seen"] += 1
        if state["seen"] % max(total // 100, 1) == 0:
            progress.write_text(f"{state['seen']} {total}")

    for c, sink in host.sinks.items():
        cocotb.start_soon(_collect(sink, outputs[c], report))
    if job["stall_share"]:
        for i, stream in enumerate((*host.sources.values(), *host.sinks.values())):
            stream.set_pause_generator(_pauses(job["seed"] + i, job["stall_share"]))
    lockstep = Lockstep(dut, arch, np.load(job_directory / "links.npy"))
    cocotb.start_soon(lockstep.watch())
    for c, words in inputs.items():
        for data, bias in words:
            host.sources[c].send_nowait(AxiStreamFrame(data.to_bytes(8, "little"), tuser=bias))
    # Let the input FIFOs fill, so that a run without stalls starts without a hold.
    await ClockCycles(dut.clk, 2 * arch.stream_words)
    await host.write("ITERATIONS", job["iterations"])
    await host.write("CONTROL", regmap.CONTROL_START)
    limit = PATIENCE + int(job["expected_cycles"] / (1 - job["stall_share"]) ** 3)
    waited = 0
    while not await host.read("STATUS") & regmap.STATUS_DONE:
        await ClockCycles(dut.clk, POLL_CYCLES)
        waited += POLL_CYCLES
        if waited > limit:
            break
    status = await host.read("STATUS")
    while waited <= limit and any(
            len(words) < want for words, want in zip(outputs, job["expected_words"], strict=True)):
        await ClockCycles(dut.clk, POLL_CYCLES)
        waited += POLL_CYCLES
    await ClockCycles(dut.clk, 4 * arch.stream_words)

    counters = {name: await host.read(name) for name in list(host.map)
                if name not in ("CONTROL",)}
    (job_directory / "result.json").write_text(json.dumps({
        "done": bool(status & regmap.STATUS_DONE), "counters": counters,
        "difference": lockstep.first, "compared_cycles": lockstep.cycle,
        "run_cycles": lockstep.run_cycles,
    }))
    np.savez(job_directory / "outputs.npz", allow_pickle=False, **{
        key: array for c, words in enumerate(outputs) for key, array in (
            (f"data_{c}", np.array([w for w, _ in words], np.uint64)),
            (f"bias_{c}", np.array([b for _, b in words], np.uint8)))})
