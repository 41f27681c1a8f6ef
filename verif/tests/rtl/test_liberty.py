"""Liberty files as vendors write them, and as nobody should: read, or refused in one line."""

import gzip
import random
import time
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from rtl import liberty, liberty_text, probe
from rtl.boolean import FunctionError, names, truth_table
from rtl.gates import liberty as neutral_text
from rtl.liberty import INVERTED_STATE, STATE, LibraryError
from rtl.synthesis import synthesise
from spu.command.main import app

HEAD = """library (small) {
  time_unit : "1ns"; voltage_unit : "1V"; capacitive_load_unit (1, pf); nom_voltage : 1.1;
"""
CELLS = """  cell (INV) { area : 1.0; pin (A) { direction : input; capacitance : 0.001; }
    pin (Y) { direction : output; function : "!A"; } }
  cell (ND2) { area : 1.5; pin (A) { direction : input; capacitance : 0.002; }
    pin (B) { direction : input; capacitance : 0.002; }
    pin (Y) { direction : output; function : "!(A B)"; } }
  cell (DFF) { area : 6.0; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (CK) { direction : input; clock : true; capacitance : 0.001; }
    pin (D) { direction : input; capacitance : 0.001; }
    pin (Q) { direction : output; function : "IQ"; } }
"""
GOOD = HEAD + CELLS + "}\n"


def _read(tmp_path, content):
    path = tmp_path / "cells.lib"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return liberty.read(path)


def _changed(old, new, text=GOOD):
    assert old in text, old
    return text.replace(old, new)


def _facts(library):
    return {
        name: (c.area, c.inputs, c.functions, c.clock, c.data) for name, c in library.cells.items()
    }


WANTED = {
    "INV": (1.0, {"A": 0.001}, {"Y": "!A"}, None, None),
    "ND2": (1.5, {"A": 0.002, "B": 0.002}, {"Y": "!(A B)"}, None, None),
    "DFF": (6.0, {"CK": 0.001, "D": 0.001}, {"Q": STATE}, "CK", "D"),
}


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        "\ufeff" + GOOD,
        ("/* \xa9 2024, 0.13 \xb5m */\n" + GOOD).encode("latin-1"),
        GOOD.encode("utf-16"),
        gzip.compress(GOOD.encode(), mtime=0),
        GOOD.replace("\n", "\r\n"),
        "// library (old) { for; tests }\n" + GOOD + "// the end {",
        _changed("  cell (ND2)", "  /* cell (X) { \n */ // cell (Y) {\n  cell (ND2)"),
        _changed("pin (A) { direction : input; capacitance : 0.002; }\n    pin (B)", "pin (A, B)"),
        _changed(
            "pin (A) { direction : input; capacitance : 0.002; }\n    pin (B)", 'pin ("A", "B")'
        ),
        _changed("pin (A) { direction : input; capacitance : 0.002; }\n    pin (B)", 'pin ("A B")'),
        _changed('"CK"', '"(CK)"'),
        _changed('"CK"', "( CK )"),
        _changed('"CK"', '"!CK\'"'),
        _changed('"CK"', '"(!(CK))\'"'),
        _changed('next_state : "D"', 'next_state : "((D))"'),
        _changed('"IQ"', '"(IQN)\'"'),
        _changed("IQ, IQN) {", "P1, P2) {").replace('"IQ"', "P1"),
        _changed("ff (IQ, IQN) {", 'ff ("IQ", "IQN") {\n'),
        _changed("area : 1.5;", 'area : "1.5" ;'),
        _changed("area : 1.5;", "area : 1.5\n"),
        _changed("area : 1.5;", "area : \\\n 1.5;"),
        _changed("(1, pf);", '(1,"pF")\n'),
        _changed("(1, pf)", "( \\ \n 1 , \\\n pf )"),
        _changed("(1, pf);", "(1, pf);;"),
        _changed('function : "!A";', 'function : "!A"'),
        _changed("direction : input", 'direction:"input"'),
        _changed("(1, pf)", "(1000, ff)"),
        _changed("nom_voltage : 1.1", "nom_voltage : 1100").replace('"1V"', '"1mV"'),
        _changed(
            "nom_voltage : 1.1;",
            "default_operating_conditions : typical;\n"
            "operating_conditions (typical) { voltage : 1.1 }",
        ),
        _changed("capacitance : 0.001; }\n    pin (Y)", "}\n    pin (Y)").replace(
            HEAD, HEAD + "default_input_pin_cap : 0.001;\n"
        ),
    ],
)
def test_what_vendors_write_is_read(content, tmp_path):
    library = _read(tmp_path, content)
    assert _facts(library) == WANTED
    assert (library.voltage, library.capacitance_pf) == pytest.approx((1.1, 1.0))
    # What yosys and abc get says the same, beside cells that are too large to be used.
    again = _facts(_read(tmp_path, library.text))
    assert {name: facts for name, facts in again.items() if facts[0] < 1e9} == WANTED


ODD = {
    "latches": 'latch (IQ, IQN) { enable : "A"; data_in : "A"; }',
    "state tables": 'statetable ("A", "IQ") { table : "H : - : H"; }',
    "flip-flop banks": 'ff_bank (IQ, IQN, 4) { clocked_on : "A"; next_state : "A"; }',
    "buses": "bus (D) { bus_type : four; direction : input; pin (D[3:0]) { capacitance : 1; } }",
    "three-state outputs": 'pin (Z) { direction : output; function : "A"; three_state : "A"; }',
    "dont_use": "dont_use : true;",
    "no function": "",
    "several flip-flops": 'ff (a, b) { clocked_on : "A"; next_state : "A"; } '
    'ff (c, d) { clocked_on : "A"; next_state : "A"; } '
    'pin (Z) { direction : output; function : "a"; }',
    "flip-flops of another kind": 'ff (a, b) { clocked_on : "!A"; next_state : "A"; } '
    'pin (Z) { direction : output; function : "a"; }',
    "functions of pins that are no inputs": "pin (P) { direction : inout; } "
    'pin (Z) { direction : output; function : "A P"; }',
    "more than 6 inputs": "pin ("
    + ", ".join(f"B{i}" for i in range(24))
    + ") { direction : input; } "
    'pin (Z) { direction : output; function : "' + " ".join(f"B{i}" for i in range(24)) + '"; }',
}


@pytest.mark.parametrize("reason", ODD)
def test_odd_cells_are_left_out_with_the_reason(reason, tmp_path):
    odd = f"cell (ODD) {{ pin (A) {{ direction : input; }} {ODD[reason]} }}"
    began = time.process_time()
    library = _read(tmp_path, HEAD + odd + CELLS + "}")
    assert time.process_time() - began < 0.5
    assert _facts(library) == WANTED
    assert library.left_out == {reason: ["ODD"]}
    assert f"1 of 4 cells left out: 1 with {reason} (ODD)" in library.remarks()
    assert "ODD" not in library.text


def test_flip_flops_are_told_by_what_their_functions_mean(tmp_path):
    """Not by their names: one output is the state, the other its inverse."""
    text = _changed("(IQ, IQN)", "(SN, P)").replace(
        'function : "IQ"; }', 'function : "SN"; } pin (QB) { direction : output; function : "P"; }'
    )
    assert _read(tmp_path, text).cells["DFF"].functions == {"Q": STATE, "QB": INVERTED_STATE}


@pytest.mark.parametrize(
    ("content", "line", "cause"),
    [
        (
            _changed("(1, pf)", "(1)"),
            2,
            r"capacitive_load_unit must be a number and ff or pf, not \(1",
        ),
        (_changed("(1, pf)", "()"), 2, "must be a number and ff or pf"),
        (_changed("(1, pf)", "(1, nf)"), 2, r"not \(1, nf\)"),
        (_changed("(1, pf)", "(one, pf)"), 2, "could not convert capacitive_load_unit 'one'"),
        (_changed("(1, pf)", "(0, pf)"), 2, "must be above 0"),
        (_changed('"1ns"', '"1us"'), 2, "time_unit '1us' is not a time of 1ns, 100ps, 10ps, 1ps"),
        (_changed('"1V"', '"1"'), 2, "voltage_unit '1' is not a voltage"),
        (_changed("nom_voltage : 1.1", "nom_voltage : high"), 2, "convert nom_voltage 'high'"),
        (_changed("nom_voltage : 1.1", "nom_voltage : -1"), 1, "the supply is -1 V"),
        (_changed("area : 1.5;", ""), 5, "cell ND2 has no area"),
        (_changed("area : 1.5;", "area : 0;"), 5, "cell ND2 has an area of 0; it must be above 0"),
        (_changed("area : 1.5", "area : nan"), 5, "could not convert area 'nan' to a number"),
        (_changed("area : 1.5", "area 1.5"), 5, "'area' is neither an attribute nor a group"),
        (_changed("capacitance : 0.002", "capacitance : x"), 5, "convert capacitance 'x'"),
        (_changed('"!(A B)"', '"!(A B"'), 5, r"lacks a '\)'"),
        (_changed('"!(A B)"', '"!(A Z)"'), 5, "names 'Z', which is no input"),
        (_changed('"!(A B)"', '"' + "(" * 9999 + 'A"'), 5, "nested too deeply"),
        (_changed('clocked_on : "CK"; ', ""), 8, "its flip-flop has no clocked_on"),
        (_changed("pin (B)", "pin ()"), 6, "a pin without a name"),
        (_changed("cell (ND2)", "cell ()"), 5, "a cell has one name"),
        (_changed("cell (ND2) {", "cell (ND2 {"), 5, r"the '\(' after 'cell' is not closed"),
        (_changed("cell (ND2) {", "cell (ND2) ("), 5, "'\\(' after 'cell' is out of place"),
        (_changed("cell (ND2) {", "(ND2) {"), 5, "'\\(' without a name before it"),
        (_changed("cell (ND2) {", "cell : ND2 {"), 5, "cell : ... is no group"),
        (GOOD + "}", 13, "a '}' too many"),
        (GOOD[:-3], 11, "truncated: it ends inside group 'library small'"),
        (
            GOOD[: GOOD.index("pin (CK")] + "pin (CK",
            9,
            "truncated: it ends before the '\\)' of 'pin'",
        ),
        (
            _changed("// ", "", "// " + GOOD) + "/* never closed",
            13,
            "truncated: .* inside a comment",
        ),
        (_changed('"!(A B)"', '"!(A B)'), 11, "truncated: it ends inside a string"),
        (HEAD + "a () {" * 40, 3, "groups are nested too deeply"),
        (
            _changed("cell (ND2)", "include_file (none.lib);\n cell (ND2)"),
            5,
            "none.lib: No such file",
        ),
        (
            _changed("cell (ND2)", "include_file (cells.lib);\n cell (ND2)"),
            5,
            "which does not include",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_line(content, line, cause, tmp_path):
    with pytest.raises(LibraryError, match=cause) as error:
        _read(tmp_path, content)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 500 + len(str(tmp_path))
    assert f"{tmp_path}/cells.lib:{line}: " in str(error.value)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "no library group"),
        (b"\x1f\x8b rubbish", "it is not whole"),
        (b"a\0b", "it is not text"),
        (gzip.compress(GOOD.encode(), mtime=0)[:100], "it is not whole"),
        (_changed("!(A B)", "A B"), "has no NAND2, which every unit needs"),
        (
            _changed('"CK"', '"!CK"'),
            "no positive-edge D flip-flop.* 1 with flip-flops of another kind "
            r"\(DFF\)",
        ),
    ],
)
def test_files_that_are_no_libraries_say_so(content, cause, tmp_path):
    with pytest.raises(LibraryError, match=cause) as error:
        _read(tmp_path, content)
    assert str(tmp_path / "cells.lib") in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_included_files_are_read_and_named_in_errors(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "flops.lib").write_text("\n" + CELLS[CELLS.index("  cell (DFF)") :])
    text = HEAD + CELLS[: CELLS.index("  cell (DFF)")] + 'include_file ("more/flops.lib");\n}\n'
    assert _facts(_read(tmp_path, text)) == WANTED
    (tmp_path / "more" / "flops.lib").write_text("\n\ncell (DFF) { area 6; }")
    with pytest.raises(LibraryError, match=r"more/flops\.lib:3: 'area' is neither"):
        _read(tmp_path, text)


def test_what_is_not_said_is_assumed_and_told(tmp_path):
    library = _read(tmp_path, _changed("capacitive_load_unit (1, pf); nom_voltage : 1.1;", ""))
    assert (library.capacitance_pf, library.voltage) == (1.0, 1.0)
    assert library.remarks() == [
        "no capacitive_load_unit: 1 pF assumed",
        "no nom_voltage: 1 V assumed",
        "no delays are measured, for lack of timing of 2 gates (INV, ND2)",
    ]
    assert not library.timed
    assert liberty.neutral().timed


def test_the_plain_text_maps_to_the_same_cells(tmp_path):
    """Of the library without a process; and one of two kinds of gates maps at all."""
    text = neutral_text().replace("library(neutral)", "library(process)")
    plain = _read(tmp_path, text)
    netlists = [
        synthesise(probe.Probe(), library, recipes=1) for library in (liberty.neutral(), plain)
    ]
    assert netlists[0].cells == netlists[1].cells
    small = _read(tmp_path, GOOD)
    assert set(synthesise(probe.Probe(), small, recipes=1).cells) == {"INV", "ND2", "DFF"}
    probe.check(small, "small")
    with pytest.raises(LibraryError, match="nothing can be mapped to its cells"):
        probe.check(replace(small, text=small.text.replace('"!A"', '"A"')), "small.lib")


def test_functions_of_many_pins_are_read_in_time():
    wide = " ".join(f"p{i}" for i in range(20_000))
    began = time.process_time()
    assert len(names(wide)) == 20_000
    for expression in ("!" * 50_000 + "A", "A" + "'" * 50_000, "A|" * 50_000 + "A"):
        assert truth_table(expression, ["A"]) == 0b10
    assert truth_table('"1A" & bus[3]', ["1A", "bus[3]"]) == 0b1000
    with pytest.raises(FunctionError, match="nested too deeply"):
        truth_table("(" * 50_000, ["A"])
    assert time.process_time() - began < 2


def test_mutated_files_are_read_or_refused_in_one_line(tmp_path):
    """Bytes lost, doubled, exchanged; words and marks of the language anywhere."""
    rng = random.Random(0)
    text = neutral_text()
    start = text.index("cell(XOR2)")
    base = (
        text[: text.index("cell(INV)")]
        + CELLS
        + text[start : text.index("cell(MUX2)")]
        + ODD["buses"]
        + "}\n"
    ).encode()
    words = [
        b"{",
        b"}",
        b"(",
        b")",
        b";",
        b":",
        b'"',
        b"\\\n",
        b"/*",
        b"*/",
        b"//",
        b"\xff",
        b"\0",
        b"cell (X) {",
        b"pin (",
        b"area : ",
        b"include_file (cells.lib);",
        b"1e999",
        b"-",
    ]
    tally = {"read": 0, "refused": 0}
    began = time.process_time()
    for _ in range(400):
        content = bytearray(base)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at, length = rng.randrange(len(content)), rng.choice((1, 1, 3, 40))
            change = rng.randrange(4)
            if change == 0:
                del content[at : at + length]
            elif change == 1:
                content[at:at] = rng.choice(words)
            elif change == 2:
                content[at : at + length] = bytes(rng.randrange(256) for _ in range(length))
            else:
                content[at:at] = content[at : at + 5 * length]
        message = ""
        try:
            _read(tmp_path, bytes(content))
        except LibraryError as error:
            message = str(error)
        tally["refused" if message else "read"] += 1
        assert len(message.splitlines()) <= 1, message
        assert not message or "cells.lib" in message
    assert tally["read"] > 20
    assert tally["refused"] > 100
    assert time.process_time() - began < 30


def test_the_command_refuses_at_once_and_leaves_nothing(tmp_path):
    path = tmp_path / "cells.lib"
    path.write_text(_changed("area : 1.5;", ""))
    began = time.monotonic()
    for arguments, cause in (
        (["--liberty", str(path)], r"cells.lib:5: cell ND2 has no area"),
        (["--liberty", str(tmp_path / "none.lib")], "none.lib: No such file"),
        (["--check", str(path)], "not results of spu area"),
    ):
        done = CliRunner().invoke(
            app,
            [
                "area",
                *arguments,
                "--json",
                str(tmp_path / "out.json"),
                "--plots",
                str(tmp_path / "plots"),
            ],
        )
        assert done.exit_code == 2
        assert cause in " ".join(done.output.split())
        assert "Traceback" not in done.output
    path.write_text('[{"rows": 1}]')
    done = CliRunner().invoke(app, ["area", "--check", str(path)])
    assert (done.exit_code, "not results of spu area" in done.output) == (2, True)
    assert [p.name for p in tmp_path.iterdir()] == ["cells.lib"]
    assert time.monotonic() - began < 60


def test_values_of_every_kind_survive_the_plain_text():
    text = (
        'library (a) { x : "say \\"so\\", or; {not}"; y (1, "2, 3", -4e-5); z : 1 + 2; g () { } }'
    )
    once = liberty_text.parse(text, "text")
    again = liberty_text.parse(liberty_text.plain(once), "text")
    assert {k: v.values for k, v in once.attributes.items()} == {
        "x": ['say "so", or; {not}'],
        "y": ["1", "2, 3", "-4e-5"],
        "z": ["1 + 2"],
    }
    assert {k: v.values for k, v in again.attributes.items()} == {
        k: v.values for k, v in once.attributes.items()
    }
