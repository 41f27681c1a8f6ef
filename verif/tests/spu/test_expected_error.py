"""Expected errors: roundings of units and formats, errors that go through models, faults."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from pal_units import model
from spu.arch.blocks import decode_blocks, reblock
from spu.arch.errors import InputError
from spu.arch.package.store import save
from spu.arch.params import BLOCK, CONFIGS
from spu.command.main import app
from spu.engine import expected_error
from spu.engine.array import GoldenEngine
from spu.engine.compare import against_float
from spu.engine.expected_error import expected_errors
from spu.engine.recording import record
from spu.engine.rounding import (
    CHOICES,
    antilog_rounding,
    block_rounding,
    entering_rounding,
    operation_rounding,
    sum_rounding,
)
from spu.model import exact
from verif.expected.error_bounds import FAITHFUL, NEAREST
from verif.fault_trials import MODELS, trials, tried
from verif.stimulus.small_models import SMALL
from verif.studies.errors import BAND, measured

BASIC = CONFIGS["basic"]
FORMATS = ["PAL8T", "PAL6T", "PAL4T", "PAL4A"]


def _compiled(text, constants, inputs, **options):
    parsed = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 20]> g {text}')
    parsed.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()
    )
    return compile_program(lower(parsed, "g"), BASIC, calibrate=inputs, **options)


def _small(name):
    made, inputs = next(s for s in SMALL if s.name == name).made()
    return compile_program(lower(made, name), BASIC, calibrate=inputs), inputs


def test_roundings_of_units_are_within_their_bounds_and_no_smaller_than_even_ones():
    even = NEAREST / np.sqrt(3)
    found = [operation_rounding(op) for op in ("add", "sub", "exp2", "log2")]
    for rounding in (*found, entering_rounding(), sum_rounding(BASIC.dot)):
        assert 0.99 * even < rounding.deviation < FAITHFUL
        assert abs(rounding.mean) < NEAREST
    # Logarithms of products and quotients are sums of those of PAL16; of roots halves.
    for op in ("mul", "div", *CHOICES):
        assert operation_rounding(op) == (0, 0)
    for op in ("sqrt", "rsqrt"):
        assert operation_rounding(op).deviation == pytest.approx(NEAREST / 2, rel=0.02)
        assert operation_rounding(op).mean == pytest.approx(-NEAREST / 2, rel=0.02)
    antilog = antilog_rounding(BASIC.dot)
    assert abs(antilog.mean) < antilog.deviation < 2.0**-BASIC.dot.antilog_bits


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("spread", ["gaussian", "uniform"])
def test_roundings_of_blocks_are_those_of_other_blocks(name, spread):
    fmt, rng = BASIC.data_format(name), np.random.default_rng(8)
    x = (rng.standard_normal if spread == "gaussian" else lambda s: rng.uniform(-1, 1, s))(
        (2000, BLOCK)
    )
    codes16 = model.encode16(x, 24)
    x = model.decode16(codes16, 24)
    codes, beta = reblock(codes16, fmt)
    off = decode_blocks(codes, beta[:, None], 24, fmt) - x
    size = np.abs(x)
    means, deviations = block_rounding(fmt).of(size, size.max(axis=1, keepdims=True))
    expected = ((means**2 + deviations**2) * x**2).sum()
    assert expected == pytest.approx((off**2).sum(), rel=0.1)


def test_errors_of_a_known_operand_and_known_weights_are_almost_exact():
    rng = np.random.default_rng(1)
    # Powers of two have no error in blocks, numbers in between would have.
    x = {"x": np.exp2(rng.integers(-2, 1, (40, 96))) * rng.choice((-1, 1), (40, 96))}
    weight = rng.normal(size=(96, 40)).astype(np.float32)
    package = _compiled(
        "(float[40, 96] x) => (float[40, 40] y) { y = MatMul(x, w) }", {"w": weight}, x
    )
    out = package.program.outputs["y"]
    got = exact.decoded(exact.run(package, x)[out], package.bias(out))
    square = ((got - x["x"] @ weight) ** 2).sum()
    assert expected_errors(package, x)[out] == pytest.approx(square, rel=0.08)


def test_what_errors_have_in_common_is_not_counted_twice():
    """A factor is off by its rounding in all elements alike, and cancels in a quotient."""
    rng = np.random.default_rng(2)
    x = {"x": rng.uniform(1, 2, (200, 40)), "z": rng.uniform(1, 2, (200, 1))}
    package = _compiled(
        """(float[200, 40] x, float[200, 1] z) => (float[200, 40] y) {
            e = Exp(z)  s = Mul(x, e)  t = ReduceSum(s, axis)  y = Div(s, t) }""",
        {"axis": np.array([1])},
        x,
    )
    program = package.program
    out = program.outputs["y"]
    expected = expected_errors(package, x)
    real = x["x"] / x["x"].sum(axis=1, keepdims=True)
    got = exact.decoded(exact.run(package, x)[out], package.bias(out))
    ratio = np.sqrt(((got - real) ** 2).sum() / expected[out])
    assert BAND[0] < ratio < BAND[1]
    off = {label: np.sqrt(expected[t]) for t, label in program.labels.items() if t in expected}
    scaled = off["Mul node 's'"] / np.linalg.norm(x["x"] * np.exp(x["z"]))
    assert np.sqrt(expected[out]) / np.linalg.norm(real) < scaled


@pytest.mark.parametrize("name", ["1-D u-net", "gated decoder block", "sentence embedding"])
def test_measured_errors_of_models_are_as_expected(name):
    found = measured(*_small(name))
    assert BAND[0] < found.ratio < BAND[1]
    assert len(found.ratios) > 3
    assert all(0.7 < ratio < 1.4 for ratio in found.ratios)
    if name == "gated decoder block":  # masks, a softmax, roots: no bound of its outputs is finite
        assert found.worst_db is None


def test_few_samples_at_a_time_are_as_good_and_the_same_arguments_give_the_same(monkeypatch):
    package, x = _small("1-D u-net")
    one = expected_errors(package, x)
    assert one == expected_errors(package, x)
    assert all(np.isfinite(list(one.values())))
    monkeypatch.setattr(expected_error, "MOST_ELEMENTS", 1)
    shown = []
    other = expected_errors(package, x, progress=lambda *seen: shown.append(seen))
    assert len(shown) == expected_error.SAMPLES
    out = package.program.outputs["y"]
    assert other[out] == pytest.approx(one[out], rel=0.2)


def test_saturation_is_part_of_what_is_expected():
    x = {"x": np.full((1, 64), 0.5)}
    package = _compiled("(float[1, 64] x) => (float[1, 64] y) { y = Exp(x) }", {}, x)
    large = {"x": np.full((1, 64), 9.0)}
    recording = record(package, GoldenEngine(BASIC), large)
    (row,) = against_float(recording, shares=False)
    assert recording.saturated.total() > 0
    assert row.expected_db == pytest.approx(row.sqnr_db, abs=0.1)
    assert row.sqnr_db < 30


def test_integers_take_part_and_an_index_that_a_sample_has_not_leaves_the_column_empty():
    table = np.arange(6.0).astype(np.float32).reshape(3, 2)
    text = """(float[8] x) => (float[8, 2] y) {
        e = Exp(x)  q = QuantizeLinear(e, s, z)  i = Cast <to = 7> (q)  y = Gather(t, i) }"""
    constants = {"s": np.array(1.0, np.float32), "z": np.array(0, np.uint8), "t": table}
    for value, sure in ((2.2, True), (2.4999, False)):
        x = {"x": np.full(8, np.log(value))}
        package = _compiled(text, constants, x)
        out = package.program.outputs["y"]
        if sure:
            assert expected_errors(package, x)[out] < 1e-4
        else:
            with pytest.raises(InputError, match="index 3 of an axis of 3"):
                expected_errors(package, x)


def test_the_command_tells_expected_ratios(tmp_path):
    package, x = _small("1-D u-net")
    save(package, tmp_path / "net")
    np.save(tmp_path / "x.npy", x["x"])
    command = ["compare", tmp_path / "net", "--input", tmp_path / "x.npy"]
    result = CliRunner().invoke(app, [str(a) for a in (*command, "--json", tmp_path / "o.json")])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "o.json").read_text())
    rows = {row["node"]: row["sqnr_db"] for row in written["rows"]}
    assert written["expected_db"].keys() == rows.keys()
    for node, expected in written["expected_db"].items():
        assert expected == pytest.approx(rows[node], abs=1.5)
        assert f" {expected:.1f} " in next(
            line for line in result.output.splitlines() if f" {node} " in line
        )


def _named(numbers, count, folder):
    for trial in trials(count):
        if trial.number in numbers:
            result = tried(trial, folder)
            assert result.right, (trial, result)


def test_the_command_names_the_layer_of_a_fault(tmp_path):
    _named((1, 4), len(MODELS), tmp_path)


@pytest.mark.regress
def test_the_command_names_the_layer_of_a_fault_in_20_of_20_trials(tmp_path):
    _named(range(20), 20, tmp_path)
