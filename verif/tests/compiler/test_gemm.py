"""Matrix products: mapped, run in the golden model and in RTL, and what does not fit."""

from dataclasses import replace

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.map.product.gemm import gemm
from pal_units import model
from pal_units.formats import PAL4A, PAL4T, PAL4U, PAL6A, PAL6T, PAL6U, PAL8A, PAL8T, PAL8U
from spu.arch import bitstream
from spu.arch.blocks import decode_blocks, reblock
from spu.arch.params import BLOCK, CONFIGS, DOTS, OPERAND_FORMATS, Architecture
from spu.engine.product_loss import half_gap
from spu.engine.streams import input_streams, result_codes
from spu.model.array import GoldenArray
from verif.expected.product_bounds import block_errors
from verif.expected.products import predicted_codes
from verif.studies.performance import run_shapes
from verif.studies.squares import run_squares

BASIC = CONFIGS["basic"]
#: Weight rows of codes, and other formats.
CODES = replace(
    BASIC,
    name="codes",
    formats=("PAL8U", "PAL6U", "PAL4U", "PAL6A"),
    bits="default",
    decoded_weights=False,
)


def _operands(rows, depth, outputs):
    rng = np.random.default_rng([rows, depth, outputs])
    return rng.uniform(-1, 1, (rows, depth)), rng.normal(size=(depth, outputs))


@pytest.mark.parametrize(
    ("shape", "arch", "fmt"),
    [
        ((16, 256, 64), BASIC, PAL8T),
        ((5, 100, 20), CODES, PAL8U),
        ((3, 32, 8), CODES, PAL6U),
        ((3, 96, 8), CODES, PAL6A),
        ((7, 160, 30), BASIC, PAL4A),
        ((3, 32, 8), BASIC, PAL6T),
        ((4, 128, 200), BASIC, PAL8T),
        ((6, 64, 48), BASIC, PAL8T),
        ((16, 256, 64), BASIC, PAL4T),
        ((5, 100, 20), CODES, PAL4U),
        ((6, 40, 10), CONFIGS["tiny"], PAL8T),
        ((3, 32, 4), CONFIGS["tiny"], PAL4T),
        ((7, 96, 10), Architecture("odd", ("MvM", "mMa"), 8, 4, 16, 16, 32), PAL8T),
        ((5, 64, 24), Architecture("wide", ("mm", "mm"), 16, 8, 16, 16, 16, data_bits=128), PAL8T),
    ],
)
def test_products_equal_the_prediction_in_as_many_cycles_as_planned(shape, arch, fmt):
    x, weight = _operands(*shape)
    plan = gemm(arch, weight, shape[0], fmt)
    image = bitstream.decode(bitstream.encode(plan.image), arch).image
    result = GoldenArray(image).run(input_streams(plan, x), plan.rounds, keep_links=False)
    assert result.cycles == plan.cycles
    codes = result_codes(plan, result.outputs)
    assert np.array_equal(codes, predicted_codes(plan, x, weight))
    assert codes.any()


@pytest.mark.parametrize("weights", [PAL4A, PAL8U, PAL6A], ids=lambda f: f.name)
def test_weights_may_have_a_format_that_data_have_not(weights):
    x, weight = _operands(4, 96, 16)
    plan = gemm(BASIC, weight, len(x), weights=weights)
    outputs = GoldenArray(plan.image).run(input_streams(plan, x), plan.rounds).outputs
    codes = result_codes(plan, outputs)
    assert np.array_equal(codes, predicted_codes(plan, x, weight))
    assert not np.array_equal(codes, predicted_codes(gemm(BASIC, weight, len(x)), x, weight))


def test_a_product_keeps_the_multipliers_of_basic_busy():
    _, weight = _operands(1, 256, 64)
    plan = gemm(BASIC, weight, 64)
    assert plan.macs / plan.cycles >= 0.95 * BASIC.peak_macs_per_cycle


def test_products_in_rtl(tmp_path, record_property):
    """The bench compares results with the prediction, and cycles with the plan."""
    rows = run_shapes(BASIC, [(64, 256, 64), (9, 64, 40)], tmp_path)
    assert [row["held_input"] + row["held_output"] for row in rows] == [0, 0]
    assert rows[0]["steady"] >= 0.95
    assert rows[0]["end_to_end"] >= 0.85


def test_words_of_several_slices_take_fewer_words_and_no_more_cycles():
    x, weight = _operands(16, 256, 64)
    plans = [gemm(BASIC, weight, 16, fmt) for fmt in (PAL8T, PAL4T)]
    words = [sum(map(len, input_streams(plan, x).values())) for plan in plans]
    assert words[1] * 2 == words[0]
    assert plans[1].cycles <= plans[0].cycles


def test_the_same_seed_gives_the_same_program():
    _, weight = _operands(1, 128, 64)
    one, two = (bitstream.encode(gemm(BASIC, weight, 8).image) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("shape", "arch", "formats", "rule"),
    [
        ((4, 1024, 64), BASIC, (PAL8T, PAL8T), "need 128 weight rows, a tile of basic has 64"),
        (
            (4, 32, 8),
            BASIC,
            (PAL8U, PAL8T),
            "array basic takes no PAL8U; it takes PAL8T, PAL6T, PAL4T, PAL4A",
        ),
        ((4, 32, 8), BASIC, (PAL8T, PAL8A), "PAL8A has logs of 6 fraction bits, dot products of "),
        ((4, 32, 8), CODES, (PAL8U, PAL4A), "array codes takes no PAL4A; it takes PAL8U, PAL6U"),
        (
            (1, 4096, 8),
            replace(BASIC, name="deep", weight_rows=2048),
            (PAL8T, PAL8T),
            "a depth of 4096 exceeds the 4064 that the accumulator holds",
        ),
    ],
)
def test_what_does_not_fit_is_refused(shape, arch, formats, rule):
    _, weight = _operands(*shape)
    fmt, weights = formats
    with pytest.raises(CompileError, match=rule):
        gemm(arch, weight, shape[0], fmt, weights=weights)


@pytest.mark.regress
def test_squares_in_rtl_overlap_loading_with_work(tmp_path):
    rows = run_squares(BASIC, (128, 256, 384, 512), tmp_path)
    assert all(row["share"] >= 0.9 for row in rows)
    assert [row["programs"] for row in rows] == [1, 1, 3, 4]


@pytest.mark.parametrize("name", OPERAND_FORMATS)
def test_blocks_are_as_far_off_as_their_bound_says_at_most(name):
    """Near the least and the highest levels, too, and with block biases of whole octaves."""
    fmt, rng, bias = OPERAND_FORMATS[name].with_block(BLOCK), np.random.default_rng(6), 3
    worst = 0.0
    for top in rng.uniform(-7, 0, 300):
        values = 2.0 ** (top - rng.choice([0.1, 1, 9]) * rng.uniform(0, 1, (1, 20, BLOCK)))
        values[..., 0] = 2.0**top
        values = model.decode16(model.encode16(values, bias), bias)
        codes, beta = reblock(model.encode16(values, bias), fmt)
        off = np.abs(decode_blocks(codes, beta[..., None], bias, fmt) - values)
        _, bound, _ = block_errors((values, 0 * values), fmt, bias, DOTS["default"])
        worst = max(worst, float((off / bound).max()))
    assert 0.8 < worst < 1 + 1e-9


@pytest.mark.parametrize("name", ["PAL4A", "PAL6A", "PAL8A"])
def test_the_highest_level_of_a_codebook_may_be_the_farthest(name):
    """Numbers above it, to the block's top, are rounded down to it."""
    levels, _ = OPERAND_FORMATS[name].book_levels
    numbers = np.linspace(0, 1, 5001)
    off = np.max(
        [np.abs(numbers[:, None] - np.abs(row[row >= 0])).min(axis=1) for row in levels], 0
    )
    bound = half_gap(numbers, OPERAND_FORMATS[name])
    assert (np.maximum.accumulate(off) <= bound + 1e-12).all()
