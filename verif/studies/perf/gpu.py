"""Errors of the predicted times of products on GPUs, of pairs (n, k) that no constant saw."""

import tomllib
from typing import Any

from perf.stacks import PATH, stack
from verif.studies.perf import measured
from verif.studies.perf.fit import SHAPES, mape
from verif.studies.perf.measured import System


def rows() -> list[dict[str, Any]]:
    """Rows of all systems: the constants of ``perf/stacks.toml`` on the half of the pairs that they
    were not fitted on, and on the other; errors in percent.

    Without the measurements the first of the two, as it was found when the constants were fitted;
    ``recorded`` says which.
    """
    if not (file := measured.path()):
        return recorded()
    data = measured.read(file)
    found = []
    for system in SHAPES:
        fold = data[system].fold(2)
        for held_out in (True, False):
            half = data[system][fold == int(held_out)]
            error = mape(stack(system[0], system[2], system[1]), half)
            found.append(_row(system, len(half), half.pairs(), error, held_out))
    return found


def recorded() -> list[dict[str, Any]]:
    """Rows of what the fit wrote beside its constants."""
    found = []
    for each in tomllib.loads(PATH.read_text())["stack"]:
        system, held = (each["device"], each["framework"], each["dtype"]), each["held_out"]
        found.append(_row(system, held["points"], held["pairs"], held["mape"], True, kept=True))
    return found


def _row(
    system: System, points: int, pairs: int, error: float, held_out: bool, kept: bool = False
) -> dict[str, Any]:
    device, framework, dtype = system
    return {
        "device": device,
        "framework": framework,
        "dtype": dtype,
        "points": points,
        "pairs": pairs,
        "mape": round(error, 3),
        "held_out": held_out,
        "recorded": kept,
    }
