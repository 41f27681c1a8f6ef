"""The command line: help, results, exit codes, and nothing left behind on bad input."""

import json
import re

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from spu.arch.package.store import load, save
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.run import run
from verif import simulate
from verif.digits.cnn import MODEL as CNN
from verif.digits.data import MODEL, split

RUN = CliRunner()
COMMANDS = (
    "compile",
    "run",
    "compare",
    "disasm",
    "asm",
    "rtl",
    "unit",
    "sim",
    "map",
    "explain",
    "check",
    "size",
    "plan",
    "plan-dags",
    "perf",
    "cluster",
    "fleet",
)


@pytest.fixture
def program(compiled, tmp_path):
    """Directory with the digits model for ``tiny``, and 3 images beside it."""
    save(compiled("tiny").package, tmp_path / "program")
    np.save(tmp_path / "x.npy", split()[2][:3])
    return tmp_path / "program"


def _files(path):
    return sorted(p.name for p in path.rglob("*") if p.is_file())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = RUN.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"Example: spu {command}" in " ".join(result.output.split())


def test_compile_writes_program_and_report(tmp_path):
    result = RUN.invoke(app, ["compile", str(MODEL), "--arch", "tiny", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert _files(tmp_path / "out") == ["arrays.bin", "program.spub", "report.json"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["arch"] == "tiny"
    assert report["ii"] >= max(report["ii_bounds"].values())


@pytest.mark.parametrize("engine", ["golden", "rtl"])
def test_run_gives_the_same_vectors_on_both_engines(engine, program, tmp_path):
    result = RUN.invoke(
        app,
        [
            "run",
            str(program),
            "--engine",
            engine,
            "--input",
            str(tmp_path / "x.npy"),
            "-o",
            str(tmp_path / "y.npy"),
            "--json",
            str(tmp_path / "stats.json"),
        ],
    )
    assert result.exit_code == 0, result.output
    y = np.load(tmp_path / "y.npy")
    assert y.shape == (3, 10)
    want = simulate.float_logits(split()[2][:3])
    assert (y.argmax(axis=1) == want.argmax(axis=1)).all()
    assert 10 * np.log10((want**2).sum() / ((y - want) ** 2).sum()) > 30
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["engine"] == engine
    assert stats["CYCLES_0"] == stats["ACTIVE_0"]


def test_disasm_prints_the_program(program):
    result = RUN.invoke(app, ["disasm", str(program)])
    assert result.exit_code == 0
    assert re.search(r"tile 1,1\n", result.output)
    assert "weight row" in result.output


def test_disasm_refuses_a_directory_of_several_programs(tmp_path):
    compiled = ["compile", str(CNN), "--strategy", "steps", "-o", str(tmp_path)]
    assert RUN.invoke(app, compiled).exit_code == 0
    result = RUN.invoke(app, ["disasm", str(tmp_path)])
    assert result.exit_code == 2
    assert "a program for each step; give one of" in " ".join(result.output.split())
    one = RUN.invoke(app, ["disasm", str(next((tmp_path / "programs").glob("kernel*")))])
    assert one.exit_code == 0


def test_rtl_writes_verilog_with_the_documented_ports(tmp_path):
    result = RUN.invoke(app, ["rtl", "--arch", "tiny", "-o", str(tmp_path / "spu.v")])
    assert result.exit_code == 0
    text = (tmp_path / "spu.v").read_text()
    for port in ("s_axil_awaddr", "s_axis_load_tdata", "s_axis_1_tuser", "m_axis_0_tdata"):
        assert re.search(rf"(input|output) (wire )?(\[\d+:0\] )?{port}\b", text), port


def _bad(arguments, rule, code=2):
    result = RUN.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    text = result.output.strip()
    assert re.search(rule, text), text
    assert len(text.splitlines()) == 1, text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("m.onnx", b"rubbish", "not a valid ONNX model"),
        ("m.onnx", None, "No such file"),
        ("nan.onnx", "nan", "constant 'w2' holds 1 NaN"),
        ("op.onnx", "op", "Sigmoid node 'relu_1': not the bias or the relu of a dense layer"),
        ("shape.onnx", "shape", "does not fit tiny: longest input need an II of at least"),
    ],
)
def test_compile_refuses_bad_models_and_leaves_nothing(name, content, rule, tmp_path):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        model = onnx.load(MODEL)
        weights = {t.name: t for t in model.graph.initializer}
        if content == "nan":
            values = onnx.numpy_helper.to_array(weights["w2"]).copy()
            values[0, 0] = np.nan
            weights["w2"].CopyFrom(onnx.numpy_helper.from_array(values, "w2"))
        if content == "op":
            model.graph.node[3].op_type = "Sigmoid"
        if content == "shape":
            graph = onnx.helper.make_graph(
                [onnx.helper.make_node("Gemm", ["x", "w"], ["y"], "wide")],
                "g",
                [onnx.helper.make_tensor_value_info("x", 1, ["n", 1200])],
                [onnx.helper.make_tensor_value_info("y", 1, ["n", 4])],
                [onnx.numpy_helper.from_array(np.ones((1200, 4), np.float32), "w")],
            )
            model = onnx.helper.make_model(
                graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
            )
        onnx.save(model, path)
    _bad(
        ["compile", path, "--arch", "tiny", "--strategy", "pipeline", "-o", tmp_path / "out"], rule
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--format", "PAL8U"), "array basic takes no PAL8U; it takes PAL8T, PAL6T, PAL4T, PAL4A$"),
        (
            ("--weights", "PAL8A"),
            "PAL8A has logs of 6 fraction bits, dot products of basic take 5$",
        ),
    ],
)
def test_formats_that_the_array_does_not_take_are_refused(options, rule, tmp_path):
    _bad(["compile", MODEL, *options, "-o", tmp_path / "out"], rule)
    if "--format" in options:
        _bad(["sim", *options, "-o", tmp_path / "out"], rule)
    assert not (tmp_path / "out").exists()


def test_weights_of_four_bits_keep_the_digits(tmp_path):
    options = ["--weights", "PAL4A", "-o", str(tmp_path)]
    assert RUN.invoke(app, ["compile", str(MODEL), *options]).exit_code == 0
    x = split()[2][:100]
    package = load(tmp_path)
    assert package.report["weights"] == "PAL4A"
    (y,) = run(package, GoldenEngine(package.arch), {"image": x}).values()
    want = simulate.float_logits(x)
    assert (y.argmax(axis=1) == want.argmax(axis=1)).mean() >= 0.97
    assert 10 < 10 * np.log10((want**2).sum() / ((y - want) ** 2).sum()) < 30


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:-8],
        lambda content: content[:11],
        lambda content: content[:800] + bytes([content[800] ^ 1]) + content[801:],
    ],
)
@pytest.mark.parametrize("command", ["run", "disasm", "explain"])
def test_bad_program_files_are_refused(command, change, program, tmp_path):
    path = program / "program.spub"
    path.write_bytes(change(path.read_bytes()))
    arguments = ["--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy"] * (command == "run")
    _bad([command, program, *arguments], f"{program}: .*program.spub was changed or damaged")
    assert not (tmp_path / "y.npy").exists()


def test_a_program_for_another_architecture_is_refused(compiled, program, tmp_path):
    (program / "program.spub").write_bytes(compiled("basic").content)
    _bad(
        ["run", program, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy"],
        "program.spub was changed or damaged",
    )
    assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize(
    ("x", "rule"),
    [
        (np.zeros((3, 63)), r"shape \(n, 8, 8\) or \(n, 64\), not \(3, 63\)"),
        (
            np.full((2, 64), 1.5),
            "has magnitude 1.5, the program takes up to 1; spu compile --input",
        ),
        (np.full((2, 64), np.nan), "NaN or infinite"),
        (np.zeros((2, 64), complex), "real numbers"),
        (np.zeros((0, 64)), "no input vectors"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, rule, program, tmp_path):
    np.save(tmp_path / "x.npy", x)
    _bad(
        ["run", program, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy"],
        f"{tmp_path / 'x.npy'}: .*{rule}",
    )
    assert not (tmp_path / "y.npy").exists()


def test_inputs_are_looked_at_before_a_simulator_is_built(program, tmp_path, monkeypatch):
    monkeypatch.setattr("spu.engine.rtl_engine.build_rtl", lambda *_, **__: pytest.fail("built"))
    np.save(tmp_path / "x.npy", np.full((2, 64), 1.5))
    _bad(
        [
            "run",
            program,
            "--engine",
            "rtl",
            "--input",
            tmp_path / "x.npy",
            "-o",
            tmp_path / "y.npy",
        ],
        "has magnitude 1.5",
    )


def test_inputs_of_a_pipelined_program_by_name(program, tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (3, 64))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", image=x)
    np.savez(tmp_path / "bad.npz", picture=x)
    made = []
    for name in ("x.npy", "x.npz"):
        result = CliRunner().invoke(
            app,
            ["run", str(program), "--input", str(tmp_path / name), "-o", str(tmp_path / "y.npy")],
        )
        assert result.exit_code == 0, result.output
        made.append(np.load(tmp_path / "y.npy"))
    assert np.array_equal(*made)
    _bad(
        ["run", program, "--input", tmp_path / "bad.npz", "-o", tmp_path / "z.npy"],
        r"has \['picture'\], the input is 'image'",
    )


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({"x.npy": b"no array"}, "not an .npy or .npz file"),
        ({"report.json": b"{"}, "not what spu"),
        ({"report.json": b'{"arch": "huge"}'}, "version none, this spu reads 7; spu compile"),
        ({"report.json": b"[]"}, "version none"),
        ({"report.json": b"[" * 100_000}, "not what spu compile wrote"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_refused(files, rule, program, tmp_path):
    for name, content in files.items():
        (program / name if name == "report.json" else tmp_path / name).write_bytes(content)
    _bad(["run", program, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy"], rule)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda content: content[:5174], "truncated: 5174 bytes are not a header"),
        (lambda content: content[:5000], "truncated in section"),
        (lambda content: b"RIFF" + content[4:], "not a program file"),
        (lambda content: content, "wrong architecture"),
    ],
)
@pytest.mark.parametrize("line", ["disasm {} --arch", "sim -o out --program {} --arch"])
def test_a_program_file_that_is_refused_is_named(line, change, rule, compiled, tmp_path):
    path = tmp_path / "p.spub"
    path.write_bytes(change(compiled("tiny").content))
    arch = "basic" if rule == "wrong architecture" else "tiny"
    _bad([*line.format(path).split(), arch], f"{path}: {rule}")


@pytest.mark.parametrize("text", ["a note\n", "", "architecture basic 0x1\n"])
def test_a_text_that_is_no_assembly_is_named(text, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    _bad(["asm", tmp_path / "a.txt", "-o", tmp_path / "p.spub"], f"{tmp_path / 'a.txt'}: line 1: ")
    assert not (tmp_path / "p.spub").exists()


@pytest.mark.parametrize("content", [b"", b"x\n", b"rubbish"])
@pytest.mark.parametrize(
    "line", ["check", "check --json", "compile -o out", "compile --strategy steps -o out"]
)
def test_a_file_that_is_no_model_is_refused_alike(line, content, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    result = RUN.invoke(app, [*line.replace("out", str(tmp_path / "out")).split(), str(path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"spu: error: {path}: not a valid ONNX model: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_model_that_is_not_valid_is_a_refusal(tmp_path):
    """For programs that read refusals; a file that is no model is not."""
    model = onnx.load(MODEL)
    model.graph.node[0].op_type = "Nothing"
    onnx.save(model, tmp_path / "m.onnx")
    result = RUN.invoke(app, ["check", "--json", str(tmp_path / "m.onnx")])
    assert result.exit_code == 2
    assert "not a valid ONNX model" in json.loads(result.stdout)["refusals"][0]["rule"]


def test_unknown_architectures_and_directories_are_usage_errors(tmp_path):
    assert RUN.invoke(app, ["compile", str(MODEL), "--arch", "huge", "-o", "x"]).exit_code == 2
    _bad(["disasm", tmp_path / "nothing"], "No such file")


def test_sim_exits_1_and_names_the_place_when_the_program_was_changed(compiled, tmp_path):
    from spu.arch import bitstream
    from spu.arch.config import Space

    image = bitstream.decode(compiled("tiny").content, compiled("tiny").arch).image
    image.rows[Space.WEIGHT, 1, 0][0] ^= 1
    (tmp_path / "p.spub").write_bytes(bitstream.encode(image))
    result = RUN.invoke(
        app,
        [
            "sim",
            "--arch",
            "tiny",
            "--images",
            "1",
            "--program",
            str(tmp_path / "p.spub"),
            "-o",
            str(tmp_path / "sim"),
        ],
    )
    assert result.exit_code == 1, result.output
    assert "FAILED program: tile (1,0) weight row 0 word 0: expected 0x" in result.output


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["-o", "y.npy", "--sim", "icarus"], "--sim icarus: of --engine rtl, not of golden"),
        (["-o", "y.txt"], "y.txt: outputs are .npy or .npz"),
    ],
)
def test_options_of_a_run_that_would_do_nothing_are_refused(options, rule):
    result = CliRunner().invoke(app, ["run", "none", "--input", "x.npy", *options])
    assert result.exit_code == 2
    assert rule in result.stderr
