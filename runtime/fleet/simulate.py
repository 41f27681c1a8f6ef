"""A fleet under a load, on a virtual clock: what a policy makes of it."""

import heapq
import time as clock
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.fleet.fleet import Fleet, FleetError, Load
from runtime.fleet.policies import POLICIES

#: Seconds after which a node that says nothing is taken for lost.
LEASE = 0.5
#: Kinds of events; at one time, ends come first.
_END, _GONE, _CHURN, _ARRIVAL = range(4)


@dataclass(frozen=True)
class Result:
    """``utilisation``: share of the time of nodes that were there, to the last end, that ran tasks
    which ended; ``p50``, ``p99``: seconds from arrival to end; ``seconds``: until the last end;
    ``decisions_per_second``: of a processor, the simulation included; ``again``: runs that were
    lost."""

    policy: str
    nodes: int
    tasks: int
    utilisation: float
    p50: float
    p99: float
    seconds: float
    decisions_per_second: float
    again: int


def simulate(fleet: Fleet, load: Load, policy: str, seed: int = 0) -> Result:
    """Run a load by a policy of ``POLICIES``, until all tasks have ended.

    A node that leaves ends what it runs; one that fails loses it, which is known a lease later.
    Raises ``FleetError`` if tasks are left that no node that is there can run.
    """
    begin = clock.process_time()
    made: Any = POLICIES[policy](fleet, load, seed)
    times, kind = fleet.times.tolist(), made.kind
    classes, factor = load.group.tolist(), load.factor.tolist()
    arrival = load.arrival.tolist()
    count = len(arrival)
    queue: list[tuple[float, int, int, int]] = [
        (time, _CHURN, number, node) for number, (time, node, _) in enumerate(load.churn)
    ]
    heapq.heapify(queue)
    there, since = [True] * fleet.nodes, [0.0] * fleet.nodes
    runs = [-1] * fleet.nodes  # task of each node
    epoch = [0] * fleet.nodes  # ends of runs before a failure do not count
    begun = [0.0] * fleet.nodes
    end = [0.0] * count
    useful = offered = now = last = 0.0
    decisions = again = coming = 0
    left = count

    def start(node: int, task: int) -> None:
        runs[node], begun[node] = task, now
        time = times[classes[task]][kind[node]] * factor[task]
        heapq.heappush(queue, (now + time, _END, epoch[node], node))

    def place(task: int) -> None:
        nonlocal decisions
        decisions += 1
        if (node := made.place(task, now)) >= 0:
            start(node, task)

    def idle(node: int) -> None:
        nonlocal decisions
        if (task := made.take(node, now)) >= 0:
            decisions += 1
            start(node, task)

    while left:
        if coming < count and (not queue or arrival[coming] < queue[0][0]):
            now = arrival[coming]
            coming += 1
            place(coming - 1)
            continue
        if not queue:
            raise FleetError(f"{policy}: {left} tasks are left, and no node that may run them")
        now, what, number, node = heapq.heappop(queue)
        if what == _END and epoch[node] == number:
            task, runs[node] = runs[node], -1
            useful += now - begun[node]
            end[task] = last = now
            left -= 1
            if there[node]:
                idle(node)
            elif since[node] >= 0:
                offered += now - since[node]
                since[node] = -1.0
        elif what == _GONE:
            again += 1
            place(number)
        elif what == _CHURN:
            change = load.churn[number][2]
            if change == "join":
                there[node] = True
                since[node] = now if runs[node] < 0 else since[node]
                made.join(node)
                if runs[node] < 0:
                    idle(node)
                continue
            there[node] = False
            for task in made.leave(node):
                place(task)
            if change == "fail" or runs[node] < 0:
                offered += now - since[node]
                since[node] = -1.0
            if change == "fail" and runs[node] >= 0:
                heapq.heappush(queue, (now + LEASE, _GONE, runs[node], node))
                runs[node] = -1
                epoch[node] += 1
    offered += sum(last - s for s, here in zip(since, there, strict=True) if here)
    waited = np.array(end) - load.arrival
    return Result(
        policy,
        fleet.nodes,
        count,
        useful / offered if offered else 0.0,
        float(np.quantile(waited, 0.5)),
        float(np.quantile(waited, 0.99)),
        last,
        decisions / max(clock.process_time() - begin, 1e-9),
        again,
    )
