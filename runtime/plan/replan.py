"""A plan for what is left, while tasks run and nodes come and go; in a millisecond.

Candidates are the plan of now and list schedules of what is left, of which the best is annealed for
a counted number of moves.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.plan import anneal, bounds, heuristics, kernel
from runtime.plan.graph import TaskGraph
from runtime.plan.problem import problem_of

#: Moves, and tasks and edges that they may go over; tuned to take half a millisecond of a processor
#: on 50 graphs of DAGBench.
MOVES, MOST_WORK = 1500, 150_000
#: List schedules that are tried, the first of ``heuristics.rules``.
RULES = 3
#: Share of the time left that another plan has to save; noise is no reason to move data.
GAIN = 1e-3
#: First and last temperature, shares of the time left; chosen, not tuned.
HOT, COLD = 0.02, 0.0005


class State(NamedTuple):
    """Where things are, by number: ``waiting`` (tasks), those that are still to be planned;
    ``ends`` (tasks): when running and finished ones end, as far as is known; ``at`` (tasks): node
    that each runs on, -1 of those that do not run; ``arrived`` (edges, nodes): when data are there,
    infinite if they are not on their way; ``alive`` (nodes); ``free`` (nodes): when they end what
    they run.
    """

    now: float
    waiting: NDArray[np.bool_]
    ends: NDArray[np.float64]
    at: NDArray[np.int64]
    arrived: NDArray[np.float64]
    alive: NDArray[np.bool_]
    free: NDArray[np.float64]


class Replanner:
    """Plans what is left of a graph again and again."""

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        self.problem = problem_of(graph)
        self.rules = [rule[1:] for rule in heuristics.rules(heuristics.Ranks(graph))][:RULES]
        self.tail = bounds.tails(graph, self.problem)
        tasks, nodes = graph.times.shape
        self.place = np.empty(tasks, np.int64)
        self.place[graph.order] = np.arange(tasks)
        self._slots = np.empty((nodes, tasks, 2)), np.zeros(nodes, np.int64)
        self._edge = np.argsort(np.array([e[1] for e in graph.edges], np.int64), kind="stable")
        self._calls = 0

    def __call__(
        self, state: State, order: NDArray[np.int64], node: NDArray[np.int64]
    ) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
        """End of all, order and nodes of the tasks that wait, of a plan no worse than that of now.

        ``order``, ``node``: the plan of now, with at least the tasks that wait, or not.  The end is
        infinite where no plan is found.
        """
        problem = self.problem
        kernel.survey(
            problem,
            self._edge,
            state.waiting,
            state.ends,
            state.at,
            state.arrived,
            state.alive,
            state.free,
            state.now,
        )
        left = np.where(state.waiting, node, -1)
        order = order[state.waiting[order]]
        best, nodes = np.inf, left
        if len(order) == np.count_nonzero(state.waiting):
            best = float(self._anneal(order, left, 0)[0])
        for priority, ahead in self.rules:
            length, other, start = self._list(priority, ahead, state.waiting)
            if length < best - GAIN * max(best - state.now, 0.0) or best == np.inf > length:
                tasks = np.flatnonzero(state.waiting)
                order = tasks[np.lexsort((self.place[tasks], start[tasks]))]
                best, nodes = length, other
        if not np.isfinite(best) or len(order) < 2:
            return best, order, nodes
        moves = min(MOVES, MOST_WORK // (len(order) * (1 + len(self._edge) // len(self.place))))
        self._calls += 1
        length, *other_plan = self._anneal(order, nodes, moves, best - state.now)
        if length < best - GAIN * (best - state.now):
            return length, other_plan[0], other_plan[1]
        return best, order, nodes

    def _anneal(
        self, order: NDArray[np.int64], node: NDArray[np.int64], moves: int, left: float = 0.0
    ) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
        share = left / (self.problem.free.min() + left) if left else 1.0
        return anneal.improve(
            self.problem, order, node, self.tail, moves, 0.0, self._calls, HOT * share, COLD * share
        )

    def _list(
        self, priority: NDArray[np.float64], ahead: NDArray[np.float64], waiting: NDArray[np.bool_]
    ) -> tuple[float, NDArray[np.int64], NDArray[np.float64]]:
        node = np.full(len(self.place), -1)
        start, end = np.zeros(len(self.place)), np.zeros(len(self.place))
        missing = np.empty(len(self.place), np.int64)
        kernel.count_missing(self.problem, waiting, missing)
        length = kernel.list_schedule(
            self.problem, priority, ahead, missing, node, start, end, *self._slots
        )
        return float(length), node, start
