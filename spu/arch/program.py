"""Rows that every program has: address generators, the sequencer of a region, its streams."""

from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, Space

#: (row, column).
Tile = tuple[int, int]


def write_generator(image: Image, tile: Tile, first: int, base: dict,
               loops: list[tuple[int, int]]) -> None:
    """Rows of an address generator; ``loops`` are (count, stride) from the innermost."""
    image.write(Space.REGISTER, tile, first, base)
    for i in range(ADDRESS_WORDS - 1):
        count, stride = loops[i] if i < len(loops) else (1, 0)
        image.write(Space.REGISTER, tile, first + 1 + i,
                    {"count_less_1": count - 1, "stride": stride})
