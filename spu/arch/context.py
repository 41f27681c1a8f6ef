"""The context word: what a tile does in one cycle."""

from typing import TYPE_CHECKING

from amaranth.lib import data

from spu.arch.params import BIAS_BITS, CODES_PER_WORD, CONSTANTS, DATA_BITS, MATRIX_MODES, REGISTERS

if TYPE_CHECKING:
    import enum
else:
    from amaranth.lib import enum

#: A word on a link: a word whose predicate is 0 is all zeros.
WORD = data.StructLayout({"data": DATA_BITS, "bias": BIAS_BITS, "valid": 1})


class Source(enum.Enum, shape=4):
    """Where a crossbar output takes its word from in this cycle."""

    NONE = 0        #: no word: predicate 0
    NORTH = 1       #: link input
    EAST = 2        #: link input
    SOUTH = 3       #: link input
    WEST = 4        #: link input
    REGISTER_A = 5  #: register ``register_a``
    REGISTER_B = 6  #: register ``register_b``
    CONSTANT = 7    #: constant ``constant``, always valid
    VECTOR = 8      #: VectorUnit result
    ALU = 9         #: ALU result
    MATRIX = 10     #: word drained from the MatrixUnit
    MEMORY = 11     #: word read from the data memory
    REBLOCK = 12    #: codes popped from the reblock unit


class Op(enum.Enum, shape=4):
    """Operation of the VectorUnit or the ALU on operands ``a`` and ``b``."""

    NOP = 0         #: nothing
    ADD = 1         #: VectorUnit: PAL16 sum of 4 lanes
    ADD_RELU = 2    #: VectorUnit: PAL16 sum, then max with 0
    RELU = 3        #: VectorUnit: max of ``a`` with 0
    PUSH = 4        #: VectorUnit: push ``a`` into the reblock unit
    PASS = 5        #: ALU: ``a``, bias included
    INT_ADD = 6     #: ALU: sum of 2 int32 lanes, wrapping
    INT_SUB = 7     #: ALU: difference, wrapping
    INT_AND = 8     #: ALU
    INT_OR = 9      #: ALU
    INT_XOR = 10    #: ALU
    INT_SHL = 11    #: ALU: ``a << (b mod 32)``
    INT_SHR = 12    #: ALU: arithmetic ``a >> (b mod 32)``
    INT_LT = 13     #: ALU: 1 where ``a < b`` (signed), else 0
    INT_EQ = 14     #: ALU: 1 where equal, else 0


VECTOR_OPS = (Op.ADD, Op.ADD_RELU, Op.RELU)
ALU_OPS = (Op.PASS, Op.INT_ADD, Op.INT_SUB, Op.INT_AND, Op.INT_OR, Op.INT_XOR, Op.INT_SHL,
           Op.INT_SHR, Op.INT_LT, Op.INT_EQ)

#: Context fields that select a source: links out, then unit and storage inputs.
LINKS = ("north", "east", "south", "west")
SINKS = (*LINKS, "matrix", "a", "b", "memory", "register")

#: The 64-bit context word.
CONTEXT = data.StructLayout({
    **dict.fromkeys(SINKS, Source),
    "register_write": range(REGISTERS),   # register that takes the `register` word
    "register_a": range(REGISTERS),
    "register_b": range(REGISTERS),
    "constant": range(CONSTANTS),
    "op": Op,
    "mac": 1,             # MatrixUnit: multiply-accumulate one slice of the `matrix` word
    "slice": range(CODES_PER_WORD // 2),  # which `lanes` codes of that word
    "block_last": 1,      # the slice closes a block
    "last": 1,            # the slice closes the dot product (with block_last)
    "mode": range(MATRIX_MODES),          # MatrixUnit mode register of the mac
    "drain": 1,           # MatrixUnit: drain the next word of results
    "pop": 1,             # reblock unit: pop the next word of codes
    "read": 1,            # data memory: read at the read address generator
    "reserved": 1,
})
assert CONTEXT.size == 64, CONTEXT.size
