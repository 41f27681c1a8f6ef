"""``spu perf PACKAGE``: tables, JSON, timelines and sweeps, and what is refused."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from perf.chips import Chip, chip, names
from perf.sweep import points, values
from spu.arch.errors import UserError
from spu.arch.package import store
from spu.arch.package.pipeline import Pipeline
from spu.command.main import app

RUN = CliRunner()


@pytest.fixture(scope="module")
def digits(shared, tmp_path_factory):
    """A directory of the digits model for ``tiny``."""
    from spu.arch.params import CONFIGS
    from verif.digits.data import MODEL
    from verif.stimulus.chains import pipeline

    made = shared("digits-tiny", lambda: pipeline(MODEL, CONFIGS["tiny"]))
    directory = tmp_path_factory.mktemp("digits")
    store.save(Pipeline(made.arch, made.content, made.report, made.layers), directory)
    return directory


def _perf(*line):
    return RUN.invoke(app, ["perf", *map(str, line)])


def test_a_table_names_steps_and_bounds(digits):
    result = _perf(digits, "--chip", "ddr4")
    assert result.exit_code == 0, result.output
    assert "of 64 vectors" in result.output
    assert "at 1000 MHz" in result.output
    assert "bound by" in result.output


def test_json_has_the_cycles_of_the_compiler(digits):
    made = json.loads(_perf(digits, "--vectors", 9, "--json").output)
    package = store.load(digits)
    (step,) = made["steps"]
    assert step["executed"] == made["total"]["executed"] == package.cycles(9)
    assert made["seconds"] is None
    timed = json.loads(_perf(digits, "--vectors", 9, "--json", "--set", "clock_mhz=100").output)
    assert timed["seconds"] == pytest.approx(timed["cycles"] / 100e6)


def test_a_timeline_has_files_and_runs(digits, tmp_path):
    path = tmp_path / "timeline.json"
    assert _perf(digits, "--timeline", path).exit_code == 0
    made = json.loads(path.read_text())
    spans = [event for event in made["traceEvents"] if event["ph"] == "X"]
    assert [event["tid"] for event in spans] == [1, 2]
    # The host asks for the run when its file is loaded.
    assert spans[1]["ts"] == spans[0]["ts"] + spans[0]["dur"] + 2


def test_a_sweep_has_a_row_for_each_chip(digits, tmp_path):
    path = tmp_path / "rows.csv"
    line = (digits, "--sweep", "input_cycles=1,99", "--sweep", "latency_cycles=0:20:3", "-o", path)
    assert _perf(*line, "--cores", 1).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["latency_cycles"] for row in rows] == ["0", "10", "20"] * 2
    assert float(rows[0]["cycles"]) < float(rows[2]["cycles"]) < float(rows[5]["cycles"])


def test_a_sweep_is_the_same_over_cores(digits):
    line = (digits, "--sweep", "latency_cycles=0:39:40")
    one, two = (_perf(*line, "--cores", cores).stdout for cores in (1, 2))
    assert one == two
    assert one.count("\n") == 41


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (["--chip", "ddr5"], "no chip 'ddr5'; did you mean ddr4?"),
        (["--set", "clock=5"], "unknown field 'clock' of a chip"),
        (["--set", "load_cycles"], "must be FIELD=VALUE"),
        (["--set", "input_cycles=0.5"], "input_cycles must be at least 1, not 0.5"),
        (["--set", "latency_cycles=1.5"], "latency_cycles must be a whole number"),
        (["--set", "latency_cycles=nan"], "latency_cycles must be a whole number"),
        (["--set", "clock_mhz=inf"], "clock_mhz must be a number"),
        (["--set", "array=basic"], "of the array 'basic', the model for 'tiny'"),
        (["--set", "memory_bytes_per_second=1e9"], "needs a clock_mhz"),
        (["--sweep", "latency_cycles=a:b:c"], "must be FIELD=1,2,4"),
        (["--sweep", "speed=1,2"], "unknown field 'speed' of a chip"),
        (["--sweep", "load_cycles=1", "--sweep", "load_cycles=2"], "load_cycles is swept twice"),
        (["--sweep", "load_cycles=1", "--json"], "--json: of one chip"),
        (["-o", "rows.csv"], "takes the rows of --sweep"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(digits, line, rule):
    result = _perf(digits, *line)
    assert result.exit_code == 2, result.output
    assert rule in " ".join(result.output.split())


def test_a_directory_that_holds_no_model_is_named(tmp_path):
    result = _perf(tmp_path)
    assert result.exit_code == 2
    assert "takes what spu compile wrote" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("speed = 3", "unknown field 'speed'"),
        ("label = 3", "label must be a text"),
        ("stream_words = true", "stream_words must be a whole number"),
        ("load_cycles = [1]", "load_cycles must be a number"),
        ("clock_mhz = -1", "clock_mhz must be positive"),
        ("clock_mhz =", "Invalid value"),
    ],
)
def test_a_file_that_is_no_chip_is_named(tmp_path, text, rule):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=rule) as error:
        chip(str(path))
    assert str(path) in str(error.value)


def test_chips_of_the_project_are_chips():
    assert names() == ["ddr4", "ideal"]
    assert chip("ideal") == Chip()
    assert all(chip(name).label for name in names())


def test_values_of_a_sweep():
    assert values("load_cycles=1:2:3") == ("load_cycles", [1.0, 1.5, 2.0])
    assert values("stream_words=2:16:2") == ("stream_words", [2, 16])
    assert points([("a", [1, 2]), ("b", [3])]) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    with pytest.raises(UserError, match="more than 1000000"):
        points([("a", range(10**6 + 1))])
