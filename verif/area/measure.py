"""A unit in cells: its area, delay and energy, with its netlist held against its model."""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtl import liberty
from rtl.activity import DELAYS, Activity, Simulator
from rtl.liberty import Library
from rtl.synthesis import Netlist, speeds, synthesise, within
from verif.area.datapaths import Coded, Datapath
from verif.area.ports import Ports, core_ports, edge_ports
from verif.area.shapes import Part, Shape, parts
from verif.area.streams import STREAMS, gaussian
from verif.numerics import MissingPackage

#: Cycles of a stream that glitches are counted in; they take long.
GLITCH_CYCLES = 256


class WrongNetlist(RuntimeError):
    """A mapped netlist does not compute what the unit's model says."""


@cache
def cells(path: Path | None) -> Library:
    """A Liberty file's library, or that without a process.  Raises ``LibraryError``."""
    return liberty.read(path) if path else liberty.neutral()


@cache
def _stream(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    try:
        return STREAMS[name]()
    except MissingPackage:
        return None


@dataclass(frozen=True)
class Mapped:
    """A part as cells."""

    part: Part
    netlist: Netlist

    @cached_property
    def simulator(self) -> Simulator:
        """Of the netlist."""
        return Simulator(self.netlist)


def mapped(path: Datapath, shape: Shape, library: Library) -> list[Mapped]:
    """The parts of a unit as smallest netlists, which together give the model's results.

    Raises ``WrongNetlist``.
    """
    found = [Mapped(part, synthesise(part.component, library)) for part in parts(path, shape)]
    x, w = (path.encode(rows) for rows in gaussian())
    results = _simulated(path, shape, found, x, w)["core"].outputs["result"]
    core = found[0].part.component
    width, slices = len(core.result), x.codes.shape[1] // shape.lanes
    got = [v - (v >> (width - 1) << width) for v in results]
    # A dot unit's sum is seen in the cycle after its last slice, a column's after its latency.
    seen = got[slices + core.latency - 1 :: slices]
    total = path.accumulate(x, w, shape.lanes, shape.matrix).ravel().tolist()
    if len(seen) < len(total) - 1 or seen != total[: len(seen)]:
        raise WrongNetlist(f"the netlist of {path.name} does not compute its dot products")
    return found


def area(found: list[Mapped]) -> float:
    """Gate equivalents of a unit."""
    return sum(m.part.count * m.netlist.gate_equivalents for m in found)


def _simulated(
    path: Datapath, shape: Shape, found: list[Mapped], x: Coded, w: Coded, delay: str = "zero"
) -> dict[str, Activity]:
    """Activities of the parts, by role: the core takes what the edge gives."""
    core, edge = (next(m for m in found if m.part.role == role) for role in ("core", "edge"))
    ports = edge_ports(path, shape, edge.part.component, x, w)
    # One cycle more, for what registers at the edge hold back.
    ports = _cut({name: v + v[-1:] for name, v in ports.items()}, delay)
    at_edge = edge.simulator.run(ports, delay)
    late = edge.part.component.latency
    operands = {name: v[late : len(v) - 1 + late] for name, v in at_edge.outputs.items()}
    ports = core_ports(path, shape, core.part.component, x, w, operands)
    return {"edge": at_edge, "core": core.simulator.run(_cut(ports, delay), delay)}


def _cut(ports: Ports, delay: str) -> Ports:
    """The cycles of a stream that are simulated."""
    cycles = GLITCH_CYCLES if delay == "unit" else None
    shortest = min(len(values) for values in ports.values())
    return {name: values[: min(cycles or shortest, shortest)] for name, values in ports.items()}


def delays(found: list[Mapped], library: Library) -> list[dict]:
    """Points from small to fast: gate equivalents of the unit and the delay of its slowest part."""
    points = [speeds(m.part.component, library) for m in found]
    out = []
    for at in zip(*points, strict=True):
        out.append(
            {
                "ge": sum(
                    m.part.count * p.gate_equivalents for m, p in zip(found, at, strict=True)
                ),
                "delay": max(p.delay for p in at),
            }
        )
    return out


def smallest_within(path: Datapath, shape: Shape, library: Library, delay: float) -> float | None:
    """Least gate equivalents of a unit whose parts all keep a delay; None if one cannot."""
    total = 0.0
    for part in parts(path, shape):
        point = within(part.component, library, delay)
        if point is None:
            return None
        total += part.count * point.gate_equivalents
    return total


def energies(path: Datapath, shape: Shape, found: list[Mapped]) -> dict[str, dict[str, float]]:
    """Energy of a multiply-accumulate on each stream that can be had, by kind of delay.

    Clock pins and all registers count.  In pJ, or without a process in transitions of an
    inverter's input.
    """
    energy: dict[str, dict[str, float]] = {}
    for name in STREAMS:
        stream = _stream(name)
        if stream is None:
            continue
        x, w = (path.encode(rows) for rows in stream)
        energy[name] = {
            delay: sum(m.part.count * m.simulator.energy(activity[m.part.role]) for m in found)
            / shape.macs
            for delay in DELAYS
            for activity in [_simulated(path, shape, found, x, w, delay)]
        }
    return energy
