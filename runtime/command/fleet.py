"""``spu fleet``: policies for many nodes, side by side in simulation."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from spu.arch.files import check_file, replace_file
from spu.command.common import check_kept, working
from spu.command.tables import show, table


def fleet_command(
    file: Annotated[
        Path | None,
        typer.Argument(help="Kinds of nodes, classes of tasks, JSON.", show_default="an example"),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, max=1 << 20, help="Nodes of the example.")] = 16384,
    tasks: Annotated[int, typer.Option(min=1, max=10_000_000, help="Tasks that come.")] = 200_000,
    load: Annotated[
        float, typer.Option(help="Rate of the tasks, as a share of what the fleet can do at most.")
    ] = 0.7,
    churn: Annotated[
        float, typer.Option(help="Share of the nodes that go in a second, and come again.")
    ] = 0.01,
    failures: Annotated[
        float, typer.Option(help="Share of those that go with what they run, unannounced.")
    ] = 0.25,
    noise: Annotated[float, typer.Option(help="Times of tasks differ by up to this share.")] = 0.3,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 32) - 1, help="Seed of what comes.")] = 0,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="PATH", help="Write the figures as JSON.")
    ] = None,
) -> None:
    """Simulate a fleet of mixed nodes under a load: utilisation and latency by policy.

    Example: spu fleet --nodes 16384 --churn 0.01
    """
    from runtime.fleet.fleet import draw, example, load_fleet
    from runtime.fleet.study import compare

    if as_json:
        check_file(as_json)
        check_kept([as_json], (file,))
    fleet = load_fleet(file) if file else example(nodes)
    # What is wrong with the numbers is said before anything runs.
    draw(fleet, 1, load, churn, failures, noise)
    with working("simulating") as progress:
        rows = compare(fleet, tasks, load, churn, failures, noise, seed, progress)
    if as_json:
        content = json.dumps([asdict(row) for row in rows], indent=1) + "\n"
        replace_file(as_json, lambda sink: sink.write(content.encode()))
    head = ("policy", "utilisation", "median s", "p99 s", "p99 with churn", "decisions/s")
    online = [
        (
            row.policy,
            f"{100 * row.utilisation:.0f} %",
            f"{row.p50:.3f}",
            f"{row.p99:.3f}",
            f"{row.p99_churn:.3f} ({row.p99_churn / row.p99:.2f} times)",
            f"{row.decisions_per_second:,.0f}",
        )
        for row in rows
    ]
    batch = [
        (row.policy, f"{100 * row.batch_utilisation:.0f} %", f"{row.batch_seconds:.1f}")
        for row in rows
    ]
    show(
        table(f"{fleet.nodes} nodes, {tasks} tasks at {load:g} of the capacity", head, online),
        table("The same tasks all at once", ("policy", "utilisation", "seconds"), batch),
    )
