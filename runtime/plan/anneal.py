"""Simulated annealing of (order, node): S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, Science 220,
1983.  Work is counted in moves, never in seconds, so that a graph has one plan on every machine.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.plan import kernel
from runtime.plan.problem import Problem

#: What Metropolis's rule allows at temperature 1: -log of even shares.
THRESHOLDS = -np.log((np.arange(4096) + 0.5) / 4096)


class Work(NamedTuple):
    """Arrays that the annealer works in: end of each task now and as kept, place of each in the
    order, when nodes are free before each place, as kept and as tried, last end before each."""

    end: NDArray[np.float64]
    kept: NDArray[np.float64]
    where: NDArray[np.int64]
    free: NDArray[np.float64]
    tried: NDArray[np.float64]
    most: NDArray[np.float64]


def work_for(tasks: int, nodes: int) -> Work:
    """Of a problem's size."""
    return Work(
        np.zeros(tasks),
        np.zeros(tasks),
        np.zeros(tasks, np.int64),
        np.zeros((tasks + 1, nodes)),
        np.zeros((tasks + 1, nodes)),
        np.zeros(tasks + 1),
    )


def improve(
    problem: Problem,
    order: NDArray[np.int64],
    node: NDArray[np.int64],
    tail: NDArray[np.float64],
    steps: int,
    enough: float,
    seed: int,
    hot: float,
    cold: float,
) -> tuple[float, NDArray[np.int64], NDArray[np.int64]]:
    """Anneal a plan by ``steps`` moves, or until its makespan is ``enough``.

    ``order``: the tasks to plan, sources first; ``node``: of each task, -1 of those that are not
    planned; ``tail``: see ``bounds.tails``; ``hot``, ``cold``: first and last temperature, shares
    of the makespan.  Returns the best makespan with order and nodes; the given arrays stay.  Where
    the given plan breaks a bound of the problem, its makespan is infinite and it is not changed.
    """
    order, node = order.copy(), node.copy()
    best_order, best_node = order.copy(), node.copy()
    work = work_for(*problem.times.shape)
    span = kernel.anneal(
        problem, order, node, tail, THRESHOLDS, 0.0, 1.0, 0, enough, 1, best_order, best_node, work
    )
    if not 0 < span < np.inf or steps <= 0:
        return float(span), best_order, best_node
    state = (seed * 2654435761 + 88675123) % (2**32 - 1) + 1
    found = kernel.anneal(
        problem,
        order,
        node,
        tail,
        THRESHOLDS,
        hot * span,
        (cold / hot) ** (1 / steps),
        steps,
        enough,
        state,
        best_order,
        best_node,
        work,
    )
    return float(found), best_order, best_node
