"""The dot units that are compared, each with its codes and its products."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from amaranth.lib import wiring
from numpy.typing import NDArray

from pal_units import model, octaves_below
from pal_units.dot_params import DOT_PARAMS, DotParams
from pal_units.formats import BIAS_PER_OCTAVE, PAL4U, PAL6T, PAL8T, PAL8U, Format
from pal_units.rtl.decoder import element_layout
from verif.area import operands
from verif.area.operands import Encoder
from verif.baselines.elements import (
    BF16,
    FP4_E2M1,
    FP6_E2M3,
    FP8_E3M4,
    FP8_E4M3,
    FP8_E5M2,
    INT4,
    INT6,
    INT8,
    MXINT8,
    Element,
    FloatFormat,
)
from verif.baselines.products import dropped_mean, dropped_products, float_products, unit_shift
from verif.baselines.rtl.aligned import AlignedSlice
from verif.baselines.rtl.dot import HEADROOM_BITS, FixedPointDot
from verif.baselines.rtl.float32 import Float32Dot
from verif.baselines.rtl.floating import FloatSlice
from verif.baselines.rtl.integer import MULTIPLIERS, IntegerSlice
from verif.baselines.rtl.pal import PalSlice

LANES = 16
#: Block scale of the peers: whole octaves, as in MX, with the guard bits of PAL's default.
MX_SCALE = DotParams(4, 5, bias_step=BIAS_PER_OCTAVE)
#: Bits of a product in windowed units, and in bfloat16's.
WINDOW, BF16_WINDOW = 12, 26
#: Bits below a sum of dropped products that a constant for what they lack takes.
FRACTION = 3


@dataclass(frozen=True)
class Unit:
    """A dot unit.

    Parameters
    ----------
    name: unique; format: its elements; bits: of an element with its share of block scales.
    lanes: products a cycle; make: the component.
    scale: ``block 32`` or ``tensor``; product: what is kept of one; accumulator: its bits.
    encode: operands from real numbers; products: integers for 8 eighths and each code pair;
    unit: value of an integer product's 1 for operands of scale 1; guard_bits: of the
    accumulator below that; offset: what each sum of ``lanes`` products gets besides;
    lacking: what it still lacks in the mean, which whoever reads a result adds.  Without
    ``products`` there is no accuracy.
    variant: tried on the way, not a unit of the comparison.
    port_value: what the operand ports take for a code; the code itself without.
    """

    name: str
    format: str
    bits: float
    make: Callable[[], wiring.Component]
    scale: str
    product: str
    accumulator: str
    encode: Encoder
    products: Callable[[], NDArray[np.int64]] | None
    unit: float = 1.0
    guard_bits: int = 0
    offset: int = 0
    lacking: float = 0.0
    lanes: int = LANES
    variant: bool = False
    port_value: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None

    @property
    def blocked(self) -> bool:
        """Whether blocks have biases."""
        return self.scale.startswith("block")


def pal(
    fmt: Format,
    params: DotParams,
    label: str,
    scale: bool = True,
    decoded: bool = False,
    variant: bool = False,
) -> Unit:
    """A unit of a PAL format; without a block scale the whole tensor is one block."""

    def products() -> NDArray[np.int64]:
        return model.product_tables(fmt, fmt, params).astype(np.int64)

    guard = params.guard_bits if scale else 0
    accumulator = params.product_bits + 1 + guard + HEADROOM_BITS
    coded = fmt if scale else fmt.with_block(1)
    steps = "" if not scale else f", bias step {fmt.bias_step}/8"
    return Unit(
        f"{fmt.name} {label}",
        fmt.name,
        fmt.n + (8 / fmt.block if scale else 0),
        lambda: FixedPointDot(
            PalSlice(fmt, params, LANES, decoded), LANES, params if scale else None
        ),
        (f"block {fmt.block}" if scale else "tensor") + steps,
        f"{params.product_bits} bits, antilog {params.antilog_bits}"
        + (f", operands of {params.operand_octaves} octaves" if params.operand_octaves else ""),
        f"{accumulator} bits",
        operands.pal(coded),
        products,
        2.0 ** (params.guard_bits - octaves_below(params)),
        guard,
        variant=variant,
        port_value=partial(_decoded, fmt=fmt, params=params) if decoded else None,
    )


def _decoded(codes: NDArray[np.int64], fmt: Format, params: DotParams) -> NDArray[np.int64]:
    """Decoded elements as the bits of their layout."""
    element = element_layout((fmt,), params.fraction_bits, params.operand_octaves)
    lam = fmt.lambdas[codes & fmt.m_max] << (params.fraction_bits - fmt.fraction_bits)
    width = element["lam"].width
    nan = model.is_nan(codes, fmt)
    zero = ((codes & fmt.m_max == 0) | (lam >> width != 0)) & ~nan
    flags = {"negative": codes & fmt.sign_bit != 0, "zero": zero, "nan": nan}
    bits = np.where(zero | nan, 0, lam)
    for field, value in flags.items():
        bits = bits | value.astype(np.int64) << element[field].offset
    return bits


def integer(
    bits: int,
    element: Element,
    multiplier: str = "booth",
    scale: bool = False,
    dropped: int = 0,
    guard: int = MX_SCALE.guard_bits,
) -> Unit:
    """A unit of integers, exact or without its lowest columns."""
    suffix = "" if multiplier == "booth" else f" {multiplier}"
    cut = f" {dropped} columns dropped" if dropped else ""
    guard = guard if scale else 0
    cut += f" {guard} guard bits" if scale and guard != MX_SCALE.guard_bits else ""
    # Below the sum the shifter has guard bits that are constants anyway.
    fraction = min(FRACTION, guard) if dropped else 0
    params = replace(MX_SCALE, guard_bits=guard - fraction)
    mean = LANES * dropped_mean(bits, dropped)
    offset = round(mean * 2**fraction) if scale else 0

    def products() -> NDArray[np.int64]:
        table = dropped_products(bits, dropped) << fraction
        return np.broadcast_to(table, (8, *table.shape))

    return Unit(
        f"{'MX' if scale else ''}INT{bits}{suffix}{cut}",
        f"{'MX' if scale else ''}INT{bits}",
        bits + (0.25 if scale else 0),
        lambda: FixedPointDot(
            IntegerSlice(bits, LANES, multiplier, dropped, offset, fraction),
            LANES,
            params if scale else None,
        ),
        "block 32, octaves" if scale else "tensor",
        f"{multiplier}, " + (f"{dropped} columns dropped" if dropped else "exact"),
        f"{2 * bits - dropped + HEADROOM_BITS + guard} bits",
        operands.microscaling(element) if scale else operands.tensor_scaled(element),
        products,
        float(element.levels[1] ** 2) * 2.0 ** (dropped - fraction),
        guard - fraction,
        offset,
        0.0 if scale else mean,
        variant=multiplier != "booth",
    )


def floating(
    fmt: FloatFormat,
    window: int | None = None,
    rounding: str = "truncate",
    scale: bool = False,
    variant: bool = False,
    guard: int = MX_SCALE.guard_bits,
) -> Unit:
    """A unit of floating-point numbers with a fixed-point accumulator."""
    guard = guard if scale else 0
    params = replace(MX_SCALE, guard_bits=guard)
    kept = min(window or fmt.product_bits, fmt.product_bits)
    label = "exact" if kept == fmt.product_bits else f"{kept}-bit window"
    name = f"{'MX-' if scale else ''}{fmt.name}"
    accumulator = kept + 1 + HEADROOM_BITS + guard
    cut = f" {guard} guard bits" if scale and guard != MX_SCALE.guard_bits else ""

    def products() -> NDArray[np.int64]:
        table = float_products(fmt, window, rounding)
        return np.broadcast_to(table, (8, *table.shape))

    return Unit(
        f"{name} {label}" + (" jammed" if rounding == "jam" else "") + cut,
        name,
        fmt.bits + (0.25 if scale else 0),
        lambda: FixedPointDot(
            FloatSlice(fmt, LANES, window, rounding), LANES, params if scale else None
        ),
        "block 32, octaves" if scale else "tensor",
        label,
        f"{accumulator} bits",
        operands.microscaling(fmt.element) if scale else operands.tensor_scaled(fmt.element),
        products,
        2.0 ** (unit_shift(fmt, window) - 2 * (fmt.bias - 1 + fmt.mantissa_bits)),
        guard,
        variant=variant,
    )


def float32(fmt: FloatFormat, lanes: int) -> Unit:
    """A unit that accumulates in float32; its accuracy is taken from exact sums."""
    window = 2 * (fmt.mantissa_bits + 1) if lanes == 1 else BF16_WINDOW
    steps = -2 * (fmt.bias - 1 + fmt.mantissa_bits)
    exact = floating(fmt) if fmt.product_bits < 48 else None
    return Unit(
        f"{fmt.name} float32, {lanes} lane{'s' * (lanes > 1)}",
        fmt.name,
        fmt.bits,
        (lambda: Float32Dot(AlignedSlice(fmt, lanes, window), 2 - window))
        if fmt is BF16
        else (lambda: Float32Dot(FloatSlice(fmt, lanes), steps)),
        "tensor",
        f"{window} bits below the largest" if fmt is BF16 and lanes > 1 else "exact",
        "float32",
        operands.bfloat16 if fmt is BF16 else operands.tensor_scaled(fmt.element),
        exact.products if exact else None,
        exact.unit if exact else 1.0,
        lanes=lanes,
    )


def _lean(
    fraction: int,
    antilog: int,
    product: int,
    guard: int = 8,
    step: int = 1,
    octaves: int | None = None,
) -> DotParams:
    return DotParams(fraction, antilog, product, guard, bias_step=step, operand_octaves=octaves)


LEAN_8U = _lean(4, 5, 10, step=8)
LEAN_8T = _lean(5, 6, 12, 6, step=8, octaves=8)
LEAN_6T = _lean(3, 5, 9, 6, octaves=8)
LEAN_4U = _lean(3, 3, 6, 7)
#: Block biases in whole octaves: another format than PAL8T, so it has another name.
PAL8T_OCTAVES = replace(PAL8T.with_bias_step(8), name="PAL8T-oct")


def units() -> Iterator[Unit]:
    """Units of the comparison, by bits of an element, PAL first."""
    for fmt in (PAL8U, PAL8T, PAL6T, PAL4U):
        yield pal(fmt, DOT_PARAMS[fmt.name], "default")
    yield pal(PAL8U, LEAN_8U, "lean")
    yield pal(PAL8U, LEAN_8U, "lean, tensor scale", scale=False)
    yield pal(PAL8T_OCTAVES, LEAN_8T, "lean")
    yield pal(PAL8T_OCTAVES, LEAN_8T, "lean, decoded", decoded=True)
    yield pal(PAL6T, LEAN_6T, "lean")
    yield pal(PAL6T, LEAN_6T, "lean, decoded", decoded=True)
    yield pal(PAL4U, LEAN_4U, "lean")
    yield pal(PAL4U.with_block(16), LEAN_4U, "lean, block 16")
    for bits, element in ((8, INT8), (6, INT6), (4, INT4)):
        yield integer(bits, element)
    yield integer(8, MXINT8, scale=True)
    for peer in (FP8_E4M3, FP8_E3M4):
        yield floating(peer)
        yield floating(peer, WINDOW)
        yield floating(peer, WINDOW, scale=True)
    yield floating(FP8_E5M2, WINDOW)
    for peer in (FP6_E2M3, FP4_E2M1):
        yield floating(peer)
        yield floating(peer, scale=True)
    for peer in (FP8_E4M3, BF16):
        yield float32(peer, LANES)
    for peer in (FP8_E4M3, FP8_E5M2, BF16):
        yield float32(peer, 1)


def variants() -> Iterator[Unit]:
    """What was tried on the way to these, for the table of variants."""
    for bits, element in ((8, INT8), (6, INT6), (4, INT4)):
        for multiplier in MULTIPLIERS[1:]:
            yield integer(bits, element, multiplier)
    for peer in (FP8_E4M3, FP8_E3M4):
        yield floating(peer, WINDOW, "jam", variant=True)
    tried = partial(pal, variant=True)
    for product in (10, 11, 12):
        for antilog in (4, 5):
            yield tried(PAL8U, _lean(4, antilog, product, step=8), f"L{antilog} k{product}")
    for step, antilog, product, octaves in (
        (1, 5, 12, None),
        (1, 6, 10, None),
        (1, 6, 12, None),
        (4, 5, 13, None),
        (4, 6, 11, None),
        (4, 6, 11, 8),
        (8, 5, 12, None),
        (8, 6, 12, None),
        (8, 6, 12, 8),
    ):
        limit = f" {octaves} octaves" if octaves else ""
        yield tried(
            PAL8T.with_bias_step(step),
            _lean(5, antilog, product, step=step, octaves=octaves),
            f"L{antilog} k{product} step {step}{limit}, decoded",
            decoded=True,
        )
    for step, antilog, product in (
        (1, 3, 10),
        (1, 4, 10),
        (1, 5, 9),
        (1, 5, 10),
        (2, 5, 10),
        (8, 4, 10),
    ):
        yield tried(
            PAL6T.with_bias_step(step),
            _lean(3, antilog, product, step=step),
            f"L{antilog} k{product} step {step}, decoded",
            decoded=True,
        )
    for step, fraction, antilog, product in (
        (1, 3, 2, 6),
        (1, 3, 3, 6),
        (1, 3, 3, 7),
        (2, 2, 2, 7),
        (4, 1, 1, 9),
    ):
        yield tried(
            PAL4U.with_bias_step(step),
            _lean(fraction, antilog, product, step=step),
            f"L{antilog} k{product} step {step}",
        )
    for guard in (4, 6, 8):
        yield tried(PAL8U, replace(LEAN_8U, guard_bits=guard), f"lean, {guard} guard bits")
