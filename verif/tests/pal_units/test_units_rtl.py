"""Block units in RTL against the numpy model: decoder, dot products, encoders, reblock."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from pal_units import model
from pal_units.dot_params import DOT_PARAMS, DotParams
from pal_units.formats import PAL4T, PAL4U, PAL6T, PAL6U, PAL8T, PAL8U, PAL16, Format
from pal_units.model import edge
from pal_units.rtl.adder import Adder
from pal_units.rtl.adder16 import Adder16
from pal_units.rtl.block_accumulator import BlockAccumulator
from pal_units.rtl.convert import FloatToPal, IntToPal, PalToFloat, Unblock
from pal_units.rtl.decoder import ElementDecoder
from pal_units.rtl.elementwise import Divider, Multiplier
from pal_units.rtl.evaluate import evaluate
from pal_units.rtl.matrix import DotMatrix, DotUnit
from pal_units.rtl.reblock import ReblockUnit
from verif.stimulus.block_cases import accumulator, accumulator_encoder, block_dot, reblock
from verif.stimulus.codec_cases import (
    element_decoder,
    element_encoder,
    integer_log,
    linear16,
    magnitude_encoder,
)
from verif.stimulus.codes import SMALL, TOGETHER, codes_of, corner_codes, random_biases
from verif.stimulus.vectors import Vectors, check_unit, check_units, join

#: Both profiles of 8 bits, which the matrix unit takes.
FORMATS_8 = (PAL8T, PAL8U)
UNEQUAL = (PAL8T, PAL8U.with_block(16))
DEFAULT = DOT_PARAMS["PAL8T"]


def _check(cases, work, record_property):
    """One simulation of all cases side by side; how many vectors of each were compared."""
    counts = check_units(cases, work)
    assert all(counts.values())
    for name, count in counts.items():
        record_property("cases", (name, count))
    return counts


def test_decoder_equals_the_format_for_every_code(tmp_path, record_property):
    counts = _check(
        {
            "-".join(f.name for f in formats): Vectors(
                *element_decoder(
                    formats[0], ElementDecoder(formats, max(f.fraction_bits for f in formats))
                )
            )
            for formats in (FORMATS_8, (PAL6T, PAL6U), (PAL4T, PAL4U), (PAL16,))
        },
        tmp_path,
        record_property,
    )
    assert counts == {"PAL8T-PAL8U": 512, "PAL6T-PAL6U": 128, "PAL4T-PAL4U": 32, "PAL16": 1 << 16}


def test_encoders_and_logarithms_equal_the_model(tmp_path, record_property):
    makers = (magnitude_encoder, element_encoder)
    cases = {f"{make.__name__} {f.name}": Vectors(*make(f)) for make in makers for f in SMALL}
    cases |= {make.__name__: Vectors(*make()) for make in (linear16, integer_log)}
    counts = _check(cases, tmp_path, record_property)
    assert counts["magnitude_encoder PAL8T"] == counts["linear16"] == 1 << 16


def test_pipeline_stages_change_only_the_latency(tmp_path, record_property):
    a, b = (v.ravel() for v in np.meshgrid(codes_of(PAL6T), codes_of(PAL6T)))
    units = [Multiplier(PAL6T, stages) for stages in (1, 2, 3)]
    assert [unit.latency for unit in units] == [1, 2, 3]
    _check(
        {
            f"{unit.latency} stages": Vectors(unit, {"a": a, "b": b}, {"o": model.mul(a, b, PAL6T)})
            for unit in units
        },
        tmp_path,
        record_property,
    )


def test_waves_are_left_as_fst(tmp_path):
    codes = np.arange(256)
    check_unit(
        Multiplier(PAL8U),
        {"a": codes, "b": codes},
        {"o": model.mul(codes, codes, PAL8U)},
        tmp_path,
        waves=True,
    )
    content = (tmp_path / "waves.fst").read_bytes()
    # Block type 0 (header), then its length of 329 bytes, big-endian.
    assert content[:9] == bytes([0]) + (329).to_bytes(8, "big")
    assert len(content) > 1000


def test_a_difference_is_shown_decoded(tmp_path):
    from rtl.simulator import SimulationError

    codes = np.arange(256)
    want = model.mul(codes, codes, PAL8U)
    want[77] ^= 1
    with pytest.raises(
        SimulationError,
        match=r"1 of 256 vectors differ; vector 77: inputs "
        rf"{{'a': '0x4d', 'b': '0x4d'}}, expected {{'o': '{int(want[77]):#x}'}}",
    ):
        check_unit(Multiplier(PAL8U), {"a": codes, "b": codes}, {"o": want}, tmp_path)


def test_block_dot_equals_the_model_on_corner_weighted_blocks(tmp_path, record_property):
    """100,000 blocks at 8 bits."""
    _check(
        {fmt.name: Vectors(*block_dot(fmt, 50_000 if fmt.n == 8 else 20_000)) for fmt in SMALL},
        tmp_path,
        record_property,
    )


def test_block_sum_over_several_slices_ignores_idle_cycles(tmp_path, record_property):
    cases = {
        fmt.name: _slices(fmt, lanes)
        for fmt, lanes in (
            (PAL8T, 8),
            (PAL8U, 16),
            (PAL6T.with_block(16), 4),
            (PAL4T.with_block(16), 8),
        )
    }
    assert min(_check(cases, tmp_path, record_property).values()) > 300


def _slices(fmt, lanes):
    """Blocks of several slices; in a fifth of the cycles there is none."""
    rng, params, count = np.random.default_rng(8), DOT_PARAMS[fmt.name], 4000
    a, b = corner_codes(rng, fmt, (2, count, lanes))
    mac = rng.random(count) < 0.8
    slices = fmt.block // lanes
    block_last = mac & ((np.cumsum(mac) - 1) % slices == slices - 1)
    block = np.cumsum(block_last) - block_last
    beta = rng.integers(-40, 1, (2, count))[:, block]
    _, eighths = model.split_bias(*beta)
    products = model.product_tables(fmt, fmt, params)[eighths[:, None], a, b].sum(axis=1) * mac
    nans = (model.is_nan(a, fmt) | model.is_nan(b, fmt)).any(axis=1) & mac
    ends = np.flatnonzero(block_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    term = model.scale_block(
        np.add.reduceat(products[: ends[-1] + 1], starts), beta[0][ends], beta[1][ends], params
    )
    want, nan = np.zeros(count, np.int64), np.zeros(count, bool)
    want[ends], nan[ends] = term, np.logical_or.reduceat(nans[: ends[-1] + 1], starts)
    return Vectors(
        DotUnit(fmt, params, lanes),
        {
            "a": join(a, fmt.n),
            "b": join(b, fmt.n),
            "beta_a": beta[0],
            "beta_b": beta[1],
            "mac": mac,
            "block_last": block_last,
            "last": block_last,
        },
        {"result": want, "nan": nan},
        checked=block_last,
    )


def test_matrix_of_dot_products_takes_two_profiles_at_run_time(tmp_path, record_property):
    rng, lanes, columns, blocks = np.random.default_rng(12), 32, 3, 6000
    x = corner_codes(rng, PAL8T, (blocks, lanes))
    w = corner_codes(rng, PAL8T, (blocks, columns, lanes))
    x_beta, w_beta = random_biases(rng, blocks), random_biases(rng, (blocks, columns))
    x_format, w_format = rng.integers(0, 2, (2, blocks))
    tables = np.array([[model.product_tables(f, g, DEFAULT) for g in FORMATS_8] for f in FORMATS_8])
    _, eighths = model.split_bias(x_beta[:, None], w_beta)
    total = tables[
        x_format[:, None, None], w_format[:, None, None], eighths[..., None], x[:, None], w
    ].sum(axis=2)
    nan = ((x == 128)[:, None] | (w == 128)).any(axis=2)
    zero = (x_beta[:, None] == -128) | (w_beta == -128)
    want = model.scale_block(total, x_beta[:, None], w_beta, DEFAULT)
    one = np.ones(blocks)
    record_property("cases", blocks * columns)
    check_unit(
        DotMatrix(FORMATS_8, DEFAULT, lanes, columns),
        {
            "x": join(x, 8),
            "x_beta": x_beta,
            "x_format": x_format,
            "w_format": w_format,
            "w": join(w.reshape(blocks, -1), 8),
            "w_beta": join(w_beta & 255, 8),
            "mac": one,
            "block_last": one,
            "last": one,
        },
        {"result": join(want & 0xFFFF_FFFF, 32), "nan": join(nan & ~zero, 1)},
        tmp_path,
    )


@pytest.mark.parametrize("edge_biases", [False, True])
@pytest.mark.parametrize(
    ("guard_bits", "accumulator_bits"), [(32, 62), (32, 63), (32, 64), (32, 12), (0, 40), (3, 8)]
)
def test_accumulators_wrap_as_the_model_has_it(guard_bits, accumulator_bits, edge_biases):
    """Terms of up to 65 bits, far below and far above the accumulator's width."""
    fmt = PAL8T.with_block(2)
    params = DotParams(5, 6, 31, guard_bits, accumulator_bits, edge_biases=edge_biases)
    unit = DotUnit(fmt, params, 2)
    for codes, beta in (
        ([127, 127], (0, 0)),
        ([127, 127], (-64, -16)),
        ([127, 90], (-127, -127)),
        ([255, 201], (-3, -9)),
    ):
        done = evaluate(
            unit, a=codes, b=[127, 127], beta_a=beta[0], beta_b=beta[1], mac=1, block_last=1, last=1
        )
        operands = (codes, beta[:1], [127, 127], beta[1:])
        want, _ = (
            edge.dot(*operands, fmt, fmt, params)
            if edge_biases
            else model.dot(*operands, fmt, params)
        )
        assert done["result"] == want


@pytest.mark.parametrize(
    ("total", "side"),
    [
        *((total, 0) for total in (-128, 0, 127)),
        *((total, 1) for total in (128, 256, 512, 32767)),
        *((total, 3) for total in (-129, -256, -512, -32768)),
    ],
)
def test_terms_wider_than_the_accumulator_leave_it_on_their_side(total, side):
    unit = BlockAccumulator(16, 0, 8)
    seen = {}

    async def testbench(ctx):
        for name, value in (("sum", total), ("block_last", 1), ("last", 1)):
            ctx.set(getattr(unit, name), value)
        await ctx.tick().repeat(unit.latency)
        seen.update(overflowed=ctx.get(unit.overflowed), result=ctx.get(unit.result))

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    # The upper bit means nothing while the lower one is 0.
    assert seen["overflowed"] & (3 if side else 1) == side
    assert seen["result"] == (total + 128) % 256 - 128


def test_accumulators_and_their_encoder_equal_the_model(tmp_path, record_property):
    _check(
        {
            "accumulator encoder": Vectors(*accumulator_encoder(PAL8T)),
            "adder of 16 bits": _adder16_with_relu(),
            "accumulator of 16 bits": Vectors(*accumulator(PAL16)),
        },
        tmp_path,
        record_property,
    )


def _adder16_with_relu():
    """Every distance with both signs, then random pairs."""
    rng = np.random.default_rng(10)
    distance = np.arange(0, 32767)
    top = np.full_like(distance, 32767)
    pairs = corner_codes(rng, PAL16, (2, 50_000))
    a = np.concatenate([top, top, pairs[0]])
    b = np.concatenate([top - distance, (top - distance) | 32768, pairs[1]])
    relu = rng.integers(0, 2, len(a))
    want = model.add16(a, b)
    return Vectors(
        Adder16(), {"a": a, "b": b, "relu": relu}, {"o": np.where(relu, model.relu16(want), want)}
    )


def test_reblock_unit_equals_the_model(tmp_path, record_property):
    """Blocks pushed back to back while the block before is popped."""
    _check(
        {
            f"{'-'.join(f.name for f in formats)} to {formats[select].name} by {push}": Vectors(
                *reblock(ReblockUnit(formats, push, slices), select)
            )
            for formats, select, push, slices in (
                (FORMATS_8, 0, 4, 8),
                (FORMATS_8, 1, 2, 8),
                ((PAL6T,), 0, 4, 8),
                ((PAL6U,), 0, 8, 8),
                ((PAL4T, PAL4U), 0, 4, 16),
                ((PAL4T, PAL4U), 1, 4, 16),
                *((SMALL, i, 4, 8) for i in range(len(SMALL))),
                *((TOGETHER, i, 4, 8) for i in range(len(TOGETHER))),
            )
        },
        tmp_path,
        record_property,
    )


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: ElementDecoder((), 5), "one or more"),
        (lambda: ElementDecoder((PAL8T,), 4), "fraction_bits >= 5"),
        (lambda: DotUnit(PAL8T, DEFAULT, 5), "divide the block of 32, not 5"),
        (lambda: DotUnit(PAL8T, DEFAULT, 0), "lanes must be at least 1, not 0"),
        (lambda: DotMatrix((PAL8T,), DEFAULT, -8, 1), "lanes must be at least 1, not -8"),
        (lambda: DotMatrix((PAL8T,), DEFAULT, 8, 0), "columns must be at least 1, not 0"),
        (lambda: DotUnit(PAL8T, DotParams(4, 5), 8), "PAL8T needs fraction_bits >= 5"),
        (lambda: DotMatrix(UNEQUAL, DEFAULT, 8, 1), "same block, not PAL8T of 32, PAL8U of 16"),
        (lambda: ReblockUnit(UNEQUAL, 4, 8), "same block, not PAL8T of 32, PAL8U of 16"),
        (lambda: ReblockUnit((), 4, 8), "same block, not none"),
        (lambda: ReblockUnit(FORMATS_8, 3, 8), "push_lanes must divide"),
        (lambda: ReblockUnit(FORMATS_8, 0, 8), "push_lanes must be at least 1, not 0"),
        (lambda: ReblockUnit(FORMATS_8, 4, -4), "slice_lanes must be at least 1, not -4"),
        (lambda: Multiplier(PAL8T, stages=4), "stages must be 0 to 3, not 4"),
        (lambda: Divider(PAL8T, headroom=13), "headroom must be 0 to the 12 octaves of PAL8T"),
        (lambda: Adder(PAL16), "F <= 5, not PAL16 with F = 10"),
        (lambda: FloatToPal(PAL8T, "float64"), "one of float32, bfloat16, not 'float64'"),
        (lambda: FloatToPal(Format("wide", 12, "U", 7)), "F <= 5 and PAL16, not wide with F = 7"),
        (lambda: PalToFloat(PAL8T, "fp32"), "not 'fp32'"),
        (lambda: IntToPal(Format("powers", 4, "U", 0)), "need F >= 1"),
        (lambda: Unblock(Format("fine", 14, "T", 11)), "PAL16 has 10 fraction bits"),
    ],
)
def test_units_refuse_parameters_out_of_range(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
