"""Time that a mapping may take: work decides what is tried, the clock only stops it.

Kernels of models are stopped by work as well, so that the same model gives the same package, or the
same refusal, however loaded the machine is.
"""

import time as clock
from dataclasses import dataclass, field

#: Seconds of a call, of the clock or of work; chosen, not tuned: a kernel of the models of
#: verif/studies/models.py takes 1.6 of work at most (the encoder block), as measured.
SECONDS = 60.0
#: Seconds in a deterministic second of CP-SAT, to count work by; measured on
#: verif/stimulus/dataflows.py: 1.5.
EXACT_SECONDS = 4.0
#: A call may not be asked to take longer, a day.
MOST_SECONDS = 86400.0


class OutOfTimeError(Exception):
    """The clock, or the work, has stopped a search."""


@dataclass
class Budget:
    """Seconds of one call, from now on.

    ``work``: spent by searches, in seconds, but counted in moves and expansions, so that what it
    decides depends on the request alone.  ``clocked``: the seconds are those of the clock, else of
    the work.  ``kept``: seconds for what comes after.
    """

    seconds: float = SECONDS
    clocked: bool = True
    work: float = 0.0
    kept: float = 0.0
    start: float = field(default_factory=clock.monotonic)

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return clock.monotonic() - self.start

    def keep(self, seconds: float) -> None:
        """Keep seconds for what comes after the searches, but half of all at most."""
        self.kept = min(seconds, self.seconds / 2)

    @property
    def left(self) -> float:
        """Seconds until searches are stopped."""
        return self.seconds - self.kept - (self.spent if self.clocked else self.work)

    def limits(self, deterministic: float) -> tuple[float, float]:
        """Deterministic seconds, and those of the clock, that an exact search may take, which
        would take as many ``deterministic`` ones."""
        left = max(0.0, self.left)
        if self.clocked:
            return deterministic, left
        return min(deterministic, left / EXACT_SECONDS), float("inf")

    @property
    def stopped(self) -> str:
        """What has stopped the searches."""
        of = "" if self.clocked else ", as counted in moves and expansions"
        return f"stopped after {self.seconds:g} seconds{of}"

    def spend_exact(self, deterministic: float) -> None:
        """Count the deterministic seconds of an exact search."""
        self.spend(EXACT_SECONDS * deterministic)

    def spend(self, work: float) -> None:
        """Count work; raises ``OutOfTimeError`` if the seconds are over."""
        self.work += work
        self.check()

    def check(self) -> None:
        """Raise ``OutOfTimeError`` if the seconds are over."""
        if self.left <= 0:
            raise OutOfTimeError

    def may_try(self, share: float) -> bool:
        """Whether less work than a share of the seconds was spent."""
        return self.work < share * self.seconds
