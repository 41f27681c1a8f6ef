"""How near plans that adapt come to a clairvoyant, who knows all times and losses beforehand."""

import math
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.loop import Loop, Trace
from runtime.plan import anneal, bounds, heuristics, planner
from runtime.plan.graph import TaskGraph
from runtime.plan.planner import MOST_SEED, Plan, plan
from runtime.plan.problem import problem_of
from runtime.world import Simulated, noisy

#: Order of tasks, and node of each.
Order = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Run:
    """One run: makespans in seconds of the loop, of the same plan kept, and of the clairvoyant;
    processor seconds of each planning; number of tasks computed again."""

    graph: str
    adapted: float
    kept: float
    clairvoyant: float
    replans: list[float]
    again: int


def clairvoyant(
    truth: TaskGraph, until: NDArray[np.float64], seconds: float, hints: Sequence[Order] = ()
) -> float:
    """Makespan of the annealer with all true times, each node's tasks ended when it is lost.

    What a lost node has made costs nothing more than before.  ``hints``: orders and nodes to begin
    with beside the list schedules.  ``seconds`` of a processor are spent, unless the lower bound is
    reached, and one pair of rounds at least.
    """
    problem = problem_of(truth)._replace(until=until)
    lower, tail = bounds.lower_bound(truth), bounds.tails(truth, problem)
    starts = list(hints)
    without = replace(truth, times=np.where(np.isinf(until), truth.times, np.inf))
    for graph in (truth, without) if np.isfinite(without.times).any(axis=1).all() else (truth,):
        given = problem._replace(times=graph.times)
        for _, priority, ahead in heuristics.rules(heuristics.Ranks(graph)):
            length, node, start, end = heuristics.schedule(given, priority, ahead)
            if length < math.inf:
                starts.append((planner.in_order(truth, start, end), node))
    best, first = math.inf, None
    for order, node in starts:
        length = anneal.improve(problem, order, node, tail, 0, 0.0, 0, *planner.NEAR)[0]
        if length < best:
            best, first = length, (order, node)
    if first is None:
        return math.inf
    improved, number, begin = first, 0, clock.process_time()
    moves = min(planner.MOVES, planner.MOST_WORK // (len(truth.tasks) + len(truth.edges)))
    while best > lower * planner.ENOUGH:
        near = number % 2
        length, *other = anneal.improve(
            problem,
            *(improved if near else first),
            tail,
            moves,
            lower * planner.ENOUGH,
            number & MOST_SEED,
            *(planner.NEAR if near else planner.WIDE),
        )
        number += 1
        if length < best:
            best, improved = length, (other[0], other[1])
        if clock.process_time() - begin >= seconds and number >= 2:
            break
    return best


def compare(
    graph: TaskGraph,
    seed: int,
    noise: float,
    by_node: bool,
    seconds: float,
    first: Plan | None = None,
    lose: Literal["any", "used", "none"] = "any",
) -> Run:
    """One run with noise and a node lost at 10 to 90 % of the plan's makespan.

    See ``world.noisy`` for the noise; ``seconds``: of the clairvoyant; ``lose``: any node, one that
    is used by the plan, or none.  A graph of one node loses none.
    """
    rng = np.random.default_rng(seed)
    first = first or plan(graph)
    truth = noisy(graph, rng, noise, by_node)
    lost = {}
    if len(graph.nodes) > 1 and lose != "none":
        node = int(rng.choice(np.unique(first.node) if lose == "used" else len(graph.nodes)))
        lost = {node: float(rng.uniform(0.1, 0.9) * first.makespan)}
    until = np.full(len(graph.nodes), np.inf)
    until[list(lost)] = list(lost.values())
    adapted = Loop(graph, Simulated(truth, lost), first).run()
    kept = Loop(graph, Simulated(truth, lost), first, adapt=False).run()
    return Run(
        graph.name,
        adapted.makespan,
        kept.makespan,
        clairvoyant(truth, until, seconds, [_ran(truth, adapted), _ran(truth, kept)]),
        adapted.replans,
        adapted.again,
    )


def _ran(graph: TaskGraph, trace: Trace) -> Order:
    """Order and nodes of first runs: nobody computes twice who knows what will be lost."""
    start, node = np.zeros(len(graph.tasks)), np.zeros(len(graph.tasks), np.int64)
    for task, (begun, on) in trace.first.items():
        start[task], node[task] = begun, on
    return planner.in_order(graph, start, start), node
