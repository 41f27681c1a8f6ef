"""``spu area --unit``: units of users' own, and what can be wrong with them."""

import json

import pytest
from typer.testing import CliRunner

from spu.command.main import app
from verif.area import user_file
from verif.area.families import FAMILIES

ADDER = """
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from verif.area.user import UserUnit

class Adder(wiring.Component):
    a: In(4)
    b: In(4)
    o: Out(5)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.a + self.b)
        return m

"""
FAMILY = "from verif.area.families import Family\n"
VERILOG = """// unit: sum
// top: adder
// macs: 2
// bits: 8.25
// ports: a 4, b 4, o 5
module adder(input clk, input [3:0] a, b, output reg [4:0] o);
  always @(posedge clk) o <= a + b;
endmodule
"""


def _file(tmp_path, text, name="own.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


def _refused(path, *more):
    done = CliRunner().invoke(app, ["area", "--unit", str(path), *more])
    lines = " ".join(done.output.split())
    assert done.exit_code == 2, done.output
    assert "Traceback" not in lines
    assert lines.count("spu: error:") == 1
    return lines


def test_the_same_unit_in_both_languages_has_the_same_area(tmp_path):
    own = _file(tmp_path, ADDER + "unit = UserUnit('sum', 2, 8.25, Adder())")
    (component,) = user_file.measure(own)
    (verilog,) = user_file.measure(_file(tmp_path, VERILOG, "own.v"))
    assert component["ge_per_mac"] == component["ge"] / 2
    assert component["ge_adder_cells"] <= component["ge"]
    assert len(component["speeds"]) == 3
    assert component["flip_flops"] == verilog["flip_flops"] == 5
    # Amaranth's registers have a reset.
    assert verilog["ge"] < component["ge"] < verilog["ge"] + 5 * 2
    assert "dot_sqnr_db" not in component


def test_sums_that_a_unit_says_are_rated(tmp_path):
    text = ADDER + "unit = UserUnit('sum', 2, 8, Adder(), dots=lambda a, b: a.round(1) @ b.T)"
    (row,) = user_file.measure(_file(tmp_path, text))
    assert 25 < row["dot_sqnr_db"] < 35


def test_the_command_shows_and_writes_the_unit_beside_the_nearest(tmp_path):
    own, out = _file(tmp_path, VERILOG, "own.v"), tmp_path / "out.json"
    done = CliRunner().invoke(app, ["area", "--unit", str(own), "--json", str(out)])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(out.read_text())["rows"]
    assert row["unit"] == "sum"
    near = [
        {"unit": name, "cut": "lean", "shape": "dot16", "ge": 1.0, "ge_per_mac": area}
        | {"bits_per_element": bits, "fo4": 30.0, "dot_sqnr_db": 30.0}
        for name, bits, area in (("far", 4.25, 1), ("large", 8.25, 3), ("small", 8.25, 2))
    ]
    shown = list(user_file.rows([row], {"rows": [*near, {"unit": "of another schema"}]}))
    assert [r[0] for r in shown[1:]] == ["sum", "small, dot16", "large, dot16"]


def test_a_familys_rows_are_those_of_its_default_and_its_lean_unit(tmp_path, monkeypatch):
    text = """
from verif.area.families import FAMILIES, Family
family = Family("own", FAMILIES["PAL4U"].axes, FAMILIES["PAL4U"].make)
"""
    monkeypatch.setattr(
        user_file, "unit", lambda path, shape, cut, _: (path.setting, shape.name, cut)
    )
    monkeypatch.setattr(user_file, "smallest", lambda *_: (7, 2, 2, 0))
    found = user_file.measure(_file(tmp_path, text))
    assert [r[1:] for r in found] == [
        (shape, cut) for cut in ("default", "lean") for shape in user_file.SHAPES
    ]
    assert len({r[0] for r in found}) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit = UserUnit('PAL8T', 1, 8, Adder())", "unit PAL8T has the name of a family"),
        ("unit = UserUnit('x', 0, 8, Adder())", "macs of x must be a whole number from 1 to"),
        ("unit = UserUnit('x', 10**400, 8, Adder())", "to 1000000000, not 1000000"),
        ("unit = UserUnit('x', 1, '8', Adder())", "bits of x must be a number from 1 to 1024, not"),
        ("unit = UserUnit('x', 1, float('inf'), Adder())", "from 1 to 1024, not inf"),
        ("unit = UserUnit('x', 1, 1e400 - 1e400, Adder())", "from 1 to 1024, not nan"),
        ("unit = UserUnit(5, 1, 8, Adder())", "the name of a unit must be text, not 5"),
        ("unit = UserUnit(['a'], 1, 8, Adder())", "the name of a unit must be text, not ['a']"),
        ("unit = UserUnit('x', 1, 8, 5)", "component of x must be a component of Amaranth with"),
        (
            "unit = UserUnit('x', 1, 8, Adder)",
            "with elaborate, as Adder() is, not <class 'user_unit.Adder'>",
        ),
        ("unit = UserUnit('x', 1, 8, wiring.Component({}))", "with elaborate, not <amaranth.lib"),
        ("unit = UserUnit('x', 1, 8, verilog=5)", "verilog of x must be text, not 5"),
        ("unit = UserUnit('x', 1, 8, verilog='x', top=3, ports={'a': 1})", "top of x must be text"),
        (
            "unit = UserUnit('x', 1, 8, verilog='x', top='t x', ports={'a': 1})",
            "top of x must be the name of a module, not 't x'",
        ),
        (
            "unit = UserUnit('x', 1, 8, Adder(), ports=['a'])",
            "must be names with their bits, not [",
        ),
        ("unit = UserUnit('x', 1, 8, Adder(), ports={'a': 0})", "with their bits, not {'a': 0}"),
        ("unit = UserUnit('x', 1, 8, Adder(), dots=5)", "dots of x must be a function, not 5"),
        (
            "unit = UserUnit('x', 1, 8, Adder(), dots=lambda a, b: None)",
            "dots of x must give real numbers of shape (64, 64), not object of shape ()",
        ),
        (
            "unit = UserUnit('x', 1, 8, Adder(), dots=lambda a, b: a[:3])",
            "float64 of shape (3, 1024)",
        ),
        (
            "unit = UserUnit('x', 1, 8, Adder(), dots=lambda a, b: a @ b.T * 1j)",
            "not complex128 of",
        ),
        (
            "unit = UserUnit('x', 1, 8, Adder(), dots=lambda a, b: a @ b.T * float('nan'))",
            "dots of x must give numbers below 1e+150, and no NaN",
        ),
        (
            "class Loop(Adder):\n"
            "    def elaborate(self, platform):\n"
            "        m = Module()\n"
            "        m.d.comb += self.o.eq(~(self.o & self.a))\n"
            "        return m\n"
            "unit = UserUnit('x', 1, 8, Loop())",
            "own.py: unit: CombinationalCycle: Combinational cycle detected",
        ),
        (
            "class Nothing(Adder):\n"
            "    def elaborate(self, platform):\n"
            "        return None\n"
            "unit = UserUnit('x', 1, 8, Nothing())",
            "own.py: unit: ",
        ),
        (
            FAMILY + "family = Family(5, ((1,),), lambda s: None)",
            "name of a family must be text, not 5",
        ),
        (FAMILY + "family = Family('q', (), lambda s: None)", "axes of q must be tuples of one"),
        (FAMILY + "family = Family('q', ((),), lambda s: None)", "one integer or more, not ((),)"),
        (
            FAMILY + "family = Family('q', ((1, 0),), 7)",
            "own.py: family: TypeError: 'int' object is",
        ),
        (
            FAMILY + "family = Family('q', ((1, 0),), lambda s: None)",
            "make of q must give a Datapath of (1,), not None",
        ),
        ("unit = UserUnit('x', 1, 8)", "unit x must have either component or verilog"),
        ("unit = UserUnit('x', 1, 8, verilog='x')", "unit x must name top and ports"),
        ("unit = 3", "unit must be a UserUnit, not 3"),
        ("", "must define one of unit, datapath, family, not 0 of them"),
        ("unit = 3; family = 4", "must define one of unit, datapath, family, not 2 of them"),
        ("x = 1 / 0", "own.py:17: ZeroDivisionError: division by zero"),
        ("x = (", "own.py:17: '(' was never closed"),
        ("raise SystemExit(3)", "own.py:17: SystemExit: 3"),
        ("unit = UserUnit('x', 1, 8, Adder(), dots=lambda a, b: a @ b)", "own.py:17: ValueError"),
        (
            "unit = UserUnit('x', 1, 8, Adder(), ports={'a': 4, 'b': 3, 'o': 5})",
            "port b is declared with 3 bits, 'x' has 4",
        ),
        (
            "unit = UserUnit('x', 1, 8, Adder(), ports={'a': 4, 'b': 4})",
            "port o of 'x', 5 bits, is not declared",
        ),
        (
            "from dataclasses import replace\nfrom verif.area.families import FAMILIES\n"
            "family = FAMILIES['INT8']",
            "family INT8 has the name of a family",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_a_wrong_python_file_is_one_line(text, message, tmp_path):
    assert message in _refused(_file(tmp_path, ADDER + text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("// macs: 2\n", "", "lacks a line '// macs: ...' at its top"),
        ("bits: 8.25", "bits: inf", "bits of sum must be a number from 1 to 1024, not inf"),
        ("top: adder", "top: adder;x", "top of sum must be the name of a module, not 'adder;x'"),
        (
            "endmodule",
            "initial $finish;\nendmodule",
            "own.v: line 8: System task `$finish' executed",
        ),
        (
            "input [3:0] a, b",
            "inout [3:0] a, input [3:0] b",
            "port a of sum must be an input or an",
        ),
        (
            "always @(posedge clk) o <= a + b;",
            "wire q = ~q; always @(posedge clk) o <= a + q;",
            "sum has a loop of logic without a register",
        ),
        (
            "macs: 2",
            "macs: two",
            "macs of sum must be a whole number from 1 to 1000000000, not 'two'",
        ),
        (
            "macs: 2",
            "macs: 2.5",
            "macs of sum must be a whole number from 1 to 1000000000, not 2.5",
        ),
        ("endmodule", "", "own.v: syntax error, unexpected end of file"),
        ("b 4, o 5", "b 4, b 4, o 5", "port b is declared twice"),
        ("b 4, o 5", "b 4 bits", "ports must be names with their bits, not 'b 4 bits'"),
        ("unit: sum", "unit: MXINT8", "unit MXINT8 has the name of a family"),
        ("top: adder", "top: other", "own.v: has no module other"),
        ("o <= a", "o <= <= a", "line 7: syntax error"),
        ("o 5\n", "o 6\n", "port o is declared with 6 bits, 'sum' has 5"),
        ("o 5\n", "o 5, p 1\n", "port p is declared, 'sum' has no such port"),
        ("endmodule", "box x(a);\nendmodule", "Module `\\box' referenced in module"),
        ("always @(posedge clk)", "always @* if (clk)", "own.v: D latches are not supported"),
        (
            "input clk, input [3:0] a, b, output reg [4:0] o);\n",
            "input clk, c2, input [3:0] a, b, output reg [4:0] o);\n"
            "always @(posedge c2) o[4] <= a[0];\n",
            "must have one port's rising edge, not c2, clk",
        ),
        ("posedge clk", "posedge clk or posedge b[0]", "Multiple edge sensitive"),
        (
            "posedge",
            "negedge",
            "must have one port's rising edge, not a falling edge or a clock that",
        ),
        ("o <= a + b;", "if (a[0]) o <= 0; else o <= b;", None),
    ],
)
def test_a_wrong_verilog_file_is_one_line(old, new, message, tmp_path):
    text = VERILOG.replace(old, new, 1)
    if message is None:
        assert user_file.measure(_file(tmp_path, text, "own.v"))[0]["ge"] > 5
        return
    if "c2" in new:
        text = text.replace("o <= a + b", "o[3:0] <= a + b").replace("a 4,", "c2 1, a 4,")
    assert message in _refused(_file(tmp_path, text, "own.v"))


@pytest.mark.parametrize(
    ("logic", "flip_flops"),
    [
        ("output [3:0] o); assign o = a;", 0),
        ("output [3:0] o); assign o = 3;", 0),
        ("output reg [3:0] o); always @(posedge clk) o <= a;", 4),
    ],
)
def test_units_without_gates_have_no_delay(logic, flip_flops, tmp_path):
    head = VERILOG[: VERILOG.index("module")].replace("b 4, o 5", "o 4")
    text = f"{head}module adder(input clk, input [3:0] a, {logic} endmodule\n"
    (row,) = user_file.measure(_file(tmp_path, text, "own.v"))
    assert row["fo4"] is None
    assert row["speeds"] == []
    assert row["flip_flops"] == flip_flops
    assert (row["ge"] > 0) == (flip_flops > 0)


def test_a_carry_along_a_bus_is_no_loop(tmp_path):
    carry = "wire [4:0] c; assign c = {(a & b) | (c[3:0] & (a | b)), 1'b0};\n"
    text = VERILOG.replace("  always", carry + "  always").replace("a + b", "{1'b0, a ^ b} ^ c")
    (row,) = user_file.measure(_file(tmp_path, text, "own.v"))
    assert row["fo4"] > 3


def test_a_verilog_file_is_utf_8_with_or_without_its_mark(tmp_path):
    marked, plain, binary = (tmp_path / f"{name}.v" for name in ("marked", "plain", "binary"))
    marked.write_bytes(b"\xef\xbb\xbf" + VERILOG.encode())
    plain.write_text(VERILOG)
    binary.write_bytes(VERILOG.encode() + b"// \xff\n")
    assert user_file.measure(marked) == user_file.measure(plain)
    assert "binary.v: must be UTF-8, byte" in _refused(binary)


def test_files_that_are_none_are_one_line(tmp_path):
    assert "No such file" in _refused(tmp_path / "none.py")
    assert "No such file" in _refused(tmp_path / "none.v")
    assert "must end in .py or .v" in _refused(_file(tmp_path, "", "own.txt"))
    own = _file(tmp_path, VERILOG, "own.v")
    assert "of the study, not of --unit" in _refused(own, "--check", str(own))
    assert "No such file" in _refused(own, "--liberty", str(tmp_path / "none.lib"))
    assert own.read_text() == VERILOG
    assert "INT8" in FAMILIES
