"""A file of a user's with a unit, in Python or Verilog, through the synthesis of the study's."""

import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rtl.liberty import Library
from rtl.synthesis import Netlist, UnmappedCells, outline, speeds, synthesise
from rtl.yosys import YosysError
from verif.area.accuracy import gaussian_sqnr_db
from verif.area.datapaths import Array, Datapath
from verif.area.families import Family
from verif.area.measure import WrongNetlist, cells
from verif.area.shapes import SHAPES
from verif.area.study import LOSS_DB, smallest, unit
from verif.area.user import BadUnit, UserUnit, check_name, shown

#: What the comment lines at the top of a Verilog file declare.
DECLARED = ("unit", "top", "macs", "bits", "ports")
#: Dot products are smaller: their squares have sums.
MOST_DOT = 1e150
#: What a Python file defines one of, by the name it has there.
KINDS: dict[str, type[Any]] = {"unit": UserUnit, "datapath": Datapath, "family": Family}


def read(path: Path) -> UserUnit | Datapath | Family:
    """What a ``.py`` or ``.v`` file defines.  Raises ``BadUnit``, ``OSError``."""
    if path.suffix == ".v":
        try:
            return _verilog(path, path.read_text("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise BadUnit(f"{path}: must be UTF-8, byte {error.start} is not") from None
    if path.suffix != ".py":
        raise BadUnit(f"{path}: must end in .py or .v")
    path.open().close()
    spec = importlib.util.spec_from_file_location("user_unit", path.resolve())
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with _of(path, "module"):
        spec.loader.exec_module(module)
    found = [name for name in KINDS if hasattr(module, name)]
    if len(found) != 1:
        raise BadUnit(f"{path}: must define one of {', '.join(KINDS)}, not {len(found)} of them")
    (kind,) = found
    value = getattr(module, kind)
    if not isinstance(value, UserUnit | Datapath | Family) or not isinstance(value, KINDS[kind]):
        raise BadUnit(f"{path}: {kind} must be a {KINDS[kind].__name__}, not {shown(value)}")
    with _of(path, kind):
        check_name(kind, value.family if isinstance(value, Datapath) else value.name)
        return _checked(value) if isinstance(value, Family) else value


def _checked(family: Family) -> Family:
    """A family whose ``make`` gives datapaths or raises."""
    axes = family.axes
    if not (
        isinstance(axes, tuple)
        and axes
        and all(
            isinstance(axis, tuple) and axis and all(type(value) is int for value in axis)
            for axis in axes
        )
    ):
        raise BadUnit(
            f"axes of {family.name} must be tuples of one integer or more, not {shown(axes)}"
        )

    def make(setting: tuple[int, ...]) -> Datapath:
        made = family.make(setting)
        if not isinstance(made, Datapath):
            raise BadUnit(
                f"make of {family.name} must give a Datapath of {setting}, not {shown(made)}"
            )
        return made

    return replace(family, make=make)


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
    ports: dict[str, int] = {}
    for port in said["ports"].split(","):
        parts = port.split()
        if len(parts) != 2 or not re.fullmatch("[0-9]{1,9}", parts[1]):
            raise BadUnit(f"{path}: ports must be names with their bits, not {port.strip()!r}")
        if parts[0] in ports:
            raise BadUnit(f"{path}: port {parts[0]} is declared twice")
        ports[parts[0]] = int(parts[1])
    numbers = {name: _number(said[name]) for name in ("macs", "bits")}
    with _of(path, "unit"):
        return UserUnit(said["unit"], **numbers, verilog=text, top=said["top"], ports=ports)


def _number(said: str) -> Any:
    """A whole number or a number in text, or the text if it is none, which ``UserUnit`` refuses."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(said)
    return said


@contextmanager
def _of(path: Path, what: str) -> Iterator[None]:
    """What goes wrong because of a user's file as ``BadUnit``.

    With the line if it is the file's own code, otherwise with what of the file is in use.
    """
    try:
        yield
    except BadUnit as error:
        raise BadUnit(error if str(error).startswith(f"{path}:") else f"{path}: {error}") from None
    except (UnmappedCells, WrongNetlist) as error:
        raise BadUnit(f"{path}: {error}") from None
    except YosysError as error:
        raise BadUnit(f"{path}: {_said(str(error))}") from None
    except SyntaxError as error:
        raise BadUnit(f"{path}:{error.lineno or 1}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if Path(f.filename) == path.resolve()]
        place = f"{path}:{lines[-1]}" if lines else f"{path}: {what}"
        message = " ".join(str(error).split())
        raise BadUnit(f"{place}: {type(error).__name__}: {message}") from None


def _said(log: str) -> str:
    """The error in the end of yosys' log, its line first."""
    if found := re.search(r"cannot be legalized: ([^|]*)", log):
        return found[1].strip()
    found = re.search(r"(?:unit\.v:(\d+): )?ERROR:\s*([^|]*)", log)
    if not found:
        return log
    if "unexpected end of file" in found[2]:  # its line is not that of the end
        return "syntax error, unexpected end of file"
    if missing := re.match(r"Module `(\S+)' not found", found[2]):
        return f"has no module {missing[1]}"
    return f"line {found[1]}: {found[2].strip()}" if found[1] else found[2].strip()


def measure(path: Path, library_path: Path | None = None) -> list[dict[str, Any]]:
    """Rows of what a file defines, as ``study.unit`` has them.

    A unit has one: ``ge``, ``ge_adder_cells`` (full adders as cells, None if the library has
    none), ``ge_per_mac``, ``flip_flops``, ``speeds`` from small to fast, ``fo4``, None of a unit
    without gates, and ``dot_sqnr_db`` if it says how it sums.  A datapath has one of each shape,
    a family those of its default and of its lean unit.  Raises ``BadUnit``, ``OSError``.
    """
    found = read(path)
    library = cells(library_path)
    kind = next(name for name, of in KINDS.items() if isinstance(found, of))
    with _of(path, kind):
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
    _check_outline(user, library)
    row: dict[str, Any] = {"unit": user.name, "macs": user.macs, "bits_per_element": user.bits}
    if user.dots:
        row["dot_sqnr_db"] = gaussian_sqnr_db(partial(_dots, user))
    netlist = synthesise(user.source, library)
    _check_ports(user, netlist, _clock(user, netlist))
    adders = synthesise(user.source, library, "adders") if library.full_adder else None
    flops = {name for name, cell in library.cells.items() if cell.clock}
    # Registers, wires and constants alone have no delay.
    gates = netlist.cells.keys() - flops
    points = speeds(user.source, library) if library.timed and gates else []
    return row | {
        "ge": netlist.gate_equivalents,
        "ge_adder_cells": adders and adders.gate_equivalents,
        "ge_per_mac": netlist.gate_equivalents / user.macs,
        "flip_flops": sum(count for name, count in netlist.cells.items() if name in flops),
        "speeds": [{"ge": p.gate_equivalents, "delay": p.delay} for p in points],
        "fo4": min((p.delay for p in points), default=None),
    }


def _dots(user: UserUnit, a: Array, b: Array) -> Array:
    """What a unit says its dot products are, if they are such."""
    assert user.dots
    found = np.asarray(user.dots(a, b))
    shape = (len(a), len(b))
    if found.shape != shape or found.dtype.kind not in "iuf":
        raise BadUnit(
            f"dots of {user.name} must give real numbers of shape {shape}, not "
            f"{found.dtype} of shape {found.shape}"
        )
    if not (np.abs(found) < MOST_DOT).all():
        raise BadUnit(f"dots of {user.name} must give numbers below {MOST_DOT:g}, and no NaN")
    return found.astype(np.float64)


def _check_outline(user: UserUnit, library: Library) -> None:
    found = outline(user.source, library)
    for name, direction in found.directions.items():
        if direction == "inout":
            raise BadUnit(f"port {name} of {user.name} must be an input or an output, not inout")
    if found.loops:
        raise BadUnit(f"{user.name} has a loop of logic without a register")


def _clock(user: UserUnit, netlist: Netlist) -> str | None:
    """The port that clocks all flip-flops, None if there are none."""
    ports = {tuple(port["bits"]): name for name, port in netlist.module["ports"].items()}
    names = set()
    for cell in netlist.module["cells"].values():
        if pin := netlist.library.cells[cell["type"]].clock:
            names.add(ports.get(tuple(cell["connections"][pin])))
    if len(names) > 1 or None in names:
        said = ", ".join(
            sorted(name or "a falling edge or a clock that is no port" for name in names)
        )
        raise BadUnit(
            f"all flip-flops of {user.name!r} must have one port's rising edge, not {said}"
        )
    return names.pop() if names else None


def _check_ports(user: UserUnit, netlist: Netlist, clock: str | None) -> None:
    declared = user.declared
    there = {
        name: len(port["bits"])
        for name, port in netlist.module["ports"].items()
        if name in declared or name not in (clock, "clk", "rst")
    }
    for name in sorted(declared.keys() | there.keys()):
        said, has = declared.get(name), there.get(name)
        if has is None:
            raise BadUnit(f"port {name} is declared, {user.name!r} has no such port")
        if said is None:
            raise BadUnit(f"port {name} of {user.name!r}, {has} bits, is not declared")
        if said != has:
            raise BadUnit(f"port {name} is declared with {said} bits, {user.name!r} has {has}")


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
