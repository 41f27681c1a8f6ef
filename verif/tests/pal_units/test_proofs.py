"""Error bounds over all inputs, against 60-digit arithmetic (mpmath) or exact integers.

Rounding decisions depend on log distances only, and there are few different ones, so that
each is checked once in high precision and then over all codes in integers.
"""

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from pal_units import model, tables
from pal_units.dot_params import DOT_PARAMS
from pal_units.formats import FLOAT_MANTISSAS, FORMATS, PAL16, TABLE_FRACTION_BITS
from pal_units.model.elementwise import rounded
from verif.stimulus.codes import SMALL, codes_of, every

by_name = pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
TABLED = [f for f in FORMATS.values() if f.fraction_bits <= TABLE_FRACTION_BITS]


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(60):
        yield


def _power(numerator, unit):
    """``2^(numerator / unit)``."""
    return mpf(2) ** (mpf(int(numerator)) / unit)


def _midpoints(fmt):
    """For each code magnitude, the midpoint to the one below, in high precision."""
    levels = [mpf(0), *(_power(-lam, 1 << fmt.fraction_bits) for lam in fmt.lambdas[1:])]
    return [(levels[m] + levels[m - 1]) / 2 for m in range(1, len(levels))]


@by_name
@pytest.mark.parametrize("guard", [0, 1, 3])
def test_a_log_distance_rounds_to_the_nearest_code(fmt, guard):
    """Every distance on the grids that multiply, divide, root and power round from."""
    fraction = fmt.fraction_bits + guard
    distances = np.arange(-3, (fmt.lambda_max << guard) * 2 + 2)
    got = rounded(distances, fraction, False, fmt)
    middles = _midpoints(fmt)
    m = 0
    for distance, code in zip(distances[::-1], got[::-1], strict=True):
        value = _power(-distance, 1 << fraction)
        while m < fmt.m_max and value > middles[m]:
            m += 1
        # Ties go to the even code: ``>`` stays below, a tie from an odd code goes up.
        want = m + 1 if m < fmt.m_max and value == middles[m] and m % 2 else m
        assert code == want, (distance, fraction)


def test_pal16_rounds_every_distance_of_a_product_to_the_nearest_code():
    distances = np.arange(-3, 2 * PAL16.lambda_max + 2)
    got = rounded(distances, 10, False, PAL16).astype(int)
    # In range every distance is a code; below the least, half of it is the limit.
    want = np.where(
        distances <= PAL16.lambda_max,
        PAL16.m_max - np.maximum(distances, 0),
        distances < PAL16.lambda_max + 1024,
    )
    assert np.array_equal(got, want)


@by_name
def test_sqrt_and_rsqrt_are_within_half_a_unit_of_the_log(fmt):
    """Profile U in range; in T the nearest code, which the test above shows."""
    if fmt.profile == "T":
        return
    a, odd = every(codes_of(fmt)[1 : fmt.sign_bit], [0, 1])
    halves = 8 * fmt.lambdas[a] + (odd << fmt.fraction_bits)  # 1/16 octave, times 2^F
    for got, exact in (
        (model.sqrt(a, odd, fmt), halves),
        (
            model.rsqrt(a, odd, fmt, 8),
            (128 << fmt.fraction_bits) - 8 * fmt.lambdas[a] + (odd << fmt.fraction_bits),
        ),
    ):
        inside = (exact >= 0) & (exact <= 16 * fmt.lambda_max)
        error = np.abs(16 * fmt.lambdas[got.astype(int)] - exact)[inside]
        assert (error <= 8).all()  # 16 is one unit


@pytest.mark.parametrize("fraction", range(TABLE_FRACTION_BITS + 1))
def test_addition_tables_are_complete_and_correctly_rounded(fraction):
    grow, shrink = tables.log_add(fraction)
    unit = 1 << fraction
    for table, sign, first in ((grow, 1, 0), (shrink, -1, 1)):
        for d in range(first, len(table) + 3 * unit):
            exact = sign * unit * mpmath.log(1 + sign * _power(-d, unit), 2)
            entry = int(table[d]) if d < len(table) else 0
            assert abs(entry - exact) < mpf(1) / 2, (fraction, sign, d)
    bits = (
        len(grow) * int(grow.max()).bit_length()
        + (len(shrink) - 1) * int(shrink.max()).bit_length()
    )
    assert bits == {0: 3, 1: 25, 2: 98, 3: 324, 4: 1061, 5: 2926}[fraction]


@pytest.mark.parametrize("fmt", [f for f in TABLED if f.n >= 4], ids=lambda f: f.name)
@pytest.mark.parametrize("headroom", [0, 1])
def test_sums_of_all_code_pairs_are_correctly_rounded_in_the_log(fmt, headroom):
    a, b = every(codes_of(fmt), codes_of(fmt))
    unit = 1 << fmt.fraction_bits
    distances = np.arange(fmt.lambda_max + 1)
    logs = {
        s: np.array(
            [
                0 if d == 0 and s < 0 else float(unit * mpmath.log(1 + s * _power(-d, unit), 2))
                for d in distances
            ]
        )
        for s in (1, -1)
    }
    got = model.add(a, b, fmt, headroom)
    nan = model.is_nan(a, fmt) | model.is_nan(b, fmt)
    assert np.array_equal(model.is_nan(got, fmt), nan)
    ma, mb = a & fmt.m_max, b & fmt.m_max
    usual = ~nan & (ma > 0) & (mb > 0)
    a, b, ma, mb, got = (v[usual] for v in (a, b, ma, mb, got))
    lam_a, lam_b = fmt.lambdas[ma], fmt.lambdas[mb]
    opposite = (a > fmt.m_max) != (b > fmt.m_max)
    cancelled = opposite & (ma == mb)
    assert (got[cancelled] == 0).all()
    d = np.abs(lam_a - lam_b)
    exact = np.minimum(lam_a, lam_b) - np.where(opposite, logs[-1][d], logs[1][d]) + headroom * unit
    nearest = np.rint(exact).astype(np.int64)
    assert (np.abs(exact - nearest)[~cancelled] < 0.5 - 1e-6).all()  # no near ties
    want = rounded(nearest, fmt.fraction_bits, np.where(lam_a <= lam_b, a, b) > fmt.m_max, fmt)
    assert np.array_equal(got[~cancelled], want[~cancelled])
    if fmt.profile == "U":
        inside = ~cancelled & (nearest >= 0) & (nearest <= fmt.lambda_max)
        error = np.abs(fmt.lambdas[got & fmt.m_max] - exact)[inside]
        assert error.max() <= 0.5


def test_pal16_sums_are_faithful_for_every_distance():
    """Under one unit of the log; distances beyond 24 octaves change nothing."""
    d = np.arange(24 * 1024)
    top = np.full_like(d, PAL16.m_max - 1100)
    for sign in (1, -1):
        codes = model.add16(top, (top - d) | (0 if sign > 0 else PAL16.sign_bit)).astype(int)
        for distance, code in zip(d.tolist(), codes.tolist(), strict=True):
            if sign < 0 and distance == 0:
                assert code == 0
                continue
            exact = 1024 * mpmath.log(1 + sign * _power(-distance, 1024), 2)
            assert abs(code - int(top[0]) - exact) < 1, (distance, sign)


@by_name
def test_exp2_and_log2_are_faithful_for_all_codes_and_biases(fmt):
    """The spacing is that of the format around the result; PAL16 in the test below."""
    codes, bias = every(codes_of(fmt)[1:], np.arange(-100, 60))
    usual = codes != fmt.sign_bit
    codes, bias = codes[usual], bias[usual]
    x = model.value_under(codes, bias, fmt)
    top = np.clip(np.ceil(8 * x), -511, 511).astype(int)
    _faithful(model.exp2(codes, bias, top, fmt), x - top / 8, fmt, np.abs(x) < 60)
    positive = codes < fmt.sign_bit
    exact = np.log2(x[positive])
    top = model.bias_for(np.maximum(np.abs(exact), 1e-3)).astype(int)
    got = model.log2(codes[positive], bias[positive], top, fmt)
    with np.errstate(divide="ignore"):
        logs = np.log2(np.abs(exact)) - top / 8
    assert (np.sign(model.value_of(got, fmt)) * exact >= 0).all()
    _faithful(got & fmt.m_max, logs, fmt, exact != 0)


def _faithful(codes, logs, fmt, where):
    """Results bracket the exact log (octaves below the top) without a code between."""
    lam = fmt.lambdas.astype(float) / 2**fmt.fraction_bits
    codes, logs = codes[where].astype(int), logs[where]
    inside = (logs < 0) & (logs > -lam[1])
    codes, logs = codes[inside], logs[inside]
    assert (codes > 0).all()
    above = np.where(codes < fmt.m_max, -lam[np.minimum(codes + 1, fmt.m_max)], 0)
    below = -lam[np.maximum(codes - 1, 1)]
    edge = 1e-9
    assert (logs < np.where(codes < fmt.m_max, above, edge) + edge).all()
    assert ((logs > below - edge) | (codes == 1)).all()


def test_pal16_exp2_and_log2_are_faithful():
    codes = np.arange(1, 32768)
    for bias in (-40, -3, 0, 24, 44):
        x = model.value_under(codes, bias, PAL16)
        for sign in (0, PAL16.sign_bit):
            value = -x if sign else x
            top = np.clip(np.ceil(8 * value), -511, 511).astype(int)
            got = model.exp2(codes | sign, bias, top, PAL16).astype(int)
            exact = PAL16.m_max + 1024 * (value - top / 8)
            inside = (exact >= 1) & (exact <= PAL16.m_max) & (np.abs(value) < 60)
            assert np.abs(got - exact)[inside].max() < 1
        exact = np.log2(x)
        usual = exact != 0
        top = model.bias_for(np.where(usual, np.abs(exact), 1)).astype(int)
        got = model.log2(codes, bias, top, PAL16).astype(int) & PAL16.m_max
        m = PAL16.m_max + 1024 * (np.log2(np.abs(exact[usual])) - top[usual] / 8)
        assert np.abs(got[usual] - m).max() < 1


@pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
def test_conversion_thresholds_are_exactly_the_midpoints(fmt):
    """Each threshold is the least mantissa above a midpoint; every midpoint has one."""
    thresholds = set(tables.rounding_thresholds(fmt).tolist())
    unit, one = 1 << max(fmt.fraction_bits, 3), 1 << tables.FLOAT_MANTISSA_BITS
    found = {tables.TIE_MANTISSA}
    for middle in _midpoints(fmt):
        for j in range(8):
            value = middle * _power(j, 8)
            mantissa = value / mpf(2) ** mpmath.floor(mpmath.log(value, 2) + mpf(10) ** -40)
            found.add(int(mpmath.floor((mantissa - 1) * one + mpf(10) ** -40)) + 1)
    assert unit >= 8
    assert thresholds == found


@pytest.mark.parametrize("kind", FLOAT_MANTISSAS)
@pytest.mark.parametrize("bits", [3, 4, 5, 10])
def test_float_mantissas_are_correctly_rounded(kind, bits):
    width = FLOAT_MANTISSAS[kind]
    for r, entry in enumerate(tables.float_mantissas(bits, width)):
        exact = mpf(2) ** width * (_power(r, 1 << bits) - 1)
        assert abs(int(entry) - exact) < mpf(1) / 2


@by_name
def test_products_obey_their_share_of_the_dot_bound(fmt):
    """``|err| <= 2^-(L+1) |p| + 2^-(k-1) p_max`` for every distance of two codes."""
    params = DOT_PARAMS[fmt.name]
    unit = mpf(2) ** (tables.octaves_below(params) - params.guard_bits)
    magnitudes = np.arange(1, fmt.m_max + 1)
    octave = 1 << params.fraction_bits
    seen = {}
    for eighths in range(0, 8, params.bias_step):
        table = model.product_table(fmt, fmt, params, eighths)
        for a, b in zip(*every(magnitudes, magnitudes), strict=True):
            distance = int(fmt.lambdas[a] + fmt.lambdas[b]) * (octave >> fmt.fraction_bits)
            seen.setdefault(distance + eighths * octave // 8, set()).add(int(table[a, b]))
    for distance, products in seen.items():
        (product,) = products
        exact = unit * _power(-distance, octave)
        assert abs(product - exact) <= mpf(2) ** -(params.antilog_bits + 1) * exact + 1


def test_no_table_entry_is_near_a_rounding_boundary(monkeypatch):
    seen = []
    monkeypatch.setattr(tables, "_round", lambda x: seen.append(x) or np.round(x).astype(int))
    calls = [(tables.antilog, (p.fraction_bits, p.antilog_bits)) for p in DOT_PARAMS.values()]
    calls += [(tables.log_base, ()), (tables.log_offset, ()), (tables.add_antilog, ())]
    calls += [(tables.log_add, (f,)) for f in range(TABLE_FRACTION_BITS + 1)]
    calls += [
        (tables.exp_antilog, (f.fraction_bits, max(f.fraction_bits, 3))) for f in FORMATS.values()
    ]
    calls += [
        (tables.float_mantissas, (bits, width)) for bits in (3, 4, 5, 10) for width in (7, 22, 23)
    ]
    calls += [(tables.rounding_logs, (f,)) for f in FORMATS.values()]
    for table, arguments in calls:
        table.__wrapped__(*arguments)
    assert len(seen) >= len(calls)
    for values in seen:
        assert np.abs(values % 1 - 0.5).min() > 2.0**-30
