"""All policies on one fleet: tasks that come over time, without and with churn, and all at once."""

from collections.abc import Callable
from dataclasses import dataclass

from runtime.fleet.fleet import Fleet, draw
from runtime.fleet.policies import POLICIES
from runtime.fleet.simulate import simulate


@dataclass(frozen=True)
class Row:
    """Figures of a policy, see ``simulate.Result``: without churn where the name says nothing, of
    the same tasks with churn, and of the same tasks all at once."""

    policy: str
    nodes: int
    tasks: int
    utilisation: float
    p50: float
    p99: float
    utilisation_churn: float
    p99_churn: float
    again: int
    decisions_per_second: float
    batch_utilisation: float
    batch_seconds: float


def compare(
    fleet: Fleet,
    tasks: int,
    load: float,
    churn: float,
    failures: float,
    noise: float,
    seed: int,
    note: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """A row for each policy, of the same tasks; ``load`` and the rest as in ``fleet.draw``."""
    calm = draw(fleet, tasks, load, 0.0, failures, noise, seed)
    rough = draw(fleet, tasks, load, churn, failures, noise, seed)
    burst = draw(fleet, tasks, None, 0.0, failures, noise, seed)
    rows = []
    for policy in POLICIES:
        note(policy)
        steady, changing, batch = (
            simulate(fleet, each, policy, seed) for each in (calm, rough, burst)
        )
        rows.append(
            Row(
                policy,
                fleet.nodes,
                tasks,
                steady.utilisation,
                steady.p50,
                steady.p99,
                changing.utilisation,
                changing.p99,
                changing.again,
                changing.decisions_per_second,
                batch.utilisation,
                batch.seconds,
            )
        )
    return rows
