"""Discrete events of a run: cycles of the golden model, holds of the RTL."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from perf.events.observed import observe
from perf.events.program import Predicate, Program, Transfer, read_program
from perf.events.run import Streams, run
from perf.events.streams import Pace
from spu.arch.bitstream import Image
from spu.arch.config import SequencerRegister, Space
from spu.arch.errors import UserError
from spu.arch.params import CONFIGS
from verif.edge_rtl import random_streams, simulate
from verif.stimulus.programs import random_case

TINY = CONFIGS["tiny"]


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(s, marks=pytest.mark.regress) for s in range(6, 100))]
)
def test_random_programs_hold_as_the_rtl(seed):
    case = random_case(TINY, seed)
    found = observe(case.image, case.inputs, case.rounds)
    program = replace(read_program(case.image, 0), traced=found.emitted[0])
    ideal = run(program, case.rounds[0])
    assert (ideal.executed, ideal.cycles) == (found.cycles[0], found.cycles[0])
    assert ideal.words_in == sum(map(len, case.inputs.values()))
    assert ideal.words_out == sum(map(len, found.emitted[0].values()))
    rng = np.random.default_rng(seed)
    streams = random_streams(rng, len(TINY.inputs(0)), len(TINY.outputs(0)))
    made = run(program, case.rounds[0], streams)
    assert simulate(case.image, 0, case.rounds[0], streams, found.emitted[0]) == {
        "active": made.executed,
        "held_input": made.held_input,
        "held_output": made.held_output,
        "left": made.left,
    }


def _random_program(rng):
    """Any loops; what moves tells no round from another."""
    ii, counts = int(rng.integers(1, 9)), tuple(rng.integers(1, 4, 3).tolist())
    span = int(rng.integers(ii, 5 * ii + 1))

    def moved(ports, last):
        return tuple(
            Transfer(stream, int(time), Predicate(last=(0,)) if rng.random() < 0.3 else Predicate())
            for stream in range(ports)
            for time in rng.choice(last, int(rng.integers(1, min(ii, 4) + 1)), replace=False)
        )

    emits = tuple(t for t in moved(2, span) if t.time % ii)
    stage, slot = divmod(span - 1, ii)
    return Program(ii, (stage, slot), counts, moved(2, ii), emits)


@pytest.mark.parametrize("seed", range(20))
def test_what_repeats_is_multiplied_exactly(seed):
    rng = np.random.default_rng(seed)
    program, rounds = _random_program(rng), int(rng.integers(1, 60))
    streams = random_streams(rng, 2, 2)
    short, long = (run(program, rounds, streams, skip) for skip in (True, False))
    assert replace(short, walked=long.walked) == long
    assert long.walked == long.executed


def test_a_long_run_is_mostly_multiplied():
    program = Program(4, (3, 0), (5,), (Transfer(0, 0), Transfer(1, 2)), (Transfer(0, 11),))
    streams = Streams({n: Pace(Fraction(5, 2), 9) for n in range(2)}, {0: Pace()})
    made = run(program, 10**6, streams)
    assert made.executed == (5 * 10**6 - 1) * 4 + 13
    assert made.walked < 1000


def test_a_stream_that_is_slower_than_the_program_sets_its_pace():
    # A word an iteration of 2 cycles, which comes every 5: 4 more of them, and the first is late.
    program = Program(2, (0, 1), (), (Transfer(0, 0),))
    made = run(program, 5, Streams({0: Pace(Fraction(5), 7)}))
    assert (made.executed, made.held_input) == (10, 7 + 1 + 4 * 3)


def test_a_full_output_holds():
    # Two words fit; one leaves every 4 cycles, from cycle 3 on, and makes room a cycle later.
    program = Program(1, (0, 0), (), (), (Transfer(0, 0),))
    made = run(program, 4, Streams({}, {0: Pace(Fraction(4), 3)}, depth=2))
    assert (made.executed, made.held_output, made.left) == (4, 2 + 3, 3 + 3 * 4 + 1)


def test_no_rounds_take_no_cycles():
    program = Program(1, (0, 0), (), (Transfer(0, 0),))
    assert run(program, 0, Streams({0: Pace()})).cycles == 0


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Pace(Fraction(1, 2)), "at most a word a cycle"),
        (lambda: Pace(Fraction(1), -1), "latency must not be negative"),
        (lambda: run(Program(1, (0, 0), (), ()), -1), "rounds must not be negative"),
    ],
)
def test_what_there_cannot_be_is_refused(make, rule):
    with pytest.raises(UserError, match=rule):
        make()


def test_a_program_without_end_is_refused():
    image = Image(TINY)
    image.write(Space.SEQUENCER, (0, 0), SequencerRegister.II, {"slots_less_1": 1})
    image.write(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN, {"slot": 2, "stage": 0})
    with pytest.raises(UserError, match="has no end"):
        read_program(image, 0)
