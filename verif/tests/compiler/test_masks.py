"""Masks are moved only where they still mean masks; where they do not, a run says so."""

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from compiler.passes.formats import quality
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from spu.model.accuracy import decibels
from verif.expected.error_bounds import error_bounds
from verif.tests.compiler.test_ranges import BASIC, KNOWN, _both, _model

X = np.array([-0.9, -0.25, 0.0, 0.5, 1.0])
POOL = [("MaxPool", ["x"], "y", {"kernel_shape": [2, 2], "strides": [2, 2]})]
LARGE = -np.linspace(5200, 6900, 16).reshape(1, 1, 4, 4)


def _run(model, inputs, calibrate=None, fmt="PAL8T"):
    """Output ``y``, the nodes of which elements are told, and the bounds."""
    compiled = compile_program(
        lower(model, "model"), BASIC, BASIC.data_format(fmt), known=KNOWN, calibrate=calibrate
    )
    engine = GoldenEngine(BASIC)
    got = run(compiled, engine, inputs)["y"]
    return got, dict(engine.nodes), error_bounds(compiled, inputs, bool(engine.nodes))["y"]


def _commands(model, inputs, path):
    """``spu compile`` and ``spu run``: exit code, error, output and what saturated."""
    onnx.save(model, path / "m.onnx")
    np.savez(path / "x.npz", **inputs)
    made = CliRunner().invoke(
        app, ["compile", str(path / "m.onnx"), "--strategy", "steps", "-o", str(path / "out")]
    )
    assert made.exit_code == 0, made.output
    result = CliRunner().invoke(
        app,
        [
            "run",
            str(path / "out"),
            "--input",
            str(path / "x.npz"),
            "-o",
            str(path / "y.npz"),
            "--json",
            str(path / "s.json"),
        ],
    )
    if result.exit_code:
        return result.exit_code, result.stderr, None, None
    return (
        0,
        result.stderr,
        np.load(path / "y.npz")["y"],
        json.loads((path / "s.json").read_text())["saturated"],
    )


@pytest.mark.parametrize("size", [12000.0, -20000.0, 3e6, 4e8])
def test_large_constants_before_an_exponential_are_numbers(size):
    """What is divided by as much again sends no exponential to zero."""
    _both(
        _model(
            [("Sub", ["x", "c"], "s", {}), ("Div", ["s", "c"], "d", {}), ("Exp", ["d"], "y", {})],
            {"x": X},
            c=size,
        ),
        {"x": X},
        50,
    )


def test_numbers_that_differ_little_are_no_masks():
    x = np.array([9216.0, 9217.0, 9208.0])
    got, told, _ = _run(
        _model([("Sub", ["x", "c"], "s", {}), ("Exp", ["s"], "y", {})], {"x": x}, c=9216.0),
        {"x": x},
        {"x": x},
    )
    # Sums of two numbers of this size have steps of 6.
    assert got[0] == 1
    assert not told


@pytest.mark.parametrize("factor", [-20000.0, 3e5, -1.5e6])
def test_large_factors_are_of_masks_if_they_multiply_zeros_and_ones(factor):
    model = _model([("Mul", ["x", "c"], "m", {}), ("Exp", ["m"], "y", {})], {"x": X}, c=factor)
    x = np.linspace(0, 3 / factor, len(X))
    got, told, bounds = _run(model, {"x": x}, {"x": x})
    assert decibels(np.exp(x * factor), got) > 50
    assert not told
    assert bounds.error.max() < 0.2
    # Without inputs, the factor may be one of a mask: then it is told that it was not.
    got, told, bounds = _run(model, {"x": x})
    assert told or decibels(np.exp(x * factor), got) > 50
    assert (np.abs(got - np.exp(x * factor)) <= bounds.error + 1e-5 * np.exp(x * factor)).all()


@pytest.mark.parametrize("factor", [-4e4, -1e6, -1e9, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("calibrated", [True, False])
def test_factors_of_masks_are_masks(factor, calibrated):
    rng = np.random.default_rng(8)
    inputs = {"s": rng.normal(size=(3, 5)) * 4, "k": np.array([1.0, 0, 1, 1, 0])}
    model = _model(
        [
            ("Sub", ["one", "k"], "d", {}),
            ("Mul", ["d", "m"], "a", {}),
            ("Add", ["s", "a"], "z", {}),
            ("Div", ["z", "root"], "r", {}),
            ("Softmax", ["r"], "y", {}),
        ],
        inputs,
        one=1.0,
        m=factor,
        root=16.0,
    )
    got, told, bounds = _run(model, inputs, inputs if calibrated else None)
    powers = np.exp(inputs["s"] / 16) * inputs["k"]
    want = powers / powers.sum(1, keepdims=True)
    assert decibels(want, got) > 55
    assert not told
    assert (np.abs(got - want) <= bounds.error + 1e-5).all()


def test_masks_stay_below_scores_far_below_zero():
    x = np.array([-2501.0, -2500, -2600])
    model = _model(
        [("Concat", ["x", "m"], "c", {"axis": 0}), ("Softmax", ["c"], "y", {})],
        {"x": x},
        m=np.array([-1e9, -3e38]),
    )
    for calibrate in (None, {"x": x}):
        got, told, _ = _run(model, {"x": x}, calibrate)
        # The scores have steps of 1.7.
        assert np.array_equal(got > 0.05, [True, True, False, False, False])
        assert np.isclose(got.sum(), 1, atol=0.01)
        assert not told


def test_masks_that_scores_pass_are_told(tmp_path):
    """By the command, with what the file of the program says of the model's constants."""
    model = _model(
        [("Concat", ["x", "m"], "c", {"axis": 0}), ("Softmax", ["c"], "y", {})],
        {"x": np.zeros(2)},
        m=np.array([-1e9, -np.inf]),
    )
    for x, told in (([-900.0, -3000.0], {}), ([-60000.0, -61000.0], {"y": 3})):
        code, _, got, saturated = _commands(model, {"x": np.array(x)}, tmp_path)
        assert (code, saturated) == (0, told)
        assert np.allclose(got, [1, 0, 0, 0], atol=0.01) == (not told)


@pytest.mark.parametrize("mask", [-np.inf, -1e9])
def test_each_kind_of_mask_that_scores_pass_is_told(mask):
    """Alone, as infinite masks are as far from their values as any tolerance of them."""
    softmax = ("Softmax", ["c"], "y", {})
    low = np.array([-60000.0, -61000.0, -62000.0])
    for first, values in (
        (("Concat", ["x", "m"], "c", {"axis": 0}), [mask]),
        (("Add", ["x", "m"], "c", {}), [0, 0, mask]),
    ):
        model = _model([first, softmax], {"x": low}, m=np.array(values))
        assert _run(model, {"x": low})[1], first
        assert not _run(model, {"x": low / 1000})[1], first


def test_rows_masked_as_a_whole_by_an_input_are_told():
    inputs = {"x": np.arange(6.0).reshape(2, 3), "m": np.array([[0, 0, 0], [-np.inf] * 3])}
    model = _model([("Add", ["x", "m"], "c", {}), ("Softmax", ["c"], "y", {})], inputs)
    assert sum(_run(model, inputs)[1].values()) == 3


@pytest.mark.parametrize(
    ("nodes", "inputs", "label"),
    [
        (POOL, {"x": LARGE}, "MaxPool node 'y'"),
        ([("ReduceMax", ["x"], "y", {})], {"x": LARGE}, "ReduceMax node 'y'"),
        ([("ReduceMin", ["x"], "y", {})], {"x": -LARGE}, "ReduceMin node 'y'"),
        ([("Max", ["x", "z"], "y", {})], {"x": 3 * X - 2e5, "z": X - 5e4}, "Max node 'y'"),
    ],
)
def test_what_no_mask_stands_beside_is_told(nodes, inputs, label):
    model = _model(nodes, inputs)
    want = onnx.reference.ReferenceEvaluator(model).run(
        None, {n: v.astype(np.float32) for n, v in inputs.items()}
    )[0]
    got, told, bounds = _run(model, inputs)
    assert told == {label: want.size}
    assert np.allclose(bounds.value, want)
    assert (np.abs(got - want) <= bounds.error + 2**-22 * np.abs(want)).all()
    small = {n: v / 1000 for n, v in inputs.items()}
    assert _run(model, small)[1] == {}
    got, told, _ = _run(model, inputs, inputs)
    assert decibels(want, got) > 60
    assert told == {}


def test_maxima_of_sums_of_large_constants():
    inputs = {"x": X, "z": np.linspace(-3000, -2000, 5)}
    _both(
        _model([("Sub", ["x", "c"], "s", {}), ("Max", ["s", "z"], "y", {})], inputs, c=15000.0),
        inputs,
    )


@pytest.mark.parametrize("mask", [-2e4, -1e9])
def test_maxima_of_masked_elements(mask):
    inputs = {"x": np.random.default_rng(2).normal(size=(3, 4))}
    added = np.broadcast_to(np.array([0, mask, 0, mask]), (3, 4))
    _both(
        _model([("Add", ["x", "a"], "s", {}), ("ReduceMax", ["s"], "y", {})], inputs, a=added),
        inputs,
        50,
    )


@pytest.mark.parametrize(
    ("nodes", "constants", "x"),
    [
        (
            [("Clip", ["x", "l", "h"], "c", {}), ("Log", ["c"], "y", {})],
            {"l": 1e-7, "h": 9500.0},
            [400.0, 2000.0],
        ),
        ([("Min", ["x", "h"], "y", {})], {"h": 2e5}, [6000.0, 1.0]),
        ([("Max", ["x", "l"], "y", {})], {"l": -3e38}, [-6000.0, 1.0]),
    ],
)
def test_bounds_that_are_not_held_bound_no_inputs(nodes, constants, x, tmp_path):
    model = _model(nodes, {"x": x}, **constants)
    code, error, _, _ = _commands(model, {"x": np.array(x)}, tmp_path)
    assert code == 2
    assert "x has magnitude" in error
    assert len(error.strip().splitlines()) == 1
    _both(model, {"x": np.array([0.25, 1.0])})


def test_bounds_that_are_held_bound_inputs():
    x = np.array([-3e5, -2.0, 7.0, 6e4])
    got, told, _ = _run(
        _model([("Clip", ["x", "l", "h"], "y", {})], {"x": x}, l=-500.0, h=6.0), {"x": x}
    )
    assert np.allclose(got, [-500, -2, 6, 6], rtol=1e-3)
    assert told == {}


def test_quality_is_that_of_the_model():
    compiled = compile_program(lower(_model(POOL, {"x": LARGE}), "pool"), BASIC, known=KNOWN)
    assert quality(compiled, {"x": LARGE / 100}) > 60
    assert quality(compiled, {"x": LARGE}) < 5
