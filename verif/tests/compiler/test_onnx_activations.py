"""ONNX models: activations, in all versions, near 0 and far from it."""

import numpy as np
import pytest

from compiler.errors import Refused
from compiler.front.lower import lower
from compiler.map.steps import compile_program
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.expected.error_bounds import error_bounds
from verif.tests.onnx_models import faults, of_node, results

BASIC = CONFIGS["basic"]
#: Values around all corners, far off, and so small that what is left of them counts.
X = np.array(
    [-2000.0, -40, -9, -2.5, -1, -0.5, -0.13, -0.01, 0, 0.01, 0.13, 0.5, 1, 3, 9, 40, 2000]
)


def _elu(x, alpha=1.0, gamma=1.0):
    return gamma * np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


#: Operator, opsets, attributes, formula.
FORMULAS = [
    ("LeakyRelu", (1, 6, 16), {}, lambda x: np.where(x < 0, 0.01 * x, x)),
    ("LeakyRelu", (16,), {"alpha": 2.0}, lambda x: np.where(x < 0, 2 * x, x)),
    ("LeakyRelu", (16,), {"alpha": -0.5}, lambda x: np.where(x < 0, -0.5 * x, x)),
    ("Elu", (1, 6, 22), {}, _elu),
    ("Elu", (6,), {"alpha": 3.0}, lambda x: _elu(x, 3)),
    ("Selu", (1,), {}, lambda x: _elu(x, 1.6732, 1.0507)),
    ("Selu", (6, 22), {}, lambda x: _elu(x, 1.6732632, 1.0507010)),
    ("Celu", (12,), {"alpha": 2.0}, lambda x: _elu(x / 2) * 2),
    ("HardSigmoid", (1, 6, 22), {}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    ("HardSwish", (14, 22), {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("Mish", (18, 22), {}, lambda x: x * np.tanh(_softplus(x))),
    ("Softplus", (1, 22), {}, _softplus),
    ("Softsign", (1, 22), {}, lambda x: x / (1 + np.abs(x))),
    ("ThresholdedRelu", (10, 22), {}, lambda x: np.where(x > 1, x, 0)),
    (
        "Shrink",
        (9,),
        {"bias": 0.25, "lambd": 0.4},
        lambda x: np.where(x < -0.4, x + 0.25, np.where(x > 0.4, x - 0.25, 0)),
    ),
    ("Sign", (9, 13), {}, np.sign),
    ("Swish", (24,), {"alpha": 2.0}, lambda x: x / (1 + np.exp(-2 * np.clip(x, -300, 300)))),
]


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "formula"),
    [(op, opset, a, f) for op, opsets, a, f in FORMULAS for opset in opsets],
)
def test_activations_are_their_formulas_in_every_version(op, opset, attributes, formula):
    got = results(of_node(op, opset, {"x": [len(X)]}, **attributes), x=X)
    assert np.allclose(got, formula(X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("op", "opsets", "attributes", "formula"), FORMULAS)
def test_activations_on_the_array_are_within_their_bounds(op, opsets, attributes, formula):
    """Above the top of 2^12 nothing is, whatever the other side of the function becomes."""
    program = lower(of_node(op, opsets[-1], {"x": [len(X)]}, **attributes), "m")
    compiled, engine = compile_program(program, BASIC), GoldenEngine(BASIC)
    got, bounds = run(compiled, engine, {"x": X})["y"], error_bounds(compiled, {"x": X})["y"]
    assert not engine.nodes
    wanted = formula(X)
    finite = np.isfinite(bounds.error) & (bounds.error < 0.01 * np.abs(wanted) + 2e-3)
    assert finite.sum() >= len(X) - 2
    assert (np.abs(got - wanted) <= bounds.error + program.error + 1e-6 * np.abs(wanted)).all()
    assert np.allclose(got[finite], wanted[finite], rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("op", ["Softplus", "Elu", "Mish"])
def test_what_is_left_of_small_values_is_right(op):
    """``exp(x)`` next to 1 has no bits of ``x``, nor has ``1 + exp(x)`` of a small power."""
    x = np.array([-8.0, -6.0, -5.0]) if op == "Softplus" else np.array([-0.01, -0.001, -0.0001])
    formula = {n: f for n, _, a, f in FORMULAS if not a}[op]
    compiled = compile_program(lower(of_node(op, 22, {"x": [3]}), "m"), BASIC)
    assert np.allclose(run(compiled, GoldenEngine(BASIC), {"x": x})["y"], formula(x), rtol=0.01)


@pytest.mark.parametrize(
    ("opset", "slope", "wanted"),
    [
        (6, np.float32([0.5]), -0.5),
        (6, np.float32([0.5, 2]), [[-0.5] * 3, [-2] * 3]),
        (7, np.float32([0.5, 2, 4]), [-0.5, -2, -4]),
        (16, np.float32([[0.5], [2]]), [[-0.5] * 3, [-2] * 3]),
    ],
)
def test_slopes_of_prelu_are_of_its_version(opset, slope, wanted):
    got = results(of_node("PRelu", opset, {"x": [2, 2, 3]}, {"s": slope}), x=-np.ones((2, 2, 3)))
    assert (got == np.broadcast_to(wanted, (2, 2, 3))).all()


@pytest.mark.parametrize(
    ("op", "opset", "constants", "attributes", "rule"),
    [
        ("PRelu", 6, {"s": np.float32([1, 2, 3])}, {}, "neither one nor one a channel"),
        ("PRelu", 9, {"s": np.ones((2, 2, 2, 3), np.float32)}, {}, "its output has the shape"),
        ("Celu", 12, {}, {"alpha": 0.0}, "alpha must be above 0, not 0"),
        ("Celu", 12, {}, {"alpha": -1.0}, "alpha must be above 0, not -1"),
        ("Celu", 12, {}, {"alpha": float("nan")}, "alpha must be above 0, not nan"),
    ],
)
def test_other_activations_are_refused(op, opset, constants, attributes, rule):
    found = faults(of_node(op, opset, {"x": [2, 2, 3]}, constants, **attributes))
    assert [(r.node, r.operator) for r in found] == [("n", op)]
    assert rule in found[0].rule


@pytest.mark.parametrize("op", ["Elu", "LeakyRelu", "ThresholdedRelu"])
def test_constants_that_are_no_numbers_are_refused(op):
    model = of_node(op, 22, {"x": [2]}, alpha=float("nan"))
    with pytest.raises(Refused, match=f"^{op} node 'n': a constant of nan"):
        compile_program(lower(model, "m"), BASIC)
