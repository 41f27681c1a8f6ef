"""Simulators by Verilator: blocks are kept by their text, builds are complete or not there."""

import pytest

from rtl import simulator
from rtl.kept import kept
from rtl.tools import SimulationError
from rtl.verilate import modules_of
from spu.engine.rtl_run import BUILD

FLIP = """
module flip(input clk, input a, output reg o);
  always @(posedge clk) o <= ~a;
endmodule
"""
WIRED = """
module top(input clk, input a, output o);
  wire [1:0] b;
  flip first(.clk(clk), .a(a), .o(b[0]));
  flip second(.clk(clk), .a(~a), .o(b[1]));
  assign o = {};
endmodule
"""
BENCH = """
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def wired(dut):
    for clock in (0, 1, 0):
        dut.a.value = 1
        dut.clk.value = clock
        await Timer(1, "ns")
    assert dut.o.value == {}
"""


def test_a_block_is_compiled_once_however_it_is_wired(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    for made in (BUILD / "sim-cache").resolve().glob("verilator-[rh]*"):  # runtime and headers
        (cache / made.name).symlink_to(made)
    monkeypatch.syspath_prepend(str(tmp_path))
    libraries = []
    for number, (block, wires, found) in enumerate(
        ((FLIP, "b[0]", 0), (FLIP, "b[1]", 1), (FLIP.replace("~a", "a"), "b[1]", 0))
    ):
        (tmp_path / f"wired{number}.py").write_text(BENCH.format(found))
        built = simulator.build(block + WIRED.format(wires), "top", cache, blocks=("flip",))
        built.run(f"wired{number}", tmp_path / "run", expected=1)
        libraries.append(
            {
                (path, path.stat().st_ino, path.stat().st_mtime_ns)
                for path in cache.glob("library-flip-*/libflip.a")
            }
        )
    assert [len(names) for names in libraries] == [1, 1, 2]
    assert libraries[0] == libraries[1] < libraries[2]


def test_modules_that_a_module_takes_and_no_others():
    text = r"""/* yosys */
module \a.b (x);
endmodule
module c(x);
  \a.b  inside (x);
endmodule
module unused(x);
endmodule
module d(x);
  c  one (x);
endmodule
module top(x);
  d  two (x);
  c  three (x);
endmodule
"""

    def names(*arguments):
        return [
            line.split()[1]
            for line in modules_of(text, *arguments).splitlines()
            if line.startswith("module")
        ]

    assert names("top") == [r"\a.b", "c(x);", "d(x);", "top(x);"]
    assert names("c") == [r"\a.b", "c(x);"]
    assert names("top", ["c"]) == ["d(x);", "top(x);"]
    assert names("top", ["d"]) == [r"\a.b", "c(x);", "top(x);"]
    with pytest.raises(SimulationError, match="no module e"):
        names("top", ["e"])
    with pytest.raises(SimulationError, match="endmodule without a module"):
        modules_of("endmodule", "top")


def test_what_fails_leaves_nothing_and_is_made_the_next_time(tmp_path):
    def fails(aside):
        (aside / "half").touch()
        raise OSError("full")

    def works(aside):
        (aside / "whole").touch()

    with pytest.raises(OSError, match="full"):
        kept(tmp_path / "made", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["made.lock"]
    assert kept(tmp_path / "made", works) == tmp_path / "made"
    assert kept(tmp_path / "made", fails) == tmp_path / "made"
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["whole"]
