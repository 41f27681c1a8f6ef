"""Numpy model of PAL encoding, decoding and arithmetic.

Codes are unsigned integer arrays, block biases int8, all shapes broadcast as in numpy.
The model works on values, levels and flat tables; the RTL works on bit fields.  They
share ``formats`` and ``tables`` and must agree bit for bit.
"""

from pal_units.formats import BETA_MIN, ZERO_BLOCK
from pal_units.model.codec import (
    bias_for,
    decode_blocks,
    encode_blocks,
    is_nan,
    nearest_code,
    scaled,
    value_of,
    value_under,
    widen,
    with_nan,
)
from pal_units.model.convert import from_float, from_int8, reblock, to_float, to_int8, unblock
from pal_units.model.dot import (
    block_sum,
    dot,
    product_table,
    product_tables,
    scale_block,
    shift_block,
    split_bias,
    wrap,
)
from pal_units.model.elementwise import (
    absolute,
    add,
    div,
    equal,
    fma,
    less,
    maximum,
    minimum,
    mul,
    neg,
    recip,
    rsqrt,
    sqrt,
    square,
    sub,
)
from pal_units.model.linear import encode_linear, linear16
from pal_units.model.log16 import (
    add16,
    decode16,
    encode16,
    encode_accumulator,
    fma16,
    log_of_integer,
    relu16,
)
from pal_units.model.transcendental import exp2, log2

__all__ = [
    "BETA_MIN",
    "ZERO_BLOCK",
    "absolute",
    "add",
    "add16",
    "bias_for",
    "block_sum",
    "decode16",
    "decode_blocks",
    "div",
    "dot",
    "encode16",
    "encode_accumulator",
    "encode_blocks",
    "encode_linear",
    "equal",
    "exp2",
    "fma",
    "fma16",
    "from_float",
    "from_int8",
    "is_nan",
    "less",
    "linear16",
    "log2",
    "log_of_integer",
    "maximum",
    "minimum",
    "mul",
    "nearest_code",
    "neg",
    "product_table",
    "product_tables",
    "reblock",
    "recip",
    "relu16",
    "rsqrt",
    "scale_block",
    "scaled",
    "shift_block",
    "split_bias",
    "sqrt",
    "square",
    "sub",
    "to_float",
    "to_int8",
    "unblock",
    "value_of",
    "value_under",
    "widen",
    "with_nan",
    "wrap",
]
