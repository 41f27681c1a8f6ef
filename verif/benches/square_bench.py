"""cocotb testbench: square matrix products larger than the weight memories, in RTL.

A product is cut along its outputs into programs; while one runs, the next is loaded into the
other bank.  ``SPU_SQUARES`` names the architecture and the sizes as JSON, ``SPU_RESULT`` where
the rows go.  Cycles are counted from the first cycle of the first program to the last cycle of
the last, those between programs included; the first program is loaded before.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from compiler.map.product.gemm import gemm
from spu.arch.bitstream import encode
from spu.arch.package.product import Gemm
from spu.arch.params import Architecture, from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort
from spu.engine.streams import expected_words, input_streams, result_codes
from verif.benches.gemm_bench import FILL_CYCLES, operands
from verif.expected.products import predicted_codes


def pieces(arch: Architecture, weight: np.ndarray, rows: int) -> Iterator[tuple[slice, Gemm]]:
    """Programs that each compute as many outputs as their weights fit."""
    slices = -(-weight.shape[0] // arch.lanes)
    width = len(arch.matrix_tiles) * arch.columns * (arch.weight_rows // slices)
    for first in range(0, weight.shape[1], width):
        taken = slice(first, first + width)
        yield taken, gemm(arch, weight[:, taken], rows)


async def count_cycles(dut: Any, count: dict[str, int]) -> None:
    """``cycles`` from the first to the last in which the region runs, and those in between in which
    it does not (``idle``)."""
    count |= {"cycles": 0, "idle": 0, "pending": 0}
    while True:
        await RisingEdge(dut.clk)
        running = int(dut.region_running.value)
        if running:
            count["cycles"] += 1 + count["pending"]
            count["idle"] += count["pending"]
            count["pending"] = 0
        elif count["cycles"]:
            count["pending"] += 1  # counts only if the region runs again


async def _receive(
    port: CocotbPort, arch: Architecture, expected: dict[int, int]
) -> dict[int, list]:
    """All words of the output streams, taken as they come."""
    outputs: dict[int, list] = {c: [] for c in range(arch.cols)}
    while any(len(outputs[c]) < n for c, n in expected.items()):
        await ClockCycles(port.dut.clk, 200)
        for c, words in outputs.items():
            words += await port.receive(c)
    return outputs


@cocotb.test()
async def squares(dut: Any) -> None:
    """Every size: results as predicted from the PAL model, and the share of ideal cycles."""
    job = json.loads(os.environ["SPU_SQUARES"])
    arch = from_parameters(job["arch"])
    port = CocotbPort(dut, arch, range(arch.cols), range(arch.cols), wait_cycles=50)
    driver = Driver(port, arch)
    await port.reset()
    table = []
    for size in job["sizes"]:
        x, weight = operands(size, size, size)
        found = list(pieces(arch, weight, size))
        expected: dict[int, int] = {}
        for _, plan in found:
            for c, n in expected_words(plan).items():
                expected[c] = expected.get(c, 0) + n
            for c, stream in input_streams(plan, x).items():
                await port.send(c, stream)
        images = [plan.image for _, plan in found]
        assert images[0] is not None
        await driver.load(images[0], changes=False)
        await ClockCycles(dut.clk, FILL_CYCLES)
        count: dict[str, int] = {}
        counter = cocotb.start_soon(count_cycles(dut, count))
        receiver = cocotb.start_soon(_receive(port, arch, expected))
        before = await driver.counters()
        await driver.start({0: found[0][1].rounds})
        for (_, plan), image in zip(found[1:], images[1:], strict=True):
            assert image is not None
            content = encode(image)
            await driver.load_file(content, wait=False)
            await driver.start({0: plan.rounds})
            while (await driver.state()).starting:
                await port.wait()
        await driver.finish()
        outputs = await receiver
        counter.cancel()
        after = await driver.counters()
        start = dict.fromkeys(outputs, 0)
        for taken, plan in found:
            own = {c: outputs[c][start[c] : start[c] + n] for c, n in expected_words(plan).items()}
            for c, words in own.items():
                start[c] += len(words)
            assert np.array_equal(
                result_codes(plan, own), predicted_codes(plan, x, weight[:, taken])
            ), f"{size}: results differ from the prediction"
        active = after["ACTIVE_0"] - before["ACTIVE_0"]
        assert active == sum(plan.cycles for _, plan in found), (size, active)
        ideal = size**3 / arch.peak_macs_per_cycle
        table.append(
            {
                "size": size,
                "programs": len(found),
                "cycles": count["cycles"],
                "idle": count["idle"],
                "active": active,
                "ideal": int(ideal),
                "share": ideal / count["cycles"],
            }
        )
    Path(os.environ["SPU_RESULT"]).write_text(json.dumps(table))
