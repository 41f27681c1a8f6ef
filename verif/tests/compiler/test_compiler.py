"""Compiler: results equal the prediction, the checker finds faults, bad models are refused."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.build import compile_file, compile_model
from compiler.check.pipeline import check_pipeline
from compiler.errors import CompileError, WrongProgram
from compiler.front.lower import lower
from compiler.front.onnx_graph import read
from compiler.map.pipeline.chain import chain_of
from compiler.map.reservation import Unschedulable
from compiler.text.disassemble import disassemble
from pal_units.formats import PAL4T, PAL8T
from spu.arch import bitstream
from spu.arch.config import Space, TileRegister
from spu.arch.errors import InputError
from spu.arch.package.inputs import checked, remarks
from spu.arch.params import CONFIGS, Architecture
from spu.engine import codec
from spu.model.array import GoldenArray, InputExhausted
from verif.digits.data import MODEL, split
from verif.digits.train import export, train
from verif.expected.prediction import predict
from verif.simulate import float_logits
from verif.stimulus.chains import forward, pipeline, program_of, random_network

TINY = CONFIGS["tiny"]


def compile_network(layers, arch, fmt=PAL8T, **options):
    return pipeline(program_of("random", layers), arch, fmt, **options)


def _model(nodes, constants, shape=("n", 8), path=None):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def _check(program, image):
    mapping = program.mapping
    check_pipeline(image, program.quantised, mapping.timing, mapping.reads, mapping.emitted)


@pytest.mark.parametrize(
    ("arch", "sizes"),
    [
        (CONFIGS["basic"], (64, 10)),
        (CONFIGS["basic"], (20, 32, 5)),
        (CONFIGS["basic"], (8, 40, 9)),
        (CONFIGS["large"], (40, 32, 5)),
        (TINY, (16, 8)),
        (TINY, (33, 32, 32, 3)),
        (Architecture("odd", ("MmM", "mMm"), 8, 4, 32, 64, 32), (24, 32, 7)),
        (Architecture("one", ("M",), 8, 8, 32, 64, 32), (16, 12)),
    ],
)
def test_golden_model_of_a_program_equals_the_prediction(arch, sizes):
    layers = random_network(sizes, relu_last=len(sizes) == 2)
    program = compile_network(layers, arch)
    x = np.random.default_rng(1).uniform(-1, 1, (9, sizes[0]))
    result = GoldenArray(program.image).run(
        codec.encode_inputs(x, program.report, program.arch), len(x)
    )
    codes = codec.output_codes(result.outputs, program.report, arch)
    assert np.array_equal(codes, predict(program.quantised, x, program.arch))
    assert result.cycles == program.mapping.cycles(len(x))
    exact, got = forward(layers, x), codec.decode_outputs(result.outputs, program.report, arch)
    assert 10 * np.log10((exact**2).sum() / ((got - exact) ** 2).sum()) > 30


@pytest.mark.parametrize("fmt", TINY.data_formats[1:], ids=lambda f: f.name)
def test_other_formats_compile_as_well(fmt):
    program = compile_network(random_network((32, 32, 16)), TINY, fmt)
    x = np.random.default_rng(2).uniform(-1, 1, (4, 32))
    result = GoldenArray(program.image).run(codec.encode_inputs(x, program.report, program.arch), 4)
    assert np.array_equal(
        codec.output_codes(result.outputs, program.report, TINY),
        predict(program.quantised, x, program.arch),
    )


def test_golden_model_says_when_a_stream_runs_dry(compiled):
    program = compiled("tiny")
    with pytest.raises(InputExhausted, match=r"tile \(0,\d\) is empty in cycle \d+ of region 0"):
        GoldenArray(program.image).run(
            codec.encode_inputs(split()[2][:1], program.report, program.arch), 2
        )


def test_same_input_and_seed_give_the_same_bytes_in_another_process(compiled, tmp_path):
    for hash_seed in ("1", "2"):
        subprocess.run(
            [
                sys.executable,
                "-m",
                "spu",
                "compile",
                str(MODEL),
                "--arch",
                "tiny",
                "--strategy",
                "pipeline",
                "-o",
                str(tmp_path / hash_seed),
            ],
            check=True,
            env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
            capture_output=True,
        )
        content = (tmp_path / hash_seed / "program.spub").read_bytes()
        assert content == compiled("tiny").content


def test_quantised_model_is_as_accurate_as_float32(compiled):
    program = compiled("basic")
    x, labels = split()[2:]
    correct = predict(program.quantised, x, program.arch).astype(np.int64) ^ 0x8000
    codes = np.where(correct & 0x8000, correct, 0x7FFF - (correct & 0x7FFF))  # as ordered integers
    pal = (codes.argmax(axis=1) == labels).mean()
    assert abs(pal - (float_logits(x).argmax(axis=1) == labels).mean()) <= 0.01


def test_a_chain_is_what_the_reference_evaluator_computes():
    x = split()[2]
    layers = chain_of(lower(read(MODEL), "digits"))
    assert np.allclose(forward(layers, x), float_logits(x), atol=1e-4)
    assert [layer.name for layer in layers] == ["hidden_1", "hidden_2", "output"]


def test_training_script_reproduces_the_committed_model():
    committed = onnx.load(MODEL)
    again = export(train())
    assert [n.op_type for n in again.graph.node] == [n.op_type for n in committed.graph.node]
    # Processors round the sums of float32 products differently, and training amplifies that.
    for a, b in zip(again.graph.initializer, committed.graph.initializer, strict=True):
        new, old = numpy_helper.to_array(a), numpy_helper.to_array(b)
        assert np.sqrt(((new - old) ** 2).mean() / (old**2).mean()) < 0.2


@pytest.mark.parametrize(
    "space", [Space.CONTEXT, Space.WEIGHT, Space.CONSTANT, Space.REGISTER, Space.STREAM]
)
def test_checker_finds_a_changed_row_that_matters(space, compiled):
    """The value of one row is replaced by that of another row of the same kind."""
    program = compiled("basic")
    found = tried = 0
    for key in [k for k in program.image.rows if k[0] is space]:
        rows = sorted(r for r, value in program.image.rows[key].items() if value)
        for a, b in itertools.pairwise(rows):
            image = bitstream.decode(program.content, program.arch).image
            if image.rows[key][a] == image.rows[key][b] or tried >= 6:
                continue
            tried += 1
            image.rows[key][a], image.rows[key][b] = image.rows[key][b], image.rows[key][a]
            try:
                _check(program, image)
            except CompileError:
                found += 1
    assert tried >= 1
    assert found >= 0.5 * tried, f"{found} of {tried} swaps found"


def test_checker_accepts_the_program_and_only_for_its_network(compiled):
    program = compiled("tiny")
    _check(program, program.image)
    layers = list(program.quantised.layers)
    layers[0] = dataclasses.replace(layers[0], relu=False)
    other = dataclasses.replace(program.quantised, layers=tuple(layers))
    with pytest.raises(WrongProgram, match=r"not results \d+ and following"):
        _check(dataclasses.replace(program, quantised=other), program.image)


def test_disassembly_names_what_every_slot_does(compiled):
    text = "\n".join(disassemble(compiled("basic").image))
    for part in (
        "ii 8",
        "mac slice=0",
        "close=dot",
        "push",
        "add_relu",
        "memory<-reblock",
        "read address",
        "streams read",
        "emit",
    ):
        assert part in text


GEMM = helper.make_node("Gemm", ["x", "w"], ["y"], "layer")


@pytest.mark.parametrize(
    ("nodes", "constants", "shape", "rule"),
    [
        (
            [helper.make_node("Softmax", ["x"], ["y"], "soft")],
            {},
            ("n", 8),
            "Softmax node 'soft': elements change places",
        ),
        ([GEMM], {"w": np.full((8, 4), np.nan)}, ("n", 8), "constant 'w' holds 32 NaN"),
        (
            [GEMM],
            {"w": np.full((8, 4), np.inf)},
            ("n", 8),
            "a constant of inf, which PAL16 does not",
        ),
        ([GEMM], {"w": np.ones((8, 4))}, (None, None), "Dimension mismatch"),
        (
            [helper.make_node("Add", ["x", "b"], ["y"], "plus")],
            {"b": np.arange(8)},
            ("n", 8),
            "Add node 'plus': not the bias or the relu of a dense layer",
        ),
        (
            [
                helper.make_node("MatMul", ["x", "w"], ["h"], "mm"),
                helper.make_node("Add", ["h", "x"], ["y"], "skip"),
            ],
            {"w": np.ones((8, 8))},
            ("n", 8),
            "Add node 'skip': takes not just the result before it",
        ),
        (
            [helper.make_node("Relu", ["x"], ["y"], "r")],
            {},
            ("n", 8),
            "Relu node 'r': not the bias or the relu of a dense layer",
        ),
        (
            [helper.make_node("MatMul", ["w", "x"], ["y"], "mm")],
            {"w": np.ones((8, 8))},
            (8, 8),
            "MatMul node 'mm': not a product of each vector with constant weights",
        ),
        (
            [helper.make_node("Gemm", ["x", "w"], ["y"], "t", transA=1)],
            {"w": np.ones((8, 4))},
            (8, 8),
            "Gemm node 't': elements change places",
        ),
        (
            [helper.make_node("Identity", ["x"], ["y"], "i")],
            {},
            ("n", 8),
            "the output is not the result of a dense layer",
        ),
        (
            [
                helper.make_node("MatMul", ["x", "w"], ["h"], "mm"),
                helper.make_node("Mul", ["h", "b"], ["y"], "scale"),
            ],
            {"w": np.ones((8, 8)), "b": np.arange(8)},
            ("n", 8),
            "Mul node 'scale': not the bias or the relu of a dense layer",
        ),
        (
            [
                helper.make_node("MatMul", ["x", "w"], ["h"], "mm"),
                helper.make_node("Add", ["h", "b"], ["y"], "each"),
            ],
            {"w": np.ones((8, 8)), "b": np.arange(16).reshape(2, 8)},
            (2, 8),
            "Add node 'each': not the bias or the relu of a dense layer",
        ),
    ],
)
def test_models_that_are_no_chain_are_no_pipeline(nodes, constants, shape, rule, tmp_path):
    path = _model(nodes, constants, shape, tmp_path / "m.onnx")
    with pytest.raises(CompileError, match=rule):
        compile_file(path, TINY, "pipeline")


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\x08" * 100])
def test_a_file_that_is_no_model_is_refused(content, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(CompileError, match="not a valid ONNX model"):
        compile_file(path, TINY, "pipeline")


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        ((64, 128, 128, 10), "matrix units need an II of at least"),
        ((200, 8), "longest input need an II of at least 25, a tile has 16 contexts"),
        ((64, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 10), "does not fit basic"),
    ],
)
def test_a_shape_that_does_not_fit_names_what_is_short(sizes, rule):
    with pytest.raises(CompileError, match=rule):
        compile_network(random_network(sizes), CONFIGS["basic"])


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_an_input_bound_that_is_not_positive_is_refused(bound):
    with pytest.raises(CompileError, match="positive and finite"):
        compile_network(random_network((8, 4)), TINY, input_max=bound)


def test_the_last_interval_is_tried_and_those_tried_are_named(monkeypatch):
    tried = []

    def full(network, partition, *rest):
        tried.append(partition.ii)
        raise Unschedulable("nothing is free")

    monkeypatch.setattr("compiler.map.pipeline.compile.schedule", full)
    with pytest.raises(CompileError, match=r"tried 94, .*, 256: nothing is free"):
        compile_network(random_network((64, 32, 16)), TINY)
    assert max(tried) == TINY.contexts


def test_small_inputs_are_told_of_a_pipeline_as_well(compiled):
    x = np.full((2, 64), 1e-20)
    for package in (
        compiled("tiny").package,
        compile_model(lower(read(MODEL), "digits", 2), TINY, "steps"),
    ):
        given = checked(
            package,
            {
                "image": x
                if package is compiled("tiny").package or not hasattr(package, "program")
                else x.reshape(2, 8, 8)
            },
        )
        (line,) = remarks(package, given)
        assert "128 of 128 elements are below" in line


@pytest.mark.parametrize("sizes", [(8, 3), (8, 33), (1, 1)])
def test_layers_smaller_than_a_drain(sizes):
    """Results of a word take two drains, inputs of a word one cycle."""
    for fmt in (PAL8T, PAL4T):
        made = compile_network(random_network(sizes), CONFIGS["basic"], fmt)
        assert made.mapping.ii >= CONFIGS["basic"].words_per_drain


def test_calibration_inputs_are_looked_at():
    program = program_of("chain", random_network((8, 4)))
    for given, rule in (
        ({"other": np.ones((1, 8))}, "the input is 'input'"),
        ({"input": np.ones((2, 8))}, "must have shape"),
        ({"input": np.full((1, 8), np.nan)}, "NaN"),
    ):
        with pytest.raises(InputError, match=rule):
            compile_model(program, TINY, calibrate=given)
    for wrong in ("a", True):
        with pytest.raises(CompileError, match="must be a number"):
            compile_model(program, TINY, input_max=wrong)
    made = compile_model(program, TINY, "pipeline", input_max=np.float32(2))
    assert made.report["io"]["input_max"] == 2
    with pytest.raises(CompileError, match="a budget is a positive number of dB, not -5"):
        compile_model(program, TINY, calibrate={"input": np.ones((1, 8))}, budget=-5.0)


def test_a_word_that_nobody_claims_is_noticed(compiled):
    program = compiled("tiny")
    mapping = program.mapping
    for column in mapping.emitted:
        fewer = mapping.emitted | {column: mapping.emitted[column][1:]}
        with pytest.raises(WrongProgram, match="not every result leaves, once"):
            check_pipeline(program.image, program.quantised, mapping.timing, mapping.reads, fewer)


def test_weights_that_go_on_after_the_iterations_looked_at():
    """A memory that is full, so that addresses beyond it wrap to the right ones at first."""
    arch = Architecture("full", ("MM", "MM"), 4, 2, 64, 64, 8)
    program = compile_network(random_network((32, 4)), arch)
    mapping = program.mapping
    tile = mapping.macs[0].tile
    for count in range(9, 300):
        image = program.image.copy()
        loop = image.read(Space.REGISTER, tile, TileRegister.WEIGHT + 1)
        image.write(
            Space.REGISTER, tile, TileRegister.WEIGHT + 1, loop | {"count_less_1": count - 1}
        )
        x = np.random.default_rng(0).uniform(-1, 1, (3 * count, 32))
        try:
            check_pipeline(image, program.quantised, mapping.timing, mapping.reads, mapping.emitted)
        except WrongProgram:
            continue
        words = codec.encode_inputs(x, program.report, arch)
        one, two = (
            GoldenArray(each).run(words, len(x), keep_links=False).outputs
            for each in (image, program.image)
        )
        assert one == two, count
