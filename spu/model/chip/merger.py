"""Golden models of the mergers: several managers on one bus, a burst each in turn."""

from collections.abc import Sequence

from spu.arch.memory import MemoryEngine
from spu.model.chip.memory import Burst, ReadBeat, WriteBeat


def own_bits(engine: MemoryEngine) -> int:
    """Bits of a manager's own ID, below those of its number."""
    return max(1, (engine.ids - 1).bit_length())


class RequestMerger:
    """AR or AW of several managers; ``o`` is what the bus offers."""

    def __init__(self, engine: MemoryEngine) -> None:
        self.own = own_bits(engine)
        self.o: Burst | None = None
        self._turn = 0

    def chosen(
        self, asking: Sequence[Burst | None], bus_ready: bool, allowed: bool = True
    ) -> int | None:
        """The manager whose burst is taken in this cycle."""
        if (self.o is not None and not bus_ready) or not allowed:
            return None
        count = len(asking)
        for n in range(count):
            if asking[number := (self._turn + n) % count] is not None:
                return number
        return None

    def tick(self, asking: Sequence[Burst | None], chosen: int | None, bus_ready: bool) -> None:
        """Go on by a cycle in which the burst of ``chosen`` is taken."""
        if bus_ready:
            self.o = None
        if chosen is not None and (burst := asking[chosen]) is not None:
            self.o = burst._replace(id=chosen << self.own | burst.id)
            self._turn = (chosen + 1) % len(asking)

    def answer(self, number: int) -> tuple[int, int]:
        """Manager and its own ID of an ID of the bus."""
        return number >> self.own, number & ((1 << self.own) - 1)

    def read_beat(self, beat: ReadBeat | None) -> tuple[int, ReadBeat | None]:
        """The manager that a beat on R is for, and the beat as that sees it."""
        if beat is None:
            return -1, None
        manager, own = self.answer(beat.id)
        return manager, beat._replace(id=own)


class WriteOwner:
    """Who may put beats on W: the manager of the burst that was taken last, to its last beat."""

    def __init__(self) -> None:
        self.owner: int | None = None

    def w(self, offers: Sequence[WriteBeat | None]) -> WriteBeat | None:
        """The beat on W."""
        return None if self.owner is None else offers[self.owner]

    def tick(self, ends: bool, chosen: int | None) -> None:
        """Go on by a cycle in which the last beat moves, or the burst of ``chosen`` is taken."""
        if chosen is not None:
            self.owner = chosen
        elif ends:
            self.owner = None
