"""Profile A in numpy: decoding and encoding against their definitions, arrays, refusals."""

import io
import json
import operator
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pal_units as pal
from pal_units import adaptive, model
from pal_units.codebook import BIAS_WINDOW, SPREAD_CLASSES, Codebooks
from pal_units.formats import ADAPTIVE, PAL4A, PAL6A, PAL8A, PAL8T, PAL16, Format, widening
from pal_units.model.adaptive import encode_blocks, nearest_in_book
from verif.numerics import fit, fitting
from verif.numerics.distributions import DISTRIBUTIONS, data
from verif.stimulus.adaptive_cases import FOUR_BOOKS, ONE_BOOK, down_of_codes, levels

by_name = pytest.mark.parametrize(
    "fmt", [*ADAPTIVE.values(), FOUR_BOOKS, ONE_BOOK], ids=lambda f: f.name
)
library = pytest.mark.parametrize("fmt", ADAPTIVE.values(), ids=lambda f: f.name)


def _values(fmt):
    """Value of each code below a top of 1.0, a row a selector, from the documented definition."""
    values = np.zeros((fmt.codebooks.selectors, 1 << fmt.n))
    for selector, code, distance, negative in levels(fmt):
        values[selector, code] = (-1) ** negative * 2.0 ** (-distance / 2**fmt.fraction_bits)
    if fmt.has_nan:
        values[:, fmt.sign_bit] = np.nan
    return values


# Decoding.


@by_name
@pytest.mark.parametrize("tensor_bias", [0, 13, -8000])
def test_every_code_under_every_byte_has_the_value_of_its_definition(fmt, tensor_bias):
    """``sign * 2^((T + beta)/8) * 2^(-lambda / 2^F)``."""
    every = np.tile(np.arange(1 << fmt.n, dtype=np.uint8), (256, 1))
    byte = np.arange(256)
    a = pal.PalArray(
        every,
        np.repeat(byte.astype(np.uint8).view(np.int8)[:, None], -(-(1 << fmt.n) // fmt.block), 1),
        tensor_bias,
        fmt,
        1,
    )
    count = 256 // fmt.codebooks.selectors
    top = 2.0 ** ((tensor_bias - np.array(down_of_codes(fmt))[byte % count]) / 8)
    want = _values(fmt)[byte // count] * top[:, None]
    np.testing.assert_allclose(a.decode(), want, rtol=1e-12, atol=0)
    # Powers of two, zeros and what is NaN exactly.
    octaves = np.log2(np.abs(np.where(want == 0, 1, want)))
    exact = (np.abs(octaves - np.rint(octaves)) < 1e-9) | np.isnan(want)
    sign = np.sign(want) * (want != 0)
    power = np.ldexp(sign, np.where(exact & ~np.isnan(octaves), np.rint(octaves), 0).astype(int))
    assert np.array_equal(a.decode()[exact], power[exact], equal_nan=True)


def test_4_bits_have_16_levels_and_no_second_zero():
    for row in _values(PAL4A):
        assert len(set(row.tolist())) == 16
        assert (row == 0).sum() == 1
    assert pal.finfo(PAL4A).levels == pal.finfo(pal.PAL4T).levels + 1
    facts = pal.finfo(PAL4A)
    assert (facts.levels, facts.bits, facts.bits_per_element) == (8, 4, 4.5)


@library
def test_codebooks_of_the_library_reach_their_top_and_end_within_the_lane(fmt):
    books = fmt.codebooks
    step = 1 << fmt.fraction_bits - 3  # what a change of the bias leaves
    tops = zip(books.positive, books.negative, strict=True)
    assert all(min(p[-1], n[-1]) < step for p, n in tops)
    assert fmt.lambda_max == max(d for _, _, d, _ in levels(fmt))
    # What ``OperandDecoder`` takes as octaves down.
    assert books.bias_steps.max() <= 127
    assert books.bias_steps.tolist() == down_of_codes(fmt)
    assert len(books.picks) == SPREAD_CLASSES


@by_name
def test_a_byte_is_split_and_joined(fmt):
    byte = np.arange(256)
    selector, beta = fmt.codebooks.split(byte.astype(np.uint8).view(np.int8))
    assert np.array_equal(fmt.codebooks.split(byte), [selector, beta])
    code = np.searchsorted(down_of_codes(fmt), -beta)
    assert np.array_equal(fmt.codebooks.join(selector, code).view(np.uint8), byte)


@pytest.mark.parametrize(
    ("call", "error", "rule"),
    [
        (lambda b: b.split(256), ValueError, "a byte must be -128 to 255, not 256"),
        (lambda b: b.split([0, -129]), ValueError, "a byte must be -128 to 255, not -129"),
        (lambda b: b.split(1.0), TypeError, "a byte must be an integer, not float64"),
        (lambda b: b.join(8, 0), ValueError, "a selector must be 0 to 7, not 8"),
        (lambda b: b.join([0, -1], 0), ValueError, "a selector must be 0 to 7, not -1"),
        (lambda b: b.join(0, 32), ValueError, "a bias code must be 0 to 31, not 32"),
        (lambda b: b.join(0, True), TypeError, "a bias code must be an integer, not bool"),
    ],
)
def test_bytes_are_refused_that_are_none(call, error, rule):
    with pytest.raises(error, match=rule):
        call(PAL4A.codebooks)


# The nearest code of a codebook.


@by_name
def test_codes_are_nearest_by_brute_force_ties_to_even_and_saturate(fmt):
    rng, values = np.random.default_rng(1), _values(fmt)
    for selector, row in enumerate(values):
        known = np.flatnonzero(~np.isnan(row))
        known = known[(row[known] != 0) | (known == 0)]
        order = known[np.argsort(row[known])]
        ascending = row[order]
        middles = (ascending[1:] + ascending[:-1]) / 2
        near = np.concatenate([middles, np.nextafter(middles, 9), np.nextafter(middles, -9)])
        ends = [0.0, -0.0, 5e-324, -5e-324, 1e-310, 1.7e308, -1.7e308, np.inf, -np.inf, 1e9]
        x = np.concatenate([near, row[order], rng.uniform(-1.2, 1.2, 200), ends])
        x = x[rng.permutation(len(x))[:600]]
        got = nearest_in_book(x, fmt, selector)
        assert got.dtype == np.uint8
        exact = [Fraction(float(v)) for v in fmt.book_levels[0][selector]]
        by_code = dict(zip(fmt.book_levels[1][selector].tolist(), exact, strict=True))
        assert sorted(by_code) == sorted(known.tolist())
        for v, code in zip(x.tolist(), got.tolist(), strict=True):
            clipped = Fraction(min(max(v, -9.0), 9.0))
            distance = {c: abs(clipped - level) for c, level in by_code.items()}
            least = min(distance.values())
            # Distances are rounded to float64.
            assert distance[code] <= least * (1 + Fraction(1, 2**52)), (selector, v)
            tied = [c for c, d in distance.items() if d == least]
            if len(tied) == 2:
                assert code % 2 == 0, (selector, v)


@by_name
def test_half_of_the_least_level_of_a_codebook_ties_to_zero(fmt):
    for selector, row in enumerate(fmt.book_levels[0]):
        for least in (row[row > 0].min(), row[row < 0].max()):
            assert nearest_in_book(least / 2, fmt, selector) == 0
            assert nearest_in_book(np.nextafter(least / 2, least), fmt, selector) != 0


@by_name
def test_every_level_encodes_to_its_code_and_nan_to_nan_or_zero(fmt):
    values = _values(fmt)
    for selector, row in enumerate(values):
        codes = np.flatnonzero((row != 0) & ~np.isnan(row))
        assert np.array_equal(nearest_in_book(row[codes], fmt, selector), codes)
        assert nearest_in_book(np.nan, fmt, selector) == (fmt.sign_bit if fmt.has_nan else 0)


# Encoding.


def _as_the_model(x, fmt, tensor_bias=None):
    rows = np.asarray(x).reshape(-1, np.asarray(x).shape[-1])
    got = adaptive.encode_rows(rows, fmt, tensor_bias)
    want = encode_blocks(rows, fmt, tensor_bias)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])
    assert got[2] == want[2]
    return got


@by_name
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_encoding_equals_the_model_bit_for_bit(fmt, dtype):
    rng = np.random.default_rng(2)
    for name in DISTRIBUTIONS:
        _as_the_model(data(name, (3, 8 * fmt.block), 3).astype(dtype), fmt)
    x = rng.standard_normal((40, 2 * fmt.block)) * 2.0 ** rng.integers(-30, 30, (40, 1))
    x = np.where(rng.random(x.shape) < 0.1, 0, x)
    x = np.where(rng.random(x.shape) < 0.1, np.exp2(rng.integers(-20, 20, x.shape)), x)
    x[1], x[2, 0], x[3] = 0, -0.0, -np.abs(x[3])
    if fmt.has_nan:
        x[4, 5 % fmt.block] = x[5, : fmt.block] = np.nan
    for tensor_bias in (None, 20, -40, 0, 400, -32768, 32767):
        _as_the_model(x.astype(dtype), fmt, tensor_bias)


@by_name
def test_extreme_magnitudes_encode_as_in_the_model(fmt):
    block, most = fmt.block, np.finfo(np.float64).max
    for start in ([most], [5e-324], [1e-310, 5e-324, -2e-308], [most, 5e-324], [-most, most / 3]):
        x = np.resize(np.array(start), block)
        x[-1] = 0
        for tensor_bias in (None, 8192, -8592, 0):
            _as_the_model(x[None], fmt, tensor_bias)
        back = pal.encode(x, fmt).decode()
        assert np.isfinite(back).all()
        assert np.abs(back).max() == pytest.approx(np.abs(x).max(), rel=0.3)


@settings(deadline=None, max_examples=150)
@given(
    fmt=st.sampled_from([*ADAPTIVE.values(), FOUR_BOOKS, ONE_BOOK]),
    x=st.lists(
        st.one_of(
            st.sampled_from([0.0, -0.0, np.finfo(np.float64).max, 5e-324, 1.5e-323, 2.2e-308]),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=70,
    ),
    tensor_bias=st.one_of(
        st.none(), st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-9000, 9000)
    ),
)
def test_every_float64_under_every_tensor_bias_is_as_in_the_model(fmt, x, tensor_bias):
    _as_the_model(np.pad(np.array(x), (0, -len(x) % fmt.block))[None], fmt, tensor_bias)


@by_name
def test_empty_arrays_and_integers_encode(fmt):
    for shape in ((0, 2 * fmt.block), (2, 0)):
        assert pal.encode(np.zeros(shape), fmt).decode().shape == shape
    x = np.arange(4 * fmt.block)
    assert np.array_equal(pal.encode(x, fmt).codes, pal.encode(x.astype(float), fmt).codes)


def test_the_largest_float64_comes_back_from_a_level_above_it():
    most = np.finfo(np.float64).max
    for fmt in ADAPTIVE.values():
        back = pal.encode(np.full(fmt.block, most), fmt).decode()
        assert back == pytest.approx(most, rel=0.1)
        large = pal.PalArray(
            np.full(fmt.block, fmt.m_max, np.uint8), np.zeros(1, np.int8), 1 << 14, fmt, 0
        )
        with pytest.raises(OverflowError, match="beyond float64: the tensor bias is 16384"):
            large.decode()


def _squared_errors(x, fmt, bias):
    """Squared error of a block in each codebook at a bias, by all levels."""
    found = []
    for row in _values(fmt):
        known = row[~np.isnan(row)] * 2.0 ** (bias / 8)
        found.append((np.abs(x[:, None] - known).min(axis=1) ** 2).sum())
    return np.array(found)


def _window(x):
    nearest = int(np.floor(8 * np.log2(np.abs(x).max()) + 0.5))
    return range(nearest + BIAS_WINDOW[0], nearest + BIAS_WINDOW[1] + 1)


@by_name
def test_no_codebook_at_any_bias_of_the_window_beats_the_chosen_one(fmt):
    down = down_of_codes(fmt)
    for name in ("gaussian", "outliers", "softmax", "ternary", "uniform"):
        x = data(name, (1, 12 * fmt.block), 5)[0]
        a = pal.encode(x, fmt)
        blocks, back = x.reshape(-1, fmt.block), a.decode().reshape(-1, fmt.block)
        for block, error in zip(blocks, ((blocks - back) ** 2).sum(axis=1), strict=True):
            if not block.any():
                continue
            nameable = [a.tensor_bias - d for d in down]
            tried = [b for b in _window(block) if b in nameable]
            if not tried:  # too far below the top
                continue
            least = min(_squared_errors(block, fmt, b).min() for b in tried)
            assert error <= least * (1 + 1e-9)


@by_name
def test_the_tensor_bias_is_the_highest_that_any_block_wants(fmt):
    x = data("laplace", (1, 30 * fmt.block), 6)[0].reshape(-1, fmt.block)
    wanted = []
    for block in x:
        alone = pal.encode(block, fmt)
        # Alone, a block has its top at the tensor bias, or its byte names one below.
        best = {b: _squared_errors(block, fmt, b).min() for b in _window(block)}
        assert best[alone.tensor_bias] <= min(best.values()) * (1 + 1e-9)
        wanted.append(alone.tensor_bias)
    assert pal.encode(x.ravel(), fmt).tensor_bias == max(wanted)


@by_name
def test_the_tensor_bias_of_close_blocks_is_that_of_the_whole_search(fmt):
    """Blocks of almost one magnitude, of which a lesser one may want the higher bias."""
    rng, lesser = np.random.default_rng(15), 0
    for _ in range(100):
        x = rng.standard_normal((6, fmt.block))
        x *= np.exp2(rng.uniform(0, 0.7, (6, 1))) / np.abs(x).max(axis=1, keepdims=True)
        alone = [pal.encode(block, fmt).tensor_bias for block in x]
        _as_the_model(x, fmt)
        assert adaptive.encode_rows(x, fmt, None)[2] == max(alone)
        nearest = np.floor(8 * np.log2(np.abs(x).max(axis=1)) + 0.5)
        lesser += max(alone) > max(np.array(alone)[nearest == nearest.max()])
    assert lesser or fmt is FOUR_BOOKS


@by_name
def test_the_error_of_a_block_is_bounded_by_half_the_widest_gap(fmt):
    """A bias of the window clips nothing, and of the first codebook each error is half a gap."""
    row = np.sort(_values(fmt)[0][~np.isnan(_values(fmt)[0])])
    reach = 8 * max(0, *(-np.log2(np.abs(row[[0, -1]]))))
    for name in DISTRIBUTIONS:
        for block in data(name, (40, fmt.block), 7):
            if not block.any():
                continue
            top = 2.0 ** ((max(_window(block))) / 8)
            gap = np.diff(row).max() / 2
            clip = max(0.0, np.abs(block).max() - top * 2.0 ** (-reach / 8))
            error = ((block - pal.encode(block, fmt).decode()) ** 2).sum()
            assert error <= fmt.block * (gap * top + clip) ** 2


@by_name
def test_under_a_given_tensor_bias_larger_values_saturate(fmt):
    x = np.linspace(-1000, 1000, 2 * fmt.block)
    a = pal.encode(x, fmt, tensor_bias=8)
    assert a.tensor_bias == 8
    values = _values(fmt)
    reached = np.nanmax(np.abs(values)) * 2
    assert np.abs(a.decode()).max() <= reached * (1 + 1e-12)
    far = np.abs(x) > 4
    selector, beta = fmt.codebooks.split(a.biases)
    top = 2.0 ** ((8 + np.repeat(beta, fmt.block)) / 8)
    books = values[np.repeat(selector, fmt.block)]
    want = np.where(x > 0, np.nanmax(books, axis=1), np.nanmin(books, axis=1)) * top
    np.testing.assert_allclose(a.decode()[far], want[far], rtol=1e-12)
    assert (beta == 0).all()


@by_name
def test_blocks_far_below_the_top_take_the_last_bias_and_go_to_zero(fmt):
    x = np.ones((3, fmt.block))
    x[1], x[2] = 2.0**-300, 2.0 ** (-down_of_codes(fmt)[-1] / 8 - 1)
    a = pal.encode(x, fmt)
    beta = fmt.codebooks.split(a.biases)[1]
    assert beta[1, 0] == beta[2, 0] == -down_of_codes(fmt)[-1]
    assert (a.decode()[1] == 0).all()
    assert a.decode()[2] == pytest.approx(x[2], rel=0.3)


@by_name
def test_zeros_and_blocks_of_nan_have_the_byte_0(fmt):
    a = pal.encode(np.zeros((2, 2 * fmt.block)), fmt)
    assert not a.codes.any()
    assert not a.biases.any()
    assert a.tensor_bias == 0
    assert (a.decode() == 0).all()
    if fmt.has_nan:
        nan = pal.encode(np.full(fmt.block, np.nan), fmt)
        assert np.isnan(nan.decode()).all()
        assert not nan.biases.any()
    else:
        with pytest.raises(ValueError, match=rf"{fmt.name} has no NaN \(n < 6\); x holds 1"):
            pal.encode(np.append(np.nan, np.ones(fmt.block - 1)), fmt)
    with pytest.raises(ValueError, match="no infinities; x holds 2"):
        pal.encode(np.append([np.inf, -np.inf], np.ones(fmt.block - 2)), fmt)


# Arrays.


@pytest.fixture(params=[*ADAPTIVE.values(), FOUR_BOOKS], ids=lambda f: f.name)
def array(request):
    x = np.random.default_rng(8).standard_normal((4, 64, 3))
    return pal.encode(x, request.param, axis=1)


def _same(a, b):
    assert np.array_equal(a.codes, b.codes)
    assert np.array_equal(a.biases, b.biases)
    assert (a.tensor_bias, a.fmt, a.axis) == (b.tensor_bias, b.fmt, b.axis)


def test_negation_is_exact_and_undoes_itself_or_is_encoded_anew(array):
    negated, books = -array, array.fmt.codebooks
    if books.symmetric or books.mirrored:
        assert np.array_equal(negated.decode(), -array.decode())
        _same(-negated, array)
    else:
        near = replace(array, tensor_bias=array.tensor_bias % 8)  # octaves are put aside
        _same(-near, pal.encode(-near.decode(), array.fmt, axis=1))
        assert np.array_equal(negated.decode(), (-near).decode() * 2.0 ** (array.tensor_bias // 8))
    zeros = pal.encode(np.zeros((2, 32)), array.fmt)
    assert ((-zeros).decode() == 0).all()


def test_negation_of_all_codes_and_bytes_is_exact():
    for fmt in ADAPTIVE.values():
        codes = np.tile(np.arange(1 << fmt.n, dtype=np.uint8), (256, 1))
        byte = np.arange(256).astype(np.uint8).view(np.int8)[:, None]
        a = pal.PalArray(codes, np.repeat(byte, codes.shape[1] // fmt.block, 1), 3, fmt, 1)
        assert np.array_equal((-a).decode(), -a.decode(), equal_nan=True)


def test_magnitudes_are_exact_or_encoded_anew(array):
    array = replace(array, tensor_bias=array.tensor_bias % 8)
    found, books = abs(array), array.fmt.codebooks
    assert (found.decode() >= 0).all()
    if books.symmetric:
        assert np.array_equal(found.decode(), np.abs(array.decode()))
    else:
        kept = array.tensor_bias if books.mirrored else None
        want = pal.encode(np.abs(array.decode()), array.fmt, axis=1, tensor_bias=kept)
        _same(found, want)


@pytest.mark.parametrize("octaves", [-4000, 0, 4000])
def test_turned_signs_of_codebooks_without_their_levels_saturate_nothing(octaves):
    """The top is a level of negative numbers alone; far from 1 float64 does not reach it."""
    fmt = FOUR_BOOKS
    assert min(row[-1] for row in fmt.codebooks.negative) == 0
    assert min(row[-1] for row in fmt.codebooks.positive) == 2  # 2/16 octave
    x = 2.0 ** (np.arange(0, -40, -5) / 16)
    a = pal.encode(-x, fmt)
    assert a.decode() == pytest.approx(-x, rel=1e-12)
    assert a.tensor_bias == 0
    a = replace(a, tensor_bias=a.tensor_bias + 8 * octaves)
    for found in (-a, abs(a)):
        near = replace(found, tensor_bias=found.tensor_bias - 8 * octaves)
        assert near.tensor_bias > 0
        assert near.decode() == pytest.approx(x, rel=0.05)
    for turn in (operator.neg, abs):
        with pytest.raises(ValueError, match=r"must fit int16, not 3276[89]"):
            turn(replace(a, tensor_bias=32767))


def test_magnitudes_of_mirrored_codebooks_far_from_1_are_those_near_it():
    a = pal.encode(np.random.default_rng(16).standard_normal((3, 64)), PAL4A)
    far = abs(replace(a, tensor_bias=a.tensor_bias + 30000))
    _same(replace(far, tensor_bias=far.tensor_bias - 30000), abs(a))


def test_parts_shapes_and_transposed_arrays_have_the_same_values(array):
    values = array.decode()
    assert np.array_equal(array[1:3].decode(), values[1:3])
    assert np.array_equal(array[:, 32:, 1].decode(), values[:, 32:, 1])
    assert np.array_equal(array.T.decode(), values.T)
    assert np.array_equal(array.transpose(2, 0, 1).decode(), values.transpose(2, 0, 1))
    assert np.array_equal(array.reshape(2, 2, 64, 3).decode(), values.reshape(2, 2, 64, 3))
    assert array.sum() == pytest.approx(values.sum())
    assert np.array_equal(np.asarray(array), values)
    assert array.fmt.name in repr(array)


def test_short_last_blocks_are_filled_with_zeros():
    for fmt in ADAPTIVE.values():
        x = np.random.default_rng(9).standard_normal((3, 40))
        a = pal.encode(x, fmt, pad=True)
        full = pal.encode(np.pad(x, ((0, 0), (0, -40 % fmt.block))), fmt)
        assert np.array_equal(a.codes, full.codes[:, :40])
        assert np.array_equal(a.biases, full.biases)
        assert np.array_equal(a.decode(), full.decode()[:, :40])


def test_files_and_pickles_keep_every_bit(array, tmp_path):
    array.save(tmp_path / "a.npz")
    _same(pal.load(tmp_path / "a.npz"), array)
    with io.BytesIO() as file:
        pal.save(file, array)
        file.seek(0)
        _same(pal.PalArray.load(file), array)
    array.decode()  # tables are not pickled
    again = pickle.loads(pickle.dumps(array))
    _same(again, array)
    assert np.array_equal(again.decode(), array.decode())


def test_files_hold_codebooks_of_the_user_and_every_byte(tmp_path):
    fmt = FOUR_BOOKS
    byte = np.arange(256).astype(np.uint8).view(np.int8)
    a = pal.PalArray(np.arange(2048).astype(np.uint8) % 32, byte, -5, fmt, 0)
    a.save(tmp_path / "a.npz")
    _same(pal.load(tmp_path / "a.npz"), a)
    assert pal.load(tmp_path / "a.npz").fmt.codebooks == fmt.codebooks


def test_a_file_with_damaged_codebooks_is_refused(tmp_path):
    pal.encode(np.ones(16), PAL4A).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as parts:
        parts = dict(parts)
    description = json.loads(str(parts["description"]))
    description["format"]["codebooks"]["positive"][0].reverse()
    parts["description"] = np.array(json.dumps(description))
    np.savez(tmp_path / "b.npz", **parts)
    with pytest.raises(
        ValueError, match=r"b\.npz is not a PalArray's file: codebook 0 is not mono"
    ):
        pal.load(tmp_path / "b.npz")


# Through PAL16.


def _through_pal16(codes16, tensor_bias, fmt, axis):
    """Values of PAL16 codes under a tensor bias, encoded anew with a top near 1."""
    octaves = tensor_bias // 8
    found = pal.encode(model.decode16(codes16, tensor_bias - 8 * octaves), fmt, axis=axis)
    return found.decode() * 2.0**octaves


def test_products_and_sums_are_those_of_pal16_encoded_anew(array):
    fmt, other = array.fmt, -(array[::-1])
    # The exact logarithm of each value below the tensor's top, in PAL16's units.
    for a in (array, other):
        values = a.decode()
        with np.errstate(divide="ignore"):
            m = PAL16.m_max + 1024 * (np.log2(np.abs(values)) - a.tensor_bias / 8)
        codes = np.where(values == 0, 0, np.rint(np.maximum(m, 0))).astype(int)
        codes = np.where((values < 0) & (codes > 0), codes | PAL16.sign_bit, codes)
        assert np.array_equal(a.codes16(a.tensor_bias), codes)
    t, u = array.tensor_bias, other.tensor_bias
    product = model.mul(array.codes16(t), other.codes16(u), PAL16)
    assert np.array_equal((array * other).decode(), _through_pal16(product, t + u, fmt, 1))
    top = max(t, u) + 8
    total = model.add16(array.codes16(top), other.codes16(top))
    assert np.array_equal((array + other).decode(), _through_pal16(total, top, fmt, 1))
    assert ((array - array).decode() == 0).all()


@library
def test_elementwise_functions_are_close_to_float(fmt):
    rng = np.random.default_rng(10)
    x = pal.encode(rng.uniform(0.5, 2, (4, 64)), fmt)
    y = pal.encode(rng.uniform(-2, -0.5, (4, 64)), fmt)
    a, b = x.decode(), y.decode()
    for got, want in (
        (x * y, a * b),
        (x / y, a / b),
        (x - y, a - b),
        (pal.maximum(x, y), a),
        (pal.minimum(x, y), b),
        (pal.sqrt(x), np.sqrt(a)),
        (pal.rsqrt(x), 1 / np.sqrt(a)),
        (pal.exp2(y), np.exp2(b)),
    ):
        again = pal.encode(want, fmt).decode()
        error = np.sqrt(((again - want) ** 2).mean())
        assert (
            np.sqrt(((got.decode() - want) ** 2).mean()) <= 1.2 * error + 2e-3 * np.abs(want).max()
        )


# What takes codes alone.

CODES = np.ones(32, np.uint8)


@library
@pytest.mark.parametrize(
    "call",
    [
        lambda f: model.value_of(CODES, f),
        lambda f: model.value_under(CODES, 0, f),
        lambda f: model.nearest_code(0.5, f),
        lambda f: model.encode_blocks(np.ones(32), f),
        lambda f: model.decode_blocks(CODES, np.zeros(32 // f.block, np.int8), 0, f),
        lambda f: model.mul(CODES, CODES, f),
        lambda f: model.div(CODES, CODES, f),
        lambda f: model.add(CODES, CODES, f),
        lambda f: model.fma(CODES, CODES, CODES, f),
        lambda f: model.sqrt(CODES, 0, f),
        lambda f: model.rsqrt(CODES, 0, f, 2),
        lambda f: model.exp2(CODES, 0, 0, f),
        lambda f: model.log2(CODES, 0, 8, f),
        lambda f: model.unblock(CODES, 0, f),
        lambda f: model.reblock(np.ones(f.block, np.uint16), f),
        lambda f: model.from_float(np.ones(3, np.float32), 0, f),
        lambda f: model.to_float(CODES, 0, f, "float32"),
        lambda f: model.from_int8(CODES, 0, f),
        lambda f: model.to_int8(CODES, 0, f),
        lambda f: model.product_tables(f, f, pal.dot_params(f)),
        lambda f: f.levels,
        lambda f: f.lambdas,
    ],
)
def test_functions_of_codes_alone_refuse_profile_a(fmt, call):
    with pytest.raises(TypeError, match=f"{fmt.name} has no levels without a block's codebook"):
        call(fmt)


def test_codes_of_profile_a_do_not_widen_and_others_have_no_codebooks():
    for pair in ((PAL4A, PAL8A), (PAL4A, PAL8T), (PAL8T, PAL8A), (PAL6A, PAL6A)):
        with pytest.raises(ValueError, match=f"codes of {pair[0].name} are not codes of"):
            widening(*pair)
        with pytest.raises(ValueError, match="are not codes of"):
            model.widen(CODES, *pair)
    with pytest.raises(TypeError, match="PAL8T has no codebooks"):
        _ = PAL8T.book_levels
    with pytest.raises(ValueError, match="PAL8T has no picks"):
        model.adaptive.reblock(np.zeros(32, np.uint16), PAL8T)


# Reblocking.


@by_name
def test_reblocked_blocks_are_close_to_what_they_were(fmt):
    """The hardware's choice against the best one: within 3 dB on what the picks are fitted to."""
    if fmt not in ADAPTIVE.values():
        return
    for name in ("gaussian", "laplace", "uniform"):
        x = data(name, (400, fmt.block), 12)
        t = int(np.ceil(8 * np.log2(np.abs(x).max())))
        exact = pal.encode(x, PAL16, tensor_bias=t)
        codes, byte = model.adaptive.reblock(exact.codes16(t), fmt)
        found = pal.PalArray(codes, byte[:, None], t, fmt, 1).decode()
        best = pal.encode(x, fmt).decode()
        noise, least = (((v - x) ** 2).sum() for v in (found, best))
        assert noise <= least * 10**0.3


# Refusals.

BOOKS = PAL4A.codebooks
P, N = BOOKS.positive, BOOKS.negative


@pytest.mark.parametrize(
    ("changes", "error", "rule"),
    [
        (
            {"positive": (P[0][::-1], *P[1:])},
            ValueError,
            "codebook 0 is not monotone: each distance of positive",
        ),
        (
            {"negative": (*N[:3], (50, 40, 40, 21, 9, 6, 0))},
            ValueError,
            "codebook 3 is not monotone: each distance of negative",
        ),
        (
            {"positive": ((26.5, *P[0][1:]), *P[1:])},
            TypeError,
            r"positive\[0\]\[0\] must be an int, not 26.5",
        ),
        (
            {"positive": ((True, *P[0][1:]), *P[1:])},
            TypeError,
            r"positive\[0\]\[0\] must be an int",
        ),
        ({"positive": P[0]}, TypeError, r"positive\[0\] must be a row of integers, not int"),
        ({"positive": "rows"}, TypeError, "positive must be rows of integers, not str"),
        ({"negative": 3}, TypeError, "negative must be rows of integers, not int"),
        (
            {"negative": ("12", *N[1:])},
            TypeError,
            r"negative\[0\] must be a row of integers, not str",
        ),
        (
            {"positive": ((4096, *P[0][1:]), *P[1:])},
            ValueError,
            "distances of 0 to 4095, positive has 4096",
        ),
        (
            {"positive": ((*P[0][:-1], -1), *P[1:])},
            ValueError,
            "distances of 0 to 4095, positive has -1",
        ),
        ({"positive": P[:3]}, ValueError, "1, 2, 4, ... rows .* not 3 and 4"),
        ({"positive": P[:3], "negative": N[:3]}, ValueError, "not 3 and 3"),
        ({"positive": (), "negative": ()}, ValueError, "not 0 and 0"),
        ({"positive": (P[0][1:], *P[1:])}, ValueError, "equally long, positive are not"),
        ({"positive": tuple(row[2:] for row in P)}, ValueError, "or one more, not 6 and 7"),
        ({"negative": tuple(row[2:] for row in N)}, ValueError, "or one more, not 8 and 5"),
        ({"positive": ((1,),) * 4, "negative": ((),) * 4}, ValueError, "or one more, not 1 and 0"),
        ({"mirrored": 1}, TypeError, "mirrored must be a bool, not int"),
        (
            {"positive": N, "negative": N},
            ValueError,
            "mirrored codebooks must not be symmetric: they have the same levels",
        ),
        (
            {"mirrored": False},
            ValueError,
            "4 selectors leave 64 bias codes of a byte, bias_zones have 32",
        ),
        (
            {"bias_zones": ((16, 1), (15, 2))},
            ValueError,
            "8 selectors leave 32 bias codes of a byte, bias_zones have 31",
        ),
        ({"bias_zones": ((32, 0),)}, ValueError, "pairs of at least 1"),
        ({"bias_zones": ((32, 1, 1),)}, ValueError, "pairs of at least 1"),
        ({"bias_zones": ((32, 1.5),)}, TypeError, r"bias_zones\[0\]\[1\] must be an int, not 1.5"),
        ({"picks": BOOKS.picks[1:]}, ValueError, "picks are 32 or none, not 31"),
        (
            {"picks": ((4, 0),) * 32},
            ValueError,
            r"a codebook of 0 to 3 and a step of -8 to 8, not \(4, 0\)",
        ),
        ({"picks": ((0, 9),) * 32}, ValueError, r"a step of -8 to 8, not \(0, 9\)"),
        ({"picks": ((0,),) * 32}, ValueError, r"a step of -8 to 8, not \(0,\)"),
    ],
)
def test_codebooks_refuse_what_is_none(changes, error, rule):
    with pytest.raises(error, match=rule):
        replace(BOOKS, **changes)


EIGHT = PAL8A.codebooks


def _topless(positive, negative):
    """PAL4A with other levels at the top of each codebook."""
    sides = (
        tuple((*(d + 9 for d in row[:-1]), top) for row, top in zip(rows, tops, strict=True))
        for rows, tops in ((P, positive), (N, negative))
    )
    books = replace(BOOKS, **dict(zip(("positive", "negative"), sides, strict=True)))
    return replace(PAL4A, codebooks=books)


def _lowered(units):
    """PAL8A with all levels so many units lower, of 64 in an octave."""
    positive = tuple(tuple(d + units for d in row) for row in EIGHT.positive)
    books = replace(EIGHT, positive=positive, negative=positive)
    return replace(PAL8A, codebooks=books)


def test_levels_that_begin_three_sixteenths_of_an_octave_down_still_reach_every_number():
    with pytest.raises(ValueError, match=r"3/16 octave of the top, 12 units, .* are 13 below"):
        _lowered(13)
    x = np.exp2(np.arange(512) / 512)[:, None] * np.resize([1, -1], 32)
    for fmt in (PAL8A, _lowered(12)):
        back = np.concatenate([pal.encode(row, fmt).decode()[None] for row in x])
        assert np.abs(back / x - 1).max() < 0.006


@pytest.mark.parametrize(
    ("make", "error", "rule"),
    [
        (lambda: Format("x", 4, "A", 3), ValueError, "profile A needs codebooks"),
        (lambda: replace(PAL8T, codebooks=EIGHT), ValueError, "only profile A has codebooks"),
        (lambda: replace(PAL4A, codebooks=7), TypeError, "codebooks must be Codebooks, not int"),
        (
            lambda: replace(PAL4A, codebooks=EIGHT),
            ValueError,
            "codebooks of n = 4 have 7 negative levels, not 127",
        ),
        (lambda: replace(PAL8A, n=6), ValueError, "n = 6 have 31 negative levels, not 127"),
        (lambda: replace(PAL8A, n=9), ValueError, "profile A has n of 4 to 8 bits, not 9"),
        (lambda: replace(PAL4A, n=3), ValueError, "profile A has n of 4 to 8 bits, not 3"),
        (lambda: replace(PAL4A, fraction_bits=2), ValueError, "profile A must be 3 to 10, not 2"),
        (lambda: replace(PAL4A, fraction_bits=11), ValueError, "profile A must be 3 to 10, not 11"),
        (
            lambda: PAL4A.with_block(1),
            ValueError,
            "blocks of 2 or more elements and a bias_step of 1",
        ),
        (
            lambda: PAL4A.with_bias_step(2),
            ValueError,
            "blocks of 2 or more elements and a bias_step of 1",
        ),
        (
            lambda: replace(
                PAL6A,
                codebooks=replace(
                    PAL6A.codebooks,
                    positive=tuple((row[0] + 1, *row) for row in PAL6A.codebooks.positive),
                ),
            ),
            ValueError,
            "a further positive level needs n < 6, where its code is no NaN: PAL6A",
        ),
        (
            lambda: _topless((2, 2, 2, 2), (2, 2, 2, 2)),
            ValueError,
            "PAL4A must have levels of both signs within 3/16 octave of the top, 1 units, "
            "or encoding saturates; the nearest are 2 below",
        ),
        (lambda: _topless((0, 2, 0, 2), (2, 0, 2, 0)), ValueError, "the nearest are 2 below"),
        (
            lambda: pal.encode(np.ones(16), "PAL5A"),
            ValueError,
            "no format 'PAL5A'; there are .*PAL8A",
        ),
        (
            lambda: pal.encode(np.ones(15), PAL4A),
            ValueError,
            "must be a multiple of the block of 16",
        ),
        (lambda: pal.encode(np.ones(16), PAL4A, tensor_bias=1 << 15), ValueError, "must fit int16"),
        (
            lambda: pal.encode(np.ones(16), PAL4A, tensor_bias=1.0),
            TypeError,
            "must be an int, not 1.0",
        ),
        (lambda: encode_blocks(np.ones(15), PAL4A), ValueError, "multiple of the block of 16"),
        (lambda: encode_blocks(np.ones(16), PAL4A, 1 << 15), ValueError, "must fit int16"),
    ],
)
def test_formats_and_encoding_refuse_what_does_not_fit(make, error, rule):
    with pytest.raises(error, match=rule):
        make()


def test_codebooks_take_lists_and_integers_of_numpy():
    again = Codebooks(
        [np.array(row) for row in P],
        [list(row) for row in N],
        True,
        [[16, 1], [16, 2]],
        BOOKS.picks,
    )
    assert again == BOOKS
    assert hash(again) == hash(BOOKS)


# The fit.


@pytest.mark.regress
def test_the_committed_codebooks_are_what_the_fit_gives():
    books, picks = fit.fitted("PAL6A")
    committed = PAL6A.codebooks
    assert tuple(books) == tuple(zip(committed.positive, committed.negative, strict=True))
    assert tuple(picks) == committed.picks


COMMITTED = list(zip(PAL4A.codebooks.positive, PAL4A.codebooks.negative, strict=True))


def test_no_level_of_pal4a_gains_by_a_move():
    """All 120 moves by one: the committed levels are where the fit ends."""
    shape = fit.SHAPES["PAL4A"]
    _, found = fit.descended(fit.sample(shape), COMMITTED, shape)
    assert found == COMMITTED


@pytest.mark.parametrize(("book", "place"), [(0, 0), (1, 11), (3, 7)])
def test_a_level_that_is_off_by_one_would_gain_by_its_move_back(book, place):
    shape = fit.SHAPES["PAL4A"]
    values = fit.sample(shape)
    broken = list(COMMITTED)
    broken[book] = fit.moved(shape, COMMITTED[book], place, 1)
    assert fit.moved(shape, broken[book], place, -1) == COMMITTED[book]
    right, wrong = (values.assign(fit.off_grid(b, shape)).quality for b in (COMMITTED, broken))
    assert right > wrong + fitting.GAIN_DB


def test_the_committed_codebooks_are_as_the_fit_writes_them():
    """The text of the module, of the codebooks in it."""
    found = {}
    for name, fmt in ADAPTIVE.items():
        b = fmt.codebooks
        shape = fit.SHAPES[name]
        assert (shape.n, shape.fraction_bits, shape.block) == (fmt.n, fmt.fraction_bits, fmt.block)
        assert (shape.extra, shape.mirrored, shape.zones) == (b.has_extra, b.mirrored, b.bias_zones)
        found[name] = (list(zip(b.positive, b.negative, strict=True)), list(b.picks))
    assert fit.text(found) == fit.CODEBOOKS.read_text()
