"""Assembly: every row of a program as text, and back to the same file.

``disassemble`` explains a program; this says all of it, so that it can be changed and assembled::

    architecture basic 0x1f2e3d4c
    context 1,0 row 3: east=SUM a=NORTH op=ADD
    sequencer 0,0 row 0: slots_less_1=9
    weight 1,0 row 7: bits=0x0123

A row is a space, a tile (or a region and 0), a number; fields that are 0 are left out.  Fields
within fields are joined by points.  Rows of weights, constants and memories are ``bits``.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from compiler.errors import CompileError
from spu.arch.bitstream import Image
from spu.arch.config import TILE_SPACES, Space, depth, row_layout, words_per_row
from spu.arch.context import SINKS, Close, Op, Source
from spu.arch.packing import pack, unpack
from spu.arch.params import Architecture

#: Fields of contexts that have names.
NAMES: Mapping[str, type[Enum]] = {**dict.fromkeys(SINKS, Source), "op": Op, "close": Close}
#: Spaces whose rows are long, or data.
AS_BITS = (Space.WEIGHT, Space.CONSTANT, Space.MEMORY)
_ROW = re.compile(r"(\w+) (\d+),(\d+) row (\d+):(.*)")


def assembly(image: Image) -> Iterator[str]:
    """Lines for all rows that a program writes."""
    yield f"architecture {image.arch.name} {image.arch.hash:#010x}"
    for (space, r, c), rows in sorted(
        image.rows.items(), key=lambda entry: (entry[0][0].value, *entry[0][1:])
    ):
        for address, bits in sorted(rows.items()):
            if space in AS_BITS:
                fields = f"bits={bits:#x}"
            else:
                named = space is Space.CONTEXT
                fields = " ".join(
                    f"{key}={_shown(key, value, named)}"
                    for key, value in _flat(image.read(space, (r, c), address))
                    if value
                )
            yield f"{space.name.lower()} {r},{c} row {address}: {fields}".rstrip()


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Numbers of nested fields, by keys joined with points."""
    if not isinstance(value, dict | list):
        yield prefix, int(value)
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in items:
        yield from _flat(entry, f"{prefix}.{key}" if prefix else str(key))


def _shown(key: str, value: int, named: bool) -> str:
    return NAMES[key](value).name if named and key in NAMES else str(value)


def assemble_text(text: str, arch: Architecture) -> Image:
    """The image that lines of assembly describe; empty lines and ``#`` comments are skipped.

    Raises ``CompileError``, which names the line, for another architecture, for what is no row,
    and for rows, fields and values that do not exist.
    """
    image = Image(arch)
    seen = False
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        try:
            if not seen:
                _check_architecture(line, arch)
                seen = True
            else:
                _row(image, line)
        except (ValueError, KeyError) as error:
            raise CompileError(f"line {number}: {error}") from None
    if not seen:
        raise CompileError("line 1: must name the architecture")
    return image


def _check_architecture(line: str, arch: Architecture) -> None:
    wanted = f"architecture {arch.name} {arch.hash:#010x}"
    if line != wanted:
        raise ValueError(f"must be {wanted!r}, not {line!r}")


def _row(image: Image, line: str) -> None:
    match = _ROW.fullmatch(line)
    if not match:
        raise ValueError(f"not a row of a space: {line!r}")
    name, (r, c, address) = match[1], map(int, match.groups()[1:4])
    if name.upper() not in Space.__members__:
        raise ValueError(f"there is no space {name!r}")
    space, arch = Space[name.upper()], image.arch
    exists = (r, c) in arch.tiles if space in TILE_SPACES else r < arch.region_count and c == 0
    if not exists or address >= depth(space, arch):
        raise ValueError(f"there is no row {address} of {name} {r},{c}")
    rows = image.rows.setdefault((space, r, c), {})
    if address in rows:
        raise ValueError(f"row {address} of {name} {r},{c} is there already")
    fields = _fields(match[5].split(), space)
    if space in AS_BITS:
        if set(fields) - {"bits"} or not 0 <= fields.get("bits", 0) < 1 << 32 * words_per_row(
            space, arch
        ):
            raise ValueError("must be bits=NUMBER that fits the row")
        rows[address] = fields.get("bits", 0)
        return
    plan = row_layout(space, address, arch)
    known = dict(_flat(unpack(plan, 0)))
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"unknown fields {unknown}; known: {sorted(known)}")
    rows[address] = pack(plan, _nested(fields))


def _fields(words: list[str], space: Space) -> dict[str, int]:
    """Numbers of ``key=value`` words, by keys joined with points."""
    out: dict[str, int] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not field=value")
        if key in out:
            raise ValueError(f"{key} is there already")
        kind = NAMES.get(key) if space is Space.CONTEXT else None
        out[key] = kind[text].value if kind and text in kind.__members__ else int(text, 0)
    return out


def _nested(fields: Mapping[str, int]) -> dict[str, Any]:
    """Inverse of ``_flat``."""
    out: dict[str, Any] = {}
    for key, value in fields.items():
        *path, last = key.split(".")
        place = out
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return out
