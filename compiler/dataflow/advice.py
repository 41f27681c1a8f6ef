"""What would help a graph that was not mapped, and what a larger array would buy one that was."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compiler.dataflow.graph import Dataflow
from compiler.dataflow.legalise import legalise
from compiler.dataflow.mapper import (
    MEMORY_COLUMNS,
    MOST_OPERATIONS,
    grid_architecture,
    map_dataflow,
    minimum_ii,
)
from compiler.errors import CompileError
from spu.arch.params import Architecture

#: Changes that are tried, and the largest grid among them.
CHANGES, LARGEST = 4, 16
#: Operations of a graph that is mapped to see whether a change is enough.
MOST_TRIED = 60


@dataclass(frozen=True)
class Change:
    """Another array: ``rows x cols`` tiles, columns with memory."""

    rows: int
    cols: int
    memory: str

    @property
    def arch(self) -> Architecture:
        return grid_architecture(self.rows, self.cols, self.memory)

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols} tiles with memory in {self.memory} columns"


def changes(rows: int, cols: int, memory: str) -> Iterator[Change]:
    """Larger arrays, those with the fewest more tiles first; more memory before more tiles."""
    columns = MEMORY_COLUMNS[MEMORY_COLUMNS.index(memory):]
    grids = sorted((r * c, abs(r - c), r, c) for r in range(rows, LARGEST + 1)
                    for c in range(cols, LARGEST + 1))
    seen = {Change(rows, cols, memory).arch.pattern}
    for _, _, r, c in grids:
        for wider in columns:
            change = Change(r, c, wider)
            if change.arch.pattern not in seen:
                seen.add(change.arch.pattern)
                yield change


def smallest_change(graph: Dataflow, rows: int, cols: int, memory: str, unit_latency: bool,
                    seed: int = 0, progress: Callable[[str], None] = lambda _: None) -> str:
    """The smallest larger array that maps a graph, found by mapping it, or that there is none.

    Of graphs of many operations, the smallest whose contexts are enough for the bound.
    """
    operations = len(legalise(graph).operations)
    if operations > MOST_OPERATIONS:
        return f"a graph of at most {MOST_OPERATIONS} operations would be tried"
    tried = 0
    for change in changes(rows, cols, memory):
        try:
            ii = minimum_ii(graph, change.arch)
            if ii > change.arch.contexts:
                continue
            if operations > MOST_TRIED:
                return f"the smallest array whose contexts are enough: {change}, II at least {ii}"
            tried += 1
            progress(f"trying {change}")
            mapped = map_dataflow(graph, change.arch, unit_latency, seed)
        except CompileError:
            if tried == CHANGES:
                break
            continue
        return f"the smallest change that maps it: {change}, II {mapped.placed.ii}"
    return f"none of the {tried} next larger arrays maps it either"
