"""cocotb testbench: how fast a program runs, with cocotb at the AXI ends only.

``SPU_JOB`` is a directory with the program, its inputs and the job; the figures go there.
"""

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles

from spu.arch.params import from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort


@cocotb.test()
async def timed_run(dut: Any) -> None:
    """Seconds that the job's cycles take in the middle of a run, all of them executed."""
    directory = Path(os.environ["SPU_JOB"])
    job = json.loads((directory / "speed.json").read_text())
    arch = from_parameters(job["arch"])
    inputs = {int(c): [(int(d, 16), b) for d, b in words] for c, words in job["inputs"].items()}
    port = CocotbPort(dut, arch, inputs, job["outputs"])
    driver = Driver(port, arch)
    await port.reset()
    await driver.load_file((directory / "program.spub").read_bytes())
    for column, words in inputs.items():
        await port.send(column, words)
    await ClockCycles(dut.clk, 2 * arch.stream_words)
    await driver.start({0: job["iterations"]})
    await ClockCycles(dut.clk, 200)
    before = await driver.counters()
    gc.collect()
    gc.freeze()  # the words that wait are not looked through again and again
    start = time.monotonic()
    await ClockCycles(dut.clk, job["cycles"])
    seconds = time.monotonic() - start
    spent = {name: value - before[name] for name, value in (await driver.counters()).items()}
    assert spent["ACTIVE_0"] == spent["CYCLES_0"] >= job["cycles"], spent
    (directory / "seconds.json").write_text(json.dumps(seconds))
