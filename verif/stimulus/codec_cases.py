"""Vectors of decoders, encoders and logarithms, the parts that other units are made of.

As in ``elementwise_cases``.
"""

from typing import Any

import numpy as np

from pal_units import model
from pal_units.formats import PAL16, Format
from pal_units.model.elementwise import rounded
from pal_units.model.log16 import log_of_integer
from pal_units.rtl.accumulator import Linear16
from pal_units.rtl.decoder import ElementDecoder
from pal_units.rtl.encoder import ElementEncoder, MagnitudeEncoder
from pal_units.rtl.log import IntegerLog
from verif.stimulus.adaptive_cases import decoded
from verif.stimulus.codes import codes_of, every
from verif.stimulus.vectors import Case, packed


def element_decoder(fmt: Format, unit: Any = None) -> Case:
    """Every code of every format of the unit."""
    unit = unit or ElementDecoder((fmt,), fmt.fraction_bits)
    select, codes = every(np.arange(len(unit.formats)), codes_of(fmt))
    lam = np.concatenate(
        [
            f.lambdas[codes_of(f) & f.m_max] << (unit.fraction_bits - f.fraction_bits)
            for f in unit.formats
        ]
    )
    nan = model.is_nan(codes, fmt)
    zero = (codes & fmt.m_max == 0) & ~nan
    want, care = decoded(unit.o.shape(), lam, codes >> (fmt.n - 1), zero, nan)
    return unit, {"code": codes, "select": select}, {"o": want}, None, {"o": care}


def magnitude_encoder(fmt: Format, unit: Any = None) -> Case:
    """Every distance."""
    unit = unit or MagnitudeEncoder(fmt, 10, 16)
    lam = np.arange(1 << len(unit.lam))
    return unit, {"lam": lam}, {"magnitude": rounded(lam, unit.fraction_bits, False, fmt)}


def element_encoder(fmt: Format, unit: Any = None) -> Case:
    """Every distance, above the top too, with a random class; and each as a number."""
    unit, rng = unit or ElementEncoder(fmt, 10, 17), np.random.default_rng(34)
    layout = unit.i.shape()
    half = 1 << (layout["lam"].width - 1)
    lam, plain = every(np.arange(-half, half), [False, True])
    negative, zero, nan = rng.integers(0, 8, (3, len(lam))) < [[4], [1], [1]]
    zero, nan = zero & ~plain, nan & ~plain
    code = np.where(zero, 0, rounded(lam, unit.fraction_bits, negative, fmt))
    i = packed(layout, lam=lam, negative=negative, zero=zero, nan=nan)
    return unit, {"i": i}, {"o": model.with_nan(code, nan, fmt)}


def linear16(fmt: Format = PAL16, unit: Any = None) -> Case:
    """Every code."""
    codes = codes_of(fmt)
    want = {"o": model.linear16(codes), "nan": model.is_nan(codes, fmt)}
    return unit or Linear16(), {"i": codes}, want


def integer_log(fmt: Format = PAL16, unit: Any = None) -> Case:
    """Numbers beside powers of two, and random ones of all lengths; not 0."""
    unit, rng = unit or IntegerLog(24), np.random.default_rng(35)
    near = ((1 << np.arange(unit.width))[:, None] + np.arange(-1, 2)).ravel()
    random = rng.integers(1, 1 << unit.width, 50_000) >> rng.integers(0, unit.width, 50_000)
    number = np.concatenate([near, random])
    number = number[(number > 0) & (number < 1 << unit.width)]
    return unit, {"i": number}, {"o": log_of_integer(number)}
