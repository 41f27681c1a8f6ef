"""Programs with one field changed: what makes a difference is refused."""

from dataclasses import replace

import numpy as np
import pytest

from compiler.check.machine import Machine
from compiler.check.reblock import check_reblocking
from compiler.check.terms import Terms
from compiler.errors import WrongProgram
from compiler.map.product.gemm import gemm
from compiler.map.product.reblock import reblocking
from pal_units.formats import PAL8T
from spu.arch.config import Compare, SequencerRegister, Space, TileRegister
from spu.arch.context import Op, Source
from spu.arch.params import CONFIGS, LOOPS
from spu.arch.program import Timing, read_generator, read_timing, write_generator, write_region
from verif.program_mutants import SUBJECTS, missed, mutants

BASIC = CONFIGS["basic"]


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.parametrize(
    ("count", "seed"),
    [(40, 1), *(pytest.param(200, seed, marks=pytest.mark.regress) for seed in range(3))],
)
def test_what_makes_a_difference_is_refused(name, count, seed):
    taken, found = missed(SUBJECTS[name](), count, seed)
    assert not found
    assert taken < 0.9 * count


def test_mutants_differ_in_one_row():
    image = reblocking(BASIC, PAL8T).image
    for _, changed in mutants(image, 30, 0):
        different = [
            place for place, rows in changed.rows.items() if rows != image.rows.get(place, {})
        ]
        assert len(different) <= 1


@pytest.mark.parametrize(
    ("space", "tile", "row", "value", "rule"),
    [
        (Space.SEQUENCER, (0, 0), SequencerRegister.SPAN, {"slot": 9, "stage": 0}, "has no end"),
        (Space.SEQUENCER, (0, 0), SequencerRegister.LOOP, {"count_less_1": 1}, "the program has"),
        (
            Space.SEQUENCER,
            (0, 0),
            SequencerRegister.PREDICATE,
            {"last": 1 << LOOPS - 1},
            "predicate 2 depends on the number of rounds",
        ),
        (
            Space.SEQUENCER,
            (0, 0),
            SequencerRegister.PREDICATE + 1,
            {"loop": LOOPS - 1, "compare": Compare.LESS.value, "value": 3},
            "predicate 3 depends on the number of rounds",
        ),
        (Space.CONTEXT, (0, 0), 0, {"a": 15}, "a 15 stands for nothing"),
        (Space.CONTEXT, (0, 0), 0, {"op": Op.ACC.value}, "no program uses ACC"),
        (Space.CONTEXT, (0, 1), 0, {"mac": 1, "op": Op.PUSH.value}, "has no reblock unit"),
        (
            Space.CONTEXT,
            (0, 0),
            0,
            {"a": Source.NORTH.value, "op": Op.PUSH.value, "guarded": 1},
            "no program guards pushes",
        ),
        (Space.STREAM, (0, 0), 0, {"read": 0, "emit": 0}, "have words that are not read"),
        (Space.STREAM, (0, 0), 0, {"read": 15, "emit": 0}, "is read without need"),
    ],
)
def test_programs_that_are_refused(space, tile, row, value, rule):
    plan = reblocking(BASIC, PAL8T)
    plan.image.write(space, tile, row, value)
    with pytest.raises(WrongProgram, match=rule):
        check_reblocking(plan)


def test_numbers_of_formats_that_an_array_has_not_are_refused():
    plan = reblocking(replace(BASIC, name="three", formats=BASIC.formats[:3]), PAL8T)
    plan.image.write(Space.REGISTER, (0, 0), TileRegister.REBLOCK, {"format": 3})
    with pytest.raises(WrongProgram, match="register 12: format 3 stands for nothing"):
        check_reblocking(plan)


def test_whether_a_unit_has_a_word_must_not_depend_on_data():
    plan = reblocking(BASIC, PAL8T)
    image, tile = plan.image, (0, 0)
    for slot in range(plan.ii):
        image.write(
            Space.CONTEXT,
            tile,
            slot,
            {
                "a": Source.NORTH.value,
                "b": Source.NORTH.value,
                "op": Op.WHEN.value,
                "memory": Source.ALU.value,
            },
        )
    terms = Terms()
    machine = Machine(image, terms)
    words = {c: [terms.number("input", c, i) for i in range(plan.ii)] for c in plan.columns}
    with pytest.raises(WrongProgram, match="whether its memory has a word depends on data"):
        machine.run(1, words)


def test_regions_and_generators_are_read_as_they_were_written():
    image = gemm(BASIC, np.ones((256, 8)), 3).image
    timing = Timing(7, 40, (3, 2))
    write_region(image, timing, {1: [0, 3], 2: [8]}, {0: [39]}, {2: {"last": 1}})
    assert read_timing(image) == timing
    assert timing.cycles(5) == (30 - 1) * 7 + 40
    assert Timing(7, 40).cycles(0) == 0
    with pytest.raises(ValueError, match=r"column 1 reads in stages \[0, 1\], not in one"):
        write_region(image, timing, {1: [0, 7]}, {})
    write_generator(image, (0, 0), TileRegister.READ, {"base": 5}, [(3, 2), (2, 0), (4, -6)])
    generator = read_generator(image, (0, 0), TileRegister.READ)
    assert [generator.address(i) for i in range(8)] == [5, 7, 9, 5, 7, 9, -1, 1]
    assert generator.address(np.arange(8)).tolist() == [5, 7, 9, 5, 7, 9, -1, 1]
    assert generator.period(64) == 24
    assert generator.period(2) == 1
