"""Compiled models on the golden chip: the array's words, in cycles that include loading."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from spu.arch.package.store import save
from spu.command.main import app
from spu.engine.array import GoldenEngine, Run
from spu.engine.chip_engine import ChipEngine
from spu.engine.errors import RunError
from spu.model.array import GoldenArray
from verif.digits.data import split
from verif.random_programs import ARRAYS
from verif.stimulus.programs import random_case

ARCH = ARRAYS["2x2"]


def _run(seed):
    case = random_case(ARCH, seed, None)
    cycles = GoldenArray(case.image).run(case.inputs, case.rounds, keep_links=False).cycles
    return Run(case.image, case.inputs, case.rounds[0], lambda _: cycles, alike=False)


def test_runs_of_one_doorbell_give_the_words_of_the_array():
    """Programs that are loaded again where the data memories begin as the file has them."""
    runs = [_run(seed) for seed in (4, 7, 7)]
    chip, golden = ChipEngine(ARCH, latency_cycles=20), GoldenEngine(ARCH)
    assert chip.run_each(runs) == golden.run_each(runs)
    assert chip.array_cycles == golden.cycles
    assert chip.tiles == golden.tiles
    assert chip.runs == 1
    assert chip.cycles > chip.array_cycles + chip.idle_cycles > 0
    assert chip.moved_bytes > 0


def test_other_cycles_than_predicted_are_an_error():
    one = _run(4)
    wrong = Run(one.image, one.inputs, one.iterations, lambda _: 1, alike=False)
    with pytest.raises(RunError, match="predicted were 1"):
        ChipEngine(ARCH).run_each([wrong])


def test_spu_run_on_the_chip(tmp_path, compiled):
    """The same vectors; slower memory takes longer."""
    save(compiled("tiny").package, tmp_path / "program")
    np.save(tmp_path / "x.npy", split()[2][:3])
    cycles = []
    for name, options in (
        ("golden", ()),
        ("chip", ("--latency", "10")),
        ("chip", ("--bandwidth", "8")),
    ):
        line = ["run", str(tmp_path / "program"), "--engine", name, *options]
        line += ["--input", str(tmp_path / "x.npy"), "-o", str(tmp_path / f"{len(cycles)}.npy")]
        result = CliRunner().invoke(app, [*line, "--json", str(tmp_path / "stats.json")])
        assert result.exit_code == 0, result.output
        stats = json.loads((tmp_path / "stats.json").read_text())
        assert stats["engine"] == name
        assert stats.get("array_cycles", stats["cycles"]) == (cycles or [stats["cycles"]])[0]
        cycles.append(stats["cycles"])
    assert cycles[0] < cycles[1] < cycles[2]
    vectors = [np.load(tmp_path / f"{n}.npy") for n in range(3)]
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[0] == vectors[2]).all()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--latency", "9"], "--latency: of --engine chip, not of golden"),
        (["--engine", "rtl", "--bandwidth", "9"], "--bandwidth: of --engine chip, not of rtl"),
        (["--engine", "chip", "--latency", "1"], "latency_cycles must be 2 to 1024, not 1"),
        (["--engine", "chip", "--bandwidth", "65"], "bytes_per_cycle must be at most 64"),
    ],
)
def test_memories_that_are_none_are_refused(options, rule, tmp_path):
    line = ["run", str(tmp_path), "--input", "x.npy", "-o", str(tmp_path / "y.npy"), *options]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 2
    assert rule in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())
