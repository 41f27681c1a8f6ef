"""A unit of a user's own, from Python or Verilog, through the synthesis of the study's units."""

import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.hdl import Shape as ValueShape
from amaranth.lib import wiring

from rtl.liberty import Library
from rtl.synthesis import Netlist, UnmappedCells, Verilog, speeds, synthesise
from rtl.yosys import YosysError
from verif.area.accuracy import gaussian_sqnr_db
from verif.area.datapaths import Array, Datapath
from verif.area.families import FAMILIES, Family
from verif.area.measure import WrongNetlist, cells
from verif.area.shapes import SHAPES
from verif.area.study import LOSS_DB, smallest, unit

#: What the comment lines at the top of a Verilog file declare.
DECLARED = ("unit", "top", "macs", "bits", "ports")


class BadUnit(ValueError):
    """A file has no unit that can be measured; the message is one line that names it."""


@dataclass(frozen=True)
class UserUnit:
    """A unit with one clock.

    Parameters
    ----------
    name: none of a family's; macs: multiply-accumulates a cycle; bits: of an element.
    component: of Amaranth, or ``verilog``: the source with its module ``top``.
    ports: their bits, by name, without clock and ``rst``; a component declares its own.
    dots: from rows of numbers (M, K) and (N, K) their dot products (M, N) as the unit computes
    them, for their SQNR; None if it is not to be known.

    Raises ``BadUnit``.
    """

    name: str
    macs: int
    bits: float
    component: wiring.Component | None = None
    verilog: str = ""
    top: str = ""
    ports: dict[str, int] | None = None
    dots: Callable[[Array, Array], Array] | None = None

    def __post_init__(self) -> None:
        if self.name in FAMILIES:
            raise BadUnit(f"unit {self.name} has the name of a family")
        for name, least in (("macs", 1), ("bits", 1)):
            value = getattr(self, name)
            kinds = (int,) if name == "macs" else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
                kind = "a whole number" if name == "macs" else "a number"
                raise BadUnit(f"{name} of {self.name} must be {kind} from {least}, not {value!r}")
        if (self.component is None) == (not self.verilog):
            raise BadUnit(f"unit {self.name} must have either component or verilog")
        if self.verilog and not (self.top and self.ports):
            raise BadUnit(f"unit {self.name} must name top and ports of its Verilog")

    @property
    def source(self) -> wiring.Component | Verilog:
        """What is synthesised."""
        return self.component if self.component else Verilog(self.verilog, self.top)

    @property
    def declared(self) -> dict[str, int]:
        """Ports and their bits."""
        if self.ports is not None or self.component is None:
            return self.ports or {}
        members = self.component.signature.members.items()
        return {name: ValueShape.cast(member.shape).width for name, member in members}


#: What a Python file defines one of, by the name it has there.
KINDS: dict[str, type[Any]] = {"unit": UserUnit, "datapath": Datapath, "family": Family}


def read(path: Path) -> UserUnit | Datapath | Family:
    """What a ``.py`` or ``.v`` file defines.  Raises ``BadUnit``, ``OSError``."""
    if path.suffix == ".v":
        return _verilog(path, path.read_text())
    if path.suffix != ".py":
        raise BadUnit(f"{path}: must end in .py or .v")
    path.open().close()
    spec = importlib.util.spec_from_file_location("user_unit", path.resolve())
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _of(path):
        spec.loader.exec_module(module)
    found = [name for name in KINDS if hasattr(module, name)]
    if len(found) != 1:
        raise BadUnit(f"{path}: must define one of {', '.join(KINDS)}, not {len(found)} of them")
    (kind,) = found
    value = getattr(module, kind)
    if not isinstance(value, UserUnit | Datapath | Family) or not isinstance(value, KINDS[kind]):
        raise BadUnit(f"{path}: {kind} must be a {KINDS[kind].__name__}, not {value!r}")
    name = value.family if isinstance(value, Datapath) else value.name
    if name in FAMILIES:
        raise BadUnit(f"{path}: {kind} {name} has the name of a family")
    return value


def _verilog(path: Path, text: str) -> UserUnit:
    """The unit that comment lines at the top of a Verilog file declare."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        if found := re.match(r"//\s*(\w+):\s*(.*?)\s*$", line):
            said[found[1]] = found[2]
    for name in DECLARED:
        if not said.get(name):
            raise BadUnit(f"{path}: lacks a line '// {name}: ...' at its top")
    ports = {}
    for port in said["ports"].split(","):
        parts = port.split()
        if len(parts) != 2 or not parts[1].isdecimal() or parts[0] in ports:
            raise BadUnit(f"{path}: ports must be names with their bits, not {port.strip()!r}")
        ports[parts[0]] = int(parts[1])
    try:
        macs, bits = int(said["macs"]), float(said["bits"])
    except ValueError as error:
        raise BadUnit(f"{path}: macs and bits must be numbers: {error}") from None
    with _of(path):
        return UserUnit(said["unit"], macs, bits, verilog=text, top=said["top"], ports=ports)


@contextmanager
def _of(path: Path) -> Iterator[None]:
    """What goes wrong because of a user's file as ``BadUnit``, with the line if it is its code."""
    try:
        yield
    except BadUnit as error:
        raise BadUnit(error if str(error).startswith(f"{path}:") else f"{path}: {error}") from None
    except (UnmappedCells, WrongNetlist) as error:
        raise BadUnit(f"{path}: {error}") from None
    except YosysError as error:
        raise BadUnit(f"{path}: {_said(str(error))}") from None
    except SyntaxError as error:
        raise BadUnit(f"{path}:{error.lineno}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if Path(f.filename) == path.resolve()]
        if not lines:
            raise
        message = " ".join(str(error).split())
        raise BadUnit(f"{path}:{lines[-1]}: {type(error).__name__}: {message}") from None


def _said(log: str) -> str:
    """The error in the end of yosys' log, its line first."""
    if found := re.search(r"cannot be legalized: ([^|]*)", log):
        return found[1].strip()
    found = re.search(r"(?:unit\.v:(\d+): )?ERROR: ([^|]*)", log)
    if not found:
        return log
    return f"line {found[1]}: {found[2].strip()}" if found[1] else found[2].strip()


def measure(path: Path, library_path: Path | None = None) -> list[dict[str, Any]]:
    """Rows of what a file defines, as ``study.unit`` has them.

    A unit has one: ``ge``, ``ge_adder_cells`` (full adders as cells, None if the library has
    none), ``ge_per_mac``, ``flip_flops``, ``speeds`` from small to fast, ``fo4``, and
    ``dot_sqnr_db`` if it says how it sums.  A datapath has one of each shape, a family those of
    its default and of its lean unit.  Raises ``BadUnit``, ``OSError``.
    """
    found = read(path)
    library = cells(library_path)
    with _of(path):
        if isinstance(found, UserUnit):
            return [_row(found, library)]
        if isinstance(found, Datapath):
            paths = {"default": found}
        else:
            lean = smallest(found, found.sqnr(found.default) - LOSS_DB, library_path)
            assert lean is not None
            paths = {"default": found.make(found.default), "lean": found.make(lean)}
        return [
            unit(each, shape, cut, library_path)
            for cut, each in paths.items()
            for shape in SHAPES.values()
        ]


def _row(user: UserUnit, library: Library) -> dict[str, Any]:
    netlist = synthesise(user.source, library)
    _check_ports(user, netlist, _clock(user, netlist))
    adders = synthesise(user.source, library, "adders") if library.full_adder else None
    flops = {name for name, cell in library.cells.items() if cell.clock}
    points = speeds(user.source, library) if library.timed else []
    row = {
        "unit": user.name,
        "macs": user.macs,
        "bits_per_element": user.bits,
        "ge": netlist.gate_equivalents,
        "ge_adder_cells": adders and adders.gate_equivalents,
        "ge_per_mac": netlist.gate_equivalents / user.macs,
        "flip_flops": sum(count for name, count in netlist.cells.items() if name in flops),
        "speeds": [{"ge": p.gate_equivalents, "delay": p.delay} for p in points],
        "fo4": min((p.delay for p in points), default=None),
    }
    if user.dots:
        row["dot_sqnr_db"] = gaussian_sqnr_db(user.dots)
    return row


def _clock(user: UserUnit, netlist: Netlist) -> str | None:
    """The port that clocks all flip-flops, None if there are none."""
    ports = {tuple(port["bits"]): name for name, port in netlist.module["ports"].items()}
    names = set()
    for cell in netlist.module["cells"].values():
        if pin := netlist.library.cells[cell["type"]].clock:
            names.add(ports.get(tuple(cell["connections"][pin])))
    if len(names) > 1 or None in names:
        said = ", ".join(sorted(name or "what is no port" for name in names))
        raise BadUnit(f"all flip-flops of {user.name} must have one port's rising edge, not {said}")
    return names.pop() if names else None


def _check_ports(user: UserUnit, netlist: Netlist, clock: str | None) -> None:
    declared = user.declared
    there = {
        name: len(port["bits"])
        for name, port in netlist.module["ports"].items()
        if name in declared or name not in (clock, "clk", "rst")
    }
    for name in sorted(declared.keys() | there.keys()):
        said, has = declared.get(name, 0), there.get(name, 0)
        if said != has:
            raise BadUnit(f"port {name} is declared with {said} bits, {user.name} has {has}")


def rows(measured: list[dict[str, Any]], results: dict[str, Any] | None) -> Iterator[list[str]]:
    """Heading, a row of each that was measured, then lean dot units of the nearest bits."""
    yield [
        "unit",
        "bits",
        "NAND2",
        "with adder cells",
        "a MAC",
        "fastest",
        "flip-flops",
        "dot SQNR, dB",
    ]
    bits = measured[0]["bits_per_element"]
    others = [
        row
        for row in (results or {}).get("rows", ())
        if row.get("cut") == "lean" and row.get("shape") == "dot16"
    ]
    nearest = min((abs(row["bits_per_element"] - bits) for row in others), default=0.0)
    near = [row for row in others if abs(row["bits_per_element"] - bits) == nearest]
    for row in (*measured, *sorted(near, key=lambda r: float(r["ge_per_mac"]))):
        sqnr, delay = row.get("dot_sqnr_db"), row.get("fo4")
        shape = f", {row['shape']}" if "shape" in row else ""
        yield [
            row["unit"] + shape,
            f"{row['bits_per_element']:g}",
            f"{row['ge']:.0f}",
            f"{row['ge_adder_cells']:.0f}" if row.get("ge_adder_cells") else "-",
            f"{row['ge_per_mac']:.1f}",
            f"{delay:.1f}" if delay else "-",
            str(row.get("flip_flops", "-")),
            f"{sqnr:.2f}" if sqnr is not None else "-",
        ]
