"""``spu plan`` and ``spu plan-dags``: plans of task graphs."""

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from runtime.plan.graph import TaskGraph
from spu.arch.files import Writer, check_file, replace_files
from spu.command.common import BadInput, about, check_kept, working
from spu.command.tables import show, table

Seed = Annotated[
    int, typer.Option(min=0, max=(1 << 32) - 1, help="Seed of the annealing's random numbers.")
]
FILE = "Task graphs, JSON: tasks, edges, nodes and links (docs/runtime.md)."


def plan_command(
    file: Annotated[Path, typer.Argument(help=FILE)],
    graph: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which graph, where the file has several.")
    ] = None,
    seed: Seed = 0,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="PATH", help="Write the plan as JSON.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write a picture of the plan.")
    ] = None,
    noise: Annotated[
        float,
        typer.Option(help="Simulate a run: times differ by up to this share, drawn by --seed."),
    ] = 0.0,
    lose: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE=SECONDS", help="Simulate a run in which a node is lost."),
    ] = None,
) -> None:
    """Plan a task graph on nodes of different speeds: who does what, when.

    Example: spu plan graph.json --svg plan.svg
    """
    from runtime import show as pictures
    from runtime.plan.check import check
    from runtime.plan.graph import from_json, load
    from runtime.plan.planner import plan
    from runtime.simulate import simulate

    outputs = [path for path in (as_json, svg) if path]
    check_outputs(outputs, file)
    graphs = load(file)
    if graph is None and len(graphs) > 1:
        raise BadInput(
            f"{file}: has {len(graphs)} graphs; --graph says which, spu plan-dags plans all"
        )
    name = next(iter(graphs)) if graph is None else graph
    if name not in graphs:
        raise BadInput(f"--graph {name}: {file} has no such graph; it has {_some(graphs)}")
    with working("planning"):
        with about(file):
            made = plan(from_json(graphs[name], name), seed)
        check(made.graph, made.rows(), made.makespan)
        run = (
            simulate(made, seed, noise, _losses(lose or [], made.graph)) if noise or lose else None
        )
    writers: dict[Path, Writer] = {}
    if as_json:
        more = {"run": run.details()} if run else {}
        details = json.dumps({"name": name, **made.details(), **more}, indent=1) + "\n"
        writers[as_json] = lambda sink: sink.write(details.encode())
    if svg:
        writers[svg] = lambda sink: sink.write(pictures.svg(made).encode())
    replace_files(writers)
    print(pictures.summary(made))
    print(pictures.gantt(made), end="")
    rows = [
        (pictures.SIGNS[n % len(pictures.SIGNS)], task, node, f"{start:.6g}", f"{end:.6g}")
        for n, (task, node, start, end) in enumerate(made.rows())
    ]
    show(table("", ("", "task", "node", "start", "end"), rows))
    if run:
        print(pictures.ran(run))
        print(pictures.gantt(run.plan), end="")


def plan_dags(
    file: Annotated[Path, typer.Argument(help=FILE)],
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="PATH", help="Write the plans as JSON.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Plan every task graph of a file, and compare with HEFT.

    Example: spu plan-dags graphs.json --json plans.json
    """
    from runtime.plan.check import check
    from runtime.plan.graph import from_json, load
    from runtime.plan.planner import plan

    check_outputs([as_json] if as_json else [], file)
    read = load(file)
    with about(file):
        graphs = [from_json(given, name) for name, given in read.items()]
    plans, rows, ratios = {}, [], []
    with working("planning") as progress:
        for number, each in enumerate(graphs):
            progress(f"{each.name} ({number} of {len(graphs)} done)")
            start = time.process_time()
            with about(file):
                made = plan(each, seed)
            seconds = time.process_time() - start
            check(each, made.rows(), made.makespan)
            plans[each.name] = made.details()
            ratio = made.makespan / made.heft if made.heft else 1.0
            if math.isfinite(made.heft):
                ratios.append(ratio or 1.0)
            figures = (made.heft, made.makespan, made.lower)
            rows.append(
                (
                    each.name,
                    len(each.tasks),
                    len(each.nodes),
                    *(f"{figure:.6g}" for figure in figures),
                    f"{ratio:.4f}",
                    f"{seconds:.3f}",
                )
            )
    if as_json:
        content = json.dumps(plans, indent=1) + "\n"
        replace_files({as_json: lambda sink: sink.write(content.encode())})
    head = ("graph", "tasks", "nodes", "HEFT", "makespan", "lower bound", "of HEFT", "processor s")
    show(table("", head, rows))
    if ratios:
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        print(f"geometric mean of makespan / HEFT: {mean:.4f} over {len(ratios)} graphs")


def _losses(given: list[str], graph: TaskGraph) -> dict[int, float]:
    """Seconds by number of node, of ``--lose``."""
    found: dict[int, float] = {}
    for each in given:
        node, _, seconds = each.rpartition("=")
        try:
            time = float(seconds)
        except ValueError:
            time = math.nan
        if not (math.isfinite(time) and time >= 0):
            raise BadInput(f"--lose {each}: must be NODE=SECONDS, of 0 or more")
        if node not in graph.nodes:
            raise BadInput(
                f"--lose {each}: {graph.name} has no such node; it has {_some(graph.nodes)}"
            )
        if graph.nodes.index(node) in found:
            raise BadInput(f"--lose {each}: {node} is lost twice")
        found[graph.nodes.index(node)] = time
    return found


def check_outputs(outputs: list[Path], file: Path) -> None:
    """Raise ``BadInput`` or ``OSError`` unless outputs can be written and are not what is read."""
    for path in outputs:
        check_file(path)
    check_kept(outputs, (file,))
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise BadInput(f"{outputs[0]}: two outputs, which need different names")


def _some(names: Iterable[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join([*shown[:5], "..."] if len(shown) > 5 else shown)
