"""Runs over data sets: how they are cut, which rows are samples, how outputs are joined."""

import json

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

from compiler.build import compile_model
from compiler.front.lower import lower
from spu.arch.errors import InputError
from spu.arch.package.data_sets import cut
from spu.arch.package.rows import stay_apart
from spu.arch.package.store import save
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.data import Source, plan, run_all
from spu.engine.run import run

BASIC = CONFIGS["basic"]
RNG = np.random.default_rng(0)


def _model(text, opset=17):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g {text}')


#: Models of x (4, 6), or of ids (4, 3), and whether each row is computed by itself.
MODELS = {
    "relu": ("y = Relu(x)", True),
    "softmax of a row": ("y = Softmax<axis = 1>(x)", True),
    "softmax of a column": ("y = Softmax<axis = 0>(x)", False),
    "product": (
        "w = Constant<value = float[6, 2] {1,2,3,4,5,6,7,8,9,1,2,3}>() y = MatMul(x, w)",
        True,
    ),
    "product of rows": ("t = Transpose<perm = [1, 0]>(x) y = MatMul(x, t)", False),
    "product of what was joined": (
        "m = ReduceMax<axes = [0]>(x) d = Sub(x, m) j = Concat<axis = 1>(x, d) "
        "w = Constant<value = float[12, 1] {1,2,3,4,5,6,7,8,9,1,2,3}>() y = MatMul(j, w)",
        False,
    ),
    "there and back": ("t = Transpose<perm = [1, 0]>(x) r = Relu(t) y = Transpose(r)", True),
    "turned round": (
        "s = Constant<value_ints = [-1]>() e = Constant<value_ints = [-9]>() "
        "a = Constant<value_ints = [0]>() y = Slice(x, s, e, a, s)",
        False,
    ),
    "less the mean of all": ("m = ReduceMean<axes = [0]>(x) y = Sub(x, m)", False),
    "less the mean of each": ("m = ReduceMean<axes = [1]>(x) y = Sub(x, m)", True),
    "arg max": ("y = ArgMax<axis = 1, keepdims = 0>(x)", True),
    "arg max of all": ("a = ArgMax<axis = 0>(x) s = Shape(x) y = Expand(a, s)", False),
    "attention": (
        "a = Constant<value_ints = [4, 3, 2]>() r = Reshape(x, a) "
        "t = Transpose<perm = [0, 2, 1]>(r) s = MatMul(r, t) p = Softmax<axis = -1>(s) "
        "o = MatMul(p, r) b = Constant<value_ints = [4, 6]>() y = Reshape(o, b)",
        True,
    ),
    "reshaped over rows": (
        "a = Constant<value_ints = [2, 12]>() r = Reshape(x, a) s = Softmax<axis = 1>(r) "
        "b = Constant<value_ints = [4, 6]>() y = Reshape(s, b)",
        False,
    ),
}
TYPES = {"arg max": "int64[n]", "arg max of all": "int64[n, m]"}


def _of(name):
    text, apart = MODELS[name]
    kind = TYPES.get(name, "float[n, m]")
    return _model(f"(float[4, 6] x) => ({kind} y) {{ {text} }}"), apart


@pytest.mark.parametrize("name", MODELS)
def test_rows_that_stay_apart_are_those_that_change_no_other(name):
    model, apart = _of(name)
    reference = ReferenceEvaluator(model)
    changed = set()
    for _ in range(8):
        x = RNG.normal(size=(4, 6)).astype(np.float32)
        (before,) = reference.run(None, {"x": x})
        for row in range(4):
            other = x.copy()
            other[row] = RNG.normal(size=6)
            (after,) = reference.run(None, {"x": other})
            rows = (before != after).reshape(4, -1).any(axis=1)
            changed |= {(row, int(r)) for r in np.flatnonzero(rows)}
    assert all(a == b for a, b in changed) == apart
    assert stay_apart(lower(model, "m"), ["x"]) == apart


IDS = "(int64[4, 3] ids, float[4, 6] x) => (float[n, m, k] y)"
TABLE = "t = Constant<value = float[3, 2] {1, 2, 3, 4, 5, 6}>()"


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        (f"{IDS} {{ {TABLE} y = Gather(t, ids) }}", True),
        (f"{IDS} {{ {TABLE} u = CumSum(ids, zero) y = Gather(t, u) }}", False),
        (f"{IDS} {{ {TABLE} u = CumSum(ids, one) y = Gather(t, u) }}", True),
        (f"{IDS} {{ y = Gather(x, ids) }}", False),
        (f"{IDS} {{ y = Gather<axis = 1>(x, first) }}", True),
        (f"{IDS} {{ f = Cast<to = 1>(ids) y = Unsqueeze(f, two) }}", True),
        (
            f"{IDS} {{ r = ReduceSum(ids, zero) s = Add(ids, r) f = Cast<to = 1>(s) "
            "y = Unsqueeze(f, two) }",
            False,
        ),
    ],
)
def test_rows_of_ids(text, apart):
    constants = (
        "zero = Constant<value_int = 0>() one = Constant<value_int = 1>() "
        "two = Constant<value_ints = [2]>() first = Constant<value_ints = [0, 1]>() "
    )
    if "ReduceSum" in text:
        constants = constants.replace("value_int = 0", "value_ints = [0]")
    if "first)" in text:
        text = text.replace("[n, m, k]", "[n, m]")
    program = lower(_model(text.replace("{", "{ " + constants, 1)), "m")
    assert stay_apart(program, ["ids", "x"]) == apart


def test_a_set_for_all_rows_is_of_no_row():
    program = lower(
        _model("(float[4, 6] x, float[1, 6] b) => (float[n, m] y) { y = Add(x, b) }"), "m"
    )
    assert stay_apart(program, ["x"])
    assert not stay_apart(program, ["x", "b"])  # as many rows are wanted


# How data sets are cut.


def test_rows_of_all_inputs_are_cut_alike():
    program = lower(
        _model(
            "(float[4, 6] x, float[4] s, float[2, 6] b) => (float[n, m] y, float[k, m] z) "
            "{ one = Constant<value_ints = [1]>() u = Unsqueeze(s, one) y = Mul(x, u) z = Relu(b) }"
        ),
        "m",
    )
    x, s, b = RNG.normal(size=(10, 6)), RNG.normal(size=10), RNG.normal(size=(2, 6))
    found = cut(program, {"x": x, "s": s, "b": b})
    assert (found.count, found.lacking, dict(found.rows)) == (3, 2, {"x": 4, "s": 4})
    last = list(found)[-1]
    assert np.array_equal(last["x"], x[[8, 9, 9, 9]])
    assert np.array_equal(last["s"], s[[8, 9, 9, 9]])
    assert last["b"] is b
    stacked = cut(program, {"x": x[:8].reshape(2, 4, 6), "s": s[:4], "b": b[None]})
    assert (stacked.count, stacked.lacking) == (2, 0)
    assert np.array_equal(list(stacked)[1]["x"], x[4:8])
    assert np.array_equal(list(stacked)[1]["b"], b)
    with pytest.raises(InputError, match="as many sets of all inputs, not x 3, s 3, b 5"):
        cut(program, {"x": x, "s": s, "b": np.zeros((10, 6))})
    text = "(float[4, 6] x, float[4, 1] s) => (float[n, m] y) { y = Mul(x, s) }"
    with pytest.raises(InputError, match="as many rows of all inputs, not x 10, s 9"):
        cut(lower(_model(text), "m"), {"x": x, "s": s[:9, None]})


# Runs.


@pytest.fixture(scope="module")
def packages():
    """Models of 4 rows, compiled: one that takes each by itself, one that does not, a pipeline."""
    apart = _model(
        "(float[4, 6] x) => (float[n, m] y, int64[n] k) "
        "{ y = Softmax<axis = 1>(x) k = ArgMax<axis = 1, keepdims = 0>(x) }"
    )
    mixed = _model(
        "(float[4, 6] x) => (float[n, m] y, float[m] z) "
        "{ z = ReduceMax<axes = [0], keepdims = 0>(x) y = Sub(x, z) }"
    )
    chain = _model(
        "(float[n, 6] x) => (float[n, 2] y) <float[6, 2] w = {1,2,3,4,5,6,6,5,4,3,2,1}> "
        "{ y = MatMul(x, w) }"
    )
    return {
        "apart": compile_model(lower(apart, "apart"), BASIC, "steps"),
        "mixed": compile_model(lower(mixed, "mixed"), BASIC, "steps"),
        "chain": compile_model(lower(chain, "chain", 4), BASIC, "pipeline"),
    }


def _all(package, *given):
    sources = [Source(f"file {i}", lambda each=each: each) for i, each in enumerate(given)]
    whole = plan(package, sources)
    engine = GoldenEngine(package.arch)
    return run_all(package, engine, sources, whole), whole, engine


@pytest.mark.parametrize("count", [1, 4, 7, 8])
def test_outputs_are_those_of_runs_by_hand(count, packages):
    x = RNG.normal(size=(count, 6))
    outputs, whole, engine = _all(packages["apart"], {"x": x})
    filled = np.concatenate([x, np.repeat(x[-1:], -count % 4, 0)])
    by_hand = [
        run(packages["apart"], GoldenEngine(BASIC), {"x": filled[i : i + 4]})
        for i in range(0, len(filled), 4)
    ]
    for name, values in outputs.items():
        assert np.array_equal(values, np.concatenate([each[name] for each in by_hand])[:count])
    assert (whole.samples, whole.runs, whole.filling) == (count, -(-count // 4), -count % 4)
    assert engine.cycles == len(by_hand) * sum(packages["apart"].cycles().values())
    assert np.array_equal(outputs["k"], x.argmax(axis=1))


def test_rows_of_several_files_follow_each_other(packages):
    x = RNG.normal(size=(11, 6))
    outputs, whole, _ = _all(packages["apart"], {"x": x[:4]}, {"x": x[4:5]}, {"x": x[5:]})
    assert np.array_equal(outputs["k"], x.argmax(axis=1))
    assert (whole.samples, whole.runs, whole.filling) == (11, 4, 5)
    with pytest.raises(InputError, match="file 1: is cut into runs in another way than file 0"):
        _all(packages["apart"], {"x": x[:4]}, {"x": x[None, :4]})
    with pytest.raises(
        InputError, match=r"file 1: x must have shape \(4, 6\), not \(4, 5\); where.*--dim set them"
    ):
        _all(packages["apart"], {"x": x[:4]}, {"x": x[:4, :5]})


def test_sets_along_an_axis_of_their_own(packages):
    x = RNG.normal(size=(2, 4, 6))
    outputs, whole, _ = _all(packages["apart"], {"x": x})
    assert np.array_equal(outputs["k"], x.argmax(axis=2))
    assert (whole.samples, whole.runs) == (8, 2)


def test_rows_left_over_are_refused_where_they_do_not_stay_apart(packages):
    x = RNG.normal(size=(8, 6))
    outputs, whole, _ = _all(packages["mixed"], {"x": x})
    assert outputs["y"].shape == (8, 6)
    assert outputs["z"].shape == (2, 6)  # of each set, not of each row
    assert np.abs(outputs["z"] - [x[:4].max(axis=0), x[4:].max(axis=0)]).max() < 0.02
    assert (whole.samples, whole.runs) == (2, 2)
    with pytest.raises(
        InputError, match="file 0: x has 7 rows, of which a run takes 4: 3 are left"
    ):
        _all(packages["mixed"], {"x": x[:7]})


def test_vectors_of_a_pipeline(packages):
    x = RNG.uniform(-1, 1, size=(6, 6))
    outputs, whole, _ = _all(packages["chain"], {"x": x})
    wanted = x @ np.array([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1]).reshape(6, 2)
    assert np.abs(outputs["y"] - wanted).max() < 0.2
    assert (whole.samples, whole.runs, whole.filling) == (6, 2, 2)
    stacked, whole, _ = _all(packages["chain"], {"x": x[:4][None]})
    assert np.array_equal(stacked["y"], outputs["y"][None, :4])
    assert whole.samples == 4


# The command.


def _spu(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


def test_a_directory_of_files_through_the_command(packages, tmp_path):
    save(packages["apart"], tmp_path / "model")
    x = RNG.normal(size=(9, 6))
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "a.npy", x[:5])
    np.savez(data / "b.npz", x=x[5:])
    out, stats = tmp_path / "y.npz", tmp_path / "stats.json"
    common = ("run", tmp_path / "model", "--input", data)
    told = _spu(*common, "-o", out, "--json", stats, "--clock", "500")
    assert told.exit_code == 0, told.output
    found = json.loads(stats.read_text())
    each = sum(packages["apart"].cycles().values()) * 3 / 9
    assert (found["samples"], found["sets"], found["cycles_per_sample"]) == (9, 3, each)
    assert found["samples_per_second"] == 500e6 / each
    assert f"; 9 samples, {each:.1f} cycles each, " in told.stdout
    assert "3 rows that 9 samples leave empty repeat others" in told.stderr
    with np.load(out) as outputs:
        assert np.array_equal(outputs["k"], x.argmax(axis=1))
    before = sorted(tmp_path.rglob("*"))
    for args, rule in (
        (
            ("-o", tmp_path / "y.npy"),
            "holds one array, the model has outputs y, k; y.npz holds all",
        ),
        (("-o", data / "b.npz"), "is read, and would be overwritten"),
        (("-o", out, "--clock", "0"), "--clock 0: must be a positive number of MHz"),
    ):
        wrong = _spu(*common, *args)
        assert wrong.exit_code == 2, args
        assert rule in wrong.stderr
        assert wrong.stderr.count("\n") == 1
    bad = x[:4].copy()
    bad[2, 2] = np.nan
    np.save(data / "c.npy", bad)
    wrong = _spu(*common, "-o", tmp_path / "z.npz")
    assert wrong.exit_code == 2
    assert "c.npy: x holds NaN or infinite values, 1 of 24" in wrong.stderr
    assert sorted(tmp_path.rglob("*")) == sorted([*before, data / "c.npy"])
