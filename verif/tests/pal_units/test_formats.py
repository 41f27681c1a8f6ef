"""Formats, tables and rounding of the numpy model, against exact or brute-force arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pal_units import model, tables
from pal_units.dot_params import DotParams
from pal_units.formats import PAL8T, PAL8U, PAL16, Format

FORMATS_8 = (PAL8U, PAL8T)


def test_taper_gives_64_codes_to_the_top_two_octaves_and_half_to_each_further_pair():
    octave = 1 << PAL8T.fraction_bits
    pairs = np.bincount(PAL8T.lambdas[1:] // (2 * octave))
    assert pairs.tolist() == [64, 32, 16, 8, 4, 2, 1]


@pytest.mark.parametrize(
    ("fmt", "octaves"), [(PAL8U, 126 / 16), (PAL8T, 12), (PAL16, 32766 / 1024)]
)
def test_range_of_a_format(fmt, octaves):
    assert fmt.lambda_max / 2**fmt.fraction_bits == octaves
    assert (np.diff(fmt.levels[1:]) > 0).all()


@pytest.mark.parametrize(
    ("kwargs", "rule"),
    [
        ({"n": 2, "profile": "U", "fraction_bits": 1}, "3 to 16"),
        ({"n": 17, "profile": "U", "fraction_bits": 1}, "3 to 16"),
        ({"n": 8, "profile": "X", "fraction_bits": 5}, "'U', 'T' or 'A'"),
        ({"n": 8, "profile": "T", "fraction_bits": 4}, "n - 3 = 5"),
    ],
)
def test_format_out_of_range_is_refused(kwargs, rule):
    with pytest.raises(ValueError, match=rule):
        Format("bad", **kwargs)


@pytest.mark.parametrize("fmt", FORMATS_8)
def test_every_code_encodes_back_to_itself(fmt):
    codes = np.arange(256)
    codes = codes[codes != fmt.sign_bit]
    assert (model.nearest_code(model.value_of(codes, fmt), fmt) == codes).all()


@pytest.mark.parametrize("fmt", FORMATS_8)
def test_encoding_is_nearest_in_the_linear_domain(fmt):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-1.1, 1.1, 4000), 2.0 ** rng.uniform(-14, 0, 4000)])
    values = model.value_of(np.delete(np.arange(256), fmt.sign_bit), fmt)
    best = np.abs(values[None, :] - x[:, None]).min(axis=1)
    assert np.array_equal(np.abs(model.value_of(model.nearest_code(x, fmt), fmt) - x), best)


@pytest.mark.parametrize("fmt", FORMATS_8)
def test_half_of_the_least_level_ties_to_zero(fmt):
    least = fmt.levels[1]
    assert model.nearest_code(least / 2, fmt) == 0
    assert model.nearest_code(np.nextafter(least / 2, 1), fmt) == 1


@pytest.mark.parametrize("fmt", FORMATS_8)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=32, max_size=32))
def test_block_bias_never_clips_and_is_the_least_that_does_not(fmt, values):
    x = np.array(values)
    codes, beta, tensor_bias = model.encode_blocks(x, fmt)
    amax = np.abs(x).max()
    if amax == 0:
        assert beta[0] == model.ZERO_BLOCK
        assert (codes == 0).all()
        return
    bias = tensor_bias + int(beta[0])
    assert 2.0 ** (bias / 8) >= amax > 2.0 ** ((bias - 1) / 8)
    error = np.abs(model.decode_blocks(codes, beta, tensor_bias, fmt) - x).max()
    assert error <= amax * (1 - 2.0 ** (-1 / 16))


def test_nan_stays_nan_and_zero_blocks_decode_to_zero():
    x = np.zeros(64)
    x[3] = np.nan
    codes, beta, tensor_bias = model.encode_blocks(x, PAL8T)
    back = model.decode_blocks(codes, beta, tensor_bias, PAL8T)
    assert np.isnan(back[3])
    assert (np.delete(back, 3) == 0).all()


@pytest.mark.parametrize(
    ("x", "rule"), [(np.zeros(33), "multiple of the block"), (np.full(32, np.inf), "no infinities")]
)
def test_encoding_refuses_what_it_cannot_hold(x, rule):
    with pytest.raises(ValueError, match=rule):
        model.encode_blocks(x, PAL8T)


def test_sqnr_on_gaussian_data_is_that_of_the_format():
    x = np.random.default_rng(0).standard_normal((500, 1024))
    for fmt, least in ((PAL8T, 43.3), (PAL8U, 38.0)):
        error = x - model.decode_blocks(*model.encode_blocks(x, fmt), fmt)
        assert 10 * np.log10((x**2).sum() / (error**2).sum()) >= least


def test_dot_params_need_more_product_bits_than_antilog_bits():
    with pytest.raises(ValueError, match="exceed antilog_bits"):
        DotParams(5, 12, product_bits=12)


@pytest.mark.parametrize("fraction_bits", range(3, 11))
def test_dot_params_have_an_antilog_table_or_are_refused(fraction_bits):
    params = DotParams(fraction_bits, fraction_bits - 2, product_bits=31)
    table = tables.antilog(params.fraction_bits, params.antilog_bits)
    assert 1 << params.antilog_bits <= table.min() <= table.max() < 2 << params.antilog_bits
    with pytest.raises(ValueError, match="at least fraction_bits - 2"):
        DotParams(fraction_bits, fraction_bits - 3, product_bits=31)
