"""Cell libraries: what areas, delays and energies need from a Liberty file.

Cells that units are not built from (latches, pads, scan flip-flops, ...) are left out, with the
reason; what is wrong in the others, or in the file, is an error.
"""

import re
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

from rtl.boolean import FunctionError, names, truth_table
from rtl.gates import liberty as neutral_liberty
from rtl.liberty_text import Group, LibraryError, number, parse, plain, read_text

__all__ = ["Cell", "Library", "LibraryError", "neutral", "read"]

#: Inputs of cells that units are built from: what one word of a truth table holds.
MAX_INPUTS = 6
#: Truth tables over two and three inputs, input 0 the least index bit.
_INVERTER, _NAND2, _SUM, _CARRY = 0b01, 0b0111, 0b10010110, 0b11101000
#: Time units that abc knows; it would take others for 1 ns.
_TIME_UNITS = ("1ns", "100ps", "10ps", "1ps")
#: Functions of a flip-flop's outputs.
STATE, INVERTED_STATE = "state", "!state"
#: Groups of a cell that is no gate and no single flip-flop.
_ODD_GROUPS = {
    "latch": "latches",
    "latch_bank": "latches",
    "statetable": "state tables",
    "ff_bank": "flip-flop banks",
    "bus": "buses",
    "bundle": "buses",
    "memory": "memories",
}


class _LeftOut(Exception):
    """A cell that units are not built from, and why."""


@dataclass(frozen=True)
class Cell:
    """A cell: its area, pins and, for a flip-flop, what clocks it.

    Parameters
    ----------
    area: in the library's unit.
    inputs: capacitance of each input pin in the library's unit, clock included.
    functions: Liberty expression of each output; of a flip-flop ``STATE`` or ``INVERTED_STATE``.
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
        """Truth table of each output of a gate over the inputs, in their order."""
        return {pin: truth_table(f, list(self.inputs)) for pin, f in self.functions.items()}


@dataclass(frozen=True)
class Library:
    """Cells by name.

    Parameters
    ----------
    name: of the library group; ``neutral`` without a file.
    text: these cells in plain Liberty.
    voltage: nominal supply in volts; capacitance_pf: its unit of capacitance.
    timed: whether all gates have delays.
    left_out: names of other cells by the reason.
    notes: what the file does not say and was assumed.
    """

    name: str
    text: str
    cells: dict[str, Cell]
    voltage: float
    capacitance_pf: float
    timed: bool
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
        return [
            c
            for c in self.cells.values()
            if c.clock is None and len(c.inputs) == inputs and set(c.tables.values()) == tables
        ]

    def remarks(self) -> list[str]:
        """Lines that say what was assumed, and how many cells were left out and why."""
        lines = list(self.notes)
        if self.left_out:
            total = sum(map(len, self.left_out.values()))
            reasons = "; ".join(
                f"{len(found)} with {reason} ({', '.join(found[:3])}"
                + ", ..." * (len(found) > 3)
                + ")"
                for reason, found in self.left_out.items()
            )
            lines.append(f"{total} of {total + len(self.cells)} cells left out: {reasons}")
        return lines


@cache
def neutral() -> Library:
    """The library of gates counted in transistors, ``rtl/gates.py``."""
    text = neutral_liberty()
    return replace(_library(text, "the neutral library"), text=text)


def read(path: Path) -> Library:
    """Read a Liberty file.

    Raises ``LibraryError``: a file that is missing or not text, truncated or not Liberty,
    with units or numbers that mean nothing, or without an inverter, a NAND2 or a positive-edge
    D flip-flop.
    """
    library = _library(read_text(path), str(path), path.parent)
    return replace(library, name=path.name) if library.neutral else library


def _library(text: str, origin: str, folder: Path | None = None) -> Library:
    """``read`` of a text; ``origin`` names it in errors, ``folder`` is where it includes from."""
    top = _with_time_unit(parse(text, origin, folder))
    capacitance_pf, voltage, notes = _units(top)
    cells: dict[str, Cell] = {}
    groups: dict[str, Group] = {}
    left_out: dict[str, list[str]] = {}
    for group in top.all("cell"):
        group = _one_name_a_pin(group)
        try:
            cell = _cell(group, top.number("default_input_pin_cap"))
        except _LeftOut as reason:
            left_out.setdefault(str(reason), []).append(" ".join(group.arguments))
        else:
            cells[cell.name], groups[cell.name] = cell, group
    others, fillers = [g for g in top.groups if g.name != "cell"], _fillers(cells)
    if untimed := [name for name, group in groups.items() if not _timed(cells[name], group)]:
        notes.append(
            f"no delays are measured, for lack of timing of {len(untimed)} gates "
            f"({', '.join(untimed[:3])}{', ...' * (len(untimed) > 3)})"
        )
    elif fillers:
        notes.append("no delays are measured, for lack of three kinds of gates")
    library = Library(
        " ".join(top.arguments),
        plain(replace(top, groups=[*others, *groups.values(), *fillers])),
        cells,
        voltage,
        capacitance_pf,
        not untimed and not fillers,
        left_out,
        tuple(notes),
    )
    kinds = {
        "inverter": library._with_tables(1, {_INVERTER}),
        "NAND2": library._with_tables(2, {_NAND2}),
        "positive-edge D flip-flop": [c for c in cells.values() if c.data],
    }
    for what, found in kinds.items():
        if not found:
            raise LibraryError(
                ". ".join([f"{origin} has no {what}, which every unit needs", *library.remarks()])
            )
    return library


def _one_name_a_pin(cell: Group) -> Group:
    """A cell whose ``pin (A, B)`` are two pins."""
    groups = []
    for group in cell.groups:
        if group.name == "pin":
            if not group.names():
                raise LibraryError(f"{group.where}: {cell.title}: a pin without a name")
            groups += [replace(group, arguments=[name]) for name in group.names()]
        else:
            groups.append(group)
    return replace(cell, groups=groups)


def _cell(group: Group, default_capacitance: float) -> Cell:
    """A cell that units can be built from.

    Raises ``_LeftOut`` for another, ``LibraryError`` for what is wrong.
    """
    if len(group.names()) != 1:
        raise LibraryError(f"{group.where}: a cell has one name, not {group.arguments}")
    name = group.names()[0]
    where = f"{group.where}: cell {name}"
    if group.text("dont_use").lower() == "true":
        raise _LeftOut("dont_use")
    for inner in group.groups:
        if inner.name in _ODD_GROUPS:
            raise _LeftOut(_ODD_GROUPS[inner.name])
    pins = {pin.arguments[0]: pin for pin in group.all("pin")}
    kinds = {pin: p.text("direction").lower() for pin, p in pins.items()}
    inputs = {
        pin: p.number("capacitance", default_capacitance)
        for pin, p in pins.items()
        if kinds[pin] == "input"
    }
    outputs = {pin: p for pin, p in pins.items() if kinds[pin] == "output" and p.text("function")}
    if not outputs:
        raise _LeftOut("no function")
    if any("three_state" in p.attributes for p in outputs.values()):
        raise _LeftOut("three-state outputs")
    if len(inputs) > MAX_INPUTS:
        raise _LeftOut(f"more than {MAX_INPUTS} inputs")
    functions = {pin: p.text("function") for pin, p in outputs.items()}
    clock = data = None
    try:
        if flip_flops := group.all("ff"):
            clock, data = _flip_flop(flip_flops, inputs, pins)
            functions = {pin: _of_state(f, flip_flops[0]) for pin, f in functions.items()}
        else:
            for function in functions.values():
                _check_pins(function, inputs, pins)
    except FunctionError as error:
        raise LibraryError(f"{where}: {error}") from None
    if "area" not in group.attributes:
        raise LibraryError(f"{where} has no area")
    if (area := group.number("area")) <= 0:
        raise LibraryError(f"{where} has an area of {area:g}; it must be above 0")
    energies = [_middle(power) for p in outputs.values() for power in p.all("internal_power")]
    return Cell(
        name,
        area,
        inputs,
        functions,
        clock,
        data,
        sum(energies) / len(energies) if energies else 0.0,
    )


def _timed(cell: Cell, group: Group) -> bool:
    """Whether a gate has delays, or needs none, having no inputs or being a flip-flop."""
    return (
        cell.clock is not None
        or not cell.inputs
        or all(
            any(
                table.attributes.get("values")
                for timing in pin.all("timing")
                for table in timing.groups
            )
            for pin in group.all("pin")
            if pin.arguments[0] in cell.functions
        )
    )


def _fillers(cells: dict[str, Cell]) -> list[Group]:
    """Gates too large to be used, for abc, which takes no library of fewer than three kinds."""
    kinds = {
        (len(c.inputs), *c.tables.values())
        for c in cells.values()
        if c.clock is None and len(c.functions) == 1
    }
    if len(kinds) >= 3:
        return []
    text = " ".join(
        f"cell (unused_{name}) {{ area : 1e9; pin (A, B, C) {{ direction : input; }}"
        f' pin (Y) {{ direction : output; function : "{function}"; }} }}'
        for name, function in (("and3", "A&B&C"), ("or3", "A|B|C"))
    )
    return [_one_name_a_pin(g) for g in parse(f"library () {{ {text} }}", "fillers").groups]


def _check_pins(function: str, inputs: dict[str, float], pins: dict[str, Group]) -> None:
    """A function is of inputs only, or the cell is odd, or names what is no pin."""
    for name in names(function):
        if name in pins and name not in inputs:
            raise _LeftOut("functions of pins that are no inputs")
    truth_table(function, list(inputs))


def _flip_flop(
    groups: list[Group], inputs: dict[str, float], pins: dict[str, Group]
) -> tuple[str, str]:
    """Clock and data pin of a positive-edge D flip-flop; others are left out."""
    if len(groups) > 1:
        raise _LeftOut("several flip-flops")
    if "clocked_on_also" in groups[0].attributes or len(groups[0].names()) != 2:
        raise _LeftOut("flip-flops of another kind")
    found = []
    for name in ("clocked_on", "next_state"):
        expression = groups[0].text(name)
        if not expression:
            raise FunctionError(f"its flip-flop has no {name}")
        used = names(expression)
        if len(used) > MAX_INPUTS or not set(used) <= {*pins, *groups[0].names()}:
            raise _LeftOut("flip-flops of another kind")
        pin = next(
            (
                pin
                for pin in used
                if pin in inputs and truth_table(expression, used) == truth_table(pin, used)
            ),
            None,
        )
        if pin is None:  # the other edge, enable, scan
            raise _LeftOut("flip-flops of another kind")
        found.append(pin)
    return found[0], found[1]


def _of_state(function: str, flip_flop: Group) -> str:
    """The function of an output of a flip-flop whose two variables are opposite."""
    state, inverse = flip_flop.names()
    if not set(names(function)) <= {state, inverse}:
        raise _LeftOut("flip-flops of another kind")
    table = truth_table(function, [state, inverse])
    values = table >> 2 & 1, table >> 1 & 1  # where the state is 0, 1
    if values not in ((0, 1), (1, 0)):
        raise _LeftOut("flip-flops of another kind")
    return STATE if values == (0, 1) else INVERTED_STATE


def _middle(power: Group) -> float:
    """Mean over rise and fall of the middle entry of the energy tables."""
    values = []
    for table in power.groups:
        if attribute := table.attributes.get("values"):
            rows = [row.replace(",", " ").split() for row in attribute.values]
            row = rows[len(rows) // 2] if rows else []
            if row:
                values.append(number(row[len(row) // 2], attribute.where, "an energy"))
    return sum(values) / len(values) if values else 0.0


def _units(top: Group) -> tuple[float, float, list[str]]:
    """Picofarads of the unit of capacitance, volts of the supply, what was assumed."""
    notes = []
    capacitance = 1.0
    if unit := top.attributes.get("capacitive_load_unit"):
        words = " ".join(unit.values).replace(",", " ").lower().split()
        if len(words) != 2 or words[1] not in ("ff", "pf"):
            raise LibraryError(
                f"{unit.where}: capacitive_load_unit must be a number and ff or pf, "
                f"not ({', '.join(unit.values)})"
            )
        capacitance = number(words[0], unit.where, "capacitive_load_unit") * (
            1e-3 if words[1] == "ff" else 1.0
        )
        if capacitance <= 0:
            raise LibraryError(f"{unit.where}: capacitive_load_unit must be above 0")
    else:
        notes.append("no capacitive_load_unit: 1 pF assumed")
    scale = re.fullmatch(r"([0-9.]+)\s*(m?)v", top.text("voltage_unit", "1V").lower())
    if not scale:
        raise LibraryError(
            f"{top.attributes['voltage_unit'].where}: voltage_unit "
            f"{top.text('voltage_unit')!r} is not a voltage"
        )
    volts = number(
        scale[1],
        top.attributes["voltage_unit"].where if "voltage_unit" in top.attributes else top.where,
        "voltage_unit",
    ) * (1e-3 if scale[2] else 1)
    conditions = {name: g for g in top.all("operating_conditions") for name in g.names()}
    chosen = conditions.get(top.text("default_operating_conditions"))
    if "nom_voltage" in top.attributes:
        voltage = top.number("nom_voltage") * volts
    elif chosen and "voltage" in chosen.attributes:
        voltage = chosen.number("voltage") * volts
    else:
        voltage = 1.0
        notes.append("no nom_voltage: 1 V assumed")
    if voltage <= 0:
        raise LibraryError(f"{top.where}: the supply is {voltage:g} V; it must be above 0")
    return capacitance, voltage, notes


def _with_time_unit(top: Group) -> Group:
    """The library with its unit of time as abc, which converts delays by it, spells it."""
    attribute = top.attributes.get("time_unit")
    if attribute is None:
        return top
    text = top.text("time_unit")
    found = re.fullmatch(r"([0-9.]+)\s*(fs|ps|ns|us)", text.lower())
    unit = f"{number(found[1], attribute.where, 'time_unit'):g}{found[2]}" if found else ""
    if unit not in _TIME_UNITS:
        raise LibraryError(
            f"{attribute.where}: time_unit {text!r} is not a time of {', '.join(_TIME_UNITS)}"
        )
    others = [s for s in top.statements if s[0] != "time_unit"]
    return replace(top, statements=[*others, ("time_unit", replace(attribute, values=[unit]))])
