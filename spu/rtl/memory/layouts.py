"""What streams within the memory engine carry."""

from amaranth.lib import data

from spu.arch.memory import COUNT_BITS, SEQUENCE_BITS, Fault, MemoryEngine, pattern_layout
from spu.rtl.layouts import of

#: A fault, or NONE, with the number of the descriptor that caused it.
TAGGED_FAULT = data.StructLayout({"fault": Fault, "tag": SEQUENCE_BITS})


def pattern(engine: MemoryEngine) -> data.StructLayout:
    """``spu.arch.memory.pattern_layout``."""
    return of(pattern_layout(engine))


def element(engine: MemoryEngine) -> data.StructLayout:
    """An element of a pattern: where it lies, or that it is zeros, or what is wrong with it."""
    return data.StructLayout({"address": engine.address_bits, "zero": 1, "fault": Fault, "last": 1})


def beat_request(engine: MemoryEngine) -> data.StructLayout:
    """``beats_less_1 + 1`` beats from number ``beat`` of memory on, for descriptor ``tag``."""
    return data.StructLayout(
        {"beat": engine.beat_address_bits, "beats_less_1": COUNT_BITS, "tag": SEQUENCE_BITS}
    )


def burst(engine: MemoryEngine) -> data.StructLayout:
    """A piece of a request that is one burst; ``last`` of the request."""
    return data.StructLayout(
        {
            "beat": engine.beat_address_bits,
            "beats_less_1": (engine.burst_beats - 1).bit_length(),
            "last": 1,
            "tag": SEQUENCE_BITS,
        }
    )


def read_beat(engine: MemoryEngine) -> data.StructLayout:
    """A beat from memory, with the fault of its response; ``last`` of its request."""
    return data.StructLayout(
        {"data": engine.data_bits, "fault": Fault, "last": 1, "tag": SEQUENCE_BITS}
    )


def write_beat(engine: MemoryEngine) -> data.StructLayout:
    """A beat to memory, with a bit for each byte that is to be written."""
    return data.StructLayout({"data": engine.data_bits, "strobes": engine.beat_bytes})


def job(engine: MemoryEngine) -> data.StructLayout:
    """A pattern for a channel, of descriptor ``tag``."""
    return data.StructLayout({"pattern": pattern(engine), "tag": SEQUENCE_BITS})


def word(engine: MemoryEngine) -> data.StructLayout:
    """A word of a channel's stream; ``last`` of its pattern."""
    return data.StructLayout({"data": engine.word_bits, "last": 1})


def descriptor(engine: MemoryEngine) -> data.StructLayout:
    """A descriptor as it lies in memory, with its number and the fault of its fetch."""
    return data.StructLayout(
        {"bits": 8 * engine.descriptor_bytes, "number": SEQUENCE_BITS, "fault": Fault}
    )
