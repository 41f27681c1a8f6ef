"""``spu plan`` and ``spu plan-dags``: what they print and write, and what they refuse."""

import copy
import json
import re
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from runtime.plan.check import check
from runtime.plan.graph import from_json
from spu.command.main import app
from verif.stimulus.task_graphs import random_graph

RUN = CliRunner()
GRAPH = random_graph(1, 12, 3)


@pytest.fixture(autouse=True)
def few_moves(monkeypatch):
    """The whole search is that of ``test_plan``."""
    from runtime.plan import planner

    monkeypatch.setattr(planner, "MOST_WORK", 200_000)


def test_plan_prints_and_writes_one_plan(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(GRAPH))
    outputs = ["--json", str(tmp_path / "p.json"), "--svg", str(tmp_path / "p.svg")]
    result = RUN.invoke(app, ["plan", str(tmp_path / "g.json"), *outputs])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "p.json").read_text())
    check(from_json(GRAPH, "g"), found["schedule"], found["makespan"])
    assert f"makespan {found['makespan']:.6g} s" in result.output
    assert re.search(r"^n0 \|[a-zA-Z.]{72}\| +\d+ %$", result.output, re.MULTILINE)
    titles = [
        e.text for e in ElementTree.parse(tmp_path / "p.svg").iter() if e.tag.endswith("}title")
    ]
    assert len(titles) == len(GRAPH["tasks"])


def test_plan_simulates_a_run(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(GRAPH))
    line = ["plan", str(tmp_path / "g.json"), "--json", str(tmp_path / "p.json"), "--noise", "0.3"]
    result = RUN.invoke(app, [*line, "--lose", "n1=9", "--lose", "n2=1e9"])
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "p.json").read_text())["run"]
    assert f"simulated: {run['makespan']:.6g} s" in result.output
    assert {row[0] for row in run["schedule"]} == {task for task, _ in GRAPH["tasks"]}
    assert all(row[1] != "n1" or row[3] <= 9 for row in run["schedule"])
    assert run["makespan"] == max(row[3] for row in run["schedule"])


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--noise", "1"], "noise 1.0: must be at least 0 and below 1"),
        (["--noise", "nan"], "noise nan"),
        (["--lose", "n1"], "--lose n1: must be NODE=SECONDS"),
        (["--lose", "n1=-1"], "must be NODE=SECONDS, of 0 or more"),
        (["--lose", "n9=1"], "no such node; it has 'n0', 'n1', 'n2'"),
        (["--lose", "n1=1", "--lose", "n1=2"], "n1 is lost twice"),
        (["--lose", "n0=1", "--lose", "n1=1", "--lose", "n2=1"], "no node is left that can run it"),
    ],
)
def test_runs_that_cannot_be_are_a_line(options, rule, tmp_path):
    (tmp_path / "g.json").write_text(json.dumps(GRAPH))
    _refused(["plan", tmp_path / "g.json", "--json", tmp_path / "p.json", *options], rule)
    assert not (tmp_path / "p.json").exists()


def test_plan_dags_plans_every_graph(tmp_path):
    graphs = {f"g{n}": random_graph(n, 10, 3) for n in range(3)}
    (tmp_path / "g.json").write_text(json.dumps(graphs))
    line = ["plan-dags", str(tmp_path / "g.json"), "--json", str(tmp_path / "p.json")]
    result = RUN.invoke(app, line)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "p.json").read_text())
    assert list(found) == list(graphs)
    for name, each in found.items():
        check(from_json(graphs[name], name), each["schedule"], each["makespan"])
        assert each["lower_bound"] <= each["makespan"] <= each["heft"]
    assert re.search(r"HEFT: (0\.\d+|1\.0000) over 3 graphs", result.output)


def test_plan_asks_which_of_several(tmp_path):
    (tmp_path / "g.json").write_text(json.dumps({"one": GRAPH, "two": GRAPH}))
    _refused(["plan", tmp_path / "g.json"], "has 2 graphs; --graph says which")
    _refused(
        ["plan", tmp_path / "g.json", "--graph", "three"], "no such graph; it has 'one', 'two'"
    )
    assert RUN.invoke(app, ["plan", str(tmp_path / "g.json"), "--graph", "two"]).exit_code == 0


def _refused(line, rule):
    result = RUN.invoke(app, [str(part) for part in line])
    assert result.exit_code == 2, result.output
    assert re.search(rule, result.output), result.output
    assert len(result.output.strip().splitlines()) == 1, result.output


def _set(*path):
    *steps, last, value = path

    def change(graph):
        for step in steps:
            graph = graph[step]
        graph[last] = value

    return change


BAD = {
    "cycle": (lambda g: g["edges"].append(["t11", "t0", 1]), "-> .*: a cycle"),
    "loop": (lambda g: g["edges"].append(["t3", "t3", 1]), "'t3' -> 't3': a cycle"),
    "unknown task": (lambda g: g["edges"].append(["t1", "x", 1]), "unknown task 'x'"),
    "edge twice": (lambda g: g["edges"].append(g["edges"][0]), "edge .* is there twice"),
    "edge of two": (lambda g: g["edges"].append(["t1", "t2"]), "must be two tasks and bytes"),
    "negative size": (_set("edges", 0, 2, -1), "size of edge .* is -1; it must be finite and not"),
    "negative time": (_set("tasks", 2, 1, -0.5), "work of task 't2' is -0.5; it must be"),
    "NaN": (_set("tasks", 2, 1, float("nan")), "work of task 't2' is nan"),
    "infinite": (_set("links", 1, 2, float("inf")), "bandwidth of link .* is inf"),
    "huge": (_set("tasks", 2, 1, 10**400), "work of task 't2' is 1000"),
    "beyond": (
        lambda g: (_set("tasks", 2, 1, 1e308)(g), _set("nodes", 0, 1, 0.01)(g)),
        "must be from 1e-100",
    ),
    "text": (_set("tasks", 2, 1, "5"), "work of task 't2' is '5'; it must be a number"),
    "truth": (_set("tasks", 2, 1, True), "is True; it must be a number"),
    "name": (_set("tasks", 2, 0, 7), "must be a name and a number"),
    "no node": (_set("nodes", []), "node.*there are none"),
    "no task": (_set("tasks", []), "task.*there are none"),
    "no speed": (_set("nodes", 1, 1, 0), "speed of node 'n1' is 0"),
    "duplicate task": (_set("tasks", 2, 0, "t1"), "task 't1' is there twice"),
    "duplicate node": (_set("nodes", 2, 0, "n1"), "node 'n1' is there twice"),
    "runs nowhere": (_set("tasks", 2, 1, {}), "task 't2': no node can run it"),
    "runs on an unknown node": (_set("tasks", 2, 1, {"gpu": 1}), "unknown node 'gpu'"),
    "link missing": (lambda g: g["links"].pop(1), "'n0' and 'n1' have no link"),
    "link to nowhere": (_set("links", 1, 1, "n7"), "unknown node 'n7'"),
    "two links": (lambda g: g["links"].append(["n1", "n0", 99]), "twice, with different costs"),
    "latency": (lambda g: g["links"][1].append(-1), "latency of link .* is -1"),
    "no list": (_set("edges", {}), "'edges' must be a list"),
    "apart": (
        lambda g: (
            [link.__setitem__(2, 0) for link in g["links"]],
            _set("tasks", 0, 1, {"n0": 1})(g),
            [_set("tasks", t, 1, {"n1": 1})(g) for t in range(1, 12)],
        ),
        "no plan found; tasks need nodes that are not connected",
    ),
}


@pytest.mark.parametrize("change", BAD)
@pytest.mark.parametrize("command", ["plan", "plan-dags"])
def test_bad_graphs_are_a_line_and_leave_nothing(command, change, tmp_path):
    given = copy.deepcopy(GRAPH)
    BAD[change][0](given)
    (tmp_path / "g.json").write_text(json.dumps(given))
    _refused([command, tmp_path / "g.json", "--json", tmp_path / "p.json"], BAD[change][1])
    assert [p.name for p in tmp_path.iterdir()] == ["g.json"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "no JSON"),
        ("[]", "must be a task graph"),
        ("{}", "must be a task graph"),
        ('{"a": 1}', "a: must be an object"),
        ('{"a": {}, "a": {}}', "'a' is there twice"),
        ("[" * 100_000, "no JSON"),
        ("\udcff", "no JSON"),
    ],
)
def test_bad_files_are_a_line(text, rule, tmp_path):
    (tmp_path / "g.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    _refused(["plan", tmp_path / "g.json"], rule)


def test_outputs_do_not_overwrite_what_is_read_nor_each_other(tmp_path):
    path = tmp_path / "g.json"
    path.write_text(json.dumps(GRAPH))
    _refused(["plan", path, "--json", path], "is read, and would be overwritten")
    _refused(["plan", path, "--json", tmp_path / "x", "--svg", tmp_path / "x"], "two outputs")
    _refused(["plan", tmp_path / "none.json"], "No such file")
