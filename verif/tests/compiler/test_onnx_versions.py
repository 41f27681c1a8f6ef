"""ONNX models: the meaning of every version; what is not honoured is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.errors import CompileError
from compiler.front.folding import meaning
from compiler.front.honoured import HONOURED, check
from compiler.front.lower import lower
from compiler.front.onnx_graph import read
from compiler.front.registry import OPERATORS
from compiler.map.pipeline.chain import chain_of
from verif.pages import operators
from verif.tests.onnx_models import FLOAT, X, create, faults, of_node, results

RNG = np.random.default_rng(5)


def _versions(op):
    return [s for s in onnx.defs.get_all_schemas_with_history() if s.domain == "" and s.name == op]


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_every_version_and_attribute_of_the_standard_is_in_the_list(op):
    rule = HONOURED[op]
    for schema in _versions(op):
        assert schema.since_version in rule.versions, schema.since_version
        known = rule.attributes | rule.fixed.keys() | rule.idle
        assert set(schema.attributes) <= known, schema.since_version
        # A value that is not taken is refused by name.
        for name, value in rule.fixed.items():
            if name in schema.attributes:
                with pytest.raises(CompileError, match=f"attribute {name}="):
                    check(schema, rule.fixed | {name: 1 - value})


def test_the_list_has_no_operator_that_is_not_lowered():
    assert HONOURED.keys() == OPERATORS.keys()


def test_the_page_is_the_list():
    assert operators.PATH.read_text() == operators.page()
    docs, count = operators.PATH.parent, len(HONOURED)
    assert f"[{count} ONNX operators](docs/operators.md)" in (docs.parent / "README.md").read_text()
    assert f"Operators ({count}, beside `Constant`)" in (docs / "models.md").read_text()


PER_CHANNEL = np.array([1, 2, 3], np.float32)


@pytest.mark.parametrize("opset", [1, 6])
@pytest.mark.parametrize(
    ("op", "formula"),
    [
        ("Add", np.add),
        ("Sub", np.subtract),
        ("Mul", np.multiply),
        ("Div", np.divide),
        ("Pow", np.power),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_old_broadcasting_begins_at_its_axis(op, formula, opset, constant):
    given = {} if constant else {"c": [3]}
    model = of_node(
        op,
        opset,
        {"x": [2, 3, 2, 2], **given},
        {"c": PER_CHANNEL} if constant else None,
        broadcast=1,
        axis=1,
    )
    got = results(model, x=X, **dict.fromkeys(given, PER_CHANNEL))
    assert np.allclose(got, formula(X, PER_CHANNEL[:, None, None]))


def test_old_broadcasting_without_axis_takes_the_last_ones():
    model = of_node("Mul", 6, {"x": [2, 3, 2, 2]}, {"c": np.float32([[1, 2], [3, 4]])}, broadcast=1)
    assert np.allclose(results(model, x=X), X * [[1, 2], [3, 4]])
    one = of_node("Mul", 6, {"x": [2, 3, 2, 2]}, {"c": np.float32([[5]])}, broadcast=1)
    assert np.allclose(results(one, x=X), 5 * X)


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        ({}, "broadcasts with attribute broadcast=1 only"),
        ({"broadcast": 1}, "does not fit"),
        ({"broadcast": 1, "axis": 2}, "does not fit"),
        ({"broadcast": 1, "axis": 9}, "does not fit"),
    ],
)
def test_old_broadcasting_that_does_not_fit_is_refused(attributes, rule):
    refusals = faults(of_node("Add", 6, {"x": [2, 3, 2, 2]}, {"c": PER_CHANNEL}, **attributes))
    assert [(r.node, r.operator) for r in refusals] == [("n", "Add")]
    assert rule in refusals[0].rule


NORM = {n: RNG.uniform(0.5, 2, 3).astype(np.float32) for n in ("scale", "bias", "mean", "var")}


@pytest.mark.parametrize(
    ("opset", "attributes"),
    [(6, {"is_test": 1}), (7, {}), (7, {"spatial": 1}), (9, {}), (14, {}), (15, {})],
)
def test_batch_normalisation_of_every_version(opset, attributes):
    model = of_node("BatchNormalization", opset, {"x": [2, 3, 2, 2]}, NORM, **attributes)
    scale, bias, mean, var = (v[:, None, None] for v in NORM.values())
    assert np.allclose(results(model, x=X), (X - mean) / np.sqrt(var + 1e-5) * scale + bias)


@pytest.mark.parametrize(
    ("op", "opset", "constants", "attributes", "rule"),
    [
        (
            "BatchNormalization",
            6,
            NORM,
            {},
            "attribute is_test=0 of version 6 is not supported, 1 is",
        ),
        ("BatchNormalization", 7, NORM, {"spatial": 0}, "attribute spatial=0 of version 7"),
        (
            "BatchNormalization",
            14,
            NORM,
            {"training_mode": 1},
            "attribute training_mode=1 of version",
        ),
        ("Dropout", 6, {}, {}, "attribute is_test=0 of version 6"),
        ("Dropout", 13, {"r": np.float32(0.5), "t": np.array(True)}, {}, "training_mode"),
        ("Max", 6, {"c": PER_CHANNEL.reshape(3, 1, 1)}, {}, "version 6 does not broadcast"),
        ("Gather", 1, {"i": np.array([-1])}, {}, "index -1 of an axis of 2, which has 0 to 1"),
        ("Det", 11, {}, {}, "operator is not supported"),
        ("Asin", 11, {}, {}, "operator is not supported"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(op, opset, constants, attributes, rule):
    refusals = faults(of_node(op, opset, {"x": [2, 3, 2, 2]}, constants, **attributes))
    assert [(r.node, r.operator) for r in refusals] == [("n", op)]
    assert rule in refusals[0].rule


def test_attributes_that_versions_leave_out_have_the_defaults_of_their_version():
    two = of_node("Concat", 1, {"x": [2, 3], "z": [2, 3]})
    x, z = RNG.normal(size=(2, 2, 3))
    assert np.allclose(results(two, x=x, z=z), np.concatenate([x, z], 1))
    split = of_node("Split", 1, {"x": [4, 3]}, outputs=("y", "z"))
    assert results(split, x=RNG.normal(size=(4, 3))).shape == (2, 3)
    assert np.allclose(results(of_node("Dropout", 6, {"x": [2, 3]}, is_test=1), x=x), x)
    cast = of_node("Cast", 1, {"x": [2, 3]}, to="DOUBLE")
    cast.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert np.allclose(results(cast, x=x), x)


def _softmax(x, axes):
    powers = np.exp(x - x.max(axis=axes, keepdims=True))
    return powers / powers.sum(axis=axes, keepdims=True)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("opset", "attributes", "axes"),
    [
        (1, {}, (1, 2, 3)),
        (11, {"axis": 2}, (2, 3)),
        (11, {"axis": -3}, (1, 2, 3)),
        (13, {}, (3,)),
        (13, {"axis": 1}, (1,)),
    ],
)
def test_softmax_is_of_its_version_in_constants_too(opset, attributes, axes, constant):
    nodes = [
        ("Softmax", ["c" if constant else "x"], ["s"], attributes),
        ("Add", ["x", "s"], ["y"], {}),
    ]
    model = create(nodes, {"x": [2, 3, 2, 2]}, {"c": X.astype(np.float32)}, opset)
    assert np.allclose(results(model, x=X), X + _softmax(X, axes), atol=1e-6)


def test_constants_are_folded_with_a_version_of_the_same_meaning():
    node = helper.make_node
    newest = onnx.defs.onnx_opset_version()
    assert meaning(node("DequantizeLinear", ["x", "s"], ["y"]), 10) == newest
    assert meaning(node("Shape", ["x"], ["y"]), 9) == newest
    assert meaning(node("Unsqueeze", ["x"], ["y"], axes=[0]), 9) in (1, 9)
    assert meaning(node("Add", ["x", "z"], ["y"]), 6) == newest
    assert meaning(node("Add", ["x", "z"], ["y"], axis=1, broadcast=1), 6) is None
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        assert meaning(node(op, ["x"], ["y"], axis=1), 11) is None
    assert meaning(node("PRelu", ["x", "s"], ["y"]), 6) is None
    assert meaning(node("RandomNormal", [], ["y"], shape=[2]), 13) is None
    # What an attribute meant by default that later versions do not have.
    assert meaning(node("And", ["x", "z"], ["y"]), 1) == newest
    assert meaning(node("DFT", ["x"], ["y"]), 17) == 17


@pytest.mark.parametrize("opset", [17, 19])
@pytest.mark.parametrize(("attributes", "axis"), [({}, 1), ({"axis": 2}, 2)])
def test_transforms_are_of_the_axis_of_their_version(opset, attributes, axis):
    c = RNG.normal(size=(1, 3, 4, 1)).astype(np.float32)
    model = create(
        [("DFT", ["c"], ["f"], attributes), ("Add", ["x", "f"], ["y"], {})],
        {"x": [1, 3, 4, 2]},
        {"c": c},
        opset,
    )
    wanted = np.fft.fft(c[..., 0], axis=axis)
    assert np.allclose(
        results(model, x=np.ones((1, 3, 4, 2))),
        1 + np.stack([wanted.real, wanted.imag], -1),
        atol=1e-5,
    )


@pytest.mark.parametrize("source", ["x", "c"])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("MaxPool", {"pads": [2, 0, 0, 0]}),
        ("AveragePool", {"pads": [2, 0, 0, 0]}),
        # The middle window steps over all there is.
        ("MaxPool", {"pads": [2, 0, 2, 0], "dilations": [4, 1]}),
    ],
)
def test_windows_of_nothing_but_padding_are_refused(op, attributes, source):
    size = [1, 1, 3, 4]
    model = create(
        [
            (op, [source], ["p"], {"kernel_shape": [2, 2]} | attributes),
            ("Add", ["p", "z"], ["y"], {}),
        ],
        {"x": size},
        {"c": np.ones(size, np.float32), "z": np.ones((1, 1, 1, 3), np.float32)},
    )
    model.graph.node[0].name = "n"
    assert [(r.node, r.rule) for r in faults(model)] == [
        ("n", "a window lies wholly in the padding: nothing is its result")
    ]


@pytest.mark.parametrize(
    ("op", "size", "wanted", "constants"),
    [
        ("MaxPool", [2, 0, 5], (2, 0, 4), {}),
        ("AveragePool", [0, 2, 5], (0, 2, 4), {}),
        ("Conv", [0, 2, 5], (0, 3, 4), {"w": np.ones((3, 2, 2), np.float32)}),
    ],
)
def test_windows_of_tensors_without_elements(op, size, wanted, constants):
    attributes = {} if constants else {"kernel_shape": [2]}
    model = create([(op, ["x", *constants], ["y"], attributes)], {"x": size}, constants)
    assert results(model, x=np.ones(size)).shape == wanted


WEIGHTS = RNG.integers(-128, 128, (4, 3)).astype(np.int8)


#: Scale, zero point, axis; an axis came with version 13.
QUANTISED = [
    (np.float32(0.25), np.int8(3), None),
    (np.float32(0.25), None, None),
    (np.float32([0.5, 0.25, 2]), np.int8([1, 0, -5]), 1),
    (np.float32([0.5, 0.25, 2, 1]), None, 0),
]


@pytest.mark.parametrize(
    ("opset", "scale", "zero", "axis"),
    [
        (opset, *case)
        for opset in (10, 13, 17, 19, 21, 23)
        for case in QUANTISED
        if case[2] is None or opset >= 13
    ],
)
def test_quantised_weights_are_folded_in_every_opset(opset, scale, zero, axis):
    constants = {"q": WEIGHTS, "s": scale} | ({} if zero is None else {"z": zero})
    attributes = {} if axis is None else {"axis": axis}
    model = create(
        [
            ("DequantizeLinear", list(constants), ["w"], attributes),
            ("MatMul", ["x", "w"], ["y"], {}),
        ],
        {"x": [2, 4]},
        constants,
        opset,
    )
    zeros = 0 if zero is None else zero.astype(float)
    wanted = WEIGHTS * scale[:, None].astype(float) if axis == 0 else (WEIGHTS - zeros) * scale
    x = RNG.normal(size=(2, 4))
    assert np.allclose(results(model, x=x), x @ wanted)


# Chains of dense layers, as one program.


def _chain(add, opset=6, kind=FLOAT, **more):
    weight = RNG.normal(size=(3, 3)).astype(np.float32)
    kind = (kind, [3, 3])
    model = create(
        [("MatMul", ["x", "w"], ["h"], {}), ("Add", ["h", "b"], ["y"], add)],
        {"x": kind},
        {"w": weight, "b": PER_CHANNEL} | more,
        opset,
    )
    if kind[0] != FLOAT:
        for tensor in (*model.graph.initializer, model.graph.output[0].type.tensor_type):
            if isinstance(tensor, TensorProto):
                tensor.CopyFrom(
                    numpy_helper.from_array(
                        np.ones_like(numpy_helper.to_array(tensor), np.int32), tensor.name
                    )
                )
            else:
                tensor.elem_type = kind[0]
    return model


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"add": {"broadcast": 1, "axis": 0}}, "not the bias or the relu of a dense layer"),
        ({"add": {}}, "must have the same shape|shapes|not the bias"),
        ({"add": {}, "opset": 13, "kind": TensorProto.INT32}, "INT32|int32"),
    ],
)
def test_chains_of_another_meaning_are_refused(arguments, rule, tmp_path):
    onnx.save(_chain(**arguments), tmp_path / "m.onnx")
    with pytest.raises(CompileError, match=rule):
        chain_of(lower(read(tmp_path / "m.onnx"), "m"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"add": {"broadcast": 1, "axis": 1}},
        {"add": {"broadcast": 1}},
        {"add": {}, "opset": 13},
        {"add": {}, "opset": 13, "unused": np.array([np.nan], np.float32)},
    ],
)
def test_chains_of_old_versions_are_taken(arguments, tmp_path):
    onnx.save(_chain(**arguments), tmp_path / "m.onnx")
    (layer,) = chain_of(lower(read(tmp_path / "m.onnx"), "m"))
    assert np.allclose(layer.bias, PER_CHANNEL)
