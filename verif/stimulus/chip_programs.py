"""Random programs of a chip, with the words that they leave in memory; and programs with faults."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from spu.arch import bitstream
from spu.arch.chip import Chip
from spu.arch.descriptors import rows
from spu.arch.memory import Fault, Kind
from spu.arch.params import Architecture
from spu.engine.chip_program import ChipProgram
from spu.model.array import GoldenArray
from verif.stimulus.programs import Case, random_case


@dataclass
class ChipCase:
    """A program, and what lies where in memory after it."""

    program: ChipProgram
    outputs: list[tuple[int, bytes]]

    def written(self, memory: bytes | bytearray) -> bool:
        """Whether memory has the expected words."""
        return all(memory[at : at + len(words)] == words for at, words in self.outputs)


def random_chip_case(chip: Chip, seeds: Sequence[int]) -> ChipCase:
    """Random programs of an array, one after the other; after some all is waited for."""
    arch, case = chip.arch, ChipCase(ChipProgram(chip), [])
    program, golden = case.program, None
    for seed in seeds:
        rng, array = random.Random(seed), random_case(arch, seed, None)
        content = bitstream.encode(array.image)
        image = bitstream.decode(content, arch).image
        if golden is None:
            golden = GoldenArray(image)
        golden.images = [image] * arch.region_count
        for region in range(arch.region_count):
            golden.load_memory(region, image)
        wanted = golden.run(array.inputs, array.rounds, keep_links=False).outputs
        program.load(content)
        streams = [(False, c, words) for c, words in array.inputs.items()]
        streams += [(True, c, words) for c, words in wanted.items()]
        rng.shuffle(streams)
        for leaves, column, words in streams:
            if leaves:
                case.outputs.append((program.write(column, words), program.bytes_of(words)))
            else:
                program.read(column, words)
        for region, rounds in enumerate(array.rounds):
            if rounds:
                program.ask(Kind.RUN, region, rounds=rounds)
        if rng.random() < 0.5:
            program.fence()
    program.finish(len(seeds))
    return case


#: What goes wrong in a program, and which fault that is.
FAULTS = {
    "no descriptor": Fault.BAD_DESCRIPTOR,
    "no rounds": Fault.BAD_DESCRIPTOR,
    "unaligned": Fault.UNALIGNED,
    "beyond the limit": Fault.OUT_OF_RANGE,
    "read beyond the memory": Fault.DECERR,
    "written beyond the memory": Fault.DECERR,
    "no program": Fault.BAD_PROGRAM,
    "a bit of the program": Fault.BAD_PROGRAM,
    "too many for the ring": Fault.RING_OVERRUN,
}


def faulty_program(chip: Chip, what: str, size_bytes: int) -> tuple[ChipProgram, int, int]:
    """A program with a fault of ``FAULTS``, the limit that its engine is told, and the number of
    the descriptor that is wrong.

    The memory is of ``size_bytes``, less than the limit.
    """
    arch, engine, program = chip.arch, chip.memory, ChipProgram(chip)
    limit, column, length = 2 * size_bytes, arch.cols - 1, 4
    array, written, count = _single_output(arch)
    content = bytearray(bitstream.encode(array.image))
    program.read(column, [(n, 0) for n in range(length)])
    wrong = program.doorbell
    if what == "no descriptor":
        program.ask(Kind.NOTIFY, target=1)
    elif what == "no rounds":
        program.ask(Kind.RUN, rounds=0)
    elif what == "unaligned":
        program.ask(Kind.READ, column, pattern=rows(engine, 1, length))
    elif what == "beyond the limit":
        program.ask(Kind.READ, column, pattern=rows(engine, limit - engine.word_bytes, length))
    elif what == "read beyond the memory":
        at = size_bytes - engine.word_bytes
        program.ask(Kind.READ, column, pattern=rows(engine, at, length))
    elif what == "written beyond the memory":
        program = ChipProgram(chip)
        program.load(bytes(content))
        for c, words in array.inputs.items():
            program.read(c, words)
        for region, rounds in enumerate(array.rounds):
            program.ask(Kind.RUN, region, rounds=rounds)
        wrong = program.doorbell
        program.ask(Kind.WRITE, written, pattern=rows(engine, size_bytes, count))
    elif what == "no program":
        program.ask(Kind.RUN, rounds=1)
    elif what == "a bit of the program":
        content[len(content) // 2] ^= 1
        program.load(bytes(content))
    elif what == "too many for the ring":
        wrong = 0
    program.finish()
    if what == "too many for the ring":
        program.size = 1
    return program, limit, wrong


@cache
def _single_output(arch: Architecture) -> tuple[Case, int, int]:
    """A random program that leaves words at one column alone; that, and how many."""
    for seed in itertools.count():
        case = random_case(arch, seed, None)
        outputs = GoldenArray(case.image).run(case.inputs, case.rounds, keep_links=False).outputs
        if len(used := [c for c, words in outputs.items() if words]) == 1:
            return case, used[0], len(outputs[used[0]])
    raise AssertionError
