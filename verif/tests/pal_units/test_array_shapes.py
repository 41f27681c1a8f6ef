"""Parts and other shapes of PAL arrays: as numpy has them of the values, in whole blocks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pal_units as pal

RNG = np.random.default_rng(0)
#: Shape (3, 64, 4) with two blocks along axis 1, and what it decodes to.
A = pal.encode(RNG.standard_normal((3, 64, 4)), "PAL8T", axis=1)
X = A.decode()
ONE = pal.encode(RNG.standard_normal((4, 5)), "PAL16")


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        np.int64(2),
        slice(1, 3),
        slice(None, None, -1),
        Ellipsis,
        (Ellipsis, 0),
        (1, Ellipsis),
        (slice(None), slice(0, 32)),
        (slice(None), slice(32, None), 1),
        (0, slice(-32, None)),
        [0, 2],
        ([2, 0],),
        np.array([True, False, True]),
        (np.array([[0, 1], [2, 0]]),),
        (0, slice(None), [1, 2]),
        ([0, 1], slice(None), [1, 2]),
        (slice(None), slice(None), [3, 0]),
        (None, 0),
        (0, None, slice(32, 64)),
        (slice(0, 0),),
        (slice(None), slice(5, 5)),
        [],
        (slice(None), slice(None), np.array([True, False, False, True])),
        (np.array([0, 1])[:, None], slice(0, 32), np.array([2, 3])),
    ],
)
def test_parts_decode_to_parts(index):
    part = A[index]
    assert np.array_equal(part.decode(), X[tuple(index) if isinstance(index, tuple) else index])
    assert part.fmt is A.fmt


@pytest.mark.parametrize(
    ("index", "error", "rule"),
    [
        ((0, 3), ValueError, "axis 1 holds blocks of 32: take whole ones, or index .decode()"),
        ((0, slice(0, 16)), ValueError, "not 0:16"),
        ((0, slice(16, 64)), ValueError, "not 16:64"),
        ((0, slice(0, 64, 2)), ValueError, "not 0:64:2"),
        ((0, [0, 1]), ValueError, "blocks of 32"),
        (X > 0, ValueError, "blocks of 32"),
        (3, IndexError, "out of bounds"),
        ((0, Ellipsis, Ellipsis), IndexError, "one ellipsis"),
        ((0, 0, 0, 0), IndexError, "too many"),
        (1.0, TypeError, "not 1.0"),
        ("a", TypeError, "not 'a'"),
        (True, TypeError, "not True"),
        (slice(0.0, 2), TypeError, "a slice's bound must be an int"),
        ([0.5], TypeError, "not"),
        (np.array([True, False]), IndexError, "boolean"),
    ],
)
def test_parts_of_blocks_and_other_indices_are_refused(index, error, rule):
    with pytest.raises(error, match=rule.replace("(", r"\(").replace(")", r"\)")) as found:
        A[index]
    assert len(str(found.value).splitlines()) == 1


def test_without_block_biases_every_index_is_a_part():
    y = ONE.decode()
    for index in (
        0,
        (slice(None), 3),
        (0, slice(1, 4, 2)),
        ([0, 1], [2, 3]),
        y > 0,
        (slice(None), [True, False, True, False, False]),
    ):
        assert np.array_equal(ONE[index].decode(), y[index])
    with pytest.raises(ValueError, match="at least one axis"):
        ONE[0, 0]
    product = pal.encode(RNG.standard_normal((4, 6)), "PAL8T", block=1)
    assert (product[1:3] @ product[1:3].T).shape == (2, 2)


def test_arrays_are_sequences_of_their_parts():
    assert [np.array_equal(part.decode(), x) for part, x in zip(A, X, strict=True)] == [True] * 3
    assert len(A) == 3
    with pytest.raises(TypeError, match=r"blocks lie along axis 0: iterate over \.decode\(\)"):
        iter(A[0])


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 64, 2, 2), 1),
        ((1, 3, 64, 4), 2),
        ((192, 4), 0),
        ((6, 32, 4), 1),
        ((-1, 32, 2, 2), 1),
        ((3, 2, 32, 4), 2),
        ((2, 96, 4), 1),
    ],
)
def test_other_shapes_keep_blocks_whole(shape, axis):
    for got in (A.reshape(shape), A.reshape(*shape), A.reshape(list(shape))):
        assert np.array_equal(got.decode(), X.reshape(shape))
        assert got.axis == axis


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((12, 64), "cut the blocks of 32 along axis 1"),
        ((3, 16, 16), "cut the blocks"),
        ((4, 64, 3), "cut the blocks"),
        ((5, 5), "cannot reshape"),
        ((), "cannot reshape"),
        (("a",), "a length must be an int"),
        ((3.0, -1), "a length must be an int"),
    ],
)
def test_shapes_that_would_cut_blocks_are_refused(shape, rule):
    with pytest.raises((ValueError, TypeError), match=rule):
        A.reshape(shape)


def test_axes_change_places_with_their_blocks():
    for order in ((2, 0, 1), (0, 2, 1), [1, 2, 0], (-1, 0, 1)):
        got = A.transpose(order)
        assert np.array_equal(got.decode(), X.transpose(order))
        assert got.axis == [a % 3 for a in order].index(1)
    assert np.array_equal(A.T.decode(), X.T)
    assert np.array_equal(A.transpose(1, 0, 2).decode(), X.transpose(1, 0, 2))
    for wrong in ((0, 1), (0, 0, 1), (0, 1, 3), 1):
        with pytest.raises(ValueError, match=r"transpose takes each|axis must be within"):
            A.transpose(wrong)


def test_sums_are_correctly_rounded():
    for axis in (None, 0, 1, -1, (0, 2), (0, 1, 2), ()):
        for keepdims in (False, True):
            got = A.sum(axis, keepdims=keepdims)
            want = X.sum(axis, keepdims=keepdims)
            assert np.shape(got) == np.shape(want)
            assert got == pytest.approx(want, rel=1e-12, abs=1e-12)
    # A sum that in any order of additions loses its small part.
    a = pal.encode(np.tile([1.0, 2.0**-30, -1.0, 2.0**-31], 100), "PAL16")
    exact = math.fsum(a.decode())
    assert a.sum() == exact > 0
    assert a.sum() == a[::-1].sum()
    assert np.isnan(pal.encode(np.append(np.nan, np.ones(31)), "PAL8T").sum())
    for wrong, error in (((0, 0), ValueError), (3, ValueError), (1.0, TypeError), ("a", TypeError)):
        with pytest.raises(error, match="axis"):
            A.sum(wrong)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["PAL4T", "PAL6U", "PAL8T", "PAL8U"]),
    st.integers(1, 100),
    st.sampled_from([1, 3, 8, 32]),
)
def test_padded_blocks_are_exact(name, length, block):
    """As if the zeros were part of the array, in products too."""
    rng = np.random.default_rng(length)
    x, w = rng.standard_normal((3, length)), rng.standard_normal((length, 2))
    a = pal.encode(x, name, block=block, pad=True)
    b = pal.encode(w, name, block=block, axis=0, pad=True)
    more = -length % block
    full_a = pal.encode(np.pad(x, ((0, 0), (0, more))), name, block=block)
    full_b = pal.encode(np.pad(w, ((0, more), (0, 0))), name, block=block, axis=0)
    assert (a.shape, b.shape) == (x.shape, w.shape)
    assert np.array_equal(a.decode(), full_a.decode()[:, :length])
    for got, want in zip(pal.accumulate(a, b), pal.accumulate(full_a, full_b), strict=True):
        assert np.array_equal(got, want)
    assert np.array_equal((a * a).decode(), (full_a * full_a).decode()[:, :length])
    assert np.array_equal((-abs(a)).decode(), -np.abs(a.decode()))
    if name != "PAL4T":
        x[0, 0] = np.nan
        assert np.isnan(pal.encode(x, name, block=block, pad=True) @ b).tolist() == [
            [True] * 2,
            [False] * 2,
            [False] * 2,
        ]


def test_padded_arrays_remember_their_length():
    x = RNG.standard_normal((3, 40))
    with pytest.raises(ValueError, match="multiple of the block of 32; pad=True fills"):
        pal.encode(x, "PAL8T")
    a = pal.encode(x, "PAL8T", pad=True)
    assert (a.shape, a.size, a.sum(axis=1).shape) == ((3, 40), 120, (3,))
    assert a.nbytes == 3 * 64 + 3 * 2 + 2
    assert a[:, 32:].shape == (3, 8)
    assert np.array_equal(a[1:, 32:40].decode(), a.decode()[1:, 32:])
    assert a.reshape(3, 1, 40).axis == 2
    for shape in ((120,), (40, 3), (6, 20)):
        with pytest.raises(ValueError, match="cut the blocks"):
            a.reshape(shape)
    with pytest.raises(ValueError, match="not 0:40"):
        pal.encode(np.ones((3, 64)), "PAL8T")[:, :40]
    assert pal.dot(a[0], a[0]) == pytest.approx((a[0].decode() ** 2).sum(), rel=0.02)
