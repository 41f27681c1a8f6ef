"""Dot units of the peers, each against its own model, and PAL's in the same frame."""

import numpy as np
import pytest

from pal_units import model
from pal_units.dot_params import DotParams
from pal_units.formats import PAL4U, PAL6T, PAL8T, PAL8U
from verif.baselines.elements import (
    BF16,
    FP4_E2M1,
    FP6_E2M3,
    FP8_E2M5,
    FP8_E3M4,
    FP8_E4M3,
    FP8_E5M2,
)
from verif.baselines.products import (
    dropped_mean,
    dropped_products,
    float_products,
    integer_products,
    unit_shift,
)
from verif.baselines.rtl.aligned import AlignedSlice
from verif.baselines.rtl.dot import FixedPointDot
from verif.baselines.rtl.float32 import Float32Dot
from verif.baselines.rtl.floating import FloatSlice
from verif.baselines.rtl.integer import MULTIPLIERS, IntegerSlice
from verif.baselines.rtl.pal import PalSlice
from verif.stimulus.vectors import Vectors, check_units, join

LANES, SLICES = 4, 3000


def _codes(rng, bits, special=()):
    """Random codes with corners, and which slices hold special ones."""
    codes = rng.integers(0, 1 << bits, (2, SLICES, LANES))
    corners = [0, 1, (1 << (bits - 1)) - 1, 1 << (bits - 1), (1 << bits) - 1]
    codes = np.where(rng.random(codes.shape) < 0.2, rng.choice(corners, codes.shape), codes)
    magnitudes = codes & ((1 << (bits - 1)) - 1)
    rare = rng.random(codes.shape) < 0.01
    codes = np.where(np.isin(magnitudes, special) & ~rare, 0, codes)
    return codes, np.isin(codes & ((1 << (bits - 1)) - 1), special).any(axis=(0, 2))


def _sums(values, first, nan):
    """What a register holds one cycle after each slice: running sums and flags."""
    total, flag, out, flags = 0, False, [], []
    for value, start, invalid in zip(values.tolist(), first.tolist(), nan.tolist(), strict=True):
        total = value if start else total + value
        flag = invalid or (flag and not start)
        out.append(total)
        flags.append(flag)
    return np.array(out, object), np.array(flags)


def _fixed(unit, codes, products, special, beta=None, params=None):
    """Vectors of a fixed-point unit."""
    rng = np.random.default_rng(1)
    first = rng.random(SLICES) < 0.2
    first[0] = True
    terms = products.sum(axis=1)
    inputs = {
        "a": join(codes[0], unit.slice_sum.a[0].shape().width),
        "b": join(codes[1], unit.slice_sum.b[0].shape().width),
        "first": first,
    }
    if params:
        octaves, _ = model.split_bias(*beta)
        terms = (terms << params.guard_bits) >> octaves
        inputs.update(beta_a=beta[0], beta_b=beta[1])
    total, nan = _sums(terms, first, special)
    width = len(unit.result)
    half = 1 << (width - 1)
    return Vectors(
        unit,
        inputs,
        {"result": ((total + half) % (2 * half) - half) & (2 * half - 1), "nan": nan},
        ~nan,
    )


def _biases(rng):
    return rng.integers(-60, 1, (2, SLICES))


INTEGERS = [(bits, multiplier) for bits in (8, 6, 4, 7, 5) for multiplier in MULTIPLIERS]
FLOATS = [
    (FP8_E4M3, None, "truncate"),
    (FP8_E4M3, 12, "truncate"),
    (FP8_E4M3, 12, "jam"),
    (FP8_E3M4, None, "truncate"),
    (FP8_E3M4, 12, "truncate"),
    (FP8_E3M4, 8, "jam"),
    (FP8_E3M4, 10, "jam"),
    (FP8_E4M3, 9, "jam"),
    (FP6_E2M3, 9, "truncate"),
    (FP6_E2M3, 10, "jam"),
    (FP4_E2M1, 6, "truncate"),
    (FP4_E2M1, 7, "jam"),
    (FP8_E2M5, 11, "jam"),
    (FP8_E2M5, None, "truncate"),
    (FP8_E2M5, 9, "truncate"),
    (FP8_E5M2, 12, "truncate"),
    (FP8_E5M2, 5, "truncate"),
    (FP6_E2M3, None, "truncate"),
    (FP4_E2M1, None, "truncate"),
    (FP4_E2M1, None, "jam"),
]
LEAN = [
    (PAL8U, DotParams(4, 5, 10, bias_step=8)),
    (PAL8T, DotParams(5, 6, 12, operand_octaves=8)),
    (PAL6T, DotParams(3, 5, 9, 6, operand_octaves=8)),
    (PAL4U, DotParams(3, 3, 6)),
    (PAL8U, DotParams(5, 4, 11, bias_step=2, operand_octaves=4)),
    (PAL8U, DotParams(4, 5, 10, 2, bias_step=8)),
    (PAL8T, DotParams(5, 6, 12, 2, bias_step=8)),
    (PAL6T, DotParams(3, 5, 9, 2, operand_octaves=8)),
    (PAL4U, DotParams(3, 2, 7, 2)),
]


def test_integer_units_are_exact(tmp_path, record_property):
    cases = {}
    for bits, multiplier in INTEGERS:
        codes, special = _codes(np.random.default_rng(bits), bits)
        unit = FixedPointDot(IntegerSlice(bits, LANES, multiplier), LANES)
        cases[f"INT{bits} {multiplier}"] = _fixed(
            unit, codes, integer_products(bits)[codes[0], codes[1]], special
        )
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


#: Bits, dropped columns, guard bits of a block scale or None for none.
DROPPED = [
    (8, 3, None),
    (8, 1, 0),
    (8, 4, 5),
    (8, 6, 8),
    (8, 2, 1),
    (6, 5, 3),
    (4, 2, None),
    (7, 3, 8),
]


def test_integer_units_with_dropped_columns_equal_their_models(tmp_path, record_property):
    cases = {}
    for i, (bits, dropped, guard) in enumerate(DROPPED):
        rng = np.random.default_rng(i)
        codes, special = _codes(rng, bits)
        fraction = 2 if guard and guard > 2 else 0
        offset = int(rng.integers(-40, 40))
        scale = None if guard is None else DotParams(4, 5, guard_bits=guard, bias_step=8)
        unit = FixedPointDot(
            IntegerSlice(bits, LANES, "booth", dropped, offset, fraction), LANES, scale
        )
        products = dropped_products(bits, dropped)[codes[0], codes[1]] << fraction
        products[:, 0] += offset
        cases[f"INT{bits} {dropped} {guard}"] = _fixed(
            unit, codes, products, special, _biases(rng), scale
        )
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


def test_dropped_columns_lack_what_their_bits_can_hold():
    for bits in (4, 5, 6, 8, 9):
        exact = integer_products(bits)
        assert np.array_equal(dropped_products(bits, 0), exact)
        for dropped in range(1, bits + 1):
            lacking = exact - (dropped_products(bits, dropped) << dropped)
            rows = range(0, min(dropped, bits), 2)
            # A row lacks its bits below the column, and the 1 of a negation at its own place.
            assert lacking.min() >= 0
            assert lacking.max() <= sum((1 << dropped) - (1 << r) + (1 << r) for r in rows)
            assert dropped_mean(bits, dropped) == pytest.approx(lacking.mean() / 2**dropped)


def test_floating_point_units_equal_their_models(tmp_path, record_property):
    cases = {}
    for i, (fmt, window, rounding) in enumerate(FLOATS):
        rng = np.random.default_rng(i)
        special = range(fmt.codes, 1 << (fmt.bits - 1))
        codes, nan = _codes(rng, fmt.bits, special)
        assert nan.any() == bool(special)
        scale = DotParams(4, 5, guard_bits=(8, 1, 0)[i % 3], bias_step=8) if i % 2 else None
        unit = FixedPointDot(FloatSlice(fmt, LANES, window, rounding), LANES, scale)
        products = float_products(fmt, window, rounding)[codes[0], codes[1]]
        cases[f"{fmt.name} {window} {rounding}"] = _fixed(
            unit, codes, products, nan, _biases(rng), scale
        )
    done = check_units(cases, tmp_path)
    assert min(done.values()) > SLICES / 3
    record_property("cases", sum(done.values()))


def test_exact_products_are_those_of_the_values():
    for fmt in (FP8_E4M3, FP8_E5M2, FP6_E2M3, FP4_E2M1):
        table = float_products(fmt, None, "truncate")[: fmt.codes, : fmt.codes]
        unit = 2.0 ** (-2 * (fmt.bias - 1 + fmt.mantissa_bits))
        assert np.array_equal(table * unit, np.outer(fmt.element.levels, fmt.element.levels))
        assert unit_shift(fmt, 12) == max(fmt.product_bits - 12, 0)


def test_pal_in_the_frame_of_the_peers_equals_the_model(tmp_path, record_property):
    cases = {}
    for i, (fmt, params) in enumerate(LEAN):
        rng = np.random.default_rng(i)
        codes, _ = _codes(rng, fmt.n, [0] if fmt.has_nan else [])
        beta = _biases(rng)
        _, eighths = model.split_bias(*beta)
        tables = model.product_tables(fmt, fmt, params)
        products = tables[eighths[:, None], codes[0], codes[1]].astype(np.int64)
        nan = (model.is_nan(codes[0], fmt) | model.is_nan(codes[1], fmt)).any(axis=1)
        unit = FixedPointDot(PalSlice(fmt, params, LANES), LANES, params)
        cases[f"{fmt.name} {i}"] = _fixed(unit, codes, products, nan, beta, params)
    done = check_units(cases, tmp_path)
    assert min(done.values()) > SLICES / 3
    record_property("cases", sum(done.values()))


def _float32_case(unit, codes, sums, exponents, nan):
    """Vectors of a float32 accumulator: numpy adds in float32, round to nearest even."""
    rng = np.random.default_rng(2)
    first = rng.random(SLICES) < 0.2
    first[0] = True
    results, flags, total, flag = [], [], np.float32(0), False
    for s, e, start, invalid in zip(sums.tolist(), exponents.tolist(), first, nan, strict=True):
        cut = max(abs(s).bit_length() - 24, 0)
        addend = np.float32(np.ldexp(float((abs(s) >> cut << cut) * (1 if s >= 0 else -1)), e))
        if abs(addend) < 2.0**-126:
            addend = np.float32(0)
        total = addend if start else total + addend
        if abs(total) < 2.0**-126:
            total = np.float32(0)
        flag = invalid or (flag and not start)
        results.append(int(np.float32(total).view(np.uint32)))
        flags.append(flag)
    bits = unit.slice_sum.a[0].shape().width
    return Vectors(
        unit,
        {"a": join(codes[0], bits), "b": join(codes[1], bits), "first": first},
        {"result": results, "nan": flags},
        ~np.array(flags),
    )


def test_float32_accumulators_equal_numpy(tmp_path, record_property):
    cases = {}
    for fmt in (FP8_E4M3, FP8_E5M2):
        codes, nan = _codes(
            np.random.default_rng(fmt.bits), fmt.bits, range(fmt.codes, 1 << (fmt.bits - 1))
        )
        unit = -2 * (fmt.bias - 1 + fmt.mantissa_bits)
        sums = float_products(fmt, None, "truncate")[codes[0], codes[1]].sum(axis=1)
        cases[fmt.name] = _float32_case(
            Float32Dot(FloatSlice(fmt, LANES), unit), codes, sums, np.full(SLICES, unit), nan
        )
    for window in (16, 26):
        cases[f"bf16 {window}"] = _bf16_case(window)
    done = check_units(cases, tmp_path)
    assert min(done.values()) > SLICES / 3
    record_property("cases", sum(done.values()))


def _bf16_case(window):
    """bfloat16 with exponents near 1.0, zeros, subnormal numbers and a few NaN."""
    rng = np.random.default_rng(window)
    exponent = rng.integers(97, 158, (2, SLICES, LANES))
    exponent = np.where(rng.random(exponent.shape) < 0.1, 0, exponent)
    exponent = np.where(rng.random(exponent.shape) < 0.002, 255, exponent)
    mantissa = rng.integers(0, 128, exponent.shape)
    sign = rng.integers(0, 2, exponent.shape)
    live = (exponent > 0).all(axis=0)
    totals = np.where(live, exponent.sum(axis=0), 0)
    largest = totals.max(axis=1)
    product = np.where(live, (mantissa | 128).prod(axis=0), 0) << (window - 16)
    magnitude = product >> np.minimum(largest[:, None] - totals, 62)
    sums = np.where(sign.sum(axis=0) == 1, -magnitude, magnitude).sum(axis=1)
    codes = sign << 15 | exponent << 7 | mantissa
    unit = Float32Dot(AlignedSlice(BF16, LANES, window), 2 - window)
    return _float32_case(
        unit, codes, sums, largest - 2 * 127 + 2 - window, (exponent == 255).any(axis=(0, 2))
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IntegerSlice(8, 4, "wallace"), "multiplier must be one of booth"),
        (lambda: IntegerSlice(1, 4), "bits must be 2 or more, not 1"),
        (
            lambda: IntegerSlice(8, 4, dropped=9),
            "dropped must be 0 to 8, of Booth's rows only, not 9",
        ),
        (lambda: IntegerSlice(8, 4, "baugh-wooley", 1), "dropped must be 0 to 8, of Booth's rows"),
        (lambda: FloatSlice(FP8_E4M3, 4, 12, "nearest"), "rounding must be one of truncate"),
        (lambda: AlignedSlice(BF16, 4, 12), "window must hold a product, not 12 bits"),
    ],
)
def test_units_refuse_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
