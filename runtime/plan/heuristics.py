"""List schedulers: priorities of tasks, and what a choice of a node costs later.

HEFT: H. Topcuoglu, S. Hariri and M.-Y. Wu, "Performance-effective and low-complexity task
scheduling for heterogeneous computing", IEEE TPDS 13, 2002: ranks of mean times, mean transfers
over all pairs of different nodes, earliest end with insertion.  PEFT: H. Arabnejad and J. G.
Barbosa, "List scheduling algorithm for heterogeneous systems by an optimistic cost table", IEEE
TPDS 25, 2014.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.plan import kernel
from runtime.plan.graph import TaskGraph
from runtime.plan.problem import Problem

Array = NDArray[np.float64]


class Ranks:
    """Priorities of the tasks of a graph, seconds; infinite costs count in no mean."""

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        runs = np.isfinite(graph.times)
        self.mean = np.where(runs, graph.times, 0).sum(axis=1) / runs.sum(axis=1)
        self.least = graph.times.min(axis=1)
        pairs = ~np.eye(len(graph.nodes), dtype=bool) & (graph.bandwidth > 0)
        # Mean seconds of a transfer are ``latency + size * pace`` over pairs that are connected.
        self.pace = float(np.mean(1 / graph.bandwidth[pairs])) if pairs.any() else 0.0
        self.latency = float(np.mean(graph.latency[pairs])) if pairs.any() else 0.0
        self._targets: list[list[tuple[int, float]]] = [[] for _ in graph.tasks]
        for source, target, size in graph.edges:
            self._targets[source].append((target, self.latency + size * self.pace))

    def upward(self, times: Array, transfers: bool = True) -> Array:
        """Longest way to the end by ``times`` (tasks), with mean transfers or without."""
        rank = times.copy()
        for task in reversed(self.graph.order):
            ways = [(wait if transfers else 0.0) + rank[t] for t, wait in self._targets[task]]
            rank[task] += max(ways, default=0.0)
        return rank

    def optimistic(self) -> Array:
        """Of task and node, least time from its end to the end of all: PEFT's table."""
        table, times = np.zeros(self.graph.times.shape), self.graph.times
        for task in reversed(self.graph.order):
            for target, wait in self._targets[task]:
                onward = table[target] + times[target]
                np.maximum(table[task], np.minimum(onward, onward.min() + wait), out=table[task])
        return table


def rules(ranks: Ranks) -> Iterator[tuple[str, Array, Array]]:
    """Name, priorities (tasks), costs ahead (tasks, nodes) of the list schedulers, HEFT first."""
    graph = ranks.graph
    nothing = np.zeros(graph.times.shape)
    heft = ranks.upward(ranks.mean)
    yield "HEFT", heft, nothing
    table = ranks.optimistic()
    shown = np.where(np.isfinite(graph.times), table, 0)
    runs = np.isfinite(graph.times).sum(axis=1)
    yield "PEFT", shown.sum(axis=1) / runs, table
    yield "optimistic costs", heft, table
    yield "b-level", ranks.upward(ranks.least, transfers=False), nothing
    yield "b-level, optimistic costs", ranks.upward(ranks.least), table
    for p in np.argsort(graph.times.sum(axis=0), kind="stable")[:1]:
        if np.isfinite(graph.times[:, p]).all():
            alone = np.full(graph.times.shape, np.inf)
            alone[:, p] = 0.0
            yield "single node", heft, alone


def schedule(
    problem: Problem, priority: Array, ahead: Array
) -> tuple[float, NDArray[np.int64], Array, Array]:
    """Makespan, infinite if a task finds no node, and node, start, end of each task of a list
    schedule of all tasks."""
    tasks, nodes = problem.times.shape
    node = np.full(tasks, -1)
    start, end = np.zeros(tasks), np.zeros(tasks)
    makespan = kernel.list_schedule(
        problem,
        priority,
        ahead,
        np.diff(problem.source_at),
        node,
        start,
        end,
        np.empty((nodes, tasks, 2)),
        np.zeros(nodes, np.int64),
    )
    return float(makespan), node, start, end
