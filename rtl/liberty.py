"""Cell libraries: what areas, delays and energies need from a Liberty file.

The syntax and the attributes are those of the Liberty reference manual (Open Source
Liberty, "Liberty User Guide", vol. 1).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from rtl.boolean import FunctionError, truth_table
from rtl.gates import liberty as neutral_liberty

#: Truth tables over two and three inputs, input 0 the least index bit.
_INVERTER, _NAND2, _SUM, _CARRY = 0b01, 0b0111, 0b10010110, 0b11101000


class LibraryError(ValueError):
    """A Liberty file that cannot be used; the message names it and says why."""


@dataclass
class Group:
    """``name (arguments) { ... }``: attributes by name, groups in order."""

    name: str
    arguments: list[str]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def all(self, name: str) -> list["Group"]:
        """Groups of a name."""
        return [g for g in self.groups if g.name == name]

    def text(self, name: str, default: str = "") -> str:
        """An attribute's first value."""
        return self.attributes.get(name, [default])[0]

    def number(self, name: str, default: float = 0.0) -> float:
        """An attribute's first value as a number."""
        return float(self.attributes.get(name, [default])[0])


@dataclass(frozen=True)
class Cell:
    """A cell: its area, pins and, for a flip-flop, what clocks it.

    Parameters
    ----------
    area: in the library's unit.
    inputs: capacitance of each input pin in the library's unit, clock included.
    functions: Liberty expression of each output.
    clock, data: pins of a positive-edge D flip-flop (set and reset, if any, tied off).
    internal_energy: energy of one output transition inside the cell, in the library's unit
        (capacitance unit times volt squared), the mean of the tables' middle entries.
    """

    name: str
    area: float
    inputs: dict[str, float]
    functions: dict[str, str]
    clock: str | None = None
    data: str | None = None
    internal_energy: float = 0.0

    @cached_property
    def tables(self) -> dict[str, int]:
        """Truth table of each output over the inputs, in their order."""
        return {pin: truth_table(f, list(self.inputs)) for pin, f in self.functions.items()}


@dataclass(frozen=True)
class Library:
    """Cells by name.

    Parameters
    ----------
    name: of the library group; ``neutral`` without a file.
    text: the Liberty text itself.
    voltage: nominal supply in volts; capacitance_pf: its unit of capacitance.
    """

    name: str
    text: str
    cells: dict[str, Cell]
    voltage: float
    capacitance_pf: float

    @property
    def neutral(self) -> bool:
        """Whether this is the library without a process."""
        return self.name == "neutral"

    @cached_property
    def nand2_area(self) -> float:
        """Area of the smallest NAND2: one gate equivalent."""
        return min(c.area for c in self._with_tables(2, {_NAND2}))

    @cached_property
    def full_adder(self) -> tuple[Cell, str, str] | None:
        """Smallest full adder with its sum and carry pins, if the library has one."""
        cells = self._with_tables(3, {_SUM, _CARRY})
        if not cells:
            return None
        cell = min(cells, key=lambda c: c.area)
        pins = {table: pin for pin, table in cell.tables.items()}
        return cell, pins[_SUM], pins[_CARRY]

    def _with_tables(self, inputs: int, tables: set[int]) -> list[Cell]:
        return [c for c in self.cells.values() if c.clock is None and len(c.inputs) == inputs
                and c.functions and set(c.tables.values()) == tables]


@cache
def neutral() -> Library:
    """The library of gates counted in transistors, ``rtl/gates.py``."""
    return parse(neutral_liberty(), "the neutral library")


def read(path: Path) -> Library:
    """Read a Liberty file.

    Raises ``LibraryError``: a file that is missing or not text, truncated or not Liberty,
    or without an inverter, a NAND2 or a positive-edge D flip-flop.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is not text"
        raise LibraryError(f"cannot read the Liberty file {path}: {reason}") from None
    return parse(text, str(path))


def parse(text: str, origin: str) -> Library:
    """``read`` of a text; ``origin`` names it in errors."""
    top = _parse_groups(text, origin)
    cells = {c.name: c for g in top.all("cell") if (c := _cell(g, origin))}
    unit = top.attributes.get("capacitive_load_unit", ["1", "pf"])
    library = Library(
        name=top.arguments[0] if top.arguments else "", text=text, cells=cells,
        voltage=top.number("nom_voltage", 1.0),
        capacitance_pf=float(unit[0]) * (1e-3 if unit[1].lower() == "ff" else 1.0))
    _check_time_unit(top.text("time_unit", "1ns"), origin)
    needed = {"inverter": library._with_tables(1, {_INVERTER}),
              "NAND2": library._with_tables(2, {_NAND2}),
              "positive-edge D flip-flop": [c for c in cells.values() if c.data]}
    for what, found in needed.items():
        if not found:
            raise LibraryError(f"{origin} has no {what}, which every unit needs")
    return library


_TOKEN = re.compile(r'/\*.*?\*/|"(?:[^"\\]|\\.)*"|[{}();:,]|[^\s{}();:,"]+', re.DOTALL)


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        token = match[0]
        if not token.startswith("/*") and token != "\\":
            yield token.strip('"').replace("\\\n", " ")


def _parse_groups(text: str, origin: str) -> Group:
    """The outermost group, ``library``."""
    root = Group("", [])
    stack = [root]
    words: list[str] = []
    arguments: list[str] | None = None
    tokens = _tokens(text)
    for token in tokens:
        if token == "(":
            arguments = []
            for token in tokens:
                if token == ")":
                    break
                if token != ",":
                    arguments.append(token)
        elif token == "{":
            group = Group(words[0] if words else "", arguments or [])
            stack[-1].groups.append(group)
            stack.append(group)
            words, arguments = [], None
        elif token in ("}", ";"):
            _end_attribute(stack[-1], words, arguments)
            words, arguments = [], None
            if token == "}":
                stack.pop()
                if not stack:
                    raise LibraryError(f"{origin} has a '}}' too many")
        elif words and arguments is not None:  # a line without its semicolon
            _end_attribute(stack[-1], words, arguments)
            words, arguments = [token], None
        else:
            words.append(token)
    libraries = root.all("library")
    if not libraries:
        raise LibraryError(f"{origin} is not a Liberty file: it has no library group")
    if len(stack) > 1:
        where = " ".join([stack[-1].name, *stack[-1].arguments])
        cells = [g.arguments[0] for g in stack if g.name == "cell"]
        raise LibraryError(f"{origin} is truncated: it ends inside group {where!r}"
                           + (f" of cell {cells[0]}" if cells else ""))
    return libraries[0]


def _end_attribute(group: Group, words: list[str], arguments: list[str] | None) -> None:
    if arguments is not None and words:
        group.attributes[words[0]] = arguments
    elif len(words) > 2 and words[1] == ":":
        group.attributes[words[0]] = [" ".join(words[2:])]


def _cell(group: Group, origin: str) -> Cell | None:
    """A cell that units can be built from; None for pads, latches and those not to be used."""
    if group.text("dont_use").lower() == "true" or not group.arguments:
        return None
    ff = group.all("ff")
    if group.all("latch") or group.all("statetable") or group.all("ff_bank") or len(ff) > 1:
        return None
    try:
        inputs, functions, energies = {}, {}, []
        for pin in group.all("pin"):
            direction = pin.text("direction")
            if direction == "input":
                inputs[pin.arguments[0]] = pin.number("capacitance")
            elif direction == "output" and "function" in pin.attributes:
                functions[pin.arguments[0]] = pin.text("function")
                energies += [_middle(p) for p in pin.all("internal_power")]
        clock = ff[0].text("clocked_on") if ff else None
        data = ff[0].text("next_state").strip("() ") if ff else None
        cell = Cell(group.arguments[0], group.number("area"), inputs, functions,
                    clock, data if data in inputs and clock in inputs else None,
                    sum(energies) / len(energies) if energies else 0.0)
        if clock is None:
            cell.tables  # noqa: B018 - functions of pins that do not exist fail here
    except (FunctionError, ValueError, IndexError) as e:
        raise LibraryError(f"{origin}, cell {group.arguments[0]}: {e}") from None
    return cell


def _middle(power: Group) -> float:
    """Mean over rise and fall of the middle entry of the energy tables."""
    values = []
    for table in power.groups:
        rows = [[float(v) for v in row.replace(",", " ").split()]
                for row in table.attributes.get("values", [])]
        if rows and rows[0]:
            row = rows[len(rows) // 2]
            values.append(row[len(row) // 2])
    return sum(values) / len(values) if values else 0.0


def _check_time_unit(unit: str, origin: str) -> None:
    """abc converts delays by it; with another one they would mean nothing."""
    if not re.fullmatch(r"\s*[0-9.]+\s*(fs|ps|ns|us)\s*", unit):
        raise LibraryError(f"{origin}: time_unit {unit!r} is not a time")
