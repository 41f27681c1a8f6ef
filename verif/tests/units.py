"""Run one arithmetic unit in a simulator on arrays of vectors."""

from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from rtl import emit, simulator
from verif.rtl_engine import BUILD


def check_unit(unit: wiring.Component, inputs: dict[str, Any], expected: dict[str, Any],
               work: Path, checked: Any = None, waves: bool = False) -> int:
    """Drive ``unit`` with one value of each input a cycle; every output must be as expected.

    Values are integers as wide as the ports, negative ones in two's complement.
    ``checked`` marks the vectors whose outputs count.  Returns the number of vectors
    compared; raises ``SimulationError`` with the first differences.
    """
    count = len(next(iter(inputs.values())))
    checked = np.ones(count, bool) if checked is None else np.asarray(checked)
    work.mkdir(parents=True, exist_ok=True)
    arrays = {f"in_{k}": np.array([int(x) for x in v], object) for k, v in inputs.items()}
    arrays |= {f"out_{k}": np.array([int(x) for x in v], object) for k, v in expected.items()}
    np.savez(work / "job.npz", allow_pickle=True, latency=unit.latency, checked=checked, **arrays)
    build = simulator.build(emit.verilog({"unit": unit}), "unit", BUILD / "sim-cache",
                            waves=waves)
    build.run("verif.unit_bench", work, expected=1,
              environment={"UNIT_JOB": str((work / "job.npz").resolve())})
    return int(checked.sum())


def join(values: np.ndarray, bits: int) -> list[int]:
    """Join the last axis into one integer each, element 0 in the least bits."""
    raw = np.asarray(values).astype(object)
    total = raw[..., 0] * 0
    for i in range(raw.shape[-1]):
        total = total + (raw[..., i] << (bits * i))
    return list(total)


def unsigned(values: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of signed values."""
    return np.asarray(values).astype(np.int64) & ((1 << bits) - 1)
