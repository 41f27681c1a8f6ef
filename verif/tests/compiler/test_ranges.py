"""Constants and magnitudes that one range does not hold: own tensor biases, masks, refusals."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, shape_inference
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.map.steps import compile_program
from compiler.passes.ranges import DEFAULT_BIAS, choose
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from spu.engine.rtl_engine import RtlEngine
from spu.model.accuracy import decibels
from verif.expected.error_bounds import error_bounds

BASIC, KNOWN = CONFIGS["basic"], {}


def _model(nodes, inputs, outputs=("y",), **constants):
    """A model of (operator, inputs, output, attributes)."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node(op, list(given), [out], **attributes)
            for op, given, out, attributes in nodes
        ],
        "model",
        [value(n, TensorProto.FLOAT, np.shape(v)) for n, v in inputs.items()],
        [value(n, TensorProto.FLOAT, None) for n in outputs],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in constants.items()],
    )
    return shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    )


def _both(model, inputs, least=55):
    """Run without and with magnitudes from the inputs; each output as good as PAL16 allows, and
    within its bounds."""
    wanted = ReferenceEvaluator(model).run(
        None, {k: np.asarray(v, np.float32) for k, v in inputs.items()}
    )
    program = lower(model, "model")
    for calibrate in (None, inputs):
        compiled = compile_program(program, BASIC, known=KNOWN, calibrate=calibrate)
        got, bounds = run(compiled, GoldenEngine(BASIC), inputs), error_bounds(compiled, inputs)
        for name, want in zip(program.outputs, wanted, strict=True):
            want = np.asarray(want, np.float64)
            assert decibels(want, got[name]) > least, (name, got[name], want)
            slack = 1e-5 * np.abs(want) + 1e-12
            assert (np.abs(got[name] - want) <= bounds[name].error + slack).all()


X = np.array([0.0, 0.3, -1.7, 100.0, -2500.0])


@pytest.mark.parametrize("scale", [1e5, -3e7, 1e-9, 4e11])
def test_what_is_scaled_has_a_scale_of_its_own(scale):
    _both(
        _model(
            [("Div", ["x", "s"], "small", {}), ("Mul", ["small", "s"], "y", {})],
            {"x": X},
            ("small", "y"),
            s=scale,
        ),
        {"x": X},
    )
    _both(
        _model([("Mul", ["x", "s"], "a", {}), ("Relu", ["a"], "y", {})], {"x": X / 100}, s=scale),
        {"x": X / 100},
    )


def test_a_tensor_of_factors_far_apart():
    factors = np.array([1e-8, 3e-8, 2e-7, 1e-7, 5e-8])
    _both(_model([("Mul", ["x", "f"], "y", {})], {"x": X}, f=factors), {"x": X})


@pytest.mark.parametrize("low", [1e-7, 3e-8, 1e-9])
def test_small_bounds_before_a_logarithm(low):
    x = np.array([0.0, 1e-3, 0.5, 2.0, low / 3])
    _both(
        _model(
            [("Clip", ["x", "low", "high"], "c", {}), ("Log", ["c"], "y", {})],
            {"x": x},
            low=low,
            high=1.0,
        ),
        {"x": x},
    )


@pytest.mark.parametrize("epsilon", [1e-5, 1e-7, 1e-12])
def test_layer_normalisation_with_an_outlier(epsilon):
    x = np.random.default_rng(0).normal(size=(2, 96))
    x[0, 5], x[1, 7] = 241.0, -163.0
    _both(
        _model(
            [("LayerNormalization", ["x", "g", "b"], "y", {"epsilon": epsilon})],
            {"x": x},
            g=np.linspace(0.5, 2, 96),
            b=np.linspace(-1, 1, 96),
        ),
        {"x": x},
    )


@pytest.mark.parametrize("mask", [-1e9, -np.inf, np.finfo(np.float32).min, -65504.0, -1e4])
def test_masks_are_no_magnitudes(mask):
    """Constants added, factors of zeros and ones, and with scores that are scaled afterwards."""
    rng = np.random.default_rng(3)
    scores, keep = rng.normal(size=(4, 6)) * 3, np.array([1.0, 1, 0, 1, 0, 1])
    added = np.where(np.tri(4, 6, 2) > 0, 0, mask)
    _both(
        _model([("Add", ["s", "m"], "z", {}), ("Softmax", ["z"], "y", {})], {"s": scores}, m=added),
        {"s": scores},
    )
    if np.isfinite(mask):
        _both(
            _model(
                [
                    ("Sub", ["one", "k"], "d", {}),
                    ("Mul", ["d", "m"], "a", {}),
                    ("Div", ["s", "root"], "r", {}),
                    ("Add", ["r", "a"], "z", {}),
                    ("Softmax", ["z"], "y", {}),
                ],
                {"s": scores, "k": keep},
                one=1.0,
                m=mask,
                root=1.5,
            ),
            {"s": scores, "k": keep},
        )


@pytest.mark.parametrize("mask", [-np.inf, np.where(np.arange(4) == 2, -np.inf, 0)[:, None]])
def test_rows_masked_with_infinity_are_refused(mask):
    """The standard makes NaN of them, finite masks do not."""
    nodes = [("Add", ["s", "m"], "z", {}), ("Softmax", ["z"], "y", {})]
    program = lower(_model(nodes, {"s": np.zeros((4, 6))}, m=mask), "masked")
    with pytest.raises(CompileError, match="Softmax node 'y': infinity less infinity"):
        choose(program)
    choose(lower(_model(nodes, {"s": np.zeros((4, 6))}, m=np.maximum(mask, -1e9)), "masked"))


@pytest.mark.parametrize("calibrated", [True, False])
def test_masks_of_a_choice_by_an_input_are_not_refused(calibrated):
    """-inf stands where an input says so: of all for some inputs, not of those that come."""
    nodes = [
        ("Neg", ["m"], "n", {}),
        ("Relu", ["n"], "k", {}),
        ("Log", ["k"], "l", {}),
        ("Add", ["s", "l"], "z", {}),
        ("Add", ["z", "i"], "a", {}),
        ("Softmax", ["a"], "y", {}),
    ]
    inputs = {"s": np.arange(8.0).reshape(2, 4) / 4, "m": -np.array([1.0, 0.5, 0.25, 1.0])}
    model = _model(nodes, inputs, i=np.array([0, -np.inf, 0, 0]))
    compiled = compile_program(
        lower(model, "chosen"), BASIC, known=KNOWN, calibrate=inputs if calibrated else None
    )
    want = ReferenceEvaluator(model).run(None, {k: np.float32(v) for k, v in inputs.items()})[0]
    assert decibels(want, run(compiled, GoldenEngine(BASIC), inputs)["y"]) > 50


def test_what_is_undefined_before_a_masked_row_hides_it_not():
    """A logarithm of negatives is NaN first, elsewhere."""
    nodes = [
        ("Abs", ["s"], "a", {}),
        ("Sub", ["n", "a"], "d", {}),
        ("Log", ["d"], "l", {}),
        ("Add", ["s", "m"], "z", {}),
        ("Softmax", ["z"], "p", {}),
        ("Concat", ["l", "p"], "y", {"axis": 0}),
    ]
    program = lower(_model(nodes, {"s": np.zeros((1, 3))}, n=-1.0, m=np.full(3, -np.inf)), "hidden")
    with pytest.raises(CompileError, match="Softmax node 'p': infinity less infinity"):
        choose(program)


@pytest.mark.parametrize(("sign", "above"), [(1, 4.0), (1, 1000.0), (-1, 300.0)])
def test_masks_of_a_choice_that_few_inputs_make_are_not_refused(sign, above):
    nodes = [
        ("Mul", ["m", "g"], "n", {}),
        ("Sub", ["n", "a"], "d", {}),
        ("Relu", ["d"], "k", {}),
        ("Log", ["k"], "l", {}),
        ("Add", ["s", "l"], "z", {}),
        ("Add", ["z", "i"], "b", {}),
        ("Softmax", ["b"], "y", {}),
    ]
    choose(
        lower(
            _model(
                nodes,
                {"s": np.zeros((2, 3)), "m": np.zeros(3)},
                a=above,
                g=float(sign),
                i=np.array([0, -np.inf, 0]),
            ),
            "chosen",
        )
    )


def test_masked_rows_that_no_output_has_are_not_refused():
    """Also: the refusal tells of --calibrate only those who do not use it."""
    nodes = [
        ("Add", ["s", "m"], "z", {}),
        ("Softmax", ["z"], "p", {}),
        ("Gather", ["p", "r"], "y", {"axis": 0}),
    ]
    inputs, masks = {"s": np.zeros((2, 3))}, np.array([[0.0] * 3, [-np.inf] * 3])
    for row, given in ((0, None), (1, None), (1, inputs)):
        model = _model(nodes, inputs, m=masks)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([row]), "r"))
        program = lower(shape_inference.infer_shapes(model), "rows")
        if row:
            with pytest.raises(CompileError, match="'p': infinity less infinity") as caught:
                choose(program, inputs=given)
            assert ("--calibrate" in str(caught.value)) == (given is None)
        else:
            choose(program)


def test_masked_rows_are_not_refused_for_what_is_undefined_elsewhere():
    """An output is NaN, of a logarithm of negatives, and not of the row that no output has."""
    model = _model(
        [
            ("Abs", ["s"], "a", {}),
            ("Sub", ["n", "a"], "d", {}),
            ("Log", ["d"], "l", {}),
            ("Add", ["s", "m"], "z", {}),
            ("Softmax", ["z"], "p", {}),
            ("Gather", ["p", "r"], "g", {"axis": 0}),
            ("Concat", ["l", "g"], "y", {"axis": 0}),
        ],
        {"s": np.zeros((2, 3))},
        n=-1.0,
        m=np.array([[0.0] * 3, [-np.inf] * 3]),
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "r"))
    choose(lower(shape_inference.infer_shapes(model), "elsewhere"))


def test_masks_may_be_inputs():
    """Beyond what the input takes, and not refused, as all that is done with them is a softmax."""
    rng = np.random.default_rng(4)
    inputs = {"s": rng.normal(size=(3, 5)), "m": np.where(np.tri(3, 5, 1) > 0, 0, -1e9)}
    nodes = [("Add", ["s", "m"], "z", {}), ("Softmax", ["z"], "y", {})]
    _both(_model(nodes, inputs), inputs)
    program = lower(_model([*nodes, ("Add", ["z", "y"], "w", {})], inputs, ("w",)), "shown")
    assert not compile_program(program, BASIC, known=KNOWN).ranges.masks.get(
        program.inputs["m"], (0, 0)
    )[0]


def test_bounds_beyond_all_values_change_nothing():
    nodes = [("Min", ["x", "top"], "a", {}), ("Max", ["a", "low"], "y", {})]
    x = X / 100
    for top in (1e5, 3e38):
        model = _model(nodes, {"x": x}, top=top, low=-top)
        _both(model, {"x": x})
        biases = compile_program(lower(model, "bounds"), BASIC, known=KNOWN).ranges.tensors
        assert set(biases.values()) == {DEFAULT_BIAS}


def test_magnitudes_far_apart_in_one_model():
    x = np.array([2e5, -1.5e6, 3e4])
    program = lower(
        _model(
            [
                ("Mul", ["x", "x"], "s", {}),
                ("Reciprocal", ["x"], "r", {}),
                ("Mul", ["r", "r"], "q", {}),
            ],
            {"x": x},
            ("s", "r", "q"),
        ),
        "far",
    )
    compiled = compile_program(program, BASIC, known=KNOWN, calibrate={"x": x})
    got = run(compiled, GoldenEngine(BASIC), {"x": x})
    for name, want in (("s", x * x), ("r", 1 / x), ("q", 1 / x**2)):
        assert decibels(want, got[name]) > 60


def test_powers_are_as_large_as_inputs_make_them():
    x = np.array([0.0, 1.0, 15.0, 20.0])
    program = lower(_model([("Exp", ["x"], "y", {})], {"x": x}), "exp")
    got = run(
        compile_program(program, BASIC, known=KNOWN, calibrate={"x": x}),
        GoldenEngine(BASIC),
        {"x": x},
    )["y"]
    assert np.allclose(got, np.exp(x), rtol=0.02)


def test_sigmoids_do_not_overflow():
    x = np.array([-80.0, -12.0, -1.0, 0.0, 3.0, 90.0])
    _both(_model([("Sigmoid", ["x"], "y", {})], {"x": x}), {"x": x})


def test_products_of_large_and_of_small_weights():
    rng = np.random.default_rng(5)
    x, weight = rng.normal(size=(3, 64)), rng.normal(size=(64, 8))
    for scale in (1e-9, 1e7):
        _both(_model([("MatMul", ["x", "w"], "y", {})], {"x": x}, w=weight * scale), {"x": x}, 35)


@pytest.mark.parametrize(
    ("nodes", "constant", "message"),
    [
        ([("Add", ["x", "c"], "y", {})], 1e20, "Add node 'y': the constant 1e\\+20 is beyond"),
        ([("Add", ["x", "c"], "y", {})], -np.inf, "Add node 'y': a constant of -inf"),
        ([("Mul", ["x", "c"], "y", {})], 1e-25, "Mul node 'y': all magnitudes"),
        ([("Mul", ["x", "c"], "y", {})], np.inf, "Mul node 'y': a constant of inf"),
        (
            [("Div", ["c", "x"], "y", {})],
            np.full(X.shape, [np.inf] + [1] * (X.shape[-1] - 1)),
            "Div node 'y': a constant of inf",
        ),
        ([("Pow", ["x", "c"], "y", {})], -np.inf, "Pow node 'y': an exponent that is infinite"),
        (
            [("MatMul", ["x", "c"], "y", {})],
            np.full((X.shape[-1], 2), np.inf),
            "MatMul node 'y': a constant of inf",
        ),
    ],
)
def test_what_no_bias_holds_is_refused(nodes, constant, message):
    with pytest.raises(CompileError, match=message):
        compile_program(lower(_model(nodes, {"x": X}, c=constant), "bad"), BASIC)


def test_constants_that_are_not_held_as_they_are_are_told(tmp_path):
    onnx.save(
        _model([("Max", ["x", "c"], "m", {}), ("Div", ["x", "m"], "y", {})], {"x": X}, c=1e-12),
        tmp_path / "m.onnx",
    )
    result = CliRunner().invoke(
        app,
        ["compile", str(tmp_path / "m.onnx"), "--strategy", "steps", "-o", str(tmp_path / "out")],
    )
    assert result.exit_code == 0
    assert "Max node 'm': the constant 1e-12 is taken as" in result.output
    program = lower(onnx.load(tmp_path / "m.onnx"), "norm")
    got = run(compile_program(program, BASIC), GoldenEngine(BASIC), {"x": np.abs(X)})["y"]
    assert np.allclose(got, [0, 1, 1, 1, 1])


BEYOND = (
    "the inputs lead to magnitudes up to {}; beyond 2^42, the most that a tensor may hold, "
    "they saturate"
)


@pytest.mark.parametrize(
    ("nodes", "x", "notes"),
    [
        ([("Exp", ["x"], "y", {})], [-50.0, 40.0], {"Exp node 'y'": "2.35385e+17"}),
        (
            [("Mul", ["x", "x"], "s", {}), ("Sqrt", ["s"], "y", {})],
            [3e8, -1.0],
            {"Mul node 's'": "9e+16"},
        ),
        ([("MatMul", ["x", "c"], "y", {})], [[2e12, 1.0]], {"MatMul node 'y'": "6e+12"}),
        ([("Neg", ["x"], "y", {})], [-5e12, 1.0], {"input 'x'": "5e+12", "Neg node 'y'": "5e+12"}),
        # No further than the top, or less: nothing is lost.
        ([("Mul", ["x", "x"], "s", {}), ("Min", ["s", "c"], "y", {})], [3e8, -1.0], {}),
        ([("Sigmoid", ["x"], "y", {})], [-80.0, 90.0], {}),
        ([("Exp", ["x"], "y", {})], [-50.0, 29.0], {}),
    ],
)
def test_magnitudes_that_no_bias_holds_are_told(nodes, x, notes, tmp_path):
    """As at run, where elements saturate: each node by its name, with how large it would be."""
    model = _model(nodes, {"x": x}, c=2.0**30 if nodes[-1][0] == "Min" else [[3.0], [3.0]])
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", x)
    result = CliRunner().invoke(
        app,
        [
            "compile",
            str(tmp_path / "m.onnx"),
            "--strategy",
            "steps",
            "--calibrate",
            str(tmp_path / "x.npy"),
            "-o",
            str(tmp_path / "out"),
        ],
    )
    assert result.exit_code == 0, result.output
    told = [
        line.removeprefix("spu: note: ")
        for line in result.output.splitlines()
        if "saturate" in line
    ]
    assert told == [f"{label}: {BEYOND.format(size)}" for label, size in notes.items()]


def test_biases_of_their_own_in_rtl(tmp_path):
    x = np.linspace(-3, 3, 5)
    program = lower(
        _model([("Div", ["x", "s"], "a", {}), ("Mul", ["a", "a"], "y", {})], {"x": x}, s=1e5),
        "small",
    )
    tiny = CONFIGS["tiny"]
    got = run(compile_program(program, tiny), RtlEngine(tiny, work=tmp_path), {"x": x})["y"]
    assert decibels((x / 1e5) ** 2, got) > 60


def test_results_far_below_operands_are_refused_by_name(tmp_path):
    """Large values that meet zeros only: results have a class of far smaller magnitudes."""
    a, b = np.zeros((2, 32)), np.zeros((32, 2))
    a[:, 0], b[1] = 2.0**42, 2.0**42
    onnx.save(_model([("MatMul", ["a", "b"], "y", {})], {"a": a, "b": b}), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", a=a, b=b)
    result = CliRunner().invoke(
        app,
        [
            "compile",
            str(tmp_path / "m.onnx"),
            "--strategy",
            "steps",
            "--calibrate",
            str(tmp_path / "x.npz"),
            "-o",
            str(tmp_path / "o"),
        ],
    )
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(
        app,
        [
            "run",
            str(tmp_path / "o"),
            "--input",
            str(tmp_path / "x.npz"),
            "-o",
            str(tmp_path / "y.npz"),
        ],
    )
    assert result.exit_code == 2, result.output
    assert "MatMul node 'y': the ratio of results to operands is 2^(" in result.output
    assert not (tmp_path / "y.npz").exists()
