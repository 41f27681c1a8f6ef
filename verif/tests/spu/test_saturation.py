"""Elements above the top of PAL16: what counts, and that units, golden model and array agree."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from pal_units import model
from pal_units.formats import PAL8T, PAL16
from pal_units.rtl.accumulator import Accumulator16
from spu.arch import timing
from spu.arch.context import Op
from spu.arch.params import BLOCK
from spu.arch.weights import packed_rows, weights_of
from spu.model import matrix, saturation, units
from spu.model import words as w
from spu.rtl.matrix_unit import MatrixUnit
from spu.rtl.vector_lane import VectorLane
from verif.random_programs import ARRAYS
from verif.stimulus.vectors import check_unit, join

SMALL = ARRAYS["2x2"]
TOP, NAN, MINUS = PAL16.m_max, PAL16.sign_bit, PAL16.sign_bit
#: One octave of PAL16's codes.
OCTAVE = 1 << PAL16.fraction_bits
#: Codes for operands of one-cycle operations: corners, and codes at octaves.
CORNERS = np.array([0, NAN, 1, TOP, TOP - 1, TOP - OCTAVE, TOP - 3 * OCTAVE, TOP // 2, OCTAVE])
MODES = [(0, 0), (16, 0), (-16, 0), (1, 8), (40, 40), (-200, 60), (511, -30), (-512, 511)]
LANE_OPS = (Op.MUL, Op.DIV, Op.SQRT, Op.RSQRT, Op.RECIP, Op.EXP2, Op.LOG2, Op.ABS, Op.MAX, Op.LT)


def _word(codes):
    return w.build(np.asarray(codes, np.uint16), 0, np.ones(np.shape(codes)[:-1], bool))


def _magnitude_log(codes):
    """Octaves below the top, -inf of zero."""
    m = np.asarray(codes, np.float64) % PAL16.sign_bit
    return np.where(m == 0, -np.inf, (m - TOP) / OCTAVE)


def _lanes(op, a, b, offset, bias=0):
    """Whether each pair of codes saturates, by the golden model; lanes are spread over words."""
    shape = (-1, SMALL.lanes16)
    a, b = (
        np.resize(v, -(-len(v) // SMALL.lanes16) * SMALL.lanes16).reshape(shape) for v in (a, b)
    )
    mode = {"offset": offset, "bias": bias}
    operands = (op, _word(a), _word(b), _word(b), mode, 0, PAL8T)
    results = units.vector(*operands)
    counts = saturation.vector(results, *operands)
    return results, np.zeros(len(a), int) if counts is None else counts


@pytest.mark.parametrize("op", [Op.MUL, Op.DIV, Op.SQRT, Op.RSQRT, Op.RECIP])
def test_results_of_real_arithmetic_above_the_top_count(op):
    """Against exact logs: each lane alone, so that every element is seen."""
    a, b = (v.ravel() for v in np.meshgrid(np.append(CORNERS, CORNERS | MINUS), CORNERS))
    for offset, _ in MODES:
        la, lb = _magnitude_log(a), _magnitude_log(b)
        with np.errstate(invalid="ignore"):
            log = {
                Op.MUL: la + lb,
                Op.DIV: la - lb,
                Op.SQRT: la / 2,
                Op.RSQRT: -la / 2,
                Op.RECIP: -la,
            }[op] + offset / 16
        binary = op in (Op.MUL, Op.DIV)
        nan = (
            np.isnan(log)
            | (a == NAN)
            | (binary & (b == NAN))
            | ((op in (Op.SQRT, Op.RSQRT)) & (a > MINUS))
        )
        # Rounding moves a result by half a code.
        want = ~nan & (log > 0.75 / OCTAVE)
        for i in range(len(a)):
            _, counts = _lanes(op, a[i : i + 1], b[i : i + 1], offset)
            assert counts[0] == SMALL.lanes16 * want[i], (op, hex(a[i]), hex(b[i]), offset)


def test_exponential_and_logarithm_count_what_lies_above_their_top():
    one = np.array([TOP])  # 1.0 below a top of 1
    assert _lanes(Op.EXP2, one, one, 7)[1][0] == 4  # 2 below 2^(7/8)
    assert _lanes(Op.EXP2, one, one, 8)[1][0] == 0  # 2 below 2
    assert _lanes(Op.EXP2, one | MINUS, one, 7)[1][0] == 0
    assert _lanes(Op.EXP2, np.array([NAN]), one, -100)[1][0] == 0
    assert _lanes(Op.EXP2, one, one, 100, 80)[1][0] == 4  # 2^1024
    assert _lanes(Op.EXP2, one | MINUS, one, 0, 80)[1][0] == 0  # flushes to zero, no clamp
    assert _lanes(Op.LOG2, np.array([0]), one, 100)[1][0] == 4  # -infinity
    assert _lanes(Op.LOG2, one, one, 0, 16)[1][0] == 4  # 2 below 1
    assert _lanes(Op.LOG2, one, one, 8, 16)[1][0] == 0  # 2 below 2
    assert _lanes(Op.LOG2, one | MINUS, one, -500)[1][0] == 0  # NaN


@pytest.mark.parametrize(
    ("op", "a", "b", "c", "offset", "want"),
    [
        (Op.ADD, TOP, TOP, 0, 0, 1),
        (Op.ADD, TOP, TOP | MINUS, 0, 0, 0),
        (Op.ADD, TOP, 0, 0, 0, 0),
        (Op.ADD, TOP - OCTAVE, TOP - OCTAVE, 0, 0, 0),
        (Op.ADD, TOP, NAN, 0, 0, 0),
        (Op.ADD, TOP - OCTAVE, TOP - OCTAVE + 9, 0, 0, 1),
        (Op.ADD, 0, TOP, 0, -1, 1),
        (Op.ADD, 0, TOP - 64, 0, -1, 0),
        (Op.ADD, 0, TOP, 0, 1, 0),
        (Op.ADD, 0, 0, 0, -2048, 0),
        (Op.SUB, TOP, TOP | MINUS, 0, 0, 1),
        (Op.SUB, TOP, TOP, 0, 0, 0),
        (Op.ADD_RELU, TOP | MINUS, TOP | MINUS, 0, 0, 0),
        (Op.ADD_RELU, TOP, TOP, 0, 0, 1),
        (Op.FMA, TOP, TOP, TOP, 0, 1),
        (Op.FMA, TOP, TOP, 0, 0, 0),
        (Op.FMA, 0, TOP, TOP, -16, 1),
        (Op.FMA, TOP, 0, TOP, 0, 0),
        (Op.FMA, TOP, TOP | MINUS, TOP, 0, 0),
        (Op.LANE_SUM, TOP, 0, 0, 0, 1),
        (Op.LANE_SUM, TOP - 2 * OCTAVE, 0, 0, 0, 0),
        (Op.LANE_SUM, TOP, 0, 0, -32, 0),
        (Op.LANE_SUM, NAN, 0, 0, 0, 0),
    ],
)
def test_sums_above_the_top_count(op, a, b, c, offset, want):
    words = [_word(np.full((1, SMALL.lanes16), v)) for v in (a, b, c)]
    out = units.sums(op, *words, np.array([offset]))
    counts = saturation.sums(out, op, *words, np.array([offset]))
    assert (0 if counts is None else counts[0]) == SMALL.lanes16 * want
    if want:
        assert w.lanes(out)[0, 0] & PAL16.m_max == TOP
    # An invalid word counts nothing.
    words[0][:] = 0
    out = units.sums(op, *words, np.array([offset]))
    counts = saturation.sums(out, op, *words, np.array([offset]))
    assert counts is None or counts[0] == 0


def test_unblocked_codes_count_only_above_the_top():
    codes = units.words_of(np.array([[127, 100, 0, 128, 127, 127, 127, 127]], np.uint8), PAL8T)
    for bias, want in ((0, 0), (1, 1), (127, 2), (-128, 0), (-7, 0)):
        word = w.build(codes, bias, np.ones(1, bool))
        operands = (Op.UNBLOCK, word, word, word, {"offset": 0, "bias": 0}, 0, PAL8T)
        counts = saturation.vector(units.vector(*operands), *operands)
        assert (0 if counts is None else counts[0]) == want, bias


def test_lanes_in_rtl_saturate_as_in_the_golden_model(tmp_path, record_property):
    """Corner codes with corner modes, and random ones near the top."""
    rng = np.random.default_rng(4)
    modes = [
        *MODES,
        *zip(rng.integers(-64, 64, 40).tolist(), rng.integers(-16, 40, 40).tolist(), strict=True),
    ]
    x, y = (v.ravel() for v in np.meshgrid(np.append(CORNERS, CORNERS | MINUS), CORNERS))
    names = ("op", "mode", "a", "b", "o", "saturates", "minimum", "maximum")
    vectors: dict[str, list] = {name: [] for name in names}
    for op in LANE_OPS:
        before = sum(vectors["saturates"])
        for offset, bias in modes:
            near = [rng.integers(TOP - 4 * OCTAVE, TOP + 1, 40) for _ in range(2)]
            a = np.append(x, near[0] | rng.choice([0, MINUS], 40))
            b = np.append(y, near[1])
            words = [_word(v[:, None].repeat(SMALL.lanes16, axis=1)) for v in (a, b)]
            operands = (op, *words, words[1], {"offset": offset, "bias": bias}, 0, PAL8T)
            results = units.vector(*operands)
            counts = saturation.vector(results, *operands)
            above = np.zeros(len(a), int) if counts is None else counts // SMALL.lanes16
            mode = offset & 0xFFF | (bias & 0x3FF) << 12
            for name, values in zip(
                names,
                (
                    [op.value] * len(a),
                    [mode] * len(a),
                    a,
                    b,
                    w.lanes(results)[:, 0],
                    above,
                    model.minimum(a, b, PAL16),
                    model.maximum(a, b, PAL16),
                ),
                strict=True,
            ):
                vectors[name] += [int(v) for v in values]
        assert (op in (Op.ABS, Op.MAX, Op.LT)) == (sum(vectors["saturates"]) == before), op
    inputs, outputs = ({name: vectors[name] for name in part} for part in (names[:4], names[4:]))
    record_property(
        "cases", check_unit(VectorLane(), inputs | {"c": inputs["b"]}, outputs, tmp_path)
    )


def _long_dot(signs):
    """Results and saturated lanes of a MatrixUnit, RTL and golden, of blocks of the largest codes.

    ``signs``: of each block; 2 stands for a block with a NaN.
    """
    arch = SMALL
    unit, golden = MatrixUnit(arch), matrix.MatrixUnit(arch, 1)
    slices = BLOCK // arch.lanes
    weights, blocks = weights_of(
        np.full((1, arch.columns, arch.lanes), 127), np.zeros((1, arch.columns)), PAL8T, arch
    )
    (bits,) = packed_rows(weights, blocks, arch)
    mode = matrix.MatrixMode([{"offset": 0, "x_format": 0}], arch)
    row = matrix.Weights([{0: bits}], arch).row(0, mode)
    seen = {}

    async def testbench(ctx):
        ctx.set(unit.weights.as_value(), bits)
        cycle = 0
        for i, sign in enumerate(signs):
            code = {1: 127, -1: 255, 2: 128}[sign]
            data = int.from_bytes(bytes([code] * (arch.data_bits // 8)), "little")
            word = w.from_integers([(data, 0)], arch)
            for part in range(slices):
                last = part == slices - 1
                ends = last and i == len(signs) - 1
                ctx.set(unit.x, {"data": data, "bias": 0, "valid": 1})
                ctx.set(unit.mac, 1)
                ctx.set(unit.block_last, last)
                ctx.set(unit.last, ends)
                golden.mac(cycle, word, 0, row, mode, last, ends)
                await ctx.tick()
                cycle += 1
        ctx.set(unit.mac, 0)
        for _ in range(timing.ACCUMULATE - 1):
            await ctx.tick()
            cycle += 1
        golden.settle(cycle)
        ctx.set(unit.drain, 1)
        for _ in range(timing.DRAIN):
            await ctx.tick()
        seen["word"] = ctx.get(unit.o.as_value()), ctx.get(unit.saturated)

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    drains = [golden.drain()]
    want = units.drained(drains, arch)
    counts = saturation.drained(want, drains, arch)
    count = 0 if counts is None else int(counts[0, 0])
    bits, saturated = seen["word"]
    assert bits == w.to_integers(want[0])[0][0] | 1 << arch.data_bits + 8
    assert saturated.bit_count() == count
    return int(w.lanes(want)[0, 0, 0]), count


def test_a_dot_product_beyond_its_accumulator_gives_the_top_and_counts():
    """As many blocks of the largest codes as are said to fit do; what leaves the range stays at its
    side's top."""
    columns, most = SMALL.drain_lanes, SMALL.dot.max_blocks(BLOCK)
    assert most == 127
    code, count = _long_dot([1] * most)
    assert (code, count) == (TOP, columns)  # clamped by PAL16 already: offset 0
    assert _long_dot([1] * (most + 2)) == (TOP, columns)
    assert _long_dot([-1] * (most + 2)) == (TOP | MINUS, columns)
    # Exact sums cancel as long as none leaves the range.
    assert _long_dot([1] * most + [-1] * most) == (0, 0)
    assert _long_dot([1] * (most + 2) + [-1] * (most + 2)) == (TOP, columns)
    assert _long_dot([1] * (most + 2) + [2]) == (NAN, 0)


def test_the_accumulator_of_the_vector_unit_gives_the_top_when_its_range_is_left():
    sums = units.Accumulators(SMALL, 1)
    word = _word(np.full((1, SMALL.lanes16), TOP))
    sums.total[:] = (1 << 47) - (1 << 31)
    sums.add(word, False, 0)
    sums.total[:, 0] -= 5 << 40  # only lane 0 stays in range
    out = sums.add(word, False, 0)
    assert not out.any()
    out = sums.add(word, True, -17 * 16)
    assert w.lanes(out)[0].tolist()[1:] == [TOP] * (SMALL.lanes16 - 1)
    assert saturation.accumulated(out, sums, -17 * 16)[0] == SMALL.lanes16 - 1


def test_the_accumulator_in_rtl_gives_the_top_when_its_range_is_left(tmp_path):
    """As many tops as fit, and one more; the next sums begin at 0."""
    one = int(model.linear16(TOP))
    fit, offset = ((1 << 47) - 1) // one, -18 * 16
    lengths = [fit, 3, fit + 1, 2, fit + 7, 5]
    emit = np.zeros(sum(lengths), bool)
    emit[np.cumsum(lengths) - 1] = True
    want, above = np.zeros((len(emit), 2), np.int64), np.zeros((len(emit), 2), bool)
    for at, n in zip(np.flatnonzero(emit), lengths, strict=True):
        total = np.array([n, -n]) * one
        left = (total >= 1 << 47) | (total < -(1 << 47))
        want[at] = np.where(left, [TOP, TOP | MINUS], model.encode_linear(total, False, offset))
        above[at] = left
    assert above.sum(axis=0).tolist() == [2, 2]
    ones = np.ones(len(emit), np.int64)
    check_unit(
        _Exposed(2),
        {
            "a": ones * (TOP | (TOP | MINUS) << 16),
            "accumulate": ones,
            "emit": emit,
            "offset": ones * offset,
        },
        {"o": join(want, 16), "above": join(above, 1)},
        tmp_path,
        emit,
    )


class _Exposed(wiring.Component):
    """An accumulator unit with ``saturates`` as a port."""

    latency = Accumulator16.latency

    def __init__(self, lanes):
        self.unit = Accumulator16(lanes)
        super().__init__(dict(self.unit.signature.members) | {"above": Out(lanes)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self.unit
        for name, member in unit.signature.members.items():
            outside, inside = getattr(self, name), getattr(unit, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        m.d.comb += self.above.eq(unit.saturates)
        return m
