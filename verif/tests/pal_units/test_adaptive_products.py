"""Exact products with biases at the edge: profile A, and T and U under the same parameters."""

from dataclasses import replace

import numpy as np
import pytest

import pal_units as pal
from pal_units import tables
from pal_units.dot_params import DotParams, dot_params
from pal_units.formats import ADAPTIVE, PAL4A, PAL4T, PAL6A, PAL6U, PAL8A, PAL8T, PAL8U, ZERO_BLOCK
from pal_units.model import edge
from verif.numerics.distributions import data
from verif.stimulus.adaptive_cases import FOUR_BOOKS, ONE_BOOK, biases_of, edge_params, levels
from verif.stimulus.codes import SMALL, corner_codes

PAIRS = [
    *((f, f) for f in (*ADAPTIVE.values(), *SMALL)),
    (PAL8T, PAL8A),
    (PAL8A, PAL6U),
    (PAL6A, PAL8U),
    (PAL6A, PAL8A),
    (PAL4A, PAL4T.with_block(16)),
    (FOUR_BOOKS, PAL4A.with_block(8)),
]
pairs = pytest.mark.parametrize("pair", PAIRS, ids=lambda p: "-".join(f.name for f in p))


def _params(pair):
    return replace(dot_params(*pair), edge_biases=True)


def _array(rng, fmt, shape, params):
    """Random codes under random bytes or biases, blocks along axis 1, the last short; some NaN."""
    rows, inner = shape
    blocks = -(-inner // fmt.block)
    biases = biases_of(rng, fmt, (rows, blocks))
    if fmt.codebooks is None:
        biases = np.where(
            biases == ZERO_BLOCK, biases, np.minimum(biases // 8 * 8 + 8 - params.bias_step, 0)
        ).astype(np.int8)
        biases[rng.random(biases.shape) < 0.1] = ZERO_BLOCK
    codes = corner_codes(rng, fmt, shape).astype(np.uint8)
    codes[0, 3] = fmt.sign_bit
    return pal.PalArray(codes, biases, 5, fmt, 1)


def _dot(a, b, params):
    """Of the model, last blocks filled up with zeros."""
    inner = a.shape[1]
    x, w = (np.pad(v.codes, ((0, 0), (0, -inner % v.fmt.block))) for v in (a, b))
    return edge.dot(x[:, None], a.biases[:, None], w[None], b.biases[None], a.fmt, b.fmt, params)


@pairs
@pytest.mark.parametrize("inner", [96, 50])
def test_accumulators_equal_the_model_bit_for_bit(pair, inner):
    rng, params = np.random.default_rng(40), _params(pair)
    a, b = (_array(rng, f, (9, inner), params) for f in pair)
    total, nan = pal.accumulate(a, b.T, params)
    want, want_nan = _dot(a, b, params)
    assert np.array_equal(total, want)
    assert np.array_equal(nan, want_nan)
    assert total.any()
    if all(f.has_nan for f in pair) and inner == 96:
        assert nan.any()
        assert not nan.all()
    near = replace(params, operand_octaves=2)
    assert np.array_equal(pal.accumulate(a, b.T, near)[0], _dot(a, b, near)[0])


@pairs
def test_products_are_close_to_those_of_decoded_values(pair):
    """The bound of ``docs/numerics.md``, and what the edge adds.

    Of a block of ``N``: ``2^-(L+1) sum |p| + N 2^-(k-1) p_max``.  The tops of the operands are
    whole octaves down each, where otherwise their sum is: ``p_max`` is up to an octave higher than
    that of biases in lanes, and two above the product of the blocks' own tops.
    """
    rng, params = np.random.default_rng(41), _params(pair)
    a = pal.encode(rng.standard_normal((7, 96)) * np.exp2(rng.uniform(-6, 0, (7, 1))), pair[0])
    b = pal.encode(rng.standard_normal((96, 5)), pair[1], axis=0)
    x, y = a.decode(), b.decode()
    downs = []
    for v in (a, b.T):
        beta = (
            v.biases.astype(int) if v.fmt.codebooks is None else v.fmt.codebooks.split(v.biases)[1]
        )
        downs.append(
            np.where(v.biases == ZERO_BLOCK, 0, -beta) if v.fmt.codebooks is None else -beta
        )
    octaves = downs[0][:, None] // 8 + downs[1][None] // 8
    # An octave at most: of two fractions the one carries or is lost.
    together = (downs[0][:, None] + downs[1][None]) // 8
    assert ((together - octaves >= 0) & (together - octaves <= 1)).all()
    top = 2.0 ** ((a.tensor_bias + b.tensor_bias) / 8)
    block = pair[0].block
    unit = 2.0 ** -tables.octaves_below(params)
    bound = 2.0 ** -(params.antilog_bits + 1) * (np.abs(x) @ np.abs(y))
    bound = bound + (block * 2.0 ** -(params.product_bits - 1) * 2.0**-octaves + unit).sum(2) * top
    found = pal.matmul(a, b, params)
    assert (np.abs(found - x @ y) <= bound).all()
    assert np.abs(found - x @ y).max() > 0
    assert np.array_equal(a.dot(b) if dot_params(*pair) == params else found, found)


def test_every_product_of_two_codes_of_pal4a_obeys_its_share_of_the_bound():
    """All codes of all codebooks under all fractions of biases, and both their signs."""
    params = edge_params(PAL4A)
    byte = np.array([s << 5 | j for s in range(8) for j in range(8)])
    codes = np.tile(np.arange(16), (64, 1))
    found = edge.operand(codes, byte.astype(np.uint8).view(np.int8), PAL4A, params)
    assert (found.octaves == 0).all()
    assert not found.nan.any()
    assert not found.empty.any()
    value = np.zeros((8, 16))
    for selector, code, distance, negative in levels(PAL4A):
        value[selector, code] = (-1) ** negative * 2.0 ** (-distance / 8)
    value = (value[byte >> 5] * 2.0 ** (-(byte & 7)[:, None] / 8)).ravel()
    log, sign = found.log.ravel(), found.sign.ravel()
    assert np.array_equal(sign, np.sign(value))
    product = sign[:, None] * sign * edge.magnitudes(log[:, None] + log, params)
    exact = value[:, None] * value
    unit = 2.0 ** (tables.octaves_below(params) - params.guard_bits)
    share = 2.0 ** -(params.antilog_bits + 1) * unit * np.abs(exact) + (exact != 0)
    assert (np.abs(product - unit * exact) <= share * (1 + 1e-12)).all()
    assert (product[exact != 0] % 2 == 1).all()
    assert np.abs(product).max() < 1 << params.product_bits


@pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
def test_biases_in_whole_octaves_give_the_same_at_the_edge_and_in_lanes(fmt):
    rng, params = np.random.default_rng(42), dot_params(fmt)
    a, b = (_array(rng, fmt, (6, 64), params) for _ in range(2))
    whole = []
    for v in (a, b):
        biases = np.where(v.biases == ZERO_BLOCK, v.biases, v.biases // 8 * 8)
        biases = np.where(v.biases < -120, ZERO_BLOCK, biases).astype(np.int8)
        whole.append(pal.PalArray(v.codes, biases, 0, fmt, 1))
    lanes = pal.accumulate(whole[0], whole[1].T, params)
    at_edge = pal.accumulate(whole[0], whole[1].T, replace(params, edge_biases=True))
    assert np.array_equal(lanes[0], at_edge[0])
    assert np.array_equal(lanes[1], at_edge[1])


@pytest.mark.parametrize("shape", [(0, 64, 3), (3, 64, 0), (3, 0, 5), (0, 0, 0)])
def test_products_of_nothing_are_those_of_other_formats(shape):
    rows, inner, columns = shape
    for fmt in (*ADAPTIVE.values(), FOUR_BOOKS, PAL8T):
        a = pal.encode(np.ones((rows, inner)), fmt)
        b = pal.encode(np.ones((inner, columns)), fmt, axis=0)
        total, nan = pal.accumulate(a, b)
        assert (total.shape, total.dtype) == ((rows, columns), np.int64)
        assert (nan.shape, nan.dtype) == ((rows, columns), bool)
        assert not total.any()
        assert not nan.any()
        assert ((a @ b) == np.zeros((rows, columns))).all()


@pytest.mark.parametrize("fmt", ADAPTIVE.values(), ids=lambda f: f.name)
def test_codebooks_of_the_user_keep_enough_bits(fmt):
    """Less than 0.1 dB to exact sums, and room for 127 blocks, whatever the block."""
    own = replace(fmt, name="of the user")
    params = dot_params(own)
    assert params.fraction_bits == fmt.fraction_bits
    for block in (2, 16, 24, 32, 1000):
        assert dot_params(own.with_block(block)).max_blocks(block) >= 127
    for name in ("gaussian", "outliers"):
        x, w = (data(name, (64, 1024), seed) for seed in (43, 44))
        a, b = pal.encode(x, own), pal.encode(w, own)
        real = x @ w.T
        loss = [((found - real) ** 2).sum() for found in (a @ b.T, a.decode() @ b.decode().T)]
        assert 10 * np.log10(loss[0] / loss[1]) < 0.1


def test_products_of_the_user_reach_below_the_deepest_level():
    books = ONE_BOOK.codebooks
    deep = replace(
        ONE_BOOK,
        fraction_bits=7,  # 4095 / 2^7 octaves
        codebooks=replace(books, negative=((3500, 2500, 1700, 1200, 700, 30, 0),)),
    )
    params = dot_params(deep)
    assert params.product_bits == 31
    assert params.max_blocks(deep.block) >= 127
    assert dot_params(replace(FOUR_BOOKS, block=8)).product_bits == 15
    near = pal.accumulate(
        pal.encode(np.ones((1, 8)), deep), pal.encode(np.ones((8, 1)), deep, axis=0)
    )
    assert near[0].any()


def test_nan_reaches_its_results_only():
    a, b = np.ones((2, 64)), np.ones((64, 2))
    a[0, 3], b[:32, 1] = np.nan, 0
    x, w = pal.encode(a, PAL8A), pal.encode(b, PAL8A, axis=0)
    # Bytes of profile A mark no blocks of zeros: NaN times zero is NaN.
    assert np.isnan(x @ w).tolist() == [[True, True], [False, False]]
    assert (x @ w)[1] == pytest.approx([64, 32], rel=2**-7)
    marked = pal.encode(b, PAL8T, axis=0)
    assert np.isnan(x @ marked).tolist() == [[True, False], [False, False]]


def test_parameters_of_pairs():
    assert dot_params(PAL4A) == pal.DOT_PARAMS["PAL4A"]
    assert dot_params(PAL8T, PAL8A) == dot_params(PAL8A, PAL8T) == pal.DOT_PARAMS["PAL8A"]
    mixed = dot_params(PAL4A, PAL8T)
    assert mixed == replace(pal.DOT_PARAMS["PAL8T"], edge_biases=True)
    coarse = dot_params(PAL6A, PAL8U)
    assert (coarse.edge_biases, coarse.bias_step) == (True, 1)
    assert not dot_params(PAL8T, PAL8U).edge_biases
    # Of the user's formats each profile has its own rule.
    own = replace(PAL8T, name="of the user")
    assert dot_params(own) == DotParams(5, 6)
    assert dot_params(own, PAL4A) == DotParams(5, 6, edge_biases=True)
    assert dot_params(own, replace(PAL8A, name="mine")) == dot_params(replace(PAL8A, name="mine"))


ONES = pal.encode(np.ones((2, 32 * 400)), PAL4A)


@pytest.mark.parametrize(
    ("call", "error", "rule"),
    [
        (
            lambda: pal.accumulate(ONES, ONES.T, DotParams(3, 4, edge_biases=False)),
            ValueError,
            "products of PAL4A need params with edge_biases",
        ),
        (
            lambda: pal.accumulate(
                pal.encode(np.ones((2, 32)), PAL8T),
                pal.encode(np.ones((32, 2)), PAL8A, axis=0),
                dot_params(PAL8T),
            ),
            ValueError,
            "products of PAL8A need params with edge_biases",
        ),
        (
            lambda: pal.accumulate(
                ONES, ONES.T, DotParams(3, 4, accumulator_bits=20, edge_biases=True)
            ),
            OverflowError,
            "more than 20 accumulator bits",
        ),
        (
            lambda: pal.accumulate(ONES, ONES.T, DotParams(3, 4, 31, 32, 64, edge_biases=True)),
            OverflowError,
            "may not fit 64 bits",
        ),
        (
            lambda: pal.encode(np.ones((2, 32)), PAL4A) @ pal.encode(np.ones((2, 32)), PAL6A).T,
            ValueError,
            "blocks differ: 16 and 32",
        ),
        (
            lambda: pal.accumulate(
                pal.encode(np.ones((2, 32)), PAL8A),
                pal.encode(np.ones((32, 2)), PAL8A, axis=0),
                edge_params(PAL4A),
            ),
            ValueError,
            "PAL8A needs fraction_bits >= 6, not 3",
        ),
        (lambda: DotParams(3, 4, edge_biases=1), TypeError, "edge_biases must be a bool, not 1"),
    ],
)
def test_products_refuse_what_does_not_fit(call, error, rule):
    with pytest.raises(error, match=rule):
        call()


def test_more_accumulator_bits_hold_what_overflows():
    params = DotParams(3, 4, accumulator_bits=40, edge_biases=True)
    assert pal.matmul(ONES, ONES.T, params) == pytest.approx(12800, rel=2**-4)
    assert pal.dot(ONES[0], ONES[1], params) == pytest.approx(12800, rel=2**-4)
