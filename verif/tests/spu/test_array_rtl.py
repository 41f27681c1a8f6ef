"""The array in RTL: random programs against the golden model; loading and host registers."""

import json
from dataclasses import asdict

import pytest

from rtl.simulator import LONG, SHORT
from spu.arch.params import CONFIGS
from spu.engine.rtl_run import build_rtl
from verif.benches import corruption_bench, host_bench, ways_out_bench
from verif.benches.loading_scenarios import scenarios
from verif.benches.random_bench import Plan
from verif.observed import CI_ARRAYS, COUNT, FIRST_SEED
from verif.random_programs import ARRAYS, run_plan

#: Programs that a run has for each array.
PROGRAMS = 500


@pytest.mark.parametrize("name", CI_ARRAYS)
def test_random_programs_run_as_in_the_golden_model(name, tmp_path, record_property):
    figures = run_plan(Plan(asdict(ARRAYS[name]), FIRST_SEED, COUNT), tmp_path)
    record_property("cases", (name, figures.stream_words + figures.memory_words))
    assert figures.programs == COUNT
    assert figures.held_cycles > 100
    assert 0 < figures.saturated_runs < figures.runs
    assert figures.stream_words > 1000
    assert figures.memory_words > 500


@pytest.mark.regress
@pytest.mark.parametrize("name", [n for n in ARRAYS if n != "basic"])
def test_many_random_programs_run_as_in_the_golden_model(name, tmp_path, record_property):
    figures = run_plan(Plan(asdict(ARRAYS[name]), 0, PROGRAMS), tmp_path)
    record_property("cases", (name, figures.stream_words + figures.memory_words))
    assert figures.programs == PROGRAMS


@pytest.mark.regress
def test_random_programs_run_on_basic(tmp_path):
    assert run_plan(Plan(asdict(ARRAYS["basic"]), 0, 40), tmp_path).programs == 40


def test_loader_and_host_registers(tmp_path):
    arch = ARRAYS["2x2"]
    _bench(arch, "verif.benches.host_bench", host_bench.COUNT, tmp_path)


@pytest.mark.parametrize("name", CI_ARRAYS)
def test_loading(name, tmp_path):
    arch = ARRAYS[name]
    _bench(arch, "verif.benches.loading_bench", len(scenarios(arch)), tmp_path)


def test_ways_out_of_a_run(tmp_path):
    arch = ARRAYS["2x2"]
    _bench(arch, "verif.benches.ways_out_bench", ways_out_bench.COUNT, tmp_path)


def _bench(arch, module, expected, work, effort=SHORT, **environment):
    build_rtl(arch, effort=effort).run(
        module,
        work,
        expected=expected,
        environment={"SPU_ARCH": json.dumps(asdict(arch)), **environment},
    )


def _corrupt(arch, corruptions, flip_step, tmp_path, effort=SHORT):
    result = tmp_path / "kinds.json"
    _bench(
        arch,
        "verif.benches.corruption_bench",
        corruption_bench.COUNT,
        tmp_path,
        effort,
        SPU_CORRUPTIONS=str(corruptions),
        SPU_FLIP_STEP=str(flip_step),
        SPU_RESULT=str(result),
    )
    return json.loads(result.read_text())


def test_corrupted_program_files_are_refused(tmp_path):
    kinds = _corrupt(ARRAYS["2x2"], 150, 29, tmp_path)
    assert len(kinds) == 10
    assert sum(kinds.values()) == 150


@pytest.mark.regress
def test_all_flipped_bits_and_many_corruptions_are_refused(tmp_path, record_property):
    """Every bit of the sections of a small program of ``tiny``."""
    kinds = _corrupt(CONFIGS["tiny"], 10_000, 1, tmp_path, LONG)
    record_property("cases", ("corruptions", sum(kinds.values())))
    assert sum(kinds.values()) == 10_000
