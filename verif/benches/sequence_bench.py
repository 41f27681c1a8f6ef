"""cocotb testbench: the programs of a model one after another, as ``verif.sequence`` wrote them.

``SPU_JOB`` is the directory.  Two banks hold two programs: while one runs, the next is loaded and
asked for, so that it begins in the cycle after.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from spu.arch.bitstream import Image, decode
from spu.arch.packing import from_words
from spu.arch.params import Architecture, from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort
from spu.model.words import Stream
from verif.benches.square_bench import count_cycles

#: Cycles beyond those of a run that its words may take.
PATIENCE = 100_000


class _Sequence:
    """Programs with their words."""

    def __init__(self, work: Path, job: dict, arch: Architecture) -> None:
        self.arch, self.rounds, self.cycles = arch, job["rounds"], job["cycles"]
        self.images: list[Image] = [
            decode((work / f"{i}.spub").read_bytes(), arch).image for i in range(len(self.rounds))
        ]
        with np.load(work / "words.npz", allow_pickle=False) as file:
            self.words = dict(file)

    def streams(self, name: str, run: int) -> dict[int, Stream]:
        """Words ``in`` or ``out`` of a run."""
        streams = {c: self.words.get(f"{name}_{run}_{c}") for c in range(self.arch.cols)}
        return {
            c: [(from_words(row[:-1]), int(row[-1])) for row in rows.tolist()]
            for c, rows in streams.items()
            if rows is not None
        }


@cocotb.test()
async def sequence(dut: Any) -> None:
    """Every mode: all words as expected, and how long it takes."""
    work = Path(os.environ["SPU_JOB"])
    job = json.loads((work / "job.json").read_text())
    arch = from_parameters(job["arch"])
    port = CocotbPort(dut, arch, range(arch.cols), range(arch.cols))
    driver, programs = Driver(port, arch), _Sequence(work, job, arch)
    await port.reset()
    table = {}
    for mode in job["modes"]:
        await driver.load(programs.images[0])
        count: dict[str, int] = {}
        counter = cocotb.start_soon(count_cycles(dut, count))
        before = await driver.counters()
        await _run_all(driver, port, programs, mode == "overlapped")
        after = await driver.counters()
        counter.cancel()
        active = after["ACTIVE_0"] - before["ACTIVE_0"]
        assert active == sum(programs.cycles), (mode, active)
        table[mode] = {"cycles": count["cycles"], "idle": count["idle"], "active": active}
    Path(job["result"]).write_text(json.dumps(table))


async def _run_all(driver: Driver, port: CocotbPort, programs: _Sequence, overlapped: bool) -> None:
    """All runs, the first of which is loaded."""
    await driver.start({0: programs.rounds[0]})
    for run in range(len(programs.rounds)):
        for column, words in programs.streams("in", run).items():
            await port.send(column, words)
        last = run == len(programs.rounds) - 1
        if overlapped and not last:
            await driver.load(programs.images[run + 1], wait=False)
            await driver.start({0: programs.rounds[run + 1]})
        await _compare(port, programs, run)
        if not overlapped and not last:
            await driver.finish()
            await driver.load(programs.images[run + 1])
            await driver.start({0: programs.rounds[run + 1]})
        while (await driver.state()).starting:
            await port.wait()
    await driver.finish()


async def _compare(port: CocotbPort, programs: _Sequence, run: int) -> None:
    """Take the words of a run as they come."""
    expected = programs.streams("out", run)
    got: dict[int, Stream] = {c: [] for c in expected}
    waits = 0
    while any(len(got[c]) < len(words) for c, words in expected.items()):
        assert waits * port.wait_cycles < programs.cycles[run] + PATIENCE, f"run {run} gave {got}"
        waits += 1
        await port.wait()
        for c, words in got.items():
            words += await port.receive(c)
    assert got == expected, f"words of run {run} differ"
