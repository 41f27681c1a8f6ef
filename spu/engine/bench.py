"""cocotb testbench of a whole array: load a program over AXI, stream, compare, count.

Runs inside the simulator; ``rtl_run`` prepares the job directory named by ``SPU_JOB``
and reads what is left there.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from spu.arch.context import LINKS
from spu.arch.packing import from_words
from spu.arch.params import Architecture, from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort

#: Looks at the streams that may pass without a word before a run is given up, and before one is
#: that has gone wrong already.
PATIENCE, WRONG = 100, 10
#: Cycles between two looks.
POLL_CYCLES = 200


class Lockstep:
    """Compares every link of a region's tiles in every executed cycle with the golden model.

    ``links`` has shape ``(cycles, tiles, links, lanes + 2)``, see ``spu.model.words``.
    """

    def __init__(self, dut: Any, arch: Architecture, links: np.ndarray, region: int = 0) -> None:
        self.dut, self.arch, self.region = dut, arch, region
        # Links that leave the grid lead nowhere, but for the south edge's.
        chosen = [
            (t, i, r, c, link)
            for t, (r, c) in enumerate(arch.region_tiles(region))
            for i, link in enumerate(LINKS)
            if (
                link == "south"
                or (link == "north" and r > 0)
                or (link == "west" and c > 0)
                or (link == "east" and c < arch.cols - 1)
            )
        ]
        self.handles = [
            (r, c, link, getattr(dut, f"link_{r}_{c}_{link}")) for _, _, r, c, link in chosen
        ]
        width = arch.data_bits + 9  # lanes, bias, valid
        self.expected = [
            [f"{link_bits(cycle[t, i]):0{width}b}" for t, i, *_ in chosen] for cycle in links
        ]
        self.cycle = self.run_cycles = 0
        self.first: dict | None = None

    async def watch(self) -> None:
        """Run for ever; the first difference is kept."""
        dut, bit = self.dut, 1 << self.region
        while True:
            await RisingEdge(dut.clk)
            self.run_cycles += int(int(dut.region_running.value) & bit != 0)
            if not int(dut.region_step.value) & bit:
                continue
            if self.first is None and self.cycle < len(self.expected):
                for (r, c, link, handle), want in zip(
                    self.handles, self.expected[self.cycle], strict=True
                ):
                    got = str(handle.value)  # costs less than its integer or its bits
                    if got != want:
                        known = set(got) <= {"0", "1"}
                        self.first = {
                            "cycle": self.cycle,
                            "tile": [r, c],
                            "link": link,
                            "expected": f"{int(want, 2):#x}",
                            "got": f"{int(got, 2):#x}" if known else got,
                        }
                        break
            self.cycle += 1


def link_bits(word: np.ndarray) -> int:
    """A word of the golden model as it stands on a link."""
    *lanes, bias, valid = word.tolist()
    data = sum(lane << 16 * i for i, lane in enumerate(lanes))
    return data | bias << 16 * len(lanes) | valid << 16 * len(lanes) + 8


@cocotb.test()
async def run_program(dut: Any) -> None:
    """Load, run, and leave outputs, counters and the first difference in the job directory."""
    job_directory = Path(os.environ["SPU_JOB"])
    job = json.loads((job_directory / "job.json").read_text())
    arch = from_parameters(job["arch"])
    with np.load(job_directory / "inputs.npz") as stored:
        inputs = {
            int(c): [(from_words(data), int(bias)) for *data, bias in stored[c].tolist()]
            for c in stored.files
        }
    # An unexpected output word on another stream shows as a difference on its link.
    expected = dict(enumerate(job["expected_words"]))
    used = [c for c, count in expected.items() if count]
    port = CocotbPort(dut, arch, inputs, used, POLL_CYCLES)
    driver = Driver(port, arch)
    await port.reset()
    await driver.identify()
    await driver.load_file((job_directory / "program.spub").read_bytes())
    port.stall(job["stall_share"], job["seed"])
    lockstep = Lockstep(dut, arch, np.load(job_directory / "links.npy"))
    cocotb.start_soon(lockstep.watch())
    for column, words in inputs.items():
        await port.send(column, words)
    # Let the input FIFOs fill, so that a run without stalls starts without a hold.
    await ClockCycles(dut.clk, 2 * arch.stream_words)
    await driver.start(dict.fromkeys(range(arch.region_count), job["iterations"]))

    outputs: dict[int, list[tuple[int, int]]] = {c: [] for c in range(arch.cols)}
    quiet, total = 0, sum(expected.values())
    while quiet < (PATIENCE if lockstep.first is None else WRONG):
        state, before = await driver.state(), sum(map(len, outputs.values()))
        for column, words in outputs.items():
            words += await port.receive(column)
        seen = sum(map(len, outputs.values()))
        (job_directory / "progress").write_text(f"{seen} {total}")
        if state.done and all(len(outputs[c]) >= count for c, count in expected.items()):
            break
        quiet = quiet + 1 if seen == before else 0
        await port.wait()
    await ClockCycles(dut.clk, 4 * arch.stream_words)
    for column, words in outputs.items():
        words += await port.receive(column)

    counters = await driver.counters()
    counters["CONFIG_WORDS"] = await driver.read("CONFIG_WORDS")
    (job_directory / "result.json").write_text(
        json.dumps(
            {
                "done": state.done,
                "counters": counters,
                "difference": lockstep.first,
                "compared_cycles": lockstep.cycle,
                "run_cycles": lockstep.run_cycles,
                "outputs": [[[f"{data:x}", bias] for data, bias in outputs[c]] for c in outputs],
            }
        )
    )
