"""ONNX models: the meaning of every version, functions, element types, powers; what is refused."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference
from typer.testing import CliRunner

from compiler.errors import CompileError, Refused
from compiler.onnx_import import load_network
from compiler.tensors.compiled import compile_program
from compiler.tensors.folding import meaning
from compiler.tensors.honoured import HONOURED, check
from compiler.tensors.lower import lower, lower_all
from compiler.tensors.lowering import OPERATORS
from compiler.tensors.onnx_graph import prepare
from compiler.tensors.ranges import choose
from compiler.tensors.values import real_values
from pal_units.formats import PAL4T, PAL6T, PAL8T
from spu.arch.params import CONFIGS
from verif import operators
from verif.cli import app
from verif.host import InputError
from verif.tensors import GoldenEngine, run

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RNG = np.random.default_rng(5)


def _model(nodes, inputs, constants=None, opset=18, outputs=("y",), functions=(), domains=()):
    """A model of (operator, inputs, outputs, attributes); inputs are shapes or (type, shape)."""
    made = [helper.make_node(op, list(given), list(out), **attributes)
            for op, given, out, attributes in nodes]
    kinds = {n: s if isinstance(s, tuple) and isinstance(s[1], list) else (FLOAT, s)
             for n, s in inputs.items()}
    graph = helper.make_graph(
        made, "model", [helper.make_tensor_value_info(n, *k) for n, k in kinds.items()],
        [helper.make_value_info(n, helper.make_tensor_type_proto(FLOAT, None)) for n in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()])
    model = shape_inference.infer_shapes(helper.make_model(
        graph, functions=list(functions), ir_version=8, opset_imports=[
            helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]))
    for output in model.graph.output:
        # The checker wants a shape; of what inference does not know, open dimensions.
        if not output.type.tensor_type.HasField("shape"):
            for place in range(len(next(iter(kinds.values()))[1])):
                output.type.tensor_type.shape.dim.add(dim_param=f"d{place}")
    return model


def _single(op, opset, shapes, constants=None, outputs=("y",), **attributes):
    """A model of one node ``n`` whose inputs are those given, in order."""
    model = _model([(op, [*shapes, *(constants or {})], outputs, attributes)], shapes, constants,
                   opset, outputs[:1])
    model.graph.node[0].name = "n"
    return model


def _values(model, **inputs):
    """What a model should compute, by its steps in float64."""
    program = lower(model, "model")
    found, _ = real_values(program, inputs)
    return found[program.outputs["y"]]


def _rules(model):
    with pytest.raises(CompileError) as caught:
        lower(model, "model")
    assert isinstance(caught.value, Refused), caught.value
    return caught.value.refusals


# Versions.

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


X = RNG.uniform(0.5, 2, (2, 3, 2, 2))
PER_CHANNEL = np.array([1, 2, 3], np.float32)


@pytest.mark.parametrize("opset", [1, 6])
@pytest.mark.parametrize(("op", "formula"), [
    ("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide),
    ("Pow", np.power)])
@pytest.mark.parametrize("constant", [True, False])
def test_old_broadcasting_begins_at_its_axis(op, formula, opset, constant):
    given = {} if constant else {"c": [3]}
    model = _single(op, opset, {"x": [2, 3, 2, 2], **given},
                    {"c": PER_CHANNEL} if constant else None, broadcast=1, axis=1)
    got = _values(model, x=X, **dict.fromkeys(given, PER_CHANNEL))
    assert np.allclose(got, formula(X, PER_CHANNEL[:, None, None]))


def test_old_broadcasting_without_axis_takes_the_last_ones():
    model = _single("Mul", 6, {"x": [2, 3, 2, 2]}, {"c": np.float32([[1, 2], [3, 4]])},
                    broadcast=1)
    assert np.allclose(_values(model, x=X), X * [[1, 2], [3, 4]])
    one = _single("Mul", 6, {"x": [2, 3, 2, 2]}, {"c": np.float32([[5]])}, broadcast=1)
    assert np.allclose(_values(one, x=X), 5 * X)


@pytest.mark.parametrize(("attributes", "rule"), [
    ({}, "broadcasts with attribute broadcast=1 only"),
    ({"broadcast": 1}, "does not fit"), ({"broadcast": 1, "axis": 2}, "does not fit"),
    ({"broadcast": 1, "axis": 9}, "does not fit")])
def test_old_broadcasting_that_does_not_fit_is_refused(attributes, rule):
    refusals = _rules(_single("Add", 6, {"x": [2, 3, 2, 2]}, {"c": PER_CHANNEL}, **attributes))
    assert [(r.node, r.operator) for r in refusals] == [("n", "Add")]
    assert rule in refusals[0].rule


NORM = {n: RNG.uniform(0.5, 2, 3).astype(np.float32) for n in ("scale", "bias", "mean", "var")}


@pytest.mark.parametrize(("opset", "attributes"), [
    (6, {"is_test": 1}), (7, {}), (7, {"spatial": 1}), (9, {}), (14, {}), (15, {})])
def test_batch_normalisation_of_every_version(opset, attributes):
    model = _single("BatchNormalization", opset, {"x": [2, 3, 2, 2]}, NORM, **attributes)
    scale, bias, mean, var = (v[:, None, None] for v in NORM.values())
    assert np.allclose(_values(model, x=X), (X - mean) / np.sqrt(var + 1e-5) * scale + bias)


@pytest.mark.parametrize(("op", "opset", "constants", "attributes", "rule"), [
    ("BatchNormalization", 6, NORM, {}, "attribute is_test=0 of version 6 is not supported, 1 is"),
    ("BatchNormalization", 7, NORM, {"spatial": 0}, "attribute spatial=0 of version 7"),
    ("BatchNormalization", 14, NORM, {"training_mode": 1}, "attribute training_mode=1 of version"),
    ("Dropout", 6, {}, {}, "attribute is_test=0 of version 6"),
    ("Dropout", 13, {"r": np.float32(0.5), "t": np.array(True)}, {}, "training_mode"),
    ("Max", 6, {"c": PER_CHANNEL.reshape(3, 1, 1)}, {}, "version 6 does not broadcast"),
    ("Gather", 1, {"i": np.array([-1])}, {}, "index -1 in version 1"),
    ("Upsample", 7, {}, {"scales": [1.0, 1, 2, 2]}, "operator is not supported"),
    ("Resize", 10, {"s": np.float32([1, 1, 2, 2])}, {}, "operator is not supported"),
    ("Hardmax", 11, {}, {}, "operator is not supported"),
])
def test_what_is_not_honoured_is_refused_by_name(op, opset, constants, attributes, rule):
    refusals = _rules(_single(op, opset, {"x": [2, 3, 2, 2]}, constants, **attributes))
    assert [(r.node, r.operator) for r in refusals] == [("n", op)]
    assert rule in refusals[0].rule


def test_attributes_that_versions_leave_out_have_the_defaults_of_their_version():
    two = _single("Concat", 1, {"x": [2, 3], "z": [2, 3]})
    x, z = RNG.normal(size=(2, 2, 3))
    assert np.allclose(_values(two, x=x, z=z), np.concatenate([x, z], 1))
    split = _single("Split", 1, {"x": [4, 3]}, outputs=("y", "z"))
    assert _values(split, x=RNG.normal(size=(4, 3))).shape == (2, 3)
    assert np.allclose(_values(_single("Dropout", 6, {"x": [2, 3]}, is_test=1), x=x), x)
    cast = _single("Cast", 1, {"x": [2, 3]}, to="DOUBLE")
    cast.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert np.allclose(_values(cast, x=x), x)


def _softmax(x, axes):
    powers = np.exp(x - x.max(axis=axes, keepdims=True))
    return powers / powers.sum(axis=axes, keepdims=True)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("opset", "attributes", "axes"), [
    (1, {}, (1, 2, 3)), (11, {"axis": 2}, (2, 3)), (11, {"axis": -3}, (1, 2, 3)), (13, {}, (3,)),
    (13, {"axis": 1}, (1,))])
def test_softmax_is_of_its_version_in_constants_too(opset, attributes, axes, constant):
    nodes = [("Softmax", ["c" if constant else "x"], ["s"], attributes),
             ("Add", ["x", "s"], ["y"], {})]
    model = _model(nodes, {"x": [2, 3, 2, 2]}, {"c": X.astype(np.float32)}, opset)
    assert np.allclose(_values(model, x=X), X + _softmax(X, axes), atol=1e-6)


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


WEIGHTS = RNG.integers(-128, 128, (4, 3)).astype(np.int8)


@pytest.mark.parametrize("opset", [10, 13, 17, 19, 21, 23])
@pytest.mark.parametrize(("scale", "zero", "axis"), [
    (np.float32(0.25), np.int8(3), None), (np.float32(0.25), None, None),
    (np.float32([0.5, 0.25, 2]), np.int8([1, 0, -5]), 1),
    (np.float32([0.5, 0.25, 2, 1]), None, 0)])
def test_quantised_weights_are_folded_in_every_opset(opset, scale, zero, axis):
    if axis is not None and opset < 13:
        pytest.skip("one scale for all in this version")
    constants = {"q": WEIGHTS, "s": scale} | ({} if zero is None else {"z": zero})
    attributes = {} if axis is None else {"axis": axis}
    model = _model([("DequantizeLinear", list(constants), ["w"], attributes),
                    ("MatMul", ["x", "w"], ["y"], {})], {"x": [2, 4]}, constants, opset)
    zeros = 0 if zero is None else zero.astype(float)
    wanted = WEIGHTS * scale[:, None].astype(float) if axis == 0 else (WEIGHTS - zeros) * scale
    x = RNG.normal(size=(2, 4))
    assert np.allclose(_values(model, x=x), x @ wanted)


# Functions.

@pytest.mark.parametrize(("op", "opset", "attributes", "formula"), [
    ("HardSigmoid", 18, {}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    ("HardSigmoid", 18, {"alpha": 0.5}, lambda x: np.clip(0.5 * x + 0.5, 0, 1)),
    ("Swish", 24, {}, lambda x: x / (1 + np.exp(-x))),
    ("MeanVarianceNormalization", 13, {}, lambda x: (x - x.mean((0, 2, 3), keepdims=True))
     / x.std((0, 2, 3), keepdims=True)),
    ("MeanVarianceNormalization", 18, {"axes": [1, 2]}, lambda x: (
        x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True)),
])
def test_functions_have_the_defaults_of_their_attributes(op, opset, attributes, formula):
    model = _single(op, opset, {"x": [2, 3, 2, 2]}, **attributes)
    assert np.allclose(_values(model, x=X - 1), formula(X - 1), atol=1e-5)


def test_group_normalisation_takes_initialisers():
    scale, bias = RNG.uniform(1, 2, (2, 4)).astype(np.float32)
    model = _single("GroupNormalization", 21, {"x": [2, 4, 3]}, {"s": scale, "b": bias},
                    num_groups=2)
    x = RNG.normal(size=(2, 4, 3))
    groups = x.reshape(2, 2, 6)
    wide = ((groups - groups.mean(2, keepdims=True))
            / np.sqrt(groups.var(2, keepdims=True) + 1e-5)).reshape(2, 4, 3)
    assert np.allclose(_values(model, x=x), wide * scale[:, None] + bias[:, None], atol=1e-5)


@pytest.mark.parametrize("op", ["Celu", "Elu", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu",
                                "Shrink", "Softplus", "Softsign", "ThresholdedRelu"])
def test_functions_are_refused_by_their_own_name_or_work(op):
    model = _single(op, 18, {"x": [2, 3]}, {"s": np.float32([0.1])} if op == "PRelu" else None)
    refused = lower_all(prepare(model, "model"))[1]
    assert [(r.node, r.operator, r.rule) for r in refused] in (
        [], [("n", op, "operator is not supported")])
    if refused:
        with pytest.raises(Refused, match=f"^{op} node 'n': operator is not supported; supported"):
            lower(model, "model")


def _function(name, nodes, attributes=(), **defaults):
    return helper.make_function("own", name, ["a"], ["b"], nodes, [helper.make_opsetid("", 18)],
                                attributes, [helper.make_attribute(*d) for d in defaults.items()])


def test_local_functions_have_attributes_with_defaults():
    def given(name):
        node = helper.make_node("Constant", [], [name])
        node.attribute.add(name="value_float", ref_attr_name=name, type=onnx.AttributeProto.FLOAT)
        return node
    power = _function("Power", [given("p"), given("q"), helper.make_node("Pow", ["a", "p"], ["t"]),
                                helper.make_node("Mul", ["t", "q"], ["b"])], ["p"], q=0.5)
    nodes = [("Power", ["x"], ["h"], {"p": 3.0}), ("Power", ["h"], ["y"], {"p": 2.0, "q": 4.0})]
    model = _model(nodes, {"x": [2, 3, 2, 2]}, functions=[power], domains=["own"])
    for node in model.graph.node:
        node.domain = "own"
    assert np.allclose(_values(model, x=X), 4 * (0.5 * X**3) ** 2)


def test_functions_that_call_themselves_are_refused():
    def model(first, *rest):
        made = _model([(first, ["x"], ["y"], {})], {"x": [2]}, domains=["own"])
        made.graph.node[0].domain = "own"
        made.ir_version = 7  # of which the checker does not look at functions
        for name, called in zip((first, *rest), (*rest, first), strict=True):
            body = _function(name, [helper.make_node(called, ["a"], ["b"], domain="own")])
            body.opset_import.append(helper.make_opsetid("own", 1))
            made.functions.append(body)
        return made
    for names in ("F", "FG", "FGH"):
        refused, = lower_all(prepare(model(*names), "m"))[1]
        assert (refused.node, refused.operator) == ("y", "F")
        assert refused.rule.endswith("the function calls itself")
    deep = model(*(f"F{k}" for k in range(60)))
    deep.functions[-1].node[0].op_type, deep.functions[-1].node[0].domain = "Relu", ""
    with pytest.raises(Refused, match="functions call each other more than 50 deep"):
        lower(deep, "m")


@pytest.mark.parametrize(("bounds", "rule"), [
    ((np.inf, None), "a constant of inf"), ((None, -np.inf), "a constant of -inf"),
    ((np.inf, np.inf), "a constant of inf"), ((np.nan, 1), "its min is NaN"),
    ((-1, np.nan), "its max is NaN"), ((-np.inf, np.inf), ""), ((None, 3.4028235e38), "")])
@pytest.mark.parametrize("opset", [6, 18])
def test_bounds_of_clip_bound_or_are_refused(bounds, rule, opset):
    given = {n: float(b) for n, b in zip(("min", "max"), bounds, strict=True) if b is not None}
    names = ["x", *(n if n in given else "" for n in ("min", "max"))]
    model = _model([("Clip", names[:1] if opset == 6 else names, ["y"],
                     given if opset == 6 else {})], {"x": [2, 3]},
                   {} if opset == 6 else {n: np.float32(b) for n, b in given.items()}, opset)
    if rule:
        with pytest.raises(Refused, match=f"Clip node 'y': {rule}"):
            choose(lower(model, "m"))
    else:
        x = np.float64([[-3000, 1, 2], [4, 5, 6000]])
        assert (_values(model, x=x) == x).all()


def test_functions_that_are_refused_do_not_seem_to_call_themselves():
    body = _function("Same", [helper.make_node("Relu", ["a"], ["t"])])
    body.output[0] = "a"
    model = _model([("Same", ["x"], ["p"], {}), ("Same", ["x"], ["q"], {}),
                    ("Add", ["p", "q"], ["y"], {})], {"x": [2]}, domains=["own"])
    for node in model.graph.node[:2]:
        node.domain = "own"
    model.functions.append(body)
    model.ir_version = 7  # of which the checker does not look at functions
    for refused in lower_all(prepare(model, "m"))[1]:
        assert "returns its input 'a'" in refused.rule


def test_functions_of_one_name_are_told_by_their_overload():
    bodies = [_function("F", [helper.make_node(op, ["a"], ["b"])]) for op in ("Exp", "Neg")]
    model = _model([("F", ["x"], ["y"], {})], {"x": [2, 3, 2, 2]}, domains=["own"])
    model.graph.node[0].domain = "own"
    model.functions.extend(bodies)
    model.ir_version = 7
    with pytest.raises(CompileError, match="two functions have the same name"):
        lower(model, "m")
    model.ir_version, model.functions[0].overload = 10, "other"
    assert np.allclose(_values(model, x=X), -X)
    model.graph.node[0].overload = "other"
    assert np.allclose(_values(model, x=X), np.exp(X))


@pytest.mark.parametrize("taken", ["t", "n/t", "n/t'"])
def test_names_within_functions_are_nothing_elses(taken):
    """Neither a tensor's of the model, nor another node's whose first outputs are not taken."""
    inner = _function("Inner", [helper.make_node("Neg", ["a"], ["t"]),
                                helper.make_node("Relu", ["t"], ["b"])])
    pair = [helper.make_function(
        "own", name, ["x"], ["u", "y"], [
            helper.make_node("Constant", [], ["c"], value_float=value),
            helper.make_node("Add", ["x", "c"], ["y"]), helper.make_node("Neg", ["x"], ["u"])],
        [helper.make_opsetid("", 18)]) for name, value in (("One", 1.0), ("Five", 5.0))]
    model = _model([("Abs", ["x"], [taken], {}), ("Inner", ["x"], ["n"], {"domain": "own"}),
                    ("One", ["x"], ["", "p"], {"domain": "own"}),
                    ("Five", ["x"], ["", "q"], {"domain": "own"}),
                    ("Sub", ["q", "p"], ["four"], {}), ("Add", ["n", taken], ["s"], {}),
                    ("Add", ["four", "s"], ["y"], {})],
                   {"x": [4]}, functions=[inner, *pair], domains=["own"])
    x = np.array([1.0, -2.0, 3.0, -4.0])
    assert (_values(model, x=x) == 4 + np.maximum(-x, 0) + np.abs(x)).all()


def test_refusals_name_the_nodes_of_the_user():
    body = _function("Deep", [helper.make_node("LeakyRelu", ["a"], ["t"], name="inner"),
                              helper.make_node("GRU", ["t", "t", "t"], ["b"], name="second",
                                               hidden_size=3)])
    nodes = [("Deep", ["x"], ["h"], {}), ("Relu", ["h"], ["r"], {}),
             ("PRelu", ["x", "x"], ["p"], {}), ("Exp", ["p"], ["e"], {}),
             ("Cast", ["e"], ["i"], {"to": INT64}), ("Celu", ["x"], ["y"], {})]
    model = _model(nodes, {"x": [2, 3]}, functions=[body], domains=["own"])
    model.graph.node[0].domain, model.graph.node[0].name = "own", "call"
    found = [(r.node, r.operator, r.rule) for r in _rules(model)]
    assert found[:3] == [
        ("call", "Deep", "its LeakyRelu node 'inner': operator is not supported"),
        ("call", "Deep", "its GRU node 'second': operator is not supported"),
        ("p", "PRelu", "operator is not supported")]
    assert found[3][:2] == ("i", "Cast")
    assert "casts to INT64" in found[3][2]
    assert found[4] == ("y", "Celu", "operator is not supported")
    assert len(found) == 5
    assert not any("Less" in str(rule) or "Where" in str(rule) for rule in found)


# Element types.

def test_shapes_are_computed_as_integers():
    """7 // 2 is 3, -7 / 2 is -3; what is a shape is exact."""
    nodes = [("Shape", ["x"], ["s"], {}), ("Div", ["s", "two"], ["half"], {}),
             ("Mul", ["half", "minus"], ["m"], {}), ("Div", ["m", "two"], ["quarter"], {}),
             ("Cast", ["quarter"], ["f"], {"to": FLOAT}), ("Add", ["x", "f"], ["y"], {})]
    model = _model(nodes, {"x": [7]}, {"two": np.array([2]), "minus": np.array([-1])})
    assert np.allclose(_values(model, x=np.zeros(7)), -1)


@pytest.mark.parametrize(("op", "kind", "rule"), [
    ("Div", INT64, "takes 'x' of INT64"), ("Add", TensorProto.INT32, "takes 'x' of INT32"),
    ("Identity", TensorProto.BOOL, "takes 'x' of BOOL"),
    ("Abs", TensorProto.UINT8, "takes 'x' of UINT8"), ("Reshape", INT64, "takes 'x' of INT64")])
def test_integer_tensors_are_refused_with_their_type(op, kind, rule):
    second = {"Reshape": {"c": np.array([-1])}, "Div": {"c": np.array([2])},
              "Add": {"c": np.array([2], np.int32)}}.get(op)
    model = _single(op, 18, {"x": (kind, [4])}, second)
    model.graph.output[0].type.tensor_type.elem_type = kind
    refusals = _rules(model)
    assert (refusals[0].node, refusals[0].operator) == ("n", op)
    assert rule in refusals[0].rule
    assert len(refusals) == 1


def test_integers_come_neither_in_nor_out():
    ids = _model([("Gather", ["c", "x"], ["y"], {})], {"x": (INT64, [2])},
                 {"c": np.float32([1, 2, 3])})
    assert "takes 'x' of INT64" in _rules(ids)[0].rule
    shape = _model([("Shape", ["x"], ["y"], {})], {"x": [2, 3]})
    shape.graph.output[0].type.tensor_type.elem_type = INT64
    assert "output 'y' is of INT64" in str(_rules(shape)[0])
    text = _model([("Identity", ["x"], ["y"], {})], {"x": (TensorProto.STRING, [2])})
    text.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    assert "takes 'x' of STRING" in _rules(text)[0].rule


def test_constants_that_nothing_uses_do_not_matter():
    unused = {"junk": np.float32([np.nan, 1])}
    assert np.allclose(_values(_model([("Exp", ["x"], ["y"], {})], {"x": [1]}, unused),
                               x=np.zeros(1)), 1)
    used = _model([("Add", ["x", "junk"], ["y"], {})], {"x": [2]}, unused)
    assert "constant 'junk' holds 1 NaN" in _rules(used)[0].rule


def test_outputs_that_are_constant_and_infinite_are_refused():
    model = _model([("Log", ["c"], ["y"], {}), ("Exp", ["x"], ["z"], {})], {"x": [2]},
                   {"c": np.array([0, 1], np.float32)}, outputs=("y", "z"))
    assert [str(r) for r in _rules(model)] == ["output 'y' is constant and not finite"]


# Powers.

BASES = np.array([-2, -3, -4, 0, 1.5, 2, 0.5, 0])


@pytest.mark.parametrize("exponents", [
    [2, 3, 1, 2, 3, -1, 0.5, 0], [1, 3, 1, 2, 3, 4, 5, 1], [1, 1, 3, 3, 5, 5, 7, 9],
    [0, 0, 0, 0, 0, 0, 0, 0], [4, 2, 2, 2, 0.5, -2.5, 1.3, 0.5], [-1, -2, -3, 2, -1, 0, 1, 2],
    [9] * 8, [10] * 8, [65] * 8, [66] * 8, [1.7] * 8, [-1.7] * 8, [1.5] * 8])
def test_powers_of_negative_bases_are_those_of_their_exponents(exponents):
    model = _single("Pow", 15, {"x": [8]}, {"e": np.float32(exponents)})
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.power(BASES, np.float32(exponents).astype(float))
    assert np.allclose(_values(model, x=BASES), wanted, equal_nan=True)
    if exponents[0] not in (0, 2, 65):
        return
    program = lower(model, "pow")
    got = run(compile_program(program, CONFIGS["basic"]), GoldenEngine(CONFIGS["basic"]),
              {"x": BASES})["y"]
    held = np.abs(wanted) <= 4096
    assert np.allclose(got[held], wanted[held], rtol=0.05, atol=1e-4)


def test_nan_that_a_block_of_zeros_would_swallow_is_refused():
    x = np.ones((3, 64))
    x[1, 3] = -1  # its root is NaN, in the first of two blocks
    for first, formats in ((0, PAL8T), (1, PAL4T)):
        weights = np.ones((64, 2), np.float32)
        weights[:32] *= first
        model = _model([("Sqrt", ["x"], ["s"], {}), ("MatMul", ["s", "w"], ["y"], {})],
                       {"x": [3, 64]}, {"w": weights})
        compiled = compile_program(lower(model, "m"), CONFIGS["basic"], formats)
        with pytest.raises(InputError, match="MatMul node 'y': 2 results should be NaN"):
            run(compiled, GoldenEngine(CONFIGS["basic"]), {"x": x})
        found = run(compiled, GoldenEngine(CONFIGS["basic"]), {"x": abs(x)})["y"]
        assert np.allclose(found, weights.sum(0), rtol=0.1)
    for other in (PAL8T, PAL6T):  # others keep it
        compiled = compile_program(lower(model, "m"), CONFIGS["basic"], other)
        found = run(compiled, GoldenEngine(CONFIGS["basic"]), {"x": x})["y"]
        assert (np.isnan(found) == (x < 0).any(axis=1, keepdims=True)).all()


def test_integer_exponents_of_another_type_are_taken():
    model = _single("Pow", 15, {"x": [8]}, {"e": np.array([2, 3, 1, 0, 2, 3, 1, 0])})
    assert np.allclose(_values(model, x=BASES), np.power(BASES, [2, 3, 1, 0, 2, 3, 1, 0]))


def test_exponents_that_are_computed_take_bases_that_are_not_negative():
    model = _single("Pow", 15, {"x": [4], "e": [4]})
    program = lower(model, "pow")
    compiled, engine = compile_program(program, CONFIGS["basic"]), GoldenEngine(CONFIGS["basic"])
    x, e = np.array([2, 3, 0, 0]), np.array([2, 0.5, 2, 0])
    assert np.allclose(run(compiled, engine, {"x": x, "e": e})["y"], x**e, rtol=0.01)
    with pytest.raises(InputError, match=r"base of Pow, 'x'.*must not be negative: it is -2"):
        run(compiled, engine, {"x": x - 2.0, "e": e})
    base = _model([("Pow", ["c", "x"], ["y"], {})], {"x": [2]}, {"c": np.float32([-2, 3])})
    assert "a base of -2 takes a constant exponent" in _rules(base)[0].rule


# Layouts.

@pytest.mark.parametrize(("start", "end", "step"), [
    (-100, 100, 1), (100, -100, -1), (-100, -100, -1), (3, 1, -1), (-2, 100, 2), (2, 2, 1),
    (4, -6, -2)])
def test_slices_are_clamped_as_the_standard_says(start, end, step):
    """Its text: starts to [0, n] or, going back, [0, n - 1]; ends to [0, n] or [-1, n - 1]."""
    n, x = 5, RNG.normal(size=5)
    first, last = (p + n if p < 0 else p for p in (start, end))
    bounds = ((0, n), (0, n)) if step > 0 else ((0, n - 1), (-1, n - 1))
    wanted = x[list(range(np.clip(first, *bounds[0]), np.clip(last, *bounds[1]), step))]
    model = _single("Slice", 13, {"x": [5]}, {
        "s": np.array([start]), "e": np.array([end]), "a": np.array([0]), "t": np.array([step])})
    assert np.array_equal(_values(model, x=x), wanted)


# Chains of dense layers, as one program.

def _chain(add, opset=6, kind=FLOAT, **more):
    weight = RNG.normal(size=(3, 3)).astype(np.float32)
    kind = (kind, [3, 3])
    model = _model([("MatMul", ["x", "w"], ["h"], {}), ("Add", ["h", "b"], ["y"], add)],
                   {"x": kind}, {"w": weight, "b": PER_CHANNEL} | more, opset)
    if kind[0] != FLOAT:
        for tensor in (*model.graph.initializer, model.graph.output[0].type.tensor_type):
            if isinstance(tensor, TensorProto):
                tensor.CopyFrom(numpy_helper.from_array(np.ones_like(numpy_helper.to_array(
                    tensor), np.int32), tensor.name))
            else:
                tensor.elem_type = kind[0]
    return model


@pytest.mark.parametrize(("arguments", "rule"), [
    ({"add": {"broadcast": 1, "axis": 0}}, "before opset 7 an addend takes"),
    ({"add": {}}, "before opset 7 an addend takes"),
    ({"add": {}, "opset": 13, "kind": TensorProto.INT32}, "input 'x' is of INT32"),
])
def test_chains_of_another_meaning_are_refused(arguments, rule, tmp_path):
    onnx.save(_chain(**arguments), tmp_path / "m.onnx")
    with pytest.raises(CompileError, match=rule):
        load_network(tmp_path / "m.onnx")


@pytest.mark.parametrize("arguments", [
    {"add": {"broadcast": 1, "axis": 1}}, {"add": {"broadcast": 1}}, {"add": {}, "opset": 13},
    {"add": {}, "opset": 13, "unused": np.array([np.nan], np.float32)}])
def test_chains_of_old_versions_are_taken(arguments, tmp_path):
    onnx.save(_chain(**arguments), tmp_path / "m.onnx")
    assert np.allclose(load_network(tmp_path / "m.onnx").layers[0].bias, PER_CHANNEL)


# Dimensions and the command line.

def _spu(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def open_model(tmp_path):
    """x (batch, sequence, 4) with a third input dimension that is -1."""
    model = _model([("Exp", ["x"], ["a"], {}), ("Exp", ["z"], ["y"], {})],
                   {"x": ["batch", "sequence", 4], "z": ["batch", -1]}, outputs=("a", "y"))
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize(("batch", "dims", "x", "z"), [
    (None, {}, (1, 1, 4), (1, 1)), (3, {}, (3, 1, 4), (3, 1)),
    (None, {"batch": 2, "sequence": 5}, (2, 5, 4), (2, 1)),
    (2, {"batch": 2, "sequence": 5}, (2, 5, 4), (2, 1))])
def test_open_dimensions_have_the_sizes_that_are_given(batch, dims, x, z, open_model):
    program = lower(onnx.load(open_model), "m", batch, dims)
    assert program.shape(program.inputs["x"]) == x
    assert program.shape(program.inputs["z"]) == z


@pytest.mark.parametrize(("arguments", "rule"), [
    (["--dim", "length=4"], "no input has an open dimension 'length'; open are batch, sequence"),
    (["--dim", "sequence=4", "--dim", "sequence=5"], "is given as 4 and as 5"),
    (["--dim", "sequence"], "must be NAME=N"), (["--dim", "sequence=0"], "must be NAME=N"),
    (["--dim", "=3"], "must be NAME=N"), (["--dim", "sequence=-3"], "must be NAME=N"),
    (["--dim", "batch=2", "--batch", "3"], "it cannot be 2 in a batch of 3"),
    (["--dim", f"sequence={10**22}"], f"cannot have a dimension of {10**22}"),
    (["--batch", str(2**63 - 1)], f"cannot have a dimension of {2**63 - 1}")])
@pytest.mark.parametrize("command", ["check", "compile"])
def test_dimensions_that_do_not_fit_are_refused(command, arguments, rule, open_model, tmp_path):
    more = ["--steps", "-o", tmp_path / "out"] if command == "compile" else []
    result = _spu(command, open_model, *arguments, *more)
    assert result.exit_code == 2
    assert rule in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_check_lists_every_refusal(tmp_path):
    model = _model([("LSTM", ["x", "w", "w"], ["h"], {"hidden_size": 4}),
                    ("Elu", ["x"], ["e"], {}), ("Softmax", ["e"], ["s"], {}),
                    ("BatchNormalization", ["s", "v", "v", "v", "v"], ["y"], {"training_mode": 1})],
                   {"x": [2, 3, 4]}, {"w": np.ones((1, 16, 4), np.float32),
                                      "v": np.ones(3, np.float32)}, opset=15)
    onnx.save(model, tmp_path / "m.onnx")
    result = _spu("check", tmp_path / "m.onnx", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["refusals"] == [
        {"node": "h", "operator": "LSTM", "rule": "operator is not supported"},
        {"node": "e", "operator": "Elu", "rule": "operator is not supported"},
        {"node": "y", "operator": "BatchNormalization",
         "rule": "attribute training_mode=1 of version 15 is not supported, 0 is"}]
    text = _spu("check", tmp_path / "m.onnx")
    assert text.exit_code == 2
    assert text.stdout.splitlines()[:2] == ["LSTM node 'h': operator is not supported",
                                            "Elu node 'e': operator is not supported"]
    assert text.stderr.strip() == f"spu: error: {tmp_path / 'm.onnx'}: 3 refusals"
    compiled = _spu("compile", tmp_path / "m.onnx", "--steps", "-o", tmp_path / "out")
    assert compiled.exit_code == 2
    assert compiled.output.startswith("spu: error: LSTM node 'h': operator is not supported; ")
    assert compiled.output.strip().endswith("; and 2 more: spu check")


@pytest.mark.parametrize("name", ["n", "it's", "a: b\"", "ü\\"])
def test_check_names_the_node_of_a_constant_that_is_not_held(name, tmp_path):
    model = _model([("Relu", ["x"], ["h"], {}), ("Add", ["h", "c"], ["y"], {})], {"x": [2]},
                   {"c": np.array([1e30, 1], np.float32)})
    model.graph.node[1].name = name
    onnx.save(model, tmp_path / "m.onnx")
    refusal, = json.loads(_spu("check", tmp_path / "m.onnx", "--json").stdout)["refusals"]
    assert (refusal["node"], refusal["operator"]) == (name, "Add")
    assert refusal["rule"].startswith("the constant 1e+30 is beyond")


def test_check_lists_the_refusals_of_all_magnitudes(tmp_path):
    weights = np.full((4, 4), 3e38, np.float32)
    model = _model([("Elu", ["x"], ["e"], {}), ("Add", ["x", "c"], ["a"], {}),
                    ("Mul", ["a", "d"], ["m"], {}), ("MatMul", ["m", "w"], ["p"], {}),
                    ("Sum", ["p", "e"], ["y"], {})], {"x": [2, 4]},
                   {"c": np.float32(1e20), "d": np.float32(np.inf), "w": weights * np.inf})
    onnx.save(model, tmp_path / "m.onnx")
    found = json.loads(_spu("check", tmp_path / "m.onnx", "--json").stdout)["refusals"]
    assert [(r["node"], r["operator"]) for r in found] == [
        ("e", "Elu"), ("a", "Add"), ("m", "Mul"), ("p", "MatMul")]


def test_check_lists_every_product_that_does_not_fit(tmp_path):
    weights = np.full((4, 4), 3e38, np.float32)
    model = _model([("MatMul", ["x", "w"], ["a"], {}), ("MatMul", ["x", "w"], ["b"], {}),
                    ("Sigmoid", ["a"], ["s"], {}), ("Mul", ["s", "b"], ["y"], {})],
                   {"x": [2, 4]}, {"w": weights})
    onnx.save(model, tmp_path / "m.onnx")
    found = json.loads(_spu("check", tmp_path / "m.onnx", "--json").stdout)["refusals"]
    assert [(r["node"], r["operator"]) for r in found] == [("a", "MatMul"), ("b", "MatMul")]


def test_check_of_a_model_that_is_taken(open_model):
    result = _spu("check", open_model, "--json", "--dim", "sequence=2")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"refusals": []}
    assert "nothing is refused" in _spu("check", open_model).stdout


def test_check_of_files_that_are_no_models(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no")
    for name, rule in (("m.onnx", "not a valid ONNX model"), ("n.onnx", "No such file")):
        result = _spu("check", tmp_path / name)
        assert result.exit_code == 2
        assert rule in result.output
        assert len(result.stderr.strip().splitlines()) == 1
