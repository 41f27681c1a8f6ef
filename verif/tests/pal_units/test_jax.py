"""``pal_units.jax``: the bits of the numpy library, under ``jit`` and ``vmap`` too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pal_units as pal
import pal_units.jax as pj
from pal_units.jax import float64, log16
from pal_units.jax.encoding import round_up_from

FORMATS = [*pal.FORMATS.values()]
NARROW = [f for f in FORMATS if f.n <= 8]


def _blocks(rng, fmt, kind):
    """Numbers (24, 64) that look for edges of encoding."""
    x = rng.standard_normal((24, 64)) * np.exp2(rng.integers(-20, 20, (24, 1)))
    if kind == "outliers":
        x *= np.exp2(rng.integers(-8, 8, x.shape))
    if kind == "levels":  # levels, their midpoints, and what is next to them
        level = rng.choice(fmt.levels, x.shape)
        near = (level + rng.choice(fmt.levels, x.shape)) / 2
        x = np.where(rng.random(x.shape) < 0.5, level, near) * np.exp2(rng.integers(-64, 9) / 8)
        x = np.nextafter(x.astype(np.float32), np.float32(rng.choice([-9, 0, 9])))
    if kind == "subnormal":
        x *= 1e-38
    if kind == "holes":
        x[rng.random(x.shape) < 0.8] = 0
        x[3], x[:, :32], x[7, 9] = 0, -0.0, 3e38
        if fmt.has_nan:
            x[5, 33], x[6, 32:] = np.nan, np.nan
    return x.astype(np.float32)


def _same(found, wanted):
    np.testing.assert_array_equal(np.asarray(found), wanted)


@pytest.mark.parametrize("bias", [-32768, -9000, -1100, 1100, 9000, 32767])
def test_biases_beyond_all_numbers_give_the_bits_of_numpy(bias):
    x = np.float32([[1, -2, 3e30, 4e-30]])
    wanted = pal.encode(x, pal.PAL8T, block=4, tensor_bias=bias)
    found = pj.encode(x, pal.PAL8T, block=4, tensor_bias=bias)
    _same(found.codes, wanted.codes)
    _same(np.asarray(found.decode()), wanted.decode().astype(np.float32))


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_encode_and_decode_give_the_bits_of_numpy(fmt):
    rng = np.random.default_rng(1)
    for kind in ("normal", "outliers", "levels", "subnormal", "holes"):
        x = _blocks(rng, fmt, kind)
        wanted, found = pal.encode(x, fmt), pj.encode(x, fmt)
        _same(found.codes, wanted.codes)
        _same(found.biases, wanted.biases)
        assert int(found.tensor_bias) == wanted.tensor_bias, kind
        values = wanted.decode().astype(np.float32)
        decoded = np.asarray(found.decode())
        numbers = ~np.isnan(values)
        _same(decoded[numbers].view(np.uint32), values[numbers].view(np.uint32))
        assert np.isnan(decoded[~numbers]).all()
        back = found.numpy()
        assert (back.fmt, back.axis) == (fmt, 1)


def test_every_float32_next_to_a_midpoint_rounds_as_in_numpy():
    """All levels of PAL8T under all eighths: monotonic, so that the edges decide."""
    fmt = pal.PAL8T
    middles = (fmt.levels[1:] + fmt.levels[:-1]) / 2
    for bias in range(8):
        edge = (middles * 2 ** (bias / 8)).astype(np.float32)
        x = np.concatenate([np.nextafter(edge, np.float32(s)) for s in (0, 9)] + [edge, -edge])
        x = np.resize(x, 512)
        wanted = pal.encode(x, fmt, tensor_bias=bias)
        _same(pj.encode(x, fmt, tensor_bias=bias).codes, wanted.codes)


def test_thresholds_are_those_of_float64():
    """Each is the least number that numpy's rounding sends up."""
    for fmt in NARROW:
        at = round_up_from(fmt).view(np.float64)
        m = np.arange(1, len(fmt.levels))
        _same(pal.model.nearest_code(at, fmt), m)
        _same(pal.model.nearest_code(np.nextafter(at, 0), fmt), m - 1)


def test_float64_in_integers_rounds_as_the_processor():
    rng = np.random.default_rng(2)
    a, b = (np.abs(rng.standard_normal(4000)) * np.exp2(rng.integers(-60, 60, 4000)) for _ in "ab")
    a[:9], b[3:12] = 0, 0
    # Ties of products and sums.
    a[20:40], b[20:40] = 1 + np.exp2(-26.0 - np.arange(20)), 1 + np.exp2(-27.0)
    a[40:90], b[40:90] = 1 + np.arange(50) * 2.0**-52, np.exp2(-53.0)
    x, y = (float64.wide(float64.u64)(float64.bits_of(v)) for v in (a, b))
    for own, numpy in ((float64.mul, np.multiply), (float64.add, np.add)):
        found = jax.jit(float64.wide(own))(x, y)
        _same(np.asarray(found).view(np.float64), numpy(a, b))


@pytest.mark.parametrize("fmt", NARROW, ids=lambda f: f.name)
def test_products_give_the_accumulators_of_numpy(fmt):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((9, 80)), rng.standard_normal((80, 5))
    x[0], x[1, :32], y[32:64, 2] = 0, 0, 0
    x[:, 40:] *= 2.0**-9
    if fmt.has_nan:
        x[2, 3], y[70, 1] = np.nan, np.nan
        y[:32, 3], x[3, 5] = 0, np.nan  # beside a block of zeros it does not count
    a, b = pal.encode(x, fmt, pad=True), pal.encode(y, fmt, axis=0, pad=True)
    wanted, nan = pal.accumulate(a, b)
    found, none = pj.accumulate(pj.from_numpy(a), pj.from_numpy(b))
    _same(none, nan)
    _same(np.asarray(found)[~nan], wanted[~nan])
    _same(pj.from_numpy(a) @ pj.from_numpy(b), pal.matmul(a, b).astype(np.float32))


def test_products_of_two_formats_and_leaner_units():
    rng = np.random.default_rng(4)
    a = pal.encode(rng.standard_normal((4, 64)), pal.PAL8T)
    b = pal.encode(rng.standard_normal((64, 3)), pal.PAL4T, axis=0)
    lean = pal.DotParams(5, 6, product_bits=9, guard_bits=3, accumulator_bits=24, operand_octaves=4)
    for params in (None, lean):
        _same(
            pj.accumulate(pj.from_numpy(a), pj.from_numpy(b), params)[0],
            pal.accumulate(a, b, params)[0],
        )


def test_a_sum_that_does_not_fit_is_no_number():
    """numpy raises; a compiled function cannot, and says NaN."""
    ones = pal.encode(np.ones((1, 64)), pal.PAL8T)
    tight = pal.DotParams(5, 6, product_bits=13, guard_bits=6, accumulator_bits=24)
    with pytest.raises(OverflowError):
        pal.accumulate(ones, ones.T, tight)
    _, none = pj.accumulate(pj.from_numpy(ones), pj.from_numpy(ones).T, tight)
    assert none.all()
    assert np.isnan(pj.matmul(pj.from_numpy(ones), pj.from_numpy(ones).T, tight)).all()


def test_within_jit_and_vmap_the_bits_are_the_same():
    x = np.random.default_rng(5).standard_normal((3, 4, 64)).astype(np.float32)

    def own(v):
        a = pj.encode(v, "PAL6T")
        return a.codes, a.biases, a.tensor_bias, a @ a.T

    several = jax.jit(jax.vmap(own))(x)
    for k, row in enumerate(x):
        for found, wanted in zip(several, own(row), strict=True):
            _same(found[k], wanted)
    assert jnp.zeros(1).dtype == jnp.float32  # 64 bits stay inside


def test_integers_and_narrow_floats_are_taken_exactly():
    x = np.arange(-64, 64).reshape(4, 32)
    for kind in (np.int8, np.int32, jnp.bfloat16, np.float16):
        wanted = pal.encode(x.astype(np.float64), pal.PAL8T)
        _same(pj.encode(x.astype(kind), pal.PAL8T).codes, wanted.codes)
    large = np.full((1, 32), 2**31 - 1, np.int32)
    assert int(pj.encode(large, "PAL8T").tensor_bias) == pal.encode(large, "PAL8T").tensor_bias


def test_what_has_no_code_is_refused_or_marked():
    x = np.ones((1, 32), np.float32)
    x[0, 3] = np.inf
    with pytest.raises(ValueError, match="PAL8T has no infinities; x holds 1"):
        pj.encode(x, "PAL8T")
    hidden = jax.jit(lambda v: pj.encode(v, "PAL8T"))(x)
    assert np.isnan(hidden.decode()).all()
    assert np.isnan(hidden @ hidden.T).all()
    with pytest.raises(ValueError, match="encoding met infinities"):
        hidden.numpy()
    x[0, 3] = np.nan
    with pytest.raises(ValueError, match=r"PAL4T has no NaN \(n < 6\); x holds 1"):
        pj.encode(x, "PAL4T")
    assert np.isnan(jax.jit(lambda v: pj.encode(v, "PAL4T").decode())(x)).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pj.encode(np.ones(32), "PAL8T"), TypeError, "up to 32 bits, not float64"),
        (lambda: pj.encode(jnp.ones(32, bool), "PAL8T"), TypeError, "not bool"),
        (lambda: pj.encode([1j], "PAL8T", block=1), TypeError, "not complex"),
        (lambda: pj.encode(jnp.ones(32), "PAL8A"), TypeError, "PAL8A is of profile A"),
        (lambda: pj.encode(jnp.ones(32), "PAL9"), ValueError, "no format 'PAL9'"),
        (lambda: pj.encode(jnp.ones(31), "PAL8T"), ValueError, "length 31 must be a multiple"),
        (lambda: pj.encode(jnp.ones(32), "PAL8T", axis=1), ValueError, "axis must be within"),
        (lambda: pj.encode(jnp.ones(32), "PAL8T", tensor_bias=1 << 15), ValueError, "fit int16"),
        (lambda: pj.from_numpy(jnp.ones(3)), TypeError, "takes a pal_units.PalArray"),
        (lambda: _ones() @ _ones(), ValueError, "inner dimensions differ"),
        (lambda: _ones() @ jnp.ones(3), TypeError, "b must be a pal_units.jax.PalArray"),
        (lambda: pj.matmul(_ones("PAL16"), _ones("PAL16").T), ValueError, "a is PAL16"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def _ones(fmt="PAL8T"):
    return pj.encode(jnp.ones((2, 32)), fmt)


def test_pal16_arithmetic_is_that_of_the_model_for_every_code():
    rng = np.random.default_rng(6)
    model, own, pal16 = pal.model, log16, pal.PAL16
    every = np.arange(1 << 16, dtype=np.uint16)
    other, third = rng.permutation(every), rng.permutation(every)
    offset = rng.integers(-3000, 3000, every.size)
    _same(own.add16(every, other), model.add16(every, other))
    _same(own.fma16(every, other, third, offset), model.fma16(every, other, third, offset))
    for m in (np.uint16(20000), np.uint16(100)):  # every distance below the top, and beyond
        _same(own.mul(every, m), model.mul(every, m, pal16))
    for name in ("less", "equal", "minimum", "maximum"):
        _same(getattr(own, name)(every, other), getattr(model, name)(every, other, pal16))
    _same(own.div(every, other, 3), model.div(every, other, pal16, 3))
    for odd in (0, 1):
        _same(own.sqrt(every, odd), model.sqrt(every, odd, pal16))
        _same(own.rsqrt(every, odd, 1), model.rsqrt(every, odd, pal16, 1))
    for bias, result in ((24, 30), (48, 64), (-50, 1), (47, -300), (100, 300)):
        _same(own.exp2(every, bias, result), model.exp2(every, bias, result, pal16))
        _same(own.log2(every, bias, result), model.log2(every, bias, result, pal16))
    for name in ("neg", "absolute"):
        _same(getattr(own, name)(every), getattr(model, name)(every, pal16))
    total = (rng.integers(-(2**31), 2**31, 9000) >> rng.integers(0, 31, 9000)).astype(np.int32)
    params = pal.DOT_PARAMS["PAL8T"]
    _same(
        own.encode_accumulator(total, total == 7, -5, params),
        model.encode_accumulator(total, total == 7, -5, params),
    )


@pytest.mark.parametrize("name", ["PAL8T", "PAL6U"])
def test_functions_of_arrays_give_the_arrays_of_numpy(name):
    rng = np.random.default_rng(7)
    x, y = (np.abs(rng.standard_normal((8, 40))) + 0.01 for _ in "xy")
    x[2, 3], x[0, :32] = 0, 0
    a, b = (pal.encode(v, name, pad=True) for v in (x, y))
    for function, operands in (
        ("add", (a, b)),
        ("divide", (b, a)),
        ("sqrt", (a,)),
        ("rsqrt", (b,)),
        ("log2", (b,)),
        ("exp2", (-a,)),
    ):
        wanted = getattr(pal, function)(*operands)
        found = getattr(pj, function)(*map(pj.from_numpy, operands))
        _same(found.codes, wanted.codes)
        _same(found.biases, wanted.biases)
        assert int(found.tensor_bias) == wanted.tensor_bias, function
    with pytest.raises(ValueError, match="operands must agree in shape"):
        pj.add(pj.from_numpy(a), pj.from_numpy(b[:2]))


def test_gradients_go_straight_through():
    x, w = (np.random.default_rng(8).standard_normal((32, 32)).astype(np.float32) for _ in "xw")
    slope = jax.jit(jax.grad(lambda v: (pj.fake_quantise(v) * w).sum()))(x)
    _same(slope, w)
    found = jax.grad(lambda a, b: (pj.pal_matmul(a, b) ** 2).sum(), (0, 1))(x, w)
    exact = jax.grad(lambda a, b: ((a @ b) ** 2).sum(), (0, 1))(x, w)
    for own, wanted in zip(found, exact, strict=True):
        assert np.linalg.norm(own - wanted) < 0.03 * np.linalg.norm(wanted)
    _same(pj.pal_matmul(x, w), pj.encode(x, "PAL8T") @ pj.encode(w, "PAL8T", axis=0))
