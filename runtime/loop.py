"""The scheduler's loop: dispatches a plan to a world, and plans again at events that matter.

These are: a node that has become idle, a task that takes ``LATE`` times what it should, a node that
joins, leaves or is lost.  An edge's data go to the node of its target as soon as there is a plan,
and to a second holder; what is lost with all its holders is computed again.
"""

import time as clock
from dataclasses import dataclass, field

import numpy as np

from runtime.plan.graph import TaskGraph
from runtime.plan.planner import Plan, in_order, plan
from runtime.plan.replan import Replanner, State
from runtime.world import Event, Kind, World
from spu.arch.errors import UserError

#: A task has deviated when it has taken this many times its expected time.
LATE = 1.3
#: What a task that is late is expected to take still, as a share of its expected time; chosen for
#: noise of 30 %.
OVERTIME = 0.1
WAITING, RUNNING, DONE = 0, 1, 2


class Stranded(UserError):
    """No node is left that can run a task."""


@dataclass
class Trace:
    """What happened: rows of task, node, start and end in seconds, and whether what the task made
    was kept, not lost with its node; seconds of a processor that each planning took; start and node
    of the first run of each task that ended; numbers of transfers, and of tasks computed again."""

    rows: list[tuple[int, int, float, float, bool]] = field(default_factory=list)
    replans: list[float] = field(default_factory=list)
    first: dict[int, tuple[float, int]] = field(default_factory=dict)
    transfers: int = 0
    again: int = 0

    @property
    def makespan(self) -> float:
        """Seconds until all tasks had ended."""
        return max(end for *_, end, kept in self.rows if kept)


class Loop:
    """One run of a graph in a world, by the times that are expected of it.

    ``first``: the plan to begin with, made if None.  ``absent``: nodes that join later.
    ``adapt``: False keeps the plan for as long as its nodes are there.
    """

    def __init__(
        self,
        graph: TaskGraph,
        world: World,
        first: Plan | None = None,
        absent: tuple[int, ...] = (),
        adapt: bool = True,
    ) -> None:
        tasks, nodes = graph.times.shape
        self.graph, self.world, self.adapt, self.trace = graph, world, adapt, Trace()
        self.replanner = Replanner(graph)
        self.status = np.zeros(tasks, np.int64)
        self.ends, self.starts = np.zeros(tasks), np.zeros(tasks)
        self.at = np.full(tasks, -1)
        self.arrived = np.full((len(graph.edges), nodes), np.inf)
        self.here = np.zeros((len(graph.edges), nodes), bool)
        self.alive = np.ones(nodes, bool)
        self.alive[list(absent)] = False
        self.running = [-1] * nodes
        self.tickets: dict[int, tuple[int, int, int]] = {}  # of transfers: edge, from, to
        self.current: dict[int, int] = {}  # ticket of each task that runs
        self.sources: list[list[int]] = [[] for _ in graph.tasks]
        self.targets: list[list[int]] = [[] for _ in graph.tasks]
        for number, (source, target, _) in enumerate(graph.edges):
            self.sources[target].append(number)
            self.targets[source].append(number)
        made = first or plan(graph)
        self.node = np.array(made.node)
        self.order = in_order(graph, made.start, made.end)
        self.queues: list[list[int]] = []
        self._queue()
        if absent:
            self._replan()

    def run(self) -> Trace:
        """Until all tasks have ended; raises ``Stranded`` if one cannot run any more."""
        self._dispatch()
        while (self.status != DONE).any():
            event = self.world.next()
            if event is None:
                task = self.graph.tasks[int(np.flatnonzero(self.status != DONE)[0])]
                raise Stranded(f"task {task!r}: no node is left that can run it")
            if self._note(event) and (self.status == WAITING).any():
                self._replan()
            self._dispatch()
        return self.trace

    def _note(self, event: Event) -> bool:
        """Take note of an event; whether it matters for the plan."""
        if event.kind is Kind.ARRIVED:
            edge, _, node = self.tickets.pop(event.ticket, (-1, -1, -1))
            if edge >= 0:
                self.here[edge, node], self.arrived[edge, node] = True, event.time
            return False
        if event.kind is Kind.LATE:
            running = self.status[event.subject] == RUNNING
            if running and self.current.get(event.subject, -1) < event.ticket:
                self.ends[event.subject] = self._expected(event.subject)
            return bool(running) and self.adapt
        if event.kind is Kind.FINISHED:
            if self.current.get(event.subject) != event.ticket:
                return False  # of a node that was lost
            self._finish(event.subject, event.node)
            return self.adapt
        if event.kind is Kind.LOST:
            self._lose(event.node)
            return True
        self.alive[event.node] = True
        return True

    def _expected(self, task: int) -> float:
        time = self.graph.times[task, self.at[task]]
        return max(self.starts[task] + time, self.world.now + OVERTIME * time)

    def _finish(self, task: int, node: int) -> None:
        now = self.world.now
        self.trace.rows.append((task, node, float(self.starts[task]), now, True))
        self.trace.first.setdefault(task, (float(self.starts[task]), node))
        del self.current[task]
        self.status[task], self.ends[task], self.at[task] = DONE, now, -1
        self.running[node] = -1
        for edge in self.targets[task]:
            self.here[edge, node], self.arrived[edge, node] = True, now
            if self.status[self.graph.edges[edge][1]] == WAITING:
                self._send(edge, int(self.node[self.graph.edges[edge][1]]))
                self._send(edge, self._holder(edge, node))

    def _holder(self, edge: int, node: int) -> int:
        """The second holder of an edge's data: the node that they can be at the soonest."""
        size = self.graph.edges[edge][2]
        others = [q for q in np.flatnonzero(self.alive).tolist() if q != node]
        return min(others, key=lambda q: self.graph.transfer(size, node, q), default=node)

    def _send(self, edge: int, node: int) -> None:
        """Have an edge's data sent to a node, unless they are there or on their way."""
        if self.arrived[edge, node] < np.inf or not self.alive[node]:
            return
        size = self.graph.edges[edge][2]
        time, a = min(
            (
                (self.graph.transfer(size, q, node), q)
                for q in np.flatnonzero(self.here[edge]).tolist()
            ),
            default=(np.inf, -1),
        )
        if time < np.inf:
            self.arrived[edge, node] = self.world.now + time
            self.tickets[self.world.send(edge, a, node)] = (edge, a, node)
            self.trace.transfers += 1

    def _lose(self, node: int) -> None:
        now = self.world.now
        self.alive[node] = False
        if (task := self.running[node]) >= 0:
            self.trace.rows.append((task, node, float(self.starts[task]), now, False))
            self.status[task], self.at[task] = WAITING, -1
            del self.current[task]
            self.running[node] = -1
        self.here[:, node] = False
        self.arrived[:, node] = np.inf
        for ticket, (edge, a, b) in list(self.tickets.items()):
            if node in (a, b):
                self.arrived[edge, b] = np.inf
                del self.tickets[ticket]
        coming = {edge for edge, _, _ in self.tickets.values()}
        for task in reversed(self.graph.order):
            if self.status[task] == DONE and any(
                self.status[self.graph.edges[edge][1]] == WAITING
                and not self.here[edge].any()
                and edge not in coming
                for edge in self.targets[task]
            ):
                self.status[task] = WAITING
                self.trace.again += 1
                last = max(n for n, row in enumerate(self.trace.rows) if row[0] == task)
                self.trace.rows[last] = (*self.trace.rows[last][:4], False)

    def _replan(self) -> None:
        begin = clock.process_time()
        waiting = self.status == WAITING
        for task in self.current:
            self.ends[task] = self._expected(task)
        free = np.array([self.ends[t] if t >= 0 else self.world.now for t in self.running])
        state = State(self.world.now, waiting, self.ends, self.at, self.arrived, self.alive, free)
        length, order, node = self.replanner(state, self.order, self.node)
        self.trace.replans.append(clock.process_time() - begin)
        if length < np.inf:
            self.order, self.node = order, np.where(waiting, node, self.node)
            self._queue()

    def _queue(self) -> None:
        """Queues of the nodes by the plan, and transfers to where it wants data."""
        self.queues = [[] for _ in self.graph.nodes]
        for task in self.order[::-1]:
            if self.status[task] == WAITING and self.alive[self.node[task]]:
                self.queues[self.node[task]].append(int(task))
                for edge in self.sources[task]:
                    if self.status[self.graph.edges[edge][0]] == DONE:
                        self._send(edge, int(self.node[task]))

    def _dispatch(self) -> None:
        """Start the first task of the queue of each idle node, if all that it takes is there."""
        for node, queue in enumerate(self.queues):
            if self.running[node] >= 0 or not queue or not self.alive[node]:
                continue
            task = queue[-1]
            if not all(self.here[edge, node] for edge in self.sources[task]):
                continue
            queue.pop()
            now, time = self.world.now, self.graph.times[task, node]
            self.running[node], self.at[task], self.status[task] = task, node, RUNNING
            self.starts[task], self.ends[task] = now, now + time
            self.current[task] = self.world.start(task, node)
            self.world.wake(now + LATE * time, task)
