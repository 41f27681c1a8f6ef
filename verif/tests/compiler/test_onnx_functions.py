"""ONNX models: functions of the standard and of the model, by their definition."""

import numpy as np
import onnx
import pytest
from onnx import helper

from compiler.errors import CompileError, Refused
from compiler.front.lower import lower, lower_all
from compiler.front.onnx_graph import prepare
from compiler.passes.ranges import choose
from verif.tests.onnx_models import INT64, X, create, faults, of_node, results

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "formula"),
    [
        ("HardSigmoid", 18, {}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        ("HardSigmoid", 18, {"alpha": 0.5}, lambda x: np.clip(0.5 * x + 0.5, 0, 1)),
        ("Swish", 24, {}, lambda x: x / (1 + np.exp(-x))),
        (
            "MeanVarianceNormalization",
            13,
            {},
            lambda x: (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True),
        ),
        (
            "MeanVarianceNormalization",
            18,
            {"axes": [1, 2]},
            lambda x: (x - x.mean((1, 2), keepdims=True)) / x.std((1, 2), keepdims=True),
        ),
    ],
)
def test_functions_have_the_defaults_of_their_attributes(op, opset, attributes, formula):
    model = of_node(op, opset, {"x": [2, 3, 2, 2]}, **attributes)
    assert np.allclose(results(model, x=X - 1), formula(X - 1), atol=1e-5)


def test_group_normalisation_takes_initialisers():
    scale, bias = RNG.uniform(1, 2, (2, 4)).astype(np.float32)
    model = of_node(
        "GroupNormalization", 21, {"x": [2, 4, 3]}, {"s": scale, "b": bias}, num_groups=2
    )
    x = RNG.normal(size=(2, 4, 3))
    groups = x.reshape(2, 2, 6)
    wide = (
        (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    ).reshape(2, 4, 3)
    assert np.allclose(results(model, x=x), wide * scale[:, None] + bias[:, None], atol=1e-5)


@pytest.mark.parametrize(
    "op",
    [
        "Celu",
        "Elu",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "PRelu",
        "Selu",
        "Shrink",
        "Softplus",
        "Softsign",
        "ThresholdedRelu",
    ],
)
def test_functions_are_refused_by_their_own_name_or_work(op):
    model = of_node(op, 18, {"x": [2, 3]}, {"s": np.float32([0.1])} if op == "PRelu" else None)
    refused = lower_all(prepare(model, "model"))[1]
    assert [(r.node, r.operator, r.rule) for r in refused] in (
        [],
        [("n", op, "operator is not supported")],
    )
    if refused:
        with pytest.raises(Refused, match=f"^{op} node 'n': operator is not supported; supported"):
            lower(model, "model")


def _function(name, nodes, attributes=(), **defaults):
    return helper.make_function(
        "own",
        name,
        ["a"],
        ["b"],
        nodes,
        [helper.make_opsetid("", 18)],
        attributes,
        [helper.make_attribute(*d) for d in defaults.items()],
    )


def test_local_functions_have_attributes_with_defaults():
    def given(name):
        node = helper.make_node("Constant", [], [name])
        node.attribute.add(name="value_float", ref_attr_name=name, type=onnx.AttributeProto.FLOAT)
        return node

    power = _function(
        "Power",
        [
            given("p"),
            given("q"),
            helper.make_node("Pow", ["a", "p"], ["t"]),
            helper.make_node("Mul", ["t", "q"], ["b"]),
        ],
        ["p"],
        q=0.5,
    )
    nodes = [("Power", ["x"], ["h"], {"p": 3.0}), ("Power", ["h"], ["y"], {"p": 2.0, "q": 4.0})]
    model = create(nodes, {"x": [2, 3, 2, 2]}, functions=[power], domains=["own"])
    for node in model.graph.node:
        node.domain = "own"
    assert np.allclose(results(model, x=X), 4 * (0.5 * X**3) ** 2)


def test_functions_that_call_themselves_are_refused():
    def model(first, *rest):
        made = create([(first, ["x"], ["y"], {})], {"x": [2]}, domains=["own"])
        made.graph.node[0].domain = "own"
        made.ir_version = 7  # of which the checker does not look at functions
        for name, called in zip((first, *rest), (*rest, first), strict=True):
            body = _function(name, [helper.make_node(called, ["a"], ["b"], domain="own")])
            body.opset_import.append(helper.make_opsetid("own", 1))
            made.functions.append(body)
        return made

    for names in ("F", "FG", "FGH"):
        (refused,) = lower_all(prepare(model(*names), "m"))[1]
        assert (refused.node, refused.operator) == ("y", "F")
        assert refused.rule.endswith("the function calls itself")
    deep = model(*(f"F{k}" for k in range(60)))
    deep.functions[-1].node[0].op_type, deep.functions[-1].node[0].domain = "Relu", ""
    with pytest.raises(Refused, match="functions call each other more than 50 deep") as found:
        lower(deep, "m")
    # The first calls and the last, not all of them.
    assert str(found.value).count(" node ") == 5
    assert "46 calls further in, its " in str(found.value)


@pytest.mark.parametrize(
    ("bounds", "rule"),
    [
        ((np.inf, None), "a constant of inf"),
        ((None, -np.inf), "a constant of -inf"),
        ((np.inf, np.inf), "a constant of inf"),
        ((np.nan, 1), "its min is NaN"),
        ((-1, np.nan), "its max is NaN"),
        ((-np.inf, np.inf), ""),
        ((None, 3.4028235e38), ""),
    ],
)
@pytest.mark.parametrize("opset", [6, 18])
def test_bounds_of_clip_bound_or_are_refused(bounds, rule, opset):
    given = {n: float(b) for n, b in zip(("min", "max"), bounds, strict=True) if b is not None}
    names = ["x", *(n if n in given else "" for n in ("min", "max"))]
    model = create(
        [("Clip", names[:1] if opset == 6 else names, ["y"], given if opset == 6 else {})],
        {"x": [2, 3]},
        {} if opset == 6 else {n: np.float32(b) for n, b in given.items()},
        opset,
    )
    if rule:
        with pytest.raises(Refused, match=f"Clip node 'y': {rule}"):
            choose(lower(model, "m"))
    else:
        x = np.float64([[-3000, 1, 2], [4, 5, 6000]])
        assert (results(model, x=x) == x).all()


def test_functions_that_are_refused_do_not_seem_to_call_themselves():
    body = _function("Same", [helper.make_node("Relu", ["a"], ["t"])])
    body.output[0] = "a"
    model = create(
        [("Same", ["x"], ["p"], {}), ("Same", ["x"], ["q"], {}), ("Add", ["p", "q"], ["y"], {})],
        {"x": [2]},
        domains=["own"],
    )
    for node in model.graph.node[:2]:
        node.domain = "own"
    model.functions.append(body)
    model.ir_version = 7  # of which the checker does not look at functions
    for refused in lower_all(prepare(model, "m"))[1]:
        assert "returns its input 'a'" in refused.rule


def test_functions_of_one_name_are_told_by_their_overload():
    bodies = [_function("F", [helper.make_node(op, ["a"], ["b"])]) for op in ("Exp", "Neg")]
    model = create([("F", ["x"], ["y"], {})], {"x": [2, 3, 2, 2]}, domains=["own"])
    model.graph.node[0].domain = "own"
    model.functions.extend(bodies)
    model.ir_version = 7
    with pytest.raises(CompileError, match="two functions have the same name"):
        lower(model, "m")
    model.ir_version, model.functions[0].overload = 10, "other"
    assert np.allclose(results(model, x=X), -X)
    model.graph.node[0].overload = "other"
    assert np.allclose(results(model, x=X), np.exp(X))


@pytest.mark.parametrize("taken", ["t", "n/t", "n/t'"])
def test_names_within_functions_are_nothing_elses(taken):
    """Neither a tensor's of the model, nor another node's whose first outputs are not taken."""
    inner = _function(
        "Inner", [helper.make_node("Neg", ["a"], ["t"]), helper.make_node("Relu", ["t"], ["b"])]
    )
    pair = [
        helper.make_function(
            "own",
            name,
            ["x"],
            ["u", "y"],
            [
                helper.make_node("Constant", [], ["c"], value_float=value),
                helper.make_node("Add", ["x", "c"], ["y"]),
                helper.make_node("Neg", ["x"], ["u"]),
            ],
            [helper.make_opsetid("", 18)],
        )
        for name, value in (("One", 1.0), ("Five", 5.0))
    ]
    model = create(
        [
            ("Abs", ["x"], [taken], {}),
            ("Inner", ["x"], ["n"], {"domain": "own"}),
            ("One", ["x"], ["", "p"], {"domain": "own"}),
            ("Five", ["x"], ["", "q"], {"domain": "own"}),
            ("Sub", ["q", "p"], ["four"], {}),
            ("Add", ["n", taken], ["s"], {}),
            ("Add", ["four", "s"], ["y"], {}),
        ],
        {"x": [4]},
        functions=[inner, *pair],
        domains=["own"],
    )
    x = np.array([1.0, -2.0, 3.0, -4.0])
    assert (results(model, x=x) == 4 + np.maximum(-x, 0) + np.abs(x)).all()


def test_refusals_name_the_nodes_of_the_user():
    body = _function(
        "Deep",
        [
            helper.make_node("Asinh", ["a"], ["t"], name="inner"),
            helper.make_node("Det", ["t"], ["b"], name="second"),
        ],
    )
    nodes = [
        ("Deep", ["x"], ["h"], {}),
        ("Relu", ["h"], ["r"], {}),
        ("Acosh", ["x"], ["p"], {}),
        ("Exp", ["p"], ["e"], {}),
        ("Cast", ["e"], ["i"], {"to": INT64}),
        ("Atanh", ["x"], ["y"], {}),
    ]
    model = create(nodes, {"x": [2, 3]}, functions=[body], domains=["own"])
    model.graph.node[0].domain, model.graph.node[0].name = "own", "call"
    found = [(r.node, r.operator, r.rule) for r in faults(model)]
    assert found[:3] == [
        ("call", "Deep", "its Asinh node 'inner': operator is not supported"),
        ("call", "Deep", "its Det node 'second': operator is not supported"),
        ("p", "Acosh", "operator is not supported"),
    ]
    assert found[3][:2] == ("i", "Cast")
    assert "casts to INT64" in found[3][2]
    assert found[4] == ("y", "Atanh", "operator is not supported")
    assert len(found) == 5


def test_bounds_of_clip_are_one_number_in_any_shape():
    """Exporters write (1,), which the standard does not have."""
    bounds = {"min": np.float32([-1]), "max": np.float32([2])}
    model = create([("Clip", ["x", *bounds], ["y"], {})], {"x": [3]}, bounds)
    assert results(model, x=np.array([-3.0, 1, 5])).tolist() == [-1, 1, 2]
    bounds["max"] = np.float32([2, 3])
    model = create([("Clip", ["x", *bounds], ["y"], {})], {"x": [3]}, bounds)
    with pytest.raises(Refused, match="Clip node 'y': its max has 2 elements, not one"):
        choose(lower(model, "m"))
