"""cocotb testbench: matrix products on an array, their results, cycles and holds.

``SPU_GEMM`` names the architecture and the shapes as JSON, ``SPU_RESULT`` where the rows go.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from compiler.map.product.gemm import gemm
from spu.arch.package.product import Gemm
from spu.arch.params import from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort
from spu.engine.streams import expected_words, input_streams, result_codes
from verif.expected.products import predicted_codes

#: Cycles in which the input FIFOs fill before a run.
FILL_CYCLES = 64


def operands(rows: int, depth: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The same normal operands everywhere; ``x`` within its tensor bias of 0."""
    rng = np.random.default_rng([rows, depth, outputs])
    return np.clip(rng.normal(size=(rows, depth)) / 4, -1, 1), rng.normal(size=(depth, outputs))


async def run(driver: Driver, plan: Gemm, x: np.ndarray, rounds: int) -> tuple[dict, dict, float]:
    """Output words, counters spent, and seconds of a run of so many rounds."""
    port = driver.port
    assert isinstance(port, CocotbPort)
    per_round = plan.ii * plan.steps
    words = {c: len(found) * rounds for c, found in plan.results.items()}
    assert rounds != plan.rounds or words == expected_words(plan)
    for column, stream in input_streams(plan, x).items():
        await port.send(column, stream[: rounds * per_round])
    await ClockCycles(port.dut.clk, FILL_CYCLES)
    before, start = await driver.counters(), time.monotonic()
    outputs = await driver.run({}, {0: rounds}, words)
    seconds = time.monotonic() - start
    after = await driver.counters()
    return outputs, {name: after[name] - before[name] for name in after}, seconds


@cocotb.test()
async def matrix_products(dut: Any) -> None:
    """Every shape: results as predicted from the PAL model, cycles as the compiler says."""
    job = json.loads(os.environ["SPU_GEMM"])
    arch = from_parameters(job["arch"])
    port = CocotbPort(dut, arch, range(arch.cols), range(arch.cols), wait_cycles=100)
    driver = Driver(port, arch)
    await port.reset()
    await driver.identify()
    table = []
    for shape in job["shapes"]:
        x, weight = operands(*shape)
        plan = gemm(arch, weight, shape[0])
        assert plan.image is not None
        await driver.load(plan.image)
        # The difference of two runs is the steady state, fill and drain taken off.
        half = plan.rounds // 2
        _, first, _ = await run(driver, plan, x, half) if half else ({}, {"CYCLES_0": 0}, 0.0)
        outputs, spent, seconds = await run(driver, plan, x, plan.rounds)
        same = np.array_equal(result_codes(plan, outputs), predicted_codes(plan, x, weight))
        assert same, f"{shape}: results differ from the prediction"
        assert spent["ACTIVE_0"] == plan.cycles, (shape, spent["ACTIVE_0"], plan.cycles)
        peak = arch.peak_macs_per_cycle
        steady = (
            plan.macs
            * (plan.rounds - half)
            / plan.rounds
            / (spent["CYCLES_0"] - first["CYCLES_0"])
            / peak
            if half
            else None
        )
        table.append(
            {
                "shape": shape,
                "streams": len(plan.streams),
                "ii": plan.ii,
                "passes": plan.passes,
                "cycles": spent["CYCLES_0"],
                "active": spent["ACTIVE_0"],
                "held_input": spent["HELD_INPUT_0"],
                "held_output": spent["HELD_OUTPUT_0"],
                "ideal_cycles": -(-plan.macs // peak),
                "steady": steady,
                "end_to_end": plan.macs / spent["CYCLES_0"] / peak,
                "seconds": seconds,
            }
        )
    Path(os.environ["SPU_RESULT"]).write_text(json.dumps(table))
