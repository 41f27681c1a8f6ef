"""The context word: what a tile does in one cycle."""

from enum import Enum

from spu.arch.packing import Layout, number, struct
from spu.arch.params import BIAS_BITS, CONSTANTS, MODES, REGISTERS, SLICES, Architecture


def word_layout(arch: Architecture) -> Layout:
    """A word on a link: a word whose predicate ``valid`` is 0 is all zeros."""
    return struct({"data": arch.data_bits, "bias": BIAS_BITS, "valid": 1})


class Source(Enum):
    """Where a crossbar output takes its word from in this cycle."""

    NONE = 0  #: no word: predicate 0
    NORTH = 1  #: link input
    EAST = 2  #: link input
    SOUTH = 3  #: link input
    WEST = 4  #: link input
    REGISTER_A = 5  #: register ``register_a``
    REGISTER_B = 6  #: register ``index mod 8``
    CONSTANT = 7  #: constant ``index``, always valid
    VECTOR = 8  #: VectorUnit result of one cycle
    ALU = 9  #: ALU result
    MATRIX = 10  #: word drained from the MatrixUnit
    MEMORY = 11  #: word read from the data memory
    REBLOCK = 12  #: codes popped from the reblock unit
    SUM = 13  #: VectorUnit result of a sum


class Op(Enum):
    """Operation of the VectorUnit or the ALU on operands ``a`` and ``b``.

    ``c`` is register B; ``offset`` and ``bias`` come from vector mode ``mode``; "lane" means
    all lanes alike.  A comparison gives lanes of ones where it holds, else 0.
    """

    NOP = 0  #: nothing
    # Sums (three cycles), PAL16 lanes; the second summand's top lies ``offset`` below.
    ADD = 1  #: ``a + b``
    ADD_RELU = 2  #: ``max(a + b, 0)``
    SUB = 3  #: ``a - b``
    FMA = 4  #: ``a * b + c``
    ACC = 5  #: add ``a`` to the accumulators; guard EMIT hands them out
    LANE_SUM = 6  #: sum of the lanes of ``a``, in all lanes
    # Reblock unit.
    PUSH = 7  #: push ``a`` into the reblock unit
    # Logarithms (one cycle), PAL16 lanes; the result's top lies ``offset`` below the operands'.
    MUL = 8  #: ``a * b``
    DIV = 9  #: ``a / b``
    SQRT = 10  #: ``sqrt(a)``
    RSQRT = 11  #: ``1 / sqrt(a)``
    RECIP = 12  #: ``1 / a``
    EXP2 = 13  #: ``2^a``
    LOG2 = 14  #: ``log2(a)``
    # One cycle, PAL16 lanes.
    ABS = 16  #: ``|a|``
    NEG = 17  #: ``-a``
    MIN = 18  #: lesser of ``a`` and ``b``
    MAX = 19  #: greater of ``a`` and ``b``
    LT = 20  #: ``a < b``
    EQ = 21  #: ``a == b``
    SELECT = 22  #: ``a`` where the lane of ``c`` is not 0, else ``b``
    RELU = 23  #: ``max(a, 0)``
    LANE_MIN = 24  #: least lane of ``a``, in all lanes
    LANE_MAX = 25  #: greatest lane of ``a``, in all lanes
    UNBLOCK = 26  #: PAL16 of codes of ``a``, part ``slice``; format of matrix mode ``mode``
    # ALU (one cycle), int32 lanes; sums wrap.
    PASS = 32  #: ``a``, bias included
    INT_ADD = 33  #: ``a + b``
    INT_SUB = 34  #: ``a - b``
    INT_AND = 35  #: bits of both
    INT_OR = 36  #: bits of either
    INT_XOR = 37  #: bits of one
    INT_SHL = 38  #: ``a << (b mod 32)``
    INT_SHR = 39  #: arithmetic ``a >> (b mod 32)``
    INT_LT = 40  #: ``a < b``, signed
    INT_EQ = 41  #: ``a == b``
    INT_SELECT = 42  #: ``a`` where the lane of ``c`` is not 0, else ``b``
    # Predicates, whole words; bias included.
    WHEN = 43  #: ``a`` if 16-bit lane 0 of ``b`` is not 0, else no word
    UNLESS = 44  #: ``a`` if 16-bit lane 0 of ``b`` is 0, else no word
    MERGE = 45  #: ``a`` if it is valid, else ``b``


SUM_OPS = (Op.ADD, Op.ADD_RELU, Op.SUB, Op.FMA, Op.ACC, Op.LANE_SUM)
LOG_OPS = (Op.MUL, Op.DIV, Op.SQRT, Op.RSQRT, Op.RECIP)
VECTOR_OPS = (
    *LOG_OPS,
    Op.EXP2,
    Op.LOG2,
    Op.ABS,
    Op.NEG,
    Op.MIN,
    Op.MAX,
    Op.LT,
    Op.EQ,
    Op.SELECT,
    Op.RELU,
    Op.LANE_MIN,
    Op.LANE_MAX,
    Op.UNBLOCK,
)
ALU_OPS = (
    Op.PASS,
    Op.INT_ADD,
    Op.INT_SUB,
    Op.INT_AND,
    Op.INT_OR,
    Op.INT_XOR,
    Op.INT_SHL,
    Op.INT_SHR,
    Op.INT_LT,
    Op.INT_EQ,
    Op.INT_SELECT,
    Op.WHEN,
    Op.UNLESS,
    Op.MERGE,
)
#: Operations that read operand b, and c; the others but NOP read a alone.
READS_B = (
    Op.ADD,
    Op.ADD_RELU,
    Op.SUB,
    Op.FMA,
    Op.MUL,
    Op.DIV,
    Op.MIN,
    Op.MAX,
    Op.LT,
    Op.EQ,
    Op.SELECT,
    *(op for op in ALU_OPS if op not in (Op.PASS, Op.MERGE)),
)
READS_C = (Op.FMA, Op.SELECT, Op.INT_SELECT)

#: Context fields that select a source: links out, then unit and storage inputs.
LINKS = ("north", "east", "south", "west")
SINKS = (*LINKS, "matrix", "a", "b", "memory", "register")


class Close(Enum):
    """What a mac's slice closes."""

    NOTHING = 0  #: the block goes on
    BLOCK = 1  #: the block
    DOT = 2  #: the block and the dot product
    GUARDS = 3  #: the block under guard BLOCK, the dot product too under guard LAST


#: The 64-bit context word.
CONTEXT = struct(
    {
        **dict.fromkeys(SINKS, number(4, members=Source)),
        "register_write": range(REGISTERS),  # register that takes the `register` word
        "register_a": range(REGISTERS),
        "index": range(CONSTANTS),  # constant; mod 8 the register of REGISTER_B and c
        "op": number(6, members=Op),
        "guarded": 1,  # the operation happens under guard OP only
        "mac": 1,  # MatrixUnit: multiply-accumulate one slice of the `matrix` word
        "close": number(2, members=Close),
        "slice": range(SLICES),  # which codes of the word a mac or UNBLOCK takes
        "mode": range(MODES),  # mode registers of the mac and the operation
        "drain": 1,  # MatrixUnit: drain the next word of results
        "pop": 1,  # reblock unit: pop the next word of codes
        "read": 1,  # data memory: read at the read address generator
    }
)
assert CONTEXT.width == 64, CONTEXT.width
