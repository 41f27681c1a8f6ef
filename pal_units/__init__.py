"""PAL (parallel adaptive logarithm) numbers: formats, numpy model and RTL units.

>>> import numpy as np
>>> import pal_units as pal
>>> a = pal.encode([1.0, -0.5, 0.3, 0.0], pal.PAL8T, block=4)
>>> a.decode().round(3).tolist()
[1.0, -0.5, 0.297, 0.0]
>>> (a * a).decode().round(3).tolist()
[1.0, 0.25, 0.088, 0.0]
>>> pal.finfo(pal.PAL8T).range_octaves
12.0
"""

from pal_units.array import PalArray
from pal_units.codebook import Codebooks
from pal_units.dot_params import DOT_PARAMS, DotParams, dot_params
from pal_units.encoding import encode
from pal_units.formats import (
    ADAPTIVE,
    FORMATS,
    PAL4A,
    PAL4T,
    PAL4U,
    PAL6A,
    PAL6T,
    PAL6U,
    PAL8A,
    PAL8T,
    PAL8U,
    PAL16,
    Format,
)
from pal_units.functions import (
    add,
    decode,
    divide,
    exp2,
    log2,
    maximum,
    minimum,
    multiply,
    rsqrt,
    sqrt,
    subtract,
)
from pal_units.info import FormatInfo, finfo
from pal_units.products import accumulate, dot, matmul
from pal_units.storage import load, save
from pal_units.tables import octaves_below

__all__ = [
    "ADAPTIVE",
    "DOT_PARAMS",
    "FORMATS",
    "PAL4A",
    "PAL4T",
    "PAL4U",
    "PAL6A",
    "PAL6T",
    "PAL6U",
    "PAL8A",
    "PAL8T",
    "PAL8U",
    "PAL16",
    "Codebooks",
    "DotParams",
    "Format",
    "FormatInfo",
    "PalArray",
    "accumulate",
    "add",
    "decode",
    "divide",
    "dot",
    "dot_params",
    "encode",
    "exp2",
    "finfo",
    "load",
    "log2",
    "matmul",
    "maximum",
    "minimum",
    "multiply",
    "octaves_below",
    "rsqrt",
    "save",
    "sqrt",
    "subtract",
]
