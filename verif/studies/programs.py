"""Plans, runs with noise and fleets: ``make programs`` writes ``build/programs.json``.

``DAGS=FILE`` has task graphs in the form of ``spu plan-dags``; without, they are made from seeds.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from runtime.fleet.fleet import example
from runtime.fleet.study import compare as compare_policies
from runtime.noise import Run
from runtime.noise import compare as compare_runs
from runtime.plan.check import check
from runtime.plan.graph import TaskGraph, from_json, load
from runtime.plan.planner import Plan, plan
from spu.arch.files import replace_file
from verif.stimulus.task_graphs import random_graph

OUT = Path("build/programs.json")
#: Graphs without ``DAGS``: seed, tasks, nodes, seconds of a transfer in those of a task.
GRAPHS = (
    (0, 8, 3, 0.5),
    (1, 12, 4, 1.0),
    (2, 16, 8, 0.1),
    (3, 24, 4, 0.5),
    (4, 40, 6, 0.3),
    (5, 80, 4, 0.2),
)
#: Share by which times differ; processor seconds of the clairvoyant, and where the case is harder.
NOISE, HARDER = 0.3, 1.0
#: Nodes, tasks and rate of the fleet, share of nodes that go a second and of those that fail.
FLEET = {"nodes": 16384, "tasks": 200_000, "load": 0.7, "churn": 0.01, "failures": 0.25}


def graphs(path: Path | None) -> list[TaskGraph]:
    """Those of a file, or those of ``GRAPHS``."""
    if path:
        return [from_json(given, name) for name, given in load(path).items()]
    made = [random_graph(s, tasks, nodes, traffic=t) for s, tasks, nodes, t in GRAPHS]
    return [from_json(each, each["name"]) for each in made]


def geomean(values: Iterable[float]) -> float:
    """Geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def scheduling(given: Sequence[TaskGraph]) -> tuple[list[dict[str, Any]], list[Plan], float]:
    """A row for each graph, its plan, and the processor seconds that the first call takes more."""
    start = time.process_time()
    plan(given[0])
    cold = time.process_time() - start
    rows: list[dict[str, Any]] = []
    plans: list[Plan] = []
    first = math.nan
    for graph in given:
        start = time.process_time()
        made = plan(graph)
        seconds = time.process_time() - start
        check(graph, made.rows(), made.makespan)
        first = seconds if not plans else first
        plans.append(made)
        rows.append(
            {
                "graph": graph.name,
                "heft": made.heft,
                "makespan": made.makespan,
                "lower_bound": made.lower,
                "seconds": seconds,
            }
        )
    return rows, plans, cold - first


def summary(runs: Sequence[Run], seconds: float) -> dict[str, Any]:
    """Of runs with noise: makespans as ratios to the clairvoyant's."""
    ratios = [run.adapted / run.clairvoyant for run in runs]
    return {
        "runs": len(runs),
        "clairvoyant_seconds": seconds,
        "geomean": geomean(ratios),
        "median": statistics.median(ratios),
        "within_10_percent": statistics.fmean(ratio <= 1.1 for ratio in ratios),
        "not_adapted_geomean": geomean(run.kept / run.clairvoyant for run in runs),
        "replan_median_ms": 1e3 * statistics.median(s for r in runs for s in r.replans or [0.0]),
    }


def noise(
    given: Sequence[TaskGraph], plans: Sequence[Plan], count: int, seconds: float, console: Console
) -> dict[str, Any]:
    """Runs with a factor of time for each task and any node lost; and harder ones beside."""

    def runs(by_node: bool, lose: Any, spent: float) -> dict[str, Any]:
        found = []
        for graph, first in zip(given, plans, strict=True):
            for seed in range(count):
                with console.status(f"{graph.name}, run {seed}"):
                    run = compare_runs(graph, seed, NOISE, by_node, spent, first, lose)
                if math.isfinite(run.clairvoyant):
                    found.append(run)
        return summary(found, spent)

    harder = min(seconds, HARDER)
    return {
        "noise": NOISE,
        **runs(False, "any", seconds),
        "none_lost": runs(False, "none", harder),
        "a_used_node_lost": runs(False, "used", harder),
        "a_factor_for_each_task_and_node": runs(True, "any", harder),
    }


def fleet(nodes: int, tasks: int) -> list[dict[str, Any]]:
    """A row for each policy: ``utilisation`` and ``p99`` of tasks that come over time, with churn
    and without, and ``batch_utilisation`` of the same tasks all at once."""
    rows = compare_policies(
        example(nodes), tasks, FLEET["load"], FLEET["churn"], FLEET["failures"], NOISE, 0
    )
    return [
        {
            "policy": row.policy,
            "nodes": row.nodes,
            "utilisation": row.utilisation_churn,
            "p99": row.p99_churn,
            "p99_without_churn": row.p99,
            "decisions_per_second": row.decisions_per_second,
            "batch_utilisation": row.batch_utilisation,
            "batch_seconds": row.batch_seconds,
        }
        for row in rows
    ]


def main() -> None:
    """All of it into a file, a summary on the screen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dags", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=2, help="runs with noise of each graph")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the clairvoyant, each run")
    parser.add_argument("--nodes", type=int, default=FLEET["nodes"])
    parser.add_argument("--tasks", type=int, default=FLEET["tasks"])
    parser.add_argument("--json", type=Path, default=OUT)
    options = parser.parse_args()
    console, given = Console(), graphs(options.dags)
    rows, plans, cold = scheduling(given)
    ratios = [row["makespan"] / row["heft"] for row in rows if math.isfinite(row["heft"])]
    console.print(
        f"{len(rows)} plans, checked: {geomean(ratios):.4f} of HEFT's makespan, "
        f"{max(ratios):.4f} at most; {statistics.median(r['seconds'] for r in rows):.3f} s of a "
        f"processor at the median, {cold:.1f} s once to load or compile"
    )
    found = noise(given, plans, options.runs, options.seconds, console)
    for name, each in [("any node lost", found), *found.items()]:
        if isinstance(each, dict):
            console.print(
                f"noise {NOISE:g}, {name.replace('_', ' ')}: {each['geomean']:.3f} of the "
                f"clairvoyant ({each['not_adapted_geomean']:.3f} not adapted), "
                f"median {each['median']:.3f}, "
                f"{100 * each['within_10_percent']:.0f} % within 10 %, "
                f"plans again in {each['replan_median_ms']:.2f} ms; {each['runs']} runs"
            )
    with console.status("fleet"):
        policies = fleet(options.nodes, options.tasks)
    for row in policies:
        console.print(
            f"{row['policy']}: {row['nodes']} nodes, p99 {row['p99']:.3f} s "
            f"({row['p99'] / row['p99_without_churn']:.2f} times that without churn), "
            f"{row['decisions_per_second']:,.0f} decisions/s; all at once "
            f"{100 * row['batch_utilisation']:.0f} % used, {row['batch_seconds']:.1f} s"
        )
    content = json.dumps(
        {"scheduling": rows, "compile_seconds": cold, "noise": found, "fleet": policies}, indent=1
    )
    replace_file(options.json, lambda sink: sink.write(content.encode() + b"\n"))
    console.print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
