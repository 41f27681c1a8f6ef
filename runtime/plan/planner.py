"""The plan of a task graph: the best list schedule, annealed; never worse than HEFT."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.plan import anneal, bounds, heuristics, kernel
from runtime.plan.graph import GraphError, TaskGraph
from runtime.plan.problem import Problem, problem_of

#: First and last temperatures of rounds of annealing, shares of the makespan: from the best list
#: schedule, then near the best plan so far; tuned on 50 graphs of DAGBench.
WIDE, NEAR = (0.15, 0.001), (0.03, 0.0003)
#: Pairs of such rounds, and moves of each; 40 ms of a processor for 10 tasks, 0.7 s for 157, as
#: measured with numba.
ROUNDS, MOVES = 4, 40_000
#: Tasks and edges that all moves of a round go over at most, so that large graphs end in seconds.
MOST_WORK = 50_000_000
#: A makespan this near to the lower bound, as a factor, is not improved.
ENOUGH = 1 + 1e-12
#: Seeds are of 32 bits.
MOST_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class Plan:
    """Node, start and end in seconds of each task of a graph.

    ``heft``: makespan of HEFT, infinite where it finds no plan; ``lower``: no plan is shorter;
    ``by``: what found this one.
    """

    graph: TaskGraph
    node: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    heft: float
    lower: float
    by: str

    @property
    def makespan(self) -> float:
        """Seconds until all tasks have ended."""
        return float(self.end.max())

    @property
    def moved(self) -> float:
        """Bytes that go from node to node."""
        return math.fsum(s for a, b, s in self.graph.edges if self.node[a] != self.node[b])

    def rows(self) -> list[tuple[str, str, float, float]]:
        """Task, node, start and end, in the order of the starts."""
        order = np.lexsort((np.arange(len(self.node)), self.end, self.start))
        names = self.graph.tasks, self.graph.nodes
        return [
            (names[0][t], names[1][self.node[t]], float(self.start[t]), float(self.end[t]))
            for t in order
        ]

    def details(self) -> dict[str, Any]:
        """All of it for JSON; ``heft`` is None where HEFT finds no plan."""
        return {
            "makespan": self.makespan,
            "heft": self.heft if math.isfinite(self.heft) else None,
            "lower_bound": self.lower,
            "by": self.by,
            "schedule": self.rows(),
        }


def plan(graph: TaskGraph, seed: int = 0, rounds: int = ROUNDS, moves: int = MOVES) -> Plan:
    """Plan a graph; the same arguments give the same plan, with numba or without.

    ``rounds``: pairs of rounds of annealing, of ``moves`` moves each.
    Raises ``GraphError`` if no plan is found: the nodes that tasks need are not connected.
    """
    problem, ranks = problem_of(graph), heuristics.Ranks(graph)
    lower, heft = bounds.lower_bound(graph), math.inf
    best: tuple[float, NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]] | None = None
    by = ""
    for name, priority, ahead in heuristics.rules(ranks):
        for part in _parts(graph, problem):
            found = heuristics.schedule(part, priority, ahead)
            if name == "HEFT" and part is problem:
                heft = found[0]
            if math.isfinite(found[0]) and (best is None or found[0] < best[0]):
                best, by = found, name
    if best is None:
        raise GraphError(
            f"{graph.name}: no plan found; tasks need nodes that are not connected, or times "
            "beyond float64"
        )
    span, node, start, end = best
    order = in_order(graph, start, end)
    result = Plan(graph, node, start, end, heft, lower, by)
    moves = min(moves, MOST_WORK // (len(graph.tasks) + len(graph.edges)))
    tail, improved = bounds.tails(graph, problem), (order, node)
    for number in range(2 * rounds):
        near = number % 2
        if span <= lower * ENOUGH:
            break
        length, *other = anneal.improve(
            problem,
            *(improved if near else (order, node)),
            tail,
            moves,
            lower * ENOUGH,
            (seed + number) & MOST_SEED,
            *(NEAR if near else WIDE),
        )
        if length < span:
            span, improved = length, (other[0], other[1])
    if improved[0] is not order:
        result = Plan(graph, *timed(problem, *improved), heft, lower, "annealing")
    return result


def in_order(
    graph: TaskGraph, start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Tasks by their starts; those that take no time come after their sources, too."""
    place = np.empty(len(graph.tasks), np.int64)
    place[graph.order] = np.arange(len(graph.tasks))
    return np.lexsort((place, end, start))


def timed(
    problem: Problem, order: NDArray[np.int64], node: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Node, start and end of tasks that each node runs in an order, as early as it can."""
    start, end, free = np.zeros(len(node)), np.zeros(len(node)), problem.free.copy()
    for task in order:
        p = node[task]
        start[task] = max(kernel.ready(problem, task, p, node, end), free[p])
        free[p] = end[task] = start[task] + problem.times[task, p]
    return node, start, end


def _parts(graph: TaskGraph, problem: Problem) -> list[Problem]:
    """The problem, and where not all nodes are connected, each connected part of them alone."""
    near = graph.bandwidth > 0
    while (further := near @ near).sum() > near.sum():
        near = further
    parts = np.unique(near, axis=0)
    if len(parts) == 1:
        return [problem]
    return [problem, *(problem._replace(until=np.where(part, np.inf, -1.0)) for part in parts)]
