"""Models quantised to integers: as the numbers these stand for, rounded where they are needed."""

from functools import partial

import numpy as np
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from compiler.build import compile_model
from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.front.lowering import REQUANTISED
from spu.arch.package.program import HostStep
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.run import run
from verif.expected.error_bounds import error_bounds
from verif.tests import onnx_models

BASIC = CONFIGS["basic"]
create = partial(onnx_models.create, opset=21)
RNG = np.random.default_rng(16)
S, Z = np.float32(0.1), np.int8(3)
X = RNG.uniform(-20, 20, (2, 6)).astype(np.float32)
WEIGHT = RNG.integers(-127, 128, (6, 4)).astype(np.int8)


def _results(model, given):
    """What the golden engine makes, the standard's evaluator, and bounds of the errors."""
    compiled, engine = (
        compile_model(lower(model, "model"), BASIC, "steps", calibrate=given),
        GoldenEngine(BASIC),
    )
    got = run(compiled, engine, given)
    assert not engine.nodes
    assert list(compiled.ranges.notes).count(REQUANTISED) == 1
    wanted = ReferenceEvaluator(model).run(None, dict(given))
    return got, dict(zip(got, wanted, strict=True)), error_bounds(compiled, given)


@pytest.mark.parametrize(
    ("scale", "zero"), [(S, Z), (np.array([0.1, 0.2, 0.05, 1, 0.1, 0.3], "f"), np.zeros(6, "u1"))]
)
def test_a_pair_is_a_bound(scale, zero):
    """Off by the rounding to integers at most, half of a scale; bounded as in the standard."""
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {"axis": -1}),
        ("DequantizeLinear", ["q", "s", "z"], ["y"], {"axis": -1}),
    ]
    model = create(nodes, {"x": list(X.shape)}, {"s": scale, "z": zero})
    got, want, bounds = _results(model, {"x": X})
    assert (np.abs(got["y"] - want["y"]) <= scale / 2 * 1.001 + bounds["y"].error).all()
    ends = (np.iinfo(zero.dtype).min - zero.astype(float)) * scale
    assert np.allclose(got["y"], np.clip(X, ends, ends + 255 * scale), rtol=2**-9)
    assert (got["y"] != X).any()


def test_integers_of_the_model_are_rounded_by_the_host():
    model = create(
        [("QuantizeLinear", ["x", "s", "z"], ["y"], {})], {"x": list(X.shape)}, {"s": S, "z": Z}
    )
    got, want, bounds = _results(model, {"x": X})
    assert got["y"].dtype == np.int8
    off = np.abs(got["y"].astype(int) - want["y"])
    assert (off <= bounds["y"].error).all()
    assert (off == 0).mean() > 0.8
    assert np.isfinite(bounds["y"].error).all()


def test_another_scale_is_another_number():
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
        ("DequantizeLinear", ["q", "t", "w"], ["y"], {}),
    ]
    constants = {"s": S, "z": Z, "t": np.float32(0.5), "w": np.int8(-1)}
    got, want, bounds = _results(create(nodes, {"x": list(X.shape)}, constants), {"x": X})
    assert (np.abs(got["y"] - want["y"]) <= 0.25 + bounds["y"].error).all()


@pytest.mark.parametrize("opset", [10, 13, 19, 21])
def test_weights_of_integers_are_numbers_of_every_opset(opset):
    nodes = [("DequantizeLinear", ["w", "s", "z"], ["f"], {}), ("MatMul", ["x", "f"], ["y"], {})]
    model = create(nodes, {"x": list(X.shape)}, {"w": WEIGHT, "s": S, "z": Z}, opset=opset)
    compiled = compile_model(lower(model, "model"), BASIC, "steps", calibrate={"x": X})
    assert list(compiled.ranges.notes) == [REQUANTISED]
    got = run(compiled, GoldenEngine(BASIC), {"x": X})["y"]
    want = X @ ((WEIGHT.astype(float) - Z) * float(S))
    assert (np.abs(got - want) <= error_bounds(compiled, {"x": X})["y"].error + 1e-5).all()


def test_a_chain_of_integers_stays_on_the_array():
    """QLinearConv and QLinearMatMul between a QuantizeLinear and its counterpart."""
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
        ("QLinearConv", ["q", "s", "z", "k", "ks", "kz", "s", "z", "b"], ["c"], {}),
        ("Reshape", ["c", "flat"], ["r"], {}),
        ("QLinearMatMul", ["r", "s", "z", "w", "s", "z", "cs", "cz"], ["p"], {}),
        ("DequantizeLinear", ["p", "cs", "cz"], ["y"], {}),
    ]
    constants = {
        "s": S,
        "z": Z,
        "cs": np.float32(4),
        "cz": np.int8(0),
        "flat": np.array([1, 6]),
        "k": RNG.integers(-9, 9, (3, 2, 2, 2)).astype(np.int8),
        "w": WEIGHT,
        "ks": np.array([0.1, 0.2, 0.05], "f"),
        "kz": np.zeros(3, np.int8),
        "b": np.array([10, -20, 30], np.int32),
    }
    model = create(nodes, {"x": [1, 2, 2, 3]}, constants)
    given = {"x": RNG.uniform(-5, 5, (1, 2, 2, 3)).astype(np.float32)}
    got, want, _ = _results(model, given)
    assert not any(isinstance(step, HostStep) for step in lower(model, "model").steps)
    # Each step of the chain is rounded to integers in the model.
    assert np.abs(got["y"] - want["y"]).max() < 0.1 * np.abs(want["y"]).max()


def test_products_of_integers_by_scales_of_a_run():
    """As quantised dynamically: the scale is computed, divided out, and multiplied again."""
    nodes = [
        ("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"], {}),
        ("MatMulInteger", ["q", "w", "qz", "z"], ["p"], {}),
        ("Cast", ["p"], ["c"], {"to": TensorProto.FLOAT}),
        ("Mul", ["qs", "s"], ["both"], {}),
        ("Mul", ["c", "both"], ["y"], {}),
    ]
    model = create(nodes, {"x": list(X.shape)}, {"w": WEIGHT, "s": S, "z": Z})
    got, _, bounds = _results(model, {"x": X})
    want = X @ ((WEIGHT.astype(float) - Z) * float(S))
    assert (np.abs(got["y"] - want) <= bounds["y"].error + 1e-5).all()
    assert np.abs(got["y"] - want).max() < 0.02 * np.abs(want).max()


def test_products_of_integers_that_are_inputs():
    """Their result is integers, rounded from a product in PAL."""
    model = create(
        [("MatMulInteger", ["a", "w", "z"], ["y"], {})],
        {"a": (TensorProto.INT8, [2, 6])},
        {"w": WEIGHT, "z": Z},
    )
    got, want, bounds = _results(model, {"a": RNG.integers(-9, 9, (2, 6)).astype(np.int8)})
    assert got["y"].dtype == np.int32
    assert (np.abs(got["y"] - want["y"]) <= bounds["y"].error).all()


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("QuantizeLinear", ["x", "n", "z"], ["y"], {})], "scale 'n' is not above 0"),
        ([("QuantizeLinear", ["x", "x", "z"], ["y"], {"axis": 0})], "its scale and zero"),
        (
            [
                ("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
                ("MatMulInteger", ["q", "w", "o"], ["y"], {}),
            ],
            "'q' was quantised with another zero point",
        ),
    ],
)
def test_what_is_not_quantised(nodes, message):
    constants = {"s": S, "n": -S, "z": Z, "o": np.int8(0), "w": WEIGHT}
    with pytest.raises(CompileError, match=message):
        lower(create(nodes, {"x": [6]}, constants), "model")


def test_a_tensor_that_is_taken_twice_is_rounded_once():
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
        ("Concat", ["q", "q"], ["c"], {"axis": 0}),
        ("DequantizeLinear", ["c", "s", "z"], ["y"], {}),
    ]
    got, want, bounds = _results(create(nodes, {"x": list(X.shape)}, {"s": S, "z": Z}), {"x": X})
    assert (np.abs(got["y"] - want["y"]) <= S / 2 + bounds["y"].error).all()


def test_zeros_are_quantised_by_a_range_of_one():
    """As the evaluator of the standard does; no NaN comes of a scale of 0."""
    model = create(
        [
            ("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], {}),
            ("MatMulInteger", ["q", "w", "z"], ["m"], {}),
            ("Cast", ["m"], ["c"], {"to": TensorProto.FLOAT}),
            ("Mul", ["c", "s"], ["y"], {}),
        ],
        {"x": list(X.shape)},
        {"w": WEIGHT},
    )
    got, want, _ = _results(model, {"x": X * 0})
    assert (got["y"] == want["y"]).all()
    scale = create([("DynamicQuantizeLinear", ["x"], ["q", "y", "z"], {})], {"x": [2, 6]})
    scale.graph.output[0].type.tensor_type.shape.Clear()
    got, want, _ = _results(scale, {"x": X * 0})
    assert got["y"] == pytest.approx(want["y"], rel=2**-11) == pytest.approx(1 / 255, rel=2**-11)
