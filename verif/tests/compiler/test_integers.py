"""Integers at run time: ids, masks and indices, which the host computes exactly."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

from compiler.build import compile_model
from compiler.errors import CompileError
from compiler.front.lower import lower
from compiler.passes.predict import predict
from spu.arch.errors import InputError, PackageError
from spu.arch.package import manifest
from spu.arch.package.host_operations import rank
from spu.arch.package.program import HostStep
from spu.arch.package.store import load, save
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.rtl_engine import RtlEngine
from spu.engine.run import run
from verif.expected.error_bounds import error_bounds
from verif.tests.onnx_models import create

BASIC = CONFIGS["basic"]
INT32, INT64, BOOL = TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
RNG = np.random.default_rng(19)
TABLE = RNG.normal(0, 0.05, (11, 8)).astype(np.float32)
IDS = np.array([[3, 0, 10, -1]])


def _model(*arguments, **options):
    """As ``create``, with outputs of the types and shapes that they have."""
    model = create(*arguments, **options)
    for output in model.graph.output:
        output.ClearField("type")
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _compiled(model, given, calibrate=True):
    return compile_model(
        lower(model, "model"), BASIC, "steps", calibrate=given if calibrate else None
    )


def _results(model, given, **options):
    """What the golden engine makes, which is what is predicted and, within its bound, what the
    standard's evaluator makes."""
    compiled, engine = _compiled(model, given, **options), GoldenEngine(BASIC)
    got, bounds, predicted = (
        run(compiled, engine, given),
        error_bounds(compiled, given),
        predict(compiled, given),
    )
    assert not engine.nodes
    wanted = ReferenceEvaluator(model).run(None, dict(given))
    for (name, values), want in zip(got.items(), wanted, strict=True):
        assert np.allclose(values, predicted[name], rtol=2**-7)
        assert values.shape == want.shape
        if want.dtype.kind in "biu":
            assert values.dtype == want.dtype
            sure = bounds[name].error == 0
            assert np.array_equal(values[sure], want[sure])
        else:
            assert (np.abs(values - want) <= bounds[name].error + 1e-6 * np.abs(want)).all()
    return got


def test_an_embedding_is_rows_of_its_table():
    """Ids that are fed, below 0 as well, in a model that is saved and read again."""
    model = _model(
        [("Gather", ["t", "ids"], ["y"], {"axis": 0})], {"ids": (INT64, [1, 4])}, {"t": TABLE}
    )
    got = _results(model, {"ids": IDS}, calibrate=False)["y"]
    assert np.allclose(got, TABLE[IDS], rtol=2**-10)


def test_ids_that_are_computed_choose_rows_of_what_is_computed(tmp_path):
    model = _model(
        [
            ("Add", ["ids", "one"], ["next"], {}),
            ("Mod", ["next", "count"], ["there"], {}),
            ("Exp", ["x"], ["e"], {}),
            ("Gather", ["e", "there"], ["y"], {"axis": 1}),
        ],
        {"ids": (INT32, [3]), "x": [2, 5]},
        {"one": np.int32(1), "count": np.int32(5)},
    )
    given = {"ids": np.array([4, 0, 2], np.int32), "x": RNG.normal(size=(2, 5)).astype(np.float32)}
    got = _results(model, given)["y"]
    save(_compiled(model, given), tmp_path / "out")
    again = run(load(tmp_path / "out"), GoldenEngine(BASIC), given)["y"]
    assert np.array_equal(got, again)


def test_attention_masks_of_integers():
    """Cast, one less that, times the least float32: what is masked has no share."""
    nodes = [
        ("Unsqueeze", ["mask", "axes"], ["wide"], {}),
        ("Cast", ["wide"], ["m"], {"to": TensorProto.FLOAT}),
        ("Sub", ["one", "m"], ["i"], {}),
        ("Mul", ["i", "low"], ["z"], {}),
        ("Add", ["s", "z"], ["a"], {}),
        ("Softmax", ["a"], ["y"], {}),
    ]
    constants = {
        "axes": np.array([1]),
        "one": np.float32(1),
        "low": np.float32(np.finfo(np.float32).min),
    }
    model = _model(nodes, {"mask": (INT64, [2, 6]), "s": [2, 3, 6]}, constants)
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    given = {"mask": mask, "s": RNG.normal(size=(2, 3, 6)).astype(np.float32)}
    for calibrate in (True, False):
        got = _results(model, given, calibrate=calibrate)["y"]
        assert (got[0, :, 4:] == 0).all()
        assert np.allclose(got.sum(axis=2), 1, atol=1e-2)


def test_where_of_a_mask_moves_numbers_as_they_are():
    model = _model(
        [
            ("Equal", ["ids", "pad"], ["off"], {}),
            ("Where", ["off", "low", "x"], ["z"], {}),
            ("Softmax", ["z"], ["y"], {}),
        ],
        {"ids": (INT64, [1, 4]), "x": [3, 4]},
        {"pad": np.int64(0), "low": np.float32(-1e9)},
    )
    given = {"ids": np.array([[5, 2, 0, 0]]), "x": RNG.normal(size=(3, 4)).astype(np.float32)}
    got = _results(model, given)["y"]
    assert (got[:, 2:] == 0).all()


A = np.array([7, -7, 9, 5, -(2**31), 0], np.int32)
B = np.array([2, 2, -4, 3, -1, 5], np.int32)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        *((op, {}) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")),
        ("Mod", {"fmod": 0}),
        ("Mod", {"fmod": 1}),
        *((op, {}) for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")),
    ],
)
def test_operators_of_two_integers_are_exact(op, attributes):
    model = _model([(op, ["a", "b"], ["y"], attributes)], {"a": (INT32, [6]), "b": (INT32, [6])})
    got = _results(model, {"a": A, "b": B})["y"]
    want = {"Div": [3, -3, -2, 1, -(2**31), 0]}.get(op)
    assert want is None or got.tolist() == want


@pytest.mark.parametrize(
    ("op", "constants", "attributes"),
    [
        ("Neg", {}, {}),
        ("Abs", {}, {}),
        ("Sign", {}, {}),
        ("Clip", {"l": np.int32(-3), "h": np.int32(6)}, {}),
        ("ReduceSum", {"l": np.array([1])}, {"keepdims": 0}),
        ("ReduceMax", {"l": np.array([0])}, {}),
        ("ReduceMin", {}, {"keepdims": 0}),
        ("ReduceProd", {"l": np.array([-1])}, {}),
        ("CumSum", {"l": np.int64(1)}, {"exclusive": 1}),
        ("CumSum", {"l": np.int64(-1)}, {"reverse": 1}),
        ("Cast", {}, {"to": TensorProto.UINT8}),
        ("Cast", {}, {"to": TensorProto.BOOL}),
        ("Cast", {}, {"to": TensorProto.FLOAT}),
        ("Transpose", {}, {}),
        ("Expand", {"l": np.array([4, 2, 3])}, {}),
        ("Slice", {"l": np.array([2]), "h": np.array([0]), "axes": [1], "steps": [-1]}, {}),
        ("GatherElements", {"l": np.array([[2, 0, -1], [1, 1, 0]])}, {"axis": 1}),
        ("GatherND", {"l": np.array([[1, 2], [0, 0]])}, {}),
        ("ArgMax", {}, {"axis": 1, "keepdims": 0}),
        ("ArgMin", {}, {"axis": 0, "select_last_index": 1}),
        ("TopK", {"l": np.array([2])}, {}),
    ],
)
def test_operators_of_an_integer_are_exact(op, constants, attributes):
    constants = {k: np.asarray(v) for k, v in constants.items()}
    outputs = ("y", "i") if op == "TopK" else ("y",)
    model = _model(
        [(op, ["x", *constants], outputs, attributes)],
        {"x": (INT32, [2, 3])},
        constants,
        outputs=outputs,
    )
    _results(model, {"x": np.array([[4, -5, 4], [0, 9, -300]], np.int32)})


def test_one_hot_moves_computed_numbers():
    model = _model(
        [("Exp", ["v"], ["e"], {}), ("OneHot", ["ids", "depth", "e"], ["y"], {"axis": 0})],
        {"ids": (INT64, [5]), "v": [2]},
        {"depth": np.int64(4)},
    )
    given = {"ids": np.array([0, 3, -1, 4, -5]), "v": np.array([0, 1], np.float32)}
    got = _results(model, given)["y"]
    assert (got[:, 3:] == 1).all()


@pytest.mark.parametrize("largest", [0, 1])
def test_the_first_of_computed_numbers_are_found_by_their_codes(largest):
    model = _model(
        [
            ("Mul", ["x", "two"], ["z"], {}),
            ("TopK", ["z", "k"], ["y", "i"], {"axis": 1, "largest": largest}),
            ("ArgMax" if largest else "ArgMin", ["z"], ["first"], {"axis": 1}),
        ],
        {"x": [3, 7]},
        {"two": np.float32(2), "k": np.array([3])},
        outputs=("y", "i", "first"),
    )
    x = np.stack([RNG.permutation(7) for _ in range(3)]).astype(np.float32) - 3
    x[0, 2:4] = 3 if largest else -3  # equal ones: the first of both
    got = _results(model, {"x": x})
    assert got["i"].dtype == np.int64
    assert np.array_equal(got["first"], got["i"][:, :1])
    assert got["i"][0, 0] == min(np.nonzero(x[0] == (3 if largest else -3))[0])


def test_what_is_first_is_unsure_within_errors_alone():
    model = _model([("ArgMax", ["x"], ["y"], {"axis": 1})], {"x": [2, 3]})
    given = {"x": np.array([[1.0, 1.0001, 0.3], [1.0, 1.1, 0.3]], np.float32)}
    compiled = _compiled(model, given)
    assert np.isinf(error_bounds(compiled, given)["y"].error).tolist() == [[True], [False]]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("largest", [False, True])
def test_ranks_are_those_of_a_stable_sort(largest, last):
    x = RNG.integers(0, 4, (5, 9))
    got = rank(x, 1, 9, largest, last)
    for row, order in zip(x, got, strict=True):
        keys = [(-v if largest else v, -i if last else i) for i, v in enumerate(row.tolist())]
        assert order.tolist() == sorted(range(9), key=keys.__getitem__)


def test_the_host_works_beside_rtl(tmp_path):
    model = _model(
        [
            ("Gather", ["t", "ids"], ["e"], {}),
            ("Add", ["e", "e"], ["s"], {}),
            ("ArgMax", ["s"], ["y"], {"axis": -1, "keepdims": 0}),
        ],
        {"ids": (INT64, [3])},
        {"t": TABLE},
    )
    given = {"ids": np.array([1, 5, 2])}
    tiny = CONFIGS["tiny"]
    compiled = compile_model(lower(model, "model"), tiny, "steps")
    got = run(compiled, RtlEngine(tiny, work=tmp_path), given)["y"]
    assert np.array_equal(got, TABLE[given["ids"]].argmax(axis=1))


# What is refused.


@pytest.fixture(scope="module")
def embedding(tmp_path_factory):
    """A compiled embedding of 11 rows with a mask, in a directory."""
    directory = tmp_path_factory.mktemp("embedding")
    model = _model(
        [("Gather", ["t", "ids"], ["e"], {}), ("Where", ["mask", "e", "zero"], ["y"], {})],
        {"ids": (INT32, [2]), "mask": (BOOL, [2, 1])},
        {"t": TABLE, "zero": np.float32(0)},
    )
    model.graph.node[0].name = "words"
    onnx.save(model, directory / "m.onnx")
    result = CliRunner().invoke(
        app, ["compile", str(directory / "m.onnx"), "-o", str(directory / "out")]
    )
    assert result.exit_code == 0, result.output
    return directory


MASK = np.array([[True], [False]])


def _run(directory, ids, mask):
    np.savez(directory / "x.npz", ids=ids, mask=mask)
    return CliRunner().invoke(
        app,
        [
            *("run", str(directory / "out"), "--input", str(directory / "x.npz")),
            *("-o", str(directory / "y.npy")),
        ],
    )


def test_ids_of_any_integer_type_are_taken(embedding):
    for kind in (np.int64, np.uint8):
        result = _run(embedding, np.array([3, 10], kind), MASK)
        assert result.exit_code == 0, result.output
        assert np.allclose(np.load(embedding / "y.npy")[0], TABLE[3], rtol=2**-10)
    (embedding / "y.npy").unlink()


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (np.array([3, 11]), MASK, "Gather node 'words': index 11 of an axis of 11, which has -11"),
        (np.array([-12, 0]), MASK, "index -12 of an axis of 11"),
        (np.array([3.0, 1.0]), MASK, "ids must be int32, not float64"),
        (np.array([True, True]), MASK, "ids must be int32, not bool"),
        (np.array([3, 1 << 40]), MASK, "ids must be int32, which does not hold 1099511627776"),
        (np.array([3]), MASK, "ids must have shape (2,), not (1,); where"),
        (np.array([3, 1]), MASK.astype(int), "mask must be bool, not int64"),
    ],
)
def test_bad_integers_are_refused_in_a_line(embedding, ids, mask, message):
    result = _run(embedding, ids, mask)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert message in line
    assert not (embedding / "y.npy").exists()


def test_a_division_by_zero_is_refused_in_a_run():
    model = _model([("Div", ["a", "b"], ["y"], {})], {"a": (INT32, [2]), "b": (INT32, [2])})
    compiled = _compiled(model, {"a": A[:2], "b": B[:2]})
    given = {"a": A[:2], "b": np.array([1, 0], np.int32)}
    with pytest.raises(InputError, match="Div node 'y': integers are divided by zero, 1 of 2"):
        run(compiled, GoldenEngine(BASIC), given)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("NonZero", ["i"], ["y"], {})], "operator is not supported"),
        ([("ReduceMean", ["i"], ["y"], {})], "takes int64, which the host computes; Cast"),
        ([("TopK", ["r", "i"], ["y", "k"], {})], "must be constant"),
        ([("Cast", ["i"], ["y"], {"to": TensorProto.STRING})], "casts to STRING"),
    ],
)
def test_what_is_not_computed_of_integers(nodes, message):
    with pytest.raises(CompileError, match=message):
        lower(_model(nodes, {"i": (INT64, [1]), "r": [1]}), "model")


def test_steps_of_the_host_are_checked_when_they_are_read(tmp_path, embedding, monkeypatch):
    """Another shape, type, operation or setting than that of the tensor that is made."""
    monkeypatch.setattr(manifest, "_report_digest", lambda report: "any")
    text = (embedding / "out" / "report.json").read_text()
    for path in (embedding / "out").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def damaged(change):
        report = json.loads(text) | {"digest": "any"}
        change(report, next(s for s in report["steps"] if s["kind"] == "host"))
        (tmp_path / "report.json").write_text(json.dumps(report))
        with pytest.raises(PackageError, match="not what spu compile wrote"):
            load(tmp_path)

    damaged(lambda report, step: step.update(operation="nothing"))
    damaged(lambda report, step: step["settings"].update(axis=1))
    damaged(lambda report, step: step["settings"].update(axis=0.0))
    damaged(lambda report, step: step["settings"].update(negative=1))
    damaged(lambda report, step: step["settings"].update(other=1))
    damaged(lambda report, step: step["settings"].pop("negative"))
    damaged(lambda report, step: step.update(sources=step["sources"] * 2))
    damaged(lambda report, step: report["tensors"].__setitem__(step["out"], [2, 9]))
    damaged(lambda report, step: report["integers"].update({str(step["out"]): "int32"}))
    damaged(lambda report, step: report["integers"].update({str(step["sources"][1]): ""}))


def test_saturated_casts_are_told():
    """Without calibration a tensor holds up to 4096; what is above is counted, by its node."""
    model = _model(
        [("Cast", ["i"], ["f"], {"to": TensorProto.FLOAT}), ("Mul", ["f", "f"], ["y"], {})],
        {"i": (INT64, [3])},
    )
    given = {"i": np.array([5, 5000, -9000])}
    engine = GoldenEngine(BASIC)
    run(_compiled(model, given, calibrate=False), engine, given)
    assert engine.nodes["Cast node 'f'"] == 2
    _results(model, given)


def test_programs_tell_their_steps():
    model = _model([("Gather", ["t", "ids"], ["y"], {})], {"ids": (INT64, [2])}, {"t": TABLE})
    (step,) = lower(model, "model").steps
    assert isinstance(step, HostStep)
    assert (step.operation, step.settings) == ("gather", {"axis": 0, "negative": True})


def test_no_number_is_before_all_numbers_for_arg_max_and_arg_min():
    """As in the evaluator of the standard, which is numpy; TopK has it last of the least ones."""
    x = np.array([[2, np.nan, 1, np.nan], [4, 3, 2, 1]])
    for largest in (False, True):
        wanted = x.argmax(1) if largest else x.argmin(1)
        assert np.array_equal(rank(x, 1, 1, largest)[:, 0], wanted)
    assert rank(x, 1, 4, False, nan_first=False)[0].tolist() == [2, 0, 1, 3]
    assert rank(x, 1, 4, True, last=True, nan_first=False)[0].tolist() == [0, 2, 3, 1]
    model = _model(
        [("Sqrt", ["x"], ["s"], {}), ("ArgMin", ["s"], ["y"], {"axis": 1, "keepdims": 0})],
        {"x": [2, 3]},
    )
    given = {"x": np.array([[4, 1, -1], [4, 1, 2]], np.float32)}
    assert run(_compiled(model, given), GoldenEngine(BASIC), given)["y"].tolist() == [2, 1]


def test_truth_values_of_the_array_choose_between_known_integers():
    model = _model(
        [("Greater", ["x", "z"], ["t"], {}), ("Where", ["t", "a", "b"], ["y"], {})],
        {"x": [2, 3]},
        {"z": np.float32(0), "a": np.array([3, 4, 5]), "b": np.int64(-1)},
    )
    given = {"x": np.array([[1, -1, 1], [-1, 1, -1]], np.float32)}
    got = run(_compiled(model, given), GoldenEngine(BASIC), given)["y"]
    assert (got.dtype, got.tolist()) == (np.int64, [[3, -1, 5], [-1, 4, -1]])


def test_a_condition_that_the_compiler_lowers_is_known():
    """The evaluator of constants is not asked for MaxPool."""
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y)
    {
      p = MaxPool<kernel_shape = [2]>(c)
      e = Greater(p, z)
      f = Reshape(e, s)
      y = If(f)<then_branch = t() => (float[2] a) { a = Neg(x) },
                else_branch = e() => (float[2] b) { b = Relu(x) }>
    }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(v, n)
        for n, v in {
            "c": np.ones((1, 1, 2), np.float32),
            "z": np.float32([[[0]]]),
            "s": np.array([1]),
        }.items()
    )
    given = {"x": np.array([1, -2], np.float32)}
    got = run(_compiled(model, given), GoldenEngine(BASIC), given)["y"]
    assert np.allclose(got, [-1, 2], rtol=2**-9)


def test_an_index_far_beyond_a_constant_is_refused_at_once():
    model = create(
        [("GatherElements", ["d", "i"], ["g"], {}), ("Add", ["x", "g"], ["y"], {})],
        {"x": [1, 2]},
        {"d": np.ones((1, 2), np.float32), "i": np.array([[0, -(2**63)]])},
    )
    with pytest.raises(CompileError, match="index -9223372036854775808 of an axis of 1"):
        lower(model, "m")
