"""What users give the numpy library: right, or refused in one line; files of arrays."""

import contextlib
import io
import json
import pickle
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pal_units as pal
from pal_units import model

ONES = np.ones((2, 64))
FORMATS = st.sampled_from(
    [
        *pal.FORMATS.values(),
        pal.Format("odd", 7, "U", 3, block=5),
        pal.Format("wide", 12, "T", 9, block=8, bias_step=2),
    ]
)


def _refused(call, errors=(TypeError, ValueError, OverflowError, IndexError)):
    """The one-line message of an expected error, or None if there was none."""
    try:
        call()
    except errors as error:
        message = str(error)
    else:
        return None
    assert len(message.splitlines()) <= 1, message
    return message


@pytest.mark.parametrize(
    ("call", "error", "rule"),
    [
        (
            lambda: pal.encode(ONES, pal.PAL8T, tensor_bias=3.5),
            TypeError,
            "tensor_bias must be an int, not 3.5",
        ),
        (lambda: pal.encode(ONES, pal.PAL8T, tensor_bias=True), TypeError, "an int, not True"),
        (lambda: pal.encode(ONES, pal.PAL8T, tensor_bias="3"), TypeError, "an int, not '3'"),
        (lambda: pal.encode(ONES, pal.PAL8T, tensor_bias=-(1 << 15) - 1), ValueError, "fit int16"),
        (
            lambda: pal.encode(ONES, pal.PAL8T, block=16.0),
            TypeError,
            "block must be an int, not 16.0",
        ),
        (lambda: pal.encode(ONES, pal.PAL8T, block=np.True_), TypeError, "block must be an int"),
        (lambda: pal.encode(ONES, pal.PAL8T, axis=1.0), TypeError, "axis must be an int, not 1.0"),
        (
            lambda: pal.encode(ONES, pal.PAL8T, axis=None),
            TypeError,
            "axis must be an int, not None",
        ),
        (
            lambda: pal.encode(ONES, pal.PAL8T, axis=(0, 1)),
            TypeError,
            r"axis must be an int, not \(0",
        ),
        (lambda: pal.encode(np.array([Fraction(1)] * 32), "PAL8T"), TypeError, "not object"),
        (lambda: pal.encode([10**30] * 32, "PAL8T"), TypeError, "not object"),
        (lambda: pal.encode(ONES > 0, "PAL8T"), TypeError, "not bool"),
        (lambda: pal.encode(np.zeros(32, "M8[s]"), "PAL8T"), TypeError, "not datetime64"),
        (lambda: pal.encode(np.zeros(32, "m8[s]"), "PAL8T"), TypeError, "not timedelta64"),
        (lambda: pal.encode(np.zeros(32, "V4"), "PAL8T"), TypeError, "not |V4"),
        (lambda: pal.encode(None, "PAL8T"), TypeError, "not object"),
        (lambda: pal.encode([[1.0], [1.0, 2.0]], "PAL8T"), ValueError, "inhomogeneous"),
        (lambda: pal.finfo("FP8"), ValueError, "no format 'FP8'; there are PAL4U"),
        (lambda: pal.dot_params(8), TypeError, "a Format or its name, not 8"),
        (lambda: pal.Format(8, 8, "U", 4), TypeError, "name must be a str, not 8"),
        (lambda: pal.DotParams(3.0, 3), TypeError, "fraction_bits must be an int, not 3.0"),
        (lambda: pal.DotParams(12, 3), ValueError, "fraction_bits must be 0 to 10, not 12"),
        (lambda: pal.DotParams(3, 3, product_bits=40), ValueError, "product_bits must be 1 to 31"),
        (
            lambda: pal.DotParams(3, 3, guard_bits=-1),
            ValueError,
            "guard_bits must be 0 to 32, not -1",
        ),
        (lambda: pal.sqrt(ONES), TypeError, "operands must be PalArrays, not ndarray"),
        (lambda: pal.decode(ONES), TypeError, "operands must be PalArrays, not ndarray"),
        (lambda: pal.encode(ONES, "PAL8T") * 2, TypeError, "PalArrays, not PalArray and int"),
        (
            lambda: pal.matmul(*[pal.encode(np.ones((32, 32)), "PAL8T")] * 2, 5),
            ValueError,
            "summed",
        ),
        (lambda: pal.exp2(pal.encode(ONES * -100, "PAL8T")), OverflowError, "above -64"),
        (
            lambda: pal.PalArray(ONES, ONES, 0, pal.PAL8T, 1),
            TypeError,
            "codes must be an array of uint8, not float64",
        ),
        (
            lambda: pal.PalArray(np.array([3, 16], np.uint8), np.zeros(1, np.int8), 0, "PAL4T", 0),
            TypeError,
            "fmt must be a Format, not str",
        ),
        *(
            (
                lambda fmt=fmt: pal.PalArray(
                    np.array([3, 1 << fmt.n], np.uint8), np.zeros(1, np.int8), 0, fmt, 0
                ),
                ValueError,
                f"codes of {fmt.name} have {fmt.n} bits, not {1 << fmt.n}",
            )
            for fmt in (pal.PAL4T, pal.PAL6U, pal.ADAPTIVE["PAL4A"], pal.ADAPTIVE["PAL6A"])
        ),
        (
            lambda: pal.encode(ONES, "PAL8T") + pal.encode(ONES, "PAL8T", block=16),
            ValueError,
            r"and \(2, 64\) PAL8T 1, block 32 and 16$",
        ),
        (
            lambda: pal.PalArray(np.zeros(64, np.uint8), np.zeros(3, np.int8), 0, pal.PAL8T, 0),
            ValueError,
            r"must have shape \(2,\), not \(3,\)",
        ),
        (
            lambda: pal.PalArray(
                np.ones(3, np.uint16), np.array([0, -16, 0], np.int8), 5, pal.PAL16, 0
            ),
            ValueError,
            "biases of blocks of one element must be 0, not -16",
        ),
        (
            lambda: pal.PalArray(
                np.ones((1, 2), np.uint8),
                np.full((1, 2), -128, np.int8),
                0,
                pal.PAL8T.with_block(1),
                1,
            ),
            ValueError,
            "must be 0, not -128",
        ),
    ],
)
def test_bad_input_is_refused_with_the_rule_and_the_value(call, error, rule):
    with pytest.raises(error, match=rule) as found:
        call()
    assert len(str(found.value).splitlines()) == 1


def test_masked_elements_are_refused_and_no_mask_is_no_error():
    x = np.ma.masked_array([1.0] * 32, mask=[False] * 32)
    assert pal.encode(x, "PAL8T").decode().sum() == 32
    x[1] = np.ma.masked
    for masked in (x, [x, x], [[1.0] * 31 + [np.ma.masked]]):
        with pytest.raises(TypeError, match=r"masked elements.*x\.filled\(0\)"):
            pal.encode(masked, "PAL8T")


def test_integers_of_numpy_are_integers():
    a = pal.encode(ONES, "PAL8T", block=np.int64(16), axis=np.int8(1), tensor_bias=np.int32(3))
    assert (a.fmt.block, a.tensor_bias, type(a.tensor_bias)) == (16, 3, int)
    assert pal.Format("x", np.int64(8), "U", np.uint8(4)) == pal.Format("x", 8, "U", 4)
    assert json.dumps(a.fmt.block)


@pytest.mark.parametrize(
    "kind", ["float16", "bfloat16", "float8_e4m3fn", ">f4", ">f8", "int8", "uint64", "longdouble"]
)
def test_types_that_float64_holds_encode_as_it_does(kind):
    import ml_dtypes

    dtype = getattr(ml_dtypes, kind, None) or np.dtype(kind)
    x = np.arange(64).reshape(2, 32).astype(dtype)
    want = pal.encode(x.astype(np.float64), "PAL8T")
    for given_ in (x, x[:, ::-1][:, ::-1], np.asfortranarray(x), x.tolist()):
        got = pal.encode(given_, "PAL8T")
        assert np.array_equal(got.codes, want.codes)
        assert np.array_equal(got.biases, want.biases)
    x.flags.writeable = False
    assert np.array_equal(pal.encode(x, "PAL8T").codes, want.codes)


def test_long_doubles_are_what_float64_says_or_refused():
    """The ends of their range: beyond float64 on most machines, of float64 on the others."""
    limits = np.finfo(np.longdouble)
    for value in (limits.max, limits.smallest_subnormal, np.longdouble(2) ** 1000):
        x = np.append(value, np.ones(31, np.longdouble))
        with np.errstate(over="ignore"):
            narrow = x.astype(np.float64)
        if np.array_equal(narrow, x):
            assert np.array_equal(pal.encode(x, "PAL8T").codes, pal.encode(narrow, "PAL8T").codes)
        else:
            with pytest.raises(ValueError, match="1 numbers beyond the range of float64"):
                pal.encode(x, "PAL8T")


MAGNITUDES = st.one_of(
    st.just(0.0),
    st.just(-0.0),
    st.just(np.finfo(np.float64).max),
    st.just(5e-324),
    st.just(1.5e-323),
    st.just(2.2e-308),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(deadline=None, max_examples=150)
@given(
    fmt=FORMATS,
    x=st.lists(MAGNITUDES, min_size=1, max_size=70),
    tensor_bias=st.one_of(
        st.none(), st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-9000, 9000)
    ),
)
def test_every_float64_under_every_tensor_bias_is_the_nearest_code(fmt, x, tensor_bias):
    """Against values computed in logarithms, which neither over- nor underflow."""
    got = pal.encode(x, fmt, tensor_bias=tensor_bias, pad=True)
    padded = np.pad(np.array(x), (0, -len(x) % fmt.block))
    codes, biases, t = model.encode_blocks(padded, fmt, tensor_bias)
    assert np.array_equal(got.codes, codes[: len(x)])
    assert np.array_equal(got.biases, biases)
    assert got.tensor_bias == t
    for i, value in enumerate(x):
        beta = int(got.biases[i // fmt.block])
        code = int(got.codes[i])
        if value == 0 or beta == model.ZERO_BLOCK:
            assert code == 0
            continue
        # Octaves below the top of the block.
        mantissa, exponent = np.frexp(abs(value))
        below = (t + beta) / 8 - (np.log2(mantissa) + exponent)
        m = code & fmt.m_max
        got_below = fmt.lambdas[m] / 2**fmt.fraction_bits if m else np.inf
        least = fmt.lambda_max / 2**fmt.fraction_bits
        if below <= 0:
            assert m == fmt.m_max
        elif below >= least + 1.001:
            assert m == 0
        elif below < least:
            step = pal.finfo(fmt).max_relative_error
            assert abs(2.0 ** (below - got_below) - 1) <= step * 1.001
        assert m == 0 or (code > fmt.m_max) == (value < 0)


@settings(deadline=None, max_examples=60)
@given(fmt=FORMATS, x=st.lists(MAGNITUDES, min_size=1, max_size=40))
def test_what_was_encoded_decodes_to_floats_near_it(fmt, x):
    a = pal.encode(x, fmt, pad=True)
    values = a.decode()
    assert np.isfinite(values).all()
    top = np.abs(x).max()
    assert np.abs(values - x).max() / 2 <= top / 2 * 0.5
    assert "PalArray" in repr(a)
    again = pal.encode(values, fmt, pad=True)
    if fmt.n >= 8:  # below, another bias may have less error
        assert np.array_equal(again.decode(), values)


def test_the_largest_float64_comes_back_and_beyond_it_is_an_error():
    largest = np.finfo(np.float64).max
    for fmt in pal.FORMATS.values():
        a = pal.encode(np.full(32, -largest), fmt)
        assert a.decode() == pytest.approx(np.full(32, -largest), rel=0.2)
        assert np.isfinite(a.sum(keepdims=True) if fmt.n < 4 else a.decode()).all()
    a = pal.encode(np.full(32, 1e300), "PAL8T")
    square = a * a
    for use in (square.decode, square.sum, lambda: np.asarray(square), lambda: pal.dot(a, a)):
        with pytest.raises(OverflowError, match="beyond float64"):
            use()
    assert "tensor_bias=15" in repr(square)
    with pytest.raises(ValueError, match="tensor bias must fit int16"):
        square * square * square


@pytest.mark.parametrize(
    ("one", "other"),
    [("PAL8U", "PAL6T"), ("PAL6T", "PAL8U"), ("PAL8U", "PAL4T"), ("PAL8U", "PAL8T")],
)
def test_products_of_formats_keep_the_finer_block_biases(one, other):
    """Biases in eighths of an octave that count as whole ones cost 20 dB."""
    rng = np.random.default_rng(9)
    x, w = rng.standard_normal((16, 256)), rng.standard_normal((256, 16))
    a, b = pal.encode(x, one), pal.encode(w, other, axis=0)
    exact = a.decode() @ b.decode()
    assert 10 * np.log10((exact**2).sum() / ((a @ b - exact) ** 2).sum()) > 25
    step = pal.PAL8U.with_bias_step(1)
    a = pal.encode(x, step)
    exact = a.decode() @ a.decode().T
    assert a @ a.T == pytest.approx(exact, abs=0.02 * np.abs(exact).max())
    with pytest.raises(ValueError, match="finer than the bias_step of 8 of params"):
        pal.matmul(a, a.T, pal.DOT_PARAMS["PAL8U"])


def test_block_sums_beyond_32_bits_are_exact():
    a = pal.encode(np.ones((1, 1 << 19)), "PAL8T", block=1 << 19)
    params = pal.DotParams(5, 6, product_bits=13, accumulator_bits=60)
    assert pal.matmul(a, a.T, params)[0, 0] == pytest.approx(1 << 19, rel=2**-6)
    with pytest.raises(OverflowError, match="may not fit 64 bits"):
        pal.matmul(a, a.T, pal.DotParams(5, 6, product_bits=31, guard_bits=32))


def _same(a, b):
    return (
        np.array_equal(a.codes, b.codes)
        and np.array_equal(a.biases, b.biases)
        and (a.tensor_bias, a.fmt, a.axis) == (b.tensor_bias, b.fmt, b.axis)
    )


@pytest.mark.parametrize(
    "fmt", [*pal.FORMATS.values(), pal.Format("mine", 9, "U", 5, block=3)], ids=lambda f: f.name
)
def test_files_and_pickles_hold_codes(fmt, tmp_path):
    a = pal.encode(np.random.default_rng(3).standard_normal((3, 40, 2)), fmt, axis=1, pad=True)
    path = tmp_path / "a.pal"
    a.save(path)
    stream = io.BytesIO()
    pal.save(stream, a)
    stream.seek(0)
    for got in (
        pal.load(path),
        pal.PalArray.load(str(path)),
        pal.load(stream),
        pickle.loads(pickle.dumps(a)),
    ):
        assert _same(a, got)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pal"]
    assert len(pickle.dumps(a)) < a.codes.nbytes + a.biases.nbytes + 1000


def test_numpy_does_not_store_decoded_values_but_computes_with_them(tmp_path):
    a = pal.encode(ONES, "PAL8T")
    for store in (
        lambda: np.save(tmp_path / "a.npy", a),
        lambda: np.savez(tmp_path / "a", a),
        lambda: np.savez(tmp_path / "a", weights=a),
        lambda: np.savez_compressed(tmp_path / "a", a),
        lambda: np.savetxt(tmp_path / "a.txt", a),
    ):
        with pytest.raises(TypeError, match=r"store decoded floats: use \.save\(path\)"):
            store()
    assert list(tmp_path.iterdir()) == []
    assert np.asarray(a).tolist() == ONES.tolist()
    assert np.sum(a) == 128
    assert np.concatenate([a, ONES], axis=0).shape == (4, 64)
    assert np.transpose(a).shape == (64, 2)
    assert np.allclose(a, ONES)
    assert (np.exp2(a) == 2).all()


def test_files_that_are_no_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    a = pal.encode(ONES, "PAL6T")
    a.save(path)
    with np.load(path) as parts:
        good = dict(parts)

    def changed(**parts_):
        np.savez(path, **{k: v for k, v in (good | parts_).items() if v is not None})

    def described(**changes):
        changed(description=np.array(json.dumps(json.loads(str(good["description"])) | changes)))

    rubbish = [
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(b"rubbish"),
        lambda: np.savez(path, a=ONES),
        lambda: np.save(path.open("wb"), ONES),
        lambda: changed(codes=None),
        lambda: changed(biases=None),
        lambda: changed(codes=ONES),
        lambda: changed(codes=good["codes"][:, :32]),
        lambda: changed(codes=good["codes"] + 200),
        lambda: changed(biases=good["biases"] + 3),
        lambda: changed(description=np.array("{")),
        lambda: changed(description=np.array("[1]")),
        lambda: changed(description=ONES),
        lambda: described(version=2),
        lambda: described(axis=2),
        lambda: described(axis=1.5),
        lambda: described(tensor_bias=1 << 20),
        lambda: described(format={"n": 8}),
        lambda: described(format=None),
        lambda: np.savez(path, allow=np.array([None, {}], object), **good),
        lambda: changed(codes=good["codes"].astype(object)),
    ]
    for make in rubbish:
        make()
        if make is rubbish[-2]:
            assert _same(pal.load(path), a)
            continue
        message = _refused(lambda: pal.load(path), ValueError)
        assert message, make
        assert message.startswith(f"{path} is not a PalArray's file: ")
    # Headers that claim more than memory, or any number, holds.
    for shape in ((1 << 41,), (10**31,), (1 << 20, 1 << 22), (-5,), ("a",)):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        for part in ("codes", "biases"):
            changed(**{part: None})
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(f"{part}.npy", header.getvalue() + bytes(64))
            message = _refused(lambda: pal.load(path), ValueError)
            assert message.startswith(f"{path} is not a PalArray's file: "), message
    # Damage in any place, compressed or not, gives an array of this shape or a documented error.
    for write in (np.savez, np.savez_compressed):
        write(path, **good)
        content = path.read_bytes()
        for place in range(0, len(content), 3):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with contextlib.suppress(ValueError, OSError):
                assert pal.load(path).shape == a.shape
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pal.load(path)
    with pytest.raises(TypeError, match="save takes a PalArray, not ndarray"):
        pal.save(path, ONES)
    with pytest.raises(FileNotFoundError):
        a.save(tmp_path / "none" / "a.npz")
    assert list(tmp_path.iterdir()) == []


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-100, 100),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.just(np.int16(2)),
    st.just(np.float32(1.5)),
    st.just(ONES),
    st.just(np.ma.masked),
    st.just(pal.PAL6T),
    st.just(object),
    st.just(pal.encode(ONES, "PAL8T")),
    st.lists(st.integers(0, 3), max_size=3),
    st.just(np.zeros((0, 32))),
    st.just(np.zeros(())),
    st.just(slice(0, 32)),
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(
        [
            name
            for name in pal.__all__
            if callable(getattr(pal, name)) and name not in ("save", "load")
        ]
    ),
    st.lists(ANYTHING, max_size=5),
    st.dictionaries(
        st.sampled_from(["block", "axis", "tensor_bias", "pad", "params", "n"]),
        ANYTHING,
        max_size=2,
    ),
)
def test_anything_at_all_is_right_or_a_plain_error(name, arguments, options):
    with np.errstate(all="ignore"):
        _refused(lambda: getattr(pal, name)(*arguments, **options))
