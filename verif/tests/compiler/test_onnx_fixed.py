"""Inputs that are given numbers, and dimensions by input and place."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from compiler.errors import CompileError
from compiler.front.any_count import is_open
from compiler.front.fixed import fixed
from compiler.front.lower import lower
from compiler.front.onnx_graph import WrongDimension
from spu.arch.package.values import real_values
from spu.command.main import app

#: A model whose rate chooses a factor, as a detector of speech chooses its bands.
RATES = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, ?] x, int64 rate) => (float[n, ?] y) {
    high = Constant <value_int = 16000> ()
    is_high = Equal(rate, high)
    y = If(is_high) <
        then_branch = a () => (float[n, m] u) { two = Constant <value_float = 2.0> ()
            u = Mul(x, two) },
        else_branch = b () => (float[n, m] v) { v = Neg(x) }
    >
}
"""
X = np.random.default_rng(0).normal(size=(2, 3))


@pytest.fixture
def rates(tmp_path):
    path = tmp_path / "rates.onnx"
    onnx.save(onnx.parser.parse_model(RATES), path)
    return path


def _spu(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize(("rate", "factor"), [(16000, 2), (8000, -1)])
def test_a_fixed_number_chooses_a_branch_and_is_no_input_any_more(rates, rate, factor):
    model = onnx.load(rates)
    program = lower(fixed(model, {"rate": rate}), "m", 2, {"x[1]": 3})
    assert list(program.inputs) == ["x"]
    values, _ = real_values(program, {"x": X})
    assert np.allclose(values[program.outputs["y"]], factor * X)
    assert len(model.graph.input) == 2  # the model that is given stays


def test_all_elements_of_a_fixed_input_are_the_number():
    model = onnx.parser.parse_model(
        '<ir_version: 3, opset_import: ["" : 17]> g (float[2] x, float[2] c) => (float[2] y)'
        "{ y = Mul(x, c) }"
    )
    program = lower(fixed(model, {"c": 0.5}), "m")
    values, _ = real_values(program, {"x": X[:, 0]})
    assert np.allclose(values[program.outputs["y"]], X[:, 0] / 2)
    assert fixed(model, {}) is model


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ({"speed": 1}, "no input is called 'speed'; inputs are rate, x"),
        ({"rate": 0.5}, "input 'rate' is of int64, which does not hold 0.5"),
        ({"rate": 1e30}, "input 'rate' is of int64, which does not hold 1e+30"),
        ({"x": 1e60}, "input 'x' is of float32, which does not hold 1e+60"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers, line, rates):
    with pytest.raises(WrongDimension) as caught:
        fixed(onnx.load(rates), numbers)
    assert str(caught.value) == line


def test_sequences_strings_and_sizes_without_end_are_refused():
    model = onnx.parser.parse_model(RATES)
    model.graph.input[1].type.CopyFrom(
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    )
    with pytest.raises(CompileError, match="input 'rate' is no tensor"):
        fixed(model, {"rate": 1})
    model.graph.input[1].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.STRING, []))
    with pytest.raises(CompileError, match="is of strings, not of numbers"):
        fixed(model, {"rate": 1})
    model.graph.input[1].type.CopyFrom(
        helper.make_tensor_type_proto(TensorProto.FLOAT, [1 << 20, 1 << 20])
    )
    with pytest.raises(CompileError, match="has more than"):
        fixed(model, {"rate": 1})


@pytest.mark.parametrize("command", ["check", "compile"])
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--fix", "rate"], "--fix rate: must be INPUT=NUMBER"),
        (["--fix", "rate=fast"], "--fix rate=fast: must be INPUT=NUMBER"),
        (["--fix", "rate=inf"], "--fix rate=inf: must be INPUT=NUMBER"),
        (["--fix", "=3"], "--fix =3: must be INPUT=NUMBER"),
        (["--fix", "rate=1", "--fix", "rate=2"], "--fix rate is given as 1 and as 2"),
        (["--fix", "r=1"], "no input is called 'r'; inputs are rate, x"),
        (["--dim", "x[2]=1"], "no input has an open dimension 'x[2]'; open are n"),
        (["--batch", "2", "--dim", "x[0]=3"], "dimension 'x[0]' cannot be 3 in a batch of 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(command, arguments, line, rates, tmp_path):
    more = ["-o", tmp_path / "out"] if command == "compile" else []
    result = _spu(command, rates, *arguments, *more)
    assert (result.exit_code, result.output.strip()) == (2, f"spu: error: {line}")
    assert not (tmp_path / "out").exists()


def test_the_commands_take_numbers_and_places(rates, tmp_path):
    options = ["--fix", "rate=8000", "--dim", "x[1]=3", "--batch", "2"]
    assert _spu("check", rates, *options).exit_code == 0
    made = _spu("compile", rates, *options, "-o", tmp_path / "out")
    assert made.exit_code == 0, made.output
    np.save(tmp_path / "x.npy", X)
    run = _spu("run", tmp_path / "out", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert run.exit_code == 0, run.output
    assert np.allclose(np.load(tmp_path / "y.npy"), -X, rtol=1e-3)


def test_a_place_counts_for_this_dimension_alone():
    """Exporters call dimensions alike that are not."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[a, a] x) => (float[a, b] y)'
        "{ y = Neg(x) }"
    )
    program = lower(model, "m", None, {"a": 2, "x[1]": 5})
    assert program.shape(program.inputs["x"]) == (2, 5)
    assert is_open(model, {})
    assert not is_open(model, {"x[0]": 2})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "x[1]"  # a name all the same
    program = lower(model, "m", None, {"x[1]": 7})
    assert program.shape(program.inputs["x"]) == (7, 1)
