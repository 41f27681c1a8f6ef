"""The scheduler's loop in simulated worlds: noise, losses, nodes that join."""

import numpy as np
import pytest

from runtime.loop import Loop, Stranded
from runtime.noise import clairvoyant, compare
from runtime.plan.check import check
from runtime.plan.graph import from_json
from runtime.plan.planner import plan
from runtime.world import Simulated, noisy
from spu.arch.errors import UserError
from verif.stimulus.task_graphs import random_graph


def _graph(seed, tasks=16, nodes=3, traffic=0.5):
    return from_json(random_graph(seed, tasks, nodes, traffic=traffic), f"random{seed}")


def _plan(graph):
    return plan(graph, rounds=1, moves=2000)


def _rows(trace, graph):
    """Rows of a trace as those of a plan."""
    return [
        (graph.tasks[task], graph.nodes[node], start, end)
        for task, node, start, end, kept in trace.rows
        if kept
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_world_without_surprises_runs_the_plan(seed):
    graph = _graph(seed)
    first = _plan(graph)
    kept = Loop(graph, Simulated(graph), first, adapt=False).run()
    assert kept.makespan == pytest.approx(first.makespan, rel=1e-9)
    assert kept.replans == []
    adapted = Loop(graph, Simulated(graph), first).run()
    check(graph, _rows(adapted, graph), adapted.makespan)
    assert adapted.makespan <= first.makespan * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("by_node", [False, True])
def test_runs_with_noise_are_plans_of_the_true_times(seed, by_node):
    graph = _graph(seed)
    truth = noisy(graph, np.random.default_rng(seed), 0.3, by_node)
    assert (np.abs(truth.times / graph.times - 1) <= 0.3).all()
    trace = Loop(graph, Simulated(truth), _plan(graph)).run()
    check(truth, _rows(trace, graph), trace.makespan)
    assert trace.replans


@pytest.mark.parametrize("seed", range(8))
def test_a_lost_node_runs_nothing_more_and_all_tasks_end(seed):
    graph = _graph(seed, traffic=0.2 + seed / 4)
    first = _plan(graph)
    node = int(first.node[seed])
    at = 0.5 * first.makespan
    trace = Loop(graph, Simulated(graph, {node: at}), first).run()
    assert {task for task, *_, kept in trace.rows if kept} == set(range(len(graph.tasks)))
    for _, on, start, end, kept in trace.rows:
        assert on != node or (start < at and (end <= at or not kept))
    ended = {}
    for task, _, start, end, kept in sorted(trace.rows, key=lambda row: row[3]):
        # A task begins after all its sources have ended once, on whichever node.
        assert all(ended[a] <= start for a, b, _ in graph.edges if b == task), graph.tasks[task]
        if kept or end < at:
            ended.setdefault(task, end)


def test_what_is_lost_with_all_its_holders_is_computed_again():
    given = {
        "tasks": [["a", 1], ["b", 1], ["c", 10]],
        "edges": [["a", "b", 100], ["b", "c", 100]],
        "nodes": [["fast", 1], ["slow", 0.5]],
        "links": [["fast", "slow", 1]],
    }
    graph = from_json(given, "chain")
    first = _plan(graph)
    assert set(first.node) == {0}
    trace = Loop(graph, Simulated(graph, {0: 5.0}), first).run()
    # Copies take 100 s: at 5 s nothing but the node itself has them.
    assert trace.again == 2
    assert trace.makespan == 5 + (1 + 1 + 10) / 0.5
    assert [row[4] for row in trace.rows] == [False, False, False, True, True, True]


def test_a_second_holder_saves_what_a_lost_node_made():
    given = {
        "tasks": [["a", 8], ["b", 8]],
        "edges": [["a", "b", 1]],
        "nodes": [["fast", 1], ["slow", 0.5], ["slower", 0.4]],
        "links": [["fast", "slow", 1], ["fast", "slower", 10], ["slow", "slower", 10]],
    }
    graph = from_json(given, "chain")
    trace = Loop(graph, Simulated(graph, {0: 10.0}), _plan(graph)).run()
    # ``slower`` holds the data from 8.1 s on; they are at ``slow`` at 10.1.
    assert trace.again == 0
    assert trace.makespan == pytest.approx(10.1 + 16)


def test_tasks_without_a_node_are_named():
    graph = _graph(1, nodes=2)
    with pytest.raises(Stranded, match=r"task 't\d+': no node is left that can run it"):
        Loop(graph, Simulated(graph, {0: 1.0, 1: 2.0}), _plan(graph)).run()


def test_a_node_that_joins_is_used():
    graph = _graph(2, tasks=40, nodes=3, traffic=0.1)
    first = _plan(graph)
    fastest = int(graph.times.sum(axis=0).argmin())
    alone = Loop(graph, Simulated(graph, joined={fastest: 1e9}), first, absent=(fastest,)).run()
    joined = Loop(graph, Simulated(graph, joined={fastest: 5.0}), first, absent=(fastest,)).run()
    assert joined.makespan < alone.makespan
    assert all(start >= 5 for _, node, start, *_ in joined.rows if node == fastest)
    assert any(node == fastest for _, node, *_ in joined.rows)


def test_all_may_wait_for_a_node_that_joins():
    given = {"tasks": [["a", 1]], "edges": [], "nodes": [["n", 1]], "links": []}
    graph = from_json(given, "one")
    assert Loop(graph, Simulated(graph, joined={0: 3.0}), absent=(0,)).run().makespan == 4


def test_the_same_run_is_the_same():
    graph = _graph(4, 30, 4)
    truth = noisy(graph, np.random.default_rng(1), 0.3, False)
    runs = [Loop(graph, Simulated(truth, {1: 9.0}), _plan(graph)).run().rows for _ in range(2)]
    assert runs[0] == runs[1]


def test_adapting_is_worth_it_and_the_clairvoyant_is_not_beaten():
    found = [compare(_graph(seed, 24, 4), seed, 0.3, False, 0.02) for seed in range(8)]
    ratios = [run.adapted / run.clairvoyant for run in found]
    assert min(ratios) > 0.999
    assert np.median(ratios) < 1.1
    assert sum(run.adapted for run in found) < sum(run.kept for run in found)


def test_the_clairvoyant_keeps_off_a_node_before_it_is_lost():
    given = {
        "tasks": [["a", 4]],
        "edges": [],
        "nodes": [["n", 2], ["m", 1]],
        "links": [["n", "m", 1]],
    }
    graph = from_json(given, "one")
    assert clairvoyant(graph, np.array([2.0, np.inf]), 0) == 2
    assert clairvoyant(graph, np.array([1.9, np.inf]), 0) == 4


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda g: Simulated(g, {7: 1.0}), "node 7: there are 3"),
        (lambda g: Simulated(g, {0: -1.0}), "must be finite and not negative"),
        (lambda g: Simulated(g, joined={0: float("nan")}), "must be finite"),
        (lambda g: noisy(g, np.random.default_rng(0), 1.0, False), "noise 1.0: must be"),
        (lambda g: noisy(g, np.random.default_rng(0), float("nan"), False), "noise nan"),
    ],
)
def test_worlds_that_cannot_be_are_refused(make, rule):
    with pytest.raises(UserError, match=rule):
        make(_graph(0))
