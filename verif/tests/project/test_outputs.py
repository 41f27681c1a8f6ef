"""Outputs: none replaces what is read, no name is empty, suffixes say what is written."""

import shutil

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from spu.command.main import app
from verif.digits.data import MODEL, split

RUN = CliRunner()


def _spu(line, code=0):
    """Run a command line; for an error, its one line on stderr."""
    result = RUN.invoke(app, line if isinstance(line, list) else line.split())
    assert result.exit_code == code, result.output
    if code:
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr.strip()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A directory with a program, a model in steps, inputs of each, and other files."""
    tmp_path = tmp_path_factory.mktemp("built")
    _spu(["compile", str(MODEL), "--arch", "tiny", "-o", str(tmp_path / "program")])
    np.save(tmp_path / "x.npy", split()[2][:2])
    (tmp_path / "link.npy").symlink_to("x.npy")
    value = onnx.helper.make_tensor_value_info
    onnx.save(
        onnx.helper.make_model(
            onnx.helper.make_graph(
                [
                    onnx.helper.make_node("Neg", ["a"], ["n"]),
                    onnx.helper.make_node("Transpose", ["n"], ["b"]),
                ],
                "m",
                [value("a", 1, [2, 3])],
                [value("b", 1, [3, 2])],
            ),
            ir_version=8,
            opset_imports=[onnx.helper.make_opsetid("", 18)],
        ),
        tmp_path / "m.onnx",
    )
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    _spu(
        [
            "compile",
            str(tmp_path / "m.onnx"),
            "--strategy",
            "steps",
            "--arch",
            "tiny",
            "-o",
            str(tmp_path / "steps"),
        ]
    )
    (tmp_path / "o").mkdir()
    for name in ("o/mapping.json", "o/program.spub", "o/report.json", "o/arrays.bin", "area.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path


@pytest.fixture
def here(built, tmp_path, monkeypatch):
    """A copy of ``built``, which is the working directory."""
    shutil.copytree(built, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for module in ("verif.numerics.study", "verif.area.study"):
        monkeypatch.setattr(f"{module}.study", lambda *_, **__: pytest.fail("was begun"))
    return tmp_path


def _files(path):
    return {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "line",
    [
        "run program --input x.npy -o x.npy",
        "run program --input x.npy -o link.npy",
        "run program --input link.npy -o ./program/../x.npy",
        "run program --input x.npy -o y.npy --json x.npy",
        "run program --input x.npy -o program/program.spub",
        "run program --input x.npy -o y.npy --json program/report.json",
        "run steps --input a.npy -o a.npy",
        "run steps --input a.npy -o steps/arrays.bin",
        "run steps --input a.npy -o steps/programs/kernel_0.spub",
        "compile o/program.spub -o o",
        "compile o/report.json --strategy steps -o o",
        "compile m.onnx --strategy steps --calibrate o/arrays.bin -o o",
        "compile m.onnx --strategy steps --calibrate steps/programs/kernel_0.spub -o steps",
        "asm x.npy -o x.npy",
        "map o/mapping.json -o o",
        "sim --arch tiny --program o/program.spub -o o",
        "sim --arch tiny --rtl o/report.json -o o",
        "area --json area.json --check area.json",
        "area --json area.json --liberty area.json",
        "area --json area.json --unit area.json",
    ],
)
def test_what_is_read_is_not_overwritten(line, here):
    before = _files(here)
    assert "is read, and would be overwritten; the output needs another name" in _spu(line, 2)
    assert _files(here) == before


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("compile m.onnx -o @", "-o"),
        ("compile m.onnx --strategy steps --output=@", "--output"),
        ("compile @ -o y", "an argument"),
        ("run program --input x.npy -o @", "-o"),
        ("run program --input x.npy -o y.npy --json @", "--json"),
        ("run @ --input x -o y", "an arg"),
        ("sim -o @", "-o"),
        ("map g --output @", "--output"),
        ("rtl -o @", "-o"),
        ("asm x -o @", "-o"),
        ("numerics --plots @", "--plots"),
        ("numerics --json=@", "--json"),
        ("numerics --format @", "--format"),
        ("area --plots @", "--pl"),
        ("explain @", "an argument"),
        ("check @", "an argument"),
        ("disasm @", "an argument"),
    ],
)
def test_no_name_is_empty(line, name, here):
    """An empty path is the directory that one is in, which nobody asked for."""
    before = _files(here)
    said = _spu([word.replace("@", "") for word in line.split()], 2)
    assert said.startswith(f"spu: error: {name}")
    assert " is empty" in said
    assert _files(here) == before


@pytest.mark.parametrize(
    ("directory", "given", "output"), [("program", "x.npy", "logits"), ("steps", "a.npy", "b")]
)
def test_the_suffix_says_how_outputs_are_written(directory, given, output, here):
    for name in ("y.npy", "y.npz", "y"):
        _spu(f"run {directory} --input {given} -o {name}")
    content = np.load(here / "y.npz")
    assert content.files == [output]
    assert np.array_equal(content[output], np.load(here / "y.npy"))
    assert (here / "y").read_bytes() == (here / "y.npy").read_bytes()
