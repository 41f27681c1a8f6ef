"""Chips and descriptors by their parameters: what is refused."""

import pytest

from spu.arch.chip import CHIPS, Chip, chip_of
from spu.arch.memory import Kind, MemoryEngine, encode_descriptor
from spu.arch.params import CONFIGS

TINY = CONFIGS["tiny"]


@pytest.mark.parametrize(
    ("engine", "rule"),
    [
        (MemoryEngine(word_bits=128), "read_channels must be 2, the array's columns, not 4"),
        (
            MemoryEngine(word_bits=128, read_channels=2, write_channels=1),
            "write_channels must be 2, the array's columns, not 1",
        ),
        (
            MemoryEngine(word_bits=64, read_channels=2, write_channels=2),
            "word_bits must be at least 72, data and bias of a stream's word, not 64",
        ),
    ],
)
def test_an_engine_that_does_not_fit_the_array_is_refused(engine, rule):
    with pytest.raises(ValueError, match=rule):
        Chip(TINY, engine)


def test_beats_that_hold_no_word_are_refused():
    with pytest.raises(ValueError, match="word_bits must be a power of two from 16 to 64, not 128"):
        chip_of(TINY, MemoryEngine(data_bits=64))


@pytest.mark.parametrize("name", CHIPS)
def test_a_chip_has_a_channel_for_each_stream(name):
    chip = CHIPS[name]
    assert chip.memory.read_channels == chip.memory.write_channels == chip.arch.cols


def test_a_descriptor_says_which_field_does_not_fit():
    engine = CHIPS["tiny"].memory
    bits = encode_descriptor(engine, Kind.NOTIFY, {"value": 7})
    assert len(bits) == engine.descriptor_bytes
    assert bits[:8] == bytes((Kind.NOTIFY.value, 0, 0, 0, 7, 0, 0, 0))
    with pytest.raises(ValueError, match=r"rounds: 65536 is outside 0\.\.65535"):
        encode_descriptor(engine, Kind.RUN, {"rounds": 1 << 16})
    with pytest.raises(ValueError, match=r"unknown fields \['pattern'\]"):
        encode_descriptor(engine, Kind.RUN, {"pattern": {}})
