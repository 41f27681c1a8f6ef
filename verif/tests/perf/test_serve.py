"""Serving by a virtual clock: queues as in theory, rounds as single steps, failures, traces."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from perf import constants
from perf.cluster.hall import failing, hall, load_of, simulate
from perf.cluster.load import Load, LoadError, Query, poisson, trace
from perf.cluster.rounds import serve_rounds
from perf.cluster.serve import PREFILL_TOKENS, Failures, quantile, serve
from perf.cluster.split import Split, SplitError
from perf.cluster.steady import Replica, steady
from perf.llm.decoder import decoder
from perf.sizing.chips import chip
from spu.command.main import app

CENTRE = constants.values(constants.read())
REPLICA = Replica(decoder("llama-2-70b"), chip(CENTRE, "h100-fp8"), Split(tp=2))


def _alone(inputs, outputs):
    """Seconds of a query that is alone in a batch."""
    d = REPLICA.decoder
    first = float(REPLICA.step(1, inputs, inputs, d.prefill_flop(inputs)))
    return first, first + sum(float(REPLICA.step(1, inputs + n)) for n in range(1, outputs))


def test_a_query_alone_takes_its_prompt_and_its_steps():
    first, whole = _alone(300, 20)
    found = serve([Query(5.0, 300, 20)], REPLICA, 1, 8)
    assert found.seconds == pytest.approx(5 + whole)
    assert found.first_quantile(0.5) == pytest.approx(first)
    assert found.between_quantile(0.5) == pytest.approx((whole - first) / 19)
    assert (found.queries, found.tokens, found.waiting) == (1, 20, 0)
    assert found.busy_seconds == pytest.approx(whole)


def test_waits_of_a_line_are_those_of_pollaczek_and_khinchine():
    """A batch of one and queries alike are a queue M/D/1."""
    first, whole = _alone(200, 5)
    busy = 0.6
    load = poisson(busy / whole, 20_000 * whole / busy, 200, 5)
    found = serve(load.queries(3), REPLICA, 1, 1)
    waits = np.array([seconds for seconds, _ in found.first]) - first
    assert waits.mean() == pytest.approx(busy * whole / (2 * (1 - busy)), rel=0.06)
    assert found.busy_seconds / found.seconds == pytest.approx(busy, rel=0.03)


def test_two_replicas_take_what_one_has_no_time_for():
    queries = [Query(0.0, 200, 5), Query(0.0, 200, 5)]
    _, whole = _alone(200, 5)
    assert serve(queries, REPLICA, 1, 1).seconds == pytest.approx(2 * whole)
    assert serve(queries, REPLICA, 2, 1).seconds == pytest.approx(whole)


def test_prompts_of_a_step_are_bounded_and_a_longer_one_goes_alone():
    half = PREFILL_TOKENS // 2 + 1
    found = serve([Query(0.0, half, 1), Query(0.0, half, 1)], REPLICA, 1, 8)
    assert len({round(seconds, 9) for seconds, _ in found.first}) == 2
    assert serve([Query(0.0, 2 * PREFILL_TOKENS, 1)], REPLICA, 1, 8).queries == 1


def test_a_query_that_no_memory_holds_waits_for_ever():
    room = int(REPLICA.most_tokens())
    found = serve([Query(0.0, room, 1), Query(1.0, 100, 2)], REPLICA, 1, 8)
    assert (found.waiting, found.queries) == (1, 1)


@pytest.mark.parametrize("busy", [0.5, 0.8])
def test_rounds_serve_as_single_steps_do(busy):
    state = steady(REPLICA, 300.0, 200.0, 0.1)
    load = poisson(busy * 4 * float(state.rate) / 200, 150, 300, 200, 0.8)
    steps = serve(load.queries(1), REPLICA, 4, int(state.batch))
    rounds = serve_rounds(load, REPLICA, 4, int(state.batch), seconds=0.5)
    # Seconds of a query in a batch (Little); of those that rounds leave undone, half.
    stay = rounds.batch_seconds / (rounds.queries + rounds.waiting / 2)
    assert stay == pytest.approx(steps.batch_seconds / steps.queries, rel=0.08)
    assert rounds.tokens / rounds.queries == pytest.approx(load.outputs.mean(), rel=0.04)
    served = rounds.queries + rounds.waiting
    assert served == pytest.approx(steps.queries, rel=0.02)
    assert rounds.between_quantile(0.5) == pytest.approx(steps.between_quantile(0.5), rel=0.2)
    assert rounds.first_quantile(0.5) == pytest.approx(steps.first_quantile(0.5), rel=0.3)


def test_rounds_lose_no_query():
    load = poisson(40.0, 120, 300, 200, 0.8)
    a = serve_rounds(load, REPLICA, 2, 100, Failures(0.004, 0.001), seed=5)
    b = serve_rounds(load, REPLICA, 2, 100, Failures(0.004, 0.001), seed=5)
    assert a == b
    assert a.failures > 0
    assert a.again > 0.08 * load.expected
    # Queries arrive as whole numbers; all of them are done, held, or in the line.
    total = a.queries + a.waiting
    assert total == pytest.approx(round(total), abs=0.05)
    assert total == pytest.approx(load.expected, rel=0.04)


def test_more_than_can_be_served_waits_in_the_line():
    state = steady(REPLICA, 300.0, 200.0, 0.1)
    load = poisson(4 * float(state.rate) / 200, 100, 300, 200)
    found = serve_rounds(load, REPLICA, 1, int(state.batch))
    assert found.waiting > 0.5 * load.expected
    assert found.first_quantile(0.9) > 10
    assert found.mean_batch <= int(state.batch)


def test_a_failure_gives_queries_back_and_they_begin_anew():
    load = poisson(20.0, 60, 300, 200)
    whole = serve(load.queries(2), REPLICA, 2, 100)
    broken = serve(load.queries(2), REPLICA, 2, 100, Failures(0.01, 0.002), seed=4)
    assert broken.failures > 0
    assert broken.again > 0
    assert broken.queries == whole.queries
    assert broken.tokens == whole.tokens
    assert broken.first_quantile(0.99) > whole.first_quantile(0.99)


def test_a_load_has_its_rate_its_lengths_and_its_day():
    load = poisson(10.0, 86400, 790, 500, 0.8, 0.5)
    assert load.expected == pytest.approx(864_000)
    assert load.inputs.mean() == pytest.approx(790, rel=0.01)
    assert load.outputs.mean() == pytest.approx(500, rel=0.01)
    assert np.log(load.outputs).std() == pytest.approx(0.8, abs=0.05)
    assert load.between(0, 43200) == pytest.approx(432_000 * (1 + 0.5 * 2 / np.pi), rel=1e-3)
    assert load.between(30, 90) == pytest.approx(load.between(30, 60) + load.between(60, 90))
    few = list(poisson(10.0, 1000, 790, 500).queries(1))
    assert len(few) == pytest.approx(10_000, rel=0.05)
    assert few == list(poisson(10.0, 1000, 790, 500).queries(1))
    assert [q.seconds for q in few] == sorted(q.seconds for q in few)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"rate": 0}, "rate: must be a positive number, not 0"),
        ({"seconds": float("inf")}, "seconds: must be a positive number"),
        ({"inputs": 0.5}, "inputs: must be from 1 to 10 million tokens, not 0.5"),
        ({"outputs": float("nan")}, "outputs: must be from 1"),
        ({"spread": 4}, "spread: must be from 0 to 3, not 4"),
        ({"swing": 1.5}, "swing: must be from 0 to 1, not 1.5"),
    ],
)
def test_a_load_that_cannot_be_is_refused(change, rule):
    given = {"rate": 1.0, "seconds": 60.0, "inputs": 100.0, "outputs": 100.0} | change
    with pytest.raises(LoadError, match=rule):
        poisson(**given)


def test_a_trace_is_served_query_by_query(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("who,seconds,input_tokens,output_tokens\nb,9,300,20\na,0.5,200,5\n")
    queries, load = trace(path)
    assert queries == [Query(0.5, 200, 5), Query(9.0, 300, 20)]
    assert load.expected == pytest.approx(2)
    found = serve(queries, REPLICA, 1, 8)
    assert (found.queries, found.tokens) == (2, 25)
    assert found.seconds == pytest.approx(9 + _alone(300, 20)[1])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "line 1: no column seconds"),
        ("seconds,input_tokens\n", "line 1: no column output_tokens"),
        ("seconds,input_tokens,output_tokens\n", "has no query"),
        ("seconds,input_tokens,output_tokens\n1,2\n", "line 2: output_tokens must be a number"),
        ("seconds,input_tokens,output_tokens\n1,2,3\n1,x,3\n", "line 3: input_tokens must be a"),
        ("seconds,input_tokens,output_tokens\n-1,2,3\n", "line 2: seconds must be from 0"),
        ("seconds,input_tokens,output_tokens\nnan,2,3\n", "line 2: seconds must be from 0"),
        ("seconds,input_tokens,output_tokens\n1,2,0\n", "output_tokens must be a whole number"),
        ("seconds,input_tokens,output_tokens\n1,2.5,3\n", "input_tokens must be a whole number"),
        ("seconds,input_tokens,output_tokens\n1,inf,3\n", "input_tokens must be a whole number"),
    ],
)
def test_a_trace_that_is_none_is_one_line(text, rule, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    done = CliRunner().invoke(app, ["cluster", "llama-3-8b", "--trace", str(path)])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1, done.output
    assert rule in done.output
    assert str(path) in done.output


def test_quantiles_count_weights():
    assert quantile([(1.0, 1.0), (2.0, 98.0), (3.0, 1.0)], 0.5) == 2
    assert quantile([(3.0, 1.0), (1.0, 1.0)], 0.5) == 1
    assert quantile([(3.0, 1.0), (1.0, 1.0)], 1.0) == 3
    assert np.isnan(quantile([], 0.5))


def test_the_split_of_a_hall_is_the_fastest_or_the_given_one():
    d, fp8 = decoder("llama-2-70b"), chip(CENTRE, "h100-fp8")
    best = hall(d, fp8, 2, 8, (300.0, 200.0), 0.1)
    given = hall(d, fp8, 2, 8, (300.0, 200.0), 0.1, (8, 0, 0))
    assert given.replica.split == Split(tp=8, dp=2)
    assert best.capacity >= given.capacity
    assert best.replica.split.chips == 16
    assert failing(CENTRE, given).hours == CENTRE["server_failure_hours"]
    two = hall(d, fp8, 2, 8, (300.0, 200.0), 0.1, (8, 2, 0))
    assert failing(CENTRE, two).hours == CENTRE["server_failure_hours"] / 2


def test_a_hall_that_a_decoder_does_not_fit_is_refused():
    bf16 = chip(CENTRE, "h100-bf16")
    with pytest.raises(SplitError, match="no split over 8 chips holds the weights"):
        hall(decoder("deepseek-v3"), bf16, 1, 8, (300.0, 200.0), 0.1)
    with pytest.raises(SplitError, match="tp 8 x pp 1 x ep 1 has no room for"):
        hall(decoder("deepseek-v3"), bf16, 1, 8, (300.0, 200.0), 0.1, (8, 0, 0))
    with pytest.raises(SplitError, match="takes 1 to 1000000 servers, not 0"):
        hall(decoder("llama-3-8b"), bf16, 0, 8, (300.0, 200.0), 0.1)


def test_a_simulation_goes_by_steps_or_by_rounds_as_its_size_says():
    made = hall(decoder("llama-2-70b"), chip(CENTRE, "h100-fp8"), 1, 8, (300.0, 200.0), 0.1)
    small, _ = load_of(None, 10.0, 0.01, (300.0, 200.0), 0.5, 0.0, 1)
    assert simulate(made, small, None, None, 1)[1] == 0
    large = Load(np.array([0.0, 60.0]), np.array([1000.0]), small.inputs, small.outputs)
    served, seconds = simulate(made, large, None, None, 1)
    assert seconds == 1
    assert served.waiting > 0


def test_a_day_of_a_large_hall_takes_thousands_of_rounds_of_few_operations():
    """Work is counted by rounds and replicas, not by queries: 60 rounds of 16,384 replicas."""
    made = Replica(decoder("llama-2-70b"), chip(CENTRE, "h100-fp8"), Split(tp=2, pp=4))
    batch = int(steady(made, 790.0, 500.0, 0.1).batch)
    load = poisson(4e5, 60, 790, 500, 0.8)
    found = serve_rounds(load, made, 16_384, batch, Failures(1000, 1))
    assert found.queries + found.waiting == pytest.approx(load.expected, rel=0.01)
    assert found.tokens > 0.5 * found.queries * 500
    assert found.failures > 0


def test_the_command_writes_its_figures(tmp_path):
    out = tmp_path / "a.json"
    line = ["cluster", "llama-3-8b", "--hours", "0.005", "--json", str(out), "--no-failures"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert found["queries"] > 0
    assert found["failures"] == 0
    assert found["split"]["tp"] * found["split"]["pp"] * found["split"]["dp"] == 8
    assert "every step an event" in done.output


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["llama-2-70b", "--tp", "3"], "64 heads cannot be split over tp 3 chips"),
        (["llama-2-70b", "--nodes", "3", "--tp", "16"], "24 chips are not a multiple of tp 16"),
        (["llama-9"], "no decoder 'llama-9'"),
        (["llama-3-8b", "--chip", "h1"], "no chip 'h1'; there are"),
        (["llama-3-8b", "--rate", "-1"], "rate: must be positive"),
        (["llama-3-8b", "--hours", "0"], "seconds: must be a positive number"),
        (["llama-3-8b", "--token-seconds", "0"], "token_seconds: must be a positive number"),
        (["llama-3-8b", "--token-seconds", "1e-9"], "no split over 8 chips"),
        (["llama-3-8b", "--trace", "none.csv"], "No such file"),
        (["llama-3-8b", "--trace", "none.csv", "--rate", "1"], "none with --trace"),
        (["llama-3-8b", "--json", "no/where.json"], "no such directory"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(options, rule, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["cluster", "--json", "a.json", *options])
    assert done.exit_code == 2, done.output
    assert len(done.output.strip().splitlines()) == 1, done.output
    assert re.search(rule, done.output)
    assert list(tmp_path.iterdir()) == []
