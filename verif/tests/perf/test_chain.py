"""Loading and runs that follow each other: cycles of the RTL, and runs that the host asks for."""

from dataclasses import replace
from fractions import Fraction

import pytest

from compiler.front.lower import lower
from compiler.map.steps import compile_program
from perf.chips import Chip
from perf.events.chain import Simulation
from perf.events.jobs import jobs_of
from perf.events.loading import load_cycles, read_file
from perf.events.run import run
from perf.events.streams import Pace
from perf.report import report
from spu.arch import bitstream
from spu.arch.errors import UserError
from spu.arch.package.pipeline import Pipeline
from spu.arch.params import CONFIGS
from spu.engine.run import run as run_model
from verif.chain_rtl import SHORT, random_chain, simulate_chain
from verif.edge_rtl import simulate_load
from verif.sequence import Recorder
from verif.stimulus.programs import random_case
from verif.stimulus.small_models import SMALL

TINY = CONFIGS["tiny"]


@pytest.fixture(scope="module")
def small():
    """A model in steps, and inputs."""
    model, given = next(s for s in SMALL if s.name == "sentence embedding").made()
    return compile_program(lower(model, "small"), TINY), given


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(s, marks=pytest.mark.regress) for s in range(2, 30))]
)
def test_runs_and_files_follow_each_other_as_in_rtl(seed):
    simulation, cases = random_chain(seed)
    spans = [(span.begin, span.end, span.left) for span in simulation.spans()]
    assert simulate_chain(simulation, cases) == spans


@pytest.mark.parametrize("pace", [Pace(), Pace(Fraction(7, 4), 5), Pace(Fraction(3), 2)])
def test_a_file_loads_as_in_rtl(pace):
    content = bitstream.encode(random_case(SHORT, 3).image)
    file = read_file(content, SHORT)
    assert file.words == len(content) // 4
    assert load_cycles(file, pace) == simulate_load(content, SHORT, pace)


def test_a_model_is_the_runs_that_the_host_asks_for(small):
    package, given = small
    recorder = Recorder(TINY)
    run_model(package, recorder, given)
    jobs = jobs_of(package)
    assert len(jobs.jobs) == len(recorder.record) > 10
    for job, made in zip(jobs.jobs, recorder.record, strict=True):
        found = run(jobs.programs[job.key], job.rounds)
        assert (job.rounds, found.executed) == (made.rounds, made.cycles), job
        assert found.words_in == sum(map(len, made.inputs.values()))
        assert found.words_out == sum(map(len, made.outputs.values()))
        assert jobs.file(job.key).words == len(made.content) // 4


def test_steps_take_the_cycles_that_the_compiler_counts(small):
    package, _ = small
    made = report(Simulation(jobs_of(package), Chip()))
    assert {step.number: step.executed for step in made.steps} == package.cycles()
    total = made.total
    assert total.cycles == total.executed + total.held_input + total.held_output + total.idle
    assert total.bounds["program"] == total.executed >= total.bounds["multipliers"] > 0


def test_a_pipeline_is_one_run(compiled):
    made = compiled("tiny")
    package = Pipeline(made.arch, made.content, made.report, made.layers)
    jobs = jobs_of(package, 10)
    (span,) = Simulation(jobs, Chip()).spans()
    assert span.result.executed == package.cycles(10)
    assert span.result.words_in == 10 * 8
    assert span.words == len(made.content) // 4


def test_a_program_that_is_in_a_bank_is_not_loaded_again(small):
    jobs = jobs_of(small[0])
    kernels = [job for job in jobs.jobs if job.key[0] == "kernel"]
    first, second = list({job.key: job for job in kernels}.values())[:2]
    jobs.jobs = [first, first, second, first]
    spans = list(Simulation(jobs, Chip()).spans())
    assert [span.words > 0 for span in spans] == [True, False, True, False]
    assert spans[1].begin == spans[0].end
    assert spans[3].loaded == spans[2].begin + 2


def test_slower_streams_and_ports_take_longer(small):
    jobs = jobs_of(small[0])
    ideal = report(Simulation(jobs, Chip())).cycles
    for field in ("input_cycles", "output_cycles", "load_cycles", "latency_cycles"):
        assert report(Simulation(jobs, Chip().changed({field: 20}))).cycles > ideal, field
    shared = Chip(clock_mhz=1000, memory_bytes_per_second=1e9)
    alone = replace(shared, memory_bytes_per_second=64e9)
    assert report(Simulation(jobs, shared)).cycles > report(Simulation(jobs, alone)).cycles


def test_a_chip_of_another_array_is_refused(small):
    with pytest.raises(UserError, match="of the array 'basic', the model for 'tiny'"):
        Simulation(jobs_of(small[0]), Chip(array="basic"))
