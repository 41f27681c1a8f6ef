"""Fleets under a load: every task runs, policies differ as they should, bad fleets are a line."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.fleet import policies
from runtime.fleet.fleet import Load, draw, example, from_json
from runtime.fleet.policies import POLICIES
from runtime.fleet.simulate import LEASE, simulate
from runtime.fleet.study import compare
from spu.command.main import app

RUN = CliRunner()
FLEET = example(256)


def _load(arrival, churn=()):
    count = len(arrival)
    zeros = np.zeros(count, np.int64)
    return Load(np.array(arrival, float), zeros, zeros, np.ones(count), list(churn))


def _one_kind(nodes):
    return from_json(
        {"kinds": {"n": nodes}, "classes": {"c": {"share": 1, "times": {"n": 2.0}}}}, "one kind"
    )


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "static"])
def test_two_nodes_by_hand(policy):
    found = simulate(_one_kind(2), _load([0, 0, 0, 1]), policy)
    assert found.tasks == 4
    # Whichever nodes they wait at: 8 s of work on two nodes.
    assert found.seconds in ((4.0,) if policy in ("planned", "dask", "round robin") else (4, 6, 8))
    assert found.utilisation == pytest.approx(8 / (2 * found.seconds))


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "static"])
def test_a_failure_costs_the_run_and_a_lease(policy):
    found = simulate(_one_kind(1), _load([0], [(1.5, 0, "fail"), (1.75, 0, "join")]), policy)
    assert found.again == 1
    assert found.seconds == 1.5 + LEASE + 2
    assert found.utilisation == pytest.approx(2 / (1.5 + (found.seconds - 1.75)))


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "static"])
def test_a_node_that_leaves_ends_what_it_runs_and_takes_nothing_more(policy):
    load = _load([0, 0], [(0.5, 0, "leave"), (5.0, 0, "join")])
    found = simulate(_one_kind(1), load, policy)
    assert (found.again, found.seconds) == (0, 7.0)
    assert found.utilisation == pytest.approx(4 / (2 + 2))


@pytest.mark.parametrize("policy", [p for p in POLICIES if p != "static"])
def test_a_node_that_comes_with_work_waiting_is_not_idle(policy):
    load = _load([1, 2.5], [(0.5, 0, "leave"), (2.0, 0, "join")])
    found = simulate(_one_kind(1), load, policy)
    assert found.seconds == 6.0
    assert found.p99 == pytest.approx(3.495)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_task_runs_once_and_ends_in_its_time(policy, monkeypatch):
    """By the calls of the policy alone: starts of tasks, one at a time on a node that can."""
    load, started = draw(FLEET, 3000, 0.8, 0.05, seed=3), []

    class Watched(POLICIES[policy]):
        def place(self, task, now):
            if (node := super().place(task, now)) >= 0:
                started.append((now, task, node))
            return node

        def take(self, node, now):
            if (task := super().take(node, now)) >= 0:
                started.append((now, task, node))
            return task

    monkeypatch.setitem(policies.POLICIES, policy, Watched)
    found = simulate(FLEET, load, policy)
    kind = np.repeat(np.arange(len(FLEET.kinds)), list(FLEET.kinds.values()))
    assert len(started) == 3000 + found.again
    assert {task for _, task, _ in started} == set(range(3000))
    fails = {}
    for time, node, what in load.churn:
        if what == "fail":
            fails.setdefault(node, []).append(time)
    until = {}
    for now, task, node in started:
        time = FLEET.times[load.group[task], kind[node]] * load.factor[task]
        assert np.isfinite(time)
        assert now >= load.arrival[task]
        assert now >= until.get(node, 0) - 1e-9
        until[node] = min([now + time, *(t for t in fails.get(node, []) if t >= now)])
    assert max(until.values()) == pytest.approx(found.seconds)


def test_policies_in_order_on_a_mixed_fleet():
    rows = {row.policy: row for row in compare(FLEET, 12_000, 0.7, 0.02, 0.25, 0.3, 0)}
    planned = rows["planned"]
    assert planned.p99_churn <= 1.2 * planned.p99
    assert planned.p99 < rows["dask"].p99 < rows["round robin"].p99
    # One owner has two thirds of the tasks and an eighth of the nodes.
    assert rows["static"].batch_utilisation < 0.2
    assert planned.batch_utilisation > 0.8
    assert planned.batch_seconds < min(r.batch_seconds for r in rows.values() if r is not planned)
    assert planned.again > 0


def test_the_capacity_is_that_of_a_mix_by_hand():
    assert _one_kind(6).capacity == pytest.approx(3.0)
    given = {
        "kinds": {"a": 2, "b": 1},
        "classes": {"x": {"share": 1, "times": {"a": 1.0}}, "y": {"share": 1, "times": {"b": 2.0}}},
    }
    # Of two tasks, one needs half a second of all a, the other two of all b.
    assert from_json(given, "two kinds").capacity == pytest.approx(1.0, rel=0.02)
    load = draw(FLEET, 4000, 0.5)
    assert load.arrival[-1] * FLEET.capacity * 0.5 == pytest.approx(4000, rel=0.1)


@pytest.mark.parametrize("churn", [0.01, 0.25])
def test_as_many_nodes_go_as_are_asked_for_and_come_again_in_two_seconds(churn):
    load = draw(FLEET, 20_000, 0.5, churn)
    went = {}
    gone = 0
    for time, node, what in load.churn:
        if what == "join":
            assert time == pytest.approx(went.pop(node) + 2.0)
        else:
            assert node not in went
            went[node], gone = time, gone + 1
    assert not went
    asked = churn * FLEET.nodes * load.arrival[-1]
    assert gone == pytest.approx(asked, abs=4 * asked**0.5)


def test_equal_seeds_are_equal():
    load = draw(FLEET, 2000, 0.7, 0.02)
    results = [simulate(FLEET, load, "random") for _ in range(2)]
    assert results[0] == replace(results[1], decisions_per_second=results[0].decisions_per_second)


def test_the_command_prints_and_writes_all_policies(tmp_path):
    line = ["fleet", "--nodes", "128", "--tasks", "2000", "--json", str(tmp_path / "f.json")]
    result = RUN.invoke(app, line)
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "f.json").read_text())
    assert [row["policy"] for row in rows] == list(POLICIES)
    assert "128 nodes, 2000 tasks" in result.output


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"kinds": {}}, "'kinds' must be an object, not empty"),
        ({"kinds": {"n": -1}}, "kind 'n': -1 nodes"),
        ({"kinds": {"n": 1.5}}, "kind 'n': 1.5 nodes"),
        ({"kinds": {"n": 0}}, "has no node"),
        ({"classes": {"c": 1}}, "class 'c': must have a share and times"),
        ({"classes": {"c": {"share": 1, "times": {"x": 1}}}}, "unknown kind 'x'"),
        ({"classes": {"c": {"share": 1, "times": {"n": 0}}}}, "time on 'n' is 0"),
        ({"classes": {"c": {"share": float("nan"), "times": {"n": 1}}}}, "share is nan"),
        ({"classes": {"c": {"share": 1, "times": {}}}}, "no node can run it"),
    ],
)
def test_bad_fleets_are_a_line(change, rule, tmp_path):
    given = {"kinds": {"n": 9}, "classes": {"c": {"share": 1, "times": {"n": 1}}}, **change}
    (tmp_path / "f.json").write_text(json.dumps(given))
    _refused([tmp_path / "f.json", "--json", tmp_path / "o.json"], rule)
    assert not (tmp_path / "o.json").exists()


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (["--nodes", "8"], "8 nodes: the example has at least 64"),
        (["--load", "0"], "load 0.0: must be above 0"),
        (["--load", "nan"], "load nan"),
        (["--churn", "0.3"], "churn must be 0 to 0.25"),
        (["--noise", "-0.1"], "churn must be 0 to 0.25"),
        (["--tasks", "0"], "tasks"),
        (["none.json"], "No such file"),
    ],
)
def test_bad_options_are_a_line(line, rule):
    _refused(line, rule)


def _refused(line, rule):
    result = RUN.invoke(app, ["fleet", *map(str, line)])
    assert result.exit_code == 2, result.output
    assert re.search(rule, result.output), result.output
    assert len(result.output.strip().splitlines()) == 1, result.output
