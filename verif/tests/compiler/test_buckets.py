"""Buckets: one model for several sizes, padding that is measured before it is promised."""

import json

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

from compiler.buckets import compile_buckets
from compiler.errors import CompileError
from compiler.passes.padding import MOST_LENGTHS, spread
from spu.arch.errors import InputError
from spu.arch.package.buckets import load, resized, save
from spu.arch.package.manifest import PackageError
from spu.arch.params import CONFIGS
from spu.command.main import app
from spu.engine.array import GoldenEngine
from spu.engine.data import Source, plan, run_all

BASIC = CONFIGS["basic"]
#: Attention and a mean over the tokens that a mask leaves.
ATTENTION = """(float[batch, seq, 4] x, float[batch, seq] mask) => (float[b, s, 4] y, float[b, 4] p)
<float[4, 4] w = {1, 2, 0, 1, -1, 0.5, 1, 1, 0, 0, 1, -1, 0.25, 1, 1, 2}> {
  one = Constant<value = float {1}>() big = Constant<value = float {-10000}>()
  a1 = Constant<value_ints = [1]>() a2 = Constant<value_ints = [2]>()
  h = MatMul(x, w) t = Transpose<perm = [0, 2, 1]>(x) s = MatMul(h, t)
  inverse = Sub(one, mask) far = Mul(inverse, big) n = Unsqueeze(far, a1) m = Add(s, n)
  a = Softmax<axis = -1>(m) y = MatMul(a, x)
  each = Unsqueeze(mask, a2) left = Mul(y, each) sum = ReduceSum<keepdims = 0>(left, a1)
  count = ReduceSum<keepdims = 1>(mask, a1) p = Div(sum, count)
}"""


def _model(text):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {text}')


def _samples(rows, length, seed=0):
    rng = np.random.default_rng(seed)
    x, tokens = rng.normal(size=(rows, length, 4)), rng.integers(1, length + 1, size=rows)
    return {"x": x, "mask": (np.arange(length) < tokens[:, None]).astype(np.float64)}


@pytest.fixture(scope="module")
def attention():
    pads, shown = {"x": 0.0, "mask": 0.0}, [_samples(12, 8)]
    sizes = (1, 2), {"seq": (4, 8)}
    return compile_buckets(_model(ATTENTION), "att", BASIC, *sizes, pads, shown)


def _run(model, *given):
    sources = [Source(f"file {i}", lambda each=each: each) for i, each in enumerate(given)]
    whole = plan(model, sources)
    engine = GoldenEngine(BASIC)
    return run_all(model, engine, sources, whole), whole, engine


def test_all_lengths_of_a_bucket_were_tried(attention):
    buckets, checked = attention
    assert [dict(s) for s in buckets.sizes] == [
        {"batch": b, "seq": s} for b in (1, 2) for s in (4, 8)
    ]
    assert dict(buckets.outputs) == {"y": ("batch", "seq", ""), "p": ("batch", "")}
    assert (checked.lengths, checked.samples) == (8, 2 * 4 * 8)
    assert checked.difference < 1e-12


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 3), (5, 4), (3, 5), (2, 8)])
def test_results_are_those_of_the_sample_alone(rows, length, attention, tmp_path):
    buckets, _ = attention
    given = _samples(rows, length, 7)
    outputs, whole, engine = _run(buckets, given)
    wanted = ReferenceEvaluator(_model(ATTENTION)).run(
        None, {name: x.astype(np.float32) for name, x in given.items()}
    )
    for values, want in zip(outputs.values(), wanted, strict=True):
        assert values.shape == want.shape
        assert np.abs(values - want).max() < 0.05 * np.abs(want).max()
    size = 4 if length <= 4 else 8
    runs = {1: [1], 2: [2], 3: [2, 1], 5: [2, 2, 1]}[rows]
    assert (whole.samples, whole.runs, whole.filling) == (rows, len(runs), 0)
    cycles = {
        s["batch"]: sum(p.cycles().values())
        for s, p in zip(buckets.sizes, buckets.packages, strict=True)
        if s["seq"] == size
    }
    assert engine.cycles == sum(cycles[b] for b in runs)


def test_samples_that_no_bucket_takes_are_refused(attention):
    buckets, _ = attention
    for given, rule in (
        (_samples(2, 9), "file 0: no bucket holds seq 9: there are seq 4, 8$"),
        ({"x": np.ones((2, 3, 4))}, "file 0: has .'x'., the inputs are"),
        (_samples(2, 3) | {"mask": np.ones((2, 4))}, "seq is 3 in x and 4 in mask"),
        (_samples(2, 3) | {"mask": np.ones((3, 3))}, "batch is 2 in x and 3 in mask"),
        (_samples(2, 3) | {"mask": np.ones(3)}, "mask must have 2 axes, not 1"),
        (_samples(2, 3) | {"x": np.ones((2, 3, 5))}, r"x must have shape \(2, 4, 4\)"),
    ):
        with pytest.raises(InputError, match=rule):
            _run(buckets, given)
    with pytest.raises(InputError, match="file 1: a sample of output y has shape"):
        _run(buckets, _samples(2, 3), _samples(2, 4))


MEAN = "{ a = Constant<value_ints = [1]>() y = ReduceMean<axes = [1], keepdims = 0>(x) }"
X = "(float[batch, seq, 3] x) => (float[b, c] y)"
#: Models that padding with zeros changes, some only at lengths or values of their own.
UNSOUND = {
    "mean": f"{X} {MEAN}",
    "maximum": f"{X} {{ y = ReduceMax<axes = [1], keepdims = 0>(x) }}",
    "maximum above 0": (
        f"{X} {{ small = Constant<value = float {{0.1}}>() s = Add(x, small) r = Relu(s) "
        "y = ReduceMax<axes = [1], keepdims = 0>(r) }"
    ),
    "softmax": "(float[batch, seq, 3] x) => (float[b, c, d] y) { y = Softmax<axis = 1>(x) }",
    "last token": (f"{X} {{ last = Constant<value_int = -1>() y = Gather<axis = 1>(x, last) }}"),
    "odd lengths": (
        "(float[batch, seq, 3] x) => (float[b, c, d] y) { i = Constant<value_int = 1>() "
        "two = Constant<value_int = 2>() s = Shape(x) n = Gather(s, i) o = Mod(n, two) "
        "f = Cast<to = 1>(o) y = Mul(x, f) }"
    ),
    "from a length of 7": (
        "(float[batch, seq, 3] x) => (float[b, c, d] y) { i = Constant<value_int = 1>() "
        "most = Constant<value_int = 7>() s = Shape(x) n = Gather(s, i) o = Min(n, most) "
        "f = Cast<to = 1>(o) y = Mul(x, f) }"
    ),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_padding_with_an_effect_is_refused(name):
    model = _model(UNSOUND[name])
    with pytest.raises(
        CompileError, match=r"output 'y' of a sample \(batch 1, seq \d\) in a bucket"
    ):
        compile_buckets(model, "m", BASIC, (1,), {"seq": (8,)}, {"x": 0.0})


def test_a_mask_that_is_too_small_is_refused():
    weak = _model(ATTENTION.replace("-10000", "-12"))
    with pytest.raises(CompileError, match="what is padded with x=0, mask=0 has an effect"):
        compile_buckets(
            weak, "m", BASIC, (1,), {"seq": (4,)}, {"x": 0.0, "mask": 0.0}, [_samples(8, 4)]
        )


def test_rows_that_do_not_stay_apart_have_no_buckets():
    text = "(float[batch, 3] x) => (float[b, 3] y) { m = ReduceMean<axes = [0]>(x) y = Sub(x, m) }"
    with pytest.raises(CompileError, match="a batch of 4 does not take each row by itself"):
        compile_buckets(_model(text), "m", BASIC, (1, 4))
    # Each row by itself, but another function of it in each bucket.
    text = (
        "(float[batch, 3] x) => (float[b, 3] y) { i = Constant<value_int = 0>() s = Shape(x) "
        "n = Gather(s, i) f = Cast<to = 1>(n) y = Mul(x, f) }"
    )
    with pytest.raises(CompileError, match=r"\(batch 1\) in a bucket \(batch 4\) differs by 3 "):
        compile_buckets(_model(text), "m", BASIC, (1, 4))


def test_axes_of_outputs_that_are_no_size_are_refused():
    text = "(float[batch, seq, 3] x) => (float[b, c, 3] y) { y = Concat<axis = 1>(x, x) }"
    with pytest.raises(CompileError, match=r"output 'y': axis 1 has sizes \[2, "):
        compile_buckets(_model(text), "m", BASIC, (1,), {"seq": (4,)}, {"x": 0.0})


def test_without_pads_lengths_are_those_of_a_bucket():
    model = _model("(float[batch, seq, 3] x) => (float[b, c, 3] y) { y = Relu(x) }")
    buckets, checked = compile_buckets(model, "m", BASIC, (), {"seq": (2, 5)})
    assert checked.samples == 0
    x = np.random.default_rng(0).normal(size=(3, 5, 3))
    outputs, whole, _ = _run(buckets, {"x": x})
    assert np.abs(outputs["y"] - np.maximum(x, 0)).max() < 0.02
    assert (whole.samples, whole.runs) == (3, 3)
    with pytest.raises(InputError, match="no bucket holds seq 4: there are seq 2, 5; spu compile"):
        _run(buckets, {"x": x[:, :4]})


def test_ids_are_padded_with_an_id():
    text = (
        "(int64[batch, seq] ids, int64[batch, seq] mask) => (float[b, 2] y) "
        "<float[5, 2] t = {9, 9, 1, 2, 3, 4, 5, 6, 7, 8}> { g = Gather(t, ids) "
        "a = Constant<value_ints = [1]>() a2 = Constant<value_ints = [2]>() "
        "f = Cast<to = 1>(mask) u = Unsqueeze(f, a2) m = Mul(g, u) "
        "y = ReduceSum<keepdims = 0>(m, a) }"
    )
    common = _model(text), "m", BASIC, (1,), {"seq": (4,)}
    with pytest.raises(CompileError, match="input 'ids' is int64, of which values are not known"):
        compile_buckets(*common, {"ids": 0, "mask": 0})
    shown = [{"ids": np.array([[1, 2, 3, 4], [4, 3, 2, 1]]), "mask": np.ones((2, 4), int)}]
    with pytest.raises(CompileError, match=r"padding cannot be tried: .*index 7 of an axis of 5"):
        compile_buckets(*common, {"ids": 7, "mask": 0}, shown)
    with pytest.raises(CompileError, match="must be int64, not float64"):
        compile_buckets(*common, {"ids": 0.5, "mask": 0}, shown)
    with pytest.raises(CompileError, match="what is padded with ids=0, mask=1 has an effect"):
        compile_buckets(*common, {"ids": 0, "mask": 1}, shown)
    buckets, _ = compile_buckets(*common, {"ids": 0, "mask": 0}, shown)
    given = {"ids": np.array([[1, 4]], np.uint8), "mask": np.ones((1, 2), np.uint8)}
    assert np.abs(_run(buckets, given)[0]["y"] - [[8, 10]]).max() < 0.1


def test_lengths_are_all_or_well_spread():
    assert spread(3, 9) == tuple(range(3, 10))
    many = spread(1, 500)
    assert len(many) == MOST_LENGTHS
    assert {1, 2, 250, 251, 498, 499, 500} < set(many)
    assert len({n % 2 for n in many}) == 2


def test_a_pad_is_never_cut_to_a_narrow_type():
    ids = np.ones((1, 2), np.uint8)
    assert resized(ids, ("", "n"), {"n": 3}, 300)[0, 2] == 300
    assert resized(ids, ("", "n"), {"n": 3}, 0.5)[0, 2] == 0.5
    assert resized(ids, ("", "n"), {"n": 3}, -1)[0, 2] == -1


# On disk, and the commands.


def test_what_is_damaged_or_missing_is_refused(attention, tmp_path):
    buckets, _ = attention
    save(buckets, tmp_path / "m")
    found = load(tmp_path / "m")
    assert [dict(s) for s in found.sizes] == [dict(s) for s in buckets.sizes]
    assert _run(found, _samples(3, 3))[0]["p"].shape == (3, 4)
    path = tmp_path / "m" / "buckets.json"
    text = path.read_text()
    for wrong, rule in (
        (text.replace('"mask": 0.0', '"mask": 1.0'), "was changed or damaged"),
        ("{", "is damaged"),
        (text.replace('"version": 1', '"version": 9'), "of another version"),
    ):
        assert wrong != text
        path.write_text(wrong)
        with pytest.raises(PackageError, match=rule):
            load(tmp_path / "m")
    path.write_text(text)
    (tmp_path / "m" / "batch1-seq4").rename(tmp_path / "kept")
    (tmp_path / "m" / "batch1-seq8").rename(tmp_path / "m" / "batch1-seq4")
    with pytest.raises(PackageError, match="batch1-seq4 is not the one of"):
        load(tmp_path / "m")


def _spu(*args):
    return CliRunner().invoke(app, [str(a) for a in args])


def test_the_commands(tmp_path):
    model, out = tmp_path / "m.onnx", tmp_path / "out"
    onnx.save(_model("(float[batch, seq, 3] x) => (float[b, c, 3] y) { y = Relu(x) }"), model)
    common = ("compile", model, "-o", out)
    made = _spu(*common, "--batch", "1,4", "--dim", "seq=2,5", "--pad", "x=0")
    assert made.exit_code == 0, made.output
    assert "batch4-seq5: batch 4, seq 5: " in made.stdout
    assert "samples of 5 sizes alone and in buckets: outputs differ by 0 of" in made.stdout
    assert sorted(p.name for p in out.iterdir()) == [
        *("batch1-seq2", "batch1-seq5", "batch4-seq2", "batch4-seq5", "buckets.json")
    ]
    x = np.random.default_rng(0).normal(size=(6, 3, 3))
    np.save(tmp_path / "x.npy", x)
    y, stats = tmp_path / "y.npy", tmp_path / "stats.json"
    ran = _spu("run", out, "--input", tmp_path / "x.npy", "-o", y, "--json", stats)
    assert ran.exit_code == 0, ran.output
    assert np.abs(np.load(y) - np.maximum(x, 0)).max() < 0.02
    assert json.loads(stats.read_text())["samples"] == 6
    assert _spu("explain", out / "batch4-seq5").exit_code == 0
    again = _spu(*common, "--dim", "seq=2,3")
    assert again.exit_code == 0, again.output
    assert sorted(p.name for p in out.iterdir()) == ["buckets.json", "seq2", "seq3"]
    before = sorted(tmp_path.rglob("*"))
    for args, rule in (
        ((*common, "--batch", "1,x"), "--batch 1,x: must be N[,N...] with N of at least 1"),
        ((*common, "--batch", "0"), "--batch 0: must be N"),
        ((*common, "--dim", "seq=2,"), "--dim seq=2,: must be NAME=N[,N...]"),
        ((*common, "--dim", "seq=2,3", "--pad", "z=0"), "--pad z: the inputs are x"),
        ((*common, "--dim", "seq=2,3", "--pad", "x=?"), "--pad x=?: must be INPUT=NUMBER"),
        ((*common, "--pad", "x=0"), "--pad x: it has no dimension of --dim"),
        ((*common, "--dim", "time=2,3"), "no input has an open dimension 'time'"),
        ((*common, "--batch", "2"), "has a buckets.json, as spu compile"),
        (("compare", out, "--input", tmp_path / "x.npy"), "one of them: seq2, seq3"),
        (("run", out, "--input", tmp_path / "x.npy", "-o", out / "seq2" / "report.json"), ".json"),
    ):
        wrong = _spu(*args)
        assert wrong.exit_code == 2, (args, wrong.output)
        assert rule in wrong.stderr
        assert wrong.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
