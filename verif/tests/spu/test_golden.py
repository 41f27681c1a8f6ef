"""The golden model: a batch is as many runs, predicates, loops, and what starves."""

import numpy as np
import pytest

from pal_units import model
from pal_units.formats import PAL16
from spu.arch.bitstream import Image
from spu.arch.config import Compare, SequencerRegister, Space, TileRegister, weight_row
from spu.arch.context import CONTEXT, Op, Source
from spu.arch.packing import pack
from spu.arch.params import EXISTS
from spu.model import units
from spu.model.array import GoldenArray, InputExhausted
from spu.model.region import Loops
from verif.random_programs import ARRAYS
from verif.stimulus.programs import FOCUS, random_case

SMALL = ARRAYS["2x2"]


@pytest.mark.parametrize("focus", list(FOCUS))
def test_a_batch_gives_what_its_runs_give_alone(focus):
    """Also where predicates depend on data, so that runs emit different numbers of words."""
    case = random_case(SMALL, 7, focus)
    rng = np.random.default_rng(1)
    runs = [
        {
            c: [(int(rng.integers(1 << 63)) * (k % 2), b) for _, b in words]
            for c, words in case.inputs.items()
        }
        for k in range(4)
    ]
    batch = GoldenArray(case.image, len(runs))
    together = batch.run(runs, case.rounds)
    for k, inputs in enumerate(runs):
        alone = GoldenArray(case.image)
        result = alone.run(inputs, case.rounds)
        assert together.run_outputs(k) == result.outputs
        assert np.array_equal(together.links[0][..., k, :], result.links[0][..., 0, :])
        for tile in SMALL.memory_tiles:
            assert np.array_equal(batch.memory[tile][k], alone.memory[tile][0])


def _variants(image, rng, count):
    """Images that differ in the weights of some tiles, and in the offsets of matrix modes."""
    modes = range(TileRegister.MODE, TileRegister.VECTOR_MODE)
    made = [image.copy() for _ in range(count)]
    for each in made[1:]:
        for (space, *tile), rows in image.rows.items():
            if space is Space.WEIGHT:
                for row in rows:
                    bits = weight_row(SMALL).width
                    value = int.from_bytes(rng.bytes(bits // 8 + 1), "little") % (1 << bits)
                    each.write_bits(
                        space, tuple(tile), (row + int(rng.integers(2))) % SMALL.weight_rows, value
                    )
        for tile in SMALL.matrix_tiles:
            for row in modes:
                mode = each.read(Space.REGISTER, tile, row)
                mode["offset"] = int(rng.integers(-400, 100))
                each.write(Space.REGISTER, tile, row, mode)
    return made


def test_programs_that_differ_in_weights_give_side_by_side_what_they_give_alone():
    """Words of all links, saturated elements and memories, of random programs."""
    rng, saturated, others = np.random.default_rng(3), 0, 0
    for seed in range(6):
        case = random_case(SMALL, seed, "matrix")
        images = _variants(case.image, rng, 4)
        batch = GoldenArray(images, len(images))
        together = batch.run([case.inputs] * len(images), case.rounds)
        words = [together.run_outputs(k) for k in range(len(images))]
        for k, image in enumerate(images):
            alone = GoldenArray(image)
            result = alone.run(case.inputs, case.rounds)
            assert words[k] == result.outputs
            assert together.region_cycles == result.region_cycles
            assert np.array_equal(together.links[0][..., k, :], result.links[0][..., 0, :])
            assert {t: n[k] for t, n in together.tile_saturated.items()} == {
                t: n[0] for t, n in result.tile_saturated.items()
            }
            for tile in SMALL.memory_tiles:
                assert np.array_equal(batch.memory[tile][k], alone.memory[tile][0])
            saturated += result.saturated
        links = np.asarray(together.links[0])
        others += sum((links[..., k, :] != links[..., 0, :]).any() for k in range(1, len(images)))
    assert saturated > 10
    assert others >= 3


def test_programs_side_by_side_differ_in_weights_alone():
    case = random_case(SMALL, 0, "all")
    other = case.image.copy()
    other.write(Space.SEQUENCER, (0, 0), SequencerRegister.LOOP, {"count_less_1": 6})
    with pytest.raises(ValueError, match="differ in more than weights and offsets"):
        GoldenArray([case.image, other], 2)
    with pytest.raises(ValueError, match="2 images for a batch of 3"):
        GoldenArray([case.image, case.image], 3)


def test_predicates_of_a_loop_nest():
    image = Image(SMALL)
    for i, count in enumerate((3, 2, 1)):
        image.write(
            Space.SEQUENCER, (0, 0), SequencerRegister.LOOP + i, {"count_less_1": count - 1}
        )
    for i, row in enumerate(
        (
            {"first": 1},
            {"last": 3},
            {"loop": 0, "value": 2, "compare": Compare.LESS.value},
            {"loop": 3, "value": 1, "compare": Compare.EQUAL.value},
        )
    ):
        image.write(Space.SEQUENCER, (0, 0), SequencerRegister.PREDICATE + i, row)
    loops = Loops(image, 0, 2)
    assert loops.total == 12
    found = {n: [i for i in range(-1, 13) if loops.predicate(n, i)] for n in range(6)}
    assert found[0] == list(range(-1, 13))
    assert found[EXISTS] == list(range(12))
    assert found[2] == [0, 3, 6, 9]
    assert found[3] == [5, 11]
    assert found[4] == [0, 1, 3, 4, 6, 7, 9, 10]
    assert found[5] == list(range(6, 12))


def test_a_stream_that_runs_dry_is_named():
    case = random_case(SMALL, 0, "all")
    with pytest.raises(InputExhausted, match=r"north stream of tile \(0,\d\) is empty in cycle"):
        GoldenArray(case.image).run({}, case.rounds)
    with pytest.raises(ValueError, match="1 runs of inputs for a batch of 2"):
        GoldenArray(case.image, 2).run({}, case.rounds)


def test_logarithms_scale_exactly_with_their_offset():
    rng = np.random.default_rng(2)
    a, b = rng.integers(1, 1 << 15, (2, 1000)).astype(np.uint16)
    for offset in (-160, 0, 37):
        got = units._logarithms(Op.MUL, a, b, offset)
        exact = PAL16.levels[a] * PAL16.levels[b] * 2.0 ** (offset / 16)
        assert np.array_equal(got, model.nearest_code(np.minimum(exact, 1), PAL16))


def test_the_context_word_has_no_room_left():
    assert pack(CONTEXT, dict.fromkeys(("north", "register"), Source.SUM.value)) >> 32 == 13
    assert CONTEXT.width == 64
