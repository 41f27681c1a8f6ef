"""``spu area --unit``: units of users' own, and what can be wrong with them."""

import json

import pytest
from typer.testing import CliRunner

from spu.command.main import app
from verif.area import user
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
    (component,) = user.measure(own)
    (verilog,) = user.measure(_file(tmp_path, VERILOG, "own.v"))
    assert component["ge_per_mac"] == component["ge"] / 2
    assert component["ge_adder_cells"] <= component["ge"]
    assert len(component["speeds"]) == 3
    assert component["flip_flops"] == verilog["flip_flops"] == 5
    # Amaranth's registers have a reset.
    assert verilog["ge"] < component["ge"] < verilog["ge"] + 5 * 2
    assert "dot_sqnr_db" not in component


def test_sums_that_a_unit_says_are_rated(tmp_path):
    text = ADDER + "unit = UserUnit('sum', 2, 8, Adder(), dots=lambda a, b: a.round(1) @ b.T)"
    (row,) = user.measure(_file(tmp_path, text))
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
    shown = list(user.rows([row], {"rows": [*near, {"unit": "of another schema"}]}))
    assert [r[0] for r in shown[1:]] == ["sum", "small, dot16", "large, dot16"]


def test_a_familys_rows_are_those_of_its_default_and_its_lean_unit(tmp_path, monkeypatch):
    text = """
from verif.area.families import FAMILIES, Family
family = Family("own", FAMILIES["PAL4U"].axes, FAMILIES["PAL4U"].make)
"""
    monkeypatch.setattr(user, "unit", lambda path, shape, cut, _: (path.setting, shape.name, cut))
    monkeypatch.setattr(user, "smallest", lambda *_: (7, 2, 2, 0))
    found = user.measure(_file(tmp_path, text))
    assert [r[1:] for r in found] == [
        (shape, cut) for cut in ("default", "lean") for shape in user.SHAPES
    ]
    assert len({r[0] for r in found}) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit = UserUnit('PAL8T', 1, 8, Adder())", "unit PAL8T has the name of a family"),
        ("unit = UserUnit('x', 0, 8, Adder())", "macs of x must be a whole number from 1, not 0"),
        ("unit = UserUnit('x', 1, '8', Adder())", "bits of x must be a number from 1, not '8'"),
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
            "port b is declared with 3 bits, x has 4",
        ),
        (
            "unit = UserUnit('x', 1, 8, Adder(), ports={'a': 4, 'b': 4})",
            "port o is declared with 0 bits, x has 5",
        ),
        (
            "from dataclasses import replace\nfrom verif.area.families import FAMILIES\n"
            "family = FAMILIES['INT8']",
            "family INT8 has the name of a family",
        ),
    ],
)
def test_a_wrong_python_file_is_one_line(text, message, tmp_path):
    assert message in _refused(_file(tmp_path, ADDER + text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("// macs: 2\n", "", "lacks a line '// macs: ...' at its top"),
        ("macs: 2", "macs: two", "macs and bits must be numbers"),
        ("b 4, o 5", "b 4 bits", "ports must be names with their bits, not 'b 4 bits'"),
        ("unit: sum", "unit: MXINT8", "unit MXINT8 has the name of a family"),
        ("top: adder", "top: other", "Module `other' not found"),
        ("o <= a", "o <= <= a", "line 7: syntax error"),
        ("o 5\n", "o 6\n", "port o is declared with 6 bits, sum has 5"),
        ("o 5\n", "o 5, p 1\n", "port p is declared with 1 bits, sum has 0"),
        ("endmodule", "box x(a);\nendmodule", "Module `\\box' referenced in module"),
        ("always @(posedge clk)", "always @* if (clk)", "own.v: D latches are not supported"),
        (
            "input clk, input [3:0] a, b, output reg [4:0] o);\n",
            "input clk, c2, input [3:0] a, b, output reg [4:0] o);\n"
            "always @(posedge c2) o[4] <= a[0];\n",
            "must have one port's rising edge, not c2, clk",
        ),
        ("posedge clk", "posedge clk or posedge b[0]", "Multiple edge sensitive"),
        ("posedge", "negedge", "must have one port's rising edge, not what is no port"),
        ("o <= a + b;", "if (a[0]) o <= 0; else o <= b;", None),
    ],
)
def test_a_wrong_verilog_file_is_one_line(old, new, message, tmp_path):
    text = VERILOG.replace(old, new, 1)
    if message is None:
        assert user.measure(_file(tmp_path, text, "own.v"))[0]["ge"] > 5
        return
    if "c2" in new:
        text = text.replace("o <= a + b", "o[3:0] <= a + b").replace("a 4,", "c2 1, a 4,")
    assert message in _refused(_file(tmp_path, text, "own.v"))


def test_files_that_are_none_are_one_line(tmp_path):
    assert "No such file" in _refused(tmp_path / "none.py")
    assert "No such file" in _refused(tmp_path / "none.v")
    assert "must end in .py or .v" in _refused(_file(tmp_path, "", "own.txt"))
    own = _file(tmp_path, VERILOG, "own.v")
    assert "of the study, not of --unit" in _refused(own, "--check", str(own))
    assert "No such file" in _refused(own, "--liberty", str(tmp_path / "none.lib"))
    assert own.read_text() == VERILOG
    assert "INT8" in FAMILIES
