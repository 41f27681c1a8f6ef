"""A hall of servers that serves a decoder: split, batch, simulation, power."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perf.cluster import load as loads
from perf.cluster.rounds import serve_rounds
from perf.cluster.serve import Failures, Served, serve
from perf.cluster.split import Split, SplitError, over
from perf.cluster.steady import Chip, Replica, fastest, steady
from perf.constants import Number
from perf.llm.decoder import Decoder

#: Queries up to which every step of every batch is an event of its own.
EXACT_QUERIES = 50_000
MOST_SERVERS = 1_000_000
#: Replicas times rounds that a simulation may take by default; some 5 minutes on a core of 2020.
_ROUNDS = 1e9
#: Chips of which a split is chosen where none is given.
_SPLIT_CHIPS = 64


@dataclass(frozen=True)
class Hall:
    """``replicas`` of a decoder, each of at most ``batch`` queries; ``capacity``: queries a second
    of the mean lengths that all can serve."""

    replica: Replica
    replicas: int
    batch: int
    capacity: float


def hall(
    decoder: Decoder,
    chip: Chip,
    nodes: int,
    server: int,
    lengths: tuple[float, float],
    token_seconds: float,
    ways: tuple[int, int, int] = (0, 0, 0),
) -> Hall:
    """A decoder on ``nodes`` servers of ``server`` chips, for queries of mean ``lengths`` (inputs,
    outputs) that get a token in ``token_seconds``.

    ``ways``: tp, pp and ep; those that are 0 are 1, and if all are, the split of most tokens a
    second is taken of those over up to ``_SPLIT_CHIPS`` chips.  Raises ``SplitError``, naming the
    rule, for a decoder that cannot be split so or that finds no room.
    """
    if not 1 <= nodes <= MOST_SERVERS:
        raise SplitError(f"{decoder.name}: takes 1 to {MOST_SERVERS} servers, not {nodes}")
    chips = nodes * server
    if any(ways):
        split = over(decoder, chips, *ways)
    else:
        inner = int(np.gcd(chips, _SPLIT_CHIPS))
        found = fastest(decoder, chip, inner, server, *lengths, token_seconds).split
        split = Split(found.tp, found.pp, found.ep, chips // found.replica)
    replica = Replica(decoder, chip, split)
    state = steady(replica, *lengths, token_seconds)
    if not state.batch:
        raise SplitError(
            f"{decoder.name}: split tp {split.tp} x pp {split.pp} x ep {split.ep} has no room for "
            f"a query of {sum(lengths):.0f} tokens, or needs more than {token_seconds} s a token"
        )
    capacity = float(state.rate) * split.dp / lengths[1]
    return Hall(replica, split.dp, int(state.batch), capacity)


def simulate(
    made: Hall,
    load: loads.Load,
    queries: list[loads.Query] | None,
    failures: Failures | None,
    seed: int,
) -> tuple[Served, float]:
    """Serve a load, or the very ``queries`` of a trace; what came of it, and the seconds of a
    round, 0 where every step was an event of its own (``EXACT_QUERIES``)."""
    if (len(queries) if queries else load.expected) <= EXACT_QUERIES:
        each = queries if queries is not None else load.queries(seed)
        return serve(each, made.replica, made.replicas, made.batch, failures, seed), 0.0
    seconds = max(1.0, float(np.ceil(made.replicas * load.seconds / _ROUNDS)))
    return serve_rounds(
        load, made.replica, made.replicas, made.batch, failures, seed, seconds
    ), seconds


def failing(c: Mapping[str, Number], made: Hall) -> Failures:
    """Failures of a replica, which is gone with any of its servers."""
    servers = max(1.0, made.replica.split.replica / c["server_chips"])
    return Failures(float(c["server_failure_hours"]) / servers, float(c["repair_hours"]))


def load_of(
    path: Path | None,
    rate: float,
    hours: float,
    lengths: tuple[float, float],
    spread: float,
    swing: float,
    seed: int,
) -> tuple[loads.Load, list[loads.Query] | None]:
    """A load of a trace file, with its queries, or one that is drawn.

    Raises ``LoadError``; ``OSError``.
    """
    if path is None:
        return loads.poisson(rate, hours * 3600, *lengths, spread, swing, seed), None
    queries, load = loads.trace(path)
    if len(queries) > EXACT_QUERIES:
        raise loads.LoadError(
            f"{path}: {len(queries)} queries; at most {EXACT_QUERIES} are served one by one, and "
            "rounds would draw others in their place"
        )
    return load, queries
