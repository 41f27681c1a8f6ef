"""Task graphs with what tasks and transfers cost on the nodes of a mesh, and their JSON form.

A file has ``tasks`` [[name, work]], ``edges`` [[from, to, bytes]], ``nodes`` [[name, speed]] and
``links`` [[a, b, bandwidth]] or [[a, b, bandwidth, latency]].  A task takes ``work / speed``
seconds on a node; in place of the work, an object {node: seconds} has the times themselves, and
nodes that it lacks cannot run the task.  A transfer takes ``latency + bytes / bandwidth`` seconds;
it costs nothing within a node.  Links are the same in both directions; bandwidth 0: not connected.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import UserError

#: Members of a graph in a file, all of them needed.
MEMBERS = ("tasks", "edges", "nodes", "links")

#: Range of numbers, whose sums and quotients are then numbers, too.
LEAST, MOST = 1e-100, 1e100


class GraphError(UserError):
    """A task graph that cannot be planned; the message names the thing and the rule."""


@dataclass(frozen=True)
class TaskGraph:
    """Tasks with their dependences, and what they cost; all arrays are float64 seconds and bytes.

    ``edges``: source, target, as numbers of tasks, and bytes.  ``times``: (tasks, nodes), infinite
    where a node cannot run a task.  ``bandwidth``, ``latency``: (nodes, nodes), bytes a second and
    seconds; bandwidth is infinite within a node, 0 where two are not connected.
    """

    name: str
    tasks: tuple[str, ...]
    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int, float], ...]
    times: NDArray[np.float64]
    bandwidth: NDArray[np.float64]
    latency: NDArray[np.float64]

    def transfer(self, size: float, a: int, b: int) -> float:
        """Seconds that ``size`` bytes take from node ``a`` to node ``b``."""
        if a == b:
            return 0.0
        speed = self.bandwidth[a, b]
        return float(self.latency[a, b] + size / speed) if speed else math.inf

    @cached_property
    def order(self) -> list[int]:
        """Tasks with every source before its targets; raises ``GraphError`` if there is a cycle."""
        missing = [0] * len(self.tasks)
        targets: list[list[int]] = [[] for _ in self.tasks]
        for source, target, _ in self.edges:
            missing[target] += 1
            targets[source].append(target)
        found = [task for task, count in enumerate(missing) if not count]
        for task in found:
            for target in targets[task]:
                missing[target] -= 1
                if not missing[target]:
                    found.append(target)
        if len(found) < len(self.tasks):
            raise GraphError(f"{self.name}: {_cycle(self, missing)}: a cycle; tasks have none")
        return found


def _cycle(graph: TaskGraph, missing: Sequence[int]) -> str:
    """Names of the tasks of a cycle, among those that still miss a source."""
    source = {t: s for s, t, _ in graph.edges if missing[s] and missing[t]}
    seen: dict[int, int] = {}
    task = next(iter(source))
    while task not in seen:
        seen[task] = len(seen)
        task = source[task]
    around = [t for t in seen if seen[t] >= seen[task]][::-1]
    shown = [repr(graph.tasks[t]) for t in (*around[:4], *around[:1])]
    if len(around) > 4:
        shown.insert(-1, "...")
    return " -> ".join(shown)


def load(path: Path) -> dict[str, Any]:
    """Graphs of a file as JSON, by name: one graph, or an object of several.

    Raises ``GraphError`` if it holds neither; ``from_json`` looks at what is inside.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise GraphError(f"{path}: {twice!r} is there twice")
        return found

    try:
        read = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=members)
    except GraphError:
        raise
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{path}: no JSON: {error}") from None
    if isinstance(read, dict) and set(MEMBERS) & set(read):
        return {str(read.get("name", path.stem)): read}
    if not isinstance(read, dict) or not read:
        raise GraphError(f"{path}: must be a task graph, or an object of task graphs by name")
    return read


def from_json(given: Any, name: str) -> TaskGraph:
    """A graph of its JSON form, see above; raises ``GraphError`` that names what is wrong."""
    if not isinstance(given, dict):
        raise GraphError(f"{name}: must be an object with {', '.join(MEMBERS)}")
    for member in MEMBERS:
        if not isinstance(given.get(member), list):
            raise GraphError(f"{name}: {member!r} must be a list")
    nodes = _names(given["nodes"], f"{name}: node")
    tasks = _names(given["tasks"], f"{name}: task")
    speeds = [_number(row[1], f"{name}: speed of node {row[0]!r}") for row in given["nodes"]]
    for node, speed in zip(nodes, speeds, strict=True):
        if not speed:
            raise GraphError(
                f"{name}: speed of node {node!r} is 0; a node that runs nothing is none"
            )
    graph = TaskGraph(
        name=name,
        tasks=tasks,
        nodes=nodes,
        edges=_edges(given["edges"], tasks, name),
        times=_times(given["tasks"], nodes, np.array(speeds), name),
        **_links(given["links"], nodes, name),
    )
    _ = graph.order  # which refuses cycles
    return graph


def _names(rows: Iterable[Any], what: str) -> tuple[str, ...]:
    """First members of rows of two, all different."""
    names: dict[str, None] = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != 2 or not isinstance(row[0], str):
            raise GraphError(f"{what} {_shown(row)}: must be a name and a number")
        if row[0] in names:
            raise GraphError(f"{what} {row[0]!r} is there twice; names are different")
        if not row[0].isprintable():  # surrogates have no place in a file
            raise GraphError(f"{what} {row[0]!r}: names are printable characters")
        names[row[0]] = None
    if not names:
        raise GraphError(f"{what}s: there are none, at least one is needed")
    return tuple(names)


def _number(value: Any, what: str) -> float:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GraphError(f"{what} is {_shown(value)}; it must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise GraphError(f"{what} is {_shown(value)}; it must be finite and not negative")
    if number and not LEAST <= number <= MOST:
        raise GraphError(f"{what} is {_shown(value)}; it must be from {LEAST:g} to {MOST:g}, or 0")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _edges(
    rows: Iterable[Any], tasks: Sequence[str], name: str
) -> tuple[tuple[int, int, float], ...]:
    number = {task: at for at, task in enumerate(tasks)}
    found: dict[tuple[int, int], float] = {}
    for row in rows:
        if not isinstance(row, list) or len(row) != 3:
            raise GraphError(f"{name}: edge {_shown(row)}: must be two tasks and bytes")
        for task in row[:2]:
            if not isinstance(task, str) or task not in number:
                raise GraphError(f"{name}: edge {_shown(row)}: unknown task {_shown(task)}")
        pair = number[row[0]], number[row[1]]
        if pair in found:
            raise GraphError(f"{name}: edge {row[0]!r} -> {row[1]!r} is there twice")
        found[pair] = _number(row[2], f"{name}: size of edge {row[0]!r} -> {row[1]!r}")
    return tuple((source, target, size) for (source, target), size in found.items())


def _times(
    rows: Iterable[Any], nodes: Sequence[str], speeds: NDArray[np.float64], name: str
) -> NDArray[np.float64]:
    number = {node: at for at, node in enumerate(nodes)}
    found = []
    for task, work in rows:
        if not isinstance(work, dict):
            with np.errstate(over="ignore"):
                row = _number(work, f"{name}: work of task {task!r}") / speeds
            if not np.isfinite(row).all():
                raise GraphError(f"{name}: task {task!r}: work / speed is beyond float64")
            found.append(row)
            continue
        row = np.full(len(nodes), np.inf)
        for node, seconds in work.items():
            if node not in number:
                raise GraphError(f"{name}: times of task {task!r}: unknown node {node!r}")
            row[number[node]] = _number(seconds, f"{name}: time of task {task!r} on {node!r}")
        if not work:
            raise GraphError(f"{name}: task {task!r}: no node can run it")
        found.append(row)
    return np.array(found)


def _links(rows: Iterable[Any], nodes: Sequence[str], name: str) -> dict[str, NDArray[np.float64]]:
    number = {node: at for at, node in enumerate(nodes)}
    bandwidth = np.full((len(nodes),) * 2, np.nan)
    latency = np.zeros_like(bandwidth)
    for row in rows:
        if not isinstance(row, list) or len(row) not in (3, 4):
            raise GraphError(f"{name}: link {_shown(row)}: must be two nodes, bandwidth, latency")
        for node in row[:2]:
            if not isinstance(node, str) or node not in number:
                raise GraphError(f"{name}: link {_shown(row)}: unknown node {_shown(node)}")
        what = f"link {row[0]!r} - {row[1]!r}"
        a, b = number[row[0]], number[row[1]]
        speed = _number(row[2], f"{name}: bandwidth of {what}")
        wait = _number(row[3], f"{name}: latency of {what}") if len(row) > 3 else 0.0
        known = bandwidth[a, b], latency[a, b]
        if not np.isnan(known[0]) and known != (speed, wait):
            raise GraphError(f"{name}: {what} is there twice, with different costs")
        bandwidth[a, b] = bandwidth[b, a] = speed
        latency[a, b] = latency[b, a] = wait
    np.fill_diagonal(bandwidth, np.inf)
    np.fill_diagonal(latency, 0.0)
    for a, b in np.argwhere(np.isnan(bandwidth)):
        raise GraphError(
            f"{name}: nodes {nodes[a]!r} and {nodes[b]!r} have no link; bandwidth 0 says that "
            "they are not connected"
        )
    return {"bandwidth": bandwidth, "latency": latency}
