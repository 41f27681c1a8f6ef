"""The memory engine: its parameters, the layouts of patterns and descriptors, its faults."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from spu.arch.packing import Layout, array, number, pack, signed, struct

#: Bytes that no burst crosses a multiple of, and beats that none exceeds (AMBA AXI protocol
#: specification, A3.4.1).
PAGE_BYTES, MOST_BEATS = 4096, 256
#: Bits of an iteration count less 1, of a stride in bytes, of a step along an axis.
COUNT_BITS, STRIDE_BITS, STEP_BITS = 16, 32, 16
#: Bounded axes of a pattern: the height and the width of a window.
AXES = 2
#: Bits of an index of a gather, of the bytes from one index to the next.
INDEX_BITS, PITCH_BITS = 24, 32
#: Bits of the number of a descriptor, which counts from a reset and wraps: it tags the bursts
#: that a descriptor causes, and tells host and engine how far the other one is.
SEQUENCE_BITS = 16


class Fault(Enum):
    """What stops the engine."""

    NONE = 0  #: nothing
    SLVERR = 1  #: memory answered a burst with SLVERR
    DECERR = 2  #: memory answered a burst with DECERR: nothing lies at its address
    UNALIGNED = 3  #: the address of an element is no multiple of its size
    OUT_OF_RANGE = 4  #: an element beyond the memory, or an index beyond the gather's count
    BAD_DESCRIPTOR = 5  #: no such kind or target, a field that has no meaning, bits that must be 0
    RING_OVERRUN = 6  #: more descriptors were announced than the ring has places
    BAD_PROGRAM = 7  #: the loader refused the program, or the array its run
    STOPPED = 8  #: the host stopped the engine


class Kind(Enum):
    """What a descriptor asks for; memory that was never written, kind 0, is none."""

    LOAD = 1  #: a pattern of 32-bit words into the loader
    READ = 2  #: a pattern into the stream of a read channel
    WRITE = 3  #: the stream of a write channel into a pattern
    RUN = 4  #: some rounds of a region's program
    FENCE = 5  #: wait until units are idle
    NOTIFY = 6  #: an interrupt, with a value for the host


@dataclass(frozen=True)
class MemoryEngine:
    """Parameters of a memory engine; raises ``ValueError`` for one that is out of range.

    ``data_bits``: of the data bus, 32 to 1024.  ``address_bits``: of a byte address, 13 to 64.
    ``word_bits``: of a word of a channel's stream, 16 to ``data_bits``.  ``burst_beats``: beats of
    the longest burst, 2 to 256, with no more than 4 KiB.  ``outstanding``: bursts that a manager
    has under way, 2 to 32.  ``ids``: AXI IDs of a manager, 1 to ``outstanding``; bursts of
    different IDs may be answered in any order.  ``loops`` of a pattern, 5 to 8.
    ``read_channels``, ``write_channels``: 1 to 64 each.  Powers of two are asked of all but
    ``address_bits``, ``loops`` and the numbers of channels.
    """

    data_bits: int = 256
    address_bits: int = 40
    word_bits: int = 64
    burst_beats: int = 16
    outstanding: int = 8
    ids: int = 8
    loops: int = 6
    read_channels: int = 4
    write_channels: int = 4

    def __post_init__(self) -> None:
        for name, least, most in (
            ("data_bits", 32, 1024),
            ("word_bits", 16, self.data_bits),
            ("burst_beats", 2, min(MOST_BEATS, PAGE_BYTES // self.beat_bytes)),
            ("outstanding", 2, 32),
            ("ids", 1, self.outstanding),
        ):
            value = getattr(self, name)
            if not least <= value <= most or value & (value - 1):
                raise ValueError(
                    f"{name} must be a power of two from {least} to {most}, not {value}"
                )
        for name, least, most in (
            ("address_bits", 13, 64),
            ("loops", 5, 8),
            ("read_channels", 1, 64),
            ("write_channels", 1, 64),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be {least} to {most}, not {value}")

    @property
    def beat_bytes(self) -> int:
        """Bytes of a beat."""
        return max(self.data_bits // 8, 1)

    @property
    def beat_address_bits(self) -> int:
        """Bits of the number of a beat in memory."""
        return self.address_bits - (self.beat_bytes - 1).bit_length()

    @property
    def word_bytes(self) -> int:
        """Bytes of a word."""
        return self.word_bits // 8

    @property
    def descriptor_bytes(self) -> int:
        """Bytes from one descriptor to the next: the power of two that the longest one needs."""
        bits = max(descriptor_layout(kind, self).width for kind in Kind)
        return max(self.beat_bytes, 1 << (-(-bits // 8) - 1).bit_length())


def pattern_layout(engine: MemoryEngine) -> Layout:
    """A pattern: elements of ``2^size`` bytes at the addresses of nested loops, number 0 innermost.

    An element of the iterations ``i`` lies at ``base + sum(i_k * stride_k)``, modulo
    ``2^address_bits``, and has along each axis the coordinate ``start + sum(i_k * step_k)``, modulo
    ``2^16``.  Where an axis has an ``extent``, coordinates that are not within ``range(extent)``
    read zeros and write nothing.  With ``index_level`` n > 0 each iteration of the loops from n on
    takes an index, which must be below ``index_count``, and adds ``index * index_pitch`` to the
    addresses: the loops within are a row of the gather.  The elements make words of
    ``word_bytes >> narrow`` bytes, at least an element; bits above are read as 0, written nowhere.
    """
    loop: dict[str, int | Layout] = {
        "count_less_1": COUNT_BITS,
        "stride": signed(STRIDE_BITS),
        "steps": array(signed(STEP_BITS), AXES),
    }
    axis: dict[str, int | Layout] = {"start": signed(STEP_BITS), "extent": STEP_BITS - 1}
    return struct(
        {
            "base": engine.address_bits,
            "size": range(engine.word_bytes.bit_length()),
            "axes": array(struct(axis), AXES),
            "index_level": range(engine.loops + 1),
            "index_pitch": PITCH_BITS,
            "index_count": INDEX_BITS,
            "loops": array(struct(loop), engine.loops),
            "narrow": range(engine.word_bytes.bit_length()),
        }
    )


def descriptor_layout(kind: Kind, engine: MemoryEngine) -> Layout:
    """A descriptor: its kind, the number of the unit that it is for, and what it asks of it.

    FENCE has a bit a unit: read channels, write channels, the loader, regions, from bit 0 each.
    LOAD takes words of 32 bits.  No index reaches a pattern of a descriptor yet: its
    ``index_level`` must be 0.
    The bits above a descriptor's fields must be 0.
    """
    bodies: dict[Kind, dict[str, int | Layout]] = {
        **{k: {"pattern": pattern_layout(engine)} for k in (Kind.LOAD, Kind.READ, Kind.WRITE)},
        Kind.RUN: {"rounds": 16},
        Kind.FENCE: {
            "read_channels": number(64),
            "write_channels": number(64),
            "loader": 1,
            "regions": number(16),
        },
        Kind.NOTIFY: {"value": number(32)},
    }
    return struct({"kind": 8, "target": 8, "zero": 16, **bodies[kind]})


def encode_descriptor(engine: MemoryEngine, kind: Kind, fields: Mapping[str, Any]) -> bytes:
    """A descriptor as it lies in memory, ``descriptor_bytes`` of them; fields left out are 0.

    Raises ``ValueError`` for a value that does not fit its field and for unknown fields.
    """
    bits = pack(descriptor_layout(kind, engine), {"kind": kind.value, **fields})
    return bits.to_bytes(engine.descriptor_bytes, "little")
