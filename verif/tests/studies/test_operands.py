"""Codes and block scales of operands decode to what the accuracy study rounds to."""

import numpy as np
import pytest

from verif.area.operands import fine_scaled, microscaling, nvfp4
from verif.baselines.accumulators import dot_accumulators
from verif.baselines.elements import E2M1, E2M3, E2M5, E3M4, E4M3, FP4_E2M1, FP6_E2M3, INT8, MXINT8
from verif.baselines.formats import QUANTISERS
from verif.baselines.pairs import e4m3, eighths
from verif.baselines.products import float_products

RNG = np.random.default_rng(5)
#: Zeros, ranges that need every bias of a byte, and blocks far below the largest.
DATA = {
    "gaussian": RNG.standard_normal((40, 256)),
    "cauchy": RNG.standard_cauchy((40, 256)),
    "sparse": RNG.standard_normal((40, 256)) * (RNG.random((40, 256)) < 0.02),
    "wide": RNG.standard_normal((40, 256)) * np.exp2(RNG.integers(-25, 10, (40, 1))),
    "zeros": np.zeros((2, 64)),
}


def _levels(codes, element):
    if element.name == "INT8":
        return np.where(codes < 128, codes, codes - 256) * element.levels[1]
    sign = codes >> (element.bits - 1)
    return np.where(sign, -1.0, 1.0) * element.levels[codes - (sign << (element.bits - 1))]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("element", [E2M3, INT8, E2M5], ids=lambda e: e.name)
def test_fine_scales_decode_to_the_studys_values(element, data):
    x = DATA[data]
    operands = fine_scaled(element)(x)
    assert (operands.biases.min() >= -127, operands.biases.max()) == (True, 0)
    top = round(8 * np.log2(operands.scale))
    values = _levels(operands.codes, element).reshape(len(x), -1, operands.block)
    decoded = values * np.exp2((top + operands.biases) / 8)[..., None]
    assert np.array_equal(decoded.reshape(x.shape), QUANTISERS[f"{element.name}/8th"].round(x))


@pytest.mark.parametrize("data", DATA)
def test_nvfp4_decodes_to_the_studys_values(data):
    x = DATA[data]
    operands = nvfp4()(x)
    assert np.isin(operands.biases, range(127)).all()
    values = _levels(operands.codes, E2M1).reshape(len(x), -1, operands.block)
    decoded = values * (E4M3.levels[operands.biases] * operands.scale)[..., None]
    assert np.array_equal(decoded.reshape(x.shape), QUANTISERS["NVFP4-4/6"].round(x))


@pytest.mark.parametrize("data", ["gaussian", "cauchy"])
@pytest.mark.parametrize(
    ("name", "element"), [("MX-E2M5", E2M5), ("MX-E3M4", E3M4), ("MXINT8", MXINT8)]
)
def test_microscaling_decodes_to_the_studys_values(name, element, data):
    x = DATA[data]
    operands = microscaling(element)(x)
    values = _levels(operands.codes, element).reshape(len(x), -1, operands.block)
    decoded = values * (np.exp2(operands.biases / 8) * operands.scale)[..., None]
    assert np.array_equal(decoded.reshape(x.shape), QUANTISERS[name].round(x))


def test_a_block_whose_e4m3_scale_is_zero_is_zero():
    x = np.full((1, 32), 1.0)
    x[0, 16:] = 2.0**20
    assert not nvfp4()(x).codes[0, :16].any()
    assert not QUANTISERS["NVFP4-4/6"].round(x)[0, :16].any()
    assert not QUANTISERS["IF4"].round(x)[0, :16].any()


#: Encoder, format, the study's name, its scale, guard bits, and the relative error allowed.
DOTS = {
    "NVFP4-4/6": (nvfp4(), FP4_E2M1, e4m3(), 28, 1e-12),
    "E2M3/8th": (fine_scaled(E2M3), FP6_E2M3, eighths(10), 20, 2.0**-11),
}


@pytest.mark.parametrize("by_block", [False, True])
@pytest.mark.parametrize("name", DOTS)
def test_dot_products_are_those_of_the_studys_values(name, by_block):
    """All bits kept: a significand of 10 bits is off by 2^-11, and E4M3 by nothing."""
    encode, fmt, scale, guard, error = DOTS[name]
    x, w = np.abs(RNG.standard_normal((2, 6, 256)) * np.exp2(RNG.integers(-3, 3, (2, 6, 1))))
    a, b = encode(x), encode(w)
    total = dot_accumulators(
        a.codes,
        a.biases,
        b.codes,
        b.biases,
        float_products(fmt, None, "truncate")[None],
        a.block,
        16,
        guard,
        scale=scale,
        by_block=by_block,
    )
    unit = 2.0 ** (-2 * (fmt.bias - 1 + fmt.mantissa_bits)) * scale.unit * 2.0**-guard
    rounded = QUANTISERS[name].round
    exact = rounded(x) @ rounded(w).T
    assert total * (unit * a.scale * b.scale) == pytest.approx(exact, rel=error)
