"""The zoo: its table, its files, a model judged from end to end, and what is a fault of a row."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from spu.arch.errors import CheckFailed
from spu.arch.params import CONFIGS
from spu.command.extras import MissingPackage
from verif.digits.data import MODEL, split
from verif.zoo import judge as judging
from verif.zoo import pictures, texts
from verif.zoo.entry import Entry
from verif.zoo.expected import EXPECTED, faults
from verif.zoo.files import file_of
from verif.zoo.judge import agreement, judge, operators, worst_db
from verif.zoo.models import MODELS
from verif.zoo.reference import reference
from verif.zoo.report import page

ROOT = Path(__file__).parents[3]
LOCKS = "\n".join((ROOT / f"requirements{x}.lock").read_text() for x in ("", "-numerics", "-zoo"))
LOCKED = {line.partition("==")[0].lower() for line in LOCKS.splitlines()}


def _sets():
    _, _, images, _ = split()
    return [{"image": part} for part in images[:40].reshape(4, 10, 8, 8).astype(np.float32)]


DIGITS = Entry(
    "digits",
    _sets,
    "held-out digits",
    made=lambda: onnx.load(MODEL),
    batch=10,
    classes="logits",
    calibrate=1,
)


@pytest.fixture(scope="module")
def row():
    return judge(DIGITS, CONFIGS["basic"])


# The table.


def test_models_have_names_of_their_own_and_locked_packages():
    names = [model.name for model in MODELS]
    assert len(names) == len(set(names)) >= 40
    for model in MODELS:
        assert bool(model.package and model.file) != (model.made is not None), model.name
        assert not model.package or model.package.lower() in LOCKED, model.name
        assert model.calibrate >= 1, model.name
        assert model.golden >= 2, model.name
        assert model.about, model.name


def test_the_extra_has_the_packages_of_the_table():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {
        x.partition("==")[0].partition(">=")[0] for x in project["optional-dependencies"]["zoo"]
    }
    others = {"onnxruntime", "skl2onnx", "pal-spu[onnxruntime]"}
    assert extra - others == {m.package.lower() for m in MODELS if m.package} - others


def test_expected_rows_are_of_models_of_the_table_and_as_on_the_page():
    rows = json.loads(EXPECTED.read_text())
    assert {row["model"] for row in rows} <= {model.name for model in MODELS}
    assert (EXPECTED.parent / "zoo.md").read_text().startswith(page(rows))
    for each in rows:
        assert each["status"] in ("ran", "refused")
        assert bool(each["refusals"]) == (each["status"] == "refused")
        assert not list(faults(each, each))


# Files.


def test_packages_and_files_that_are_not_there_are_named():
    with pytest.raises(MissingPackage, match="no-such-package is not installed: make zoo"):
        file_of("no-such-package", "model.onnx")
    with pytest.raises(LookupError, match=r"has 0 files that end in 'no\.onnx', not one"):
        file_of("numpy", "no.onnx")
    with pytest.raises(LookupError, match=r"files that end in '__init__\.py', not one"):
        file_of("numpy", "__init__.py")
    assert file_of("scikit-learn", pictures.SCENES[0]).stat().st_size > 100_000


def test_the_ends_of_a_file_are_without_white_space_and_filled_up():
    codes = texts.ends(b" \n ab c\n", 8)
    assert codes.tolist() == [[*b"ab c", 256, 256, 256, 256, 256, 256, 256, 256, *b"ab c"]]
    codes = texts.ends(b" " * 5000 + b"ab\n", 4)
    assert codes.tolist() == [[256, 256, 256, 256, *b"  ab"]]
    assert len(texts.repository_files()) >= 40


# A model judged.


def test_a_model_goes_from_its_file_to_a_row(row):
    assert row["status"] == "ran"
    assert row["refusals"] == []
    assert row["operators"] == operators(onnx.load(MODEL).graph)
    assert (row["samples"], row["golden_samples"]) == (3, 2)
    assert (row["elements"], row["golden_elements"]) == (300, 200)
    assert row["predicted_db"] > 30
    assert row["sqnr_db"] == row["same_db"] > 30
    assert row["argmax_agreement"] == 1.0
    assert row["cycles"] > 0
    assert json.loads(json.dumps(row)) == row
    assert list(faults(row, row)) == []


def test_the_float_reference_is_that_of_the_model():
    images = _sets()[0]
    got = reference(onnx.load(MODEL))(images)["logits"]
    assert got.shape == (10, 10)
    labels = split()[3][:10]
    assert (got.argmax(1) == labels).mean() >= 0.9


def test_a_model_that_is_refused_has_the_whole_reason():
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 4])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 4])
    nodes = [helper.make_node("Acosh", ["x"], ["a"]), helper.make_node("Asinh", ["a"], ["y"])]
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opset)
    entry = replace(DIGITS, name="hyperbolic", made=lambda: model, batch=None)
    found = judge(entry, CONFIGS["basic"])
    assert found["status"] == "refused"
    assert found["refusals"] == [
        "Acosh node 'a': operator is not supported",
        "Asinh node 'y': operator is not supported",
    ]
    assert found["sqnr_db"] is found["cycles"] is None


def test_an_engine_that_is_not_as_predicted_is_a_fault(monkeypatch):
    right = judging.run
    wrong = lambda *given: {k: v * 1.5 for k, v in right(*given).items()}  # noqa: E731
    monkeypatch.setattr(judging, "run", wrong)
    (line,) = faults(judge(DIGITS, CONFIGS["basic"]), None)
    assert "dB on the golden engine" in line


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"status": "refused", "refusals": ["n: no"]}, "digits: refused, expected is ran: n: no"),
        ({"predicted_db": 3.0}, "predicted_db is 3, expected is"),
        ({"sqnr_db": 3.0, "same_db": 3.0}, "sqnr_db is 3, expected is"),
        ({"argmax_agreement": 0.9}, "argmax_agreement is 0.9, expected is 1.0"),
        ({"golden_agreement": None}, "golden_agreement is None, expected is 1.0"),
    ],
)
def test_what_fell_is_a_fault(row, change, line):
    (found,) = faults(row | change, row)
    assert line in found
    assert list(faults(row | change, None)) == []


# Figures.


def test_decibels_are_those_of_the_worst_output():
    real = [{"a": np.ones(4), "b": np.full(2, 10.0), "n": np.arange(3)}]
    got = [{"a": np.full(4, 1.1), "b": np.full(2, 10.001), "n": np.arange(3)}]
    assert worst_db(real, got) == 20.0
    assert worst_db(real, real) is None
    with pytest.raises(CheckFailed, match="'a' is not finite"):
        worst_db(real, [got[0] | {"a": np.array([1, 1, np.nan, 1])}])


def test_classes_are_the_first_ones_or_labels_or_above_a_half():
    real = [{"y": np.array([[1.0, 2.0], [4.0, 3.0]])}, {"y": np.array([[0.0, 1.0], [0.0, 1.0]])}]
    got = [{"y": np.array([[1.0, 2.0], [2.0, 3.0]])}, {"y": np.array([[0.0, 1.0], [0.0, 1.0]])}]
    assert agreement("y", real, got) == 0.75
    assert agreement("", real, got) is None
    assert agreement("y", [{"y": np.array([1, 2])}], [{"y": np.array([1, 3])}]) == 0.5
    assert agreement("y", [{"y": np.array([[0.4]])}], [{"y": np.array([[0.6]])}]) == 0.0
