"""ONNX models: comparisons, truth values, choices by them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.errors import InputError
from spu.arch.package.inputs import checked
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.expected.error_bounds import error_bounds
from verif.tests.onnx_models import FLOAT, create, faults, of_node, results

BASIC, BOOL = CONFIGS["basic"], TensorProto.BOOL
A = np.array([-2.0, 0.0, 0.5, 1.0, 3.0, 7.0])
B = np.array([-2.0, 1.0, 0.5, 0.0, 4.0, -7.0])
P, Q = np.array([True, True, False, False]), np.array([True, False, True, False])
NUMPY = {
    "Less": np.less,
    "Greater": np.greater,
    "Equal": np.equal,
    "LessOrEqual": np.less_equal,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Not": np.logical_not,
}


def array(model, **inputs):
    """What the golden model of an array makes."""
    compiled = compile_program(lower(model, "m"), BASIC)
    return run(compiled, GoldenEngine(BASIC), checked(compiled, inputs))["y"]


def output(model, kind):
    model.graph.output[0].type.tensor_type.elem_type = kind
    return model


@pytest.mark.parametrize("op", ["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"])
def test_comparisons_are_those_of_numpy_and_of_type_bool(op):
    got = array(of_node(op, 18, {"x": [6], "z": [6]}), x=A, z=B)
    assert got.dtype == bool
    assert (got == NUMPY[op](A, B)).all()


@pytest.mark.parametrize("op", ["And", "Or", "Xor", "Not"])
def test_connectives_take_truth_values_of_the_model(op):
    kinds = {"x": (BOOL, [4])} | ({} if op == "Not" else {"z": (BOOL, [4])})
    inputs = dict(zip(kinds, (P, Q), strict=False))
    got = array(of_node(op, 18, kinds), **inputs)
    assert got.dtype == bool
    assert (got == NUMPY[op](*inputs.values())).all()


@pytest.mark.parametrize("op", ["Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal"])
def test_nan_compares_with_nothing(op):
    """The root of -1 is NaN, in float64 and on the array."""
    nodes = [("Sqrt", ["x"], ["r"], {}), (op, ["r", "z"], ["y"], {})]
    model = output(create(nodes, {"x": [2], "z": [2]}), BOOL)
    inputs = {"x": np.array([-1.0, 4.0]), "z": np.array([2.0, 2.0])}
    wanted = [False, op not in ("Less", "Greater")]
    assert array(model, **inputs).tolist() == wanted
    assert results(model, **inputs).tolist() == wanted


def test_nan_is_found_and_replaced():
    nodes = [
        ("Div", ["x", "z"], ["q"], {}),
        ("IsNaN", ["q"], ["n"], {}),
        ("Where", ["n", "zero", "q"], ["y"], {}),
    ]
    model = create(nodes, {"x": [3], "z": [3]}, {"zero": np.float32(0)})
    got = array(model, x=np.array([0.0, 1, 0]), z=np.array([0.0, 2, 4]))
    assert got.tolist() == [0, 0.5, 0]


def test_old_comparisons_broadcast_from_their_axis():
    model = of_node("Less", 1, {"x": [2, 3, 2]}, {"c": np.float32([1, 2, 3])}, broadcast=1, axis=1)
    x = np.linspace(0, 4, 12).reshape(2, 3, 2)
    assert (results(model, x=x) == (x < np.float32([1, 2, 3])[:, None])).all()
    assert "broadcasts with attribute broadcast=1 only" in str(
        faults(of_node("And", 1, {"x": (BOOL, [2, 3])}, {"c": P[:3]}))[0]
    )


def test_truth_values_become_numbers_and_numbers_truth_values():
    nodes = [
        ("Cast", ["x"], ["t"], {"to": BOOL}),
        ("Not", ["t"], ["n"], {}),
        ("Cast", ["n"], ["f"], {"to": FLOAT}),
        ("Mul", ["f", "z"], ["y"], {}),
    ]
    model = create(nodes, {"x": [6], "z": [6]})
    assert array(model, x=A, z=B).tolist() == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("known", [True, False])
def test_choices_move_elements_or_choose_on_the_array(known):
    """Masks of -inf are none of the values that a tensor must hold."""
    nodes = [("Where", ["c", "x", "low"], ["s"], {}), ("Softmax", ["s"], ["y"], {"axis": -1})]
    condition = np.tril(np.ones((3, 3), bool))
    inputs = {"x": [3, 3]} | ({} if known else {"c": (BOOL, [3, 3])})
    constants = {"low": np.float32(-np.inf)} | ({"c": condition} if known else {})
    x = np.linspace(-1, 1, 9).reshape(3, 3)
    got = array(create(nodes, inputs, constants), x=x, **({} if known else {"c": condition}))
    powers = np.where(condition, np.exp(x), 0)
    wanted = powers / powers.sum(-1, keepdims=True)
    assert np.allclose(got, wanted, atol=2e-3)
    assert (got[~condition] == 0).all()


def test_choices_by_constants_take_no_step_of_the_array():
    kept = {"c": np.array([[True], [False]])}
    nodes = [("Where", ["c", "x", "z"], ["y"], {})]
    program = lower(create(nodes, {"x": [1, 3], "z": [2, 3]}, kept), "m")
    assert [type(s).__name__ for s in program.steps] == ["Layout"]
    program = lower(create(nodes, {"x": [2, 3], "z": [2, 3]}, {"c": np.array(True)}), "m")
    assert program.steps == []


def test_a_choice_takes_a_comparison_as_it_is():
    """Without a number of it in between: two operations, not four."""
    nodes = [
        ("Less", ["x", "z"], ["l"], {}),
        ("Not", ["l"], ["n"], {}),
        ("Where", ["n", "x", "z"], ["y"], {}),
    ]
    model = create(nodes, {"x": [6], "z": [6]})
    (step,) = lower(model, "m").steps
    assert sum(bool(x.operands) for x in step.expression.steps()) == 2
    assert (array(model, x=A, z=B) == np.where(A < B, B, A)).sum() >= 5


def test_equal_numbers_within_their_rounding_have_no_bound():
    compiled = compile_program(
        lower(output(create([("Equal", ["x", "z"], ["y"], {})], {"x": [4], "z": [4]}), BOOL), "m"),
        BASIC,
    )
    bounds = error_bounds(
        compiled, {"x": np.array([3.0, 3, 4, 0]), "z": np.array([3.0, 3.1, 4, 0])}
    )["y"]
    assert bounds.value.tolist() == [1, 0, 1, 1]
    assert bounds.error.tolist() == [1, 0, 0, 0]


def test_constants_that_are_compared_are_held():
    """Beyond the top of its class a constant would be equal to what saturates."""
    nodes = [("Equal", ["x", "c"], ["y"], {})]
    model = output(create(nodes, {"x": [3]}, {"c": np.float32(-65536)}), BOOL)
    assert array(model, x=np.array([-65536.0, -32768, 1])).tolist() == [True, False, False]


def test_truth_values_of_a_file_are_bool(tmp_path):
    nodes = [("Not", ["x"], ["y"], {})]
    onnx.save(output(create(nodes, {"x": (BOOL, [4])}), BOOL), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", P)
    np.save(tmp_path / "half.npy", P * 0.5)
    for args, code, says in (
        (["compile", tmp_path / "m.onnx", "-o", tmp_path / "out"], 0, ""),
        (["run", tmp_path / "out", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy"], 0, ""),
        (
            ["run", tmp_path / "out", "--input", tmp_path / "half.npy", "-o", tmp_path / "z.npy"],
            2,
            "x must be bool, not float64",
        ),
    ):
        result = CliRunner().invoke(app, [str(a) for a in args])
        assert result.exit_code == code, result.output
        assert says in " ".join(result.output.split())
    got = np.load(tmp_path / "y.npy")
    assert got.dtype == bool
    assert (got == ~P).all()
    assert not (tmp_path / "z.npy").exists()


def test_truth_values_are_no_operands_of_arithmetic():
    with pytest.raises(InputError, match="must be real numbers, not bool"):
        array(of_node("Neg", 18, {"x": [4]}), x=P)
    added = of_node("Add", 18, {"x": (BOOL, [4])}, {"c": P})
    assert "unsupported type: tensor(bool)" in faults(added)[0].rule


@pytest.mark.parametrize(
    ("op", "inputs", "constants", "rule"),
    [
        ("Less", {"x": [4], "z": [3]}, {}, "Incompatible dimensions"),
        ("Where", {"x": (BOOL, [4]), "a": [4], "b": [5]}, {}, "Incompatible dimensions"),
        ("Where", {"x": [4], "a": [4], "b": [4]}, {}, "unsupported type: tensor(float)"),
        ("Not", {"x": [4]}, {}, "unsupported type: tensor(float)"),
    ],
)
def test_what_is_not_compared_is_refused(op, inputs, constants, rule):
    found = faults(of_node(op, 18, inputs, constants))
    assert [(r.node, r.operator) for r in found] == [("n", op)]
    assert rule in found[0].rule


def test_what_is_infinite_is_beyond_all_numbers_and_what_saturates_is_told():
    nodes = [
        ("Exp", ["x"], ["e"], {}),
        ("Equal", ["e", "c"], ["q"], {}),
        ("IsInf", ["e"], ["i"], {"detect_negative": 0}),
        ("Or", ["q", "i"], ["y"], {}),
    ]
    model = output(create(nodes, {"x": [2]}, {"c": np.float32(np.inf)}, opset=20), BOOL)
    compiled = compile_program(lower(model, "m"), BASIC)
    for x, told in (([1.0, 2.0], 0), ([1.0, 100.0], 1)):
        engine = GoldenEngine(BASIC)
        got = run(compiled, engine, {"x": np.array(x)})["y"]
        assert not got.any()
        assert (engine.nodes["Exp node 'e'"] > 0) == told
    assert results(model, x=np.array([1.0, 100.0])).tolist() == [0, 1]


@pytest.mark.parametrize("constant", [3000.0, 1e6])
def test_what_saturates_is_told_where_it_is_compared_with_the_top(constant):
    """What is above the top of 4096 may be above a constant that is beyond it, or not."""
    nodes = [("Mul", ["x", "x"], ["m"], {}), ("Less", ["m", "c"], ["y"], {})]
    model = output(create(nodes, {"x": [3]}, {"c": np.float32(constant)}), BOOL)
    compiled, engine = compile_program(lower(model, "m"), BASIC), GoldenEngine(BASIC)
    got = run(compiled, engine, {"x": np.array([2.0, 60, 4000])})["y"]
    assert got.tolist() == [True, constant > 3600, False]
    assert engine.nodes["Mul node 'm'"] == (constant > 3000)
