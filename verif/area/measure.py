"""A unit in cells: its area, delay and energy, with its netlist held against its model."""

from collections.abc import Iterable
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
from verif.baselines.rtl.core import HEADROOM_BITS
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

    They are simulated on Gaussian data, with a slice of NaN in one of the dot products; with blocks
    of zeros; and with sums that leave the accumulator on either side.  Raises ``WrongNetlist``.
    """
    found = [Mapped(part, synthesise(part.component, library)) for part in parts(path, shape)]
    x, w = gaussian()
    holed = x[:1].copy()
    holed[:, : 2 * (path.block or shape.lanes)] = 0
    for rows, weights, nan in ((x, w, True), (holed, w[:2], False), (*full_scale(), False)):
        _compare(path, shape, found, path.encode(rows), path.encode(weights), nan)
    return found


def full_scale() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A row of the largest numbers, and weights whose dot products leave any accumulator, above,
    below, and above again, as the last one is not seen."""
    # Just below a power of two: formats whose scales are such have their largest number there.
    ones = np.full((1, 16 << HEADROOM_BITS), 127 / 128)
    return ones, np.concatenate([ones, -ones, ones])


def _compare(
    path: Datapath, shape: Shape, found: list[Mapped], x: Coded, w: Coded, nan: bool
) -> None:
    """Raise ``WrongNetlist`` unless dot products, their NaN and overflows are the model's.

    ``nan``: the last slice of the second dot product has a NaN, if numbers have.
    """
    slices = x.codes.shape[1] // shape.lanes
    at = 2 * slices - 1 if nan and path.nan else None
    outputs = _simulated(path, shape, found, x, w, nan_at=at)["core"].outputs
    core = found[0].part.component
    # A dot unit's sum is seen in the cycle after its last slice, a column's after its latency.
    seen = {name: v[slices + core.latency - 1 :: slices] for name, v in outputs.items()}
    total = path.accumulate(x, w, shape.lanes, shape.matrix).ravel()
    half = 1 << len(core.result) - 1
    expected = {
        "result": (total + half) % (2 * half) - half,
        "nan": (np.arange(len(total)) == 1) & (at is not None),
    }
    if shape.matrix:
        beyond = (total >= half) | (total < -half)
        expected["overflowed"] = np.where(beyond, 1 + 2 * (total < 0), 0)
    for name, values in expected.items():
        got = np.asarray(seen[name], np.int64)
        if name == "result":
            got = got - (got >= half) * 2 * half
            got = np.where(expected["nan"][: len(got)], values[: len(got)], got)  # means nothing
        if name == "overflowed":
            got = np.where(got & 1, got, 0)  # else the side means nothing
        if len(got) < len(values) - 1 or not np.array_equal(got, values[: len(got)]):
            raise WrongNetlist(
                f"the netlist of {path.name} does not compute its dot products: {name} differs"
            )


def area(found: list[Mapped]) -> float:
    """Gate equivalents of a unit."""
    return sum(m.part.count * m.netlist.gate_equivalents for m in found)


def _simulated(
    path: Datapath,
    shape: Shape,
    found: list[Mapped],
    x: Coded,
    w: Coded,
    delay: str = "zero",
    nan_at: int | None = None,
) -> dict[str, Activity]:
    """Activities of the parts, by role: the core takes what the edge gives.

    ``nan_at``: in this slice the edge says that there is a NaN.  Raises ``WrongNetlist`` if the
    edge of a dot unit's second operand gives others than the model.
    """
    of = {m.part.role: m for m in found}
    activities: dict[str, Activity] = {}
    for role in ("edge", "edge_b"):
        if role not in of:
            continue
        component = of[role].part.component
        ports = edge_ports(path, shape, component, x, w, role == "edge_b")
        # One cycle more, for what registers at the edge hold back.
        ports = _cut({name: v + v[-1:] for name, v in ports.items()}, delay)
        activities[role] = of[role].simulator.run(ports, delay)
    core, late = of["core"].part.component, of["edge"].part.component.latency
    operands = {
        name: list(v[late : len(v) - 1 + late]) for name, v in activities["edge"].outputs.items()
    }
    if nan_at is not None:
        operands["scale"][nan_at] |= path.nan
    ports = core_ports(path, shape, core, x, w, operands)
    for name, values in activities["edge_b"].outputs.items() if "edge_b" in of else ():
        wanted = ports["b" if name == "o" else "scale_b"]
        if list(values[: len(wanted)]) != wanted[: len(values)]:
            raise WrongNetlist(f"the second edge of {path.name} gives other operands: {name}")
    activities["core"] = of["core"].simulator.run(_cut(ports, delay), delay)
    return activities


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


def energies(
    path: Datapath, shape: Shape, found: list[Mapped], kinds: Iterable[str] = DELAYS
) -> dict[str, dict[str, float]]:
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
            for delay in kinds
            for activity in [_simulated(path, shape, found, x, w, delay)]
        }
    return energy
