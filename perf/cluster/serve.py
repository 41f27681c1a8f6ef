"""Queries served by replicas: discrete events on a virtual clock, a step of a batch an event.

Queries wait in one line.  A replica that begins a step takes from it as many as its batch, its
memory and the step's share of prompts have room for; every query in its batch gets a token.  A
failure takes a replica away with all that it has; its queries go to the head of the line and begin
anew.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from perf.cluster.load import Query
from perf.cluster.steady import Replica

#: Tokens of prompts that a step takes up (as serving stacks bound a batch of prefill); a longer
#: prompt alone.
PREFILL_TOKENS = 8192


@dataclass(frozen=True)
class Failures:
    """Mean hours between failures of a replica, and until it serves again."""

    hours: float
    repair_hours: float


@dataclass
class Served:
    """What came of a load: queries and tokens served, failures, queries that began anew; seconds
    that passed, and those of replicas at work; seconds to the first token and between tokens of
    each query or each group, with the number that it stands for."""

    queries: float = 0
    tokens: float = 0
    waiting: float = 0
    failures: int = 0
    again: float = 0
    seconds: float = 0.0
    busy_seconds: float = 0.0
    batch_seconds: float = 0.0
    first: list[tuple[float, float]] = field(default_factory=list)
    between: list[tuple[float, float]] = field(default_factory=list)

    @property
    def mean_batch(self) -> float:
        """Queries of a replica at work, mean over time."""
        return self.batch_seconds / self.busy_seconds if self.busy_seconds else 0.0

    def first_quantile(self, share: float) -> float:
        """Seconds to the first token that ``share`` of the queries keep."""
        return quantile(self.first, share)

    def between_quantile(self, share: float) -> float:
        """Seconds between tokens that ``share`` of the queries keep."""
        return quantile(self.between, share)


def quantile(weighted: list[tuple[float, float]], share: float) -> float:
    """The smallest of the values that has ``share`` of the weight at or below it; nan of none."""
    if not weighted:
        return float("nan")
    values, weights = np.array(weighted, float).T
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    place = int(np.searchsorted(sums, share * sums[-1] * (1 - 1e-12)))
    return float(values[order][min(place, len(values) - 1)])


class _Kind(IntEnum):
    """At one time in this order."""

    REPAIR = 0
    ARRIVAL = 1
    STEP = 2
    FAILURE = 3


@dataclass
class _Active:
    query: Query
    done: int = 0
    began: float = 0.0


class _Server:
    """A replica with what it is at."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.active: list[_Active] = []
        self.alive, self.working, self.epoch, self.since = True, False, 0, 0.0


def serve(
    queries: Iterable[Query],
    replica: Replica,
    count: int,
    batch: int,
    failures: Failures | None = None,
    seed: int = 1,
) -> Served:
    """Serve all queries with ``count`` replicas of at most ``batch`` queries each; until the last
    token, or until a query fits no replica's memory, which ``waiting`` counts."""
    room = int(replica.most_tokens())
    fitting: list[Query] = []
    found = Served()
    for query in queries:
        if query.inputs + query.outputs <= room:
            fitting.append(query)
        else:
            found.waiting += 1
    return _Simulation(replica, count, batch, room, failures, seed, found).run(fitting)


class _Simulation:
    def __init__(
        self,
        replica: Replica,
        count: int,
        batch: int,
        room: int,
        failures: Failures | None,
        seed: int,
        found: Served,
    ) -> None:
        self.servers = [_Server(replica) for _ in range(count)]
        self.batch, self.room, self.failures, self.found = batch, room, failures, found
        self.random = np.random.default_rng(seed)
        self.line: deque[Query] = deque()
        self.heap: list[tuple[float, int, int, int]] = []
        self.left = 0

    def run(self, queries: list[Query]) -> Served:
        self.left = len(queries)
        for place, query in enumerate(queries):
            heapq.heappush(self.heap, (query.seconds, _Kind.ARRIVAL, place, 0))
        if self.failures:
            for place in range(len(self.servers)):
                self._will(place, 0.0, _Kind.FAILURE, self.failures.hours)
        now = 0.0
        while self.left and self.heap:
            now, kind, place, epoch = heapq.heappop(self.heap)
            if kind == _Kind.ARRIVAL:
                self.line.append(queries[place])
                self._wake(now)
            elif kind == _Kind.STEP:
                if self.servers[place].epoch == epoch:
                    self._stepped(place, now)
            elif kind == _Kind.FAILURE:
                self._fail(place, now)
            else:
                self.servers[place].alive = True
                self._will(place, now, _Kind.FAILURE, self._failures.hours)
                self._wake(now)
        self.found.seconds = now
        return self.found

    @property
    def _failures(self) -> Failures:
        assert self.failures is not None
        return self.failures

    def _will(self, place: int, now: float, kind: _Kind, hours: float) -> None:
        wait = self.random.exponential(hours * 3600)
        heapq.heappush(self.heap, (now + wait, kind, place, 0))

    def _wake(self, now: float) -> None:
        """Start replicas that are idle, while there are queries in the line."""
        for place, server in enumerate(self.servers):
            if not self.line:
                return
            if server.alive and not server.working:
                self._begin(place, now)

    def _begin(self, place: int, now: float) -> None:
        """Start a step, with queries of the line as far as there is room."""
        server = self.servers[place]
        used = sum(a.query.inputs + a.query.outputs for a in server.active)
        prefill, flop = 0, 0.0
        while self.line and len(server.active) < self.batch:
            query = self.line[0]
            size = query.inputs + query.outputs
            if used + size > self.room or (prefill and prefill + query.inputs > PREFILL_TOKENS):
                break
            self.line.popleft()
            server.active.append(_Active(query))
            used, prefill = used + size, prefill + query.inputs
            flop += float(server.replica.decoder.prefill_flop(query.inputs))
        if not server.active:
            server.working = False
            return
        batch = len(server.active)
        context = sum(a.query.inputs + a.done for a in server.active) / batch
        seconds = float(server.replica.step(batch, context, prefill, flop))
        server.working, server.since = True, now
        server.epoch += 1
        heapq.heappush(self.heap, (now + seconds, _Kind.STEP, place, server.epoch))

    def _stepped(self, place: int, now: float) -> None:
        """Give every query its token, let go of those that have all, and go on."""
        server, found = self.servers[place], self.found
        found.busy_seconds += now - server.since
        found.batch_seconds += (now - server.since) * len(server.active)
        kept = []
        for each in server.active:
            each.done += 1
            if each.done == 1:
                each.began = now
                found.first.append((now - each.query.seconds, 1.0))
            if each.done < each.query.outputs:
                kept.append(each)
                continue
            found.queries, found.tokens = found.queries + 1, found.tokens + each.done
            if each.done > 1:
                found.between.append(((now - each.began) / (each.done - 1), 1.0))
            self.left -= 1
        server.active = kept
        self._begin(place, now)

    def _fail(self, place: int, now: float) -> None:
        server = self.servers[place]
        self.found.failures += 1
        self.found.again += len(server.active)
        self.line.extendleft(each.query for each in reversed(server.active))
        server.active, server.alive, server.working = [], False, False
        server.epoch += 1
        self._will(place, now, _Kind.REPAIR, self._failures.repair_hours)
        self._wake(now)
