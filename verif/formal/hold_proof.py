"""Proof that holding a tile changes nothing, for every flip-flop of it at once."""

import re
import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from rtl import yosys
from spu.arch.context import LINKS
from spu.arch.params import KINDS
from spu.rtl.layouts import word_layout
from spu.rtl.ports import STAGE_FLAGS
from spu.rtl.tile import Tile
from verif.formal.property import SMALL, Property
from verif.formal.units import NotProven

_HOLD = """
read_rtlil property.il
hierarchy -top property
proc -norom
flatten
setattr -unset init w:*
memory_collect
memory_map
setattr -unset init w:*
opt_clean
opt_expr
techmap
simplemap
dfflegalize -cell $_DFF_P_ x
opt_clean
tee -q -o before.txt select -count t:$_DFF_P_
techmap -map hold.v
setundef -undriven -expose
{fixed}
opt -full
write_rtlil held.il
"""
#: A register that may have any contents, and must keep them.
_HELD = """
module \\$_DFF_P_ (input D, input C, output Q);
  (* keep *) wire kept;
  assign Q = kept;
  \\$assert same (.A(D ~^ kept), .EN(1'b1));
endmodule
"""


def prove_tile_holds(kind: str) -> int:
    """Prove that a tile without ``step`` keeps every register; the number of flip-flops.

    From any state, for any inputs but no reset, ``clear``, configuration write or readback:
    each flip-flop becomes a free input, with the claim that its next value is that input; with
    the signals above at 0, constants alone must make every claim true.  Counted events and
    answers to readback, which are not state of a program, are left out.  Raises ``NotProven``.
    """
    fixed = ("step", "clear", "fetch", "write", "read")

    def body(m: Module, top: Property) -> None:
        m.submodules.tile = unit = Tile(SMALL, KINDS[kind])
        for name in ("step", "clear", "fetch"):
            m.d.comb += getattr(unit.control, name).eq(getattr(top, name))
        for name in ("write", "read"):
            m.d.comb += getattr(unit.config, name).eq(getattr(top, name))
        m.d.comb += [
            unit.control.slot.eq(top.slot),
            unit.control.flags.eq(top.flags),
            unit.control.bank.eq(top.bank),
            unit.control.data_bank.eq(top.data_bank),
            unit.config.space.eq(top.space),
            unit.config.row.eq(top.row),
        ]
        for link in LINKS:
            m.d.comb += [
                getattr(unit, f"{link}_i").eq(getattr(top, f"{link}_i")),
                getattr(top, f"{link}_o").eq(getattr(unit, f"{link}_o")),
            ]

    word = word_layout(SMALL)
    ports: dict[str, Any] = {
        **dict.fromkeys(fixed, In(1)),
        "slot": In(1),
        "flags": In(STAGE_FLAGS),
        "bank": In(1),
        "data_bank": In(1),
        "space": In(8),
        "row": In(12),
        **{f"{link}_i": In(word) for link in LINKS},
        **{f"{link}_o": Out(word) for link in LINKS},
    }
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "property.il").write_text(
            rtlil.convert(Property(body, ports), name="property", emit_src=False)
        )
        (directory / "hold.v").write_text(_HELD)
        sets = "\n".join(f"connect -set {name} 1'0" for name in (*fixed, "rst"))
        yosys.run(_HOLD.format(fixed=sets), directory)
        before = int((directory / "before.txt").read_text().split()[0])
        claims = re.findall(
            r"cell \$assert \S+\n\s+connect \\A (.*)\n", (directory / "held.il").read_text()
        )
    open_claims = [claim for claim in claims if claim.strip() != "1'1"]
    if open_claims or not claims or not before:
        raise NotProven(
            f"{len(open_claims)} of {before} flip-flops of tile kind {kind} do not "
            f"hold: {open_claims[:4]}"
        )
    return before
