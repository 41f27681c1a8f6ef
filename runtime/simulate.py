"""A plan in a world where times differ and nodes are lost, on a virtual clock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from runtime.loop import Loop, Trace
from runtime.plan.planner import Plan
from runtime.world import Simulated, noisy


@dataclass(frozen=True)
class Run:
    """What ran: as a plan, of the runs that count; ``expected``: seconds of the plan that it began
    with."""

    plan: Plan
    trace: Trace
    expected: float

    def details(self) -> dict[str, Any]:
        """For JSON: ``lost`` are runs that ended with their nodes, or whose results did."""
        graph = self.plan.graph
        return {
            "makespan": self.plan.makespan,
            "schedule": self.plan.rows(),
            "lost": [
                (graph.tasks[task], graph.nodes[node], start, end)
                for task, node, start, end, kept in self.trace.rows
                if not kept
            ],
            "transfers": self.trace.transfers,
            "replans": len(self.trace.replans),
            "again": self.trace.again,
        }


def simulate(plan: Plan, seed: int, noise: float, lost: Mapping[int, float]) -> Run:
    """Run a plan once; the same arguments give the same run.

    ``noise``: see ``world.noisy``, one factor for each task; ``lost``: seconds by number of node.
    Raises ``UserError`` for noise that is none, and ``Stranded`` if no node is left that can run a
    task.
    """
    truth = noisy(plan.graph, np.random.default_rng(seed), noise, by_node=False)
    trace = Loop(plan.graph, Simulated(truth, lost), plan).run()
    node, start, end = plan.node.copy(), plan.start.copy(), plan.end.copy()
    for task, on, begun, ended, kept in trace.rows:
        if kept:
            node[task], start[task], end[task] = on, begun, ended
    return Run(replace(plan, node=node, start=start, end=end), trace, plan.makespan)
