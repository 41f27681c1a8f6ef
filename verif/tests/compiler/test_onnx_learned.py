"""Operators of ai.onnx.ml beside the standard's reference, and what of them is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from compiler.errors import CompileError, Refused
from compiler.front.learned import LEARNED, ZIPPED
from compiler.front.lower import lower
from spu.arch.package.values import real_values

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
X = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
LINEAR = {"coefficients": np.arange(6.0) - 2.5, "intercepts": [0.5, -1.0]}


def _model(op, outputs, shape=(5, 3), more=(), **attributes):
    """A model of one node with an input ``x``; outputs are (type, rank) by name."""
    node = helper.make_node(op, ["x", *more], list(outputs), "n", domain="ai.onnx.ml", **attributes)
    made = [
        helper.make_tensor_value_info(name, kind, [f"{name}{i}" for i in range(rank)])
        for name, (kind, rank) in outputs.items()
    ]
    inputs = [helper.make_tensor_value_info("x", FLOAT, shape)]
    constants = [helper.make_tensor(name, INT64, [len(v)], v) for name, v in dict(more).items()]
    graph = helper.make_graph([node], "g", inputs, made, constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _both(model, x=X):
    """Outputs in float64 by the compiler's steps, and of the reference, by name."""
    program = lower(model, "m")
    values, _ = real_values(program, {"x": x})
    names = [o.name for o in model.graph.output]
    wanted = ReferenceEvaluator(model).run(names, {"x": x})
    return {n: (values[program.outputs[n]], w) for n, w in zip(names, wanted, strict=True)}


REAL = {"y": (FLOAT, 2)}
CASES = {
    "scaler": _model("Scaler", REAL, offset=[1.0, 2.0, -3.0], scale=[2.0, 0.5, 4.0]),
    "scaler of one number": _model("Scaler", REAL, offset=[1.0], scale=[0.25]),
    "normalizer L1": _model("Normalizer", REAL, norm="L1"),
    "normalizer L2": _model("Normalizer", REAL, norm="L2"),
    "binarizer": _model("Binarizer", REAL, threshold=0.25),
    "extractor": _model("ArrayFeatureExtractor", REAL, more={"i": [2, 0, 0]}),
    "extractor of a row": _model("ArrayFeatureExtractor", REAL, (3,), {"i": [2, 1]}),
    "vectorizer": _model("FeatureVectorizer", REAL, inputdimensions=[3]),
    "regressor": _model("LinearRegressor", REAL, targets=2, **LINEAR),
    "classifier": _model(
        "LinearClassifier",
        {"label": (INT64, 1), "y": (FLOAT, 2)},
        classlabels_ints=[7, 3],
        **LINEAR,
    ),
    "classifier of logistic scores": _model(
        "LinearClassifier",
        {"label": (INT64, 1), "y": (FLOAT, 2)},
        classlabels_ints=[7, 3],
        post_transform="LOGISTIC",
        **LINEAR,
    ),
    "classifier by softmax": _model(
        "LinearClassifier",
        {"label": (INT64, 1), "y": (FLOAT, 2)},
        classlabels_ints=[0, 1],
        post_transform="SOFTMAX",
        **LINEAR,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_are_those_of_the_reference(name):
    x = X if "row" not in name else X[0]
    for got, wanted in _both(CASES[name], x).values():
        assert got.shape == np.shape(wanted)
        assert np.allclose(got, wanted, atol=1e-5)


def test_every_operator_has_a_case():
    tried = {model.graph.node[0].op_type for model in CASES.values()}
    assert tried | {"ZipMap"} == set(LEARNED)


def test_a_row_of_zeros_stays_when_it_is_normalised():
    values, _ = real_values(program := lower(CASES["normalizer L2"], "m"), {"x": X * 0})
    assert (values[program.outputs["y"]] == 0).all()


def test_zipped_scores_are_an_array_and_noted():
    model = _model("ZipMap", REAL, classlabels_int64s=[0, 1, 2])
    kind = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(kind))
    program = lower(model, "m")
    values, _ = real_values(program, {"x": X})
    assert np.array_equal(values[program.outputs["y"]], X.astype(np.float64))
    assert program.notes == [ZIPPED]


def test_what_follows_the_unknown_is_not_refused_again():
    model = _model("Scaler", REAL, scale=[1.0, 2.0])
    model.graph.node.append(helper.make_node("Binarizer", ["y"], ["z"], domain="ai.onnx.ml"))
    with pytest.raises(Refused) as caught:
        lower(model, "m")
    assert [str(r) for r in caught.value.refusals] == [
        "Scaler node 'n': attribute scale has 2 values for rows of 3"
    ]


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (_model("Normalizer", REAL, norm="MAX"), "attribute norm=MAX is not supported, L1 and L2"),
        (
            _model("LinearRegressor", REAL, targets=3, **LINEAR),
            "attribute coefficients has 6 values, not 3 times those of a row of its input, 3",
        ),
        (
            _model("LinearRegressor", REAL, coefficients=[1.0] * 6, intercepts=[1.0], targets=2),
            "attribute intercepts has 1 values, not 2",
        ),
        (
            _model("LinearRegressor", REAL, targets=2, post_transform="PROBIT", **LINEAR),
            "attribute post_transform=PROBIT is not supported, NONE, LOGISTIC, SOFTMAX are",
        ),
        (
            _model(
                "LinearClassifier",
                {"label": (TensorProto.STRING, 1), "y": (FLOAT, 2)},
                classlabels_strings=["a", "b"],
                **LINEAR,
            ),
            "its labels are strings, integers are supported",
        ),
        (
            _model(
                "LinearClassifier",
                {"label": (INT64, 1), "y": (FLOAT, 2)},
                classlabels_ints=[0, 1],
                coefficients=[1.0] * 3,
                intercepts=[1.0],
            ),
            "one row of coefficients for 2 classes is not supported",
        ),
        (_model("SVMRegressor", REAL), "operators of the domain 'ai.onnx.ml' are not supported"),
    ],
)
def test_what_is_not_taken_is_named(model, rule):
    with pytest.raises(Refused) as caught:
        lower(model, "m")
    (refusal,) = caught.value.refusals
    assert (refusal.node, refusal.operator) == ("n", model.graph.node[0].op_type)
    assert refusal.rule.startswith(rule)


def test_a_version_that_lacks_the_operator_is_refused():
    model = CASES["scaler"]
    old = onnx.ModelProto.FromString(model.SerializeToString())
    old.opset_import[1].version = 0
    with pytest.raises(CompileError, match=r"not a valid ONNX model|no such operator"):
        lower(old, "m")
