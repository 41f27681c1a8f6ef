"""Iterative modulo scheduling: mappings at rising II, quick ones until one succeeds, then better.

After B. R. Rau, "Iterative modulo scheduling", MICRO 27, 1994, with placement and routing at each
II: annealing, or the exact search, then negotiated congestion.

What is tried depends on the request, and on its budget's seconds through the work that they allow;
the clock only stops it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from compiler.map.loop.anneal import REHEATS, anneal
from compiler.map.loop.budget import OutOfTimeError
from compiler.map.loop.pathfinder import Routed, negotiate
from compiler.map.loop.rip_up import EXPANSIONS
from compiler.map.loop.schedule import Grid, Placed, Request, schedule

#: A quick attempt: effort of annealing, and share of ``EXPANSIONS``; chosen, not tuned.
QUICK, QUICK_SHARE = 0.2, 0.1
#: Schedules of one II that may turn out not to be routable: effort of annealing, or the exact
#: search, which takes graphs of so many operations; above the bound, larger ones get one.
#: Annealing of graphs that the exact search takes is warmed up again a few times only.
#: Where hops take time, schedules are harder to find than routes, and the exact search comes first.
#: Chosen, not tuned.
EXACT, FEW_REHEATS = 0.0, 2
EFFORTS, MOST_EXACT, LARGE_EFFORTS = (1.0, EXACT, 2.0, EXACT, 4.0), 150, (1.0, 1.0, 1.0, 1.0)
HOPPING_EFFORTS = (EXACT, 1.0, EXACT, 2.0, 4.0)
#: Share of a budget's seconds, as work, that making a mapping better may take, and that where
#: there are more than ``MANY`` pairs of an operation and a tile: tuned on
#: verif/stimulus/dataflows.py.
IMPROVE, IMPROVE_MANY, MANY = 0.2, 0.5, 2400
#: Quick attempts at each II in turn; after that, steps grow by a quarter of the II; chosen, not
#: tuned.
IN_TURN = 8
#: Share of the slots of a part of the array that operations may take; chosen, not tuned.
FILLED = 0.7


@dataclass
class IISearch:
    """The best mapping so far, whether its schedule is by the exact search, and why no better one.

    ``failures``: the last reason at each II.  ``stopped``: by the clock.
    """

    best: Routed | None = None
    exact: bool = False
    failures: dict[int, str] = field(default_factory=dict)
    stopped: bool = False

    def accept(
        self, request: Request, ii: int, efforts: tuple[float, ...], expansions: float
    ) -> bool:
        """Whether a mapping is found at an II, which is kept."""
        found, exact, reason = map_at_ii(request, ii, efforts, expansions)
        if found is None:
            self.failures[ii] = reason
            return False
        self.best, self.exact = found, exact
        self.failures.pop(ii, None)
        return True


def search_ii(request: Request, least: int, most: int, progress: Callable[[str], None]) -> IISearch:
    """The best mapping that the budget allows, at IIs from ``least``, which binds, to ``most``."""
    found = IISearch()
    large = len(request.graph.operations) > MOST_EXACT
    rising = list(_rising(least, most))
    try:
        for ii in rising:
            progress(f"II {ii}")
            if found.accept(request, ii, (QUICK,), EXPANSIONS * QUICK_SHARE):
                break
        top = found.best.placed.ii if found.best else most + 1
        for ii in range(least, top) if found.best else rising:
            if not _may_improve(request):
                break
            progress(f"II {ii}, at length")
            efforts = (
                LARGE_EFFORTS[: None if ii == least else 1]
                if large
                else EFFORTS
                if request.early
                else HOPPING_EFFORTS
            )
            if found.accept(request, ii, efforts, EXPANSIONS):
                break
    except OutOfTimeError:
        found.stopped = True
    return found


def _rising(least: int, most: int) -> Iterator[int]:
    """IIs that are tried quickly, ``most`` among them."""
    ii = least
    while ii < most:
        yield ii
        ii += 1 if ii < least + IN_TURN else max(1, ii // 4)
    if least <= most:
        yield most


def map_at_ii(
    request: Request, ii: int, efforts: tuple[float, ...], expansions: float = EXPANSIONS
) -> tuple[Routed | None, bool, str]:
    """A mapping at an II and whether it was searched exactly, or why none was found."""
    reason, few = "no schedule was found", len(request.graph.operations) <= MOST_EXACT
    tired, parts = False, _grids(request, ii)
    for number, effort in enumerate(efforts):
        if tired and effort == EXACT:
            continue
        for grid in parts:
            # Another seed, so that what comes is really different.
            now = replace(request, grid=grid, seed=len(EFFORTS) * request.seed + number)
            placed = (
                schedule(now, ii)
                if effort == EXACT
                else anneal(now, ii, effort, FEW_REHEATS if few or effort == QUICK else REHEATS)
            )
            if isinstance(placed, Placed):
                found = negotiate(now, placed, expansions)
                if isinstance(found, Routed):
                    return found, effort == EXACT, ""
                reason = found.reason
                if found.hopeless and grid is parts[-1]:
                    return None, False, reason
            elif placed.proven and grid is parts[-1]:
                return None, True, "there is no schedule within the latency allowed"
            else:
                # The exact search would take as long again.
                tired |= effort == EXACT
        if not _may_improve(request):
            break
    return None, False, reason


def _may_improve(request: Request) -> bool:
    """Whether work is left for making a mapping better."""
    pairs = len(request.graph.operations) * len(request.grid.tiles)
    return request.budget.may_try(IMPROVE_MANY if pairs > MANY else IMPROVE)


def _grids(request: Request, ii: int) -> list[Grid]:
    """A part of the array that is large enough, if that is much less than all of it, and all."""
    grid, graph = request.grid, request.graph
    wanted: dict[frozenset, int] = {}
    for n in graph.operations:
        takes = grid.takes(graph.nodes[n].op)
        wanted[takes] = wanted.get(takes, 0) + 1
    for area, _, rows, cols in sorted(
        (r * c, abs(r - c), r, c) for r in range(1, grid.rows + 1) for c in range(1, grid.cols + 1)
    ):
        if 2 * area > grid.rows * grid.cols:
            break
        part = grid.part(rows, cols)
        tiles = frozenset(part.tiles)
        if (
            all(
                sum(count for other, count in wanted.items() if other <= takes)
                <= FILLED * ii * len(takes & tiles)
                for takes in wanted
            )
            and len(graph.operations) <= FILLED * ii * area
        ):
            return [part, grid]
    return [grid]
