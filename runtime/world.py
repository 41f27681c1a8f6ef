"""What the scheduler's loop acts on: nodes, transfers and a clock, here simulated ones.

The loop asks a ``World`` to start tasks and transfers, and takes its events one by one; with the
events of real devices it is the same loop.
"""

import heapq
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from runtime.plan.graph import TaskGraph
from spu.arch.errors import UserError


class Kind(Enum):
    """What has happened."""

    FINISHED = "a task has ended on its node"
    ARRIVED = "an edge's data are at a node"
    LATE = "the time that was asked for has come"
    LOST = "a node is gone, with what it ran and held"
    JOINED = "a node is there"


@dataclass(frozen=True, order=True)
class Event:
    """``time`` in seconds; ``subject``: number of the task or edge, -1 if none; ``ticket``: of the
    request that it answers, -1 if none."""

    time: float
    number: int
    kind: Kind = field(compare=False)
    node: int = field(compare=False)
    subject: int = field(default=-1, compare=False)
    ticket: int = field(default=-1, compare=False)


class World(Protocol):
    """Nodes and their links, and a clock."""

    now: float

    def start(self, task: int, node: int) -> int:
        """Begin a task; returns the ticket of its ``FINISHED``."""

    def send(self, edge: int, a: int, b: int) -> int:
        """Begin a transfer; returns the ticket of its ``ARRIVED``."""

    def wake(self, time: float, task: int) -> int:
        """Ask for a ``LATE`` of a task at a time; returns its ticket."""

    def next(self) -> Event | None:
        """Wait for the next event, None if none will ever come."""


class Simulated:
    """A world of true times, with a virtual clock: nothing waits.

    ``truth``: the graph with the times and sizes that tasks and transfers really have.  ``lost``,
    ``joined``: seconds by number of node.  Raises ``UserError`` for nodes that there are not, and
    for times that are negative or not finite.
    """

    def __init__(
        self,
        truth: TaskGraph,
        lost: Mapping[int, float] | None = None,
        joined: Mapping[int, float] | None = None,
    ) -> None:
        self.truth, self.now = truth, 0.0
        self._queue: list[Event] = []
        self._numbers = itertools.count()
        for kind, times in ((Kind.LOST, lost or {}), (Kind.JOINED, joined or {})):
            for node, time in times.items():
                if not 0 <= node < len(truth.nodes):
                    raise UserError(f"node {node}: there are {len(truth.nodes)}, counted from 0")
                if not (math.isfinite(time) and time >= 0):
                    raise UserError(f"node {node}: {time} s; must be finite and not negative")
                self._push(time, kind, node)

    def _push(self, time: float, kind: Kind, node: int, subject: int = -1) -> int:
        number = next(self._numbers)
        heapq.heappush(self._queue, Event(time, number, kind, node, subject, number))
        return number

    def start(self, task: int, node: int) -> int:
        """See ``World``."""
        return self._push(self.now + self.truth.times[task, node], Kind.FINISHED, node, task)

    def send(self, edge: int, a: int, b: int) -> int:
        """See ``World``."""
        time = self.truth.transfer(self.truth.edges[edge][2], a, b)
        return self._push(self.now + time, Kind.ARRIVED, b, edge)

    def wake(self, time: float, task: int) -> int:
        """See ``World``."""
        return self._push(max(time, self.now), Kind.LATE, -1, task)

    def next(self) -> Event | None:
        """See ``World``."""
        if not self._queue:
            return None
        event = heapq.heappop(self._queue)
        self.now = event.time
        return event


def noisy(graph: TaskGraph, rng: np.random.Generator, noise: float, by_node: bool) -> TaskGraph:
    """A graph whose times and sizes are multiplied by factors of ``1 - noise`` to ``1 + noise``.

    Each task has its own factor on every node where ``by_node``, else one: what it takes depends on
    its data then.  Each edge has its own.  Raises ``UserError`` unless ``0 <= noise < 1``.
    """
    if not 0 <= noise < 1:
        raise UserError(f"noise {noise}: must be at least 0 and below 1")
    shape = graph.times.shape if by_node else (len(graph.tasks), 1)
    times = graph.times * rng.uniform(1 - noise, 1 + noise, shape)
    factors = rng.uniform(1 - noise, 1 + noise, len(graph.edges))
    edges = tuple((a, b, s * float(f)) for (a, b, s), f in zip(graph.edges, factors, strict=True))
    return TaskGraph(
        graph.name, graph.tasks, graph.nodes, edges, times, graph.bandwidth, graph.latency
    )
