"""Kernels in RTL."""

from pathlib import Path

from compiler.map.loop.kernels import check, random_inputs, streams
from compiler.map.loop.mapper import Mapped
from spu.arch.operations import IN
from spu.engine.rtl_run import build_rtl, run_same


def check_rtl(
    mapped: Mapped, iterations: int, work: Path, seed: int = 0, stall_share: float = 0.0
) -> int:
    """``check``, then the same in RTL: every word, every link, every cycle; returns the cycles.

    Raises ``SimulationError`` for a difference.
    """
    golden = check(mapped, iterations, seed)
    run_same(
        build_rtl(mapped.arch, "verilator"),
        mapped.arch,
        mapped.content,
        golden,
        streams(mapped, random_inputs(mapped, iterations, seed), IN),
        iterations,
        work,
        stall_share,
        seed,
    )
    return golden.cycles
