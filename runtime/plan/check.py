"""Whether a plan is one, by code that shares nothing with what makes plans.

It goes by the rows of a plan, those of a file, and by the costs of the graph's own functions.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from runtime.plan.graph import TaskGraph
from spu.arch.errors import CheckFailed

#: Rounding of sums of times, as a share of the makespan.
ROUNDING = 1e-9


def check(graph: TaskGraph, rows: Iterable[Sequence[Any]], makespan: float) -> None:
    """Raise ``CheckFailed`` unless rows of task, node, start, end are a plan of this makespan.

    Every task is there once, on a node that can run it, for its time; it begins when what it takes
    has ended and arrived; no node runs two at once; the last end is the makespan.
    """
    runs: dict[str, tuple[str, float, float]] = {}
    for task, node, start, end in rows:
        if task in runs:
            raise CheckFailed(f"{graph.name}: task {task!r} is planned twice")
        runs[task] = (node, float(start), float(end))
    if missing := set(graph.tasks) ^ set(runs):
        raise CheckFailed(f"{graph.name}: task {sorted(missing)[0]!r} is not planned, or none")
    slack = ROUNDING * abs(makespan)
    for number, task in enumerate(graph.tasks):
        node, start, end = runs[task]
        if node not in graph.nodes:
            raise CheckFailed(f"{graph.name}: task {task!r} is on {node!r}, which is no node")
        time = graph.times[number, graph.nodes.index(node)]
        if not start >= 0 or not abs(end - start - time) <= slack:
            raise CheckFailed(
                f"{graph.name}: task {task!r} is on {node!r} from {start} to {end}; "
                f"its time is {time}"
            )
    for source, target, size in graph.edges:
        a, _, end = runs[graph.tasks[source]]
        b, start, _ = runs[graph.tasks[target]]
        arrived = end + graph.transfer(size, graph.nodes.index(a), graph.nodes.index(b))
        if not start >= arrived - slack:
            raise CheckFailed(
                f"{graph.name}: task {graph.tasks[target]!r} begins at {start}, before what "
                f"{graph.tasks[source]!r} makes is there at {arrived}"
            )
    for node in graph.nodes:
        busy = sorted((start, end, task) for task, (on, start, end) in runs.items() if on == node)
        for (_, end, first), (start, _, second) in pairwise(busy):
            if not start >= end - slack:
                raise CheckFailed(f"{graph.name}: {node!r} runs {first!r} and {second!r} at once")
    if not abs(max(end for _, _, end in runs.values()) - makespan) <= slack:
        raise CheckFailed(f"{graph.name}: the makespan is not {makespan}")
