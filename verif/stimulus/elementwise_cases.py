"""Vectors of every elementwise unit and converter, with what the model expects.

A maker takes a format, and the unit that it is to be for, its own one by default; see
``vectors.Case``.  One- and two-operand units of up to 8 bits are exhaustive in their codes; what
cannot be is random, weighted towards corners.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pal_units import model, tables
from pal_units.formats import PAL8T, PAL8U, PAL16, Format
from pal_units.rtl.adder import Adder, FusedMultiplyAdd
from pal_units.rtl.adder16 import Adder16, FusedMultiplyAdd16
from pal_units.rtl.convert import FloatToPal, IntToPal, PalToFloat, PalToInt, Unblock
from pal_units.rtl.elementwise import (
    Comparator,
    Divider,
    Multiplier,
    ReciprocalSquareRoot,
    SquareRoot,
)
from pal_units.rtl.transcendental import Exponential, Logarithm
from pal_units.rtl.widen import Widener
from verif.stimulus.codes import BIASES, MANY, SMALL, codes_of, corner_codes, every, near_pairs
from verif.stimulus.vectors import Case


def _pairs(fmt: Format) -> list[np.ndarray]:
    if fmt.n <= 8:
        return every(codes_of(fmt), codes_of(fmt))
    return near_pairs(np.random.default_rng(20), fmt, MANY)


def multiplier(fmt: Format, unit: Any = None) -> Case:
    a, b = _pairs(fmt)
    unit = unit or Multiplier(fmt, stages=fmt.n % 4)
    return unit, {"a": a, "b": b}, {"o": model.mul(a, b, fmt)}


def divider(fmt: Format, unit: Any = None) -> Case:
    a, b = _pairs(fmt)
    unit = unit or Divider(fmt, 2, 3)
    return unit, {"a": a, "b": b}, {"o": model.div(a, b, fmt, unit.headroom)}


def saturating_divider(fmt: Format) -> Case:
    return divider(fmt, Divider(fmt))


def square_root(fmt: Format, unit: Any = None) -> Case:
    a, odd = every(codes_of(fmt), [0, 1])
    return unit or SquareRoot(fmt, 2), {"a": a, "odd": odd}, {"o": model.sqrt(a, odd, fmt)}


def reciprocal_square_root(fmt: Format, unit: Any = None) -> Case:
    a, odd = every(codes_of(fmt), [0, 1])
    unit = unit or ReciprocalSquareRoot(fmt, 1, 1)
    return unit, {"a": a, "odd": odd}, {"o": model.rsqrt(a, odd, fmt, unit.headroom)}


def comparator(fmt: Format, unit: Any = None) -> Case:
    a, b = _pairs(fmt)
    nan = model.is_nan(a, fmt) | model.is_nan(b, fmt)
    return (
        unit or Comparator(fmt, fmt.n % 3 // 2),
        {"a": a, "b": b},
        {
            "less": model.less(a, b, fmt),
            "equal": model.equal(a, b, fmt),
            "unordered": nan,
            "minimum": model.minimum(a, b, fmt),
            "maximum": model.maximum(a, b, fmt),
        },
    )


def adder(fmt: Format, unit: Any = None) -> Case:
    a, b = _pairs(fmt)
    subtract = np.repeat([0, 1], len(a))
    a, b = np.tile(a, 2), np.tile(b, 2)
    if fmt.n == 16:
        want = np.where(subtract, model.sub(a, b, fmt), model.add(a, b, fmt))
        return unit or Adder16(), {"a": a, "b": b, "subtract": subtract}, {"o": want}
    unit = unit or Adder(fmt, int(fmt.profile == "T"), fmt.n // 2)
    want = np.where(
        subtract, model.sub(a, b, fmt, unit.headroom), model.add(a, b, fmt, unit.headroom)
    )
    return unit, {"a": a, "b": b, "subtract": subtract}, {"o": want}


def fused_multiply_add(fmt: Format, unit: Any = None) -> Case:
    rng = np.random.default_rng(21)
    if fmt.n <= 6:
        a, b, c = every(*[codes_of(fmt)] * 3)
    else:
        a, c = near_pairs(rng, fmt, MANY)
        b = corner_codes(rng, fmt, MANY)
    width = 16 if fmt.n == 16 else fmt.lambda_bits
    offset = rng.integers(-(1 << width), 1 << width, len(a)) >> rng.integers(0, width, len(a))
    if unit is None:
        unit = FusedMultiplyAdd16() if fmt.n == 16 else FusedMultiplyAdd(fmt, stages=fmt.n // 2)
    want = model.fma(a, b, c, fmt, offset, getattr(unit, "headroom", 0))
    return unit, {"a": a, "b": b, "c": c, "offset": offset}, {"o": want}


def _biased(
    fmt: Format, result: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> list[np.ndarray]:
    """Codes, their biases, and biases of the results: all codes and biases at 8 bits."""
    rng = np.random.default_rng(22)
    a, bias = every(codes_of(fmt), BIASES if fmt.n <= 8 else np.arange(16))
    if fmt.n == 16:
        bias = rng.integers(-512, 512, len(a)) >> rng.integers(0, 9, len(a))
    return [a, bias, np.clip(result(bias, rng), -512, 511)]


def exponential(fmt: Format, unit: Any = None) -> Case:
    # Results from far below to above the top.
    a, bias, top = _biased(
        fmt, lambda b, rng: rng.integers(-90, 90, len(b)) >> rng.integers(0, 7, len(b))
    )
    return (
        unit or Exponential(fmt, fmt.n % 4),
        {"a": a, "bias": bias, "result_bias": top},
        {"o": model.exp2(a, bias, top, fmt)},
    )


def logarithm(fmt: Format, unit: Any = None) -> Case:
    a, bias, top = _biased(fmt, lambda b, rng: rng.integers(-30, 60, len(b)))
    return (
        unit or Logarithm(fmt, 3),
        {"a": a, "bias": bias, "result_bias": top},
        {"o": model.log2(a, bias, top, fmt)},
    )


def float_to_pal(fmt: Format, unit: Any = None) -> Case:
    """Mantissas around every rounding threshold, ties, special values, random bits."""
    rng = np.random.default_rng(23)
    around = (tables.rounding_thresholds(fmt)[:, None] + np.arange(-2, 3)).ravel()
    around = np.unique(np.concatenate([around, [0, 1, 1 << 22, (1 << 23) - 1]]))
    around = around[(around >= 0) & (around < 1 << 23)]
    octaves = np.arange(-fmt.lambda_max // (1 << fmt.fraction_bits) - 4, 3)
    if fmt.n == 16:
        around, octaves = rng.choice(around, 300), octaves[::3]
    mantissa, octave, bias = every(around, octaves, np.arange(-3, 13))
    bias = np.where(rng.random(len(bias)) < 0.2, bias + 8 * rng.integers(-60, 60, len(bias)), bias)
    bias = np.clip(bias, -512, 511)
    exponent = np.clip(127 + octave + bias // 8, 0, 255)
    bits = exponent << 23 | mantissa | rng.integers(0, 2, len(bias)) << 31
    special = np.array(
        [0, 1, 0x7F800000, 0x7F800001, 0x7FC00000, 0x007FFFFF, 0x00800000, 0x7F7FFFFF]
    )
    special = np.concatenate([special, special | 1 << 31])
    random = 900_000 if fmt.n == 16 else 100_000
    bits = np.concatenate([bits, special, rng.integers(0, 1 << 32, random)]).astype(np.uint32)
    bias = np.concatenate([bias, np.zeros(len(special), int), rng.integers(-512, 512, random)])
    want = model.from_float(bits.view(np.float32), bias, fmt)
    unit = unit or FloatToPal(fmt, stages=fmt.n // 4 - 1)
    return unit, {"i": bits, "bias": bias}, {"o": want}


def bfloat16_to_pal(fmt: Format, unit: Any = None) -> Case:
    """All patterns, each with 8 biases that differ modulo an octave."""
    bits, eighth = every(np.arange(1 << 16), np.arange(8))
    bias = eighth + 8 * np.random.default_rng(23).integers(-20, 20, len(bits))
    values = (bits << 16).astype(np.uint32).view(np.float32)
    return (
        unit or FloatToPal(fmt, "bfloat16", fmt.n // 4 - 1),
        {"i": bits, "bias": bias},
        {"o": model.from_float(values, bias, fmt)},
    )


def pal_to_float(fmt: Format, unit: Any = None, kind: str = "float32") -> Case:
    codes, bias = every(codes_of(fmt), BIASES if fmt.n <= 8 else np.arange(16))
    if fmt.n == 16:
        bias = np.random.default_rng(24).integers(-512, 512, len(codes))
    bits = model.to_float(codes, bias, fmt, kind).view(np.uint32)
    if kind == "bfloat16":
        bits = bits >> np.uint32(16)
    unit = unit or PalToFloat(fmt, kind, fmt.n % 4)
    return unit, {"i": codes, "bias": bias}, {"o": bits}


def pal_to_bfloat16(fmt: Format, unit: Any = None) -> Case:
    return pal_to_float(fmt, unit, "bfloat16")


def int_to_pal(fmt: Format, unit: Any = None) -> Case:
    x, bias = every(np.arange(-128, 128), BIASES)
    want = model.from_int8(x, bias, fmt)
    return unit or IntToPal(fmt, 2), {"i": x, "bias": bias}, {"o": want}


def pal_to_int(fmt: Format, unit: Any = None) -> Case:
    codes, bias = every(codes_of(fmt), BIASES if fmt.n <= 8 else np.arange(16))
    if fmt.n == 16:
        bias = np.random.default_rng(25).integers(-60, 330, len(codes))
    want = model.to_int8(codes, bias, fmt)
    return unit or PalToInt(fmt, 1), {"i": codes, "bias": bias}, {"o": want}


def unblock(fmt: Format, unit: Any = None) -> Case:
    codes, beta = every(codes_of(fmt), np.arange(-128, 128))
    return (
        unit or Unblock(fmt, fmt.n % 4 // 2),
        {"i": codes, "beta": beta},
        {"o": model.unblock(codes, beta, fmt)},
    )


def widener(fmt: Format, unit: Any = None) -> Case:
    """All bytes in each of the unit's formats."""
    unit = unit or Widener(SMALL)
    codes, select = every(np.arange(256), np.arange(len(unit.formats)))
    want, uniform = np.zeros((2, len(codes)), np.int64)
    for i, f in enumerate(unit.formats):
        target = PAL8U if f.profile == "U" else PAL8T
        at = select == i
        want[at] = model.widen(codes[at] & (1 << f.n) - 1, f, target)
        uniform[at] = target is PAL8U
    return unit, {"i": codes, "select": select}, {"o": want, "uniform": uniform}


#: Makers of cases, with the formats that each unit takes.
CASES: dict[Callable[..., Case], tuple[Format, ...]] = {
    multiplier: (*SMALL, PAL16),
    divider: (*SMALL, PAL16),
    saturating_divider: SMALL,
    square_root: (*SMALL, PAL16),
    reciprocal_square_root: (*SMALL, PAL16),
    comparator: (*SMALL, PAL16),
    adder: (*SMALL, PAL16),
    fused_multiply_add: (*SMALL, PAL16),
    exponential: (*SMALL, PAL16),
    logarithm: (*SMALL, PAL16),
    float_to_pal: (*SMALL, PAL16),
    bfloat16_to_pal: (*SMALL, PAL16),
    pal_to_float: (*SMALL, PAL16),
    pal_to_bfloat16: (*SMALL, PAL16),
    int_to_pal: (*SMALL, PAL16),
    pal_to_int: (*SMALL, PAL16),
    unblock: SMALL,
    widener: (PAL8T,),
}
