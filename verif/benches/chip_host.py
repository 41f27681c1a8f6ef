"""A host of a chip in a cocotb simulation: memory, the ring, and a matrix product for it."""

import logging
import random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from compiler.map.product.gemm import gemm
from spu.arch.bitstream import encode
from spu.arch.chip import Chip
from spu.arch.memory import Kind, encode_descriptor
from spu.driver import Driver, Refused
from spu.driver.golden_port import GoldenPort
from spu.driver.ring import Ring
from spu.engine.streams import expected_words, input_streams
from verif.benches.axi_memory import AxiMemory
from verif.benches.gemm_bench import operands

#: Bytes of memory; where the ring, program files, inputs and outputs begin.
MEMORY, RING, FILES, INPUTS, OUTPUTS = 1 << 17, 0x1000, 0x2000, 0x10000, 0x18000
#: log2 of the places of the ring.
RING_SIZE = 4
#: Cycles that a bench waits for an interrupt.
PATIENCE = 40_000


class ChipHost:
    """Memory and registers of a chip; ``share`` of the cycles the memory's channels pause."""

    def __init__(self, dut: Any, chip: Chip, rng: random.Random, share: float) -> None:
        self.dut, self.chip, self.engine = dut, chip, chip.memory
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        for bus in (self.lite.write_if, self.lite.read_if):
            bus.log.setLevel(logging.WARNING)
        self.content = bytearray(MEMORY)
        self.memory = AxiMemory(dut, self.content, rng, share, "m_axi")
        self.ring = Ring(self, self.engine, self.content, RING, RING_SIZE)

    async def begin(self) -> None:
        """Reset the chip, and tell it of ring and memory."""
        Clock(self.dut.clk, 10, "ns").start()
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.dut.rst.value = 0
        self.memory.begin_reads()
        self.memory.begin_writes()
        await ClockCycles(self.dut.clk, 2)
        await self.ring.begin()

    async def read(self, address: int) -> int:
        """Read a register."""
        answer = await self.lite.read(address, 4)
        if answer.resp != AxiResp.OKAY:
            raise Refused(f"read of {address:#x}")
        return int.from_bytes(answer.data, "little")

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        answer = await self.lite.write(address, value.to_bytes(4, "little"))
        if answer.resp != AxiResp.OKAY:
            raise Refused(f"write to {address:#x}")

    async def interrupt(self) -> int:
        """Wait for the interrupt; the causes, which are cleared."""
        for _ in range(PATIENCE):
            await RisingEdge(self.dut.clk)
            if int(self.dut.irq.value):
                return await self.ring.causes()
        raise AssertionError(f"no interrupt; {await self.ring.state()}")

    def describe(self, kind: Kind, **fields: Any) -> bytes:
        """A descriptor of this chip."""
        return encode_descriptor(self.engine, kind, fields)

    def line(self, at: int, words: int, log_bytes: int) -> dict[str, Any]:
        """A pattern of words of ``2^log_bytes`` bytes one after the other."""
        step = 1 << log_bytes
        narrow = self.engine.word_bytes.bit_length() - 1 - log_bytes
        loops = [{"count_less_1": words - 1, "stride": step}]
        return {"base": at, "size": log_bytes, "loops": loops, "narrow": narrow}


class Product:
    """A matrix product of a chip: what lies in memory, what the ring says, what comes out."""

    def __init__(self, host: ChipHost, shape: tuple[int, int, int], files: int = FILES) -> None:
        self.host, chip = host, host.chip
        x, weight = operands(*shape)
        self.plan = gemm(chip.arch, weight, shape[0])
        assert self.plan.image is not None
        self.file = encode(self.plan.image)
        self.at = files
        self.inputs = input_streams(self.plan, x)
        self.counts = {c: n for c, n in expected_words(self.plan).items() if n}
        self.log_bytes = host.engine.word_bytes.bit_length() - 1
        self.places: dict[str, dict[int, int]] = {"in": {}, "out": {}}
        step = host.engine.word_bytes
        for name, at, counts in (
            ("in", INPUTS, {c: len(words) for c, words in self.inputs.items()}),
            ("out", OUTPUTS, self.counts),
        ):
            for c, count in counts.items():
                self.places[name][c] = at
                at += -(-count * step // 64) * 64 + 64

    def place(self) -> None:
        """Write file and inputs into memory."""
        content = self.host.content
        content[self.at : self.at + len(self.file)] = self.file
        for c, words in self.inputs.items():
            at = self.places["in"][c]
            image = self.image(words)
            content[at : at + len(image)] = image

    def image(self, words: Iterable[tuple[int, int]]) -> bytes:
        """Words of a stream as they lie in memory."""
        bits, step = self.host.chip.arch.data_bits, self.host.engine.word_bytes
        return b"".join((data | bias << bits).to_bytes(step, "little") for data, bias in words)

    def load(self) -> bytes:
        """The descriptor that loads the program."""
        pattern = self.host.line(self.at, len(self.file) // 4, 2)
        return self.host.describe(Kind.LOAD, pattern=pattern)

    def read(self, column: int) -> bytes:
        """The descriptor that feeds a column."""
        pattern = self.host.line(
            self.places["in"][column], len(self.inputs[column]), self.log_bytes
        )
        return self.host.describe(Kind.READ, target=column, pattern=pattern)

    def write(self, column: int) -> bytes:
        """The descriptor that writes what a column gives."""
        pattern = self.host.line(self.places["out"][column], self.counts[column], self.log_bytes)
        return self.host.describe(Kind.WRITE, target=column, pattern=pattern)

    def run(self) -> bytes:
        """The descriptor of the run."""
        return self.host.describe(Kind.RUN, rounds=self.plan.rounds)

    def streams(self) -> list[bytes]:
        """The descriptors of all columns."""
        return [*map(self.write, self.counts), *map(self.read, self.inputs)]

    def end(self, value: int = 0) -> list[bytes]:
        """Wait for the outputs, tell the host."""
        written = sum(1 << c for c in self.counts)
        return [
            self.host.describe(Kind.FENCE, write_channels=written, regions=1),
            self.host.describe(Kind.NOTIFY, value=value),
        ]

    def descriptors(self, value: int = 0) -> list[bytes]:
        """All of it."""
        return [self.load(), *self.streams(), self.run(), *self.end(value)]

    async def golden(self) -> Mapping[int, bytes]:
        """What the golden model of the array leaves in memory, by column."""
        driver = Driver(GoldenPort(self.host.chip.arch), self.host.chip.arch)
        assert self.plan.image is not None
        await driver.load(self.plan.image)
        outputs = await driver.run(self.inputs, {0: self.plan.rounds}, self.counts)
        return {c: self.image(outputs[c]) for c in self.counts}

    def outputs(self) -> dict[int, bytes]:
        """What is in memory where the outputs are to be, by column."""
        step = self.host.engine.word_bytes
        places = self.places["out"]
        return {
            c: bytes(self.host.content[places[c] : places[c] + n * step])
            for c, n in self.counts.items()
        }

    def spoil(self) -> None:
        """Overwrite where the outputs are to be."""
        for c, n in self.counts.items():
            at = self.places["out"][c]
            size = n * self.host.engine.word_bytes
            self.host.content[at : at + size] = np.full(size, 0xA5, np.uint8).tobytes()
