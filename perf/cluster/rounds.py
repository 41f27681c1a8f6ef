"""Many replicas by rounds: the events of ``perf.cluster.serve``, a batch of each replica at a time.

Every ``seconds`` of the virtual clock queries go to the replicas that have fewest, which then
decode for a round.  All queries of a replica move on together, so that a replica is a clock of
tokens and counts of queries by the token at which they end; counts may be fractions.  Failures and
repairs are events between rounds.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perf.cluster.load import Load
from perf.cluster.serve import Failures, Served
from perf.cluster.steady import Replica

#: Tokens of the clock that count as one.
_GRAIN = 16
#: Parts into which a replica's new queries are cut, each of a length of its own.
_PARTS = 2
#: Rounds from one look at the paces of all replicas to the next.
_SEEN = 16
Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Costs:
    """Seconds of a step by queries in the batch, and what the prompt of one more adds."""

    decode: Array
    prompt: Array


def serve_rounds(
    load: Load,
    replica: Replica,
    count: int,
    batch: int,
    failures: Failures | None = None,
    seed: int = 1,
    seconds: float = 1.0,
) -> Served:
    """Serve a load with ``count`` replicas of at most ``batch`` queries each, as long as queries
    arrive; those that are not done then are ``waiting``."""
    return _Rounds(load, replica, count, batch, failures, seed, seconds).run()


class _Rounds:
    def __init__(
        self,
        load: Load,
        replica: Replica,
        count: int,
        batch: int,
        failures: Failures | None,
        seed: int,
        seconds: float,
    ) -> None:
        self.load, self.failures, self.seconds = load, failures, seconds
        self.random = np.random.default_rng(seed)
        self.costs = _costs(replica, load, batch)
        self.batch = float(batch)
        # Grains of the longest query and one for the clock's own place.
        self.width = int(load.outputs.max()) // _GRAIN + 3
        self.ends = np.zeros((count, self.width), np.float32)
        self.lengths = np.sort(load.outputs).astype(float)
        self.clock, self.held, self.debt = (np.zeros(count) for _ in range(3))
        self.pace = np.zeros(count)  # tokens a second of a query, over as long as a query is there
        self.alive = np.ones(count, bool)
        self.rows = np.arange(count)
        self.heap: list[tuple[float, int, bool]] = []
        self.found = Served()
        self.line, self.rounds = 0.0, 0

    def run(self) -> Served:
        found, rounds = self.found, int(np.ceil(self.load.seconds / self.seconds))
        if self.failures:
            for place in self.rows:
                self._will(0.0, int(place), fails=True)
        arrived, taken, times = np.zeros(rounds + 1), np.zeros(rounds + 1), np.zeros(rounds + 1)
        for number in range(rounds):
            start = number * self.seconds
            end = min(start + self.seconds, self.load.seconds)
            self._break(end)
            new = float(self.random.poisson(self.load.between(start, end)))
            self.line += new
            admitted = self._admit()
            self._decode(admitted, end - start)
            arrived[number + 1] = arrived[number] + new
            taken[number + 1] = taken[number] + admitted.sum()
            times[number + 1] = end
        found.seconds = self.load.seconds
        found.waiting = self.line + float(self.held.sum())
        self._waits(arrived, taken, times)
        return found

    def _will(self, now: float, place: int, fails: bool) -> None:
        assert self.failures is not None
        hours = self.failures.hours if fails else self.failures.repair_hours
        heapq.heappush(self.heap, (now + self.random.exponential(hours * 3600), place, fails))

    def _break(self, until: float) -> None:
        """Failures and repairs up to a time."""
        while self.heap and self.heap[0][0] <= until:
            now, place, fails = heapq.heappop(self.heap)
            self.alive[place] = not fails
            if fails:
                self.found.failures += 1
                self.found.again += float(self.held[place])
                self.line += float(self.held[place])
                self.ends[place] = 0
                self.held[place] = self.debt[place] = 0.0
            self._will(now, place, not fails)

    def _admit(self) -> Array:
        """Queries of the line by replica: those that have fewest get them, up to a level."""
        held = np.where(self.alive, np.ceil(self.held), self.batch)
        room = float(np.sum(self.batch - held))
        wanted = min(np.floor(self.line), room)
        admitted = np.zeros_like(held)
        if wanted > 0:
            ordered = np.sort(held)
            # What it takes to lift all below each to its level.
            lifted = ordered * np.arange(len(ordered)) - np.concatenate(
                ([0.0], np.cumsum(ordered)[:-1])
            )
            below = int(np.searchsorted(lifted, wanted, "right"))
            level = ordered[below - 1] + np.floor((wanted - lifted[below - 1]) / below)
            admitted = np.maximum(np.minimum(level, self.batch) - held, 0.0)
            rest = int(wanted - admitted.sum())
            able = np.flatnonzero((held + admitted == level) & (level < self.batch))[:rest]
            admitted[able] += 1
        self.line -= float(admitted.sum())
        self._place(admitted)
        self.held += admitted
        return admitted

    def _place(self, admitted: Array) -> None:
        """Enter the grains at which new queries end: lengths by quantiles, drawn anew each time."""
        if not admitted.any():
            return
        shift = self.random.random(len(admitted))
        for part in range(_PARTS):
            at = ((part + shift) / _PARTS * len(self.lengths)).astype(int)
            end = self.clock + np.maximum(self.lengths[at] - _GRAIN / 2, 0.0)  # of a grain's end
            grain = (end / _GRAIN).astype(int) % self.width
            self.ends[self.rows, grain] += admitted / _PARTS

    def _decode(self, admitted: Array, seconds: float) -> None:
        """Move each clock on by the steps of a round, and let go of queries that it passes."""
        found = self.found
        held = np.minimum(np.ceil(self.held), self.batch).astype(int)
        self.debt += admitted * self.costs.prompt[held]
        spent = np.minimum(self.debt, seconds)
        self.debt -= spent
        busy = (held > 0) & self.alive
        steps = np.where(busy, (seconds - spent) / self.costs.decode[held], 0.0)
        before = (self.clock / _GRAIN).astype(int)
        self.clock += steps
        passed = (self.clock / _GRAIN).astype(int) - before
        here = self.held.copy()
        for grain in range(int(passed.max(initial=0))):
            rows = np.flatnonzero(passed > grain)
            place = (before[rows] + grain) % self.width
            gone = self.ends[rows, place]
            self.ends[rows, place] = 0
            self.held[rows] -= gone
            found.queries += float(gone.sum())
        np.maximum(self.held, 0.0, out=self.held)
        here = (here + self.held) / 2  # queries end at any time of a round
        found.tokens += float(np.sum(steps * here))
        found.busy_seconds += float(busy.sum()) * seconds
        found.batch_seconds += float(here[busy].sum()) * seconds
        self.pace += (steps / seconds - self.pace) * np.minimum(1.0, steps / self.lengths.mean())
        self.rounds += 1
        if self.rounds % _SEEN == 0 and busy.any():
            paces = np.quantile(self.pace[busy], (0.005, 0.05, 0.3, 0.7, 0.95, 0.995))
            weights = np.array((0.01, 0.09, 0.4, 0.4, 0.09, 0.01)) * float(here[busy].sum())
            found.between += zip(1 / np.maximum(paces, 1e-9), weights, strict=True)

    def _waits(self, arrived: Array, taken: Array, times: Array) -> None:
        """Seconds to the first token, by the order of the line: time from the arrival of a query
        of each number until as many are taken, and a step with its prompt."""
        if not taken[-1]:
            return
        ranks = np.linspace(0, min(taken[-1], arrived[-1]), 10_001)[1:]
        came = np.interp(ranks, arrived, times)
        went = np.interp(ranks, taken, times) - self.seconds  # a round takes at its beginning
        middle = int(min(max(self.found.mean_batch, 1), self.batch))
        step = float(self.costs.decode[middle] + self.costs.prompt[middle])
        # Queries arrive at any time of the step that runs.
        running = (np.arange(len(ranks)) * 0.618034) % 1 * self.costs.decode[middle]
        each = np.maximum(went - came, 0.0) + running + step
        self.found.first = [(float(e), 1.0) for e in each]


def _costs(replica: Replica, load: Load, batch: int) -> _Costs:
    """Of contexts as they are met: a query is met as long as it has outputs (renewal theory)."""
    inputs, outputs = load.inputs.astype(float), load.outputs.astype(float)
    if len(inputs) == len(outputs):
        context = np.sum(inputs * outputs) / np.sum(outputs)
    else:
        context = inputs.mean()
    context += np.sum(outputs**2) / (2 * np.sum(outputs))
    held = np.arange(0, batch + 1, dtype=float)
    held[0] = 1.0
    decode = np.asarray(replica.step(held, context))
    flop = float(np.mean(replica.decoder.prefill_flop(inputs)))
    prompt = np.asarray(replica.step(held, context, inputs.mean(), flop)) - decode
    return _Costs(decode, prompt)
