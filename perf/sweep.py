"""Many chips for one model, over cores."""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from perf.chips import WHOLE, Chip
from perf.events.chain import Simulation
from perf.events.jobs import Jobs, jobs_of
from perf.report import Report, report
from spu.arch.errors import UserError
from spu.arch.package.store import load

#: What is kept of a point.
RESULTS = ("cycles", "executed", "held_input", "held_output", "idle", "binds")
#: Points that a process takes at a time.
_CHUNK = 16
#: Points that may be asked for.
MOST = 1_000_000


def values(text: str) -> tuple[str, list[int | float]]:
    """``field=1,2,4`` or ``field=first:last:count``, both ends included.

    Raises ``UserError`` for what is neither.
    """
    name, found, listed = text.partition("=")
    try:
        if not found:
            raise ValueError
        if ":" not in listed:
            return name, [_number(each) for each in listed.split(",")]
        first, last, count = (_number(each) for each in listed.split(":"))
        if not isinstance(count, int) or count < 1:
            raise ValueError
        if count > MOST:
            raise UserError(f"--sweep {text}: more than {MOST} points")
        step = (last - first) / max(1, count - 1)
        points = [first + i * step for i in range(count)]
    except (ValueError, OverflowError):
        raise UserError(f"--sweep {text}: must be FIELD=1,2,4 or FIELD=FIRST:LAST:COUNT") from None
    if not all(math.isfinite(x) for x in points):
        raise UserError(f"--sweep {text}: must be finite numbers")
    return name, [round(x) if name in WHOLE else x for x in points]


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def points(swept: Sequence[tuple[str, Sequence[int | float]]]) -> list[dict[str, int | float]]:
    """All combinations; ``UserError`` for a field that is there twice, or for too many."""
    names = [name for name, _ in swept]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]} is swept twice")
    count = 1
    for _, listed in swept:
        count *= len(listed)
    if count > MOST:
        raise UserError(f"{count} points are more than {MOST}")
    return [
        dict(zip(names, each, strict=True)) for each in itertools.product(*(v for _, v in swept))
    ]


def results(found: Report) -> dict[str, Any]:
    """``RESULTS`` of a report."""
    total = found.total
    return {"cycles": found.cycles, "binds": total.binds} | {
        name: getattr(total, name) for name in RESULTS[1:-1]
    }


_jobs: Jobs | None = None


def _begin(directory: Path, vectors: int) -> None:
    global _jobs
    _jobs = jobs_of(load(directory), vectors)


def _point(chip: Chip) -> dict[str, Any]:
    assert _jobs is not None
    return results(report(Simulation(_jobs, chip)))


def sweep(
    directory: Path,
    vectors: int,
    chips: Sequence[Chip],
    cores: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[dict[str, Any]]:
    """``results`` of the model in a directory on each chip, in order.

    Scripts that call it need ``if __name__ == "__main__":``, as for all processes that are spawned.
    """
    cores = min(cores or os.cpu_count() or 1, -(-len(chips) // _CHUNK))
    if cores < 2:
        _begin(directory, vectors)
        for done, chip in enumerate(chips):
            yield _point(chip)
            progress(done + 1)
        return
    with ProcessPoolExecutor(cores, get_context("spawn"), _begin, (directory, vectors)) as pool:
        try:
            for done, found in enumerate(pool.map(_point, chips, chunksize=_CHUNK)):
                yield found
                progress(done + 1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
