"""Damaged files: a line and exit code 2, or the right answer; never an error of our own."""

import io
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from spu.arch.package import manifest
from spu.command.main import app
from verif.digits.data import MODEL, split
from verif.stimulus import dataflows

RUN = CliRunner()


def _spu(*line):
    """Exit code and stderr of a command, without the lines that tell of progress."""
    result = RUN.invoke(app, [str(word) for word in line])
    said = [t for t in result.stderr.splitlines(keepends=True) if not t.startswith("... ")]
    if result.exit_code:
        assert len(said) == 1, result.stderr
    return result.exit_code, "".join(said)


def _built(path, kind):
    """A compiled model, and an input of it."""
    if kind == "pipeline":
        np.save(path / "x.npy", split()[2][:1])
        model, options = MODEL, ()
    else:
        value, weights = onnx.helper.make_tensor_value_info, np.random.default_rng(2)
        model, options = path / "m.onnx", ("--strategy", "steps")
        nodes = [
            onnx.helper.make_node("MatMul", ["x", "w"], ["p"]),
            onnx.helper.make_node("Tanh", ["p"], ["y"]),
        ]
        onnx.save(
            onnx.helper.make_model(
                onnx.helper.make_graph(
                    nodes,
                    "m",
                    [value("x", 1, [2, 8])],
                    [value("y", 1, [2, 4])],
                    [
                        onnx.numpy_helper.from_array(
                            weights.normal(size=(8, 4)).astype(np.float32), "w"
                        )
                    ],
                ),
                ir_version=8,
                opset_imports=[onnx.helper.make_opsetid("", 18)],
            ),
            model,
        )
        np.save(path / "x.npy", weights.uniform(-1, 1, (2, 8)))
    assert _spu("compile", model, *options, "--arch", "tiny", "-o", path / "built") == (0, "")


def _damaged(content, rng):
    """Cut off, zeros in a row, or a few bits or bytes changed."""
    kind = rng.randrange(4)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range((1, 1, 8, 3)[kind]):
        place = rng.randrange(len(content))
        damaged[place : place + 1] = [
            bytes(1),
            bytes([damaged[place] ^ 1 << rng.randrange(8)]),
            bytes([rng.randrange(256)]),
        ][kind - 1]
    return bytes(damaged)


@pytest.mark.parametrize(("kind", "trials"), [("steps", 100), ("pipeline", 30)])
def test_a_damaged_compiled_model_is_refused_or_runs(kind, trials, tmp_path):
    _built(tmp_path, kind)
    files = sorted(p for p in (tmp_path / "built").rglob("*") if p.is_file())
    line = ("run", tmp_path / "built", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert _spu(*line) == (0, "")
    right, rng, codes = (tmp_path / "y.npy").read_bytes(), random.Random(7), []
    for trial in range(trials):
        path = files[trial % len(files)]
        content = path.read_bytes()
        path.write_bytes(_damaged(content, rng))
        code, message = _spu(*line)
        assert code in (0, 2), (path.name, trial, message)
        if code == 0:
            assert (tmp_path / "y.npy").read_bytes() == right, (path.name, trial)
        code_explained, message = _spu("explain", tmp_path / "built")
        assert code_explained in (0, 2), (path.name, trial, message)
        path.write_bytes(content)
        codes.append(code)
    assert codes.count(2) > trials * 2 // 3


@pytest.mark.parametrize("kind", ["steps", "pipeline"])
def test_a_report_that_was_changed_is_refused(kind, tmp_path):
    _built(tmp_path, kind)
    path = tmp_path / "built" / "report.json"
    report = json.loads(path.read_text())
    without = {k: v for k, v in report.items() if k != "digest"}
    for changed, message in (
        (report | {"arch": "basic"}, "report.json was changed or damaged"),
        (report | {"bytes": 1}, "report.json was changed or damaged"),
        (without, "not what spu compile wrote: 'digest'"),
        (report | {"version": 0}, f"has version 0, this spu reads {manifest.VERSION}"),
    ):
        path.write_text(json.dumps(changed))
        for line in (
            ("run", tmp_path / "built", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy"),
            ("explain", tmp_path / "built"),
        ):
            code, error = _spu(*line)
            assert (code, message in error) == (2, True), error


def test_the_file_that_was_changed_is_named(tmp_path):
    _built(tmp_path, "steps")
    kernel = tmp_path / "built" / "programs" / "kernel_0.spub"
    run = ("run", tmp_path / "built", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert _spu("explain", tmp_path / "built") == (0, "")
    kernel.write_bytes(kernel.read_bytes()[:-40])
    for line in (run, ("explain", tmp_path / "built")):
        code, error = _spu(*line)
        assert (code, "programs/kernel_0.spub was changed or damaged" in error) == (2, True), error


def test_arrays_that_nobody_listed_are_refused(tmp_path):
    """What is behind the last one, and a file that is not there."""
    _built(tmp_path, "steps")
    path = tmp_path / "built" / "arrays.bin"
    line = ("run", tmp_path / "built", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    path.write_bytes(path.read_bytes() + b"more")
    code, error = _spu(*line)
    assert (code, "arrays.bin was changed or damaged" in error) == (2, True), error
    path.unlink()
    code, error = _spu(*line)
    assert (code, "arrays.bin: No such file" in error) == (2, True), error


def test_a_compile_leaves_files_that_are_not_its_own(tmp_path):
    _built(tmp_path, "steps")
    built = tmp_path / "built"
    (built / "programs" / "mine.spub").write_text("by hand")
    (built / "notes.txt").write_text("notes")
    assert _spu("compile", MODEL, "--arch", "tiny", "-o", built) == (0, "")
    assert {str(p.relative_to(built)) for p in built.rglob("*") if p.is_file()} == {
        "program.spub",
        "report.json",
        "arrays.bin",
        "programs/mine.spub",
        "notes.txt",
    }
    (built / "programs" / "mine.spub").unlink()
    assert (
        _spu("compile", tmp_path / "m.onnx", "--strategy", "steps", "--arch", "tiny", "-o", built)[
            0
        ]
        == 0
    )
    assert not (built / "program.spub").exists()
    assert _spu("compile", MODEL, "--arch", "tiny", "-o", built) == (0, "")
    assert {p.name for p in built.iterdir()} == {
        "program.spub",
        "report.json",
        "arrays.bin",
        "notes.txt",
    }


@pytest.mark.parametrize("text", ['{"mine": 1}', '{"arch": "x86"}', "[]", "plain text"])
@pytest.mark.parametrize(
    ("name", "options", "refused"),
    [
        ("report.json", (), True),
        ("program.spub", (), True),
        ("arrays.bin", ("--strategy", "steps"), True),
        ("programs/kernel_0.spub", ("--strategy", "steps"), True),
        ("notes.txt", (), False),
    ],
)
def test_a_compile_replaces_nothing_of_others(name, options, refused, text, tmp_path):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    code, error = _spu("compile", MODEL, *options, "--arch", "tiny", "-o", tmp_path / "out")
    assert code == (2 if refused else 0), error
    if refused:
        assert f"{path}: is not of spu compile" in error
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda built: _cut(built / "report.json"), "report.json is damaged"),
        (lambda built: _cut(built / "arrays.bin"), "arrays.bin was changed or damaged"),
        (
            lambda built: (built / "report.json").write_text('{"arch": "tiny", "io": {}}'),
            "version none",
        ),
        (lambda built: (built / "report.json").unlink(), "no report.json"),
    ],
)
def test_a_damaged_directory_is_named_and_compiled_anew(damage, said, tmp_path):
    _built(tmp_path, "steps")
    damage(tmp_path / "built")
    line = ("run", tmp_path / "built", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    code, error = _spu(*line)
    assert (code, said in error) == (2, True), error
    again = (
        "compile",
        tmp_path / "m.onnx",
        "--strategy",
        "steps",
        "--arch",
        "tiny",
        "-o",
        tmp_path / "built",
    )
    assert _spu(*again) == (0, "")
    assert _spu(*line) == (0, "")
    damage(tmp_path / "built")
    for _ in range(2):
        assert _spu("compile", MODEL, "--arch", "tiny", "-o", tmp_path / "built") == (0, "")
    assert _spu(*again) == (0, "")
    assert _spu(*line) == (0, "")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def test_a_directory_in_the_place_of_arrays_is_named(tmp_path):
    _built(tmp_path, "steps")
    (tmp_path / "built" / "arrays.bin").unlink()
    (tmp_path / "built" / "arrays.bin").mkdir()
    code, error = _spu(
        "run", tmp_path / "built", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy"
    )
    assert (code, "arrays.bin: Is a directory" in error) == (2, True), error


def test_a_mapping_and_a_model_do_not_share_a_directory(tmp_path):
    _built(tmp_path, "pipeline")
    (tmp_path / "fir.json").write_text(json.dumps(dataflows.fir(4)))
    code, error = _spu("map", tmp_path / "fir.json", "-o", tmp_path / "built")
    assert (code, "has a report.json, as spu compile writes it" in error) == (2, True), error
    assert _spu("map", tmp_path / "fir.json", "-o", tmp_path / "mapped") == (0, "")
    code, error = _spu("compile", MODEL, "-o", tmp_path / "mapped")
    assert (code, "has a mapping.json, as spu map writes it" in error) == (2, True), error


def _claiming(shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return header.getvalue() + bytes(64)


@pytest.mark.parametrize("shape", [(1 << 44,), (10**31,), (1 << 21, 1 << 22)])
def test_arrays_that_claim_any_size_are_no_arrays(shape, tmp_path):
    _built(tmp_path, "steps")
    (tmp_path / "large.npy").write_bytes(_claiming(shape))
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("x.npy", _claiming(shape))
    for name in ("large.npy", "large.npz"):
        code, error = _spu(
            "run", tmp_path / "built", "--input", tmp_path / name, "-o", tmp_path / "y.npy"
        )
        assert (code, "not an .npy or .npz file" in error) == (2, True), error


@pytest.mark.parametrize("line", ["check {model}", "disasm {built}"])
def test_a_closed_output_is_no_error(line, tmp_path):
    """``>&-``: there is no standard output at all."""
    if "built" in line:
        _built(tmp_path, "pipeline")
    words = line.format(model=MODEL, built=tmp_path / "built")
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m spu {words} >&-'],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr
