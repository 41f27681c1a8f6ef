"""The ``.spub`` program file: header, checked sections, COMMIT.

Little-endian 32-bit words::

    header   magic, version, architecture hash, grid, sections, total CRC, header CRC
    section  op | space << 8, row mask | column mask << 16, base | count << 16,
             count payload words, CRC-32 of the words before it in the section

``base`` is a row of the space, ``count`` a number of 32-bit words.  The header CRC covers
the words before it, the total CRC all words after the header.  CRCs are CRC-32/ISO-HDLC.
The last section is COMMIT, with nothing in it.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spu.arch.config import TILE_SPACES, Space, depth, row_layout, words_per_row
from spu.arch.packing import from_words, pack, to_words, unpack
from spu.arch.params import Architecture

MAGIC = int.from_bytes(b"SPUB", "little")
VERSION = 1
OP_WRITE, OP_COMMIT = 1, 2
HEADER_WORDS, SECTION_WORDS = 7, 3
#: Largest payload of a section.
MAX_COUNT = 0xFFFF


class BitstreamError(ValueError):
    """A program file that must not be loaded; the message names what is wrong and where."""


def grid_word(arch: Architecture) -> int:
    """Rows in bits 0-7, columns in bits 8-15."""
    return arch.rows | arch.cols << 8


def crc(words: Sequence[int] | NDArray[np.unsignedinteger]) -> int:
    """CRC-32 of words in file order."""
    return zlib.crc32(np.asarray(words, dtype="<u4").tobytes())


@dataclass
class Image:
    """Configuration contents: ``rows[space, row, column][address]`` is one packed row.

    For the region's own spaces (sequencer, stream) row and column are 0.
    """

    arch: Architecture
    rows: dict[tuple[Space, int, int], dict[int, int]] = field(default_factory=dict)

    def write(self, space: Space, tile: tuple[int, int], address: int, value: dict) -> None:
        """Pack ``value`` into a row; ``ValueError`` for addresses or values out of range."""
        if not 0 <= address < depth(space, self.arch):
            raise ValueError(f"{space.name} row {address} is outside "
                             f"0..{depth(space, self.arch) - 1}")
        bits = pack(row_layout(space, address, self.arch), value)
        self.rows.setdefault((space, *tile), {})[address] = bits

    def read(self, space: Space, tile: tuple[int, int], address: int) -> dict:
        """Unpacked row; rows never written are 0."""
        bits = self.rows.get((space, *tile), {}).get(address, 0)
        return unpack(row_layout(space, address, self.arch), bits)


def _section(op: int, space: int, rows: int, cols: int, base: int, payload: list[int]
             ) -> list[int]:
    words = [op | space << 8, rows | cols << 16, base | len(payload) << 16, *payload]
    return [*words, crc(words)]


def encode(image: Image) -> bytes:
    """The program file of an image: one section a run of rows, identical ones multicast."""
    arch = image.arch
    runs: dict[tuple[Space, int, tuple[int, ...]], list[tuple[int, int]]] = {}
    for (space, r, c), rows in sorted(image.rows.items(), key=lambda e: (e[0][0].value, *e[0][1:])):
        width = words_per_row(space, arch)
        addresses = sorted(rows)
        starts = [a for a in addresses if a - 1 not in rows]
        for start in starts:
            end = start
            while end in rows:
                end += 1
            payload = tuple(w for a in range(start, end) for w in to_words(rows[a], width))
            runs.setdefault((space, start, payload), []).append((r, c))
    sections: list[list[int]] = []
    for (space, start, payload), tiles in runs.items():
        if len(payload) > MAX_COUNT:
            raise ValueError(f"{space.name} section of {len(payload)} words exceeds {MAX_COUNT}")
        for row_mask, col_mask in _rectangles(tiles):
            sections.append(_section(OP_WRITE, space.value, row_mask, col_mask, start,
                                     list(payload)))
    sections.append(_section(OP_COMMIT, 0, 0, 0, 0, []))
    body = [w for s in sections for w in s]
    header = [MAGIC, VERSION, arch.hash, grid_word(arch), len(sections), crc(body)]
    words = [*header, crc(header), *body]
    return struct.pack(f"<{len(words)}I", *words)


def _rectangles(tiles: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cover a set of tiles with (row mask, column mask) pairs: rows with equal columns merge."""
    by_columns: dict[int, int] = {}
    for row in sorted({r for r, _ in tiles}):
        columns = sum(1 << c for r, c in tiles if r == row)
        by_columns[columns] = by_columns.get(columns, 0) | 1 << row
    return [(rows, columns) for columns, rows in by_columns.items()]


def decode(content: bytes, arch: Architecture) -> Image:
    """The image that a program file writes.

    Raises ``BitstreamError`` for a file that the loader would refuse: bad length, magic,
    version, architecture, CRC, space, mask or address, a missing COMMIT, trailing words.
    """
    if len(content) % 4 or len(content) < 4 * HEADER_WORDS:
        raise BitstreamError(f"truncated: {len(content)} bytes are not a header of "
                             f"{HEADER_WORDS} words and whole words after it")
    words = [int(w) for w in np.frombuffer(content, dtype="<u4")]
    if words[0] != MAGIC:
        raise BitstreamError(f"not a program file: magic is {words[0]:#010x}, not {MAGIC:#010x}")
    if words[1] != VERSION:
        raise BitstreamError(f"format version {words[1]} is not {VERSION}")
    if crc(words[:HEADER_WORDS - 1]) != words[HEADER_WORDS - 1]:
        raise BitstreamError("header CRC does not match")
    if words[2] != arch.hash or words[3] != grid_word(arch):
        raise BitstreamError(f"wrong architecture: file is for {words[2]:#010x}, "
                             f"{arch.name} is {arch.hash:#010x}")
    image = Image(arch)
    position = HEADER_WORDS
    for number in range(words[4]):
        where = f"section {number} of {words[4]}"
        if position + SECTION_WORDS + 1 > len(words):
            raise BitstreamError(f"truncated in {where}")
        op, space_number = words[position] & 0xFF, words[position] >> 8
        rows, cols = words[position + 1] & 0xFFFF, words[position + 1] >> 16
        base, count = words[position + 2] & 0xFFFF, words[position + 2] >> 16
        end = position + SECTION_WORDS + count
        if end >= len(words):
            raise BitstreamError(f"truncated in {where}")
        if crc(words[position:end]) != words[end]:
            raise BitstreamError(f"CRC does not match in {where}")
        payload = words[position + SECTION_WORDS:end]
        position = end + 1
        last = number == words[4] - 1
        if op != (OP_COMMIT if last else OP_WRITE) or (op == OP_COMMIT and count):
            raise BitstreamError(f"operation {op} is not allowed in {where}")
        if op == OP_WRITE:
            _apply(image, where, space_number, rows, cols, base, payload)
    if position != len(words):
        raise BitstreamError(f"{len(words) - position} words after the last section")
    if crc(words[HEADER_WORDS:]) != words[5]:
        raise BitstreamError("total CRC does not match")
    return image


def _apply(image: Image, where: str, space_number: int, rows: int, cols: int, base: int,
           payload: list[int]) -> None:
    arch = image.arch
    try:
        space = Space(space_number)
    except ValueError:
        raise BitstreamError(f"unknown space {space_number} in {where}") from None
    width = words_per_row(space, arch)
    if len(payload) % width or base + len(payload) // width > depth(space, arch):
        raise BitstreamError(f"rows outside {space.name} in {where}")
    if space in TILE_SPACES:
        if rows >> arch.rows or cols >> arch.cols:
            raise BitstreamError(f"tiles outside the grid in {where}")
        tiles = [(r, c) for r, c in arch.tiles if rows >> r & 1 and cols >> c & 1]
    else:
        tiles = [(0, 0)]
    for tile in tiles:
        target = image.rows.setdefault((space, *tile), {})
        for i in range(0, len(payload), width):
            target[base + i // width] = from_words(payload[i:i + width])
