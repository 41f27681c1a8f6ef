"""Areas of PAL's units and their peers, all cut by the search of ``verif.area.lean``."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from verif.area import lean
from verif.area.edges import at_edge
from verif.area.netlists import cells, checked_area

#: Called with what is done and the share of work done, 0 to 1.
Progress = Callable[[str, float], None]


def smallest(family: str, floor_db: float, path: Path | None = None) -> dict:
    """The smallest unit of a family whose dot products reach a SQNR.

    Every unit that the search leaves is synthesised and its netlist simulated against the
    unit's model.  Decoders that stand at an array's edge count as ``at_edge`` has them.
    Raises ``WrongNetlist``.
    """
    found = []
    cut = lean.FAMILIES[family]
    for setting in lean.cheapest(cut, floor_db):
        unit = cut.make(setting)
        area = checked_area(unit, path)
        if cut.decoded:
            area = at_edge(area, checked_area(cut.decoded(setting), path))
        found.append(
            {
                "family": family,
                "unit": unit.name,
                "ge_per_lane": area / unit.lanes,
                "dot_sqnr_db": lean.sqnr(family, setting),
                "uncut_dot_sqnr_db": lean.sqnr(family, cut.uncut),
            }
        )
    return {**min(found, key=lambda point: point["ge_per_lane"]), "synthesised": len(found)}


def _rows(pool: Executor, path: Path | None, progress: Progress) -> list[dict]:
    """A row a pair of families: both cut to equal loss, and to equal SQNR."""
    jobs: dict[tuple[str, float], Future[dict]] = {}

    def point(family: str, floor_db: float) -> Future[dict]:
        key = family, round(floor_db, 6) - 1e-6
        if key not in jobs:
            jobs[key] = pool.submit(smallest, *key, path)
        return jobs[key]

    def equal_sqnr(first: list[dict]) -> list[Future[dict]]:
        floor = min(p["dot_sqnr_db"] for p in first)
        return [point(p["family"], floor) for p in first]

    floors = [lean.floors(pair) for pair in lean.PAIRS]
    waiting = [
        [point(name, floor[name]) for name in (pair.pal, pair.peer)]
        for pair, floor in zip(lean.PAIRS, floors, strict=True)
    ]
    loss = [[job.result() for job in both] for both in waiting]
    progress("lean units at equal loss", 0.5)
    even = [equal_sqnr(both) for both in loss]
    rows = []
    for pair, floor, first, second in zip(lean.PAIRS, floors, loss, even, strict=True):
        cut = [job.result() for job in second]
        rows.append(
            {
                "pal": pair.pal,
                "peer": pair.peer,
                "limit": pair.limit,
                "loss_db": floor["loss"],
                "equal_loss": first,
                "equal_sqnr": cut,
            }
        )
    progress("lean units at equal SQNR", 1.0)
    return rows


def study(path: Path | None = None, progress: Progress = lambda *_: None) -> dict:
    """The comparison as JSON holds it.  Raises ``LibraryError`` before any work."""
    library = cells(path)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        rows = _rows(pool, path, progress)
    return {"command": "make area", "library": library.name, "rows": rows}
