"""Formats of products within an error budget: chosen by measuring, run as measured."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from compiler.build import compile_model
from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.map.steps import compile_program
from compiler.passes.formats import choose_formats, quality
from pal_units.formats import PAL4T, PAL6T, PAL8T
from spu.arch.package.store import load, save
from spu.arch.package.values import real_values
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.host import run
from spu.engine.rtl_engine import RtlEngine
from spu.model.accuracy import decibels
from verif.digits.cnn import MODEL as CNN
from verif.studies import models

BASIC, KNOWN = CONFIGS["basic"], {}


@pytest.fixture(scope="module")
def cnn():
    """The digits CNN, its inputs, and the compiled program in 8 bits."""
    workload = models.digits("cnn", 16)
    program = lower(workload.model, "cnn", 16)
    return workload.inputs, compile_program(program, BASIC, PAL8T, known=KNOWN)


def _in(compiled, formats):
    return compile_program(compiled.program, BASIC, PAL8T, known=KNOWN, formats=formats)


def test_fewer_decibels_take_fewer_bits_and_words(cnn):
    inputs, compiled = cnn
    words, bits = [], []
    for budget in (38, 28, 20, 10):
        formats = choose_formats(compiled, inputs, budget)
        chosen = _in(compiled, formats)
        assert quality(chosen, inputs) >= budget
        bits.append(sorted(fmt.n for fmt in formats.values()))
        words.append(sum(map(chosen.block_words, formats)))
    assert bits[0] == [8, 8]
    assert bits[-1] == [4, 4]
    assert bits == sorted(bits, reverse=True)
    # Two words of codes of 8 or 6 bits are one of codes of 4.
    assert words[0] == 2 * words[-1]


def test_no_product_could_have_fewer_bits(cnn):
    inputs, compiled = cnn
    formats = choose_formats(compiled, inputs, 22)
    last = min(formats, key=lambda i: (compiled.block_words(i), -i))
    for fmt in (PAL4T, PAL6T):
        if fmt.n < formats[last].n:
            assert quality(_in(compiled, formats | {last: fmt}), inputs) < 22


def test_a_model_in_several_formats_is_saved_and_runs_as_predicted(cnn, tmp_path):
    inputs, compiled = cnn
    first, second = compiled.formats
    mixed = _in(compiled, {first: PAL6T, second: PAL4T})
    save(mixed, tmp_path / "mixed")
    loaded = load(tmp_path / "mixed")
    assert loaded.formats == mixed.formats
    engine = GoldenEngine(BASIC)
    got = run(loaded, engine, inputs)
    assert engine.cycles == sum(loaded.cycles().values())
    real = real_values(mixed.program, inputs)[0]
    for name, number in mixed.program.outputs.items():
        assert decibels(real[number], got[name]) == pytest.approx(quality(mixed, inputs), abs=0.5)


@pytest.mark.parametrize("arch", ["tiny", "basic"])
def test_products_of_four_bits_in_rtl(arch, tmp_path):
    """The bench compares all words and the cycles with the golden model."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(24, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 5])],
        [numpy_helper.from_array(weight, "w")],
    )
    program = lower(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
        "product",
    )
    compiled = compile_program(program, CONFIGS[arch], PAL4T)
    x = rng.uniform(-1, 1, (3, 24))
    got = run(compiled, RtlEngine(CONFIGS[arch], work=tmp_path), {"x": x})["y"]
    assert decibels(x @ weight, got) > 12


def test_a_budget_that_eight_bits_do_not_keep_is_refused(cnn):
    inputs, compiled = cnn
    with pytest.raises(CompileError, match="a budget of 60 dB: formats of 8 bits reach 4"):
        choose_formats(compiled, inputs, 60)


def test_command_chooses_formats_and_says_what_they_reach(cnn, tmp_path):
    np.save(tmp_path / "x.npy", next(iter(cnn[0].values())))
    call = [
        "compile",
        str(CNN),
        "--strategy",
        "steps",
        "--batch",
        "16",
        "-o",
        str(tmp_path / "cnn"),
    ]
    budget = ["--calibrate", str(tmp_path / "x.npy"), "--budget"]
    result = CliRunner().invoke(app, [*call, *budget, "15"])
    assert result.exit_code == 0, result.output
    assert "2 in PAL4T, " in result.output
    for arguments, message in (
        (["--budget", "15"], "a budget takes inputs to measure with (--calibrate)"),
        ([*budget, "15", "--format", "PAL6T"], "and a --format of 8 bits"),
        ([*budget, "70"], "formats of 8 bits reach"),
    ):
        result = CliRunner().invoke(app, [*call[:-1], str(tmp_path / "other"), *arguments])
        assert result.exit_code == 2
        assert message in " ".join(result.output.split())
        assert not (tmp_path / "other").exists()
    assert (
        CliRunner()
        .invoke(app, ["compile", str(CNN), "-o", str(tmp_path), "--budget", "9"])
        .exit_code
        == 2
    )


def test_a_budget_is_of_real_numbers():
    """What no number of dB is measured of is not given the fewest bits."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("ArgMax", ["a"], ["y"])],
        "ids",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, 5])],
        [numpy_helper.from_array(np.ones((64, 5), np.float32), "w")],
    )
    program = lower(helper.make_model(graph), "ids")
    with pytest.raises(CompileError, match="budget of 20 dB is of outputs of real numbers, all of"):
        compile_model(program, BASIC, calibrate={"x": np.ones((2, 64))}, budget=20.0)
