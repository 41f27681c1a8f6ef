"""cocotb testbench: at its streams, loader and runs the array is its model in every cycle.

``SPU_RANDOM`` is a ``random_bench.Plan``: random programs, one after the other, some with streams
that pause.
"""

import json
import os
from typing import Any, NamedTuple

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from spu.arch import bitstream
from spu.arch.params import Architecture, from_parameters
from spu.driver import Driver
from spu.driver.cocotb_port import CocotbPort
from spu.model.array import GoldenArray
from spu.model.chip.array import ArrayModel
from verif.benches.random_bench import Plan
from verif.stimulus.programs import random_case

#: From START to the cycle in which an idle region runs.
START_CYCLES = 2


class _Seen(NamedTuple):
    """A cycle as its pins show it."""

    north: list[tuple[int, int] | None]
    south_ready: list[bool]
    load: int | None
    running: int
    step: int
    north_ready: list[bool]
    south: list[tuple[int, int] | None]
    load_ready: bool


class _Recorder:
    """Keeps every cycle."""

    def __init__(self, dut: Any, arch: Architecture) -> None:
        self.dut, self.arch = dut, arch
        self.seen: list[_Seen] = []

    def _flag(self, name: str) -> bool:
        return bool(int(getattr(self.dut, name).value))

    def _stream(self, name: str) -> tuple[int, int] | None:
        if not self._flag(f"{name}_tvalid"):
            return None
        data, bias = (int(getattr(self.dut, f"{name}_{part}").value) for part in ("tdata", "tuser"))
        return data, bias

    async def watch(self) -> None:
        dut, columns = self.dut, range(self.arch.cols)
        while True:
            await RisingEdge(dut.clk)
            loads = self._flag("s_axis_load_tvalid")
            self.seen.append(
                _Seen(
                    [self._stream(f"s_axis_{c}") for c in columns],
                    [self._flag(f"m_axis_{c}_tready") for c in columns],
                    int(dut.s_axis_load_tdata.value) if loads else None,
                    int(dut.region_running.value),
                    int(dut.region_step.value),
                    [self._flag(f"s_axis_{c}_tready") for c in columns],
                    [self._stream(f"m_axis_{c}") for c in columns],
                    self._flag("s_axis_load_tready"),
                )
            )

    def starts(self, cycle: int) -> set[int]:
        """Regions that START was written for, as their runs tell."""
        if cycle + START_CYCLES >= len(self.seen):
            return set()
        before, after = (self.seen[cycle + n].running for n in (START_CYCLES - 1, START_CYCLES))
        return {r for r in range(self.arch.region_count) if after & ~before & 1 << r}


def _replay(recorder: _Recorder, rounds: list[tuple[int, ...]]) -> ArrayModel:
    """The model with what the pins brought; raises ``AssertionError`` where it differs."""
    arch, model = recorder.arch, ArrayModel(recorder.arch)
    columns, regions = range(arch.cols), range(arch.region_count)
    turns = [0] * arch.region_count
    for cycle, seen in enumerate(recorder.seen):
        assert seen.running == sum(model.running(r) << r for r in regions), cycle
        assert seen.step == sum(model.executes(r) << r for r in regions), cycle
        assert seen.north_ready == [model.north_ready(c) for c in columns], cycle
        assert seen.south == [model.south(c) for c in columns], cycle
        assert seen.load_ready == model.loader.ready, cycle
        start = {}
        for region in recorder.starts(cycle):
            start[region] = rounds[turns[region]][region]
            turns[region] += 1
        model.tick(seen.north, seen.south_ready, seen.load, start)
    assert turns == [len(rounds)] * arch.region_count
    return model


@cocotb.test()
async def the_array_is_its_model_in_every_cycle(dut: Any) -> None:
    plan = Plan(**json.loads(os.environ["SPU_RANDOM"]))
    arch = from_parameters(plan.arch)
    port = CocotbPort(dut, arch, range(arch.cols), range(arch.cols))
    await port.reset()
    driver = Driver(port, arch)
    await driver.identify()
    await ClockCycles(dut.clk, 2 * arch.memory_words)  # memories are cleared
    recorder = _Recorder(dut, arch)
    cocotb.start_soon(recorder.watch())
    rounds = []
    for seed in range(plan.first_seed, plan.first_seed + plan.count):
        case = random_case(arch, seed, plan.focus)
        content = bitstream.encode(case.image)
        golden = GoldenArray(bitstream.decode(content, arch).image)
        expected = golden.run(case.inputs, case.rounds, keep_links=False)
        words = {c: len(stream) for c, stream in expected.outputs.items()}
        port.stall(0, 0)
        await driver.load_file(content)
        port.stall(plan.stall_share * (seed % 2), seed)
        await driver.run(case.inputs, dict(enumerate(case.rounds)), words)
        rounds.append(tuple(case.rounds))
    await ClockCycles(dut.clk, 4)
    model = _replay(recorder, rounds)
    assert min(model.active) > plan.count
    dut._log.info("%d cycles, executed %s", model.cycle, model.active)
