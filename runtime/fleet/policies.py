"""Who runs which task: policies of a fleet, each with the same four calls.

``place(task, now)``: an idle node that starts the task now, or -1 when it waits; ``take(node,
now)``: the task that a node starts when it becomes idle, or -1; ``leave(node)``: the tasks that
waited at a node that is gone; ``join(node)``.  The time of a decision does not depend on how many
nodes there are.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from runtime.fleet.fleet import OWNERS, Fleet, Load


class Policy:
    """Idle nodes by group and kind, which all policies have."""

    def __init__(self, fleet: Fleet, load: Load, seed: int, groups: int = 1) -> None:
        self.times = fleet.times.tolist()
        self.kind = np.repeat(np.arange(len(fleet.kinds)), list(fleet.kinds.values())).tolist()
        self.group = [node % groups for node in range(fleet.nodes)]
        self.classes, self.owner = load.group.tolist(), load.owner.tolist()
        self.rng = np.random.default_rng(seed)
        self.able = [
            [k for k, time in enumerate(row) if time < np.inf] for row in self.times
        ]  # kinds by class
        self.alive = [True] * fleet.nodes
        self.idle = [True] * fleet.nodes
        self.waits: list[list[deque[int]]] = [
            [deque() for _ in fleet.kinds] for _ in range(groups)
        ]  # nodes that may be idle, the first the longest
        self.count = [[0] * len(fleet.kinds) for _ in range(groups)]  # alive
        for node in self.rng.permutation(fleet.nodes).tolist():
            self.waits[self.group[node]][self.kind[node]].append(node)
            self.count[self.group[node]][self.kind[node]] += 1

    def first(self, group: int, kind: int) -> int:
        """The node of a kind that is idle for the longest, -1 if none; it stays idle."""
        nodes = self.waits[group][kind]
        while nodes and not (self.alive[nodes[0]] and self.idle[nodes[0]]):
            nodes.popleft()
        return nodes[0] if nodes else -1

    def use(self, node: int) -> int:
        """Take an idle node."""
        self.idle[node] = False
        return node

    def rest(self, node: int) -> int:
        """A node has nothing to do; returns -1."""
        self.idle[node] = True
        self.waits[self.group[node]][self.kind[node]].append(node)
        return -1

    def leave(self, node: int) -> list[int]:
        """A node is gone; the tasks that waited at it."""
        self.alive[node] = False
        self.count[self.group[node]][self.kind[node]] -= 1
        return []

    def join(self, node: int) -> None:
        """A node is there; ``take`` says what it does."""
        self.alive[node] = True
        self.idle[node] = False
        self.count[self.group[node]][self.kind[node]] += 1


class Planned(Policy):
    """The kind on which a task is expected to end first, and its first node that is idle.

    A task that waits does so for a kind, not for a node; a node without work takes a task of
    another kind's queue if the task ends sooner so.
    """

    def __init__(self, fleet: Fleet, load: Load, seed: int, groups: int = 1) -> None:
        super().__init__(fleet, load, seed, groups)
        # By group and kind: tasks that wait, by class, and the seconds that they will take.
        self.queues: list[list[list[deque[int]]]] = [
            [[deque() for _ in fleet.classes] for _ in fleet.kinds] for _ in range(groups)
        ]
        self.backlog = [[0.0] * len(fleet.kinds) for _ in range(groups)]

    def where(self, task: int) -> int:
        """The group of nodes that may run a task."""
        return 0

    def place(self, task: int, now: float) -> int:
        """See above."""
        group, cls = self.where(task), self.classes[task]
        row, best, chosen, found = self.times[cls], np.inf, -1, -1
        for kind in self.able[cls]:
            if not self.count[group][kind]:
                continue
            node = self.first(group, kind)
            end = row[kind]
            if node < 0:
                end += self.backlog[group][kind] / self.count[group][kind] + 0.5 * row[kind]
            if end < best:
                best, chosen, found = end, kind, node
        if found >= 0:
            return self.use(found)
        if chosen < 0:  # none is there now
            chosen = self.able[cls][0]
        self.queues[group][chosen][cls].append(task)
        self.backlog[group][chosen] += row[chosen]
        return -1

    def take(self, node: int, now: float) -> int:
        """See above."""
        group, kind = self.group[node], self.kind[node]
        task = self._oldest(group, kind)
        if task < 0:
            task = self._other(group, kind)
        return task if task >= 0 else self.rest(node)

    def _oldest(self, group: int, kind: int) -> int:
        queues = [q for q in self.queues[group][kind] if q]
        if not queues:
            return -1
        task = min(queues, key=lambda q: q[0]).popleft()
        self.backlog[group][kind] -= self.times[self.classes[task]][kind]
        return task

    def _other(self, group: int, kind: int) -> int:
        """A task that waits for another kind and ends sooner on this one, by the most."""
        best, chosen = 0.0, (-1, -1)
        for other, queues in enumerate(self.queues[group]):
            if other == kind or self.backlog[group][other] <= 0:
                continue
            wait = self.backlog[group][other] / max(self.count[group][other], 1)
            for cls, queue in enumerate(queues):
                if queue:
                    gain = wait + self.times[cls][other] - self.times[cls][kind]
                    if gain > best:
                        best, chosen = gain, (other, cls)
        other, cls = chosen
        if other < 0:
            return -1
        self.backlog[group][other] -= self.times[cls][other]
        # The last: the first ones are served by the kind itself the soonest.
        return self.queues[group][other][cls].pop()


class Static(Planned):
    """As ``Planned``, each owner's tasks on an equal part of the nodes of every kind."""

    def __init__(self, fleet: Fleet, load: Load, seed: int) -> None:
        super().__init__(fleet, load, seed, OWNERS)

    def where(self, task: int) -> int:
        """See above."""
        return self.owner[task]


class Dask(Policy):
    """What a scheduler does that knows one mean time of a task for all workers: any idle worker
    that can run it, else the scheduler's queue, first come first served.

    After Dask's documentation of its scheduling policies ("worker-saturation", queuing); tasks here
    have no inputs that would draw them to a worker.
    """

    def __init__(self, fleet: Fleet, load: Load, seed: int) -> None:
        super().__init__(fleet, load, seed)
        self.queues: list[deque[int]] = [deque() for _ in fleet.classes]

    def place(self, task: int, now: float) -> int:
        """See above."""
        cls = self.classes[task]
        idle = [node for kind in self.able[cls] if (node := self.first(0, kind)) >= 0]
        if idle:
            return self.use(idle[task % len(idle)])
        self.queues[cls].append(task)
        return -1

    def take(self, node: int, now: float) -> int:
        """See above."""
        kind = self.kind[node]
        queues = [q for c, q in enumerate(self.queues) if q and self.times[c][kind] < np.inf]
        return min(queues, key=lambda q: q[0]).popleft() if queues else self.rest(node)


class RoundRobin(Policy):
    """The next node that can run a task, at which it waits."""

    def __init__(self, fleet: Fleet, load: Load, seed: int) -> None:
        super().__init__(fleet, load, seed)
        self.queues: list[deque[int]] = [deque() for _ in range(fleet.nodes)]
        order = self.rng.permutation(fleet.nodes).tolist()
        self.nodes = [[n for n in order if self.kind[n] in able] for able in self.able]
        self.next = [0] * len(self.nodes)

    def choose(self, cls: int) -> int:
        """A node for a class, alive or not."""
        self.next[cls] = (self.next[cls] + 1) % len(self.nodes[cls])
        return self.nodes[cls][self.next[cls]]

    def place(self, task: int, now: float) -> int:
        """See above."""
        node = self.choose(self.classes[task])
        for _ in range(1000):
            if self.alive[node]:
                break
            node = self.choose(self.classes[task])
        if self.alive[node] and self.idle[node]:
            return self.use(node)
        self.queues[node].append(task)
        return -1

    def take(self, node: int, now: float) -> int:
        """See above."""
        return self.queues[node].popleft() if self.queues[node] else self.rest(node)

    def leave(self, node: int) -> list[int]:
        """See above."""
        super().leave(node)
        waiting, self.queues[node] = self.queues[node], deque()
        return list(waiting)


class Random(RoundRobin):
    """Any node that can run a task, at which it waits."""

    def choose(self, cls: int) -> int:
        """See above."""
        nodes = self.nodes[cls]
        return nodes[int(self.rng.random() * len(nodes))]


#: By name, as they are shown.
POLICIES: dict[str, Callable[[Fleet, Load, int], Policy]] = {
    "planned": Planned,
    "dask": Dask,
    "round robin": RoundRobin,
    "random": Random,
    "static": Static,
}
