"""cocotb testbench: random programs, one after the other, each as in the golden model.

The environment names the architecture and the seeds (``SPU_RANDOM``, see ``Plan``) and
where the figures go (``SPU_RESULT``).
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles

from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.config import Space, stored_word
from spu.arch.packing import pack, unpack
from spu.arch.params import Architecture, from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort
from spu.model.array import GoldenArray
from verif.stimulus.programs import random_case


@dataclass
class Plan:
    """Seeds ``first_seed`` and following; every other program with stalled streams."""

    arch: dict
    first_seed: int
    count: int
    stall_share: float = 0.4
    focus: str | None = None


@dataclass
class Figures:
    """What was compared."""

    programs: int = 0
    cycles: int = 0
    stream_words: int = 0
    memory_words: int = 0
    saturated: int = 0
    runs: int = 0
    saturated_runs: int = 0
    held_cycles: int = 0
    clock_cycles: int = 0
    seconds: float = 0.0


class Mismatch(AssertionError):
    """The RTL did something else than the golden model."""


async def one_program(
    driver: Driver,
    golden: GoldenArray,
    seed: int,
    focus: str | None,
    stall_share: float,
    figures: Figures,
) -> None:
    """Run the program of a seed in both; raise ``Mismatch`` at the first difference."""
    arch, port = driver.arch, driver.port
    assert isinstance(port, CocotbPort)
    case = random_case(arch, seed, focus)
    content = bitstream.encode(case.image)
    image = bitstream.decode(content, arch).image
    golden.images = [image] * arch.region_count
    for region in range(arch.region_count):
        golden.load_memory(region, image)
    expected = golden.run(case.inputs, case.rounds, keep_links=False)
    words = {c: len(stream) for c, stream in expected.outputs.items()}

    port.stall(0, 0)
    await driver.load_file(content)
    before = await driver.counters()
    port.stall(stall_share, seed)
    outputs = await driver.run(case.inputs, dict(enumerate(case.rounds)), words)
    port.stall(0, 0)
    await ClockCycles(port.dut.clk, 4)
    for column, stream in outputs.items():
        stream += await port.receive(column)
    after = await driver.counters()
    spent = {name: after[name] - before[name] for name in after}

    for column, want in expected.outputs.items():
        if outputs[column] != want:
            at = next(
                (i for i, (a, b) in enumerate(zip(outputs[column], want, strict=False)) if a != b),
                min(len(want), len(outputs[column])),
            )
            raise Mismatch(
                f"stream {column}, word {at}: expected {want[at : at + 1]}, "
                f"got {outputs[column][at : at + 1]} of {len(want)} words"
            )
    for region, cycles in enumerate(expected.region_cycles):
        held = sum(spent[f"HELD_{by}_{region}"] for by in ("HOST", "INPUT", "OUTPUT"))
        if spent[f"ACTIVE_{region}"] != cycles or spent[f"CYCLES_{region}"] != cycles + held:
            raise Mismatch(
                f"region {region} executed {spent[f'ACTIVE_{region}']} cycles and was "
                f"held {held}, in all {spent[f'CYCLES_{region}']}; expected {cycles}"
            )
        figures.held_cycles += held
    for (row, col), counts in expected.tile_saturated.items():
        if spent[f"SATURATED_{row}_{col}"] != counts[0]:
            raise Mismatch(
                f"tile ({row},{col}) counted {spent[f'SATURATED_{row}_{col}']} "
                f"saturated elements, expected {counts[0]}"
            )
    for region in range(arch.region_count):
        above = any(expected.tile_saturated[tile][0] for tile in arch.region_tiles(region))
        if (await driver.state(region)).saturated != above:
            raise Mismatch(
                f"whether elements of region {region} saturated: expected {above}, "
                f"REGION_{region} tells {not above}"
            )
        figures.runs += 1
        figures.saturated_runs += above
    figures.saturated += expected.saturated
    figures.memory_words += await _compare_memory(driver, golden)
    figures.programs += 1
    figures.cycles += sum(expected.region_cycles)
    figures.stream_words += sum(words.values()) + sum(map(len, case.inputs.values()))


async def _compare_memory(driver: Driver, golden: GoldenArray) -> int:
    """Read back every word of every data memory; the number of words."""
    arch = driver.arch
    layout, total = stored_word(arch), 0
    for tile in arch.memory_tiles:
        rows = await driver.read_rows(Space.MEMORY, tile, range(arch.memory_words))
        for address, bits in enumerate(rows):
            *lanes, bias = golden.memory[tile][0, address].tolist()
            data = sum(lane << 16 * i for i, lane in enumerate(lanes))
            want = pack(layout, {"data": data, "bias": bias})
            if bits != want:
                raise Mismatch(
                    f"memory of tile {tile}, word {address}: expected "
                    f"{unpack(layout, want)}, got {unpack(layout, bits)}"
                )
        total += len(rows)
    return total


@cocotb.test()
async def random_programs(dut: Any) -> None:
    """Every program of the plan; the figures are left in ``SPU_RESULT``."""
    plan = Plan(**json.loads(os.environ["SPU_RANDOM"]))
    arch: Architecture = from_parameters(plan.arch)
    columns = range(arch.cols)
    port = CocotbPort(dut, arch, columns, columns)
    await port.reset()
    driver, golden, figures = Driver(port, arch), GoldenArray(Image(arch)), Figures()
    await driver.identify()
    start = time.monotonic()
    for seed in range(plan.first_seed, plan.first_seed + plan.count):
        try:
            await one_program(
                driver, golden, seed, plan.focus, plan.stall_share * (seed % 2), figures
            )
        except (Mismatch, RuntimeError) as error:
            replay = json.dumps(asdict(plan) | {"first_seed": seed, "count": 1})
            raise Mismatch(
                f"{arch.name}, seed {seed}: {error}; replay: "
                f"python -m verif.random_programs '{replay}'"
            ) from None
    figures.seconds = time.monotonic() - start
    figures.clock_cycles = int(cocotb.utils.get_sim_time("ns")) // 10
    Path(os.environ["SPU_RESULT"]).write_text(json.dumps(asdict(figures)))
