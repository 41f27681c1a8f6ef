"""The engine that runs programs on the golden chip: from memory, by a doorbell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.arch.chip import Chip, chip_of
from spu.arch.config import Space
from spu.arch.external import ExternalMemory
from spu.arch.memory import Fault, Kind
from spu.engine.array import Cycles, Engine, Run, check_cycles
from spu.engine.chip_program import ChipProgram
from spu.engine.errors import RunError
from spu.model.array import GoldenArray
from spu.model.chip.chip import GoldenChip
from spu.model.words import Stream

#: Runs that one doorbell begins; their words are in memory together.
MOST_RUNS = 64


@dataclass
class ChipEngine(Engine):
    """The golden chip: programs and words come from memory, results go there.

    ``cycles`` are those from doorbells to interrupts, loading included; ``runs`` are doorbells.
    ``latency_cycles``, ``bytes_per_cycle``: of the memory, see ``ExternalMemory``.  ``moved_bytes``
    are beats on the bus, ``idle_cycles`` those in which neither a region works nor memory moves,
    ``array_cycles`` those that the array executes.
    """

    latency_cycles: int = 100
    bytes_per_cycle: int = 32
    moved_bytes: int = 0
    idle_cycles: int = 0
    array_cycles: int = 0
    chip: Chip = field(init=False)
    loads: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.chip = chip_of(self.arch)

    def totals(self) -> dict[str, int]:
        """Cycles of the array, cycles in which nothing moved, bytes that moved, of all runs."""
        return {
            "array_cycles": self.array_cycles,
            "idle_cycles": self.idle_cycles,
            "moved_bytes": self.moved_bytes,
        }

    def run(
        self,
        image: Image,
        inputs: Mapping[int, Stream],
        iterations: int,
        cycles: Cycles,
        alike: bool,
    ) -> dict[int, Stream]:
        """``Engine.run``, by a doorbell of its own.

        Raises ``RunError`` where the chip does not take the cycles that were predicted of the
        array, or leaves other words than the golden array.
        """
        return self.run_each([Run(image, inputs, iterations, cycles, alike)])[0]

    def run_each(self, runs: Sequence[Run]) -> list[dict[int, Stream]]:
        """``Engine.run_each``, ``MOST_RUNS`` a doorbell; raises as ``run``."""
        found: list[dict[int, Stream]] = []
        for first in range(0, len(runs), MOST_RUNS):
            found += self._together(runs[first : first + MOST_RUNS])
        return found

    def _together(self, runs: Sequence[Run]) -> list[dict[int, Stream]]:
        program, wanted = ChipProgram(self.chip), []
        places: list[tuple[int, bytes]] = []
        before: bytes | None = None
        for one in runs:
            result = GoldenArray(one.image).run(one.inputs, one.iterations, keep_links=False)
            check_cycles(result.cycles, one.cycles(one.iterations))
            wanted.append(result.outputs)
            content = bitstream.encode(one.image)
            # Data memories begin as the file has them, whatever the run before left there.
            fresh = any(place[0] is Space.MEMORY for place in one.image.rows)
            if fresh or content != before:
                program.load(content)
                before = content
            for column, words in one.inputs.items():
                program.read(column, words)
            for column, words in wanted[-1].items():
                if words:
                    places.append((program.write(column, words), program.bytes_of(words)))
            for region in range(self.arch.region_count):
                program.ask(Kind.RUN, region, rounds=one.iterations)
        program.finish(len(runs))
        self._ring(program, places, sum(one.cycles(one.iterations) for one in runs))
        return wanted

    def _ring(
        self, program: ChipProgram, places: Sequence[tuple[int, bytes]], predicted: int
    ) -> None:
        """Ring the doorbell; check cycles and words."""
        beat = self.chip.memory.beat_bytes
        content = program.memory + bytes(-len(program.memory) % beat)
        memory = ExternalMemory(
            len(content), latency_cycles=self.latency_cycles, bytes_per_cycle=self.bytes_per_cycle
        )
        chip = GoldenChip(self.chip, memory, content)
        chip.set_ring(program.base, program.size)
        outcome = chip.run(program.doorbell)
        if outcome.fault is not Fault.NONE:
            raise RunError(f"the chip stopped at descriptor {outcome.descriptor}: {outcome.fault}")
        check_cycles(max(outcome.active_cycles), predicted)
        for at, words in places:
            if content[at : at + len(words)] != words:
                raise RunError(f"the chip left other words than the array at {at:#x}")
        self.cycles += outcome.cycles
        self.runs += 1
        self.moved_bytes += outcome.moved_bytes
        self.idle_cycles += outcome.idle_cycles
        self.array_cycles += max(outcome.active_cycles)
        self.tiles.update(chip.array.tile_saturated)
