"""The engine that runs programs in RTL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rtl.simulator import SHORT, Build
from spu.arch import bitstream
from spu.arch.bitstream import Image
from spu.engine.array import Cycles, Engine, check_cycles
from spu.engine.rtl_run import build_rtl, run_same
from spu.model.array import GoldenArray, Result
from spu.model.words import Stream


@dataclass
class RtlEngine(Engine):
    """The RTL, compared with the golden model in every word, link and cycle.

    ``sim``, ``effort``: of the simulator, see ``rtl.simulator.build``.
    """

    work: Path = field(default_factory=lambda: Path("build/tensors"))
    stall_share: float = 0.0
    effort: int = SHORT
    sim: str = "verilator"

    def prepare(self) -> None:
        """Build the simulator, which the first run does otherwise."""
        assert self._build

    @cached_property
    def _build(self) -> Build:
        return build_rtl(self.arch, self.sim, effort=self.effort)

    def run(
        self,
        image: Image,
        inputs: Mapping[int, Stream],
        iterations: int,
        cycles: Cycles,
        alike: bool,
    ) -> dict[int, Stream]:
        """``Engine.run`` in the simulator; the golden model runs beside it.

        Raises ``RunError`` for other cycles than were predicted, ``rtl.tools.SimulationError``
        where RTL and golden model differ, ``MissingTool`` without the simulator.
        """
        golden: Result = GoldenArray(image).run(inputs, iterations)
        check_cycles(golden.cycles, cycles(iterations))
        rtl = run_same(
            self._build,
            self.arch,
            bitstream.encode(image),
            golden,
            inputs,
            iterations,
            self.work,
            self.stall_share,
        )
        self.count(golden, golden.cycles)
        self.counters = rtl.counters
        return rtl.outputs
