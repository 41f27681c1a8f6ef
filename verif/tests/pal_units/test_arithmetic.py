"""Error bounds of the model's arithmetic, over all inputs where there are few enough."""

import numpy as np
import pytest

from pal_units import model, tables
from pal_units.dot_params import DOT_PARAMS
from pal_units.formats import PAL4T, PAL8T, PAL8U, PAL16, Format
from verif.stimulus.codes import SMALL, codes_of, corner_codes, every

by_name = pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)


def _random_blocks(rng, count, fmt):
    """Codes with many zeros and extremes, without NaN."""
    codes = corner_codes(rng, fmt, (count, fmt.block))
    return np.where(codes == fmt.sign_bit, 0, codes)


@by_name
def test_product_is_the_nearest_code_for_all_code_pairs(fmt):
    codes = codes_of(fmt)
    a, b = every(codes, codes)
    exact = model.value_of(a, fmt) * model.value_of(b, fmt)
    product = model.value_of(model.mul(a, b, fmt), fmt)
    assert np.array_equal(np.isnan(product), np.isnan(exact))
    finite = ~np.isnan(exact)
    order = np.unique(model.value_of(np.delete(codes, fmt.sign_bit), fmt))
    above = np.clip(np.searchsorted(order, exact[finite]), 1, len(order) - 1)
    exact = exact[finite]
    best = np.minimum(np.abs(order[above] - exact), np.abs(order[above - 1] - exact))
    assert np.allclose(np.abs(product[finite] - exact), best, rtol=1e-12, atol=0)


@by_name
@pytest.mark.parametrize("headroom", [0, 3])
def test_quotient_is_the_nearest_code_for_all_code_pairs(fmt, headroom):
    codes = codes_of(fmt)
    a, b = every(codes[codes != fmt.sign_bit], codes[1 : fmt.sign_bit])
    exact = np.clip(model.value_of(a, fmt) / model.value_of(b, fmt) * 2.0**-headroom, -1, 1)
    got = model.value_of(model.div(a, b, fmt, headroom), fmt)
    order = np.unique(model.value_of(np.delete(codes, fmt.sign_bit), fmt))
    above = np.clip(np.searchsorted(order, exact), 1, len(order) - 1)
    best = np.minimum(np.abs(order[above] - exact), np.abs(order[above - 1] - exact))
    assert np.allclose(np.abs(got - exact), best, rtol=1e-9, atol=1e-15)


def test_special_values_of_elementwise_functions():
    fmt = PAL8T
    nan, one, minus = fmt.sign_bit, fmt.m_max, fmt.m_max | fmt.sign_bit
    assert model.div(minus, 0, fmt) == minus  # saturates with the sign of x
    assert model.div(0, 0, fmt) == nan
    assert model.div(0, one, fmt) == 0
    assert model.recip(0, fmt) == one
    assert model.sqrt(minus, 0, fmt) == nan
    assert model.rsqrt(0, 0, fmt) == one
    assert model.log2(0, 0, 0, fmt) == minus
    assert model.log2(minus, 0, 0, fmt) == nan
    assert model.exp2(0, 0, 0, fmt) == one
    assert model.neg(0, fmt) == 0
    assert model.neg(nan, fmt) == nan
    assert model.absolute(minus, fmt) == one
    assert model.absolute(nan, fmt) == nan
    assert model.minimum(one, nan, fmt) == nan
    assert not model.less(one, nan, fmt)
    assert not model.equal(nan, nan, fmt)
    # Without NaN: zero in its place, and the second zero never comes out.
    assert model.div(0, 0, PAL4T) == 0
    assert model.sqrt(9, 0, PAL4T) == 0
    assert model.maximum(8, 8, PAL4T) == 0
    assert model.neg(8, PAL4T) == 0
    assert model.equal(8, 0, PAL4T)
    wide = Format("wide", 12, "U", 7)
    with pytest.raises(ValueError, match="F <= 5 and PAL16 without headroom, not wide with F = 7"):
        model.add(1, 2, wide)


@by_name
def test_block_sum_obeys_the_stated_bound(fmt):
    """|err| <= 2^-(L+1) * sum|p_i| + N * 2^-(k-1) * p_max."""
    rng, params = np.random.default_rng(2), DOT_PARAMS[fmt.name]
    a, b = _random_blocks(rng, 20_000, fmt), _random_blocks(rng, 20_000, fmt)
    total, _ = model.block_sum(a, b, fmt, params)
    products = model.value_of(a, fmt) * model.value_of(b, fmt)
    unit = 2.0 ** (params.guard_bits - tables.octaves_below(params))
    error = np.abs(total * unit - products.sum(axis=1))
    bound = 2.0 ** -(params.antilog_bits + 1) * np.abs(products).sum(axis=1) + fmt.block * unit
    assert (error <= bound).all()
    assert (error > 0.2 * bound).any()  # the bound is not idle


@by_name
def test_dot_product_does_not_depend_on_the_order_within_blocks(fmt):
    rng, params = np.random.default_rng(3), DOT_PARAMS[fmt.name]
    a, b = (_random_blocks(rng, 2000, fmt).reshape(-1, 128) for _ in range(2))
    beta_a, beta_b = (rng.integers(-60, 1, (len(a), 4)) for _ in range(2))
    want = model.dot(a, beta_a, b, beta_b, fmt, params)
    order = np.concatenate([32 * block + rng.permutation(32) for block in rng.permutation(4)])
    got = model.dot(
        a[:, order],
        beta_a[:, order[::32] // 32],
        b[:, order],
        beta_b[:, order[::32] // 32],
        fmt,
        params,
    )
    assert np.array_equal(want, got)


def test_zero_block_hides_its_contents_and_nan_is_sticky():
    params = DOT_PARAMS["PAL8T"]
    a = np.full((1, 64), 127, np.uint8)
    b = a.copy()
    b[0, 40] = PAL8T.sign_bit
    acc, nan = model.dot(a, np.array([[0, 0]]), b, np.array([[0, 0]]), PAL8T, params)
    assert nan.all()
    acc, nan = model.dot(a, np.array([[0, 0]]), b, np.array([[0, model.ZERO_BLOCK]]), PAL8T, params)
    assert not nan.any()
    assert acc[0] == 32 * model.product_table(PAL8T, PAL8T, params)[127, 127] << params.guard_bits


def test_accumulator_cannot_overflow_within_the_stated_number_of_blocks():
    params = DOT_PARAMS["PAL8T"]
    blocks = params.max_blocks(32)
    ones = np.full((1, 32 * blocks), 127, np.uint8)
    zero = np.zeros((1, blocks))
    acc, _ = model.dot(ones, zero, ones, zero, PAL8T, params)
    assert params.accumulator_bits == 32
    assert 0.9 * 2**31 < acc[0] < 1 << 31


def test_log_of_integers_is_faithful():
    rng = np.random.default_rng(4)
    x = np.unique(
        np.concatenate(
            [np.arange(1, 1 << 16), rng.integers(1, 1 << 31, 200_000), (1 << np.arange(1, 31)) - 1]
        )
    )
    error = model.log_of_integer(x) - 1024 * np.log2(x.astype(np.float64))
    assert np.abs(error).max() < 0.8


def test_accumulator_encoding_saturates_keeps_the_least_level_and_then_gives_zero():
    params = DOT_PARAMS["PAL8T"]
    acc = np.array([1, -1, 0])
    # The least level of PAL16 lies 32766/1024 octaves below its top.
    least = int(1024 * (tables.octaves_below(params) + 13))
    offsets = np.array([[-500], [8 * 13], [8 * 15]])
    codes = model.encode_accumulator(acc, False, offsets, params)
    assert codes.tolist() == [[32767, 65535, 0], [32767 - least, 65535 - least, 0], [0, 0, 0]]
    assert model.encode_accumulator(acc, True, 0, params).tolist() == [PAL16.sign_bit] * 3


def test_pal16_addition_of_special_values():
    nan, one = PAL16.sign_bit, PAL16.m_max
    assert model.add16(nan, one) == nan
    assert model.add16(0, one) == one
    assert model.add16(one, one | nan) == 0
    assert model.add16(one, one) == one  # saturates
    assert model.add16(0, 0) == 0
    assert model.relu16(nan) == nan
    assert model.relu16(nan | 5) == 0


@pytest.mark.parametrize("fmt", [PAL8U, PAL8T])
def test_reblock_equals_encoding_the_values(fmt):
    rng = np.random.default_rng(5)
    codes16 = rng.integers(0, 1 << 16, (3000, 32))
    codes16[codes16 == PAL16.sign_bit] = 0
    codes16[:1000, :] &= 0x83FF  # all small
    codes16[rng.random(codes16.shape) < 0.2] = 0
    codes16[0] = 0
    codes, beta = model.reblock(codes16, fmt)
    want, want_beta, _ = model.encode_blocks(model.value_of(codes16, PAL16), fmt, tensor_bias=0)
    assert np.array_equal(beta, want_beta[:, 0])
    assert np.array_equal(codes, want)
