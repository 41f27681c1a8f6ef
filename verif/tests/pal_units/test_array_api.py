"""The numpy library: ``encode``, ``PalArray``, elementwise functions, matrix products."""

import numpy as np
import pytest

import pal_units as pal
from pal_units import model

SMALL = [f for f in pal.FORMATS.values() if f.n <= 8]
by_name = pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
every = pytest.mark.parametrize("fmt", list(pal.FORMATS.values()), ids=lambda f: f.name)


def _spread(rng, shape):
    """Values over many octaves, zeros, whole blocks of zeros, exact powers of two."""
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-40, 40, (*shape[:-1], 1))
    x = np.where(rng.random(shape) < 0.1, 0, x)
    x = np.where(rng.random(shape) < 0.1, np.exp2(rng.integers(-20, 20, shape)), x)
    x[1] = 0
    return x


@every
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_encode_equals_the_model_bit_for_bit(fmt, dtype):
    x = _spread(np.random.default_rng(1), (60, 128)).astype(dtype)
    if fmt.has_nan:
        x[2, 5] = x[3, :64] = np.nan
    for tensor_bias in (None, 20):
        got = pal.encode(x, fmt, tensor_bias=tensor_bias)
        codes, beta, t = model.encode_blocks(x, fmt, tensor_bias)
        assert np.array_equal(got.codes, codes)
        assert np.array_equal(got.biases, beta)
        assert got.tensor_bias == t


@every
def test_extreme_magnitudes_encode(fmt):
    x = np.full(32, 1e-310)
    x[0], x[1] = 5e-324, 0.0
    got = pal.encode(x, fmt).decode()
    assert np.isfinite(got).all()
    assert got[1] == 0
    assert got[2:] == pytest.approx(x[2:], rel=0.5)
    assert np.isfinite(pal.encode(np.full(32, 1.7e308), fmt).codes).all()


@by_name
def test_blocks_lie_along_any_axis(fmt):
    x = np.random.default_rng(2).standard_normal((3, 64, 5))
    along = pal.encode(x, fmt, axis=1)
    last = pal.encode(np.moveaxis(x, 1, -1), fmt)
    assert along.biases.shape == (3, 64 // fmt.block, 5)
    assert np.array_equal(along.decode(), np.moveaxis(last.decode(), -1, 1))
    assert np.array_equal(along.T.decode(), along.decode().T)


def test_empty_arrays_encode():
    for shape in ((0, 32), (2, 0)):
        assert pal.encode(np.zeros(shape), pal.PAL8T).decode().shape == shape


def test_long_rows_are_the_same_as_short_ones():
    x = np.random.default_rng(3).standard_normal(3 * 4096)
    long = pal.encode(x, pal.PAL8T)
    short = pal.encode(x.reshape(-1, 32), pal.PAL8T)
    assert np.array_equal(long.codes, short.codes.ravel())
    assert long.shape == (3 * 4096,)


@by_name
def test_matmul_equals_the_model_and_numpy(fmt):
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((7, 96)), rng.standard_normal((96, 5))
    a[0, :32] = 0
    x, y = pal.encode(a, fmt), pal.encode(b, fmt, axis=0)
    params = pal.dot_params(fmt)
    total, nan = pal.accumulate(x, y)
    want, want_nan = model.dot(
        x.codes[:, None], x.biases[:, None], y.codes.T[None], y.biases.T[None], fmt, params
    )
    assert np.array_equal(total, want)
    assert np.array_equal(nan, want_nan)
    exact = x.decode() @ y.decode()
    # Rounding of products: section "Dot product" of docs/numerics.md.
    size = np.abs(x.decode()) @ np.abs(y.decode())
    top = 2.0 ** ((x.tensor_bias + y.tensor_bias) / 8)
    bound = 2.0 ** -(params.antilog_bits + 1) * size + 97 * 2.0 ** -(params.product_bits - 1) * top
    assert (np.abs((x @ y) - exact) <= bound).all()
    assert np.array_equal(x.dot(y), x @ y)
    assert pal.dot(pal.encode(a[1], fmt), pal.encode(b[:, 2], fmt)) == pytest.approx(
        exact[1, 2], abs=bound[1, 2] * 2
    )


def test_formats_mix_in_a_product():
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((8, 256)), rng.standard_normal((256, 8))
    x, w = pal.encode(a, pal.PAL8T), pal.encode(b, pal.PAL4T, axis=0)
    exact = x.decode() @ w.decode()
    assert (x @ w) == pytest.approx(exact, abs=0.05 * np.abs(exact).max())


def test_nan_reaches_its_results_only_and_not_through_zero_blocks():
    a, b = np.ones((2, 64)), np.ones((64, 2))
    a[0, 3] = np.nan
    b[:32, 1] = 0
    result = pal.encode(a, pal.PAL8T) @ pal.encode(b, pal.PAL8T, axis=0)
    assert np.isnan(result).tolist() == [[True, False], [False, False]]
    assert result[1] == pytest.approx([64, 32], rel=2**-7)


def test_accumulator_overflow_is_an_error_and_more_bits_help():
    ones = pal.encode(np.ones((1, 32 * 200)), pal.PAL8T)
    with pytest.raises(OverflowError, match="more than 32 accumulator bits"):
        pal.matmul(ones, ones.T)
    params = pal.DotParams(5, 6, accumulator_bits=40)
    assert pal.matmul(ones, ones.T, params) == pytest.approx(6400, rel=2**-7)


@every
def test_elementwise_functions_are_close_to_float(fmt):
    """Within the format's rounding, and PAL16's of the operation itself."""
    rng = np.random.default_rng(6)
    block = max(fmt.block, 1)
    a, b = (
        pal.encode(rng.uniform(0.3, 2, (4, 2 * block)) * rng.choice([-1, 1], (4, 2 * block)), fmt)
        for _ in range(2)
    )
    x, y = a.decode(), b.decode()
    positive = abs(a)

    def close(got, want):
        again = pal.encode(want, fmt).decode()
        step = pal.finfo(fmt).max_relative_error * np.abs(want) * 2
        least = np.abs(want).max() * pal.finfo(fmt).smallest
        assert (np.abs(got.decode() - again) <= step + least + 2e-3 * np.abs(want)).all()

    close(a * b, x * y)
    close(a / b, x / y)
    close(a + b, x + y)
    close(a - b, x - y)
    close(-a, -x)
    close(pal.minimum(a, b), np.minimum(x, y))
    close(pal.maximum(a, b), np.maximum(x, y))
    close(pal.sqrt(positive), np.sqrt(np.abs(x)))
    close(pal.rsqrt(positive), 1 / np.sqrt(np.abs(x)))
    close(pal.exp2(a), np.exp2(x))
    close(pal.log2(positive), np.log2(np.abs(x)))


def test_pal16_arithmetic_is_that_of_the_model():
    rng = np.random.default_rng(7)
    a, b = (pal.encode(rng.standard_normal(1000), pal.PAL16) for _ in range(2))
    bias = max(a.tensor_bias, b.tensor_bias) + 8
    want = model.decode16(model.add16(a.codes16(bias), b.codes16(bias)), bias)
    assert np.array_equal((a + b).decode(), want)
    product = model.mul(a.codes, b.codes, pal.PAL16)
    assert np.array_equal((a * b).decode(), model.decode16(product, a.tensor_bias + b.tensor_bias))


def test_results_that_do_not_exist_are_nan_or_an_error():
    a = pal.encode(np.tile([1.0, 0.0, -1.0, 2.0], 8), pal.PAL8T)
    with np.errstate(all="ignore"):
        assert np.isnan((a / a).decode()[1])
        assert np.isnan(pal.sqrt(a).decode()[2])
        assert np.isnan(pal.rsqrt(a).decode()[1:3]).all()
        assert np.isnan(pal.log2(a).decode()[1:3]).all()
    assert pal.log2(a).decode()[3] == 1
    small = pal.encode(np.tile([1.0, 0.0, -1.0, 2.0], 8), pal.PAL4T)
    with pytest.raises(ValueError, match="holds NaN, which PAL4T has not"):
        pal.sqrt(small)
    with pytest.raises(OverflowError, match="below 64, not 64"):
        pal.exp2(pal.encode(np.full(32, 64.0), pal.PAL8T))


def test_facts_of_a_format():
    facts = pal.finfo(pal.PAL8U)
    assert (facts.bits, facts.bits_per_element, facts.levels) == (8, 8.25, 127)
    assert facts.range_octaves == 126 / 16
    assert facts.max_relative_error == pytest.approx(np.tanh(np.log(2) / 32))
    assert pal.finfo(pal.PAL16).bits_per_element == 16
    x = pal.encode(np.ones((4, 64)), pal.PAL6T)
    assert (x.nbytes, x.size, x.ndim, len(x)) == (192 + 8 + 2, 256, 2, 4)
    assert np.asarray(x).tolist() == np.ones((4, 64)).tolist()
    assert "PAL6T" in repr(x)


X = np.ones((2, 64))


@pytest.mark.parametrize(
    ("call", "error", "rule"),
    [
        (lambda: pal.encode(X * 1j, pal.PAL8T), TypeError, "real numbers, not complex128"),
        (lambda: pal.encode(np.array(["a"] * 32), pal.PAL8T), TypeError, "real numbers, not <U1"),
        (lambda: pal.encode(X, 8), TypeError, "fmt must be a Format or its name, not 8"),
        (
            lambda: pal.encode(X, "PAL9"),
            ValueError,
            "no format 'PAL9'; there are PAL4U, PAL4T, PAL6U",
        ),
        (
            lambda: pal.encode(X, pal.PAL8T, axis=0),
            ValueError,
            "axis 0 of length 2 must be a multiple of the block of 32",
        ),
        (lambda: pal.encode(X, pal.PAL8T, axis=2), ValueError, "within the 2 axes of x, not 2"),
        (lambda: pal.encode(np.float64(1), pal.PAL16), ValueError, "within the 0 axes"),
        (lambda: pal.encode(X, pal.PAL8T, block=0), ValueError, "block must be at least 1 element"),
        (lambda: pal.encode(X, pal.PAL8T, block=48), ValueError, "multiple of the block of 48"),
        (lambda: pal.encode(X * np.inf, pal.PAL8T), ValueError, "no infinities; x holds 128"),
        (lambda: pal.encode(X * np.nan, pal.PAL4T), ValueError, r"no NaN \(n < 6\); x holds 128"),
        (lambda: pal.encode(X, pal.PAL8T, tensor_bias=40000), ValueError, "fit int16, not 40000"),
        (
            lambda: pal.matmul(X, pal.encode(X.T, pal.PAL8T, axis=0)),
            TypeError,
            "a must be a PalArray, not ndarray",
        ),
        (
            lambda: pal.encode(X, pal.PAL8T) @ pal.encode(X, pal.PAL8T),
            ValueError,
            r"inner dimensions differ: \(2, 64\) @ \(2, 64\)",
        ),
        (
            lambda: pal.encode(X, pal.PAL8T) @ pal.encode(np.ones((64, 32)), pal.PAL8T),
            ValueError,
            "summed axis: axis 1 of a, 0 of b, not 1 and 1",
        ),
        (
            lambda: pal.encode(X, pal.PAL8T) @ pal.encode(X, pal.PAL8T, block=16).T,
            ValueError,
            "blocks differ: 32 and 16",
        ),
        (
            lambda: pal.encode(X, pal.PAL16) @ pal.encode(X, pal.PAL16).T,
            ValueError,
            "up to 8 bits, a is PAL16",
        ),
        (lambda: pal.encode(X, pal.PAL8T) + pal.encode(X, pal.PAL8U), ValueError, "agree in shape"),
        (lambda: pal.add(pal.encode(X, pal.PAL8T), 1.0), TypeError, "PalArray and float"),
        (lambda: pal.Format("x", 8.0, "U", 4), TypeError, "n must be an int, not 8.0"),
        (
            lambda: pal.Format("x", 8, "U", 8),
            ValueError,
            "fraction_bits must be 0 to n - 1 = 7, not 8",
        ),
        (lambda: pal.Format("x", 8, "U", -1), ValueError, "fraction_bits must be 0"),
    ],
)
def test_bad_input_is_refused_with_the_rule_and_the_value(call, error, rule):
    with pytest.raises(error, match=rule):
        call()
