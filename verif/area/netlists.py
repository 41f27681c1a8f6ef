"""Cells of a library, and netlists of units held against the units' models."""

from functools import cache
from pathlib import Path
from typing import Any

from rtl import liberty
from rtl.activity import Simulator
from rtl.liberty import Library
from rtl.synthesis import synthesise
from verif.area.accuracy import accumulators
from verif.area.streams import gaussian, port_values
from verif.area.units import Unit


class WrongNetlist(RuntimeError):
    """A mapped netlist does not compute what the unit's model says."""


@cache
def cells(path: Path | None) -> Library:
    """A Liberty file's library, or that without a process.  Raises ``LibraryError``."""
    return liberty.read(path) if path else liberty.neutral()


def check(unit: Unit, results: list[int], width: int, a: Any, b: Any) -> None:
    """Raise ``WrongNetlist`` unless the results of each cycle are those of the unit's model."""
    if unit.products is None or unit.accumulator == "float32":
        return
    total, _ = accumulators(unit, a, b)
    slices = a.shape[1] // unit.lanes
    got = [v - (v >> (width - 1) << width) for v in results[slices::slices]]
    if got != total.ravel()[:-1].tolist():
        raise WrongNetlist(f"the netlist of {unit.name} does not compute its dot products")


def checked_area(unit: Unit, path: Path | None = None) -> float:
    """Gate equivalents of a unit whose netlist gives the model's dot products.

    Raises ``WrongNetlist``.
    """
    component = unit.make()
    netlist = synthesise(component, cells(path))
    stream = gaussian()
    activity = Simulator(netlist).run(port_values(unit, component, *stream))
    check(unit, activity.outputs["result"], len(component.result), *stream)
    return netlist.gate_equivalents
