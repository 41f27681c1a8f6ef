"""Verilog of one component as one module that lints: flat, and all widths written out.

yosys has cells whose operands are narrower or wider than their results, which it writes as they
are: right by the rules of Verilog, and a warning of each linter.  Here operands are extended or cut
first, cases that overlap become multiplexers, tables functions, and registers have no value before
the first reset.
"""

import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from rtl import yosys
from rtl.constants import case_tables

#: Cells whose result depends on operands modulo its own width.
_MODULAR = ("add", "sub", "mul", "and", "or", "xor", "xnor")
_COMPARING = ("eq", "ne", "lt", "le", "gt", "ge")
_SHIFTING_RIGHT = ("shr", "sshr")

_BINARY = """
module \\${cell} (A, B, Y);
  parameter A_SIGNED = 0, B_SIGNED = 0, A_WIDTH = 1, B_WIDTH = 1, Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;
  localparam W = {width};
  localparam S = A_SIGNED && B_SIGNED;
  wire _TECHMAP_FAIL_ = A_WIDTH == W && B_WIDTH == W;
  wire [W-1:0] a, b;
  generate
    if (A_WIDTH == 0) assign a = 0;
    else \\$pos #(.A_SIGNED(S), .A_WIDTH(A_WIDTH), .Y_WIDTH(W))
      extend_a (.A(A), .Y(a));
  endgenerate
  generate
    if (B_WIDTH == 0) assign b = 0;
    else \\$pos #(.A_SIGNED(S), .A_WIDTH(B_WIDTH), .Y_WIDTH(W))
      extend_b (.A(B), .Y(b));
  endgenerate
  \\${cell} #(.A_SIGNED(S), .B_SIGNED(S), .A_WIDTH(W), .B_WIDTH(W), .Y_WIDTH(Y_WIDTH))
    _TECHMAP_REPLACE_ (.A(a), .B(b), .Y(Y));
endmodule
"""
_UNARY = """
module \\${cell} (A, Y);
  parameter A_SIGNED = 0, A_WIDTH = 1, Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_WIDTH == Y_WIDTH;
  wire [Y_WIDTH-1:0] a;
  generate
    if (A_WIDTH == 0) assign a = 0;
    else \\$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH))
      extend_a (.A(A), .Y(a));
  endgenerate
  \\${cell} #(.A_SIGNED(A_SIGNED), .A_WIDTH(Y_WIDTH), .Y_WIDTH(Y_WIDTH))
    _TECHMAP_REPLACE_ (.A(a), .Y(Y));
endmodule
"""
#: A shift to the right of a number of at least as many bits as the result, which is cut after it.
_SHIFT = """
module \\${cell} (A, B, Y);
  parameter A_SIGNED = 0, B_SIGNED = 0, A_WIDTH = 1, B_WIDTH = 1, Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  output [Y_WIDTH-1:0] Y;
  localparam W = {width};
  wire _TECHMAP_FAIL_ = A_WIDTH == W && Y_WIDTH == W;
  wire [W-1:0] a, y;
  generate
    if (A_WIDTH == 0) assign a = 0;
    else \\$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(W))
      extend_a (.A(A), .Y(a));
  endgenerate
  \\${cell} #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(W), .B_WIDTH(B_WIDTH), .Y_WIDTH(W))
    _TECHMAP_REPLACE_ (.A(a), .B(B), .Y(y));
  assign Y = y[Y_WIDTH-1:0];
endmodule
"""
#: Whether a number is zero.
_NOT = """
module \\$logic_not (A, Y);
  parameter A_SIGNED = 0, A_WIDTH = 1, Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  output [Y_WIDTH-1:0] Y;
  wire _TECHMAP_FAIL_ = A_WIDTH < 2 || Y_WIDTH > 1;
  assign Y = ~|A;
endmodule
"""
_LARGER = "A_WIDTH > {0}_WIDTH ? A_WIDTH : {0}_WIDTH"
_MAP = "".join(
    [
        _NOT,
        *(_BINARY.format(cell=cell, width="Y_WIDTH") for cell in _MODULAR),
        *(_BINARY.format(cell=cell, width=_LARGER.format("B")) for cell in _COMPARING),
        *(_UNARY.format(cell=cell) for cell in ("not", "neg")),
        *(_SHIFT.format(cell=cell, width=_LARGER.format("Y")) for cell in _SHIFTING_RIGHT),
        *(_SHIFT.format(cell=cell, width="Y_WIDTH") for cell in ("shl", "sshl")),
    ]
)
_SCRIPT = """
read_rtlil {name}.il
hierarchy -top {name}
proc -norom
flatten -separator _
pmuxtree
setattr -unset init w:*
opt_expr
opt_clean -purge
techmap -map widths.v
simplemap t:$pos
opt_expr
opt_clean -purge
memory_collect
write_verilog -noattr {name}.v
"""


def plain_verilog(component: wiring.Component, name: str) -> str:
    """Verilog of a component as the module ``name``, the only one of the text."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / f"{name}.il").write_text(rtlil.convert(component, name=name, emit_src=False))
        (directory / "widths.v").write_text(_MAP)
        yosys.run(_SCRIPT.format(name=name), directory)
        return case_tables((directory / f"{name}.v").read_text())
