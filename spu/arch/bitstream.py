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

from spu.arch.config import TILE_SPACES, Space, depth, row_layout, words_per_row
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
    """A program file that must not be loaded; the message names what is wrong and where.

    ``reason``: the loader's, one of ``regmap.LOAD_ERRORS``; "none" where the loader has none.
    """

    def __init__(self, message: str, reason: str = "none") -> None:
        super().__init__(message)
        self.reason = reason


class Truncated(BitstreamError):
    """Nothing is wrong with the words that are there; the loader waits for more."""


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
        self.write_bits(space, tile, address, pack(row_layout(space, address, self.arch), value))

    def write_bits(self, space: Space, tile: tuple[int, int], address: int, bits: int) -> None:
        """Write a packed row; ``ValueError`` for addresses out of range."""
        if not 0 <= address < depth(space, self.arch):
            raise ValueError(
                f"{space.name} row {address} is outside 0..{depth(space, self.arch) - 1}"
            )
        self.rows.setdefault((space, *tile), {})[address] = bits

    def read(self, space: Space, tile: tuple[int, int], address: int) -> dict:
        """Unpacked row; rows never written are 0."""
        bits = self.rows.get((space, *tile), {}).get(address, 0)
        return unpack(row_layout(space, address, self.arch), bits)

    def copy(self) -> "Image":
        """An image that can change independently."""
        return Image(self.arch, {place: dict(rows) for place, rows in self.rows.items()})

    def place_region(self, place: Place) -> int:
        """Region of a place."""
        space, r, c = place
        return self.arch.region(r, c) if space in TILE_SPACES else r


def encode(
    image: Image,
    regions: Sequence[int] | None = None,
    base: Image | None = None,
    base_signature: int = 0,
) -> bytes:
    """The program file of an image: runs of rows as sections, identical ones multicast.

    ``regions`` are those that the file configures, all of them by default.  With ``base``,
    what the file of that signature left there (and perhaps in other regions), only rows that
    differ are written; the data memory, which programs change, always as a whole.

    Raises ``ValueError`` for contents of another region, or a base without a signature.
    """
    arch = image.arch
    chosen = range(arch.region_count) if regions is None else sorted(set(regions))
    if (base is None) != (base_signature == 0):
        raise ValueError("a base image and its signature belong together")
    for place in image.rows:
        if image.place_region(place) not in chosen:
            raise ValueError(f"{place[0].name} of {place[1:]} is not in regions {list(chosen)}")
    before = (
        {}
        if base is None
        else {
            place: rows for place, rows in base.rows.items() if base.place_region(place) in chosen
        }
    )
    written = _changes(image, before)
    sections = [
        *_clears(image, chosen, base),
        *_writes(written, arch),
        _section(OP_COMMIT, 0, 0, 0, 0, 0, []),
    ]
    for number, section in enumerate(sections):
        section[0] |= number << 16
        section[-1] = crc(section[:-1])
    body = [w for s in sections for w in s]
    grid = grid_word(arch) | sum(1 << r for r in chosen) << 16
    header = [MAGIC, VERSION, arch.hash, grid, base_signature, len(sections), crc(body)]
    words = [*header, crc(header), *body]
    return struct.pack(f"<{len(words)}I", *words)


def _changes(
    image: Image, before: Mapping[Place, Mapping[int, int]]
) -> dict[Place, dict[int, int]]:
    """Rows to write: those that differ from what was there before."""
    out = {}
    for place in image.rows.keys() | before.keys():
        new, old = image.rows.get(place, {}), before.get(place, {})
        if place[0] is Space.MEMORY:
            rows = {a: v for a, v in new.items() if v}  # after a CLEAR
        else:
            rows = {
                a: new.get(a, 0) for a in new.keys() | old.keys() if new.get(a, 0) != old.get(a, 0)
            }
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
            places = (
                [t for t in arch.tiles if arch.region(*t) in regions]
                if space in TILE_SPACES
                else [(r, 0) for r in regions]
            )
        for rows, cols in _rectangles(places):
            yield _section(OP_CLEAR, space.value, rows, cols, 0, depth(space, arch), [])


def _order(place: Place) -> tuple[int, int, int]:
    return place[0].value, place[1], place[2]


def _writes(written: Mapping[Place, Mapping[int, int]], arch: Architecture) -> Iterator[list[int]]:
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
            yield _section(
                OP_WRITE,
                space.value,
                rows_mask,
                cols_mask,
                start,
                len(payload) // words_per_row(space, arch),
                list(payload),
            )


def _section(
    op: int, space: int, rows: int, cols: int, base: int, count: int, payload: list[int]
) -> list[int]:
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
class Header:
    """A file's header: regions that it configures, base, sections, total CRC, signature."""

    regions: tuple[int, ...]
    base: int
    sections: int
    total: int
    signature: int


@dataclass(frozen=True)
class Section:
    """A section: the rows from ``first`` on of all ``places``, none if it is COMMIT.

    ``words``: those that it takes in the file.
    """

    space: Space | None
    places: tuple[Place, ...]
    first: int
    rows: tuple[int, ...]
    words: int


def read_header(
    words: Sequence[int], arch: Architecture, shadows: Mapping[int, int] = {}
) -> Header:
    """The header that words begin with; ``shadows``: signature of a region's shadow bank.

    Raises ``BitstreamError`` with what the loader finds first, ``Truncated`` if it would wait.
    """
    taken = words[:HEADER_WORDS]
    magic, version, architecture, grid, base, sections, total, signature = (
        *taken,
        *[0] * (HEADER_WORDS - len(taken)),
    )
    regions = tuple(r for r in range(16) if grid >> 16 + r & 1)
    for _, (holds, reason, text) in zip(
        taken,
        (  # one a word
            (
                magic == MAGIC,
                "bad magic",
                f"not a program file: magic is {magic:#010x}, not {MAGIC:#010x}",
            ),
            (
                version == VERSION,
                "bad format version",
                f"format version {version} is not {VERSION}",
            ),
            (
                architecture == arch.hash,
                "wrong architecture",
                f"wrong architecture: file is for {architecture:#010x}, "
                f"{arch.name} is {arch.hash:#010x}",
            ),
            (
                grid & 0xFFFF == grid_word(arch) and regions and regions[-1] < arch.region_count,
                "wrong grid or regions",
                f"wrong grid or regions: {grid:#010x} is not {grid_word(arch):#06x} and a mask of "
                f"{arch.region_count} regions",
            ),
            (
                not base or all(shadows.get(r) == base for r in regions),
                "wrong base",
                f"the file changes the program of signature {base:#010x}, which is not there",
            ),
            (0 < sections < 1 << 16, "operation", f"{sections} sections are not 1 to 65535"),
            (True, "none", ""),
            (crc(taken[:-1]) == signature, "header CRC", "header CRC does not match"),
        ),
        strict=False,
    ):
        if not holds:
            raise BitstreamError(text, reason)
    if len(taken) < HEADER_WORDS:
        raise Truncated(f"truncated: {len(taken)} words are not a header of {HEADER_WORDS}")
    return Header(regions, base, sections, total, signature)


def read_section(
    words: Sequence[int], at: int, number: int, header: Header, arch: Architecture
) -> Section:
    """Section ``number`` of a file, which begins with word ``at``.

    Raises ``BitstreamError`` with what the loader finds first, ``Truncated`` if it would wait.
    """
    where, last = f"section {number} of {header.sections}", number == header.sections - 1

    def word(index: int) -> int:
        if at + index >= len(words):
            raise Truncated(f"truncated in {where}")
        return words[at + index]

    def require(holds: bool, reason: str, text: str) -> None:
        if not holds:
            raise BitstreamError(f"{text} in {where}", reason)

    op, space, width = word(0) & 0xFF, None, 0
    places: tuple[Place, ...] = ()
    require(word(0) >> 16 == number, "operation", f"operation {op} has number {word(0) >> 16}")
    require(
        word(0) & 0xFFFF == OP_COMMIT if last else op in (OP_WRITE, OP_CLEAR),
        "operation",
        f"operation {op} is not allowed",
    )
    if last:
        require(word(1) == 0, "operation", "COMMIT has masks")
        require(word(2) == 0, "operation", "COMMIT has rows")
    else:
        masks, space = word(1), next((s for s in Space if s.value == word(0) >> 8 & 0xFF), None)
        if space is None:
            raise BitstreamError(f"unknown space {word(0) >> 8 & 0xFF} in {where}", "address")
        places, foreign = _places(space, masks, header.regions, arch)
        require(not foreign, "address", foreign)
        require(
            (word(2) & 0xFFFF) + (word(2) >> 16) <= depth(space, arch),
            "address",
            f"rows outside {space.name}",
        )
        width = words_per_row(space, arch) if op == OP_WRITE else 0
    first, count = word(2) & 0xFFFF, word(2) >> 16
    end = SECTION_WORDS + width * count
    if width * count > MAX_PAYLOAD:
        word(SECTION_WORDS + MAX_PAYLOAD)  # the first one that is too many
        require(False, "section too long", f"more than {MAX_PAYLOAD} words of payload")
    require(word(end) == crc(words[at : at + end]), "section CRC", "CRC does not match")
    payload = words[at + SECTION_WORDS : at + end]
    rows = tuple(from_words(payload[i * width : (i + 1) * width]) for i in range(count))
    return Section(space, places, first, rows, end + 1)


def _places(
    space: Space, masks: int, regions: Sequence[int], arch: Architecture
) -> tuple[tuple[Place, ...], str]:
    """What the masks select, and what is wrong with that, or nothing."""
    rows, cols = masks & 0xFFFF, masks >> 16
    if space not in TILE_SPACES:
        foreign = any(rows >> r & 1 and r not in regions for r in range(16))
        return tuple(
            (space, r, 0) for r in regions if rows >> r & 1
        ), "regions that the file is not for" if foreign else ""
    tiles = [(r, c) for r, c in arch.tiles if rows >> r & 1 and cols >> c & 1]
    outside = rows >> arch.rows or cols >> arch.cols
    foreign = any(arch.region(*t) not in regions for t in tiles)
    return (
        tuple((space, *t) for t in tiles),
        "tiles outside the grid"
        if outside
        else "regions that the file is not for"
        if foreign
        else "",
    )


def check_total(words: Sequence[int], end: int, header: Header) -> None:
    """Raise ``BitstreamError`` unless the total CRC is that of the words up to ``end``."""
    if crc(words[HEADER_WORDS:end]) != header.total:
        raise BitstreamError("total CRC does not match", "total CRC")


@dataclass(frozen=True)
class Program:
    """A decoded file: what the shadow bank holds after it, and regions."""

    image: Image
    regions: tuple[int, ...]


def decode(content: bytes, arch: Architecture) -> Program:
    """What a program file does that builds on no other one.

    Raises ``BitstreamError`` for a file that the loader would refuse: bad magic, version,
    architecture, grid, region, base, CRC, operation, space, mask or address, a section that is
    too long, a missing COMMIT; and for two that it would not: a truncated one, for the rest of
    which it waits, and one with words after COMMIT.  The loader activates that program, and
    takes those words as the header of the next one.
    """
    if len(content) % 4 or len(content) < 4 * HEADER_WORDS:
        raise Truncated(
            f"truncated: {len(content)} bytes are not a header of "
            f"{HEADER_WORDS} words and whole words after it"
        )
    words = np.frombuffer(content, dtype="<u4").tolist()
    header = read_header(words, arch)
    image, position = Image(arch), HEADER_WORDS
    for number in range(header.sections):
        section = read_section(words, position, number, header, arch)
        for place in section.places:
            image.rows.setdefault(place, {}).update(enumerate(section.rows, section.first))
        position += section.words
    check_total(words, position, header)
    if position != len(words):
        raise BitstreamError(f"{len(words) - position} words after the last section")
    image.rows = {
        place: kept
        for place, rows in image.rows.items()
        if (kept := {a: v for a, v in rows.items() if v or place[0] is Space.MEMORY})
    }
    return Program(image, header.regions)
