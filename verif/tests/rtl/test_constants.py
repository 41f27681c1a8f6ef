"""Tables of the Verilog that is simulated: constants where nothing writes them."""

import re

import pytest

from rtl.constants import constant_tables
from spu.engine.rtl_run import rtl_text
from verif.random_programs import ARRAYS

HEAD = """module m(a, d, clk, o);
  reg [3:0] t [2:0];
"""
FILLED = """  initial begin
    t[0] = 4'h7;
    t[1] = 4'hc;
    t[2] = 4'h1;
  end
"""
TAIL = """  assign o = t[a[1:0]];
endmodule
"""
CONSTANT = "  localparam logic [3:0] t [0:2] = '{4'h7, 4'hc, 4'h1};\n"


def test_a_table_becomes_a_constant():
    assert constant_tables(HEAD + FILLED + TAIL) == HEAD.splitlines()[0] + "\n" + CONSTANT + TAIL


def test_each_module_has_its_own():
    other = (HEAD + FILLED + TAIL).replace("4'hc", "4'h2").replace("module m(", "module n(")
    out = constant_tables(HEAD + FILLED + TAIL + other)
    assert re.findall(r"'\{(.*)\}", out) == ["4'h7, 4'hc, 4'h1", "4'h7, 4'h2, 4'h1"]


@pytest.mark.parametrize(
    "write",
    [
        "  always @(posedge clk)\n    t[a] <= d;\n",
        "  always @(posedge clk) if (d[0]) t[a[1:0]] <= d;\n",
        "  always @* t[a] = d;\n",
        "  always @(posedge clk)\n    t[a][1:0] <= d[1:0];\n",
        "  always @* { t[a], q } = d;\n",
        '  initial $readmemh("x", t);\n',
        "  assign { t[a], q } = t[d];\n",
    ],
)
def test_a_memory_that_something_writes_stays(write):
    text = HEAD + FILLED + write + TAIL
    assert constant_tables(text) == text


def test_a_table_with_a_word_unknown_stays():
    text = HEAD + FILLED.replace("    t[1] = 4'hc;\n", "") + TAIL
    assert constant_tables(text) == text


def test_all_tables_of_an_array_become_constants_and_no_memory_does():
    text = rtl_text(ARRAYS["2x2"])
    out = constant_tables(text)
    filled = set(re.findall(r"^    (\w+)\[\d+\] = ", out, re.MULTILINE))
    written = set(re.findall(r"^ +(\w+)\[.*\] <= ", text, re.MULTILINE))
    assert filled
    assert filled <= written
    assert not written & set(re.findall(r"localparam .*?(\w+) \[0:", out))
    assert out.count("localparam") > 40
