"""Datapaths of PAL's peers: integers, floating-point numbers, and NVFP4, under their scales."""

from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import BIAS_PER_OCTAVE
from verif.area import operands
from verif.area.datapaths import Coded, Codes, Datapath, remembered, repeated
from verif.area.operands import Encoder
from verif.baselines import pairs
from verif.baselines.accumulators import Winograd, dot_accumulators
from verif.baselines.elements import FP8_E4M3, Element, FloatFormat
from verif.baselines.pairs import PairScale
from verif.baselines.products import dropped_mean, dropped_products, float_products, unit_shift
from verif.baselines.rtl.blocked import PeerEdge, PeerProducts, scale_layout
from verif.baselines.rtl.floating import FloatSlice, float_layout
from verif.baselines.rtl.integer import IntegerSlice
from verif.baselines.rtl.winograd import WinogradSlice, correction_bits

#: Bits below a sum of dropped products that a constant for what they lack takes.
FRACTION = 3
#: What a scale adds to a format's name.
_NAMES = {"octaves": "MX-{}", "eighths": "{}/8th", "e4m3": "{}", "none": "{}"}


def _pair(scale: str, significand: int, dropped: int) -> PairScale | None:
    """Model of a scale finer than octaves, with the constant for what its multiplier drops."""
    if scale not in ("eighths", "e4m3"):
        return None

    def make(compensation: int) -> PairScale:
        if scale == "e4m3":
            return pairs.e4m3(dropped, compensation)
        return pairs.eighths(significand, dropped, compensation)

    rows = make(0).digits
    return make(min(max(round(make(0).lacking), 0), rows))


@cache
def _encoder(element: Element, scale: str, block: int) -> Encoder:
    if scale == "e4m3":
        return operands.nvfp4()
    if scale == "eighths":
        return operands.fine_scaled(element, block)
    return operands.microscaling(element) if scale == "octaves" else operands.tensor_scaled(element)


def _label(kept: str, scale: str, significand: int, dropped: int, guard: int) -> str:
    parts = [kept]
    if scale == "eighths":
        parts.append(f"scale of {significand} bits")
    if dropped:
        parts.append(f"{dropped} columns of it dropped")
    if scale != "none":
        parts.append(f"g{guard}")
    return ", ".join(parts)


def integer(
    bits: int,
    element: Element,
    scale: str,
    dropped: int = 0,
    guard: int = 0,
    significand: int = 8,
    scale_dropped: int = 0,
    winograd: bool = False,
) -> Datapath:
    """Integers by Booth's digits, or by Winograd's inner product."""
    block = {"none": 0, "octaves": 32, "eighths": 32}[scale]
    # Below the sum a shifter has guard bits that are constants anyway.
    fraction = FRACTION if dropped and scale != "none" else 0
    pair = _pair(scale, significand, scale_dropped)

    def lacking(lanes: int) -> float:
        """Of a sum in units of ``2^dropped``."""
        if winograd:
            return Winograd(bits, lanes, dropped, fraction).lacking()
        return lanes * dropped_mean(bits, dropped)

    def compensation(lanes: int) -> int:
        return round(lacking(lanes) * 2**fraction) if dropped and scale != "none" else 0

    def products(lanes: int, block: int) -> PeerProducts:
        cut = dropped, compensation(lanes), fraction
        kept = _kept(2 * bits - dropped + fraction, lanes, block)
        if winograd:
            slice_sum = WinogradSlice(bits, lanes, *cut, kept=kept)
        else:
            slice_sum = IntegerSlice(bits, lanes, *cut, recoded=True, kept=kept)
        return _under(slice_sum, scale, False, significand, pair)

    def edge(lanes: int, recoded: bool = not winograd) -> PeerEdge:
        correction = correction_bits(bits, lanes, dropped) if winograd else 0
        return PeerEdge(lanes, bits, scale, recoded=recoded, correction=correction, dropped=dropped)

    def encode(x: NDArray[np.float64]) -> Coded:
        found = remembered(_encoder(element, scale, block), x)
        return Coded(found.codes, found.biases, found.codes, found.scale)

    def said(coded: Coded, lanes: int) -> Codes:
        blocks = _said(coded, lanes, scale, block)
        if not winograd:
            return blocks
        correction = Winograd(bits, lanes, dropped).corrections(coded.codes)
        width = correction_bits(bits, lanes, dropped)
        return blocks | (correction & (1 << width) - 1) << scale_layout(scale).size

    def accumulate(a: Coded, b: Coded, lanes: int, exact: bool) -> Codes:
        # Digits are taken of the first operand, of Winograd's sums of the second.
        table = dropped_products(bits + winograd, dropped) << fraction
        table = table if winograd else table.T
        sized = Winograd(bits, lanes, dropped, fraction) if winograd else None
        return _accumulators(
            a, b, table[None], block, lanes, guard, exact, pair, compensation(lanes), sized
        )

    name = _NAMES[scale].format(f"INT{bits}").replace("MX-INT", "MXINT")
    kept = f"{dropped} columns dropped" if dropped else "exact"
    return Datapath(
        name + " Winograd" * winograd,
        _label(kept, scale, significand, scale_dropped, guard),
        bits + (8 / block if block else 0),
        bits + (scale_layout(scale).size / block if block else 0),
        block,
        guard,
        edge,
        products,
        encode,
        said,
        accumulate,
        float(element.levels[1] ** 2)
        * 2.0 ** (dropped - fraction - guard)
        * (pair.unit * 2.0**pair.dropped if pair else 1.0),
        (lambda lanes: lacking(lanes)) if scale == "none" and dropped else lambda _: 0.0,
        # Digits are those of the first operand alone.
        edge_b=None if winograd else partial(edge, recoded=False),
    )


def _kept(product_bits: int, lanes: int, block: int) -> int:
    """Bits of the sum of a block so far, 0 if a block is a slice."""
    return product_bits + (block - 1).bit_length() if block > lanes else 0


def _under(
    slice_sum: IntegerSlice | WinogradSlice | FloatSlice,
    scale: str,
    special: bool,
    significand: int,
    pair: PairScale | None,
) -> PeerProducts:
    bits = 8 if scale == "e4m3" else significand
    cut = (pair.dropped, pair.compensation) if pair else (0, 0)
    return PeerProducts(slice_sum, scale, special, bits, *cut)


def _said(coded: Coded, lanes: int, scale: str, block: int) -> Codes:
    """What an edge says of slices' blocks: octaves down, a bias, or a code."""
    length = coded.codes.shape[1]
    if scale == "none":
        return np.zeros((len(coded.codes), length // lanes), np.int64)
    said = {
        "octaves": lambda biases: -biases // BIAS_PER_OCTAVE,
        "eighths": lambda biases: biases & 255,
        "e4m3": lambda biases: biases,
    }[scale](coded.biases)
    return repeated(said, block, lanes, length)


def floating(
    fmt: FloatFormat,
    scale: str,
    window: int | None = None,
    rounding: str = "truncate",
    guard: int = 0,
    significand: int = 8,
    scale_dropped: int = 0,
    block: int = 32,
) -> Datapath:
    """Floating-point numbers, products exact or in a window; NVFP4 is E2M1 under ``e4m3``."""
    block = {"none": 0, "octaves": 32, "eighths": block, "e4m3": 16}[scale]
    special = fmt.codes < 1 << (fmt.bits - 1)
    pair = _pair(scale, significand, scale_dropped)
    kept = min(window or fmt.product_bits, fmt.product_bits)
    layout = float_layout(fmt)

    def encode(x: NDArray[np.float64]) -> Coded:
        found = remembered(_encoder(fmt.element, scale, block), x)
        exponent = found.codes >> fmt.mantissa_bits & (1 << fmt.exponent_bits) - 1
        normal = exponent > 0
        decoded = (
            (found.codes & (1 << fmt.mantissa_bits) - 1 | normal << fmt.mantissa_bits)
            | (exponent - normal) << layout["exponent"].offset
            | (found.codes >> fmt.bits - 1) << layout["negative"].offset
        )
        return Coded(found.codes, found.biases, decoded, found.scale)

    def accumulate(a: Coded, b: Coded, lanes: int, exact: bool) -> Codes:
        table = np.asarray(float_products(fmt, window, rounding), np.int64)
        return _accumulators(a, b, table[None], block, lanes, guard, exact, pair)

    label = "exact" if kept == fmt.product_bits else f"{kept}-bit window"
    name = "NVFP4-4/6" if scale == "e4m3" else _NAMES[scale].format(fmt.name)
    name += f"/{block}" * (scale == "eighths" and block != 32)
    return Datapath(
        name,
        _label(label + " jammed" * (rounding == "jam"), scale, significand, scale_dropped, guard),
        fmt.bits + (8 / block if block else 0),
        layout.size + (scale_layout(scale, special).size / block if block else 0),
        block,
        guard,
        lambda lanes: PeerEdge(lanes, fmt.bits, scale, fmt),
        lambda lanes, block: _under(
            FloatSlice(
                fmt, lanes, window, rounding, decoded=True, kept=_kept(kept + 1, lanes, block)
            ),
            scale,
            special,
            significand,
            pair,
        ),
        encode,
        partial(_said, scale=scale, block=block),
        accumulate,
        2.0 ** (unit_shift(fmt, window) - 2 * (fmt.bias - 1 + fmt.mantissa_bits) - guard)
        * (pair.unit * 2.0**pair.dropped if pair else 1.0),
        nan=_nan_bits(scale, special),
    )


def _nan_bits(scale: str, special: bool) -> int:
    """Bits of what is said of a block that make its slice NaN."""
    if scale == "e4m3":
        return FP8_E4M3.codes
    return 1 << scale_layout(scale, special)["nan"].offset if special else 0


def _accumulators(
    a: Coded,
    b: Coded,
    tables: Codes,
    block: int,
    lanes: int,
    guard: int,
    exact: bool,
    pair: PairScale | None,
    offset: int = 0,
    winograd: Winograd | None = None,
) -> Codes:
    return dot_accumulators(
        a.codes,
        _spread(a.biases, block, a.codes.shape[1], lanes),
        b.codes,
        _spread(b.biases, block, b.codes.shape[1], lanes),
        np.ascontiguousarray(tables),
        block or lanes,
        lanes,
        guard,
        offset,
        scale=pair,
        by_block=exact,
        winograd=winograd,
    )


def _spread(biases: Codes, block: int, length: int, lanes: int) -> Codes:
    """Biases of blocks; without a block scale those of slices, which are 0."""
    return biases if block else np.zeros((len(biases), length // lanes), np.int64)
