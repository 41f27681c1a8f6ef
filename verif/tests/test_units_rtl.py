"""RTL arithmetic units against the numpy model, exhaustively where stated."""

import numpy as np
import pytest

from pal_units import model
from pal_units.formats import DOT_PARAMS, PAL8T, PAL8U, PAL16, DotParams
from pal_units.rtl.adder16 import Adder16
from pal_units.rtl.decoder import ElementDecoder
from pal_units.rtl.dot import DotUnit
from pal_units.rtl.log import AccumulatorEncoder
from pal_units.rtl.multiplier import Multiplier
from pal_units.rtl.reblock import ReblockUnit
from spu.arch.params import MATRIX_DOT, PROFILES
from verif.tests.units import check_unit, join, unsigned

FORMATS_8 = (PAL8U, PAL8T)


def _corner_codes(rng, shape):
    """PAL8 codes: two thirds uniform, the rest corners; NaN only rarely."""
    codes = rng.integers(0, 256, shape)
    corners = rng.choice([0, 1, 2, 63, 64, 126, 127, 129, 254, 255], shape)
    codes = np.where(rng.random(shape) < 0.35, corners, codes)
    return np.where((codes == 128) & (rng.random(shape) < 0.95), 0, codes)


@pytest.mark.parametrize("select", [0, 1])
def test_decoder_equals_the_format_for_every_code(select, tmp_path):
    fmt = PROFILES[select]
    codes = np.arange(256)
    lam = fmt.lambdas[codes & 127] << (MATRIX_DOT.fraction_bits - fmt.fraction_bits)
    unit = ElementDecoder(PROFILES, MATRIX_DOT)
    bits = len(unit.o.lam)
    zero, nan = codes == 0, codes == 128
    want = lam | (codes >> 7) << bits | zero.astype(int) << bits + 1 | nan.astype(int) << bits + 2
    assert check_unit(unit, {"code": codes, "select": np.full(256, select)}, {"o": want}, tmp_path,
                      checked=(codes & 127) != 0) == 254
    # Zero and NaN: only the class bits mean anything.
    assert check_unit(_class_only(unit), {"code": codes, "select": np.full(256, select)},
                      {"zero": zero, "nan": nan}, tmp_path) == 256


def _class_only(unit):
    from amaranth.hdl import Module
    from amaranth.lib import wiring
    from amaranth.lib.wiring import In, Out

    class ClassOnly(wiring.Component):
        code: In(8)
        select: In(1)
        zero: Out(1)
        nan: Out(1)
        latency = 0

        def elaborate(self, platform):
            m = Module()
            m.submodules.inner = inner = ElementDecoder(unit.formats, unit.params)
            m.d.comb += [inner.code.eq(self.code), inner.select.eq(self.select),
                         self.zero.eq(inner.o.zero), self.nan.eq(inner.o.nan)]
            return m

    return ClassOnly()


@pytest.mark.parametrize("fmt", FORMATS_8, ids=lambda f: f.name)
def test_multiplier_equals_the_model_for_all_65536_code_pairs(fmt, tmp_path):
    a, b = (v.ravel() for v in np.meshgrid(np.arange(256), np.arange(256), indexing="ij"))
    assert check_unit(Multiplier(fmt), {"a": a, "b": b}, {"o": model.mul(a, b, fmt)},
                      tmp_path) == 65536


def test_waves_are_left_as_fst(tmp_path):
    codes = np.arange(256)
    check_unit(Multiplier(PAL8U), {"a": codes, "b": codes},
               {"o": model.mul(codes, codes, PAL8U)}, tmp_path, waves=True)
    content = (tmp_path / "waves.fst").read_bytes()
    # Block type 0 (header), then its length of 329 bytes, big-endian.
    assert content[:9] == bytes([0]) + (329).to_bytes(8, "big")
    assert len(content) > 1000


@pytest.mark.parametrize("fmt", FORMATS_8, ids=lambda f: f.name)
def test_block_dot_equals_the_model_on_50000_corner_weighted_blocks(fmt, tmp_path):
    """Two formats make 10^5 blocks; dot products are 1 to 4 blocks long."""
    rng, params, lanes, blocks = np.random.default_rng(7), DOT_PARAMS[fmt.name], 32, 50_000
    a, b = _corner_codes(rng, (blocks, 32)), _corner_codes(rng, (blocks, 32))
    beta = rng.integers(-127, 1, (2, blocks))
    beta = np.where(rng.random(beta.shape) < 0.3, rng.choice([0, -1, -8, -127, -128], beta.shape),
                    beta)
    beta = np.where(rng.random(beta.shape) < 0.02, rng.integers(1, 128, beta.shape), beta)
    last = rng.random(blocks) < 0.5
    last[-1] = True
    total, nan = model.block_sum(a, b, fmt, params)
    zero = (beta == model.ZERO_BLOCK).any(axis=0)
    term = model.scale_block(total, beta[0], beta[1], params)
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    result = np.add.reduceat(term, starts)
    any_nan = np.logical_or.reduceat(nan & ~zero, starts)
    # Hand each dot product's result to the cycle of its last block.
    index = np.cumsum(last) - last
    assert check_unit(
        DotUnit(fmt, params, lanes),
        {"a": join(a, 8), "b": join(b, 8), "beta_a": unsigned(beta[0], 8),
         "beta_b": unsigned(beta[1], 8), "mac": np.ones(blocks), "block_last": np.ones(blocks),
         "last": last},
        {"result": unsigned(result[index], 32), "nan": any_nan[index]},
        tmp_path, checked=last) == last.sum()


@pytest.mark.parametrize("fmt", FORMATS_8, ids=lambda f: f.name)
def test_block_sum_over_several_slices_ignores_idle_cycles(fmt, tmp_path):
    rng, params, lanes, count = np.random.default_rng(8), DOT_PARAMS[fmt.name], 8, 4000
    a, b = _corner_codes(rng, (count, lanes)), _corner_codes(rng, (count, lanes))
    mac = rng.random(count) < 0.8
    position = np.cumsum(mac) - 1
    block_last = mac & (position % 4 == 3)
    beta = rng.integers(-40, 1, (2, count))
    products = model.product_table(fmt, fmt, params)[a, b].sum(axis=1) * mac
    nans = ((a == 128) | (b == 128)).any(axis=1) & mac
    ends = np.flatnonzero(block_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    term = model.scale_block(np.add.reduceat(products[:ends[-1] + 1], starts), beta[0][ends],
                             beta[1][ends], params)
    want, nan = np.zeros(count, np.int64), np.zeros(count, bool)
    want[ends], nan[ends] = term, np.logical_or.reduceat(nans[:ends[-1] + 1], starts)
    assert check_unit(
        DotUnit(fmt, params, lanes),
        {"a": join(a, 8), "b": join(b, 8), "beta_a": unsigned(beta[0], 8),
         "beta_b": unsigned(beta[1], 8), "mac": mac, "block_last": block_last,
         "last": block_last},
        {"result": unsigned(want, 32), "nan": nan}, tmp_path, checked=block_last) > 500


def test_accumulator_encoder_equals_the_model(tmp_path):
    rng, params = np.random.default_rng(9), DOT_PARAMS["PAL8T"]
    powers = np.array([s * ((1 << i) + d) for i in range(31) for d in (-1, 0, 1) for s in (1, -1)])
    acc = np.concatenate([powers, rng.integers(-(1 << 31), 1 << 31, 10_000),
                          rng.integers(-(1 << 12), 1 << 12, 5_000), [-(1 << 31)]])
    offset = np.where(rng.random(len(acc)) < 0.7, rng.integers(-130, 130, len(acc)),
                      rng.integers(-512, 512, len(acc)))
    nan = rng.random(len(acc)) < 0.01
    check_unit(AccumulatorEncoder(params),
               {"i": unsigned(acc, 32), "nan": nan, "offset": unsigned(offset, 10)},
               {"o": model.encode_accumulator(acc, nan, offset, params)}, tmp_path)


@pytest.mark.parametrize("relu", [0, 1])
def test_adder16_equals_the_model(relu, tmp_path):
    """Every distance with both signs, then random and corner pairs."""
    rng = np.random.default_rng(10)
    distance = np.arange(0, 32767, 3)
    top = np.full_like(distance, 32767)
    corner = np.array([0, 1, 2, 1023, 1024, 32766, 32767, 32768, 32769, 65535, 65534])
    pairs = np.array(np.meshgrid(corner, corner)).reshape(2, -1)
    a = np.concatenate([top, top, rng.integers(0, 65536, 12_000), pairs[0]])
    b = np.concatenate([top - distance, (top - distance) | 32768, rng.integers(0, 65536, 12_000),
                        pairs[1]])
    near = rng.integers(0, 65536, 8_000)
    a, b = np.append(a, near), np.append(b, near ^ 32768 ^ rng.integers(0, 64, len(near)))
    want = model.add16(a, b)
    check_unit(Adder16(), {"a": a, "b": b, "relu": np.full(len(a), relu)},
               {"o": model.relu16(want) if relu else want}, tmp_path)


@pytest.mark.parametrize("push_lanes", [4, 2])
@pytest.mark.parametrize("select", [0, 1])
def test_reblock_unit_equals_the_model(select, push_lanes, tmp_path):
    """Blocks pushed back to back while the block before is popped."""
    rng, blocks = np.random.default_rng(11), 600
    pushes = 32 // push_lanes
    values = rng.integers(0, 1 << 16, (blocks, 32))
    values = np.where((values == PAL16.sign_bit) & (rng.random(values.shape) < 0.9), 0, values)
    values[rng.random(values.shape) < 0.15] = 0
    small = rng.random(blocks) < 0.5
    values[small] &= 0x83FF | rng.integers(0, 32, (small.sum(), 1)) << 10
    values[5] = 0
    values[6] = 0
    values[6, 3] = PAL16.sign_bit
    codes, beta = model.reblock(values, PROFILES[select])
    words = codes.reshape(blocks, 4, 8)
    cycles = (blocks + 1) * pushes
    push = np.arange(cycles) < blocks * pushes
    pop = np.zeros(cycles, bool)
    want_codes, want_bias, valid = [0] * cycles, np.zeros(cycles, np.int64), pop.copy()
    for n in range(blocks):
        # Pops of block n while block n + 1 comes in: first in the cycle after its last push.
        for i, at in enumerate(np.sort(rng.choice(pushes, 4, replace=False))):
            cycle = (n + 1) * pushes + at
            pop[cycle] = valid[cycle] = True
            want_codes[cycle], want_bias[cycle] = join(words[n, i][None], 8)[0], beta[n]
    lanes = np.zeros((cycles, push_lanes), np.int64)
    lanes[:blocks * pushes] = values.reshape(-1, push_lanes)
    check_unit(ReblockUnit(PROFILES, push_lanes, 8),
               {"push": push, "values": join(lanes, 16), "pop": pop,
                "select": np.full(cycles, select)},
               {"codes": want_codes, "bias": unsigned(want_bias, 8), "valid": valid},
               tmp_path, checked=valid)


@pytest.mark.parametrize(("make", "rule"), [
    (lambda: ElementDecoder((), MATRIX_DOT), "one or more"),
    (lambda: ElementDecoder((PAL8T,), DotParams(4, 5)), "fraction_bits >= 5"),
    (lambda: DotUnit(PAL8T, MATRIX_DOT, 5), "divide the block of 32"),
    (lambda: ReblockUnit(PROFILES, 3, 8), "push_lanes must divide"),
])
def test_units_refuse_parameters_out_of_range(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()
