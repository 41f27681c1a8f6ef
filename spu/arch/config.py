"""Configuration spaces: what a program file writes, and the layout of each row."""

from enum import Enum
from functools import cache

from pal_units.formats import BETA_MIN, BIAS_PER_OCTAVE, PAL8T
from spu.arch.context import CONTEXT
from spu.arch.packing import Layout, array, number, signed, struct
from spu.arch.params import (
    ADDRESS_LOOPS,
    BIAS_BITS,
    CONSTANTS,
    LOOPS,
    MAX_PORTS,
    MODES,
    OPERAND_FORMATS,
    PREDICATES,
    PROGRAMMABLE,
    STAGES,
    Architecture,
)


class Space(Enum):
    """Configuration spaces: of every tile, or of a region (SEQUENCER and STREAM)."""

    CONTEXT = 1  #: context words, by slot
    CONSTANT = 2  #: constant words, by number
    REGISTER = 3  #: tile registers, see ``TileRegister``
    WEIGHT = 4  #: weight rows
    SEQUENCER = 5  #: sequencer registers, see ``SequencerRegister``
    STREAM = 6  #: which streams each slot reads and emits
    MEMORY = 7  #: words of the data memory


TILE_SPACES = (Space.CONTEXT, Space.CONSTANT, Space.REGISTER, Space.WEIGHT, Space.MEMORY)

#: Bits of ``T_y - T_x - T_w`` in 1/8 octave.
OFFSET_BITS = 10
#: Bits of the octaves that a block is down.
OCTAVE_BITS = (-BETA_MIN // BIAS_PER_OCTAVE).bit_length()
#: Vector mode.  Sums: the top of the second summand lies ``offset`` / 16 octave below that of
#: the first.  Logarithms: the result's top lies ``offset`` / 16 octave below what the operands
#: give.  EXP2 and LOG2: tensor bias of the operand in 1/8, that of the result in 1/16 octave.
VECTOR_MODE = struct({"offset": signed(12), "bias": signed(10)})

#: When something happens: in iterations whose predicate holds.  The predicate is that of the
#: iteration in ``stage``, or in the following stage in slots before ``slot``.
GUARD = struct({"slot": 12, "stage": range(STAGES), "predicate": range(PREDICATES)})
#: One nested counter of an address generator.
ADDRESS_LOOP = struct({"count_less_1": 12, "stride": signed(12)})
#: First address, and the guard of the accesses (not of writes: their words are predicated).
ADDRESS_BASE = struct({"base": 12, "guard": GUARD})
#: Words of an address generator: base, then loops from the innermost.
ADDRESS_WORDS = 1 + ADDRESS_LOOPS


class Guard(Enum):
    """Guards of a tile that contexts refer to, by row from ``TileRegister.GUARD``."""

    BLOCK = 0  #: a mac with ``Close.GUARDS`` closes its block
    LAST = 1  #: and its dot product
    EMIT = 2  #: ACC hands out its sums
    OP = 3  #: a ``guarded`` operation happens


class TileRegister:
    """Rows of the register space of a tile, 32 bits each."""

    MODE = 0  # ``matrix_mode``, one a mode
    VECTOR_MODE = MODE + MODES  # VECTOR_MODE, one a mode
    GUARD = VECTOR_MODE + MODES  # GUARD, one a ``Guard``
    REBLOCK = GUARD + len(Guard)  # format of reblocked words
    WEIGHT = REBLOCK + 1  # address generator of weight rows
    READ = WEIGHT + ADDRESS_WORDS  # address generator of data memory reads
    WRITE = READ + ADDRESS_WORDS  # address generator of data memory writes
    COUNT = WRITE + ADDRESS_WORDS


class SequencerRegister:
    """Rows of the sequencer space, 32 bits each."""

    II = 0  # SEQUENCER_II
    SPAN = 1  # SEQUENCER_SPAN
    LOOP = 2  # LOOP, the innermost first
    PREDICATE = LOOP + LOOPS - 1  # PREDICATE, for predicates 2 to 7
    INPUT = PREDICATE + PREDICATES - PROGRAMMABLE  # GUARD of each input stream
    COUNT = INPUT + MAX_PORTS


class Compare(Enum):
    """Comparison of a loop counter with a value."""

    NONE = 0  #: holds always
    LESS = 1  #: counter below the value
    NOT_LESS = 2
    EQUAL = 3


SEQUENCER_II = struct({"slots_less_1": 12})
#: Stage and slot in which an iteration emits its last word.
SEQUENCER_SPAN = struct({"slot": 12, "stage": range(STAGES)})
#: Count of a loop; the outermost one's is the host's number of iterations.
LOOP = struct({"count_less_1": 16})
#: Holds if all marked loops are at their first, at their last, and the comparison holds.
PREDICATE = struct(
    {
        "first": LOOPS,
        "last": LOOPS,
        "loop": range(LOOPS),
        "compare": number(2, members=Compare),
        "value": 16,
    }
)

#: Streams that a slot reads and emits, by the number of the region's input and output.
STREAM = struct({"read": MAX_PORTS, "emit": MAX_PORTS})


def format_numbers(arch: Architecture) -> range:
    """Numbers of formats of data, two at least."""
    return range(max(len(arch.formats), 2))


@cache
def matrix_mode(arch: Architecture) -> Layout:
    """Matrix mode: ``T_y - T_x - T_w`` in 1/8 octave, format of data; of weights if of codes."""
    weights = {} if arch.decoded_weights else {"w_format": format_numbers(arch)}
    return struct({"offset": signed(OFFSET_BITS), "x_format": format_numbers(arch), **weights})


def stored_word(arch: Architecture) -> Layout:
    """A constant, or a word of data memory: data and bias; always valid."""
    return struct({"data": arch.data_bits, "bias": BIAS_BITS})


def lam_bits(arch: Architecture) -> int:
    """Bits of a decoded weight's logarithm: of any format of weights, its bias fraction in it."""
    dot, per_octave = arch.dot, 1 << arch.dot.fraction_bits
    most = dot.operand_octaves or max(
        -(-fmt.lambda_max >> fmt.fraction_bits) for fmt in OPERAND_FORMATS.values()
    )
    return (most * per_octave + per_octave - 1).bit_length()


@cache
def weight_row(arch: Architecture) -> Layout:
    """A weight row: ``weights[column][lane]``, then ``blocks[column]``.

    Decoded, an operand is its logarithm ``lam`` with its block's bias fraction in it, in units of
    ``2^-fraction_bits`` octave, and its class; a block is its ``octaves``, whether it is one of
    ``zero`` and whether a weight of the slice is ``nan``.  Otherwise weights are codes, in the
    lowest of 8 bits, and blocks their biases, or bytes in profile A.
    """
    weight, block = (
        (
            struct({"lam": lam_bits(arch), "negative": 1, "zero": 1}),
            struct({"octaves": OCTAVE_BITS, "zero": 1, "nan": 1}),
        )
        if arch.decoded_weights
        else (number(PAL8T.n), number(BIAS_BITS))
    )
    return struct(
        {
            "weights": array(array(weight, arch.lanes), arch.columns),
            "blocks": array(block, arch.columns),
        }
    )


@cache
def row_layout(space: Space, row: int, arch: Architecture) -> Layout:
    """Layout of a row of a space."""
    if space is Space.REGISTER:
        return _register_layout(row, arch)
    if space is Space.SEQUENCER:
        if row >= SequencerRegister.INPUT:
            return GUARD
        if row >= SequencerRegister.PREDICATE:
            return PREDICATE
        return (SEQUENCER_II, SEQUENCER_SPAN, LOOP)[min(row, SequencerRegister.LOOP)]
    if space in (Space.CONSTANT, Space.MEMORY):
        return stored_word(arch)
    return {Space.CONTEXT: CONTEXT, Space.STREAM: STREAM, Space.WEIGHT: weight_row(arch)}[space]


def _register_layout(row: int, arch: Architecture) -> Layout:
    if row >= TileRegister.WEIGHT:
        first = (row - TileRegister.WEIGHT) % ADDRESS_WORDS == 0
        return ADDRESS_BASE if first else ADDRESS_LOOP
    if row == TileRegister.REBLOCK:
        return struct({"format": format_numbers(arch)})
    if row >= TileRegister.GUARD:
        return GUARD
    return matrix_mode(arch) if row < TileRegister.VECTOR_MODE else VECTOR_MODE


def depth(space: Space, arch: Architecture) -> int:
    """Rows of a space."""
    return {
        Space.CONTEXT: arch.contexts,
        Space.CONSTANT: CONSTANTS,
        Space.REGISTER: TileRegister.COUNT,
        Space.WEIGHT: arch.weight_rows,
        Space.SEQUENCER: SequencerRegister.COUNT,
        Space.STREAM: arch.contexts,
        Space.MEMORY: arch.memory_words,
    }[space]


@cache
def words_per_row(space: Space, arch: Architecture) -> int:
    """32-bit words of a row of a space."""
    return -(-row_layout(space, 0, arch).width // 32)
