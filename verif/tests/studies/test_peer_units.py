"""Sums of products of the peers, each against its own model, from codes and from decoded ones."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from verif.baselines.elements import FP4_E2M1, FP6_E2M3, FP8_E2M5, FP8_E3M4, FP8_E4M3, FP8_E5M2
from verif.baselines.products import (
    dropped_mean,
    dropped_products,
    float_products,
    integer_products,
    unit_shift,
)
from verif.baselines.rtl.blocked import PeerEdge
from verif.baselines.rtl.floating import FloatSlice
from verif.baselines.rtl.integer import IntegerSlice
from verif.stimulus.vectors import Vectors, check_units, join

LANES, SLICES = 4, 3000


def _codes(rng, bits, special=()):
    """Random codes with corners, and which slices hold special ones."""
    codes = rng.integers(0, 1 << bits, (2, SLICES, LANES))
    corners = [0, 1, (1 << (bits - 1)) - 1, 1 << (bits - 1), (1 << bits) - 1]
    codes = np.where(rng.random(codes.shape) < 0.2, rng.choice(corners, codes.shape), codes)
    magnitudes = codes & ((1 << (bits - 1)) - 1)
    rare = rng.random(codes.shape) < 0.01
    codes = np.where(np.isin(magnitudes, special) & ~rare, 0, codes)
    return codes, np.isin(codes & ((1 << (bits - 1)) - 1), special).any(axis=(0, 2))


class AtEdge(wiring.Component):
    """A slice of decoded operands behind edges that decode them; ports as of a slice of codes.

    ``edges`` are of ``a`` and of ``b``; None takes codes as they are.
    """

    latency = 0

    def __init__(self, of_codes, decoded, **edges):
        self.decoded, self.edges = decoded, edges
        super().__init__(dict(of_codes.signature.members.items()))

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoded = decoded = self.decoded
        nan = decoded.nan
        for name, edge in self.edges.items():
            port = getattr(decoded, name)
            if edge is None:
                m.d.comb += port.eq(getattr(self, name))
                continue
            m.submodules[name] = edge
            m.d.comb += [edge.codes.eq(getattr(self, name)), port.eq(edge.o)]
            if "scale" in edge.signature.members:
                nan = nan | edge.scale.nan
        m.d.comb += [self.o.eq(decoded.o), self.nan.eq(nan)]
        return m


def _case(unit, codes, products, special, offset=0):
    """Vectors of a slice."""
    bits = len(unit.a.as_value()) // LANES
    inputs = {name: join(c, bits) for name, c in zip("ab", codes, strict=True)}
    total = np.where(special, 0, products.sum(axis=1) + offset)
    assert np.abs(total).max() < 1 << (len(unit.o) - 1)
    care = np.where(special, 0, (1 << len(unit.o)) - 1)
    return Vectors(unit, inputs, {"o": total, "nan": special}, None, {"o": care})


FLOATS = [
    (FP8_E4M3, None, "truncate"),
    (FP8_E4M3, 12, "truncate"),
    (FP8_E4M3, 12, "jam"),
    (FP8_E3M4, None, "truncate"),
    (FP8_E3M4, 12, "truncate"),
    (FP8_E3M4, 8, "jam"),
    (FP8_E3M4, 10, "jam"),
    (FP8_E4M3, 9, "jam"),
    (FP6_E2M3, 9, "truncate"),
    (FP6_E2M3, 10, "jam"),
    (FP4_E2M1, 6, "truncate"),
    (FP4_E2M1, 7, "jam"),
    (FP8_E2M5, 11, "jam"),
    (FP8_E2M5, None, "truncate"),
    (FP8_E2M5, 9, "truncate"),
    (FP8_E5M2, 12, "truncate"),
    (FP8_E5M2, 5, "truncate"),
    (FP6_E2M3, None, "truncate"),
    (FP4_E2M1, None, "truncate"),
    (FP4_E2M1, None, "jam"),
]


@pytest.mark.regress
def test_integer_sums_are_exact(tmp_path, record_property):
    cases = {}
    for bits in (8, 5, 4):
        codes, special = _codes(np.random.default_rng(bits), bits)
        unit = IntegerSlice(bits, LANES)
        products = integer_products(bits)[codes[0], codes[1]]
        cases[f"INT{bits}"] = _case(unit, codes, products, special)
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


#: Bits, dropped columns, bits of a constant's fraction.
DROPPED = [(8, 6, 2), (6, 5, 2), (4, 2, 0), (7, 3, 3)]


@pytest.mark.parametrize("recoded", [pytest.param(False, marks=pytest.mark.regress), True])
def test_integer_sums_with_dropped_columns_equal_their_models(recoded, tmp_path, record_property):
    """Digits are taken of ``b``, or at an edge of ``a``."""
    cases = {}
    for i, (bits, dropped, fraction) in enumerate([*DROPPED, (5, 0, 0)]):
        rng = np.random.default_rng(i)
        codes, special = _codes(rng, bits)
        offset = int(rng.integers(-40, 40)) if dropped else 0
        cut = (dropped, offset, fraction)
        unit = IntegerSlice(bits, LANES, *cut)
        if recoded:
            decoded = IntegerSlice(bits, LANES, *cut, recoded=True)
            unit = AtEdge(unit, decoded, a=PeerEdge(LANES, bits, "none", recoded=True), b=None)
        left, right = reversed(codes) if recoded else codes
        products = dropped_products(bits, dropped)[left, right] << fraction
        cases[f"INT{bits} {dropped} {fraction}"] = _case(unit, codes, products, special, offset)
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


def test_dropped_columns_lack_what_their_bits_can_hold():
    for bits in (4, 5, 6, 8, 9):
        exact = integer_products(bits)
        assert np.array_equal(dropped_products(bits, 0), exact)
        for dropped in range(1, bits + 1):
            lacking = exact - (dropped_products(bits, dropped) << dropped)
            rows = range(0, min(dropped, bits), 2)
            # A row lacks its bits below the column, and the 1 of a negation at its own place.
            assert lacking.min() >= 0
            assert lacking.max() <= sum((1 << dropped) - (1 << r) + (1 << r) for r in rows)
            assert dropped_mean(bits, dropped) == pytest.approx(lacking.mean() / 2**dropped)


@pytest.mark.parametrize("decoded", [pytest.param(False, marks=pytest.mark.regress), True])
def test_floating_point_sums_equal_their_models(decoded, tmp_path, record_property):
    cases = {}
    for i, (fmt, window, rounding) in enumerate(FLOATS):
        special = range(fmt.codes, 1 << (fmt.bits - 1))
        codes, nan = _codes(np.random.default_rng(i), fmt.bits, special)
        assert nan.any() == bool(special)
        unit = FloatSlice(fmt, LANES, window, rounding)
        if decoded:
            unit = AtEdge(
                unit,
                FloatSlice(fmt, LANES, window, rounding, decoded=True),
                **{name: PeerEdge(LANES, fmt.bits, "none", fmt) for name in "ab"},
            )
        products = float_products(fmt, window, rounding)[codes[0], codes[1]]
        cases[f"{fmt.name} {window} {rounding}"] = _case(unit, codes, products, nan)
    assert check_units(cases, tmp_path) == dict.fromkeys(cases, SLICES)
    record_property("cases", SLICES * len(cases))


def test_exact_products_are_those_of_the_values():
    for fmt in (FP8_E4M3, FP8_E5M2, FP6_E2M3, FP4_E2M1):
        table = float_products(fmt, None, "truncate")[: fmt.codes, : fmt.codes]
        unit = 2.0 ** (-2 * (fmt.bias - 1 + fmt.mantissa_bits))
        assert np.array_equal(table * unit, np.outer(fmt.element.levels, fmt.element.levels))
        assert unit_shift(fmt, 12) == max(fmt.product_bits - 12, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IntegerSlice(1, 4), "bits must be 2 or more, not 1"),
        (lambda: IntegerSlice(8, 4, dropped=9), "dropped must be 0 to 8, not 9"),
        (lambda: FloatSlice(FP8_E4M3, 4, 12, "nearest"), "rounding must be one of truncate"),
    ],
)
def test_units_refuse_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
