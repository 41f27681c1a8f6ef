"""Program files: round trip, and refusal of anything that is not one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spu.arch import bitstream
from spu.arch.config import Space, row_layout
from spu.arch.context import CONTEXT
from spu.arch.packing import array, from_words, pack, struct, to_words, unpack
from spu.arch.params import CONFIGS, Architecture
from verif.expected.compare import image_differences
from verif.stimulus.chains import pipeline, program_of
from verif.tests.compiler.test_compiler import random_network

TINY = CONFIGS["tiny"]


@given(st.integers(0, (1 << 63) - 1))
def test_any_context_word_unpacks_and_packs_to_itself(bits):
    assert pack(CONTEXT, unpack(CONTEXT, bits)) == bits
    assert from_words(to_words(bits, 2)) == bits


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"north": 16}, "north: 16 is outside 0..15"),
        ({"slice": -1}, "slice: -1 is outside 0..7"),
        ({"nort": 1}, "unknown fields"),
    ],
)
def test_packing_refuses_what_does_not_fit(value, rule):
    with pytest.raises(ValueError, match=rule):
        pack(CONTEXT, value)


def test_a_field_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(KeyError, match=r"no field 'up' in struct\(north, south\)"):
        struct({"north": 4, "south": 4})["up"]
    with pytest.raises(KeyError, match="no field 3 in array of 3 entries"):
        array(8, 3)[3]
    with pytest.raises(KeyError, match="no field 'x' in number of 8 bits"):
        array(8, 3)[0]["x"]


@pytest.mark.parametrize("numbers", [range(1, 8), range(0, 8, 2), range(-4, 4), range(0)])
def test_a_layout_takes_only_ranges_that_begin_at_zero(numbers):
    with pytest.raises(ValueError, match=r"must be range\(n\)"):
        struct({"numbers": numbers})
    with pytest.raises(ValueError, match=r"must be range\(n\)"):
        array(numbers, 2)
    assert struct({"numbers": range(8)}).width == 3


def test_signed_fields_keep_their_sign():
    layout = row_layout(Space.REGISTER, 0, TINY)
    assert unpack(layout, pack(layout, {"offset": -512}))["offset"] == -512


@pytest.mark.parametrize("name", list(CONFIGS))
def test_program_decodes_to_the_image_it_was_made_from(name, compiled):
    program = (
        compiled(name)
        if name != "large"
        else pipeline(program_of("random", random_network((40, 32, 5))), CONFIGS[name])
    )
    assert (
        image_differences(program.image, bitstream.decode(program.content, program.arch).image)
        == []
    )


def test_writing_outside_a_space_is_refused():
    with pytest.raises(ValueError, match=r"CONTEXT row 256 is outside 0\.\.255"):
        bitstream.Image(TINY).write(Space.CONTEXT, (0, 0), 256, {})


def test_every_truncation_is_refused(compiled):
    content = compiled("tiny").content
    for length in [*range(200), *range(200, len(content), 97)]:
        with pytest.raises(bitstream.BitstreamError):
            bitstream.decode(content[:length], TINY)


def test_every_flipped_word_is_refused(compiled):
    words = np.frombuffer(compiled("tiny").content, "<u4")
    rng = np.random.default_rng(0)
    for i in [*range(40), *rng.integers(40, len(words), 200).tolist()]:
        changed = words.copy()
        changed[i] ^= np.uint32(1 << int(rng.integers(32)))
        with pytest.raises(bitstream.BitstreamError):
            bitstream.decode(changed.tobytes(), TINY)


def test_a_program_for_another_architecture_is_refused_by_name(compiled):
    with pytest.raises(bitstream.BitstreamError, match=r"wrong architecture.*basic is 0x"):
        bitstream.decode(compiled("tiny").content, CONFIGS["basic"])


def test_trailing_words_are_refused(compiled):
    with pytest.raises(bitstream.BitstreamError, match="1 words after the last section"):
        bitstream.decode(compiled("tiny").content + b"\0\0\0\0", TINY)


def test_a_section_is_too_long_once_the_loader_has_too_many_words():
    header = bitstream.Header((0,), 0, 2, 0, 1)
    words = [bitstream.OP_WRITE | Space.CONTEXT.value << 8, 0x10001, 129 << 16]
    words += [0] * bitstream.MAX_PAYLOAD
    with pytest.raises(bitstream.Truncated):
        bitstream.read_section(words, 0, 0, header, TINY)
    with pytest.raises(bitstream.BitstreamError, match="more than 256 words") as found:
        bitstream.read_section([*words, 0], 0, 0, header, TINY)
    assert found.value.reason == "section too long"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"pattern": ("MM", "M")}, "equal length"),
        ({"pattern": ("Mx", "MM")}, "unknown tile kinds"),
        ({"pattern": ("M" * 17,)}, "1x1 to 16x16"),
        ({"lanes": 3}, "lanes must be"),
        ({"columns": 6}, "columns must be"),
        ({"data_bits": 32}, "64 or 128"),
        ({"regions": ("01", "1")}, "2 strings of 2 digits"),
        ({"regions": ("0x", "00")}, "unknown digits"),
        ({"regions": ("02", "02")}, "without gaps"),
        ({"regions": ("01", "11")}, "not a rectangle"),
        ({"lanes": 16}, "lanes must be"),
        ({"contexts": 24}, "power of two"),
        ({"weight_rows": 1}, "power of two"),
        ({"formats": ()}, "1 to 8 names of formats, not 0"),
        ({"formats": ("PAL9T",)}, "no format 'PAL9T'; there are PAL4U"),
        ({"formats": ("PAL8T", "PAL6T", "PAL8T")}, "PAL8T is there twice"),
        ({"formats": ("PAL8A",)}, "PAL8A has logs of 6 fraction bits, dot products of x take 5"),
        ({"formats": ("PAL16",)}, "operands have up to 8 bits, PAL16 has 16"),
        ({"bits": "few"}, "bits must be one of default, lean, not 'few'"),
        ({"decoded_weights": 1}, "decoded_weights must be true or false, not 1"),
    ],
)
def test_architecture_parameters_out_of_range_are_refused(change, rule):
    good = {
        "name": "x",
        "pattern": ("MM", "MM"),
        "lanes": 4,
        "columns": 2,
        "contexts": 16,
        "memory_words": 64,
        "weight_rows": 16,
    }
    assert Architecture(**good).hash != TINY.hash
    for other in ({"formats": ("PAL8T",)}, {"bits": "lean"}, {"decoded_weights": False}):
        assert Architecture(**{**good, **other}).hash != Architecture(**good).hash
    with pytest.raises(ValueError, match=rule):
        Architecture(**{**good, **change})
