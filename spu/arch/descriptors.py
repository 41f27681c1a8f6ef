"""Descriptors as they lie in memory, and the patterns that they mostly hold."""

from collections.abc import Mapping, Sequence
from typing import Any

from spu.arch.memory import Kind, MemoryEngine, descriptor_layout
from spu.arch.packing import pack

#: Bytes of a word of a program file.
FILE_WORD_BYTES = 4


def descriptor(kind: Kind, engine: MemoryEngine, target: int = 0, **fields: Any) -> bytes:
    """A descriptor of ``kind`` for unit ``target``, of ``descriptor_bytes``.

    ``fields``: as ``descriptor_layout`` has them.  Raises ``ValueError`` for what does not fit it.
    """
    layout = descriptor_layout(kind, engine)
    bits = pack(layout, {"kind": kind.value, "target": target, **fields})
    return bits.to_bytes(engine.descriptor_bytes, "little")


def rows(
    engine: MemoryEngine,
    base: int,
    words: int,
    word_bytes: int | None = None,
    outer: Sequence[tuple[int, int]] = (),
) -> Mapping[str, Any]:
    """A pattern of ``words`` words one after the other, from address ``base`` on.

    ``word_bytes``: of memory that a word of the channel takes, all of it if not said; an element is
    a word.  ``outer``: loops around them, from the inner one on: iterations, stride in bytes.
    Raises ``ValueError`` for a pattern of no words or loops, or of more than the engine has.
    """
    size = word_bytes or engine.word_bytes
    narrow = (engine.word_bytes // size).bit_length() - 1
    if size << narrow != engine.word_bytes:
        raise ValueError(f"word_bytes must be {engine.word_bytes} or half as often, not {size}")
    loops = [(words, size), *outer]
    if len(loops) > engine.loops:
        raise ValueError(f"{len(loops)} loops, the engine has {engine.loops}")
    return {
        "base": base,
        "size": size.bit_length() - 1,
        "narrow": narrow,
        "loops": [{"count_less_1": count - 1, "stride": stride} for count, stride in loops],
    }
