"""Fine block scales and Winograd's slices: RTL against integers, and dot products of both."""

import numpy as np
import pytest

from verif.baselines.accumulators import Winograd, dot_accumulators
from verif.baselines.booth import booth_product
from verif.baselines.elements import E4M3
from verif.baselines.pairs import e4m3, eighth_significands, eighths
from verif.baselines.products import dropped_products, integer_products
from verif.baselines.rtl.scales import E4M3Scale, EighthScale, FineScale
from verif.baselines.rtl.winograd import WinogradCorrection, WinogradSlice
from verif.stimulus.vectors import Vectors, check_unit, check_units, join

SLICES = 2000
#: Bits, lanes, dropped columns, compensation, its fraction bits.
WINOGRAD = [
    (8, 16, 0, 0, 0),
    (8, 4, 3, 0, 0),
    (8, 6, 8, 37, 2),
    (8, 4, 5, -3, 1),
    (7, 4, 2, 5, 0),
    (6, 2, 1, 0, 0),
    (5, 4, 5, 9, 1),
    (4, 2, 4, 0, 0),
]
#: Bits of the sum and of the significand, dropped columns, compensation.
FINE = [(20, 4, 0, 0), (20, 8, 0, 0), (20, 6, 5, 2), (12, 8, 8, 5), (14, 5, 4, 1), (9, 3, 3, 0)]


def _operands(rng, bits, lanes):
    """Two's complement codes, corners among them and whole slices of one corner each."""
    codes = rng.integers(0, 1 << bits, (2, SLICES, lanes))
    corners = np.array([0, 1, (1 << (bits - 1)) - 1, 1 << (bits - 1), (1 << bits) - 1])
    codes = np.where(rng.random(codes.shape) < 0.3, rng.choice(corners, codes.shape), codes)
    pairs = np.stack(np.meshgrid(corners, corners)).reshape(2, -1)
    codes[:, : pairs.shape[1]] = pairs[..., None]
    return codes


def _signed(codes, bits):
    return np.where(codes < 1 << (bits - 1), codes, codes - (1 << bits))


def _winograd_case(i, bits, lanes, dropped, compensation, fraction):
    rng = np.random.default_rng(i)
    codes = _operands(rng, bits, lanes)
    a, b = _signed(codes, bits)
    unit = WinogradSlice(bits, lanes, dropped, compensation, fraction)
    inputs = {"a": join(codes[0], bits), "b": join(codes[1], bits)}
    corrections = [-(x[:, ::2] * x[:, 1::2]).sum(axis=1) >> dropped for x in (a, b)]
    inputs.update(correction_a=corrections[0], correction_b=corrections[1])
    if dropped:
        sums = [a[:, ::2] + b[:, 1::2], a[:, 1::2] + b[:, ::2]]
        table = dropped_products(bits + 1, dropped)
        total = table[sums[0], sums[1]].sum(axis=1)  # negative numbers count from the end
        total = total + sum(corrections)
    else:
        total = (a * b).sum(axis=1)
    total = (total << fraction) + compensation
    assert np.abs(total).max() < 1 << (len(unit.o) - 1)
    return Vectors(unit, inputs, {"o": total, "nan": np.zeros(SLICES, np.int64)})


def test_winograd_slices_equal_their_models(tmp_path, record_property):
    cases = {str(case): _winograd_case(i, *case) for i, case in enumerate(WINOGRAD)}
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


def test_winograd_corrections_are_exact(tmp_path, record_property):
    cases = {}
    for i, (bits, lanes, dropped) in enumerate([(8, 16, 0), (8, 6, 3), (5, 2, 5), (7, 4, 0)]):
        codes = _operands(np.random.default_rng(i), bits, lanes)[0]
        x = _signed(codes, bits)
        unit = WinogradCorrection(bits, lanes, dropped)
        total = -(x[:, ::2] * x[:, 1::2]).sum(axis=1) >> dropped
        half = 1 << (len(unit.o) - 1)
        assert -half <= total.min() <= total.max() < half
        cases[f"{bits} {lanes} {dropped}"] = Vectors(unit, {"x": join(codes, bits)}, {"o": total})
        model = Winograd(bits, lanes, dropped, 2).corrections(codes)
        assert np.array_equal(model[:, 0], total << 2)
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


def _sums(rng, bits):
    half = 1 << (bits - 1)
    corners = [0, 1, -1, half - 1, -half, 2, -2]
    return np.where(
        rng.random(SLICES) < 0.3, rng.choice(corners, SLICES), rng.integers(-half, half, SLICES)
    )


def test_fine_scales_multiply(tmp_path, record_property):
    cases = {}
    for i, (sum_bits, bits, dropped, compensation) in enumerate(FINE):
        rng = np.random.default_rng(i)
        sums, significands = _sums(rng, sum_bits), rng.integers(0, 1 << bits, SLICES)
        significands[rng.random(SLICES) < 0.2] = (1 << bits) - 1
        product = booth_product(sums, significands, bits // 2 + 1, dropped) + compensation
        if not dropped:
            assert np.array_equal(product, sums * significands)
        unit = FineScale(sum_bits, bits, dropped, compensation)
        assert np.abs(product).max() < 1 << (len(unit.o) - 1)
        cases[f"{sum_bits} x {bits} {dropped}"] = Vectors(
            unit, {"sum": sums, "significand": significands}, {"o": product}
        )
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


def test_significands_are_the_nearest():
    assert eighth_significands(4) == (8, 9, 10, 10, 11, 12, 13, 15)
    for bits in range(3, 11):
        got = np.array(eighth_significands(bits))
        assert np.isin(got, range(1 << (bits - 1), 1 << bits)).all()
        assert np.abs(got - 2.0 ** (np.arange(8) / 8 + bits - 1)).max() <= 0.5


def test_all_pairs_of_biases_scale_as_the_model_says(tmp_path, record_property):
    cases = {}
    beta = np.stack(np.meshgrid(*2 * [np.arange(-128, 128)])).reshape(2, -1)
    total = np.minimum(beta.sum(axis=0), 0)
    octaves = np.minimum(np.ceil(-total / 8).astype(np.int64), 31)
    for bits in (4, 8):
        cases[str(bits)] = Vectors(
            EighthScale(bits),
            {"beta_a": beta[0], "beta_b": beta[1]},
            {"octaves": octaves, "significand": np.array(eighth_significands(bits))[total % 8]},
        )
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, 1 << 16)
    record_property("cases", len(cases) << 16)
    # At most half a unit off 2^(sum / 8), and the tables of the numpy model are the same.
    below = (beta <= 0).all(axis=0)
    scale = eighths(8)
    (octaves_a, index_a), (octaves_b, index_b) = (scale.split(v[below]) for v in beta)
    significand = scale.significands[index_a, index_b]
    down = octaves_a + octaves_b + scale.octaves[index_a, index_b]
    assert np.array_equal(np.minimum(down, 31), octaves[below])
    assert np.array_equal(significand, np.array(eighth_significands(8))[total[below] % 8])
    assert np.ldexp(significand * scale.unit, -down) == pytest.approx(
        np.exp2(total[below] / 8), rel=2**-8
    )


def test_all_pairs_of_e4m3_scales_are_exact(tmp_path, record_property):
    codes = np.stack(np.meshgrid(*2 * [np.arange(128)])).reshape(2, -1)
    exponent, mantissa = codes >> 3, codes & 7
    significand = (mantissa + 8 * (exponent > 0)).prod(axis=0)
    octaves = 30 - np.maximum(exponent, 1).sum(axis=0)
    nan = (codes == 127).any(axis=0)
    expected = {"significand": significand, "octaves": octaves, "nan": nan}
    inputs = {"scale_a": codes[0], "scale_b": codes[1]}
    assert check_unit(E4M3Scale(), inputs, expected, tmp_path) == 1 << 14
    record_property("cases", 1 << 14)
    scale = e4m3()
    (octaves_a, index_a), (octaves_b, index_b) = (scale.split(v[~nan]) for v in codes)
    assert np.array_equal(octaves_a + octaves_b, octaves[~nan])
    assert np.array_equal(scale.significands[index_a, index_b], significand[~nan])
    value = np.ldexp(significand * scale.unit, -octaves)[~nan]
    assert np.array_equal(value, E4M3.levels[codes[:, ~nan]].prod(axis=0))
    with pytest.raises(ValueError, match="E4M3 scales must be codes from 0 to 126"):
        scale.split(np.array([127]))


def _dots(rng, kind, rows, columns, block):
    """Codes of INT8 and block scales of one kind."""
    codes = rng.integers(0, 256, (rows, columns))
    shape = rows, columns // block
    return codes, rng.integers(0, 127, shape) if kind == "e4m3" else -rng.integers(0, 128, shape)


@pytest.mark.parametrize("by_block", [False, True])
@pytest.mark.parametrize("kind", ["octaves", "eighths", "e4m3"])
@pytest.mark.parametrize("winograd", [False, True])
def test_accumulators_are_those_of_their_definition(kind, by_block, winograd):
    rng = np.random.default_rng(7)
    block, lanes, guard, offset = 32, 16, 3, 5
    (a, beta_a), (b, beta_b) = (_dots(rng, kind, n, 96, block) for n in (5, 4))
    scale = {"octaves": None, "eighths": eighths(6, 4, 1), "e4m3": e4m3(3, 2)}[kind]
    if kind == "octaves":
        beta_a, beta_b = beta_a // 16 * 8, beta_b // 16 * 8
    form = Winograd(8, lanes, 3, 1) if winograd else None
    tables = (form.products() if form else integer_products(8))[None]
    got = dot_accumulators(
        a,
        beta_a,
        b,
        beta_b,
        tables,
        block,
        lanes,
        guard,
        offset,
        scale=scale,
        by_block=by_block,
        winograd=form,
    )
    x, y = _signed(a, 8), _signed(b, 8)
    for i in range(5):
        for j in range(4):
            assert got[i, j] == _one(
                x[i], beta_a[i], y[j], beta_b[j], kind, by_block, winograd, block, lanes
            )


def _one(x, beta_x, y, beta_y, kind, by_block, winograd, block, lanes):
    """An accumulator by Python's integers."""
    out = 0
    for at, (p, q) in enumerate(zip(beta_x.tolist(), beta_y.tolist(), strict=True)):
        if kind == "e4m3":
            fields = [(max(v >> 3, 1), (v & 7) + 8 * (v >> 3 > 0)) for v in (p, q)]
            down, significand, digits, dropped, more = (
                30 - fields[0][0] - fields[1][0],
                fields[0][1] * fields[1][1],
                *(5, 3, 2),
            )
        else:
            down, significand, digits, dropped, more = min(-((p + q) // 8), 31), 0, 4, 4, 1
            significand = round(2 ** ((p + q) % 8 / 8 + 5))
        terms = []
        for first in range(at * block, (at + 1) * block, lanes):
            u, v = x[first : first + lanes], y[first : first + lanes]
            total = int((u * v).sum())
            if winograd:
                total = sum(
                    int(booth_product(u[k] + v[k + 1], u[k + 1] + v[k], 5, 3)) << 1
                    for k in range(0, lanes, 2)
                )
                total += sum((int(-(w[::2] * w[1::2]).sum()) >> 3) << 1 for w in (u, v))
            terms.append(total + 5)
        terms = [sum(terms)] if by_block else terms
        if kind != "octaves":
            terms = [int(booth_product(t, significand, digits, dropped)) + more for t in terms]
        out += sum((term << 3) >> down for term in terms)
    return out


def test_means_of_what_is_dropped_are_those_of_many_slices():
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 256, (2, 40000, 16))
    x, y = _signed(codes, 8)
    for dropped in (1, 3, 5):
        form = Winograd(8, 16, dropped)
        kept = form.products()[x[:, ::2] + y[:, 1::2], x[:, 1::2] + y[:, ::2]].sum(axis=1)
        kept = kept + form.corrections(codes).sum(axis=(0, 2))
        lacking = (x * y).sum(axis=1) / 2**dropped - kept
        assert form.lacking() == pytest.approx(lacking.mean(), abs=0.05)
        assert lacking.min() >= 0
    assert Winograd(8, 16).lacking() == pytest.approx(0, abs=1e-9)
    for scale in (eighths(6, 5), e4m3(7)):
        sums = rng.integers(-(1 << 19), 1 << 19, (20000, 1))
        significands = scale.significands.reshape(1, -1)
        kept = booth_product(sums, significands, scale.digits, scale.dropped)
        lacking = sums * significands / 2.0**scale.dropped - kept
        assert scale.lacking == pytest.approx(lacking.mean(), abs=0.02)
        assert scale.lacking > 0.5
    assert eighths(6).lacking == 0


def _accumulated(**changes):
    given = {
        "a": np.zeros((2, 32), np.int64),
        "beta_a": np.zeros((2, 1), np.int64),
        "b": np.zeros((3, 32), np.int64),
        "beta_b": np.zeros((3, 1), np.int64),
        "tables": integer_products(4)[None],
        "block": 32,
        "lanes": 16,
        "guard_bits": 0,
    }
    return dot_accumulators(**{**given, **changes})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WinogradSlice(3, 16), "bits must be 4 or more, not 3"),
        (lambda: WinogradSlice(8, 5), "lanes must be even and 2 or more, not 5"),
        (lambda: WinogradSlice(8, 16, 9), "dropped must be 0 to 8, not 9"),
        (lambda: WinogradCorrection(8, 0), "lanes must be even and 2 or more, not 0"),
        (lambda: FineScale(20, 11), "significand_bits must be 3 to 10, not 11"),
        (lambda: FineScale(11, 8), "sum_bits must be 12 or more, not 11"),
        (lambda: FineScale(20, 6, 7), "dropped must be 0 to 6, not 7"),
        (lambda: FineScale(20, 6, 3, 5), "compensation must be 0 to 4, not 5"),
        (lambda: EighthScale(2), "significand_bits must be 3 to 10, not 2"),
        (lambda: eighths(8, 9), "dropped must be 0 to 8, not 9"),
        (lambda: e4m3(0, -1), "compensation must be 0 to 5, not -1"),
        (lambda: _accumulated(lanes=12), "lanes of 12 must divide blocks of 32"),
        (lambda: _accumulated(block=64), "blocks of 64, and those rows of 32"),
        (lambda: _accumulated(beta_b=np.zeros((3, 2), np.int64)), r"not \(3, 2\)"),
        (lambda: _accumulated(tables=np.zeros((2, 16, 16), np.int64)), "1 or 8 tables, not 2"),
        (lambda: _accumulated(winograd=Winograd(4, 8)), "slices must be 16, not 8"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
