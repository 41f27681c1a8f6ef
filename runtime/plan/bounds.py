"""Lower bounds of a makespan, in seconds: no plan is shorter."""

import math

import numpy as np

from runtime.plan.graph import TaskGraph
from runtime.plan.problem import Problem

#: Steps towards the best weights of nodes; chosen, not tuned.
STEPS = 40


def lower_bound(graph: TaskGraph) -> float:
    """The larger of the longest path, transfers included, and of the work by all nodes together."""
    return max(path(graph), work(graph))


def path(graph: TaskGraph) -> float:
    """Longest path, each task on the node that is best for it and its sources alone."""
    end = graph.times.copy()  # of task and node, at the earliest
    sources: list[list[tuple[int, float]]] = [[] for _ in graph.tasks]
    for source, target, size in graph.edges:
        sources[target].append((source, size))
    for task in graph.order:
        came = np.zeros(len(graph.nodes))
        for source, size in sources[task]:
            with np.errstate(divide="ignore", invalid="ignore"):
                moved = graph.latency + np.where(size, size / graph.bandwidth, 0.0)
            moved[graph.bandwidth == 0] = np.inf
            came = np.maximum(came, (end[source][:, None] + moved).min(axis=0))
        end[task] += came
    return float(end.min(axis=1).max(initial=0.0))


def work(graph: TaskGraph) -> float:
    """Time in which all nodes together do the work, if tasks could be divided among them.

    By the dual of that linear program: with weights of nodes that add to 1, the sum over tasks of
    the least weighted time is a bound.  Weights go towards nodes that are loaded more.
    """
    runs = np.isfinite(graph.times)
    times = np.where(runs, graph.times, 0.0)
    speed = np.where(runs, 1.0, 0.0).sum(axis=0) / np.maximum(times.sum(axis=0), 1e-300)
    weight, best = speed / speed.sum(), 0.0
    for step in range(STEPS):
        weighted = np.where(runs, times * weight, np.inf)
        chosen = weighted.argmin(axis=1)
        best = max(best, float(weighted.min(axis=1).sum()))
        load = np.bincount(chosen, times[np.arange(len(chosen)), chosen], len(weight))
        if not load.max(initial=0.0):
            break
        weight = weight * np.exp((load / load.max() - 1) / (step + 1) ** 0.5)
        weight /= weight.sum()
    return best


def tails(graph: TaskGraph, problem: Problem) -> np.ndarray:
    """Least time from the end of each task to the end of all, transfers not counted."""
    least, tail = problem.times.min(axis=1), np.zeros(len(graph.tasks))
    for task in reversed(graph.order):
        for at in range(problem.target_at[task], problem.target_at[task + 1]):
            target = problem.target[at]
            tail[task] = max(tail[task], least[target] + tail[target])
    # A rounding error must not call a makespan longer than it is.
    return tail * (1 - math.ulp(1.0) * 1e4)
