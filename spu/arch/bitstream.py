"""The ``.spub`` program file: header, checked sections, COMMIT.

Little-endian 32-bit words::

    header   magic, version, architecture hash, grid, base, sections, total CRC, header CRC
    WRITE    1 | space << 8 | number << 16, row mask | column mask << 16,
             first row | rows << 16,
             the words of the rows, CRC-32
    CLEAR    3 | space << 8 | number << 16, row mask | column mask << 16,
             first row | rows << 16, CRC-32
    COMMIT   2 | number << 16, 0, 0, CRC-32

``grid`` holds rows, columns, and in its upper half the mask of the regions that the file
configures.  A WRITE reaches every tile whose row and column are in the masks; for the
spaces of regions the row mask selects regions.  A CLEAR makes rows zero.  The last section
is COMMIT.  Sections are numbered from 0: the total CRC cannot
tell equally long ones apart that changed places, since each ends in its own CRC.

The header CRC covers the words before it, the total CRC all words after the
header, a section's the words before it in the section.  CRCs are CRC-32/ISO-HDLC.

The header CRC is the *signature* of a file.  A file with ``base`` 0 leaves nothing in the
shadow bank as it was.  Any other file holds changes to the contents that the file of
signature ``base`` left in the shadow bank.  Data memories go on with what the program before
left in them, unless the file writes any: then those of all its regions are replaced.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spu.arch.config import TILE_SPACES, Space, depth, row_plan, words_per_row
from spu.arch.packing import from_words, pack, to_words, unpack
from spu.arch.params import Architecture

MAGIC = int.from_bytes(b"SPUB", "little")
VERSION = 2
OP_WRITE, OP_COMMIT, OP_CLEAR = 1, 2, 3
HEADER_WORDS, SECTION_WORDS = 8, 3
#: Largest payload of a section: the loader keeps it until its CRC was right.
MAX_PAYLOAD = 256

#: A place of configuration: space, and tile, or region and 0.
Place = tuple[Space, int, int]


class BitstreamError(ValueError):
    """A program file that must not be loaded; the message names what is wrong and where."""


def grid_word(arch: Architecture) -> int:
    """Rows in bits 0-7, columns in bits 8-15."""
    return arch.rows | arch.cols << 8


def crc(words: Sequence[int] | NDArray[np.unsignedinteger]) -> int:
    """CRC-32 of words in file order."""
    return zlib.crc32(np.asarray(words, dtype="<u4").tobytes())


def signature(content: bytes) -> int:
    """Signature of a program file."""
    return int(np.frombuffer(content, "<u4")[HEADER_WORDS - 1])


@dataclass
class Image:
    """Configuration contents: ``rows[space, row, column][address]`` is one packed row.

    For the spaces of a region, row is its number and column is 0.
    """

    arch: Architecture
    rows: dict[Place, dict[int, int]] = field(default_factory=dict)

    def write(self, space: Space, tile: tuple[int, int], address: int, value: dict) -> None:
        """Pack ``value`` into a row; ``ValueError`` for addresses or values out of range."""
        if not 0 <= address < depth(space, self.arch):
            raise ValueError(f"{space.name} row {address} is outside "
                             f"0..{depth(space, self.arch) - 1}")
        bits = pack(row_plan(space, address, self.arch), value)
        self.rows.setdefault((space, *tile), {})[address] = bits

    def read(self, space: Space, tile: tuple[int, int], address: int) -> dict:
        """Unpacked row; rows never written are 0."""
        bits = self.rows.get((space, *tile), {}).get(address, 0)
        return unpack(row_plan(space, address, self.arch), bits)

    def copy(self) -> "Image":
        """An image that can change independently."""
        return Image(self.arch, {place: dict(rows) for place, rows in self.rows.items()})

    def place_region(self, place: Place) -> int:
        """Region of a place."""
        space, r, c = place
        return self.arch.region(r, c) if space in TILE_SPACES else r


def encode(image: Image, regions: Sequence[int] | None = None, base: Image | None = None,
           base_signature: int = 0) -> bytes:
    """The program file of an image: runs of rows as sections, identical ones multicast.

    ``regions`` are those that the file configures, all of them by default.  With ``base``,
    what the file of that signature left there, only rows that differ are written; the data
    memory, which programs change, always as a whole.

    Raises ``ValueError`` for contents of another region, or a base without a signature.
    """
    arch = image.arch
    chosen = range(arch.region_count) if regions is None else sorted(set(regions))
    if (base is None) != (base_signature == 0):
        raise ValueError("a base image and its signature belong together")
    for place in image.rows:
        if image.place_region(place) not in chosen:
            raise ValueError(f"{place[0].name} of {place[1:]} is not in regions {list(chosen)}")
    written = _changes(image, base)
    sections = [*_clears(image, chosen, base), *_writes(written, arch),
                _section(OP_COMMIT, 0, 0, 0, 0, 0, [])]
    for number, section in enumerate(sections):
        section[0] |= number << 16
        section[-1] = crc(section[:-1])
    body = [w for s in sections for w in s]
    grid = grid_word(arch) | sum(1 << r for r in chosen) << 16
    header = [MAGIC, VERSION, arch.hash, grid, base_signature, len(sections), crc(body)]
    words = [*header, crc(header), *body]
    return struct.pack(f"<{len(words)}I", *words)


def _changes(image: Image, base: Image | None) -> dict[Place, dict[int, int]]:
    """Rows to write: non-zero ones, or those that differ from the base."""
    before = {} if base is None else base.rows
    out = {}
    for place in image.rows.keys() | before.keys():
        new, old = image.rows.get(place, {}), before.get(place, {})
        if place[0] is Space.MEMORY:
            rows = {a: v for a, v in new.items() if v}  # after a CLEAR
        else:
            rows = {a: new.get(a, 0) for a in new.keys() | old.keys()
                    if new.get(a, 0) != old.get(a, 0)}
        out[place] = rows
    return out


def _clears(image: Image, regions: Sequence[int], base: Image | None) -> Iterator[list[int]]:
    """Zero what a file without base determines, and data memories if the image has any."""
    arch = image.arch
    memory = any(place[0] is Space.MEMORY for place in image.rows)
    for space in Space:
        if space is Space.MEMORY:
            places = [t for t in arch.memory_tiles if memory and arch.region(*t) in regions]
        elif base is not None:
            continue
        else:
            places = [t for t in arch.tiles if arch.region(*t) in regions] \
                if space in TILE_SPACES else [(r, 0) for r in regions]
        for rows, cols in _rectangles(places):
            yield _section(OP_CLEAR, space.value, rows, cols, 0, depth(space, arch), [])


def _order(place: Place) -> tuple[int, int, int]:
    return place[0].value, place[1], place[2]


def _writes(written: Mapping[Place, Mapping[int, int]], arch: Architecture
            ) -> Iterator[list[int]]:
    """WRITE sections: consecutive rows together, equal payloads to all places at once."""
    runs: dict[tuple[Space, int, tuple[int, ...]], list[tuple[int, int]]] = {}
    for place in sorted(written, key=_order):
        space, rows = place[0], written[place]
        width = words_per_row(space, arch)
        run: list[int] = []
        for address in [*sorted(rows), -1]:
            if run and (address != run[-1] + 1 or (len(run) + 1) * width > MAX_PAYLOAD):
                payload = tuple(w for a in run for w in to_words(rows[a], width))
                runs.setdefault((space, run[0], payload), []).append(place[1:])
                run = []
            run.append(address)
    for (space, start, payload), places in runs.items():
        for rows_mask, cols_mask in _rectangles(places):
            yield _section(OP_WRITE, space.value, rows_mask, cols_mask, start,
                           len(payload) // words_per_row(space, arch), list(payload))


def _section(op: int, space: int, rows: int, cols: int, base: int, count: int,
             payload: list[int]) -> list[int]:
    words = [op | space << 8, rows | cols << 16, base | count << 16, *payload]
    return [*words, crc(words)]


def _rectangles(tiles: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cover a set of tiles with (row mask, column mask) pairs: rows with equal columns merge."""
    by_columns: dict[int, int] = {}
    for row in sorted({r for r, _ in tiles}):
        columns = sum(1 << c for r, c in tiles if r == row)
        by_columns[columns] = by_columns.get(columns, 0) | 1 << row
    return [(rows, columns) for columns, rows in by_columns.items()]


@dataclass(frozen=True)
class Program:
    """A decoded file: what the shadow bank holds after it, regions, signature, base.

    ``memory``: the file writes data memory, so that the regions' data halves swap too.
    """

    image: Image
    regions: tuple[int, ...]
    signature: int
    base: int
    memory: bool


def decode(content: bytes, arch: Architecture, bases: Mapping[int, Image] = {}) -> Program:
    """What a program file does, given the images that earlier files (by signature) left.

    Raises ``BitstreamError`` for a file that the loader would refuse: bad length, magic,
    version, architecture, region, base, CRC, space, mask or address, a section that is too
    long, a missing COMMIT, trailing words.
    """
    if len(content) % 4 or len(content) < 4 * HEADER_WORDS:
        raise BitstreamError(f"truncated: {len(content)} bytes are not a header of "
                             f"{HEADER_WORDS} words and whole words after it")
    words = [int(w) for w in np.frombuffer(content, dtype="<u4")]
    image, regions = _decode_header(words, arch, bases)
    memory, position = False, HEADER_WORDS
    for number in range(words[5]):
        where = f"section {number} of {words[5]}"
        if position + SECTION_WORDS >= len(words):
            raise BitstreamError(f"truncated in {where}")
        op, space_number = words[position] & 0xFF, words[position] >> 8 & 0xFF
        first, count = words[position + 2] & 0xFFFF, words[position + 2] >> 16
        wanted = (OP_COMMIT,) if number == words[5] - 1 else (OP_WRITE, OP_CLEAR)
        commit = words[position:position + SECTION_WORDS] \
            == [OP_COMMIT | number << 16, 0, 0]
        if words[position] >> 16 != number:
            raise BitstreamError(f"operation {op} has number {words[position] >> 16} in {where}")
        if op not in wanted or (op == OP_COMMIT and not commit):
            raise BitstreamError(f"operation {op} is not allowed in {where}")
        places, width = [], 0
        if op != OP_COMMIT:
            space = _space(space_number, where)
            places = _places(space, words[position + 1], regions, arch, where)
            if first + count > depth(space, arch):
                raise BitstreamError(f"rows outside {space.name} in {where}")
            width = words_per_row(space, arch) if op == OP_WRITE else 0
            if width * count > MAX_PAYLOAD:
                raise BitstreamError(f"more than {MAX_PAYLOAD} words of payload in {where}")
            memory |= space is Space.MEMORY
        end = position + SECTION_WORDS + count * width
        if end >= len(words):
            raise BitstreamError(f"truncated in {where}")
        if crc(words[position:end]) != words[end]:
            raise BitstreamError(f"CRC does not match in {where}")
        payload = words[position + SECTION_WORDS:end]
        for place in places:
            target = image.rows.setdefault(place, {})
            for i in range(count):
                value = from_words(payload[i * width:(i + 1) * width])
                target[first + i] = value
        position = end + 1
    if position != len(words):
        raise BitstreamError(f"{len(words) - position} words after the last section")
    if crc(words[HEADER_WORDS:]) != words[6]:
        raise BitstreamError("total CRC does not match")
    image.rows = {place: kept for place, rows in image.rows.items()
                  if (kept := {a: v for a, v in rows.items() if v or place[0] is Space.MEMORY})}
    return Program(image, regions, words[HEADER_WORDS - 1], words[4], memory)


def _decode_header(words: Sequence[int], arch: Architecture, bases: Mapping[int, Image]
                   ) -> tuple[Image, tuple[int, ...]]:
    if words[0] != MAGIC:
        raise BitstreamError(f"not a program file: magic is {words[0]:#010x}, not {MAGIC:#010x}")
    if words[1] != VERSION:
        raise BitstreamError(f"format version {words[1]} is not {VERSION}")
    if crc(words[:HEADER_WORDS - 1]) != words[HEADER_WORDS - 1]:
        raise BitstreamError("header CRC does not match")
    mask = words[3] >> 16
    if words[2] != arch.hash or words[3] & 0xFFFF != grid_word(arch):
        raise BitstreamError(f"wrong architecture: file is for {words[2]:#010x}, "
                             f"{arch.name} is {arch.hash:#010x}")
    if not mask or mask >> arch.region_count:
        raise BitstreamError(f"region mask {mask:#x} is not one of {arch.region_count} regions")
    if words[4] and words[4] not in bases:
        raise BitstreamError(f"the file changes the program of signature {words[4]:#010x}, "
                             "which is not there")
    image = bases[words[4]].copy() if words[4] else Image(arch)
    return image, tuple(r for r in range(arch.region_count) if mask >> r & 1)


def _space(number: int, where: str) -> Space:
    try:
        return Space(number)
    except ValueError:
        raise BitstreamError(f"unknown space {number} in {where}") from None


def _places(space: Space, masks: int, regions: Sequence[int], arch: Architecture, where: str
            ) -> list[Place]:
    rows, cols = masks & 0xFFFF, masks >> 16
    if space not in TILE_SPACES:
        if any(rows >> r & 1 and r not in regions for r in range(16)):
            raise BitstreamError(f"regions that the file is not for in {where}")
        return [(space, r, 0) for r in regions if rows >> r & 1]
    if rows >> arch.rows or cols >> arch.cols:
        raise BitstreamError(f"tiles outside the grid in {where}")
    tiles = [(r, c) for r, c in arch.tiles if rows >> r & 1 and cols >> c & 1]
    if any(arch.region(*t) not in regions for t in tiles):
        raise BitstreamError(f"regions that the file is not for in {where}")
    return [(space, *t) for t in tiles]
