"""Bit layouts, and values packed into them and back without silent truncation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True)
class Layout:
    """Fields of a struct (``kind`` dict), entries of an array (list), or a number (int).

    ``width`` in bits.  ``fields`` are (key, first bit, layout) of a struct or an array, from bit 0
    without gaps.  A number may be ``signed``, in two's complement, or one of ``members``.
    """

    kind: type
    width: int
    signed: bool = False
    members: type[Enum] | None = None
    fields: tuple[tuple[Any, int, "Layout"], ...] = ()

    def __iter__(self) -> Iterator[tuple[Any, int, "Layout"]]:
        return iter(self.fields)

    def __getitem__(self, key: Any) -> "Layout":
        """Layout of a field or entry; ``KeyError`` names what is not there, and what is."""
        for name, _, layout in self.fields:
            if name == key:
                return layout
        raise KeyError(f"no field {key!r} in {self}")

    def __str__(self) -> str:
        if self.kind is dict:
            return f"struct({', '.join(str(name) for name, _, _ in self.fields)})"
        if self.kind is list:
            return f"array of {len(self.fields)} entries"
        return f"{'signed ' if self.signed else ''}number of {self.width} bits"


#: Bits of an unsigned number, ``range(n)`` for the numbers below ``n``, or a layout.
Shape = int | range | Layout


def number(bits: int, signed: bool = False, members: type[Enum] | None = None) -> Layout:
    """A number of so many bits."""
    return Layout(int, bits, signed, members)


def signed(bits: int) -> Layout:
    """A number in two's complement."""
    return number(bits, True)


def _cast(shape: Shape) -> Layout:
    if isinstance(shape, Layout):
        return shape
    if isinstance(shape, int):
        return number(shape)
    if not shape or shape != range(len(shape)):
        raise ValueError(f"a range of a layout must be range(n), n at least 1, not {shape}")
    return number((len(shape) - 1).bit_length())


def struct(fields: Mapping[str, Shape]) -> Layout:
    """Fields one above the other, the first at bit 0.

    Raises ``ValueError`` for a range that does not begin at 0.
    """
    return _joined(dict, [(name, _cast(shape)) for name, shape in fields.items()])


def array(entry: Shape, count: int) -> Layout:
    """So many equal entries, the first at bit 0.

    Raises ``ValueError`` for a range that does not begin at 0.
    """
    return _joined(list, [(i, _cast(entry)) for i in range(count)])


def _joined(kind: type, parts: list[tuple[Any, Layout]]) -> Layout:
    fields, width = [], 0
    for key, layout in parts:
        fields.append((key, width, layout))
        width += layout.width
    return Layout(kind, width, fields=tuple(fields))


def pack(layout: Layout, value: Any) -> int:
    """Integer whose bits hold ``value``.

    A struct takes a mapping (missing fields are 0), an array a sequence (missing tail
    entries are 0), anything else an integer.  Raises ``ValueError`` for a value that
    does not fit its field and for unknown fields.
    """
    if layout.kind is int:
        number = int(value)
        low = -(1 << (layout.width - 1)) if layout.signed else 0
        high = low + (1 << layout.width) - 1
        if not low <= number <= high:
            raise ValueError(f"{number} is outside {low}..{high}")
        return number & ((1 << layout.width) - 1)
    fields = {key: (offset, field) for key, offset, field in layout.fields}
    if layout.kind is dict:
        assert isinstance(value, Mapping)
        if unknown := set(value) - set(fields):
            raise ValueError(f"unknown fields {sorted(unknown)}; known: {sorted(fields)}")
        items = list(value.items())
    else:
        assert isinstance(value, Sequence)
        if len(value) > len(fields):
            raise ValueError(f"{len(value)} entries for an array of {len(fields)}")
        items = list(enumerate(value))
    bits = 0
    for key, entry in items:
        offset, field = fields[key]
        try:
            bits |= pack(field, entry) << offset
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return bits


def unpack(layout: Layout, bits: int) -> Any:
    """Inverse of ``pack``: dict for a struct, list for an array, else an integer."""
    if layout.kind is dict:
        return {key: unpack(field, bits >> offset) for key, offset, field in layout.fields}
    if layout.kind is list:
        return [unpack(field, bits >> offset) for _, offset, field in layout.fields]
    number = bits & ((1 << layout.width) - 1)
    if layout.signed and number >> (layout.width - 1):
        number -= 1 << layout.width
    return number


def to_words(bits: int, count: int) -> list[int]:
    """Split into ``count`` little-endian 32-bit words."""
    return [bits >> (32 * i) & 0xFFFF_FFFF for i in range(count)]


def from_words(words: Sequence[int]) -> int:
    """Join little-endian 32-bit words."""
    return sum(int(w) << (32 * i) for i, w in enumerate(words))
