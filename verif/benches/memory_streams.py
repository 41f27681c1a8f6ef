"""What the benches of the memory engine share: streams, and parameters from the environment."""

import json
import os
import random
from typing import Any

import cocotb
from amaranth.lib import data
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from spu.arch.memory import Fault, MemoryEngine
from spu.rtl.memory import layouts
from verif.benches.axi_memory import pauses, watch_offers

#: Cycles that a bench waits for what must come.
PATIENCE = 4000


def given_engine() -> MemoryEngine:
    """The engine of ``SPU_MEMORY``, its parameters as JSON."""
    return MemoryEngine(**json.loads(os.environ["SPU_MEMORY"]))


def bits(shape: data.Layout | int, value: Any) -> int:
    """A payload as its bits."""
    return int(shape.const(value).as_value().value) if isinstance(shape, data.Layout) else value


async def begin(dut: Any, **inputs: int) -> random.Random:
    """Reset; inputs that are not told are 0.  Returns the numbers that the test draws from."""
    for name, value in inputs.items():
        getattr(dut, name).value = value
    Clock(dut.clk, 10, "ns").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    return random.Random(cocotb.RANDOM_SEED)


class Source:
    """Feeds the input stream ``name``; ``share`` of the cycles it pauses."""

    def __init__(self, dut: Any, name: str, shape: Any, rng: random.Random, share: float) -> None:
        self.dut, self.shape = dut, shape
        self.valid, self.ready, self.payload = (
            getattr(dut, f"{name}__{part}") for part in ("valid", "ready", "payload")
        )
        self.valid.value = 0
        self.pauses = pauses(random.Random(rng.random()), share)

    async def put(self, value: Any) -> None:
        """Offer a payload until it is taken."""
        while next(self.pauses):
            await RisingEdge(self.dut.clk)
        self.payload.value = bits(self.shape, value)
        self.valid.value = 1
        for _ in range(PATIENCE):
            await RisingEdge(self.dut.clk)
            if int(self.ready.value):
                self.valid.value = 0
                return
        raise AssertionError(f"{self.valid._name}: not taken")


class Sink:
    """Takes the output stream ``name``; ``share`` of the cycles it pauses."""

    def __init__(self, dut: Any, name: str, shape: Any, rng: random.Random, share: float) -> None:
        self.dut, self.shape = dut, shape
        self.valid, self.ready, self.payload = (
            getattr(dut, f"{name}__{part}") for part in ("valid", "ready", "payload")
        )
        self.ready.value = 0
        self.pauses = pauses(random.Random(rng.random()), share)
        self.watching = cocotb.start_soon(
            watch_offers(dut, f"{name}__valid", f"{name}__ready", [f"{name}__payload"])
        )

    async def get(self) -> Any:
        """The next payload."""
        for _ in range(PATIENCE):
            taking = not next(self.pauses)
            self.ready.value = taking
            await RisingEdge(self.dut.clk)
            if taking and int(self.valid.value):
                self.ready.value = 0
                value = int(self.payload.value)
                return self.shape.from_bits(value) if isinstance(self.shape, data.Layout) else value
        raise AssertionError(f"{self.valid._name}: nothing comes")


async def until_idle(dut: Any) -> None:
    """Wait until ``busy`` falls."""
    for _ in range(PATIENCE):
        await RisingEdge(dut.clk)
        if not int(dut.busy.value):
            return
    raise AssertionError("busy for ever")


def fault_of(dut: Any) -> tuple[Fault, int] | None:
    """The fault that a channel shows, with its tag."""
    shown = layouts.TAGGED_FAULT.from_bits(int(dut.fault.value))
    return (Fault(shown.fault), shown.tag) if shown.fault else None


async def until_fault(dut: Any) -> tuple[Fault, int]:
    """Wait for a fault."""
    for _ in range(PATIENCE):
        await RisingEdge(dut.clk)
        if found := fault_of(dut):
            return found
    raise AssertionError("no fault")
