"""What would help a graph that was not mapped, and what a larger array would buy one that was."""

import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compiler.ir.dataflow import Dataflow
from compiler.map.loop.budget import SECONDS
from compiler.map.loop.mapper import (
    MEMORY_COLUMNS,
    NotMapped,
    grid_architecture,
    map_dataflow,
    minimum_ii,
)
from spu.arch.params import Architecture

#: Changes that are tried, and the largest grid among them; chosen, not tuned.
CHANGES, LARGEST = 4, 16
#: Operations of a graph that is mapped to see whether a change is enough; chosen, not tuned.
MOST_TRIED = 60
#: Seconds that the bounds of an array may take when no others are left; chosen, not tuned.
GLANCE = 1.0


@dataclass(frozen=True)
class Change:
    """Another array: ``rows x cols`` tiles, columns with memory."""

    rows: int
    cols: int
    memory: str

    @property
    def arch(self) -> Architecture:
        """The array, as ``grid_architecture`` makes it."""
        return grid_architecture(self.rows, self.cols, self.memory)

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols} tiles with memory in {self.memory} columns"


def changes(rows: int, cols: int, memory: str) -> Iterator[Change]:
    """Larger arrays, those with the fewest more tiles first; more memory before more tiles."""
    columns = MEMORY_COLUMNS[MEMORY_COLUMNS.index(memory) :]
    grids = sorted(
        (r * c, abs(r - c), r, c)
        for r in range(rows, LARGEST + 1)
        for c in range(cols, LARGEST + 1)
    )
    seen = {Change(rows, cols, memory).arch.pattern}
    for _, _, r, c in grids:
        for wider in columns:
            change = Change(r, c, wider)
            if change.arch.pattern not in seen:
                seen.add(change.arch.pattern)
                yield change


def smallest_change(
    graph: Dataflow,
    rows: int,
    cols: int,
    memory: str,
    unit_latency: bool,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    seconds: float = SECONDS,
) -> str:
    """The smallest larger array that maps a graph, found by mapping it, or that there is none.

    Of graphs of many operations, or when no seconds are left, the smallest that its bounds allow.
    """
    few, tried, start = len(graph.operations) <= MOST_TRIED, 0, clock.monotonic()
    for change in changes(rows, cols, memory):
        left = start + seconds - clock.monotonic()
        try:
            least = minimum_ii(
                graph, change.arch, unit_latency=unit_latency, seconds=max(left, GLANCE)
            )
            if least.stopped or least.ii > change.arch.contexts:
                if least.stopped or left <= 0:
                    return "there was no time to look for an array that is enough"
                continue
            if not few or left <= 0:
                return (
                    f"the smallest array whose contexts are enough: {change}, II at least "
                    f"{least.ii}"
                )
            tried += 1
            progress(f"trying {change}")
            mapped = map_dataflow(graph, change.arch, unit_latency, seed, seconds=left)
        except NotMapped:
            if tried == CHANGES:
                break
            continue
        return f"the smallest change that maps it: {change}, II {mapped.placed.ii}"
    if not tried:
        return f"no array of up to {LARGEST}x{LARGEST} tiles is enough"
    return f"none of the {tried} next larger arrays maps it either"
