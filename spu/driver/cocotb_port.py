"""The driver's port in a cocotb simulation."""

import logging
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from spu.arch.params import Architecture
from spu.driver import Port, Refused
from spu.driver.port import Words

CLOCK_NS = 10
#: Cycles between two looks at a register that must change.
POLL_CYCLES = 20


class CocotbPort(Port):
    """Bus drivers of one array; only the streams that are ``used`` get one.

    ``wait_cycles``: cycles that pass between two looks at a register.
    """

    def __init__(
        self,
        dut: Any,
        arch: Architecture,
        inputs: Collection[int] = (),
        outputs: Collection[int] = (),
        wait_cycles: int = POLL_CYCLES,
    ) -> None:
        self.dut, self.arch, self.wait_cycles = dut, arch, wait_cycles
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.loader = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis_load"), dut.clk, dut.rst, byte_lanes=4
        )
        # One lane: a word is an integer to the bus models, not eight or sixteen bytes.
        self.sources = {
            c: AxiStreamSource(
                AxiStreamBus.from_prefix(dut, f"s_axis_{c}"), dut.clk, dut.rst, byte_lanes=1
            )
            for c in inputs
        }
        self.sinks = {
            c: AxiStreamSink(
                AxiStreamBus.from_prefix(dut, f"m_axis_{c}"), dut.clk, dut.rst, byte_lanes=1
            )
            for c in outputs
        }
        for bus in (
            self.lite.write_if,
            self.lite.read_if,
            self.loader,
            *self.sources.values(),
            *self.sinks.values(),
        ):
            bus.log.setLevel(logging.WARNING)  # else every word is a line
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

    def stall(self, share: float, seed: int) -> None:
        """Pause each end of each stream in this share of the cycles, or never again."""
        for i, stream in enumerate((*self.sources.values(), *self.sinks.values())):
            if share:
                stream.set_pause_generator(_pauses(seed + i, share))
            else:
                stream.clear_pause_generator()
                stream.pause = False

    async def read(self, address: int) -> int:
        answer = await self.lite.read(address, 4)
        if answer.resp != AxiResp.OKAY:
            raise Refused(f"read of {address:#x} was answered {answer.resp.name}")
        return int.from_bytes(answer.data, "little")

    async def write(self, address: int, value: int) -> None:
        answer = await self.lite.write(address, value.to_bytes(4, "little"))
        if answer.resp != AxiResp.OKAY:
            raise Refused(f"write to {address:#x} was answered {answer.resp.name}")

    async def load(self, content: bytes) -> None:
        await self.loader.send(AxiStreamFrame(content))
        await self.loader.wait()

    async def send(self, column: int, words: Words) -> None:
        # One frame, so that a word can go out in every cycle.
        if words:
            self.sources[column].send_nowait(
                AxiStreamFrame([data for data, _ in words], tuser=[bias for _, bias in words])
            )

    async def receive(self, column: int) -> list[tuple[int, int]]:
        sink, out = self.sinks.get(column), []
        while sink is not None and not sink.empty():
            frame = sink.recv_nowait()
            assert len(frame) == 1, f"a frame of {len(frame)} words left column {column}"
            out.append((frame.tdata[0], frame.tuser))
        return out

    async def wait(self) -> None:
        await ClockCycles(self.dut.clk, self.wait_cycles)


def _pauses(seed: int, share: float) -> Iterator[bool]:
    """Endless random pauses: stretches of 1 to 63 cycles, paused with probability ``share``."""
    rng = np.random.default_rng(seed)
    while True:
        yield from [bool(rng.random() < share)] * int(rng.integers(1, 64))
