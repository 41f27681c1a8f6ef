"""Tensor biases from data sets: several sets of inputs, files of all shapes, percentiles."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.map.steps import compile_program
from compiler.passes.ranges import choose
from compiler.passes.samples import Samples
from spu.arch.errors import InputError
from spu.arch.package.inputs import sets_of_program
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.host import run

BASIC = CONFIGS["basic"]


def _model(shape=(2, 8)):
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
            helper.make_node("Relu", ["m"], ["y"], "relu"),
        ],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
        [helper.make_tensor("w", TensorProto.FLOAT, (8, 4), np.linspace(-1, 1, 32))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _sets(count, scale=1.0):
    rng = np.random.default_rng(0)
    return [{"x": scale * rng.normal(size=(2, 8))} for _ in range(count)]


def test_the_largest_of_all_sets_counts():
    program = lower(_model(), "model")
    few = _sets(3)
    large = {"x": few[1]["x"] * 4096}
    alone = choose(program, inputs=large)[1].tensors
    assert choose(program, inputs=[*few, large])[1].tensors == alone
    assert choose(program, inputs=[large, *few])[1].tensors == alone
    assert choose(program, inputs=few)[1].tensors != alone


def test_a_percentile_leaves_outliers_to_saturate():
    program = lower(_model(), "model")
    sets = _sets(4)
    sets[0]["x"][0, 0] = 1e7
    whole, most = (
        compile_program(program, BASIC, calibrate=Samples(tuple(sets), p)) for p in (100, 90)
    )
    (x,) = program.inputs.values()
    assert 2.0 ** (whole.bias(x) / 8) > 1e7
    assert 2.0 ** (most.bias(x) / 8) < 1e6
    engine = GoldenEngine(BASIC)
    got = run(most, engine, sets[1])["y"]
    assert not engine.nodes
    wanted = np.maximum(sets[1]["x"] @ np.linspace(-1, 1, 32).reshape(8, 4), 0)
    assert np.abs(got - wanted).max() < 0.05


@pytest.mark.parametrize(
    ("given", "rule"),
    [((), "no inputs to calibrate with"), ((0.0,), "above 0"), ((101.0,), "not 101")],
)
def test_samples_that_are_none_are_refused(given, rule):
    with pytest.raises(CompileError, match=rule):
        Samples((), *given) if not given else Samples(tuple(_sets(1)), *given)


def test_sets_are_cut_from_longer_arrays():
    program = lower(_model(), "model")
    x = np.arange(7 * 8.0).reshape(7, 8)
    sets = [s["x"] for s in sets_of_program(program, {"x": x})]
    assert [s[0, 0] for s in sets] == [0, 16, 32, 48]
    assert np.array_equal(sets[3], x[[6, 6]])  # the last with its last row again
    assert all(s.shape == (2, 8) for s in sets)
    stacked = sets_of_program(program, {"x": np.stack(sets)})
    assert all(np.array_equal(a["x"], b) for a, b in zip(stacked, sets, strict=True))
    assert len(sets_of_program(program, {"x": x[:2]})) == 1
    for wrong in (x[:0], x[:, :7], x[None, None]):
        with pytest.raises(InputError, match=r"x must have shape \(2, 8\)"):
            sets_of_program(program, {"x": wrong})


def test_inputs_of_different_numbers_of_sets_are_refused():
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "model",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, (2, 3)) for n in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    program = lower(model, "sum")
    many, one = np.ones((6, 3)), np.ones((2, 3))
    assert len(sets_of_program(program, {"a": many, "b": one})) == 3
    with pytest.raises(InputError, match="as many sets of all inputs, not a 3, b 2"):
        sets_of_program(program, {"a": many, "b": np.ones((4, 3))})


def _spu(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


def test_directories_and_percentiles_of_the_command(tmp_path):
    model, data = tmp_path / "m.onnx", tmp_path / "data"
    model.write_bytes(_model().SerializeToString())
    data.mkdir()
    for i, each in enumerate(_sets(3, 1e5)):
        np.savez(data / f"{i}.npz", **each)
    common = ("compile", model, "--strategy", "steps", "-o", tmp_path / "out")
    np.save(tmp_path / "all.npy", np.concatenate([s["x"] for s in _sets(3, 1e5)]))
    told = [_spu(*common, "--calibrate", path) for path in (data, tmp_path / "all.npy")]
    assert [t.exit_code for t in told] == [0, 0], told[0].output
    assert told[0].output == told[1].output
    assert "magnitudes up to 2.68435e+08;" in told[0].output
    held = _spu(*common, "--calibrate", data, "--percentile", "1")
    assert "magnitudes up to 1.04858e+06;" in held.output
    (tmp_path / "empty").mkdir()
    for args, rule in (
        (("--calibrate", tmp_path / "empty"), "holds no .npy or .npz file"),
        (("--percentile", "50"), "--percentile is of the inputs of --calibrate"),
        (("--calibrate", data, "--percentile", "0"), "a percentile is above 0"),
        (("--calibrate", tmp_path / "none"), "No such file"),
    ):
        wrong = _spu(*common, *args)
        assert wrong.exit_code == 2, args
        assert rule in wrong.stderr
        assert wrong.stderr.count("\n") == 1
    np.save(data / "4.npy", np.ones((3, 5)))
    wrong = _spu(*common, "--calibrate", data)
    assert wrong.exit_code == 2
    assert "4.npy: x must have shape" in wrong.stderr
