"""The ring of a memory engine, seen from the host."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from spu.arch import engine_map
from spu.arch.memory import SEQUENCE_BITS, Fault, MemoryEngine


class Registers(Protocol):
    """Where registers are, by byte address; raises ``Refused`` as ``Port`` does."""

    async def read(self, address: int) -> int:
        """Read a register."""

    async def write(self, address: int, value: int) -> None:
        """Write a register."""


@dataclass(frozen=True)
class EngineState:
    """What an engine says: busy, and a fault with the number of its descriptor."""

    busy: bool
    fault: Fault
    descriptor: int


class Ring:
    """Descriptors into the ring of an engine.

    ``memory`` is what the engine reads, ``base`` where the ring lies in it, ``size`` log2 of its
    places.
    """

    def __init__(
        self, registers: Registers, engine: MemoryEngine, memory: bytearray, base: int, size: int
    ) -> None:
        self.registers, self.engine, self.memory = registers, engine, memory
        self.base, self.size, self.end = base, size, 0
        self.map = engine_map.engine_map()

    async def read(self, name: str) -> int:
        """Register of the engine by name."""
        return await self.registers.read(self.map[name])

    async def write(self, name: str, value: int) -> None:
        """Write a register of the engine by name."""
        await self.registers.write(self.map[name], value)

    async def begin(self) -> None:
        """Tell the engine where ring and memory are, enable both causes of its interrupt."""
        for name, value in (("RING_BASE", self.base), ("LIMIT", len(self.memory))):
            await self.write(f"{name}_LOW", value & 0xFFFF_FFFF)
            await self.write(f"{name}_HIGH", value >> 32)
        await self.write("RING_SIZE", self.size)
        await self.write("INTERRUPT_ENABLE", engine_map.CAUSE_NOTIFY | engine_map.CAUSE_FAULT)
        self.end = await self.read("DOORBELL")

    def put(self, descriptors: Iterable[bytes]) -> int:
        """Write descriptors into the places that follow; the number of the first one.

        Nothing is announced yet; whether the places are free the caller knows.
        """
        first, places = self.end, 1 << self.size
        for descriptor in descriptors:
            at = self.base + self.end % places * self.engine.descriptor_bytes
            self.memory[at : at + len(descriptor)] = descriptor
            self.end = (self.end + 1) % (1 << SEQUENCE_BITS)
        return first

    async def ring(self) -> None:
        """Announce what was put: the doorbell."""
        await self.write("DOORBELL", self.end)

    async def state(self) -> EngineState:
        """What the engine says of itself."""
        status = await self.read("ENGINE_STATUS")
        fault = Fault(status >> engine_map.STATUS_FAULT_SHIFT & 0xFF)
        busy = bool(status & engine_map.STATUS_BUSY)
        return EngineState(busy, fault, status >> engine_map.STATUS_DESCRIPTOR_SHIFT)

    async def causes(self) -> int:
        """The causes of the interrupt; they are cleared."""
        causes = await self.read("INTERRUPT_CAUSE")
        await self.write("INTERRUPT_CAUSE", causes)
        return causes

    async def clear(self) -> None:
        """Forget the fault, and what was announced and not handed out."""
        await self.write("ENGINE_CONTROL", engine_map.CONTROL_CLEAR)
        self.end = await self.read("DOORBELL")

    async def stop(self) -> None:
        """Stop the engine, as a fault does."""
        await self.write("ENGINE_CONTROL", engine_map.CONTROL_STOP)
