"""Random patterns of the memory engine, with the indices that they take."""

import random
from typing import Any

from spu.arch.memory import INDEX_BITS, MemoryEngine


def random_pattern(
    engine: MemoryEngine, rng: random.Random, limit: int, most: int = 60, faulty: float = 0.2
) -> tuple[dict[str, Any], list[int]]:
    """A pattern of at most ``most`` elements within ``limit`` bytes, and its indices.

    Some have bounds, some gather; in a share ``faulty`` something may be wrong: an address, an
    element beyond the limit, an index.
    """
    wrong = rng.random() < faulty
    size = rng.randrange(engine.word_bytes.bit_length())
    unit = 1 << size
    counts, room = [1] * engine.loops, most
    for k in rng.sample(range(engine.loops), rng.randint(0, engine.loops)):
        counts[k] = rng.randint(1, min(room, rng.choice((2, 3, 4, most))))
        room //= counts[k]
    level = rng.choice((0, 0, rng.randint(1, engine.loops)))
    rows = 1
    for count in counts[level:]:
        rows *= count
    pitch, index_count = unit * rng.choice((1, 3, 16)), rng.randint(1, 40)
    indices = [rng.randrange(index_count) for _ in range(rows)] if level else []
    strides = [unit * rng.choice((0, 1, 1, -1, 2, 5, -7)) for _ in counts]
    bounds = [min(0, (c - 1) * s) for c, s in zip(counts, strides, strict=True)]
    reach = sum((c - 1) * s for c, s in zip(counts, strides, strict=True)) - sum(bounds)
    highest = limit - unit - reach - sum(bounds) - (pitch * (index_count - 1) if level else 0)
    lowest = -sum(bounds)
    assert lowest <= highest, "the memory is too small for random patterns"
    base = rng.randint(-(-lowest // unit), highest // unit) * unit
    if wrong:
        kind = rng.randrange(3)
        if kind == 0:
            base += rng.randint(0, unit - 1)
        elif kind == 1:
            base = limit - rng.randint(0, 4) * unit
        elif indices:
            indices[rng.randrange(rows)] = rng.randrange(index_count, 1 << INDEX_BITS)
    return {
        "base": base,
        "size": size,
        "axes": [
            {"start": rng.randint(-3, 3), "extent": rng.choice((0, 0, 1, 2, 5))} for _ in range(2)
        ],
        "index_level": level,
        "index_pitch": pitch,
        "index_count": index_count,
        "loops": [
            {
                "count_less_1": count - 1,
                "stride": stride,
                "steps": [rng.randint(-1, 1), rng.randint(-1, 1)],
            }
            for count, stride in zip(counts, strides, strict=True)
        ],
    }, indices
