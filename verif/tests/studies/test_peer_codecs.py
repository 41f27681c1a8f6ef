"""Peers that choose scales or elements: brute force, published values, a sceptic's figures."""

import ml_dtypes
import numpy as np
import pytest

from verif.baselines import scales
from verif.baselines.adaptive import fine_scaled, four_over_six, int_or_float4, mx_plus
from verif.baselines.elements import (
    E2M1,
    E2M3,
    E2M5,
    FP4_E2M1,
    FP6_E2M3,
    FP8_E4M3,
    INT8,
    LOG_TAKUM8,
    POSIT8,
    TAKUM8,
)
from verif.baselines.formats import QUANTISERS
from verif.baselines.rotation import POINTS, rotate, rotated, unrotate
from verif.numerics import study

RNG = np.random.default_rng(3)


def test_published_takums():
    """README of Takums.jl: 4.0 is 3.955 as a logarithmic takum8, the rounded root 2.117."""
    four = LOG_TAKUM8.round(np.array([4.0]))
    assert four[0] == pytest.approx(3.955, abs=5e-4)
    assert np.abs(LOG_TAKUM8.levels - 2.117).min() < 5e-4
    # Characteristics from -239 to 239 remain of -255 to 254 when eight bits are kept.
    assert np.log2(TAKUM8.levels[[1, -1]]).tolist() == [-239, 239]
    assert np.log(LOG_TAKUM8.levels[[1, -1]]) * 2 == pytest.approx([-239, 239])


def test_takums_by_their_fields():
    """Decoded as 12-bit takums, by arithmetic instead of digits; inverses mirror the codes."""
    for code in range(1, 128):
        wide = code << 4
        up, field = wide >> 10, wide >> 7 & 7
        length = field if up else 7 - field
        low = wide & 0x7F
        characteristic = (low >> (7 - length)) + ((1 << length) - 1 if up else 1 - (2 << length))
        mantissa = (low & ((1 << (7 - length)) - 1)) / (1 << (7 - length))
        assert TAKUM8.levels[code] == 2.0**characteristic * (1 + mantissa)
        assert LOG_TAKUM8.levels[code] * LOG_TAKUM8.levels[128 - code] == pytest.approx(1)
    assert (np.diff(TAKUM8.levels) > 0).all()
    assert TAKUM8.round(np.array([1e-300, -1e300])).tolist() == [2.0**-239, -(2.0**239)]


@pytest.mark.parametrize("element", [E2M5, TAKUM8, LOG_TAKUM8, POSIT8], ids=lambda e: e.name)
def test_rounding_is_to_the_nearest_level(element):
    x = np.concatenate([RNG.standard_normal(500) * 2, RNG.standard_cauchy(100), element.levels])
    near = np.abs(element.levels - np.abs(x)[:, None]).min(axis=1)
    got = element.round(x)
    nonzero = (np.abs(x) >= element.levels[1]) | (x == 0)
    assert np.array_equal(np.abs(np.abs(got) - np.abs(x))[nonzero], near[nonzero])
    middles = (element.levels[1:] + element.levels[:-1]) / 2
    codes = np.searchsorted(element.levels, element.round(middles[1:]))
    assert (codes % 2 == 0).all()


def _e4m3(x):
    return np.float64(np.float64(x).astype(ml_dtypes.float8_e4m3fn))


def _nvfp4_block(block, tensor, target):
    scale = _e4m3(np.abs(block).max() / target / tensor) * tensor
    return (block / scale).clip(-6, 6).astype(ml_dtypes.float4_e2m1fn).astype(np.float64) * scale


def _error(block, rounded):
    return ((block - rounded) ** 2).sum()


def test_four_over_six_takes_the_better_of_both_scales():
    x = RNG.standard_normal((20, 16)) * np.exp(RNG.standard_normal((20, 1)))
    tensor = np.float64(np.float32(np.abs(x).max() / (6 * 256)))
    got = four_over_six(x)
    taken = set()
    for block, rounded in zip(x, got, strict=True):
        six, four = (_nvfp4_block(block, tensor, target) for target in (6, 4))
        best = four if _error(block, four) < _error(block, six) else six
        taken.add(best is four)
        assert np.array_equal(rounded, best)
    assert taken == {False, True}
    # 3 and 4 of a largest 4 are levels below a top of 4, not below one of 6.
    exact = np.resize([1.0, 2.0, 3.0, 4.0], 16)
    assert four_over_six(exact) == pytest.approx(exact, rel=0.01)
    assert np.abs(QUANTISERS["NVFP4"].round(exact) - exact).max() > 0.1


def test_if4_takes_the_better_of_both_elements():
    x = np.concatenate([RNG.standard_normal((20, 16)), RNG.uniform(-1, 1, (20, 16))])
    tensor = np.float64(np.float32(np.abs(x).max() / (6 * 448)))
    taken = set()
    for block, rounded in zip(x, int_or_float4(x), strict=True):
        scale = _e4m3(np.abs(block).max() / 6 / tensor) * tensor
        floats = _nvfp4_block(block, tensor, 6)
        step = scale * 6 / 7
        integers = np.rint(block / step).clip(-7, 7) * step
        best = integers if _error(block, integers) < _error(block, floats) else floats
        taken.add(best is integers)
        assert rounded == pytest.approx(best, abs=1e-12)
    assert taken == {False, True}


def test_mx_plus_gives_the_largest_element_the_exponents_bits():
    block = np.full(32, 0.3)
    block[7] = -4.7
    rounded = mx_plus(block, FP4_E2M1)
    assert rounded[7] == -4.5  # 1.001 in binary times 4; E2M1 has 4 and 6
    assert np.array_equal(np.delete(rounded, 7), np.full(31, 0.5))
    block[7] = 7.9
    assert mx_plus(block, FP4_E2M1)[7] == 7.5  # 1.111, saturated
    block[7] = 4.25
    assert mx_plus(block, FP4_E2M1)[7] == 4.0  # a tie, to the even code
    for fmt in (FP8_E4M3, FP6_E2M3):
        x = RNG.standard_normal((50, 32))
        plain, plus = QUANTISERS[f"MXFP{fmt.bits}-{fmt.name}"].round(x), mx_plus(x, fmt)
        place = np.abs(x).argmax(axis=1)
        others = np.arange(32) != place[:, None]
        assert np.array_equal(plain[others], plus[others])
        gap = np.abs(plus - x)[~others] / np.abs(x)[~others]
        assert gap.max() <= 2.0 ** -(fmt.exponent_bits + fmt.mantissa_bits)
    assert mx_plus(np.zeros(32), FP4_E2M1).tolist() == [0.0] * 32


@pytest.mark.parametrize("element", [INT8, E2M5, E2M3], ids=lambda e: e.name)
def test_the_fine_scale_is_the_best_of_seven(element):
    x = RNG.standard_normal((10, 32)) * np.exp(RNG.standard_normal((10, 1)))
    for block, rounded in zip(x, fine_scaled(x, element), strict=True):
        nearest = round(8 * np.log2(np.abs(block).max() / element.largest))
        errors = []
        for bias in range(nearest - 4, nearest + 3):
            scale = 2.0 ** (bias / 8)
            levels = np.concatenate([-element.levels[::-1], element.levels]) * scale
            errors.append((np.abs(levels - block[:, None]).min(axis=1) ** 2).sum())
        assert _error(block, rounded) == pytest.approx(min(errors))


def test_the_fine_scale_has_the_range_of_a_byte():
    x = np.zeros((3, 32))
    x[:, 0] = 1.0, 2.0**-15, 2.0**-30
    rounded = fine_scaled(x, INT8)
    assert rounded[0, 0] == pytest.approx(1, rel=0.01)
    assert rounded[1, 0] == pytest.approx(2.0**-15, rel=0.01)
    assert rounded[2, 0] == 0
    assert scales.BIAS_MIN == -127


def test_rotation_is_orthogonal_and_spreads():
    x, y = RNG.standard_normal((2, 5, 64))
    assert (rotate(x) * rotate(y)).sum(axis=1) == pytest.approx((x * y).sum(axis=1))
    assert unrotate(rotate(x)) == pytest.approx(x)
    spike = np.zeros(64)
    spike[3] = 1.0
    turned = rotate(spike)
    assert np.abs(turned[:POINTS]) == pytest.approx(POINTS**-0.5)
    assert not turned[POINTS:].any()
    assert len(set(np.sign(rotate(np.eye(POINTS)).sum(axis=1)))) == 2
    outliers = study.data("outliers", (64, 1024), 1)
    gain = [
        study.sqnr_db(outliers, f.round(outliers))
        for f in (rotated(QUANTISERS["MXINT8"]), QUANTISERS["MXINT8"])
    ]
    assert gain[0] > gain[1] + 3


#: SQNR in dB that an independent implementation measured on the same distributions.
MEASURED = {
    "NVFP4-4/6": {"gaussian": 21.2, "laplace": 21.2, "student-t3": 21.2, "uniform": 21.2},
    "IF4": {
        "gaussian": 22.1,
        "laplace": 21.5,
        "student-t3": 21.4,
        "uniform": 23.6,
        "bimodal": 26.4,
        "sparse": 28.5,
    },
    "E2M3/8th": {
        "gaussian": 32.4,
        "laplace": 32.3,
        "student-t3": 31.9,
        "uniform": 32.5,
        "bimodal": 32.7,
        "sparse": 35.2,
    },
    "MXINT8": {"gaussian": 41.7, "uniform": 48.1, "bimodal": 47.0, "sparse": 45.7},
    "PAL8T": {"gaussian": 43.3, "uniform": 43.9, "bimodal": 44.1, "sparse": 43.9},
}


@pytest.mark.parametrize("name", MEASURED)
def test_sqnr_is_what_others_measured(name):
    for distribution, decibels in MEASURED[name].items():
        x = study.data(distribution, (256, 1024), 1)
        assert study.sqnr_db(x, QUANTISERS[name].round(x)) == pytest.approx(decibels, abs=0.2)


def test_e2m5_without_clipping_is_what_others_measured():
    """43.9 dB on Gaussian values under the least bias that does not clip; the search gains."""
    x = study.data("gaussian", (256, 1024), 1).reshape(-1, 32)
    scale = np.exp2(np.ceil(8 * np.log2(np.abs(x).max(axis=1, keepdims=True) / E2M5.largest)) / 8)
    plain = study.sqnr_db(x, E2M5.round(x / scale) * scale)
    assert plain == pytest.approx(43.9, abs=0.1)
    assert 0.4 < study.sqnr_db(x, fine_scaled(x, E2M5)) - plain < 0.8


def test_bits_count_all_that_a_block_stores():
    total = {name: q.bits_per_element for name, q in QUANTISERS.items()}
    assert (total["MXINT8"], total["INT8"], total["INT8/64"], total["INT8/8th"]) == (
        8.25,
        8.5,
        8.25,
        8.25,
    )
    assert (total["MXFP4-E2M1+"], total["NVFP4-4/6"], total["IF4"]) == (4.5, 4.5, 4.5)
    assert (total["PAL8T-oct"], total["PAL4T/16"]) == (8.25, 4.5)
    assert E2M1.bits == 4
