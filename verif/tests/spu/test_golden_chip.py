"""The golden chip: random programs from memory, faults, and what it is asked wrongly."""

import pytest

from spu.arch.chip import chip_of
from spu.arch.descriptors import descriptor, rows
from spu.arch.external import ExternalMemory
from spu.arch.memory import Fault, Kind
from spu.engine.chip_program import ChipProgram
from spu.model.chip.chip import GoldenChip
from verif.random_programs import ARRAYS
from verif.stimulus.chip_programs import FAULTS, faulty_program, random_chip_case

SIZE = 1 << 16
CHIPS = {name: chip_of(ARRAYS[name]) for name in ("2x2", "two regions")}


def _golden(program, limit=None, **memory):
    golden = GoldenChip(
        program.chip,
        ExternalMemory(SIZE, **memory),
        bytearray(program.memory.ljust(SIZE, b"\0")),
        limit,
    )
    golden.set_ring(program.base, program.size)
    return golden


@pytest.mark.parametrize("name", CHIPS)
def test_programs_leave_the_words_of_the_golden_array(name):
    """A faster memory takes fewer cycles for the same."""
    case = random_chip_case(CHIPS[name], range(3000, 3005))
    taken = []
    for memory in ({}, {"latency_cycles": 10}, {"bytes_per_cycle": 2}):
        golden = _golden(case.program, **memory)
        outcome = golden.run(case.program.doorbell, 100_000)
        assert (outcome.value, outcome.fault) == (5, Fault.NONE)
        assert case.written(golden.memory.content)
        taken.append(outcome.cycles)
    assert taken[1] < taken[0] < taken[2]


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_names_its_descriptor_and_leaves_the_rest(what):
    program, limit, wrong = faulty_program(CHIPS["2x2"], what, SIZE)
    golden = _golden(program, limit)
    before = bytes(golden.memory.content)
    outcome = golden.run(program.doorbell, 100_000)
    assert (outcome.fault, outcome.descriptor, outcome.value) == (FAULTS[what], wrong, None)
    assert golden.memory.content == before


def test_a_run_that_waits_for_words_is_told():
    program = ChipProgram(CHIPS["2x2"])
    program.ask(Kind.FENCE, regions=1)
    program.ask(Kind.READ, 0, pattern=rows(program.engine, 0, 4096))
    program.ask(Kind.FENCE, read_channels=1)
    program.finish()
    with pytest.raises(TimeoutError, match="within 2000 cycles, descriptor 2 waits"):
        _golden(program).run(program.doorbell, 2_000)


def test_what_does_not_fit_is_refused():
    program = ChipProgram(CHIPS["2x2"])
    with pytest.raises(ValueError, match="base must be a multiple of"):
        GoldenChip(program.chip, ExternalMemory(SIZE), bytearray(SIZE)).set_ring(8, 4)
    with pytest.raises(ValueError, match=r"outside 0\.\.65535"):
        descriptor(Kind.RUN, program.engine, rounds=1 << 16)
    with pytest.raises(ValueError, match="unknown fields"):
        descriptor(Kind.NOTIFY, program.engine, rounds=1)
    with pytest.raises(ValueError, match="word_bytes must be 16 or half as often, not 3"):
        rows(program.engine, 0, 4, 3)
    with pytest.raises(ValueError, match="7 loops, the engine has 6"):
        rows(program.engine, 0, 4, outer=[(2, 4)] * 6)
