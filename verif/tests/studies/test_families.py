"""Units of every family, whole and cut: RTL of edges and cores against their datapaths."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pal_units.formats import ADAPTIVE, BIAS_PER_OCTAVE, FORMATS, ZERO_BLOCK
from pal_units.model import edge as pal_edge
from pal_units.rtl.codebook import operand_layout
from verif.area.datapaths import Coded
from verif.area.families import FAMILIES, Family
from verif.baselines.elements import FP8_E4M3
from verif.baselines.rtl.core import DotCore, MatrixColumn, RegisteredEdge
from verif.stimulus.vectors import Vectors, check_units, join

LANES = 4
#: Random dot products of two blocks each, before those of full scale.
DOTS, LONGEST = 30, 1024
#: One family of each kind of operand and of scale.
KINDS = ("PAL8U", "PAL8A", "INT8", "INT8/8th Winograd", "MX-E4M3", "NVFP4-4/6")
#: What ``bias`` holds for NaN of an E4M3 scale.
NAN_SCALE = FP8_E4M3.codes


class Unit(wiring.Component):
    """Both operands through edges, and a dot unit's core or a column of a matrix.

    A column takes its weights a cycle before the rest, which registers at the edge hold back.
    """

    def __init__(self, path, matrix):
        self.matrix = matrix
        block = path.block or LANES
        products = path.products(LANES, block if matrix else 0)
        self.core = (
            MatrixColumn(products, LANES, block, path.guard_bits)
            if matrix
            else DotCore(products, LANES, path.guard_bits)
        )
        self.edges = {
            "a": RegisteredEdge(path.edge(LANES)) if matrix else path.edge(LANES),
            "b": path.edge(LANES),
        }
        self.latency = self.core.latency
        self.steps = ("block_last", "last") if matrix else ("first",)
        ports = {name: In(1) for name in self.steps}
        for side, edge in self.edges.items():
            for name in ("codes", "bias"):
                if name in edge.signature.members:
                    ports[f"{name}_{side}"] = edge.signature.members[name]
        super().__init__({**ports, "result": Out(len(self.core.result)), "nan": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self.core
        for side, edge in self.edges.items():
            m.submodules[f"edge_{side}"] = edge
            codes, operands = getattr(self, f"codes_{side}"), getattr(core, side)
            m.d.comb += edge.codes.eq(codes)
            # Booth's digits are made of the numbers that columns share, not of weights.
            decoded = len(Value.cast(operands)) == len(Value.cast(edge.o))
            m.d.comb += operands.eq(edge.o if decoded else codes)
            if "bias" in edge.signature.members:
                m.d.comb += edge.bias.eq(getattr(self, f"bias_{side}"))
            if "scale" in edge.signature.members:
                m.d.comb += getattr(core, f"scale_{side}").eq(edge.scale)
        for name in self.steps:
            late = Signal.like(getattr(self, name))
            m.d["sync" if self.matrix else "comb"] += late.eq(getattr(self, name))
            m.d.comb += getattr(core, name).eq(late)
        m.d.comb += [self.result.eq(core.result), self.nan.eq(core.nan)]
        return m


def _params(path):
    """Of PAL's units, None of others."""
    return getattr(path.products(LANES, 0).slice_sum, "params", None)


def _bits(path):
    return len(Value.cast(path.edge(LANES).codes[0]))


def _special(path, bits):
    """Codes that are NaN."""
    if path.family in FORMATS | ADAPTIVE:
        return [1 << (bits - 1)] if bits >= 6 else []
    return [0x7F, 0xFF] if "E4M3" in path.family else []


def _biases(path, rng, shape):
    """Of any value that the scale has, with blocks of zeros and NaN where there are such."""
    if path.family == "NVFP4-4/6":
        return np.where(rng.random(shape) < 0.02, NAN_SCALE, rng.integers(0, NAN_SCALE, shape))
    if path.family in ADAPTIVE:
        return rng.integers(-128, 128, shape)
    if path.family in FORMATS:
        return np.where(rng.random(shape) < 0.1, ZERO_BLOCK, rng.integers(-127, 1, shape))
    step = 1 if "/8th" in path.family else BIAS_PER_OCTAVE
    least = -127 // step * step if step == 1 else -120
    near = rng.integers(-60 // step, 1, shape) * step
    return np.where(rng.random(shape) < 0.2, least, near)


def _operands(path, codes, biases, params):
    """Codes as an edge decodes them, of PAL as the bits that ``accumulate`` reads."""
    if params is None:
        return codes, np.zeros(biases.shape, bool), np.zeros(biases.shape, bool)
    fmt = (FORMATS | ADAPTIVE)[path.family]
    found = pal_edge.operand(codes.reshape(*biases.shape, -1), biases, fmt, params)
    layout = operand_layout((fmt,), params)
    bits = found.log | (found.sign < 0).astype(np.int64) << layout["negative"].offset
    bits = np.where(found.sign == 0, 1 << layout["zero"].offset, bits)
    return bits.reshape(codes.shape), found.nan, found.empty


def _rows(path, rng):
    """Codes and biases of pairs of rows, by length: random ones with corners, then full scale."""
    bits = _bits(path)
    special = _special(path, bits)
    half = 1 << (bits - 1)
    corners = np.setdiff1d([0, 1, half - 1, half - 2, half, 2 * half - 1, 2 * half - 2], special)
    block = path.block or LANES
    codes = rng.integers(0, 2 * half, (2, DOTS, max(2 * block, 32)))
    codes = np.where(rng.random(codes.shape) < 0.2, rng.choice(corners, codes.shape), codes)
    rare = rng.random(codes.shape) < 0.002
    codes = np.where(np.isin(codes, special) & ~rare, 0, codes)
    codes[:, 0, :block] = 0
    yield codes, _biases(path, rng, (2, DOTS, codes.shape[2] // block))
    most = np.repeat(corners[:, None], LONGEST, axis=1)
    top = 126 if path.family == "NVFP4-4/6" else 0
    biases = np.full((len(corners), LONGEST // block), top)
    total = _total(path, (most, biases), (most, biases), False)[0]
    ends = [np.unravel_index(f(total), total.shape) for f in (np.argmax, np.argmin)]
    yield np.stack([most[[i, j]] for i, j in ends], axis=1), np.full((2, 2, LONGEST // block), top)


def _total(path, a, b, exact):
    """Accumulators of all pairs of rows, and whether NaN is in them."""
    params = _params(path)
    sides, nans, empties = [], [], []
    for codes, biases in (a, b):
        operands, nan, empty = _operands(path, codes, biases, params)
        if params is None:
            nan = np.isin(codes, _special(path, _bits(path))).reshape(*biases.shape, -1).any(-1)
        if path.family == "NVFP4-4/6":
            nan, biases = nan | (biases == NAN_SCALE), np.minimum(biases, NAN_SCALE - 1)
        sides.append(Coded(codes, biases, operands, 1.0))
        nans.append(nan)
        empties.append(empty)
    either = (nans[0][:, None] | nans[1]) & ~(empties[0][:, None] | empties[1])
    return path.accumulate(*sides, LANES, exact), either.any(axis=-1)


def _case(path, seed, matrix):
    """Vectors of a unit: slices of dot products, after one that hands over what came before."""
    rng = np.random.default_rng(seed)
    unit = Unit(path, matrix)
    bits, block = _bits(path), path.block or LANES
    found = {name: [] for name in ("codes_a", "codes_b", "bias_a", "bias_b", *unit.steps)}
    results, nans, ends = [], [], []
    for codes, biases in _rows(path, rng):
        total, nan = _total(path, (codes[0], biases[0]), (codes[1], biases[1]), matrix)
        slices = codes.shape[2] // LANES
        at = np.tile(np.arange(slices), codes.shape[1])
        for side, x, beta in zip("ab", codes, biases, strict=True):
            found[f"codes_{side}"].append(x.reshape(-1, LANES))
            found[f"bias_{side}"].append(np.repeat(beta.ravel(), block // LANES))
        last = at == slices - 1
        per_block = block // LANES
        steps = {"block_last": at % per_block == per_block - 1, "last": last, "first": at == 0}
        for name in unit.steps:
            found[name].append(steps[name])
        ends.append(last)
        results.append(np.repeat(np.diag(total), slices))
        nans.append(np.repeat(np.diag(nan), slices))
    values = {name: np.concatenate(v) for name, v in found.items()}
    result, nan, last = (np.concatenate(v) for v in (results, nans, ends))
    before = len(last) - 1
    source = np.concatenate([[before], np.arange(len(last))])
    values = {name: v[source] for name, v in values.items()}
    result, nan, last = result[source], nan[source], last[source] & (np.arange(len(source)) > 0)
    values = {
        name: join(v, bits) if v.ndim == 2 else v
        for name, v in values.items()
        if name in unit.signature.members
    }
    width = len(unit.result)
    assert np.abs(result[last]).max() < 1 << (width - 1)
    full = np.where(nan, 0, (1 << width) - 1)
    return Vectors(unit, values, {"result": result, "nan": nan}, last, {"result": full})


def _digits(codes, bits):
    """Booth's digits: whether each is 1 or -1, 2 or -2, negative."""
    value = codes - (codes >> (bits - 1) << bits)
    doubled, total, sums = 2 * value, np.zeros_like(codes), np.zeros_like(codes)
    for i in range((bits + 1) // 2):
        low, middle, high = (doubled >> 2 * i + j & 1 for j in range(3))
        digit = low + middle - 2 * high
        sums += digit * 4**i
        total |= ((abs(digit) == 1) | (abs(digit) == 2) << 1 | (digit < 0) << 2) << 3 * i
    assert np.array_equal(sums, value)
    return total


def _edge_case(path, seed):
    """Vectors of an edge: what it makes of codes of numbers is what ``encode`` and ``said`` say."""
    rng = np.random.default_rng(seed)
    block = path.block or LANES
    x = rng.standard_normal((40, 4 * block)) * np.exp2(rng.integers(-12, 12, (40, 1)))
    x[rng.random(x.shape) < 0.1] = 0
    x[:4], x[4, block : 2 * block] = 0, 0
    coded, edge = path.encode(x), path.edge(LANES)
    inputs = {"codes": join(coded.codes.reshape(-1, LANES), _bits(path))}
    if "bias" in edge.signature.members:
        inputs["bias"] = np.repeat(coded.biases.ravel(), block // LANES)
    width = len(Value.cast(edge.o)) // LANES
    recoded = getattr(edge, "recoded", False)
    operands = _digits(coded.codes, _bits(path)) if recoded else coded.operands
    expected = {"o": join(operands.reshape(-1, LANES), width)}
    if "scale" in edge.signature.members:
        expected["scale"] = path.said(coded, LANES).ravel()
    care = None
    if path.family in FORMATS | ADAPTIVE:
        # Of a zero nothing else counts.
        zero = operand_layout(((FORMATS | ADAPTIVE)[path.family],), _params(path))["zero"].offset
        absent = coded.operands >> zero & 1
        bits = np.where(absent, 1 << zero, (1 << width) - 1)
        care = {"o": join(bits.reshape(-1, LANES), width)}
    return Vectors(edge, inputs, expected, None, care)


def _cuts(family: Family):
    """The uncut setting, one with a step of each cut, one with all of every cut."""
    yield family.default
    yield tuple(axis[min(1, len(axis) - 1)] for axis in family.axes)
    yield tuple(axis[-1] for axis in family.axes)


def _check(settings, tmp_path, record_property):
    cases = {}
    for i, (family, setting) in enumerate(settings):
        for matrix in (False, True):
            path = family.make(setting)
            cases[f"{path.name}, {'column' if matrix else 'dot'}"] = _case(path, i, matrix)
    done = check_units(cases, tmp_path)
    assert set(done.values()) == {DOTS + 2}
    record_property("cases", sum(done.values()))


def test_units_of_a_family_of_each_kind_equal_their_datapaths(tmp_path, record_property):
    families = [FAMILIES[name] for name in KINDS]
    settings = [(f, s) for f in families for s in list(_cuts(f))[:2]]
    _check(settings, tmp_path, record_property)


def test_edges_give_what_encoded_numbers_say(tmp_path, record_property):
    cases = {}
    for i, family in enumerate(FAMILIES.values()):
        for setting in {family.default, tuple(axis[-1] for axis in family.axes)}:
            path = family.make(setting)
            cases[path.name] = _edge_case(path, i)
    assert len(cases) == 2 * len(FAMILIES)
    record_property("cases", sum(check_units(cases, tmp_path).values()))


@pytest.mark.regress
@pytest.mark.parametrize("part", range(3))
def test_units_of_every_family_equal_their_datapaths(part, tmp_path, record_property):
    settings = {(f.make(s).name): (f, s) for f in FAMILIES.values() for s in _cuts(f)}
    _check(list(settings.values())[part::3], tmp_path, record_property)
