"""`spu compare` of models of integers, truth values, masks, and what is quantised."""

import json

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

from compiler.build import compile_model
from compiler.front.lower import lower
from spu.arch.errors import UserError
from spu.arch.package.store import load, save
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.classes import classes_of
from spu.engine.compare import Row, against_exact, against_float
from spu.engine.compare_page import cells
from spu.engine.recording import record
from spu.model import exact
from spu.model.accuracy import decibels, errors

BASIC = CONFIGS["basic"]
RNG = np.random.default_rng(19)
X = RNG.normal(size=(2, 6)).astype(np.float32)
WIDE = RNG.normal(size=(6, 4)).astype(np.float32)
NARROW = RNG.integers(-100, 100, (6, 4)).astype(np.int8)


def _model(text, **constants):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> g {text}')
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()
    )
    return model


def _recorded(model, calibrate, given=None):
    package = compile_model(lower(model, "model"), BASIC, "steps", calibrate=calibrate)
    return record(package, GoldenEngine(BASIC), given or calibrate)


def _rows(recording):
    """By node, after a look at what the exact prediction says: that nothing differs."""
    assert {row.differing for row in against_exact(recording)} == {0}
    return {row.node: row for row in against_float(recording, shares=True)}


def test_integers_are_compared_as_integers():
    model = _model(
        "(int64[2, 3] i, float[10, 4] t) => (float[2, 3, 4] y, int64[2, 3] j)"
        "{ j = Add(i, o) g = Gather(t, j) y = Relu(g) }",
        o=np.int64(1),
    )
    given = {"i": np.arange(6).reshape(2, 3), "t": RNG.normal(size=(10, 4)).astype("f")}
    recording = _recorded(model, given)
    rows = _rows(recording)
    assert (rows["j"].sqnr_db, rows["j"].max_error, rows["j"].local_db) == (np.inf, 0, np.inf)
    assert 60 < rows["g"].sqnr_db < 90
    # One id of another place: the integers say so, and what they choose.
    number = recording.package.program.outputs["j"]
    recording.codes[number] = recording.codes[number] + [[1, 0, 0], [0, 0, 0]]
    rows = {row.node: row for row in against_float(recording, shares=False)}
    assert (rows["j"].max_error, rows["j"].sqnr_db) == (1, pytest.approx(10 * np.log10(91)))
    assert [row.differing for row in against_exact(recording)] == [1, 4, 0]


def test_a_cast_of_ids_that_are_lost_has_the_error(tmp_path):
    """Ids far beyond those of calibration are all at the top, and so is what follows: no layer
    alone causes it, which is said."""
    model = _model("(int64[4] i) => (float[4] y) { c = Cast<to=1>(i) y = Neg(c) }")
    ids = np.array([20_000, 30_000, 40_000, 50_000])
    recording = _recorded(model, {"i": np.arange(4)}, {"i": ids})
    rows = _rows(recording)
    assert (rows["c"].share, rows["c"].saturated) == (0, 4)
    assert rows["c"].max_error > 40_000
    assert rows["c"].sqnr_db == pytest.approx(rows["c"].local_db) == pytest.approx(0, abs=1)
    assert rows["y"].local_db > 60
    save(recording.package, tmp_path / "p")
    np.save(tmp_path / "i.npy", ids)
    result = CliRunner().invoke(
        app, ["compare", str(tmp_path / "p"), "--input", str(tmp_path / "i.npy")]
    )
    assert "shares add up to 0 %: elements beyond the top of one layer" in " ".join(
        result.stderr.split()
    )


def test_rows_of_what_is_quantised_are_of_its_own_numbers():
    model = _model(
        "(float[2, 6] x) => (int8[2, 4] q, float[2, 4] d, float[2, 4] c)"
        "{ r = Relu(x) c = MatMul(r, w) q = QuantizeLinear(c, s, z)"
        "  d = DequantizeLinear(q, s, z) }",
        w=WIDE,
        s=np.float32(0.05),
        z=np.int8(0),
    )
    recording = _recorded(model, {"x": X})
    rows = _rows(recording)
    assert list(rows) == ["r", "c", "q"]
    wanted = dict(zip("qdc", ReferenceEvaluator(model).run(None, {"x": X}), strict=True))
    off = np.abs(recording.outputs["q"].astype(int) - wanted["q"]).max()
    assert off == rows["q"].max_error == 1
    assert rows["c"].max_error == pytest.approx(
        np.abs(recording.outputs["c"] - wanted["c"]).max(), rel=1e-3
    )


def test_a_node_whose_numbers_are_on_no_way_has_none():
    """Of a dynamically quantised product the scale is on the way: it is not what Cast makes."""
    model = _model(
        "(float[2, 6] x) => (float[2, 4] y)"
        "{ q, s, z = DynamicQuantizeLinear(x) m = MatMulInteger(q, w, z) c = Cast<to=1>(m)"
        "  y = Mul(c, s) }",
        w=NARROW,
    )
    recording = _recorded(model, {"x": X})
    rows = _rows(recording)
    assert (rows["c"].sqnr_db, rows["c"].max_error, rows["c"].local_db) == (None, None, None)
    assert cells(rows["c"], ("SQNR, dB", "max error", "alone, dB")) == ["-", "-", "-"]
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": X})
    assert rows["y"].sqnr_db == pytest.approx(decibels(wanted, recording.outputs["y"]), abs=3)


def test_masks_that_were_moved_are_left_out_and_others_are_not():
    model = _model(
        "(float[2, 6] x, bool[2, 6] m) => (float[2, 6] y)"
        "{ n = Where(m, z, f) k = Add(x, n) y = Softmax(k) }",
        z=np.float32(0),
        f=np.float32(-1e9),
    )
    keep = np.array([[1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 1]], bool)
    recording = _recorded(model, {"x": X, "m": keep})
    rows = _rows(recording)
    assert rows["n"].sqnr_db == np.inf
    assert 60 < rows["k"].sqnr_db < 100
    assert rows["k"].max_error < 0.01
    # A mask that the array does not have is an error as large as it is.
    layers = {layer.node: layer for layer in recording.layers}
    (taken,) = layers["k"].results
    recording.codes[taken] = np.zeros_like(recording.codes[taken])
    rows = {row.node: row for row in against_float(recording, shares=False)}
    assert rows["k"].max_error > 1e8


def test_predictions_of_truth_values_are_truth_values():
    model = _model("(float[2, 6] x) => (bool[2, 6] y) { y = Greater(x, o) }", o=np.float32(0))
    recording = _recorded(model, {"x": X})
    predicted = exact.outputs(recording.package, recording.codes)["y"]
    assert predicted.dtype == recording.outputs["y"].dtype == bool
    assert np.array_equal(predicted, X > 0)
    assert _rows(recording)["y"].max_error == 0


@pytest.mark.parametrize(
    ("text", "dims"), [("ArgMax<axis = 1, keepdims = 0>", "2"), ("ArgMax<axis = -1>", "2, 1")]
)
def test_classes_of_arg_max_are_its_elements(text, dims, tmp_path):
    model = _model(f"(float[2, 6] x) => (int64[{dims}] y) {{ y = {text}(x) }}")
    package = compile_model(lower(model, "model"), BASIC, "steps", calibrate={"x": X})
    save(package, tmp_path / "p")
    np.save(tmp_path / "x.npy", X)
    right, told = X.argmax(1), tmp_path / "r.json"

    def compared(labels):
        np.save(tmp_path / "l.npy", labels)
        files = {"--input": "x.npy", "--json": "r.json", "--labels": "l.npy"}
        given = [str(x) for option, name in files.items() for x in (option, tmp_path / name)]
        return CliRunner().invoke(app, ["compare", str(tmp_path / "p"), *given])

    assert compared(right).exit_code == 0
    assert json.loads(told.read_text())["accuracy"] == {"array": 1, "reference": 1, "agreement": 1}
    assert compared(np.array([right[0], (right[1] + 1) % 6])).exit_code == 0
    assert json.loads(told.read_text())["accuracy"]["array"] == 0.5
    result = compared(np.array([0, 6]))
    assert result.exit_code == 2
    assert "are 0 to 5, not 6" in " ".join(result.stderr.split())


def test_labels_take_an_output_that_says_classes():
    package = compile_model(
        lower(_model("(float[2] x) => (float y) { y = ReduceSum<keepdims = 0>(x) }"), "model"),
        BASIC,
        "steps",
    )
    with pytest.raises(UserError, match=r"output 'y' of shape \(\) says no classes"):
        classes_of(package, {"x": np.zeros(2)})


def test_numbers_are_written_without_rounding_of_float64_and_signs_of_zero():
    row = Row("n", "Op", sqnr_db=-0.01, max_error=0.0, local_db=315.9, share=-1e-6)
    head = ("SQNR, dB", "alone, dB", "share")
    assert cells(row, head) == ["0.0", "exact", "0.0 %"]
    assert row.as_json()["alone_db"] == 315.9


def test_integers_that_float64_does_not_tell_apart_differ():
    big = np.array([2**62, 5])
    assert errors(big, big + np.array([1, 0])).tolist() == [1, 0]
    assert decibels(big, big) == np.inf


def test_results_of_nodes_are_kept_in_a_package(tmp_path):
    model = _model("(float[2, 6] x) => (float[2, 4] y) { c = MatMul(x, w) y = Relu(c) }", w=WIDE)
    package = compile_model(lower(model, "model"), BASIC, "steps", calibrate={"x": X})
    save(package, tmp_path)
    assert load(tmp_path).program.results == package.program.results
    assert package.program.outputs["y"] in package.program.results
