"""ONNX models: element types, powers, layouts of elements."""

import numpy as np
import pytest
from onnx import TensorProto

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from pal_units.formats import PAL4T, PAL6T, PAL8T
from spu.arch.errors import InputError
from spu.arch.params import CONFIGS
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from verif.tests.onnx_models import FLOAT, create, faults, of_node, results

RNG = np.random.default_rng(5)


# Element types.


def test_shapes_are_computed_as_integers():
    """7 // 2 is 3, -7 / 2 is -3; what is a shape is exact."""
    nodes = [
        ("Shape", ["x"], ["s"], {}),
        ("Div", ["s", "two"], ["half"], {}),
        ("Mul", ["half", "minus"], ["m"], {}),
        ("Div", ["m", "two"], ["quarter"], {}),
        ("Cast", ["quarter"], ["f"], {"to": FLOAT}),
        ("Add", ["x", "f"], ["y"], {}),
    ]
    model = create(nodes, {"x": [7]}, {"two": np.array([2]), "minus": np.array([-1])})
    assert np.allclose(results(model, x=np.zeros(7)), -1)


def test_texts_come_neither_in_nor_out():
    text = create([("Identity", ["x"], ["y"], {})], {"x": (TensorProto.STRING, [2])})
    text.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    assert "takes 'x' of STRING" in faults(text)[0].rule


def test_constants_that_nothing_uses_do_not_matter():
    unused = {"junk": np.float32([np.nan, 1])}
    assert np.allclose(
        results(create([("Exp", ["x"], ["y"], {})], {"x": [1]}, unused), x=np.zeros(1)), 1
    )
    used = create([("Add", ["x", "junk"], ["y"], {})], {"x": [2]}, unused)
    assert "constant 'junk' holds 1 NaN" in faults(used)[0].rule


def test_outputs_that_are_constant_and_infinite_are_refused():
    model = create(
        [("Log", ["c"], ["y"], {}), ("Exp", ["x"], ["z"], {})],
        {"x": [2]},
        {"c": np.array([0, 1], np.float32)},
        outputs=("y", "z"),
    )
    assert [str(r) for r in faults(model)] == ["output 'y' is constant and not finite"]


# Powers.

BASES = np.array([-2, -3, -4, 0, 1.5, 2, 0.5, 0])


@pytest.mark.parametrize(
    "exponents",
    [
        [2, 3, 1, 2, 3, -1, 0.5, 0],
        [1, 3, 1, 2, 3, 4, 5, 1],
        [1, 1, 3, 3, 5, 5, 7, 9],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [4, 2, 2, 2, 0.5, -2.5, 1.3, 0.5],
        [-1, -2, -3, 2, -1, 0, 1, 2],
        [9] * 8,
        [10] * 8,
        [65] * 8,
        [66] * 8,
        [1.7] * 8,
        [-1.7] * 8,
        [1.5] * 8,
    ],
)
def test_powers_of_negative_bases_are_those_of_their_exponents(exponents):
    model = of_node("Pow", 15, {"x": [8]}, {"e": np.float32(exponents)})
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.power(BASES, np.float32(exponents).astype(float))
    assert np.allclose(results(model, x=BASES), wanted, equal_nan=True)
    if exponents[0] not in (0, 2, 65):
        return
    program = lower(model, "pow")
    got = run(
        compile_program(program, CONFIGS["basic"]), GoldenEngine(CONFIGS["basic"]), {"x": BASES}
    )["y"]
    held = np.abs(wanted) <= 4096
    assert np.allclose(got[held], wanted[held], rtol=0.05, atol=1e-4)


def test_nan_that_a_block_of_zeros_would_swallow_is_refused():
    x = np.ones((3, 64))
    x[1, 3] = -1  # its root is NaN, in the first of two blocks
    for first, formats in ((0, PAL8T), (1, PAL4T)):
        weights = np.ones((64, 2), np.float32)
        weights[:32] *= first
        model = create(
            [("Sqrt", ["x"], ["s"], {}), ("MatMul", ["s", "w"], ["y"], {})],
            {"x": [3, 64]},
            {"w": weights},
        )
        compiled = compile_program(lower(model, "m"), CONFIGS["basic"], formats)
        with pytest.raises(InputError, match="MatMul node 'y': 2 results should be NaN"):
            run(compiled, GoldenEngine(CONFIGS["basic"]), {"x": x})
        found = run(compiled, GoldenEngine(CONFIGS["basic"]), {"x": abs(x)})["y"]
        assert np.allclose(found, weights.sum(0), rtol=0.1)
    for other in (PAL8T, PAL6T):  # others keep it
        compiled = compile_program(lower(model, "m"), CONFIGS["basic"], other)
        found = run(compiled, GoldenEngine(CONFIGS["basic"]), {"x": x})["y"]
        assert (np.isnan(found) == (x < 0).any(axis=1, keepdims=True)).all()


@pytest.mark.parametrize("exponents", [2.3, -1.7, [2, 3, -1, 0, 2.5, -0.5], None])
def test_a_power_of_nan_is_no_number(exponents):
    """The logarithm of -1 is NaN, and so is its power, but for that by 0."""
    nodes = [("Log", ["x"], ["l"], {}), ("Pow", ["l", "e"], ["y"], {})]
    given = {"x": np.array([-1.0, -1, -1, -1, -1, 4])}
    if exponents is None:
        exponents = given["e"] = np.array([2, 3, -1, 0, 2.5, 0.5])
        model = create(nodes, {"x": [6], "e": [6]})
    else:
        model = create(nodes, {"x": [6]}, {"e": np.float32(exponents)})
    with np.errstate(invalid="ignore"):
        wanted = np.power(np.log(given["x"]), exponents)
    compiled = compile_program(lower(model, "m"), CONFIGS["basic"])
    for got in (results(model, **given), run(compiled, GoldenEngine(CONFIGS["basic"]), given)["y"]):
        assert np.allclose(got, wanted, rtol=0.02, equal_nan=True)


def test_integer_exponents_of_another_type_are_taken():
    model = of_node("Pow", 15, {"x": [8]}, {"e": np.array([2, 3, 1, 0, 2, 3, 1, 0])})
    assert np.allclose(results(model, x=BASES), np.power(BASES, [2, 3, 1, 0, 2, 3, 1, 0]))


def test_exponents_that_are_computed_take_bases_that_are_not_negative():
    model = of_node("Pow", 15, {"x": [4], "e": [4]})
    program = lower(model, "pow")
    compiled, engine = compile_program(program, CONFIGS["basic"]), GoldenEngine(CONFIGS["basic"])
    x, e = np.array([2, 3, 0, 0]), np.array([2, 0.5, 2, 0])
    assert np.allclose(run(compiled, engine, {"x": x, "e": e})["y"], x**e, rtol=0.01)
    with pytest.raises(InputError, match=r"base of Pow, 'x'.*must not be negative: it is -2"):
        run(compiled, engine, {"x": x - 2.0, "e": e})
    base = create([("Pow", ["c", "x"], ["y"], {})], {"x": [2]}, {"c": np.float32([-2, 3])})
    assert "a base of -2 takes a constant exponent" in faults(base)[0].rule


# Layouts.


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        (-100, 100, 1),
        (100, -100, -1),
        (-100, -100, -1),
        (3, 1, -1),
        (-2, 100, 2),
        (2, 2, 1),
        (4, -6, -2),
    ],
)
def test_slices_are_clamped_as_the_standard_says(start, end, step):
    """Its text: starts to [0, n] or, going back, [0, n - 1]; ends to [0, n] or [-1, n - 1]."""
    n, x = 5, RNG.normal(size=5)
    first, last = (p + n if p < 0 else p for p in (start, end))
    bounds = ((0, n), (0, n)) if step > 0 else ((0, n - 1), (-1, n - 1))
    wanted = x[list(range(np.clip(first, *bounds[0]), np.clip(last, *bounds[1]), step))]
    model = of_node(
        "Slice",
        13,
        {"x": [5]},
        {"s": np.array([start]), "e": np.array([end]), "a": np.array([0]), "t": np.array([step])},
    )
    assert np.array_equal(results(model, x=x), wanted)
