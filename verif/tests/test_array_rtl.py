"""The array in RTL: random programs against the golden model; loading and host registers."""

import json
from dataclasses import asdict

import pytest

from verif import host_bench
from verif.random_bench import Plan
from verif.random_programs import ARRAYS, run_plan
from verif.rtl_engine import build_rtl

#: Programs that a run has for each array.
PROGRAMS = 500


@pytest.mark.parametrize("name", ["2x2", "two regions"])
def test_random_programs_run_as_in_the_golden_model(name, tmp_path, record_property):
    figures = run_plan(Plan(asdict(ARRAYS[name]), 1000, 40), tmp_path)
    record_property("cases", (name, figures.stream_words + figures.memory_words))
    assert figures.programs == 40
    assert figures.held_cycles > 100
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
    build_rtl(arch).run("verif.host_bench", tmp_path, expected=host_bench.COUNT,
                        environment={"SPU_ARCH": json.dumps(asdict(arch))})
