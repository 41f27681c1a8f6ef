"""What a sequencer does with a program: in which cycles words enter and leave a region.

Read from the program file, as the array does; no cycle count of the compiler is taken.  A file says
in which slots a region emits, and not which words are valid then: that is given.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NamedTuple

from spu.arch.bitstream import Image
from spu.arch.config import Compare, SequencerRegister, Space
from spu.arch.errors import UserError
from spu.arch.params import ALWAYS, EXISTS, LOOPS, PREDICATES, PROGRAMMABLE, STAGES

#: Of the outermost loop, whose count is the host's.
_OUTERMOST = LOOPS - 1


@dataclass(frozen=True)
class Predicate:
    """Iterations in which something happens.

    ``first``, ``last``: numbers of loops that must be at their ends, ``compared``: loop,
    comparison, value.  ``always``: whether there is such an iteration or not.
    """

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    compared: tuple[int, Compare, int] | None = None
    always: bool = False

    @property
    def of_rounds(self) -> bool:
        """Whether it tells one round of the outermost loop from another."""
        loop = self.compared[0] if self.compared else 0
        return _OUTERMOST in (*self.first, *self.last, loop)

    def holds(self, iteration: int, counts: Sequence[int]) -> bool:
        """Whether it holds; ``counts`` are those of all loops."""
        if self.always:
            return True
        if not 0 <= iteration < prod(counts):
            return False
        counters = []
        for count in counts:
            iteration, counter = divmod(iteration, count)
            counters.append(counter)
        if any(counters[i] for i in self.first):
            return False
        if any(counters[i] != counts[i] - 1 for i in self.last):
            return False
        if self.compared is None:
            return True
        loop, compare, value = self.compared
        return {
            Compare.LESS: counters[loop] < value,
            Compare.NOT_LESS: counters[loop] >= value,
            Compare.EQUAL: counters[loop] == value,
        }[compare]


#: The iteration is there.
EVERY = Predicate()


@dataclass(frozen=True)
class Transfer:
    """Words of a stream, by the number of the region's input or output.

    In an iteration in which ``predicate`` holds one moves ``time`` cycles after its begin.
    """

    stream: int
    time: int
    predicate: Predicate = EVERY


class Step(NamedTuple):
    """Words that move in a slot of an interval, by stream."""

    slot: int
    reads: tuple[int, ...]
    emits: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """A region's program.

    ``counts``: of the loops but the outermost; ``end``: stage and slot in which an iteration is
    over; ``ii``: cycles between the begins of iterations.  ``traced``: cycles of words that leave
    by stream, of a certain number of rounds, instead of ``emits``.
    """

    ii: int
    end: tuple[int, int]
    counts: tuple[int, ...]
    reads: tuple[Transfer, ...]
    emits: tuple[Transfer, ...] = ()
    traced: Mapping[int, Sequence[int]] = field(default_factory=dict, hash=False)

    @property
    def inner(self) -> int:
        """Iterations of a round."""
        return prod(self.counts)

    @cached_property
    def repeats(self) -> bool:
        """Whether all rounds are alike."""
        moved = (*self.reads, *self.emits)
        return not self.traced and not any(t.predicate.of_rounds for t in moved)

    @cached_property
    def depth(self) -> int:
        """Iterations that overlap at most, less one."""
        return max(t.time // self.ii for t in (*self.reads, *self.emits, Transfer(0, 0)))

    @cached_property
    def _by_slot(self) -> dict[int, tuple[list[Transfer], list[Transfer]]]:
        slots: dict[int, tuple[list[Transfer], list[Transfer]]] = {}
        for way, moved in enumerate((self.reads, self.emits)):
            for t in moved:
                slots.setdefault(t.time % self.ii, ([], []))[way].append(t)
        return dict(sorted(slots.items()))

    def interval(self, number: int, rounds: int) -> list[Step]:
        """Steps from the begin of iteration ``number`` to the next one's, in order."""
        counts, steps = (*self.counts, rounds), []
        for slot, ways in self._by_slot.items():
            reads, emits = (
                tuple(
                    t.stream for t in way if t.predicate.holds(number - t.time // self.ii, counts)
                )
                for way in ways
            )
            if reads or emits:
                steps.append(Step(slot, reads, emits))
        return _merged(steps, self.traced, number * self.ii, self.ii) if self.traced else steps

    def words(self) -> tuple[dict[int, int], dict[int, int]]:
        """Words that enter and leave in each round, by stream, if all rounds are alike."""
        found: tuple[dict[int, int], dict[int, int]] = ({}, {})
        counts = (*self.counts, 1)
        for way, moved in zip(found, (self.reads, self.emits), strict=True):
            for t in moved:
                held = sum(t.predicate.holds(i, counts) for i in range(self.inner))
                way[t.stream] = way.get(t.stream, 0) + held
        return found


def _merged(
    steps: list[Step], traced: Mapping[int, Sequence[int]], begin: int, length: int
) -> list[Step]:
    """Steps with the words of a trace that leave in these cycles."""
    slots = {step.slot: step for step in steps}
    for stream, times in traced.items():
        for cycle in times[bisect_left(times, begin) : bisect_left(times, begin + length)]:
            old = slots.get(cycle - begin, Step(cycle - begin, (), ()))
            slots[old.slot] = Step(old.slot, old.reads, (*old.emits, stream))
    return [slots[slot] for slot in sorted(slots)]


def read_program(image: Image, region: int, emits: Sequence[Transfer] = ()) -> Program:
    """The program of a region; ``emits``: valid words that leave.

    Raises ``UserError`` for a program whose runs have no end.
    """

    def row(number: int) -> dict:
        return image.read(Space.SEQUENCER, (region, 0), number)

    ii = row(SequencerRegister.II)["slots_less_1"] + 1
    span = row(SequencerRegister.SPAN)
    if span["slot"] >= ii or ii > image.arch.contexts:
        raise UserError(f"the program of region {region} has no end")
    counts = tuple(row(SequencerRegister.LOOP + i)["count_less_1"] + 1 for i in range(_OUTERMOST))
    predicates = {
        ALWAYS: Predicate(always=True),
        EXISTS: EVERY,
        **{
            n: _predicate(row(SequencerRegister.PREDICATE + n - PROGRAMMABLE))
            for n in range(PROGRAMMABLE, PREDICATES)
        },
    }
    reads = []
    masks = [image.read(Space.STREAM, (region, 0), slot)["read"] for slot in range(ii)]
    for stream in range(len(image.arch.inputs(region))):
        guard = row(SequencerRegister.INPUT + stream)
        for slot in range(ii):
            stage = guard["stage"] + (slot < guard["slot"])
            # Beyond the last stage there are no iterations.
            if masks[slot] >> stream & 1 and (stage < STAGES or guard["predicate"] == ALWAYS):
                reads.append(Transfer(stream, stage * ii + slot, predicates[guard["predicate"]]))
    return Program(ii, (span["stage"], span["slot"]), counts, tuple(reads), tuple(emits))


def _predicate(row: Mapping[str, int]) -> Predicate:
    first, last = (
        tuple(i for i in range(LOOPS) if row[name] >> i & 1) for name in ("first", "last")
    )
    compare = Compare(row["compare"])
    compared = None if compare is Compare.NONE else (row["loop"], compare, row["value"])
    return Predicate(first, last, compared)
