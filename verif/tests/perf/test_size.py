"""``spu size``: figures, their intervals, files, and one line for what is wrong."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from perf import constants
from perf.llm.decoder import decoder
from perf.sizing.chips import CHIPS, ChipError, chip
from perf.sizing.interval import corners, drivers, interval
from perf.sizing.report import LIMITS, as_json, page, sections
from perf.sizing.service import service
from perf.sizing.study import FIGURES, StudyError, study
from perf.sizing.training import runs, training_flop
from spu.command.main import app
from verif.site import browse

CENTRE = constants.values(constants.read())
SMALL = decoder("llama-3-8b")


@pytest.fixture(scope="module")
def made():
    return study(constants.read(), SMALL, 1e9, 200.0, samples=200)


def test_a_service_costs_what_its_rate_says():
    found = service(CENTRE, SMALL, "h100-fp8", 1e9)
    watts = CENTRE["server_watts"] / 8 * CENTRE["pue"] * CENTRE["power_share"]
    assert found.joules == pytest.approx(watts / found.rate)
    tokens = 1e9 * CENTRE["query_output_tokens"]
    assert found.megawatts * 1e6 * 86400 == pytest.approx(tokens * found.joules)
    worked = CENTRE["load_factor"] * CENTRE["availability"]
    assert found.chips * found.rate * worked * 86400 == pytest.approx(tokens)
    twice = service(CENTRE, SMALL, "h100-fp8", 2e9)
    assert twice.megawatts == pytest.approx(2 * found.megawatts)
    assert twice.joules == found.joules


def test_an_array_of_an_h100s_ratios_is_an_h100():
    same = CENTRE | {
        "area_pal8": 1.0,
        "energy_pal8": 1.0,
        "bits_pal8": 8.0,
        "movement_energy": 1.0,
        "arithmetic_density": 1.0,
        "spu_matrix_efficiency": CENTRE["gpu_efficiency_fp8"],
        "spu_exposed": CENTRE["gpu_exposed"],
    }
    ours, theirs = chip(same, "spu-pal8"), chip(same, "h100-fp8")
    assert ours.flop_rate == pytest.approx(theirs.flop_rate)
    assert (ours.bandwidth, ours.memory, ours.weight_bits) == (
        theirs.bandwidth,
        theirs.memory,
        theirs.weight_bits,
    )


def test_figures_lie_in_their_intervals_and_intervals_repeat(made):
    again = study(constants.read(), SMALL, 1e9, 200.0, samples=200)
    assert as_json(again) == as_json(made)
    other = study(constants.read(), SMALL, 1e9, 200.0, samples=200, seed=2)
    assert as_json(other)["services"] != as_json(made)["services"]
    for each in made.services.values():
        assert set(each) == set(FIGURES)
        for found in each.values():
            assert 0 < found.low < found.high
            assert found.low <= found.value <= found.high


def test_factors_multiply_to_the_gain(made):
    for fmt, each in made.factors.items():
        first = [each[n].value for n in ("bits", "compute at equal area and power", "overlap")]
        assert np.prod(first) == pytest.approx(each["equal"].value)
        gain = made.gains[f"spu-{fmt}", "h100-bf16"]["rate"].value
        assert each["equal"].value == pytest.approx(gain)
        assert each["all"].value >= each["equal"].value


def test_drivers_are_in_order_and_corners_hold_every_end(made):
    spans = [d.span for d in made.drivers]
    assert spans == sorted(spans, reverse=True)
    named = {d.constant for d in made.drivers}
    assert {"serving", "pue", "power_share", "query_output_tokens"} <= named
    assert not named & {"electricity_price", "epoch_tokens", "gpu_exposed"}  # of money, of others
    low, high = made.corners
    interval_of = made.services["spu-pal8"]["megawatts"]
    assert low < interval_of.low < interval_of.high < high


def test_drivers_and_corners_of_a_product():
    known = {
        n: constants.Constant(n, 2.0, 1.0, high, "1", "none", 2026, "assumed")
        for n, high in (("a", 4.0), ("b", 8.0), ("c", 8.0))
    }

    def figure(c):
        return c["a"] / c["b"]

    moved = drivers(known, figure)
    assert [d.constant for d in moved] == ["b", "a"]
    assert corners(known, figure, moved) == (1 / 8, 4)


def test_an_interval_holds_nine_samples_in_ten():
    found = interval(50, np.arange(1, 101))
    assert (found.value, found.low, found.high) == (50, 5, 95)


def test_training_costs_six_operations_a_parameter():
    assert training_flop(decoder("gpt-3-175b"), 300e9) == pytest.approx(3.14e23, rel=0.01)
    bf16 = {r.name: r for r in runs(CENTRE, "h100-bf16")}
    assert bf16["2.1 G"].flop == pytest.approx(6 * 2.1e9 * 42e9)
    seconds = bf16["70 G"].chip_years * 365 * 86400
    assert bf16["70 G"].joules == pytest.approx(
        seconds * 10200 / 8 * CENTRE["pue"] * CENTRE["train_power_share"]
    )


def test_a_page_loads_nothing_and_names_limits_and_constants(made):
    text = page(made)
    assert not re.search(r"https?:|//|<script|<link|src=|url\(", text.partition("<body>")[0])
    assert not re.search(r"<script|<link|<img| src=| href=|url\(", text)
    for line in (*LIMITS[:1], *(s.title for s in sections(made)), *constants.read()):
        assert line in text
    assert "<svg" in text
    assert not re.search(r"\b(nan|inf)\b", text)


def test_the_command_writes_page_and_figures(tmp_path):
    out = [str(tmp_path / name) for name in ("a.html", "a.json")]
    line = ["size", "--model", "llama-3-8b", "--samples", "100", "--html", out[0], "--json", out[1]]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "Anchors" in done.output
    assert "silicon" in done.output
    figures = json.loads((tmp_path / "a.json").read_text())
    assert set(figures["services"]) == set(CHIPS)
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


@pytest.mark.regress
def test_the_page_is_shown_from_its_file_without_a_network(made, tmp_path):
    if packages := browse.missing():
        pytest.skip(f"no browser: apt-get install {packages}")
    pytest.importorskip("selenium")
    path = tmp_path / "a.html"
    path.write_text(page(made))
    with browse.browser() as driver:
        assert browse.seen(driver, path) == []
        assert driver.title == "Sizes"
        rows, bars = driver.execute_script(
            "return [document.querySelectorAll('tr').length,"
            " [...document.querySelectorAll('rect')].map(r => r.getBBox().width)]"
        )
    assert rows == sum(1 + len(s.rows) for s in sections(made)) + 1 + len(constants.read())
    assert len(bars) == 12
    assert min(bars) > 0


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--model", "llama-2"], "no decoder 'llama-2'"),
        (["--queries", "0"], "queries: must be a positive number, not 0.0"),
        (["--queries", "nan"], "queries: must be a positive number, not nan"),
        (["--queries", "inf"], "queries: must be a positive number, not inf"),
        (["--megawatts", "-1"], "megawatts: must be a positive number, not -1.0"),
        (["--samples", "10"], "samples: an interval of 90 % needs 100 or more, not 10"),
        (["--drivers-of", "tpu"], "--drivers-of tpu: there are h100-bf16, h100-fp8"),
        (["--constants", "none.toml"], "No such file"),
        (["--constants", "bad.toml"], "bad.toml: pue has no source"),
        (["--json", "nowhere/a.json"], "no such directory"),
        (["--constants", "good.toml", "--json", "good.toml"], "is read, and would be overwritten"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(options, rule, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = 'value = 1.2\nlow = 1.1\nhigh = 1.3\nunit = "1"\nyear = 2026\nkind = "assumed"\n'
    (tmp_path / "bad.toml").write_text(f"[pue]\n{bad}")
    (tmp_path / "good.toml").write_text(f'[pue]\nsource = "ours"\n{bad}')
    done = CliRunner().invoke(app, ["size", "--html", "a.html", *options])
    assert done.exit_code == 2, done.output
    assert len(done.output.strip().splitlines()) == 1, done.output
    assert rule in done.output
    assert not (tmp_path / "a.html").exists()


def test_an_unknown_chip_is_refused():
    with pytest.raises(ChipError, match="no chip 'tpu'; there are"):
        chip(CENTRE, "tpu")


def test_a_study_of_nothing_is_refused():
    with pytest.raises(StudyError, match="queries"):
        study(constants.read(), SMALL, -1.0, 200.0)
