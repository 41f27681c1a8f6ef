"""Tensor programs: ONNX operators and models on the golden model and in RTL, and bad files."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from compiler.front.lower import lower
from compiler.ir import expressions as ex
from compiler.map.steps import compile_program
from rtl.simulator import SimulationError
from spu.arch import bitstream
from spu.arch.errors import PackageError
from spu.arch.package.expression import Expression, variable
from spu.arch.package.product import with_weights
from spu.arch.package.program import Map
from spu.arch.package.store import load, save
from spu.arch.package.values import real_values
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine, check_cycles
from spu.engine.errors import RunError
from spu.engine.host import run
from spu.engine.rtl_engine import RtlEngine
from spu.model.accuracy import decibels
from verif.digits.cnn import MODEL as CNN
from verif.expected.error_bounds import error_bounds
from verif.sequence import Recorder, run_sequence
from verif.studies import models
from verif.tests.onnx_models import create

BASIC = CONFIGS["basic"]


def _model(nodes, inputs, opset=18, outputs=("y",), **constants):
    """As ``create``, of (operator, inputs, output, attributes)."""
    made = [(op, given, [out], attributes) for op, given, out, attributes in nodes]
    return create(made, inputs, constants, opset, outputs)


def test_a_wrong_prediction_of_cycles_is_noticed():
    with pytest.raises(RunError, match="3 cycles, predicted were 4"):
        check_cycles(3, 4)


@pytest.mark.parametrize(
    "workload",
    [models.digits("mlp", 32), models.digits("cnn", 32), models.encoder()],
    ids=lambda workload: workload.name,
)
def test_models_are_as_accurate_as_the_numpy_prediction(workload):
    row = models.measure(workload, models.compiled(workload, BASIC), GoldenEngine(BASIC))
    assert row["array_db"] == pytest.approx(row["predicted_db"], abs=models.MOST_DECIBELS)
    assert row["array_db"] > 35
    assert row["cycles"] == row["predicted_cycles"]
    assert row.get("accuracy", 1) >= row.get("float_accuracy", 1) - 0.04


@pytest.mark.regress
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_digits_models_in_rtl(name, tmp_path):
    workload = models.digits(name, 4)
    row = models.measure(
        workload, models.compiled(workload, BASIC), RtlEngine(BASIC, work=tmp_path)
    )
    assert row["cycles"] == row["predicted_cycles"]


def test_programs_are_loaded_while_others_run(tmp_path):
    """Same words and cycles of programs; fewer cycles in which none runs."""
    workload, recorder = models.digits("mlp", 32), Recorder(BASIC)
    run(models.compiled(workload, BASIC), recorder, workload.inputs)
    figures = run_sequence(BASIC, recorder.record, tmp_path)
    alone, overlapped = figures["alone"], figures["overlapped"]
    assert alone["active"] == overlapped["active"] == recorder.cycles
    assert overlapped["idle"] < 0.75 * alone["idle"]
    first = recorder.record[0]
    column, words = next((c, words) for c, words in first.outputs.items() if words)
    wrong = [*words[:-1], (words[-1][0] ^ 1, words[-1][1])]
    with pytest.raises(SimulationError, match="words of run 0 differ"):
        run_sequence(BASIC, [replace(first, outputs=first.outputs | {column: wrong})], tmp_path)


def test_a_depth_that_is_divided_is_added_up():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(1100, 140)).astype(np.float32)
    program = lower(_model([("MatMul", ["x", "w"], "y", {})], {"x": [3, 1100]}, w=weight), "deep")
    x = rng.uniform(-1, 1, (3, 1100))
    compiled = compile_program(program, BASIC, calibrate={"x": x})
    assert {(p.depth.start, p.outputs.start) for p in next(iter(compiled.pieces.values()))} == {
        (d, o) for d in (0, 384, 768) for o in (0, 128)
    }
    got = run(compiled, GoldenEngine(BASIC), {"x": x})["y"]
    bounds = error_bounds(compiled, {"x": x})["y"]
    assert (np.abs(got - x @ weight) <= bounds.error).all()
    assert decibels(x @ weight, got) > 35


def test_many_parts_are_added_one_kernel_after_another(monkeypatch):
    monkeypatch.setattr("spu.arch.package.compiled.MOST_PARTS", 2)
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(1500, 5)).astype(np.float32)
    program = lower(_model([("MatMul", ["x", "w"], "y", {})], {"x": [2, 1500]}, w=weight), "deep")
    x = rng.uniform(-1, 1, (2, 1500))
    compiled, engine = compile_program(program, BASIC), GoldenEngine(BASIC)
    assert len(compiled.kernels) == 1
    got = run(compiled, engine, {"x": x})["y"]
    assert (np.abs(got - x @ weight) <= error_bounds(compiled, {"x": x})["y"].error).all()
    assert decibels(x @ weight, got) > 35
    assert engine.cycles == sum(compiled.cycles().values())


def test_operands_far_below_what_results_hold():
    """Results so small that no matrix mode takes the ratio are zero."""
    x = np.full((2, 32), 2.0**-18)
    program = lower(
        _model(
            [("MatMul", ["x", "w"], "p", {}), ("Add", ["p", "x"], "y", {})],
            {"x": [2, 32]},
            w=np.full((32, 32), 2.0**-60, np.float32),
        ),
        "small",
    )
    got = run(compile_program(program, BASIC), GoldenEngine(BASIC), {"x": x})["y"]
    assert np.allclose(got, x, rtol=1e-3)


def test_rows_are_divided_among_runs(monkeypatch):
    """The generator of weight addresses counts 4,096 rounds of a pass; here 10, of two passes."""
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(40, 200)).astype(np.float32)
    program = lower(_model([("MatMul", ["x", "w"], "y", {})], {"x": [37, 40]}, w=weight), "tall")
    x = rng.uniform(-1, 1, (37, 40))
    whole = run(compile_program(program, BASIC), GoldenEngine(BASIC), {"x": x})["y"]
    monkeypatch.setattr("compiler.map.steps.MOST_COUNT", 10)
    compiled, engine = compile_program(program, BASIC), GoldenEngine(BASIC)
    assert [len(p.rows) for p in next(iter(compiled.pieces.values()))] == [10, 10, 10, 7]
    assert np.array_equal(run(compiled, engine, {"x": x})["y"], whole)
    assert engine.cycles == sum(compiled.cycles().values())


def test_more_rows_than_a_counter_holds_are_written():
    program = lower(
        _model(
            [("MatMul", ["x", "w"], "y", {})], {"x": [16400, 32]}, w=np.ones((32, 8), np.float32)
        ),
        "tall",
    )
    pieces = next(iter(compile_program(program, BASIC).pieces.values()))
    assert [len(p.rows) for p in pieces] == [8200, 8200]
    for piece in pieces:
        shape = piece.plan.weight_shape
        plan = with_weights(
            piece.plan, np.zeros(shape, np.uint8), np.zeros((shape[0], shape[1] // 32), np.int64), 0
        )
        assert bitstream.encode(plan.image)


@pytest.mark.parametrize("kind", ["float16", "float64", "bfloat16"])
def test_constants_of_any_float_type(kind):
    weight = (
        np.linspace(-2, 2, 12)
        .reshape(4, 3)
        .astype(
            onnx.helper.tensor_dtype_to_np_dtype(
                {
                    "float16": TensorProto.FLOAT16,
                    "float64": TensorProto.DOUBLE,
                    "bfloat16": TensorProto.BFLOAT16,
                }[kind]
            )
        )
    )
    number = onnx.helper.np_dtype_to_tensor_dtype(weight.dtype)
    model = _model(
        [
            ("Cast", ["x"], "c", {"to": number}),
            ("MatMul", ["c", "w"], "p", {}),
            ("Cast", ["p"], "y", {"to": TensorProto.FLOAT}),
        ],
        {"x": [2, 4]},
        w=weight,
    )
    x = np.ones((2, 4))
    program = lower(model, kind)
    want = np.broadcast_to(weight.astype(np.float64).sum(axis=0), (2, 3))
    assert np.allclose(real_values(program, {"x": x})[0][program.outputs["y"]], want)


def test_bounds_of_clip_may_be_computed():
    program = lower(
        _model(
            [("ReduceMax", ["z"], "m", {"keepdims": 0}), ("Clip", ["x", "", "m"], "y", {})],
            {"x": [5], "z": [4]},
        ),
        "clip",
    )
    inputs = {"x": np.linspace(-3, 3, 5), "z": np.array([0, 1.25, -7, 1])}
    got = run(compile_program(program, BASIC), GoldenEngine(BASIC), inputs)["y"]
    assert np.allclose(got, np.minimum(inputs["x"], 1.25), rtol=1e-3)


def test_outputs_have_any_names(tmp_path):
    onnx.save(
        _model(
            [("Neg", ["x"], "file", {}), ("Abs", ["x"], "sink", {})],
            {"x": [3]},
            outputs=("file", "sink"),
        ),
        tmp_path / "m.onnx",
    )
    np.save(tmp_path / "x.npy", np.array([1.0, -2, 4]))
    for args in (
        ["compile", tmp_path / "m.onnx", "--strategy", "steps", "-o", tmp_path / "out"],
        ["run", tmp_path / "out", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz"],
    ):
        result = CliRunner().invoke(app, [str(a) for a in args])
        assert result.exit_code == 0, result.output
    with np.load(tmp_path / "y.npz") as got:
        assert {name: list(values) for name, values in got.items()} == {
            "file": [-1, 2, -4],
            "sink": [1, 2, 4],
        }


def test_long_runs_are_divided(monkeypatch):
    """The host's register holds 16 bits of rounds; with fewer, the results are the same."""
    workload = models.digits("mlp", 9)
    compiled = models.compiled(workload, BASIC)
    whole, engine = run(compiled, GoldenEngine(BASIC), workload.inputs), GoldenEngine(BASIC)
    for module in ("spu.arch.package.compiled", "spu.engine.host"):
        monkeypatch.setattr(f"{module}.MOST_ROUNDS", 50)
    parts = run(compiled, engine, workload.inputs)
    assert np.array_equal(parts["logits"], whole["logits"])
    assert engine.cycles == sum(compiled.cycles().values())
    assert engine.runs > 9


def test_a_stored_program_runs_as_before(tmp_path):
    workload = models.digits("cnn", 3)
    compiled = models.compiled(workload, BASIC)
    save(compiled, tmp_path / "cnn")
    again = load(tmp_path / "cnn")
    assert again.cycles() == compiled.cycles()
    one, two = (run(c, GoldenEngine(BASIC), workload.inputs)["logits"] for c in (compiled, again))
    assert np.array_equal(one, two)
    (tmp_path / "cnn" / "arrays.bin").write_bytes(b"no")
    with pytest.raises(PackageError, match="not what spu compile wrote"):
        load(tmp_path / "cnn")


def test_chains_of_elementwise_operators_become_one_kernel():
    """But not what is an output, or laid out otherwise in between."""
    chain = [
        ("Exp", ["x"], "a", {}),
        ("Reshape", ["a", "shape"], "b", {}),
        ("Mul", ["b", "z"], "c", {}),
        ("Tanh", ["c"], "y", {}),
    ]
    shapes = {"x": [2, 3], "z": [3, 2]}
    program = lower(_model(chain, shapes, shape=np.array([3, 2])), "chain")
    assert [type(s) for s in program.steps] == [Map]
    inputs = {"x": np.linspace(-1, 1, 6).reshape(2, 3), "z": np.ones((3, 2))}
    values, _ = real_values(program, inputs)
    wanted = np.tanh(np.exp(inputs["x"].reshape(3, 2)))
    assert np.allclose(values[program.outputs["y"]], wanted)
    got = run(compile_program(program, BASIC, calibrate=inputs), GoldenEngine(BASIC), inputs)
    assert np.abs(got["y"] - wanted).max() < 2e-3
    twice = lower(
        _model(
            [
                *chain[:3],
                ("Add", ["c", "c"], "d", {}),
                ("Sub", ["d", "z"], "e", {}),
                ("Add", ["e", "d"], "y", {}),
            ],
            shapes,
            shape=np.array([3, 2]),
            outputs=("y", "b"),
        ),
        "twice",
    )
    assert sum(isinstance(s, Map) for s in twice.steps) == 2
    turned = lower(
        _model(
            [("Exp", ["x"], "a", {}), ("Transpose", ["a"], "b", {}), ("Tanh", ["b"], "y", {})],
            {"x": [2, 3]},
        ),
        "turned",
    )
    assert sum(isinstance(s, Map) for s in turned.steps) == 2


def test_expressions_are_listed_and_read():
    x = ex.gelu(variable(0), tanh_form=False) + variable(2)
    assert Expression.from_list(x.listed()) == x
    assert x.inputs == {0, 2}


def test_command_line(tmp_path):
    def spu(*args):
        return CliRunner().invoke(app, [str(a) for a in args])

    images = models.digits("cnn", 2).inputs["image"]
    np.save(tmp_path / "x.npy", images)
    made = spu(
        "compile",
        CNN,
        "--strategy",
        "steps",
        "--batch",
        2,
        "--calibrate",
        tmp_path / "x.npy",
        "-o",
        tmp_path / "out",
    )
    assert made.exit_code == 0, made.output
    assert "2 products" in made.output
    result = spu("run", tmp_path / "out", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert result.exit_code == 0, result.output
    assert np.load(tmp_path / "y.npy").shape == (2, 10)
    for values, message in (
        (images[..., :7], "must have shape"),
        (images * 1e9, "has magnitude"),
        (images * np.nan, "NaN or infinite"),
    ):
        np.save(tmp_path / "bad.npy", values)
        result = spu(
            "run", tmp_path / "out", "--input", tmp_path / "bad.npy", "-o", tmp_path / "z.npy"
        )
        assert result.exit_code == 2
        assert message in result.output
        assert not (tmp_path / "z.npy").exists()
