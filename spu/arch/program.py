"""What all programs have in common: places, units that contexts use, address generators."""

from collections.abc import Mapping

from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, Space
from spu.arch.context import SINKS, SUM_OPS, VECTOR_OPS, Op, Source
from spu.arch.params import TileKind

#: (row, column).
Tile = tuple[int, int]


def missing_unit(kind: TileKind, context: Mapping[str, int]) -> str | None:
    """A unit that a context uses and a tile of this kind has not; None if all are there.

    ``context``: fields of a context word, missing ones 0.
    """
    op = Op(context.get("op", 0))
    sources = {Source(context.get(sink, 0)) for sink in SINKS}
    needs = {
        "matrix unit": context.get("mac") or context.get("drain") or Source.MATRIX in sources,
        "data memory": context.get("read") or context.get("memory") or Source.MEMORY in sources,
        "reblock unit": context.get("pop") or op is Op.PUSH or Source.REBLOCK in sources,
        "vector unit": op in (*SUM_OPS, *VECTOR_OPS) or sources & {Source.VECTOR, Source.SUM},
    }
    has = {"matrix unit": kind.matrix, "data memory": kind.memory, "reblock unit": kind.memory,
           "vector unit": kind.vector}
    return next((unit for unit, used in needs.items() if used and not has[unit]), None)


def write_generator(image: Image, tile: Tile, first: int, base: dict,
                    loops: list[tuple[int, int]]) -> None:
    """Rows of an address generator; ``loops`` are (count, stride) from the innermost."""
    image.write(Space.REGISTER, tile, first, base)
    for i in range(ADDRESS_WORDS - 1):
        count, stride = loops[i] if i < len(loops) else (1, 0)
        image.write(Space.REGISTER, tile, first + 1 + i,
                    {"count_less_1": count - 1, "stride": stride})
