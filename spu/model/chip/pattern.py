"""Golden model of the pattern generator: an element a cycle, and the indices of gathers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from spu.arch.memory import AXES, STEP_BITS, Fault, MemoryEngine


class Element(NamedTuple):
    """An element of a pattern; its address has no meaning where it is ``zero``."""

    address: int
    zero: bool
    fault: Fault
    last: bool


class _Places:
    """Where the elements of a pattern lie before indices are added, and where its rows end."""

    def __init__(self, engine: MemoryEngine, pattern: Mapping[str, Any]) -> None:
        loops = [*pattern.get("loops", ())]
        loops += [{}] * (engine.loops - len(loops))
        counts = [loop.get("count_less_1", 0) + 1 for loop in loops]

        def along(first: int, steps: list[int]) -> np.ndarray:
            """``first`` and a step for each iteration, modulo 2^64: loop 0 is the last axis."""
            total = np.array(first % 2**64, np.uint64)
            for count, step in zip(counts, steps, strict=True):
                moved = np.arange(count, dtype=np.uint64) * np.uint64(step % 2**64)
                total = np.add.outer(moved, total)
            # Axes were put in front one by one, so that the innermost loop is the last axis.
            return total.reshape(-1)

        mask = np.uint64((1 << engine.address_bits) - 1)
        addresses = along(pattern.get("base", 0), [loop.get("stride", 0) for loop in loops]) & mask
        zero = np.zeros(len(addresses), bool)
        for a, axis in enumerate([*pattern.get("axes", ()), {}, {}][:AXES]):
            if extent := axis.get("extent", 0):
                steps = [[*loop.get("steps", ()), 0, 0][a] for loop in loops]
                coordinates = along(axis.get("start", 0), steps) & np.uint64((1 << STEP_BITS) - 1)
                # As a number without a sign, what lies before the bounds is beyond them.
                zero |= coordinates >= extent
        self.addresses, self.zero = addresses.tolist(), zero.tolist()
        self.level = pattern.get("index_level", 0)
        self.row = int(np.prod(counts[: self.level], dtype=np.int64))  # elements of a row
        self.size = 1 << pattern.get("size", 0)
        self.pitch, self.indices = pattern.get("index_pitch", 0), pattern.get("index_count", 0)


class GeneratorModel:
    """Elements of one pattern after the other, as ``PatternGenerator`` offers them.

    ``limit``: the first address that is no memory.  ``running``: within a pattern.
    """

    def __init__(self, engine: MemoryEngine, limit: int) -> None:
        self.engine, self.limit = engine, limit
        self.running = False
        self._places = _Places(engine, {})
        self._next = 0
        self._has_row = False
        self._offset, self._bad = 0, False
        # The index under way, and the cycles until it is scaled; none if below 0.
        self._index, self._scaling = 0, -1

    def offer(self) -> Element | None:
        """The element of this cycle."""
        if not (self.running and self._has_row):
            return None
        places, n = self._places, self._next
        address = places.addresses[n]
        if places.level:
            address = (address + self._offset) % (1 << self.engine.address_bits)
        zero, fault = places.zero[n], Fault.NONE
        if self._bad:
            fault = Fault.OUT_OF_RANGE
        elif not zero:
            if address % places.size:
                fault = Fault.UNALIGNED
            elif address + places.size > self.limit:
                fault = Fault.OUT_OF_RANGE
        last = n + 1 == len(places.addresses) or fault is not Fault.NONE
        return Element(address, zero, fault, last)

    def takes_index(self) -> bool:
        """Whether an index is taken in this cycle, if there is one."""
        places = self._places
        if not self.running or not places.level or self._scaling >= 0:
            return False
        more = self._next // places.row + 1 < len(places.addresses) // places.row
        return more or not self._has_row

    def tick(
        self,
        taken: Element | None,
        pattern: Mapping[str, Any] | None,
        index: int | None,
        flush: bool = False,
    ) -> None:
        """Go on by a cycle.

        ``taken``: the element that was on offer, if it was; ``pattern``: one that begins, which the
        caller gives to a generator that is not running; ``index``: one that is offered.
        """
        if flush:
            self.running, self._scaling = False, -1
            return
        if not self.running:
            self._scaling = -1
            if pattern is not None:
                self._places = _Places(self.engine, pattern)
                self.running, self._next = True, 0
                self._has_row, self._offset, self._bad = self._places.level == 0, 0, False
            return
        if self._places.level:
            self._gather(taken, index)
        if taken is not None:
            self._next += 1
            self.running = not taken.last

    def _gather(self, taken: Element | None, index: int | None) -> None:
        """The row goes on, or the next one gets its index."""
        places, takes = self._places, self.takes_index()
        next_row = taken is not None and not taken.last and (self._next + 1) % places.row == 0
        scaled = self._scaling == 0
        if next_row or not self._has_row:
            self._has_row = scaled
            if scaled:
                self._offset = self._index * places.pitch
                self._bad = self._index >= places.indices
                self._scaling = -1
        elif scaled:
            return
        if self._scaling > 0:
            self._scaling -= 1
        elif takes and index is not None:
            self._index, self._scaling = index, index.bit_length()
