"""Pack values into any ``amaranth.lib.data`` layout and back, without silent truncation."""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data


def pack(layout: Any, value: Any) -> int:
    """Integer whose bits hold ``value`` in ``layout``.

    A struct takes a mapping (missing fields are 0), an array a sequence (missing tail
    entries are 0), anything else an integer.  Raises ``ValueError`` for a value that
    does not fit its field and for unknown fields.
    """
    if isinstance(layout, data.StructLayout):
        assert isinstance(value, Mapping)
        fields = dict(iter(layout))
        if unknown := set(value) - set(fields):
            raise ValueError(f"unknown fields {sorted(unknown)}; known: {sorted(fields)}")
        return _join(layout, value.items())
    if isinstance(layout, data.ArrayLayout):
        assert isinstance(value, Sequence)
        if len(value) > layout.length:
            raise ValueError(f"{len(value)} entries for an array of {layout.length}")
        return _join(layout, enumerate(value))
    shape = Shape.cast(layout)
    number = int(value)
    low = -(1 << (shape.width - 1)) if shape.signed else 0
    high = low + (1 << shape.width) - 1
    if not low <= number <= high:
        raise ValueError(f"{number} is outside {low}..{high}")
    return number & ((1 << shape.width) - 1)


def _join(layout: Any, items: Any) -> int:
    bits = 0
    for key, value in items:
        field = layout[key]
        try:
            bits |= pack(field.shape, value) << field.offset
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return bits


def unpack(layout: Any, bits: int) -> Any:
    """Inverse of ``pack``: dict for a struct, list for an array, else an integer."""
    if isinstance(layout, data.StructLayout):
        return {key: unpack(field.shape, bits >> field.offset) for key, field in layout}
    if isinstance(layout, data.ArrayLayout):
        return [unpack(field.shape, bits >> field.offset) for _, field in layout]
    shape = Shape.cast(layout)
    number = bits & ((1 << shape.width) - 1)
    if shape.signed and number >> (shape.width - 1):
        number -= 1 << shape.width
    return number


def to_words(bits: int, count: int) -> list[int]:
    """Split into ``count`` little-endian 32-bit words."""
    return [bits >> (32 * i) & 0xFFFF_FFFF for i in range(count)]


def from_words(words: Sequence[int]) -> int:
    """Join little-endian 32-bit words."""
    return sum(int(w) << (32 * i) for i, w in enumerate(words))
