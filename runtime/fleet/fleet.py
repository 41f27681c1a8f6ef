"""What a fleet is and is given: kinds of nodes, classes of tasks, a load, churn."""

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.plan import bounds
from runtime.plan.graph import TaskGraph
from spu.arch.errors import UserError

#: Shares of the nodes by kind, and of the tasks by class with seconds by kind; an example, chosen
#: and not measured: an SPU is good at products and streams, and CPUs are many.
KINDS = {"cpu": 0.5, "gpu": 0.25, "tpu": 0.125, "spu": 0.125}
CLASSES = {
    "product": (0.4, {"cpu": 4.0, "gpu": 0.25, "tpu": 0.2, "spu": 0.3}),
    "elementwise": (0.2, {"cpu": 1.0, "gpu": 0.3, "tpu": 0.5, "spu": 0.6}),
    "stream": (0.2, {"cpu": 2.0, "gpu": 0.5, "spu": 0.25}),
    "control": (0.2, {"cpu": 0.4}),
}
#: Owners of tasks, whose numbers of tasks are as 1, 1/4, 1/9 ...: static partitions are by owner.
OWNERS = 8
#: Seconds after which a node that went comes again.
AWAY_SECONDS = 2.0
#: Share of the nodes that may go in a second, so that half of them are there on average; events of
#: a load; range of the numbers of a file.
MOST_CHURN, MOST_EVENTS = 0.25, 1e6
LEAST, MOST = 1e-9, 1e9


class FleetError(UserError):
    """A fleet or a load that cannot be; the message names the thing and the rule."""


@dataclass(frozen=True)
class Fleet:
    """``kinds``: numbers of nodes by kind; ``classes``: share of the tasks, and seconds by number
    of kind, infinite where a kind cannot run them."""

    kinds: Mapping[str, int]
    classes: Mapping[str, tuple[float, NDArray[np.float64]]]

    @property
    def nodes(self) -> int:
        """How many."""
        return sum(self.kinds.values())

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds (classes, kinds)."""
        return np.array([times for _, times in self.classes.values()])

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of the classes, which add to 1."""
        given = np.array([share for share, _ in self.classes.values()])
        return given / given.sum()

    @property
    def capacity(self) -> float:
        """Tasks a second that no policy exceeds: a mix of tasks divided among all nodes at will."""
        have = np.array(list(self.kinds.values()), float)
        pools = self.times[:, have > 0] * self.shares[:, None] / have[have > 0]
        count, several = pools.shape[1], tuple(self.classes)
        links = np.full((count, count), np.inf)
        names = tuple(map(str, range(count)))
        graph = TaskGraph("", several, names, (), pools, links, np.zeros_like(links))
        return 1 / bounds.work(graph)


@dataclass(frozen=True)
class Load:
    """Tasks in the order in which they come, one element each: second, class, owner, and the factor
    of its time; ``churn``: seconds, node and kind of event of what happens to nodes."""

    arrival: NDArray[np.float64]
    group: NDArray[np.int64]
    owner: NDArray[np.int64]
    factor: NDArray[np.float64]
    churn: list[tuple[float, int, str]]


def example(nodes: int) -> Fleet:
    """The fleet of ``KINDS`` and ``CLASSES``; raises ``FleetError`` below 64 nodes."""
    if nodes < 8 * OWNERS:
        raise FleetError(
            f"{nodes} nodes: the example has at least {8 * OWNERS}, 1 a kind and owner"
        )
    kinds = {name: int(share * nodes) for name, share in KINDS.items()}
    kinds["cpu"] += nodes - sum(kinds.values())
    return from_json(
        {
            "kinds": kinds,
            "classes": {name: {"share": s, "times": dict(t)} for name, (s, t) in CLASSES.items()},
        },
        "example",
    )


def load_fleet(path: Path) -> Fleet:
    """A fleet of a JSON file; raises ``FleetError`` if it is none."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise FleetError(f"{path}: {twice[0]!r} is there twice")
        return dict(pairs)

    try:
        given = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=members)
    except FleetError:
        raise
    except (ValueError, RecursionError) as error:
        raise FleetError(f"{path}: no JSON: {error}") from None
    return from_json(given, str(path))


def from_json(given: Any, name: str) -> Fleet:
    """A fleet of ``{"kinds": {kind: nodes}, "classes": {class: {"share": x, "times": {kind:
    seconds}}}}``; raises ``FleetError`` that names what is wrong."""
    for member in ("kinds", "classes"):
        if (
            not isinstance(given, dict)
            or not isinstance(given.get(member), dict)
            or not given[member]
        ):
            raise FleetError(f"{name}: {member!r} must be an object, not empty")
    kinds: dict[str, int] = given["kinds"]
    for kind, count in kinds.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise FleetError(f"{name}: kind {kind!r}: {count!r} nodes; must be a whole number")
    if not sum(kinds.values()):
        raise FleetError(f"{name}: has no node")
    classes = {}
    for group, row in given["classes"].items():
        what = f"{name}: class {group!r}"
        if not isinstance(row, dict) or not isinstance(row.get("times"), dict):
            raise FleetError(f"{what}: must have a share and times")
        times = np.full(len(kinds), np.inf)
        for kind, seconds in row["times"].items():
            if kind not in kinds:
                raise FleetError(f"{what}: unknown kind {kind!r}")
            times[list(kinds).index(kind)] = _positive(seconds, f"{what}: time on {kind!r}")
        if not any(math.isfinite(t) and n for t, n in zip(times, kinds.values(), strict=True)):
            raise FleetError(f"{what}: no node can run it")
        classes[group] = _positive(row.get("share"), f"{what}: share"), times
    return Fleet(kinds, classes)


def _positive(value: Any, what: str) -> float:
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not LEAST <= value <= MOST:
        raise FleetError(f"{what} is {value!r:.40}; must be a number from {LEAST:g} to {MOST:g}")
    return float(value)


def draw(
    fleet: Fleet,
    tasks: int,
    load: float | None,
    churn: float = 0.0,
    failures: float = 0.25,
    noise: float = 0.3,
    seed: int = 0,
) -> Load:
    """A load: arrivals at random at ``load`` times the fleet's capacity, all at once if None.

    ``churn``: share of the nodes that go in a second, and of those that come again; ``failures``:
    share of those that go without a word, with what they run.  ``noise``: see ``world.noisy``.
    Raises ``FleetError`` for shares that are none.
    """
    rng = np.random.default_rng(seed)
    if load is not None and not 0 < load < math.inf:
        raise FleetError(f"load {load}: must be above 0")
    if tasks < 1:
        raise FleetError(f"{tasks} tasks: at least 1 is needed")
    if not (0 <= churn <= MOST_CHURN and 0 <= failures <= 1 and 0 <= noise < 1):
        raise FleetError(
            f"churn must be 0 to {MOST_CHURN}, failures 0 to 1, noise at least 0 and below 1"
        )
    gaps = rng.exponential(1.0, tasks) / (fleet.capacity * load) if load else np.zeros(tasks)
    owners = 1.0 / np.arange(1, OWNERS + 1) ** 2
    arrival = np.cumsum(gaps)
    made = Load(
        arrival,
        rng.choice(len(fleet.classes), tasks, p=fleet.shares),
        rng.choice(OWNERS, tasks, p=owners / owners.sum()),
        rng.uniform(1 - noise, 1 + noise, tasks),
        [],
    )
    away: deque[tuple[float, int]] = deque()  # when they come again, by that time
    gone: set[int] = set()
    time, rate = 0.0, churn * fleet.nodes
    if rate * arrival[-1] > MOST_EVENTS:
        raise FleetError(
            f"{rate * arrival[-1]:.3g} nodes would go before the last task comes; at most "
            f"{MOST_EVENTS:g} may"
        )
    while rate:
        time += rng.exponential(1 / rate)
        while away and away[0][0] <= min(time, arrival[-1]):
            back, node = away.popleft()
            gone.remove(node)
            made.churn.append((back, node, "join"))
        if time >= arrival[-1]:
            break
        if len(gone) == fleet.nodes:
            continue
        while (node := int(rng.integers(fleet.nodes))) in gone:
            pass
        gone.add(node)
        away.append((time + AWAY_SECONDS, node))
        made.churn.append((time, node, "fail" if rng.random() < failures else "leave"))
    made.churn.extend((back, node, "join") for back, node in away)
    return made
