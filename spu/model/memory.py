"""What the memory engine reads and writes: patterns by arithmetic on indices, memory as bytes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from spu.arch.memory import AXES, COUNT_BITS, STEP_BITS, Fault, MemoryEngine, pattern_layout
from spu.arch.packing import pack


class Element(NamedTuple):
    """An element of a pattern; its address is None where it is zeros, or its index is bad."""

    address: int | None
    fault: Fault
    last: bool


def elements(
    engine: MemoryEngine, pattern: Mapping[str, Any], limit: int, indices: Sequence[int] = ()
) -> list[Element]:
    """The elements of a pattern in order, to the first one with a fault.

    ``limit``: bytes of memory.  ``indices``: what a gather takes.  Raises ``ValueError`` for a
    pattern that does not fit its layout, and for a gather of more indices than there are.
    """
    pack(pattern_layout(engine), pattern)
    loops = [*pattern.get("loops", ())]
    loops += [{}] * (engine.loops - len(loops))
    counts = [loop.get("count_less_1", 0) + 1 for loop in loops]
    assert max(counts) <= 1 << COUNT_BITS
    # Number n of an element in the digits of its loops, the outermost first.
    digits = np.indices(counts[::-1]).reshape(len(loops), -1)[::-1].astype(object)
    address = pattern.get("base", 0) + sum(
        digit * loop.get("stride", 0) for digit, loop in zip(digits, loops, strict=True)
    )
    bad = np.zeros(digits.shape[1], bool)
    if level := pattern.get("index_level", 0):
        rows = int(np.prod(counts[level:], dtype=np.int64))
        if len(indices) < rows:
            raise ValueError(f"a gather of {rows} indices, there are {len(indices)}")
        index = np.repeat(np.array(indices[:rows], object), digits.shape[1] // rows)
        bad = (index >= pattern.get("index_count", 0)).astype(bool)
        address = address + index * pattern.get("index_pitch", 0)
    zero = np.zeros(digits.shape[1], bool)
    for a, axis in enumerate([*pattern.get("axes", ()), {}, {}][:AXES]):
        if axis.get("extent", 0):
            along = axis.get("start", 0) + sum(
                digit * [*loop.get("steps", ()), 0, 0][a]
                for digit, loop in zip(digits, loops, strict=True)
            )
            half = 1 << (STEP_BITS - 1)
            along = (along + half) % (2 * half) - half
            zero |= ((along < 0) | (along >= axis["extent"])).astype(bool)
    found: list[Element] = []
    size = 1 << pattern.get("size", 0)
    for n, place in enumerate((address % (1 << engine.address_bits)).tolist()):
        fault = Fault.NONE
        if bad[n] or (not zero[n] and place % size == 0 and place + size > limit):
            fault = Fault.OUT_OF_RANGE
        elif not zero[n] and place % size:
            fault = Fault.UNALIGNED
        last = fault is not Fault.NONE or n == len(zero) - 1
        found.append(Element(None if zero[n] or bad[n] else place, fault, last))
        if fault is not Fault.NONE:
            break
    return found


def read_words(
    engine: MemoryEngine,
    memory: bytes | bytearray,
    pattern: Mapping[str, Any],
    limit: int,
    indices: Sequence[int] = (),
) -> list[int]:
    """The words that a pattern reads; raises as ``elements`` does, and ``MemoryFault``."""
    size = 1 << pattern.get("size", 0)
    found = b""
    for element in elements(engine, pattern, limit, indices):
        if element.fault is not Fault.NONE:
            raise MemoryFault(element.fault)
        at = element.address
        found += bytes(size) if at is None else bytes(memory[at : at + size])
    step = engine.word_bytes
    return [int.from_bytes(found[n : n + step], "little") for n in range(0, len(found), step)]


def write_words(
    engine: MemoryEngine,
    memory: bytearray,
    pattern: Mapping[str, Any],
    limit: int,
    words: Sequence[int],
    indices: Sequence[int] = (),
) -> None:
    """Write a pattern's words; raises as ``elements`` does, and ``MemoryFault`` before anything is
    written.
    """
    size = 1 << pattern.get("size", 0)
    content = b"".join(word.to_bytes(engine.word_bytes, "little") for word in words)
    places = elements(engine, pattern, limit, indices)
    if places[-1].fault is not Fault.NONE:
        raise MemoryFault(places[-1].fault)
    if len(words) != -(-len(places) * size // engine.word_bytes):
        raise ValueError(f"{len(places)} elements of {size} bytes from {len(words)} words")
    for n, element in enumerate(places):
        if element.address is not None:
            memory[element.address : element.address + size] = content[n * size : (n + 1) * size]


class MemoryFault(Exception):
    """A pattern stops; ``fault`` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.name)
        self.fault = fault
