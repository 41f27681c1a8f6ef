"""ONNX models: reductions of every kind and version, the greatest along an axis."""

import numpy as np
import pytest

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.expected.error_bounds import error_bounds
from verif.tests.onnx_models import X, create, faults, of_node, results

BASIC = CONFIGS["basic"]
FORMULAS = {
    "ReduceProd": np.prod,
    "ReduceL1": lambda x, **k: np.abs(x).sum(**k),
    "ReduceL2": lambda x, **k: np.sqrt((x * x).sum(**k)),
    "ReduceSumSquare": lambda x, **k: (x * x).sum(**k),
    "ReduceLogSum": lambda x, **k: np.log(x.sum(**k)),
    "ReduceLogSumExp": lambda x, **k: np.log(np.exp(x).sum(**k)),
}


@pytest.mark.parametrize("opset", [1, 11, 13, 18])
@pytest.mark.parametrize("op", FORMULAS)
def test_reductions_of_every_version(op, opset):
    axes = {"axes": [1, -1]} if opset < 18 else {}
    axes = {"axes": [1, 3]} if opset == 1 else axes
    constants = {"a": np.array([1, -1])} if opset == 18 else None
    for keep in (0, 1):
        model = of_node(op, opset, {"x": [2, 3, 2, 2]}, constants, keepdims=keep, **axes)
        wanted = FORMULAS[op](X, axis=(1, 3), keepdims=bool(keep))
        assert np.allclose(results(model, x=X), wanted)
    whole = of_node(op, opset, {"x": [2, 3, 2, 2]}, keepdims=0)
    assert np.allclose(results(whole, x=X), FORMULAS[op](X))


@pytest.mark.parametrize("op", FORMULAS)
def test_reductions_along_no_axes_are_functions_of_each_element(op):
    model = of_node(op, 18, {"x": [2, 3, 2, 2]}, noop_with_empty_axes=1)
    wanted = {
        "ReduceL1": np.abs,
        "ReduceL2": np.abs,
        "ReduceSumSquare": np.square,
        "ReduceLogSum": np.log,
    }.get(op, np.array)(X)
    assert np.allclose(results(model, x=X), wanted)


@pytest.mark.parametrize("count", [1, 16, 17, 50])
def test_products_are_filled_up_with_ones(count):
    x = np.random.default_rng(3).uniform(0.8, 1.2, (2, count))
    model = of_node("ReduceProd", 18, {"x": [2, count]}, {"a": np.array([1])}, keepdims=0)
    compiled = compile_program(lower(model, "m"), BASIC)
    got = run(compiled, GoldenEngine(BASIC), {"x": x})["y"]
    bounds = error_bounds(compiled, {"x": x})["y"]
    assert np.allclose(bounds.value, x.prod(1))
    assert (np.abs(got - x.prod(1)) <= bounds.error).all()
    assert bounds.error.max() < 0.1


@pytest.mark.parametrize(
    ("op", "wanted"), [("ReduceProd", 1), ("ReduceL1", 0), ("ReduceL2", 0), ("ReduceSumSquare", 0)]
)
def test_reductions_of_no_elements(op, wanted):
    model = of_node(op, 18, {"x": [2, 0]}, {"a": np.array([1])})
    assert (results(model, x=np.ones((2, 0))) == np.full((2, 1), wanted)).all()


@pytest.mark.parametrize(
    ("op", "rule"), [("ReduceLogSum", "not finite"), ("ReduceLogSumExp", "max of no elements")]
)
def test_reductions_of_no_elements_that_are_infinite_are_refused(op, rule):
    found = faults(of_node(op, 18, {"x": [2, 0]}, {"a": np.array([1])}))
    assert rule in str(found[0])


def test_logarithms_of_sums_of_large_powers_do_not_overflow():
    model = of_node("ReduceLogSumExp", 18, {"x": [3]}, keepdims=0)
    x = np.array([500.0, 499, 498])
    compiled, engine = compile_program(lower(model, "m"), BASIC), GoldenEngine(BASIC)
    got = run(compiled, engine, {"x": x})["y"]
    assert abs(got - 500.4076) < 1
    assert not engine.nodes


@pytest.mark.parametrize(
    ("opset", "attributes", "axes"),
    [(1, {}, (1, 2)), (11, {"axis": 2}, (2,)), (13, {}, (2,)), (13, {"axis": 1}, (1,))],
)
@pytest.mark.parametrize("op", ["LogSoftmax", "Hardmax"])
def test_the_greatest_along_the_axes_of_its_version(op, opset, attributes, axes):
    x = np.random.default_rng(4).permutation(24).reshape(2, 3, 4) / 4.0
    model = of_node(op, opset, {"x": [2, 3, 4]}, **attributes)
    powers = np.exp(x - x.max(axis=axes, keepdims=True))
    wanted = np.log(powers / powers.sum(axis=axes, keepdims=True))
    if op == "Hardmax":
        wanted = x == x.max(axis=axes, keepdims=True)
    assert np.allclose(results(model, x=x), wanted)


def test_the_first_of_equals_is_the_greatest():
    model = of_node("Hardmax", 13, {"x": [3, 5]})
    x = np.array([[1.0, 4, 4, 2, 4], [0, 0, 0, 0, 0], [-1, -2, -3, -4, -0.5]])
    got = run(compile_program(lower(model, "m"), BASIC), GoldenEngine(BASIC), {"x": x})["y"]
    assert (got == np.eye(5)[[1, 0, 4]]).all()


def test_means_of_several_tensors():
    model = create([("Mean", ["x", "z"], ["y"], {})], {"x": [2, 2], "z": [2]}, opset=13)
    got = results(model, x=np.ones((2, 2)), z=np.array([3.0, 5]))
    assert got.tolist() == [[2, 3], [2, 3]]
    assert "does not broadcast" in str(
        faults(of_node("Mean", 6, {"x": [2, 2]}, {"c": np.float32([1, 2])}))[0]
    )
