"""Configuration spaces: what a program file writes, and the layout of each row."""

from typing import TYPE_CHECKING

from amaranth.hdl import signed
from amaranth.lib import data

from pal_units.formats import PAL8T
from spu.arch.context import CONTEXT
from spu.arch.params import (
    ADDRESS_LOOPS,
    BIAS_BITS,
    CONSTANTS,
    DATA_BITS,
    MATRIX_MODES,
    PROFILES,
    STAGES,
    Architecture,
)

if TYPE_CHECKING:
    import enum
else:
    from amaranth.lib import enum


class Space(enum.Enum, shape=8):
    """Configuration spaces; the first four are in every tile, the last two in the region."""

    CONTEXT = 1    #: context words, by slot
    CONSTANT = 2   #: constant words, by number
    REGISTER = 3   #: tile registers, see ``TileRegister``
    WEIGHT = 4     #: weight rows, in the order of the macs of an iteration
    SEQUENCER = 5  #: sequencer registers, see ``SequencerRegister``
    STREAM = 6     #: which streams each slot reads and emits


TILE_SPACES = (Space.CONTEXT, Space.CONSTANT, Space.REGISTER, Space.WEIGHT)

PROFILE = range(max(len(PROFILES), 2))

#: Mode register of the MatrixUnit: profiles of data and weights, ``T_y - T_x - T_w`` in 1/8 octave.
MATRIX_MODE = data.StructLayout({"offset": signed(10), "x_profile": PROFILE, "w_profile": PROFILE})
OFFSET_BITS = 10

#: One nested counter of an address generator.
ADDRESS_LOOP = data.StructLayout({"count_less_1": 16, "stride": signed(16)})
#: First address, and for reads the slot and stage from which the generator runs.
ADDRESS_BASE = data.StructLayout({"base": 12, "slot": 12, "stage": range(STAGES)})
#: Words of an address generator: base, then loops from the innermost.
ADDRESS_WORDS = 1 + ADDRESS_LOOPS


class TileRegister:
    """Rows of the register space of a tile, 32 bits each."""

    MODE = 0                                     # MATRIX_MODE, one a mode
    REBLOCK_PROFILE = MODE + MATRIX_MODES        # PROFILE
    READ = REBLOCK_PROFILE + 1                   # address generator of data memory reads
    WRITE = READ + ADDRESS_WORDS                 # address generator of data memory writes
    COUNT = WRITE + ADDRESS_WORDS


class SequencerRegister:
    """Rows of the sequencer space, 32 bits each."""

    II = 0     # SEQUENCER_II
    SPAN = 1   # SEQUENCER_SPAN
    COUNT = 2


SEQUENCER_II = data.StructLayout({"slots_less_1": 12})
#: Stage and slot in which an iteration emits its last word.
SEQUENCER_SPAN = data.StructLayout({"slot": 12, "stage": range(STAGES)})

#: Streams that a slot reads (north edge) and emits (south edge), a bit a column.
STREAM = data.StructLayout({"read": 16, "emit": 16})

#: A constant: data and bias; constants are always valid.
CONSTANT = data.StructLayout({"data": DATA_BITS, "bias": BIAS_BITS})


def weight_row(arch: Architecture) -> data.StructLayout:
    """A weight row: ``codes[column][lane]`` and the block bias of each column."""
    return data.StructLayout({
        "codes": data.ArrayLayout(data.ArrayLayout(PAL8T.n, arch.lanes), arch.columns),
        "beta": data.ArrayLayout(signed(BIAS_BITS), arch.columns),
    })


def row_layout(space: Space, row: int, arch: Architecture) -> data.Layout:
    """Layout of a row of a space."""
    if space is Space.REGISTER:
        if row < TileRegister.REBLOCK_PROFILE:
            return MATRIX_MODE
        if row == TileRegister.REBLOCK_PROFILE:
            return data.StructLayout({"profile": PROFILE})
        return ADDRESS_BASE if row in (TileRegister.READ, TileRegister.WRITE) else ADDRESS_LOOP
    if space is Space.SEQUENCER:
        return SEQUENCER_II if row == SequencerRegister.II else SEQUENCER_SPAN
    return {Space.CONTEXT: CONTEXT, Space.CONSTANT: CONSTANT, Space.STREAM: STREAM,
            Space.WEIGHT: weight_row(arch)}[space]


def depth(space: Space, arch: Architecture) -> int:
    """Rows of a space."""
    return {Space.CONTEXT: arch.contexts, Space.CONSTANT: CONSTANTS,
            Space.REGISTER: TileRegister.COUNT, Space.WEIGHT: arch.weight_rows,
            Space.SEQUENCER: SequencerRegister.COUNT, Space.STREAM: arch.contexts}[space]


def words_per_row(space: Space, arch: Architecture) -> int:
    """32-bit words of a row of a space."""
    return {Space.CONTEXT: 2, Space.CONSTANT: 3, Space.REGISTER: 1,
            Space.WEIGHT: arch.weight_words, Space.SEQUENCER: 1, Space.STREAM: 1}[space]
