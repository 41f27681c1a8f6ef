"""Synthesis of a unit to the cells of a library: its area, its netlist and its delay.

One flow for every unit.  Sums stay words until yosys makes one heap of each expression
(``alumacc``, ``maccmap``), so that all units share the compressor trees and the final
ripple adder; logic is mapped by abc with several recipes, of which the smallest result
counts.
"""

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from amaranth.back import rtlil
from amaranth.lib import wiring

from rtl import yosys
from rtl.gates import FO4
from rtl.liberty import Library

Result = TypeVar("Result")
#: Full adders of a heap as gates or as the library's cell; carry chains are gates.
MAPPINGS = ("gates", "adders")

# In abc's scripts as yosys takes them a comma is a space.
# Areas: what the recipes differ in is how they share logic before the same mapper.
_AREA_RECIPES = tuple(
    recipe.replace("; ", ";").replace(" ", ",")
    for recipe in (
        "strash; dch -f; amap -m",
        "strash; ifraig; scorr; dc2; dc2; strash; dch -f; amap -m",
        "strash; ifraig; scorr; dc2; strash; dch -S 2000 -C 2000; amap -m",
    )
)
# Delays: from area first to speed first, then buffered and sized to be as fast as they get.
_SIZED = "buffer -c; topo; upsize -D 1; dnsize -D 1; stime -p"
_SPEED_RECIPES = tuple(
    recipe.replace("; ", ";").replace(" ", ",")
    for recipe in (
        f"strash; dch -f; amap -m; {_SIZED}",
        f"strash; dch -f; map -a; topo; {_SIZED}",
        f"strash; ifraig; scorr; dc2; dch -f; map -B 0.9 -D 1; topo; {_SIZED}",
    )
)
# ROMs become logic (``proc -norom``, ``memory_map``), never cells that a count would miss.
# Nothing may trim adders before ``alumacc``: it merges only those of one width.
_FROM_VERILOG = """
read_verilog -sv unit.v
hierarchy -check -top {top}
proc -norom -noopt
flatten
rename -top unit
write_rtlil unit.il
"""
_TO_WORDS = """
read_rtlil unit.il
hierarchy -top unit
proc -norom
flatten
memory -nomap
memory_map
setattr -unset init w:*
opt_clean
wreduce
opt_clean
alumacc
maccmap
opt -full
wreduce
peepopt
opt -full
"""
_TO_GATES = """
techmap
opt -full
simplemap
opt -full
dfflegalize -cell $_DFF_P_ x
dfflibmap -liberty cells.lib
opt_clean
"""
# Loops are looked for in gates, whose inputs all count, before anything simplifies them away.
_TO_OUTLINE = """
read_rtlil unit.il
hierarchy -top unit
proc -norom -noopt
flatten
write_json unit.json
memory -nomap
memory_map
techmap
simplemap
check
"""
_RIPPLE = """
(* techmap_celltype = "$alu" *)
module ripple(A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0; parameter B_SIGNED = 0;
  parameter A_WIDTH = 1; parameter B_WIDTH = 1; parameter Y_WIDTH = 1;
  input [A_WIDTH-1:0] A; input [B_WIDTH-1:0] B; input CI, BI;
  output [Y_WIDTH-1:0] X, Y, CO;
  wire [Y_WIDTH-1:0] a, b0, b = b0 ^ {Y_WIDTH{BI}};
  generate
    if (A_WIDTH == 0) assign a = 0;
    else \\$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) pa(.A(A), .Y(a));
    if (B_WIDTH == 0) assign b0 = 0;
    else \\$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) pb(.A(B), .Y(b0));
  endgenerate
  assign X = a ^ b;
  genvar i;
  generate for (i = 0; i < Y_WIDTH; i = i + 1) begin
    \\$fa #(.WIDTH(1)) fa(.A(a[i]), .B(b[i]), .C(i ? CO[i-1] : CI), .Y(Y[i]), .X(CO[i]));
  end endgenerate
endmodule
"""
_GATES_ADDER = """
(* techmap_celltype = "$fa" *)
module adder(A, B, C, X, Y);
  parameter WIDTH = 1;
  input [WIDTH-1:0] A, B, C; output [WIDTH-1:0] X, Y;
  wire [WIDTH-1:0] p = A ^ B;
  assign Y = p ^ C, X = (A & B) | (p & C);
endmodule
"""
_CELL_ADDER = """
(* techmap_celltype = "$fa" *)
module adder(A, B, C, X, Y);
  parameter WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTMSK_C_ = 0;
  input [WIDTH-1:0] A, B, C; output [WIDTH-1:0] X, Y;
  genvar i;
  generate for (i = 0; i < WIDTH; i = i + 1)
    if (_TECHMAP_CONSTMSK_A_[i] || _TECHMAP_CONSTMSK_B_[i] || _TECHMAP_CONSTMSK_C_[i])
      assign Y[i] = A[i] ^ B[i] ^ C[i], X[i] = (A[i] & B[i]) | ((A[i] ^ B[i]) & C[i]);
    else
      %s fa(.%s(A[i]), .%s(B[i]), .%s(C[i]), .%s(Y[i]), .%s(X[i]));
  endgenerate
endmodule
"""


@dataclass(frozen=True)
class Verilog:
    """A unit as a source text and the name of its module; ports and clock are its own."""

    text: str
    top: str


#: What can be synthesised.
Source: TypeAlias = wiring.Component | Verilog


class UnmappedCells(RuntimeError):
    """Synthesis left something that has no area."""


@dataclass(frozen=True)
class Netlist:
    """A unit in cells of a library.

    Parameters
    ----------
    module: the unit's module as yosys writes it in JSON: ports, cells, netnames.
    library: whose cells it is made of.
    """

    module: dict[str, Any]
    library: Library

    @cached_property
    def cells(self) -> dict[str, int]:
        """Number of cells of each type."""
        counts: dict[str, int] = {}
        for cell in self.module["cells"].values():
            counts[cell["type"]] = counts.get(cell["type"], 0) + 1
        return counts

    @cached_property
    def area(self) -> float:
        """Area in the library's unit."""
        return sum(self.library.cells[name].area * count for name, count in self.cells.items())

    @property
    def gate_equivalents(self) -> float:
        """Area in NAND2s of the library."""
        return self.area / self.library.nand2_area


@dataclass(frozen=True)
class Timing:
    """A unit mapped for speed: gate equivalents and delay of its slowest path.

    The delay, in ns, or FO4 of the neutral library, is that of the logic from registers or
    inputs to registers or outputs, without the flip-flops' own; inputs are ideal and
    outputs not loaded.
    """

    gate_equivalents: float
    delay: float

    @property
    def area_delay(self) -> float:
        """Product of area and delay."""
        return self.gate_equivalents * self.delay


@dataclass(frozen=True)
class Outline:
    """A unit as it is described, before synthesis.

    Parameters
    ----------
    directions: of ports by name: ``input``, ``output`` or ``inout``.
    loops: whether logic depends on itself without a register between.
    """

    directions: dict[str, str]
    loops: bool


def outline(unit: Source, library: Library) -> Outline:
    """What can be told of a unit without synthesis.  Raises ``YosysError``."""

    def results(folder: Path) -> Outline:
        module = json.loads((folder / "unit.json").read_text())["modules"]["unit"]
        return Outline(
            {name: port["direction"] for name, port in module["ports"].items()},
            "found logic loop" in (folder / "yosys.log").read_text(errors="replace"),
        )

    return run_flow(unit, library, "gates", _TO_OUTLINE.strip().split("\n"), results)


def synthesise(
    unit: Source, library: Library, mapping: str = "gates", recipes: int = len(_AREA_RECIPES)
) -> Netlist:
    """Smallest netlist of a unit; every flip-flop, table and gate is a cell of the library.

    Raises ``ValueError`` for a mapping that is none of ``MAPPINGS`` or that the library has
    no cell for, ``UnmappedCells`` if a cell or memory is left that the library has not.
    """
    script = [*script_lines(library, mapping), "design -save words"]
    for i, recipe in enumerate(_AREA_RECIPES[:recipes]):
        script += [
            "design -load words",
            f"abc -liberty cells.lib -script +{recipe}",
            "opt_clean -purge",
            f"write_json netlist{i}.json",
        ]

    def results(folder: Path) -> list[Netlist]:
        return [_netlist(folder / f"netlist{i}.json", library) for i in range(recipes)]

    return min(run_flow(unit, library, mapping, script, results), key=lambda n: n.area)


def speeds(unit: Source, library: Library) -> list[Timing]:
    """The unit with adders of logarithmic depth by several recipes, from small to fast.

    Raises ``UnmappedCells``.
    """
    return _timings(unit, library, list(_SPEED_RECIPES), fast=True)


def within(unit: Source, library: Library, delay: float) -> Timing | None:
    """The smallest netlist that keeps a delay, in the unit of ``Timing``; None if none is found.

    Recipes for speed, adders of logarithmic depth, sized for that delay instead of the least.
    Raises ``UnmappedCells``.
    """
    picoseconds = f"-D,{delay * _unit_of_time(library):.0f}"
    recipes = [recipe.replace("-D,1", picoseconds) for recipe in _SPEED_RECIPES]
    kept = [p for p in _timings(unit, library, recipes, fast=True) if p.delay <= delay]
    return min(kept, key=lambda p: p.gate_equivalents) if kept else None


def _unit_of_time(library: Library) -> float:
    """Picoseconds in the unit of delays."""
    return 1000 * (FO4 if library.neutral else 1.0)


def _timings(unit: Source, library: Library, recipes: list[str], fast: bool) -> list[Timing]:
    script = [*script_lines(library, "gates", fast=fast), "design -save words"]
    for i, recipe in enumerate(recipes):
        script += [
            "design -load words",
            f"abc -liberty cells.lib -script +{recipe}",
            "opt_clean -purge",
            f"write_json netlist{i}.json",
        ]

    def results(folder: Path) -> list[Timing]:
        log = (folder / "yosys.log").read_text(errors="replace")
        picoseconds = [float(d) for d in re.findall(r"Delay =\s*([0-9.]+) ps", log)]
        if len(picoseconds) != len(recipes):
            raise UnmappedCells(f"abc reported {len(picoseconds)} delays, not {len(recipes)}")
        return [
            Timing(
                _netlist(folder / f"netlist{i}.json", library).gate_equivalents,
                delay / _unit_of_time(library),
            )
            for i, delay in enumerate(picoseconds)
        ]

    return run_flow(unit, library, "gates", script, results)


def script_lines(
    library: Library, mapping: str, fast: bool = False, memories: bool = False
) -> list[str]:
    """Lines of the yosys script up to what abc sees.

    ``fast``: adders in logarithmic depth; ``memories``: those that are written stay.  Raises
    ``ValueError`` for a mapping that is none of ``MAPPINGS`` or that the library has no cell for.
    """
    if mapping not in MAPPINGS:
        raise ValueError(f"mapping must be one of {', '.join(MAPPINGS)}, not {mapping!r}")
    if mapping == "adders" and not library.full_adder:
        raise ValueError(f"library {library.name} has no full-adder cell")
    lines = [
        *_TO_WORDS.split("\n"),
        "techmap -map heap.v" * (mapping == "adders"),
        "techmap -map ripple.v" * (not fast),
        "techmap -map adder.v",
        *_TO_GATES.split("\n"),
    ]
    if memories:
        lines[lines.index("memory_map")] += " -rom-only"
    return [line for line in lines if line]


def _cell_adder(library: Library) -> str:
    assert library.full_adder
    cell, total, carry = library.full_adder
    return _CELL_ADDER % (cell.name, *cell.inputs, total, carry)


def run_flow(
    unit: Source,
    library: Library,
    mapping: str,
    script: list[str],
    results: Callable[[Path], Result],
) -> Result:
    """Run a script on a unit in a folder of its own; ``results`` reads what it left there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _emit(unit, folder)
        (folder / "cells.lib").write_text(library.text)
        (folder / "ripple.v").write_text(_RIPPLE)
        (folder / "adder.v").write_text(_GATES_ADDER)
        if mapping == "adders":
            (folder / "heap.v").write_text(_cell_adder(library))
        yosys.run("\n".join(script), folder)
        return results(folder)


def _emit(unit: Source, folder: Path) -> None:
    """Leave a unit as module ``unit`` in ``unit.il``."""
    if isinstance(unit, Verilog):
        (folder / "unit.v").write_text(unit.text)
        yosys.run(_FROM_VERILOG.format(top=unit.top), folder)
    else:
        (folder / "unit.il").write_text(rtlil.convert(unit, name="unit", emit_src=False))


def _netlist(path: Path, library: Library) -> Netlist:
    module = json.loads(path.read_text())["modules"]["unit"]
    netlist = Netlist(module, library)
    unmapped = set(netlist.cells) - set(library.cells)
    if unmapped or module.get("memories"):
        raise UnmappedCells(
            f"no area is known for {sorted(unmapped)} and "
            f"{len(module.get('memories', {}))} memories"
        )
    return netlist
