"""Plans of task graphs: checked by other code, never worse than HEFT, the same everywhere."""

import json
import math
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from runtime.plan import bounds, heuristics
from runtime.plan.check import check
from runtime.plan.graph import from_json
from runtime.plan.planner import plan
from runtime.plan.problem import problem_of
from spu.arch.errors import CheckFailed
from verif.stimulus.task_graphs import random_graph

ROOT = Path(__file__).parents[3]
#: Of Topcuoglu et al. 2002, figure 4: times of ten tasks on three processors, and edges.
TIMES = (
    (14, 16, 9),
    (13, 19, 18),
    (11, 13, 19),
    (13, 8, 17),
    (12, 13, 10),
    (13, 16, 9),
    (7, 15, 11),
    (5, 11, 14),
    (18, 12, 20),
    (21, 7, 16),
)
EDGES = (
    (1, 2, 18),
    (1, 3, 12),
    (1, 4, 9),
    (1, 5, 11),
    (1, 6, 14),
    (2, 8, 19),
    (2, 9, 16),
    (3, 7, 23),
    (4, 8, 27),
    (4, 9, 23),
    (5, 9, 13),
    (6, 8, 15),
    (7, 10, 17),
    (8, 10, 11),
    (9, 10, 13),
)
PAPER = {
    "tasks": [
        [f"n{t + 1}", {f"P{p + 1}": x for p, x in enumerate(row)}] for t, row in enumerate(TIMES)
    ],
    "edges": [[f"n{a}", f"n{b}", size] for a, b, size in EDGES],
    "nodes": [["P1", 1], ["P2", 1], ["P3", 1]],
    "links": [["P1", "P2", 1], ["P1", "P3", 1], ["P2", "P3", 1]],
}


def _brute(graph):
    """The least makespan of all orders and nodes."""
    tasks, best = range(len(graph.tasks)), math.inf
    orders = [
        o for o in permutations(tasks) if all(o.index(a) < o.index(b) for a, b, _ in graph.edges)
    ]
    for node in product(range(len(graph.nodes)), repeat=len(tasks)):
        for order in orders:
            free, end = [0.0] * len(graph.nodes), {}
            for t in order:
                p = node[t]
                came = [end[a] + graph.transfer(s, node[a], p) for a, b, s in graph.edges if b == t]
                free[p] = end[t] = max([free[p], *came]) + graph.times[t, p]
            best = min(best, max(end.values()))
    return best


def test_heft_has_the_ranks_and_the_makespan_of_its_paper():
    graph = from_json(PAPER, "paper")
    ranks = heuristics.Ranks(graph)
    want = (108.000, 77.000, 80.000, 80.000, 69.000, 63.333, 42.667, 35.667, 44.333, 14.667)
    assert ranks.upward(ranks.mean) == pytest.approx(want, abs=1e-3)
    assert plan(graph, rounds=0).heft == 80


def test_the_optimistic_costs_are_those_of_a_path_by_hand():
    graph = from_json(PAPER, "paper")
    table = heuristics.Ranks(graph).optimistic()
    assert table[9].tolist() == [0, 0, 0]
    # n8 to n10: 21, 7, 16 where it stays, 7 + 11 from P1 and 7 from P2, 16 from P3.
    assert table[7].tolist() == [18, 7, 16]


@pytest.mark.parametrize("seed", range(12))
def test_plans_are_plans_between_the_bound_and_heft(seed):
    given = random_graph(seed, tasks=6 + 4 * seed, nodes=1 + seed % 6, traffic=0.3 * (seed % 4))
    graph = from_json(given, given["name"])
    made = plan(graph, rounds=1, moves=3000)
    check(graph, made.rows(), made.makespan)
    assert made.lower * (1 - 1e-12) <= made.makespan <= made.heft


@pytest.mark.parametrize("seed", range(4))
def test_small_plans_are_the_best_of_all(seed):
    graph = from_json(random_graph(seed, tasks=5, nodes=2, chance=0.5), "small")
    assert plan(graph).makespan == pytest.approx(_brute(graph), rel=1e-12)


def test_the_bound_is_below_the_best_of_all_on_unrelated_nodes():
    for seed in range(4):
        given = random_graph(seed, tasks=5, nodes=2)
        rng = np.random.default_rng(seed)
        for row in given["tasks"]:
            row[1] = {f"n{p}": float(x) for p, x in enumerate(rng.uniform(1, 9, 2))}
        graph = from_json(given, "unrelated")
        best = _brute(graph)
        assert bounds.lower_bound(graph) <= best * (1 + 1e-12)
        assert plan(graph).makespan == pytest.approx(best)


def test_every_rule_makes_a_plan():
    graph = from_json(random_graph(5), "rules")
    problem, names = problem_of(graph), []
    for name, priority, ahead in heuristics.rules(heuristics.Ranks(graph)):
        span, node, start, end = heuristics.schedule(problem, priority, ahead)
        rows = zip(graph.tasks, (graph.nodes[p] for p in node), start, end, strict=True)
        check(graph, rows, span)
        names.append(name)
    assert names[:2] == ["HEFT", "PEFT"]
    assert "single node" in names


PURE = """
import json, sys
if sys.argv[2] == "without":
    for name in ("numba", "llvmlite"):
        sys.modules[name] = None
from runtime.plan.graph import from_json
from runtime.plan.planner import plan
print(json.dumps([plan(from_json(g, g["name"]), rounds=1, moves=400).details()
                  for g in json.loads(sys.argv[1])]))
assert ("numba" in sys.modules and sys.modules["numba"] is not None) == (sys.argv[2] == "with")
"""


def test_plans_are_the_same_without_numba():
    graphs = json.dumps([random_graph(1, 12, 3, traffic=0.2), random_graph(3, 12)])
    found = [
        subprocess.run(
            [sys.executable, "-c", PURE, graphs, way],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        for way in ("with", "without")
    ]
    assert found[0] == found[1]
    assert "annealing" in found[0]


def test_seeds_change_the_search_and_equal_ones_do_not():
    graph = from_json(random_graph(3, 60), "seeds")
    spans = [plan(graph, seed, rounds=1, moves=2000) for seed in (0, 0, 7)]
    assert spans[0].rows() == spans[1].rows() != spans[2].rows()


def test_plans_cross_no_gap_between_nodes_that_are_not_connected():
    given = random_graph(2, 12, 4)
    for link in given["links"]:
        if (link[0] in ("n0", "n1")) != (link[1] in ("n0", "n1")):
            link[2] = 0
    graph = from_json(given, "islands")
    made = plan(graph, rounds=1, moves=1000)
    check(graph, made.rows(), made.makespan)
    assert {graph.nodes[p] for p in made.node} in ({"n0", "n1"}, {"n2", "n3"}, {"n0"}, {"n2"})


def _rows(change):
    graph = from_json(PAPER, "paper")
    made = plan(graph, rounds=0)
    rows = {task: [task, node, start, end] for task, node, start, end in made.rows()}
    change(rows)
    return graph, list(rows.values()), made.makespan


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda rows: rows.pop("n4"), "'n4' is not planned"),
        (lambda rows: rows.update(x=rows["n4"]), "'n4' is planned twice"),
        (lambda rows: rows["n4"].__setitem__(1, "P9"), "is no node"),
        (lambda rows: rows["n4"].__setitem__(3, 1e3), "its time is"),
        (lambda rows: rows["n4"].__setitem__(2, math.nan), "its time is"),
        (lambda rows: rows["n10"].__setitem__(slice(2, 4), [60, 67]), "before what"),
        (lambda rows: rows["n1"].__setitem__(slice(2, 4), [-9, 0]), "its time is"),
        (
            lambda rows: rows["n4"].__setitem__(slice(1, 4), [rows["n3"][1], 30, 47]),
            "at once|before what",
        ),
    ],
)
def test_the_checker_finds_what_is_wrong(change, rule):
    graph, rows, makespan = _rows(change)
    with pytest.raises(CheckFailed, match=rule):
        check(graph, rows, makespan)


def test_the_checker_finds_two_at_once_and_a_wrong_makespan():
    given = {"tasks": [["a", 2], ["b", 2]], "edges": [], "nodes": [["n", 1]], "links": []}
    graph = from_json(given, "two")
    with pytest.raises(CheckFailed, match="'n' runs 'a' and 'b' at once"):
        check(graph, [("a", "n", 0, 2), ("b", "n", 1, 3)], 3)
    with pytest.raises(CheckFailed, match="makespan is not 3"):
        check(graph, [("a", "n", 0, 2), ("b", "n", 2, 4)], 3)
