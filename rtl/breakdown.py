"""Area of a large unit by its parts: the same flow, less effort, hierarchy kept."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.lib import wiring

from rtl.liberty import Library
from rtl.synthesis import UnmappedCells, run_flow, script_lines

_RAM = "$mem_v2"
# Without the choices of the recipes for units, which take minutes at this size.
_RECIPE = "strash;dc2;amap,-m"


@dataclass(frozen=True)
class Part:
    """Logic of a part in NAND2s of the library, and bits of the memories in it.

    ``instances`` counts the modules that are synthesised on their own, by name.
    """

    name: str
    gate_equivalents: float
    memory_bits: int
    instances: dict[str, int]


def breakdown(
    unit: wiring.Component, library: Library, parts: list[str], outside: tuple[str, ...] = ()
) -> list[Part]:
    """Area of each part, a submodule by its dotted path, and last of the rest, ``""``.

    Memories that are written stay memories and count in bits; tables become logic.
    ``outside`` are module names of instances that are not part of the unit.

    Raises ``UnmappedCells`` for a cell of which no area is known, ``ValueError`` for a part
    that the unit has not.
    """
    # Amaranth numbers modules whose names a signal has too: ``unit.context$73``.
    text = rtlil.convert(unit, name="unit", emit_src=False)
    emitted = {
        re.sub(r"\$\d+", "", name): name for name in re.findall(r"^module \\(\S+)", text, re.M)
    }
    missing = [part for part in parts if f"unit.{part}" not in emitted]
    if missing:
        raise ValueError(f"the unit has no part {missing[0]!r}")
    names = {emitted[f"unit.{part}"]: part for part in parts} | {"unit": ""}
    script = script_lines(library, "gates", memories=True)
    flatten = script.index("flatten")
    script[flatten:flatten] = [f"setattr -mod -set keep_hierarchy 1 {name}" for name in names]
    script += [
        f"abc -liberty cells.lib -script +{_RECIPE}",
        "opt_clean -purge",
        "write_json netlist.json",
    ]

    def results(folder: Path) -> list[Part]:
        modules = json.loads((folder / "netlist.json").read_text())["modules"]
        return [
            _part(label, modules[name], library, {*names, *outside})
            for name, label in names.items()
        ]

    return run_flow(unit, library, "gates", script, results)


def _part(label: str, module: dict[str, Any], library: Library, known: set[str]) -> Part:
    area, bits = 0.0, 0
    instances: dict[str, int] = {}
    for cell in module["cells"].values():
        kind = cell["type"]
        if kind in library.cells:
            area += library.cells[kind].area
        elif kind == _RAM:
            bits += int(cell["parameters"]["SIZE"], 2) * int(cell["parameters"]["WIDTH"], 2)
        elif kind in known:
            instances[kind] = instances.get(kind, 0) + 1
        else:
            raise UnmappedCells(f"no area is known for {kind} in {label or 'the unit'}")
    return Part(label, area / library.nand2_area, bits, instances)
