"""Random legal programs: any contexts, registers, weights and streams."""

import numpy as np

from spu.arch.bitstream import Image
from spu.arch.config import ADDRESS_WORDS, SequencerRegister, Space, TileRegister
from spu.arch.context import CONTEXT, SINKS, Op, Source
from spu.arch.packing import unpack
from spu.arch.params import CONSTANTS, MATRIX_MODES, REGISTERS, STAGES, Architecture
from verif.golden.array import Stream

#: Sources by weight: words must get somewhere before anything can happen to them.
_SOURCES = [s.value for s in Source for _ in range(4 if s in (
    Source.NORTH, Source.WEST, Source.CONSTANT, Source.EAST) else 2)]


def random_program(arch: Architecture, seed: int, iterations: int
                   ) -> tuple[Image, dict[int, Stream]]:
    """An image with random contents in every space, and the input words that it reads."""
    rng = np.random.default_rng(seed)
    image, ii = Image(arch), int(rng.integers(4, 13))
    stage, slot = int(rng.integers(1, STAGES)), int(rng.integers(ii))
    image.write(Space.SEQUENCER, (0, 0), SequencerRegister.II, {"slots_less_1": ii - 1})
    image.write(Space.SEQUENCER, (0, 0), SequencerRegister.SPAN, {"stage": stage, "slot": slot})
    reads = dict.fromkeys(range(arch.cols), 0)
    for s in range(ii):
        read = int(rng.integers(1 << arch.cols))
        image.write(Space.STREAM, (0, 0), s,
                    {"read": read, "emit": int(rng.integers(1 << arch.cols))})
        for c in range(arch.cols):
            reads[c] += read >> c & 1
    for tile in arch.tiles:
        for s in range(ii):
            image.write(Space.CONTEXT, tile, s, _context(rng, arch))
        for row in range(arch.weight_rows if arch.weight_rows <= 32 else 32):
            image.write(Space.WEIGHT, tile, row, {
                "codes": rng.integers(0, 256, (arch.columns, arch.lanes)).tolist(),
                "beta": rng.integers(-128, 10, arch.columns).tolist()})
        for number in range(CONSTANTS):
            image.write(Space.CONSTANT, tile, number, {"data": int(rng.integers(1 << 63)),
                                                       "bias": int(rng.integers(256))})
        for mode in range(MATRIX_MODES):
            image.write(Space.REGISTER, tile, TileRegister.MODE + mode, {
                "offset": int(rng.integers(-100, 100)), "x_profile": int(rng.integers(2)),
                "w_profile": int(rng.integers(2))})
        image.write(Space.REGISTER, tile, TileRegister.REBLOCK_PROFILE,
                    {"profile": int(rng.integers(2))})
        for first in (TileRegister.READ, TileRegister.WRITE):
            image.write(Space.REGISTER, tile, first, {
                "base": int(rng.integers(arch.memory_words)), "stage": int(rng.integers(3)),
                "slot": int(rng.integers(ii))})
            for i in range(1, ADDRESS_WORDS):
                image.write(Space.REGISTER, tile, first + i, {
                    "count_less_1": int(rng.integers(4)), "stride": int(rng.integers(-9, 9))})
    words = {c: [(int(rng.integers(1 << 63)), int(rng.choice([0, 255, 200, 128, 3])))
                 for _ in range(reads[c] * iterations)] for c in reads}
    return image, words


def _context(rng: np.random.Generator, arch: Architecture) -> dict[str, int]:
    """Random fields; half of the flags set; a slice that the word has."""
    context = unpack(CONTEXT, int(rng.integers(1 << 62)))
    context |= {sink: int(rng.choice(_SOURCES)) for sink in SINKS}
    context |= {"op": int(rng.choice([op.value for op in Op])), "reserved": 0,
                "slice": int(rng.integers(arch.slices_per_word)),
                "register_write": int(rng.integers(REGISTERS))}
    return context


