"""A task graph as the arrays that compiled loops read, and the state that a plan begins from."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.plan.graph import TaskGraph


class Problem(NamedTuple):
    """Costs by number of task and node, in seconds and bytes.

    Sources of task ``t`` are ``source[source_at[t]:source_at[t + 1]]``, with the bytes of each in
    ``source_size``; targets alike.  A plan begins with a mesh at work: ``release`` (tasks, nodes):
    when a task may start at the earliest because of what has been done before; ``free`` (nodes):
    when a node ends what it is running; ``until`` (nodes): when it is lost.
    """

    times: NDArray[np.float64]
    source_at: NDArray[np.int64]
    source: NDArray[np.int64]
    source_size: NDArray[np.float64]
    target_at: NDArray[np.int64]
    target: NDArray[np.int64]
    target_size: NDArray[np.float64]
    bandwidth: NDArray[np.float64]
    latency: NDArray[np.float64]
    release: NDArray[np.float64]
    free: NDArray[np.float64]
    until: NDArray[np.float64]


def problem_of(graph: TaskGraph) -> Problem:
    """All of a graph, on an idle mesh that keeps its nodes."""
    count, nodes = graph.times.shape
    ends = np.array([edge[:2] for edge in graph.edges], np.int64).reshape(-1, 2)
    sizes = np.array([edge[2] for edge in graph.edges], np.float64)
    return Problem(
        np.ascontiguousarray(graph.times),
        *_rows(ends[:, 1], ends[:, 0], sizes, count),
        *_rows(ends[:, 0], ends[:, 1], sizes, count),
        graph.bandwidth,
        graph.latency,
        np.zeros((count, nodes)),
        np.zeros(nodes),
        np.full(nodes, np.inf),
    )


def _rows(
    of: NDArray[np.int64], other: NDArray[np.int64], sizes: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Ends of edges by the task at their beginning: where its row begins, the ends, the bytes."""
    order = np.argsort(of, kind="stable")
    at = np.searchsorted(of[order], np.arange(count + 1)).astype(np.int64)
    return at, np.ascontiguousarray(other[order]), np.ascontiguousarray(sizes[order])
