"""`spu compare`: layers beside float and the exact prediction, and what names a fault."""

import json
import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from compiler.build import compile_file
from compiler.front.lower import lower
from compiler.map.steps import compile_program
from pal_units import model
from spu.arch.package.store import save
from spu.arch.package.values import real_values
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.compare import against_exact, against_float
from spu.engine.recording import layers_of, record
from spu.model import exact
from spu.model.accuracy import decibels
from verif.digits.cnn import MODEL as CNN
from verif.digits.data import MODEL, split
from verif.faults import FaultyEngine, product_runs
from verif.studies.models import compiled as compiled_workload
from verif.studies.models import digits, encoder

BASIC = CONFIGS["basic"]
COLUMNS = ["node", "operator", "sqnr_db", "max_error", "saturated", "share", "cycles", "alone_db"]
MIXED = """<ir_version: 8, opset_import: ["": 20]> g (float[2, 40] x) => (float[2, 6] y)
{
  a = MatMul(x, w)
  b = LayerNormalization(a, s, o)
  c = Gelu(b)
  d = Softmax(c)
  e = Max(d, c)
  f = MatMul(e, v)
  y = Sigmoid(f)
}"""


def _spu(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.fixture(scope="module")
def mlp():
    """The digits perceptron in steps, for 8 images, and these by name."""
    workload = digits("mlp", 8)
    return compiled_workload(workload, BASIC), workload.inputs


@pytest.fixture(scope="module")
def cnn():
    """The digits CNN for 4 images, and these by name."""
    workload = digits("cnn", 4)
    return compiled_workload(workload, BASIC), workload.inputs


@pytest.fixture(scope="module")
def saved(cnn, tmp_path_factory):
    """A directory with the CNN, its images and their classes."""
    folder = tmp_path_factory.mktemp("compared")
    save(cnn[0], folder / "cnn")
    np.save(folder / "x.npy", cnn[1]["image"])
    np.save(folder / "labels.npy", split()[3][:4])
    return folder


def _mixed(**options):
    rng, text = np.random.default_rng(3), onnx.parser.parse_model(MIXED)
    shapes = {"w": (40, 70), "v": (70, 6), "s": (70,), "o": (70,)}
    text.graph.initializer.extend(
        onnx.numpy_helper.from_array(rng.normal(0, 0.4, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    )
    x = {"x": rng.normal(size=(2, 40))}
    return compile_program(lower(text, "mixed"), BASIC, calibrate=x, **options), x


@pytest.mark.parametrize("fmt", ["PAL8T", "PAL4A"])
def test_each_step_of_the_array_is_what_the_exact_prediction_makes(fmt):
    package, x = _mixed(fmt=BASIC.data_format(fmt))
    recording = record(package, GoldenEngine(BASIC), x)
    assert {row.differing for row in against_exact(recording)} == {0}
    # From the inputs on, too: every tensor, and the outputs as they are handed out.
    for tensor, codes in exact.run(package, x).items():
        assert np.array_equal(codes, recording.codes[tensor]), tensor
    predicted = exact.outputs(package, recording.codes)
    assert np.array_equal(predicted["y"], recording.outputs["y"])


def _named(package, x, trial):
    """Whether the layer of a fault, and no other, is named."""
    runs = product_runs(package)
    fault = int(np.random.default_rng(trial).integers(len(runs)))
    engine = FaultyEngine(BASIC, fault=fault, seed=trial)
    rows = against_exact(record(package, engine, x))
    assert engine.done
    step = package.program.steps[runs[fault]]
    wanted = next(layer for layer in layers_of(package.program) if runs[fault] in layer.steps)
    assert package.program.label(step) == wanted.label
    return [row.node for row in rows if row.differing] == [wanted.node]


@pytest.mark.parametrize("trial", range(6))
def test_the_layer_of_a_weight_block_off_by_an_octave_is_named(trial, mlp, cnn):
    assert _named(*(mlp, cnn)[trial % 2], trial)


@pytest.mark.regress
def test_faults_are_named_in_20_of_20_trials(mlp, cnn):
    workload = encoder()
    block = compiled_workload(workload, BASIC), workload.inputs
    models = [mlp] * 8 + [cnn] * 8 + [block] * 4
    assert all(_named(*each, 100 + trial) for trial, each in enumerate(models))


def test_a_fault_of_the_array_is_a_failed_check_of_the_command(saved, monkeypatch):
    monkeypatch.setattr("spu.engine.array.GoldenEngine", FaultyEngine)
    given = ["compare", saved / "cnn", "--input", saved / "x.npy", "--against", "pal"]
    result = _spu(*given, "--json", saved / "fault.json")
    assert result.exit_code == 1
    told = re.search(
        r"PAL arithmetic makes of the operands: Conv node 'conv': (\d+) elements$",
        " ".join(result.stderr.split()),
    )
    assert told, result.stderr
    written = json.loads((saved / "fault.json").read_text())
    assert written["differing"] == {"conv": int(told[1])}


def test_rows_are_of_the_nodes_and_errors_those_beside_float(cnn):
    package, x = cnn
    recording = record(package, GoldenEngine(BASIC), x)
    rows = {row.node: row for row in against_float(recording, shares=True)}
    assert list(rows) == ["conv", "relu", "pool", "flatten", "output"]
    real, _ = real_values(package.meant, x)
    number = package.program.outputs["logits"]
    got = recording.outputs["logits"]
    off = got - real[number]
    assert rows["output"].sqnr_db == pytest.approx(
        10 * np.log10((real[number] ** 2).sum() / (off**2).sum())
    )
    assert rows["output"].max_error == np.abs(off).max()
    # A layout loses nothing of its own, and takes no cycles.
    assert (rows["flatten"].local_db, rows["flatten"].cycles) == (np.inf, 0)
    assert rows["relu"].local_db > 60 > rows["conv"].local_db
    assert sum(row.cycles for row in rows.values()) == recording.total


def test_the_share_of_the_last_layer_is_what_float_in_its_place_leaves(cnn):
    """By numpy, of the operands that the array has for it."""
    package, x = cnn
    recording = record(package, GoldenEngine(BASIC), x)
    shares = {row.node: row.share for row in against_float(recording, shares=True)}
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(CNN).graph.initializer}
    gemm = next(n for n in onnx.load(CNN).graph.node if n.op_type == "Gemm")
    weight, bias = (constants[name].astype(np.float64) for name in gemm.input[1:])
    transposed = any(a.name == "transB" and a.i for a in gemm.attribute)
    flat = next(layer for layer in layers_of(package.program) if layer.node == "flatten").results[0]
    operand = model.decode16(recording.codes[flat], package.bias(flat)).reshape(4, -1)
    float_here = operand @ (weight.T if transposed else weight) + bias
    real = real_values(package.meant, x)[0][package.program.outputs["logits"]]
    error = ((recording.outputs["logits"] - real) ** 2).sum()
    left = ((float_here - real) ** 2).sum()
    assert shares["output"] == pytest.approx((error - left) / error)
    assert 0.2 < shares["output"] < 1
    assert shares["pool"] == shares["flatten"] == 0


def test_layers_of_a_pipeline_are_told_and_the_last_is_that_of_the_array():
    package = compile_file(MODEL, BASIC, "pipeline")
    x = {"image": split()[2][:5]}
    engine = GoldenEngine(BASIC)
    recording = record(package, engine, x)
    rows = against_float(recording, shares=True)
    assert [row.node for row in rows] == ["hidden_1", "hidden_2", "output"]
    assert {row.cycles for row in rows} == {None}
    assert recording.total == package.cycles(5) == engine.cycles
    assert 35 < rows[-1].sqnr_db < min(row.local_db for row in rows)
    assert rows[-1].share == max(row.share for row in rows)
    assert {row.differing for row in against_exact(recording)} == {0}
    last = package.output
    recording.codes[recording.package.program.outputs[last]][0, 0, 0] ^= 1
    assert [row.differing for row in against_exact(recording)] == [0, 0, 1]


def test_the_command_writes_table_json_and_a_page_without_network(saved):
    result = _spu(
        "compare",
        saved / "cnn",
        "--input",
        saved / "x.npy",
        "--labels",
        saved / "labels.npy",
        "--json",
        saved / "rows.json",
        "--html",
        saved / "page.html",
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"flatten +│ Flatten +│ [\d.]+ +│ [\d.]+ +│ exact ", result.output)
    assert re.search(r"accuracy [\d.]+, of float [\d.]+; they agree on 1.0000", result.output)
    written = json.loads((saved / "rows.json").read_text())
    assert [list(row) for row in written["rows"]] == [COLUMNS] * 5
    assert written["accuracy"]["agreement"] == 1
    page = (saved / "page.html").read_text()
    assert page.count("<svg") == 3
    assert page.count("<rect") == 15
    assert not re.search(r"https?:|<script|<link|src=", page)


def test_without_shares_the_command_says_how_to_get_them(saved, monkeypatch):
    monkeypatch.setattr("spu.engine.compare.SHARED_STEPS", 3)
    given = ["compare", saved / "cnn", "--input", saved / "x.npy", "--json", saved / "few.json"]
    result = _spu(*given)
    assert "no shares: the model has 18 steps; --shares follows" in " ".join(result.stderr.split())
    assert {r["share"] for r in json.loads((saved / "few.json").read_text())["rows"]} == {None}
    assert _spu(*given, "--shares").exit_code == 0
    assert None not in {r["share"] for r in json.loads((saved / "few.json").read_text())["rows"]}


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        (["--input", "none.npy"], "none.npy: No such file"),
        (["--input", "wide.npy"], r"wide.npy: image must have shape \(4, 1, 8, 8\), not \(4, 9\)"),
        (
            ["--input", "x.npy", "--labels", "five.npy"],
            "five.npy: has 5 labels, output 'logits' of",
        ),
        (["--input", "x.npy", "--labels", "real.npy"], "real.npy: labels must be integers"),
        (["--input", "x.npy", "--labels", "none.npy"], "none.npy: No such file"),
        (["--input", "x.npy", "--labels", "ten.npy"], r"ten.npy: labels of .* are 0 to 9, not 10"),
        (["--input", "x.npy", "--against", "onnxruntime"], "needs the ONNX file, --model FILE"),
        (["--input", "x.npy", "--model", "m.onnx"], "takes no --model"),
        (["--input", "x.npy", "--against", "pal", "--shares"], "has no shares"),
        (["--input", "x.npy", "--json", "x.npy"], "x.npy: is read, and would be overwritten"),
        (["--input", "x.npy", "--json", "o", "--html", "o"], "o: outputs need a file each"),
    ],
)
def test_what_is_wrong_is_a_line_and_nothing_is_written(more, rule, saved, monkeypatch):
    monkeypatch.chdir(saved)
    np.save("wide.npy", np.zeros((4, 9)))
    np.save("five.npy", np.zeros(5, int))
    np.save("real.npy", np.zeros(4))
    np.save("ten.npy", np.array([0, 9, 10, 1]))
    monkeypatch.setattr("spu.engine.recording.record", None)  # nothing runs
    before = sorted(saved.iterdir())
    result = _spu("compare", "cnn", *more)
    assert result.exit_code == 2, result.output
    assert re.search(rule, " ".join(result.stderr.split())), result.stderr
    assert sorted(saved.iterdir()) == before
    assert result.stdout == ""


def test_a_directory_that_is_no_package_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    for name, what in (
        ("no", "no such directory"),
        ("file", "is no directory"),
        ("other", "no report.json"),
    ):
        result = _spu("compare", tmp_path / name, "--input", "x.npy")
        assert result.exit_code == 2
        assert f"{what}; spu compare takes what spu compile wrote" in result.stderr


def test_outputs_are_compared_with_those_of_onnx_runtime(cnn, saved, monkeypatch):
    """Of a module in its place, whose outputs are known."""
    package, x = cnn
    real = real_values(package.meant, x)[0][package.program.outputs["logits"]]

    class InferenceSession:
        def __init__(self, path, providers):
            assert path == str(CNN)

        def get_inputs(self):
            return [SimpleNamespace(name="image", type="tensor(float)")]

        def get_outputs(self):
            return [SimpleNamespace(name="logits")]

        def run(self, names, given):
            assert given["image"].dtype == np.float32
            return [real.astype(np.float32)]

    fake = ModuleType("onnxruntime")
    fake.InferenceSession, fake.__spec__ = InferenceSession, ModuleSpec("onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    given = ["compare", saved / "cnn", "--input", saved / "x.npy", "--against", "onnxruntime"]
    result = _spu(*given, "--model", CNN, "--json", saved / "ort.json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads((saved / "ort.json").read_text())["rows"]
    got = record(package, GoldenEngine(BASIC), x).outputs["logits"]
    assert row["node"] == "logits"
    assert row["sqnr_db"] == pytest.approx(decibels(real, got), abs=1e-3)


def test_what_is_no_number_in_the_reference_is_left_out_and_in_the_array_is_told():
    real = np.array([1.0, -np.inf, 2.0])
    assert decibels(real, np.array([1.0, -5.0, 2.0])) == np.inf
    assert decibels(real, np.array([1.0, -5.0, np.nan])) == -np.inf
