"""Peers that choose codebooks: brute force over codebooks and scales, the fit of codebooks."""

import ml_dtypes
import numpy as np
import pytest

from verif.baselines import codebooks
from verif.baselines.clustered import CLUSTERED
from verif.baselines.codebooks import DIALECTS, LIMIT, Codebooks
from verif.baselines.elements import E2M1, E2M3, E2M5, INT4, INT6, INT8
from verif.baselines.formats import QUANTISERS
from verif.numerics import cluster, study

RNG = np.random.default_rng(7)
LENGTH = {"LO-BCQ/64": 64, "LO-BCQ/32": 32, "LO-BCQ/64/8th": 64, "LO-BCQ/32/8th": 32}


def _nearest(values, levels):
    return np.array(levels)[np.abs(np.array(levels) - values[:, None]).argmin(axis=1)]


def _best_block(block, scale, books):
    candidates = [_nearest(block / scale, book) * scale for book in books]
    return min(candidates, key=lambda c: ((c - block) ** 2).sum())


def _best_array(array, scale, books, block):
    return np.concatenate([_best_block(b, scale, books) for b in array.reshape(-1, block)])


def _signed(dialect):
    return sorted({*dialect, *(-m for m in dialect)})


def test_codebooks_are_six_bit_integers_and_one_of_each_set_has_zero():
    counts = {"LO-BCQ/64": 8, "LO-BCQ/32": 4, "LO-BCQ/64/8th": 8, "LO-BCQ/32/8th": 4}
    assert {name: len(books) for name, books in CLUSTERED.items()} == counts
    for books in CLUSTERED.values():
        assert all(len(book) == 16 and list(book) == sorted(set(book)) for book in books)
        assert max(abs(level) for book in books for level in book) <= 31
        assert any(0 in book for book in books)
        # The largest magnitude, of either sign, has a level.
        assert {min(min(book) for book in books), max(max(book) for book in books)} == {-31, 31}


def test_dialects_are_pairs_below_one_largest_magnitude():
    assert len(set(DIALECTS)) == 16
    assert all(len(d) == 8 and d[0] == 0 and list(d) == sorted(set(d)) for d in DIALECTS)
    assert sorted(d[-1] for d in DIALECTS) == sorted([*range(8, 16)] * 2)
    assert tuple(int(2 * level) for level in E2M1.levels) in DIALECTS


def test_bits_count_selectors_and_scales():
    bits = {name: q.bits_per_element for name, q in QUANTISERS.items()}
    for name, length in LENGTH.items():
        assert bits[name] == 4 + np.log2(len(CLUSTERED[name])) / 8 + 8 / length == 4.5
    assert (bits["BlockDialect/16"], bits["BlockDialect/32"]) == (4.5625, 4.28125)
    assert (bits["BlockDialect/16/8th"], bits["BlockDialect/32/8th"]) == (4.75, 4.375)
    assert (bits["E2M1/8th/16"], bits["IF4/8th"], bits["INT6/8th"]) == (4.5, 4.5, 6.25)


@pytest.mark.parametrize("name", ["LO-BCQ/64", "LO-BCQ/32"])
def test_each_block_of_an_array_takes_its_best_codebook(name):
    length, books = LENGTH[name], CLUSTERED[name]
    x = RNG.standard_t(3, (12, length))
    tensor = np.float64(np.float32(np.abs(x).max() / (31 * 448)))
    for array, rounded in zip(x, QUANTISERS[name].round(x), strict=True):
        ratio = np.float64(np.abs(array).max() / 31 / tensor)
        scale = np.float64(ratio.astype(ml_dtypes.float8_e4m3fn)) * tensor
        assert rounded == pytest.approx(_best_array(array, scale, books, 8), abs=1e-12)
        codes = rounded / scale
        assert codes == pytest.approx(np.rint(codes), abs=1e-9)
        assert np.abs(codes).max() < 31.5


@pytest.mark.parametrize(
    ("name", "length", "block", "books", "limit"),
    [
        ("LO-BCQ/64/8th", 64, 8, CLUSTERED["LO-BCQ/64/8th"], 31),
        ("LO-BCQ/32/8th", 32, 8, CLUSTERED["LO-BCQ/32/8th"], 31),
        ("BlockDialect/16/8th", 16, 16, [_signed(d) for d in DIALECTS], 15),
    ],
)
def test_the_fine_scale_is_the_best_around_the_nearest(name, length, block, books, limit):
    x = RNG.standard_normal((6, length)) * np.exp(RNG.standard_normal((6, 1)))
    for array, rounded in zip(x, QUANTISERS[name].round(x), strict=True):
        nearest = round(8 * np.log2(np.abs(array).max() / limit))
        tried = [
            _best_array(array, 2.0 ** (bias / 8), books, block)
            for bias in range(nearest - 8, nearest + 7)
        ]
        least = min(((t - array) ** 2).sum() for t in tried)
        assert ((rounded - array) ** 2).sum() == pytest.approx(least)


def test_dialects_lie_below_a_shared_exponent():
    x = RNG.standard_normal((10, 32)) * np.exp(RNG.standard_normal((10, 1)))
    for block, rounded in zip(x, QUANTISERS["BlockDialect/32"].round(x), strict=True):
        scale = 2.0 ** (np.floor(np.log2(np.abs(block).max())) - 3)  # of halves
        assert np.array_equal(rounded, _best_block(block, scale, [_signed(d) for d in DIALECTS]))
    # The largest magnitudes in turn, second largest ones of both dialects with them.
    for d in DIALECTS:
        exact = np.resize(np.array(d) / 2, 16)
        assert np.array_equal(QUANTISERS["BlockDialect/16"].round(exact), exact)
    far = np.zeros((3, 16))
    far[:, 0] = 1.0, 2.0**-31, 2.0**-40
    assert QUANTISERS["BlockDialect/16"].round(far)[:, 0].tolist() == [1, 2.0**-31, 0]


def test_ties_go_to_the_even_code_and_equal_codebooks_to_the_first():
    dialect = Codebooks((tuple(_signed(DIALECTS[7])),), 15, 8)
    ties = np.array([[0.5, -0.5, 1.5, -1.5, 5.0, -5.0, 7.0, 10.0]])
    assert np.array_equal(dialect.round(ties, np.ones((1, 1))), 2 * E2M1.round(ties / 2))
    twice = Codebooks((tuple(range(-8, 8)),) * 2, LIMIT, 8)
    assert twice.search(ties, np.ones((1, 3)))[1:] == (0, 0)


@pytest.mark.parametrize("name", [n for n in QUANTISERS if n.startswith(("LO-BCQ", "BlockD"))])
def test_zeros_stay_and_no_single_codebook_is_better(name):
    keywords = QUANTISERS[name].round.keywords
    length = keywords.get("length") or keywords["block"]
    books = keywords.get("codebooks") or codebooks._dialects(length)
    x = study.data("laplace", (4, 1024), 5)
    x[1] = 0
    x[2, :length] = 0
    rounded = QUANTISERS[name].round(x)
    assert not rounded[1].any()
    assert not rounded[2, :length].any()
    got = study.sqnr_db(x, rounded)
    for book in books.books:
        alone = Codebooks((book,), books.limit, books.block)
        if "length" in keywords:
            single = QUANTISERS[name].round.func(x, codebooks=alone, length=length)
            assert got >= study.sqnr_db(x, single)
    with pytest.raises(ValueError, match=f"multiple of the block of {length}, shape is"):
        QUANTISERS[name].round(np.zeros((2, length + 8)))


@pytest.mark.parametrize(
    ("name", "elements", "block", "bits"),
    [
        ("IF4/8th", (E2M1, INT4), 16, 4.5),
        ("E2M3|INT6/8th", (E2M3, INT6), 32, 6.25),
        ("E2M5|INT8/8th", (E2M5, INT8), 32, 8.25),
    ],
)
def test_a_block_under_the_fine_scale_takes_the_better_element(name, elements, block, bits):
    """Against every bias of the search for each block alone."""
    x = np.concatenate([RNG.standard_normal((20, block)), RNG.uniform(-1, 1, (20, block))])
    tried = np.array(
        [
            [
                ((element.round(row / scale) * scale - row) ** 2).sum()
                for row in x
                for nearest in [round(8 * np.log2(np.abs(row).max() / element.largest))]
                for scale in [2.0 ** ((nearest + step) / 8)]
            ]
            for element in elements
            for step in range(-4, 3)
        ]
    )
    got = ((QUANTISERS[name].round(x) - x) ** 2).sum(axis=1)
    assert got == pytest.approx(tried.min(axis=0))
    assert set(tried.argmin(axis=0) // 7) == {0, 1}
    assert QUANTISERS[name].bits_per_element == bits


def test_a_design_is_the_best_of_all():
    """Against every pair of integers from -3 to 3."""
    values = RNG.standard_normal(40) * 1.5
    arrays, moments = values.reshape(5, 8), np.zeros((1, 3, 12))
    cluster._gather(arrays, np.ones(5), np.ones(5), np.zeros((5, 1), np.intp), moments)

    def error(levels):
        return ((_nearest(values, levels) - values) ** 2).sum()

    found = cluster.design(moments[0], 2)
    assert error(found) == min(error((a, b)) for a in range(-3, 4) for b in range(a + 1, 4))


def test_no_level_moved_by_one_gains():
    """A few moves of the 128 of each set: what the fit ends with is a local optimum."""
    values, books = cluster.sample(64, fine=False), CLUSTERED["LO-BCQ/64"]

    def quality(candidate):
        return values.assign(np.array(candidate, float)).quality

    best = quality(books)
    for k, place, step in RNG.integers([0, 0, 0], [8, 16, 2], (12, 3)):
        book = cluster.moved(books[k], place, 2 * step - 1)
        if book is not None:
            assert quality((*books[:k], book, *books[k + 1 :])) <= best + 1e-6


@pytest.mark.parametrize(
    "name",
    [
        "LO-BCQ/32",
        *(pytest.param(n, marks=pytest.mark.regress) for n in CLUSTERED if n != "LO-BCQ/32"),
    ],
)
def test_the_fit_leads_to_the_stored_codebooks(name):
    assert cluster.fit(name) == CLUSTERED[name]


#: Least SQNR in dB on values that the codebooks were not fitted to.
BARS = {"LO-BCQ/64": {"gaussian": 23.6, "student-t3": 22.0, "uniform": 25.2}}


@pytest.mark.parametrize("name", BARS)
def test_the_fitted_peers_reach_their_bars(name):
    for distribution, least in BARS[name].items():
        x = study.data(distribution, (64, 1024), 1)
        assert study.sqnr_db(x, QUANTISERS[name].round(x)) >= least
