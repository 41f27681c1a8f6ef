"""The command line where a tool is missing, an output cannot be written, or a path is odd."""

import errno
import os
import resource
import shutil
import subprocess
import sys

import cocotb_tools.config
import numpy as np
import pytest
from typer.testing import CliRunner

from rtl import simulator, tools, verilate
from rtl.simulator import MissingTool, SimulationError
from rtl.tools import verilator_root
from spu.arch import files
from spu.arch.package.store import save
from spu.command import common, group
from spu.command.main import app
from spu.command.options import SimName
from spu.engine.rtl_run import BUILD
from verif.digits.data import MODEL, split

RUN = CliRunner()


def _lines(arguments, code):
    """Run a command line; its one line on stderr."""
    result = RUN.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("spu: error: ")
    return result.stderr.strip()


@pytest.fixture
def program(compiled, tmp_path):
    """Directory with the digits model for ``tiny``, and an image beside it."""
    save(compiled("tiny").package, tmp_path / "program")
    np.save(tmp_path / "x.npy", split()[2][:1])
    return tmp_path / "program"


# Usage.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nothing", "No such command 'nothing'; see spu --help"),
        ("--nothing", "No such option: --nothing; see spu --help"),
        ("compile", "Missing argument 'model'; see spu compile --help"),
        (
            "compile m -o d --arch huge",
            "--arch huge: no such array; there are tiny, basic, basic-8t, large, or",
        ),
        ("compile m -o d --batch 0", "--batch 0: must be"),
        ("compile m -o d --batch few", "--batch few: must be"),
        ("compile m -o d --strategy quick", "'--strategy'"),
        ("run d --input x", "Missing option"),
        ("sim --images 361", "'--images'"),
        ("sim --stall-share 1", "'--stall-share'"),
        ("map g --seed -1", "'--seed'"),
        ("disasm a b", "unexpected extra argument"),
        ("fpga", "Missing argument"),
        ("fpga nothing", "no family 'nothing'; there are"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments, said):
    assert said in _lines(arguments.split(), 2)


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], [], ["compile", "-h"]])
def test_help_is_given_in_every_way(arguments):
    result = RUN.invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: spu")


def test_the_version_is_that_of_the_package():
    result = RUN.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, "spu 0.1.0\n")


@pytest.mark.parametrize(
    ("words", "number", "offered"),
    [
        ("spu co", 1, ["compile", "compare"]),
        ("spu run --eng", 2, ["--engine"]),
        ("spu rtl --arch ", 3, ["tiny", "basic", "basic-8t", "large"]),
    ],
)
def test_a_shell_completes(words, number, offered):
    done = subprocess.run(
        [sys.executable, "-m", "spu"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_SPU_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
        },
    )
    assert done.stdout.split() == offered


def test_a_near_command_is_offered():
    assert "No such command 'compil'; did you mean 'compile'" in _lines(["compil"], 2)


def test_simulators_are_those_that_there_are():
    assert tuple(SimName) == tools.SIMULATORS


# What goes wrong inside.


def test_an_error_of_our_own_is_one_line_with_a_code_of_its_own(program, monkeypatch):
    def broken(image):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("compiler.text.disassemble.disassemble", broken)
    said = _lines(["disasm", program], 70)
    assert "internal error" in said
    assert "ZeroDivisionError: by nothing (test_tools.py:" in said
    monkeypatch.setenv("SPU_DEBUG", "1")
    assert "Traceback" in RUN.invoke(app, ["disasm", str(program)]).stderr


def test_an_interrupted_command_ends_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("compiler.build.compile_model", interrupted)
    assert "interrupted" in _lines(["compile", MODEL, "-o", tmp_path / "out"], 130)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_enough_is_no_error(program):
    command = (
        f"{sys.executable} -m spu disasm '{program}' --assembly | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == str(common.EXIT_BROKEN_PIPE)


def test_progress_is_told_on_a_pipe_too(capfd, monkeypatch):
    monkeypatch.setattr(common, "PAUSE", 0.05)
    with common.working("compiling") as note:
        note("II 10")
        common.threading.Event().wait(0.2)
    lines = capfd.readouterr().err.splitlines()
    assert lines
    assert all(line == "... compiling: II 10 (0 s)" for line in lines)


def test_a_table_is_not_cut_on_a_pipe(program):
    done = subprocess.run(
        [sys.executable, "-m", "spu", "explain", str(program)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "20", "NO_COLOR": "1"},
    )
    assert "matrix units" in done.stdout
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout


# Outputs are looked at before anything else: here nothing that comes in exists.

COMMANDS = {
    "directory": [
        "compile none -o {}",
        "compile none --strategy steps -o {}",
        "map none -o {}",
        "sim --program none -o {}",
        "numerics --plots {}",
        "area --plots {}",
    ],
    "file": [
        "run none --input none -o {}",
        "run none --input none -o y.npy --json {}",
        "asm none -o {}",
        "rtl -o {}",
    ],
}


@pytest.mark.parametrize(
    ("kind", "command"), [(kind, c) for kind, commands in COMMANDS.items() for c in commands]
)
def test_outputs_that_cannot_be_written_are_refused_before_any_work(
    kind, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for module in ("verif.numerics.study", "verif.area.study"):
        monkeypatch.setattr(f"{module}.study", lambda *_, **__: pytest.fail("was begun"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    places = {
        "directory": {
            "file": "is no directory",
            "file/below": "is no directory",
            "/proc/none": "/proc/none: ",
        },
        "file": {
            "folder": "is a directory",
            "none/y": "no such directory",
            "file/y": "file",
            "/proc/none": "/proc/none: ",
        },
    }[kind]
    if command.startswith("sim"):  # reads what it is given first
        (tmp_path / "none").write_bytes(b"")
        monkeypatch.setattr("spu.arch.bitstream.decode", lambda *_: type("D", (), {"image": 0}))
    for place, said in places.items():
        assert said in _lines(command.format(place).split(), 2)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "none") == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_outputs_and_counters_need_a_file_each(program, tmp_path):
    y = tmp_path / "y.npy"
    said = _lines(["run", program, "--input", tmp_path / "x.npy", "-o", y, "--json", y], 2)
    assert "need a file each" in said


# A disk that is full in the middle of a file.


@pytest.fixture
def full():
    """``full(size)``: no file gets larger than ``size`` bytes."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, kept[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, kept)


def test_a_full_disk_is_named_by_file_and_nothing_is_left(full, program, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    full(150)
    said = _lines(
        [
            "run",
            program,
            "--input",
            tmp_path / "x.npy",
            "-o",
            tmp_path / "y.npy",
            "--json",
            tmp_path / "stats.json",
        ],
        2,
    )
    assert said == f"spu: error: {tmp_path / 'y.npy'}: File too large"
    full(resource.RLIM_INFINITY)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda sink: sink.write(bytes(1000)),
        lambda sink: np.save(sink, np.zeros(100)),
        lambda sink: np.savez(sink, a=np.zeros(100)),
        lambda sink: np.savez_compressed(sink, a=np.arange(100) ** 3 % 97),
    ],
)
def test_either_all_files_change_or_none(write, full, tmp_path):
    kept, broken = tmp_path / "kept", tmp_path / "new" / "deep" / "broken"
    kept.write_text("old")
    full(250)
    with pytest.raises(OSError, match="File too large") as error:
        files.replace_files({kept: lambda sink: sink.write(b"new"), broken: write})
    assert error.value.filename == str(broken)
    assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_text() == "old"
    full(resource.RLIM_INFINITY)
    files.replace_files({kept: lambda sink: sink.write(b"new"), broken: write})
    assert kept.read_text() == "new"
    assert broken.exists()
    assert sum(p.is_file() for p in tmp_path.rglob("*")) == 2


def test_files_that_are_written_at_the_same_time_are_told_apart(tmp_path):
    """As threads write: one file is begun and ended while another one is written."""
    one, other = tmp_path / "one", tmp_path / "other"

    def write(sink):
        sink.write(b"1")
        files.replace_file(other, lambda sink: sink.write(b"2"))
        sink.write(b"1")

    files.replace_file(one, write)
    assert (one.read_bytes(), other.read_bytes()) == (b"11", b"2")
    assert sorted(tmp_path.iterdir()) == [one, other]


def test_links_are_followed_and_devices_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    files.check_file(link)
    files.replace_file(link, lambda sink: sink.write(b"new"))
    assert link.is_symlink()
    assert target.read_text() == "new"
    files.check_file(tmp_path / os.devnull)
    files.replace_file(tmp_path / os.devnull, lambda sink: sink.write(b"gone"))
    assert not os.path.isfile(os.devnull)


# Simulators.


@pytest.mark.parametrize(
    "command", ["run {} --engine rtl --input x.npy -o y.npy", "sim --arch tiny -o out"]
)
def test_a_missing_tool_is_one_line_before_any_work(command, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("spu.engine.array.GoldenArray", "verif.simulate.pipeline"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("was begun"))
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    words = command.format(program).split()
    for name in ("make", "ar", "c++"):
        said = _lines(words, 2)
        assert f"{name} is not installed on this machine" in said
        (folder / name).write_text("#!/bin/sh\necho no licence >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    assert "the C++ compiler c++ does not work: no licence" in _lines(words, 2)
    monkeypatch.setitem(sys.modules, "verilator", None)
    assert "verilator is not installed" in _lines(words, 2)
    if shutil.which("iverilog") is None:
        assert "iverilog is not installed" in _lines([*words, "--sim", "icarus"], 2)


def test_python_without_a_shared_library_is_named(monkeypatch):
    monkeypatch.setattr(tools, "find_libpython", lambda: None)
    with pytest.raises(MissingTool, match="libpython"):
        simulator.require("verilator")
    assert not simulator.available("verilator")


BENCH = """
import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def inverts(dut):
    for clock in (0, 1, 0):
        dut.a.value = {value}
        dut.clk.value = clock
        await Timer(1, "ns")
    assert dut.o.value == 1
"""
INVERTER = """
module inv(input clk, input a, output reg o); always @(posedge clk) o <= ~a; endmodule
module top(input clk, input a, output o); inv inv(.clk(clk), .a(a), .o(o)); endmodule
"""


def test_a_simulator_is_built_and_run_where_paths_have_letters_that_make_has_not(
    tmp_path, monkeypatch
):
    """Spaces and more in all paths: of the build, with a block, of Verilator, of cocotb."""
    odd = tmp_path / "a b$HOME #ü'"
    # Verilator asks the system for its own path, so a link is not enough.
    shutil.copytree(verilator_root(), odd / "root")
    for name in ("libs_dir", "share_dir"):
        (odd / name).symlink_to(getattr(cocotb_tools.config, name))
        monkeypatch.setattr(cocotb_tools.config, name, odd / name)
    monkeypatch.setattr(verilate, "verilator_root", lambda: odd / "root")
    monkeypatch.syspath_prepend(str(odd))
    (odd / "cache").mkdir()
    for made in (BUILD / "sim-cache").resolve().glob("verilator-[rh]*"):  # runtime and headers
        (odd / "cache" / made.name).symlink_to(made)
    for value in (0, 1):
        (odd / f"bench{value}.py").write_text(BENCH.format(value=value))
    built = simulator.build(INVERTER, "top", odd / "cache", blocks=("inv",))
    built.run("bench0", odd / "run", expected=1)
    with pytest.raises(SimulationError):
        built.run("bench1", odd / "run", expected=1)


def test_a_temporary_folder_that_make_cannot_take_is_named(tmp_path, monkeypatch):
    odd = tmp_path / "a b"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    with pytest.raises(MissingTool, match="TMPDIR"):
        simulator.build("module m; endmodule", "m", odd)
    assert [p.suffix for p in odd.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("folder", "taken"),
    [
        ("a b", True),
        ("a$1 $", True),
        ("a#%'é", True),
        ("a$b", False),
        ("$_", False),
        ("a{b", False),
        ("a}", False),
    ],
)
def test_a_path_that_cannot_be_installed_from_is_one_line(folder, taken, tmp_path):
    (tmp_path / folder).mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(BUILD.parent / name, tmp_path / folder)
    done = subprocess.run(
        ["make", "setup", "PYTHON=false"],
        cwd=tmp_path / folder,
        check=False,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")},
    )
    assert done.returncode == 2
    assert ("== set-up" in done.stdout) == taken
    if not taken:
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert f"{tmp_path / folder}: no checkout can be installed" in line


def test_errors_of_the_system_name_their_file():
    assert group._known(OSError(errno.ENOSPC, "No space left on device", "there")) == 2
