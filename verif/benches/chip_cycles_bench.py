"""cocotb testbench: a chip and its memory do what the golden chip does, in as many cycles.

``SPU_CHIP`` is a ``Plan``: random programs of the array, some a doorbell.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from spu.arch.chip import Chip, chip_of
from spu.arch.engine_map import (
    CAUSE_FAULT,
    CAUSE_NOTIFY,
    STATUS_DESCRIPTOR_SHIFT,
    STATUS_FAULT_SHIFT,
    engine_map,
)
from spu.arch.external import ExternalMemory
from spu.arch.params import from_parameters
from spu.engine.chip_program import ChipProgram
from spu.model.chip.chip import GoldenChip
from verif.stimulus.chip_programs import FAULTS, faulty_program, random_chip_case

#: Cycles without an interrupt after which a program is given up.
PATIENCE = 100_000


@dataclass
class Plan:
    """The chip of an array, its memory, and seeds of random programs, some a doorbell."""

    arch: dict
    memory: dict
    seeds: list[list[int]]


def _bench(dut: Any) -> tuple[Plan, Chip, ExternalMemory, "_Host"]:
    """What is tested, in reset."""
    plan = Plan(**json.loads(os.environ["SPU_CHIP"]))
    dut.rst.value = 1
    dut.load.value = dut.load_beat.value = dut.peek_beat.value = 0
    Clock(dut.clk, 10, "ns").start()
    host = _Host(dut)
    cocotb.start_soon(host.count())
    return plan, chip_of(from_parameters(plan.arch)), ExternalMemory(**plan.memory), host


class _Host:
    """The registers of the chip, and what its pins show of time."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.cycle = 0
        self.map = engine_map()

    async def count(self) -> None:
        while True:
            await RisingEdge(self.dut.clk)
            self.cycle += 1

    async def write(self, name: str, value: int) -> None:
        answer = await self.lite.write(self.map[name], value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY, f"{name} := {value:#x}: {answer.resp.name}"

    async def read(self, name: str) -> int:
        return int.from_bytes((await self.lite.read(self.map[name], 4)).data, "little")

    async def ring(self, doorbell: int) -> int:
        """Write DOORBELL; cycles from that to the interrupt."""
        writing = cocotb.start_soon(self.write("DOORBELL", doorbell))
        written = None
        for _ in range(PATIENCE):
            await ReadOnly()
            if written is None and int(self.dut.s_axil_bvalid.value):
                written = self.cycle - 1  # a register is written in the cycle before its answer
            if int(self.dut.irq.value):
                assert written is not None
                await writing
                return self.cycle - written
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"no interrupt; status {await self.read('ENGINE_STATUS'):#x}")


async def _load(dut: Any, content: bytes, beat: int) -> None:
    dut.load.value = 1
    for n in range(len(content) // beat):
        dut.load_beat.value = n
        dut.load_data.value = int.from_bytes(content[n * beat : (n + 1) * beat], "little")
        await RisingEdge(dut.clk)
    dut.load.value = 0


async def _content(dut: Any, size: int, beat: int) -> bytes:
    found = []
    for n in range(size // beat):
        dut.peek_beat.value = n
        await RisingEdge(dut.clk)
        found.append(int(dut.peek_data.value).to_bytes(beat, "little"))
    return b"".join(found)


def _first_difference(a: bytes, b: bytes) -> str:
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)
    return "none" if at is None else f"{at:#x}: {a[at : at + 16].hex()} {b[at : at + 16].hex()}"


async def _begin(
    dut: Any, host: _Host, program: ChipProgram, memory: ExternalMemory, limit: int
) -> GoldenChip:
    """Both from reset on, with the program in memory."""
    chip, content = program.chip, bytes(program.memory).ljust(memory.size_bytes, b"\0")
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    await _load(dut, content, chip.memory.beat_bytes)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2 * chip.arch.memory_words + 4)  # data memories are cleared
    golden = GoldenChip(chip, memory, bytearray(content), limit)
    golden.set_ring(program.base, program.size)
    for name, value in (
        ("RING_BASE_LOW", program.base),
        ("RING_SIZE", program.size),
        ("LIMIT_LOW", limit),
        ("INTERRUPT_ENABLE", CAUSE_NOTIFY | CAUSE_FAULT),
    ):
        await host.write(name, value)
    return golden


async def _check_memory(dut: Any, golden: GoldenChip) -> None:
    wanted = bytes(golden.memory.content)
    found = await _content(dut, len(wanted), golden.chip.memory.beat_bytes)
    assert found == wanted, _first_difference(found, wanted)


@cocotb.test()
async def a_chip_is_the_golden_chip(dut: Any) -> None:
    plan, chip, memory, host = _bench(dut)
    for seeds in plan.seeds:
        case = random_chip_case(chip, seeds)
        golden = await _begin(dut, host, case.program, memory, memory.size_bytes)
        expected = golden.run(case.program.doorbell, PATIENCE)
        assert case.written(golden.memory.content)
        assert expected.value == len(seeds)
        cycles = await host.ring(case.program.doorbell)
        assert (cycles, await host.read("NOTIFIED")) == (expected.cycles, expected.value)
        await _check_memory(dut, golden)
        dut._log.info("%s: %s", seeds, expected)


@cocotb.test()
async def faults_are_those_of_the_golden_chip(dut: Any) -> None:
    """With the descriptor that they name, and memory as it is left."""
    _, chip, memory, host = _bench(dut)
    for what, fault in FAULTS.items():
        program, limit, wrong = faulty_program(chip, what, memory.size_bytes)
        golden = await _begin(dut, host, program, memory, limit)
        expected = golden.run(program.doorbell, PATIENCE)
        assert (expected.fault, expected.descriptor) == (fault, wrong), what
        await host.ring(program.doorbell)
        status = await host.read("ENGINE_STATUS")
        found = status >> STATUS_FAULT_SHIFT & 0xFF, status >> STATUS_DESCRIPTOR_SHIFT
        assert found == (fault.value, wrong), what
        await _check_memory(dut, golden)
