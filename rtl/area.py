"""Area of a unit in gate equivalents, from yosys, without a cell library."""

import json
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from rtl import yosys

#: Transistors of the gates that logic is mapped to, static CMOS (N. Weste, D. Harris,
#: "CMOS VLSI Design", 4th ed., 2011: chapters 1 and 9; the flip-flop of two latches).
TRANSISTORS = {"$_NOT_": 2, "$_NAND_": 4, "$_NOR_": 4, "$_AND_": 6, "$_OR_": 6, "$_XOR_": 10,
               "$_XNOR_": 10, "$_MUX_": 10, "$_DFF_P_": 22}
#: Transistors of a NAND2: one gate equivalent.
NAND2 = 4

# ROMs become logic (``memory_map``), never cells that a count would miss.
_SCRIPT = """
read_rtlil unit.il
hierarchy -top unit
proc -norom
flatten
setattr -unset init w:*
opt -full
memory -nomap
memory_map
opt -full
alumacc
techmap
opt -full
simplemap
dfflegalize -cell $_DFF_P_ x
opt_clean
abc -g NAND,NOR,AND,OR,XOR,XNOR,MUX
opt_clean -purge
tee -q -o stat.json stat -json
"""


class UnmappedCells(RuntimeError):
    """Synthesis left something that has no area."""


def gate_equivalents(unit: wiring.Component) -> float:
    """NAND2 equivalents of a unit: every flip-flop, table and gate counted.

    Raises ``UnmappedCells`` if a cell or a memory is left that has no weight.
    """
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "unit.il").write_text(rtlil.convert(unit, name="unit", emit_src=False))
        yosys.run(_SCRIPT, directory)
        statistics = json.loads((directory / "stat.json").read_text())["design"]
    counts = statistics["num_cells_by_type"]
    if statistics["num_memories"] or set(counts) - set(TRANSISTORS):
        raise UnmappedCells(f"unmapped: {sorted(set(counts) - set(TRANSISTORS))}, "
                            f"{statistics['num_memories']} memories")
    return sum(TRANSISTORS[cell] * count for cell, count in counts.items()) / NAND2
