"""Pack values into any ``amaranth.lib.data`` layout and back, without silent truncation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data


@dataclass(frozen=True)
class Plan:
    """A layout made ready for packing: fields of a struct, entries of an array, or a number.

    ``fields`` are (key, first bit, plan) of a struct or an array, empty for a number.
    """

    kind: type
    width: int
    signed: bool
    fields: tuple[tuple[Any, int, "Plan"], ...]


def plan(layout: Any) -> Plan:
    """The plan of a layout; worth keeping, since making it takes longer than its use."""
    if isinstance(layout, (data.StructLayout, data.ArrayLayout)):
        kind = dict if isinstance(layout, data.StructLayout) else list
        fields = tuple((key, field.offset, plan(field.shape)) for key, field in layout)
        return Plan(kind, layout.size, False, fields)
    shape = Shape.cast(layout)
    return Plan(int, shape.width, shape.signed, ())


def pack(layout: Any, value: Any) -> int:
    """Integer whose bits hold ``value`` in a layout or its ``plan``.

    A struct takes a mapping (missing fields are 0), an array a sequence (missing tail
    entries are 0), anything else an integer.  Raises ``ValueError`` for a value that
    does not fit its field and for unknown fields.
    """
    p = layout if isinstance(layout, Plan) else plan(layout)
    if p.kind is int:
        number = int(value)
        low = -(1 << (p.width - 1)) if p.signed else 0
        high = low + (1 << p.width) - 1
        if not low <= number <= high:
            raise ValueError(f"{number} is outside {low}..{high}")
        return number & ((1 << p.width) - 1)
    fields = {key: (offset, field) for key, offset, field in p.fields}
    if p.kind is dict:
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


def unpack(layout: Any, bits: int) -> Any:
    """Inverse of ``pack``: dict for a struct, list for an array, else an integer."""
    p = layout if isinstance(layout, Plan) else plan(layout)
    if p.kind is dict:
        return {key: unpack(field, bits >> offset) for key, offset, field in p.fields}
    if p.kind is list:
        return [unpack(field, bits >> offset) for _, offset, field in p.fields]
    number = bits & ((1 << p.width) - 1)
    if p.signed and number >> (p.width - 1):
        number -= 1 << p.width
    return number


def to_words(bits: int, count: int) -> list[int]:
    """Split into ``count`` little-endian 32-bit words."""
    return [bits >> (32 * i) & 0xFFFF_FFFF for i in range(count)]


def from_words(words: Sequence[int]) -> int:
    """Join little-endian 32-bit words."""
    return sum(int(w) << (32 * i) for i, w in enumerate(words))
