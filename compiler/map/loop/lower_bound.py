"""The proven lower bound of the initiation interval on an array: MII, and what is above it."""

from dataclasses import dataclass

from compiler.map.loop.bounds import Bounds, bounds
from compiler.map.loop.budget import OutOfTimeError
from compiler.map.loop.limits import limits
from compiler.map.loop.recurrences import unplaceable
from compiler.map.loop.schedule import Request


@dataclass(frozen=True)
class LowerBound:
    """``ii``: no mapping on the array has a lower one, since ``what``; ``bounds`` alone give the
    usual bound, ``bounds.mii``.  ``stopped``: by the clock, so that more may be provable."""

    bounds: Bounds
    ii: int
    what: str
    stopped: bool = False


def lower_bound(request: Request, most: int, search: bool = True) -> LowerBound:
    """What is proven about a graph on an array whose IIs go up to ``most``.

    For as long as the budget allows; ``search``: also by search for a placement of recurrences.
    Raises ``CompileError`` for an operation that no tile takes.
    """
    known = bounds(request.graph, request.grid, request.latency, request.budget.check)
    ii, what = known.mii, known.binding(request.graph)
    if ii > most:
        return LowerBound(known, ii, what)
    try:
        for limit in limits(request, ii, most):
            if limit.ii > ii:
                ii, what = limit.ii, limit.what
        while search and ii <= most and (part := unplaceable(request, ii)):
            what = (
                f"{len(part)} operations of cycles, {request.graph.nodes[part[0]]} among them, "
                f"have no places at an II of {ii}"
            )
            ii += 1
    except OutOfTimeError:
        return LowerBound(known, ii, what, stopped=True)  # what is proven so far holds
    return LowerBound(known, ii, what)
