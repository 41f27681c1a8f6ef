"""Peers that choose for each block: Four Over Six, IF4, MX+, and elements under PAL's scale.

* NVFP4-4/6: NVFP4 whose block goes to 6 or to 4, whichever has the less squared error; the
  tensor scale is ``amax / (6 * 256)``, so that both scales are E4M3 numbers (J. Cook et al.,
  "Four Over Six", arXiv:2512.02010, and the authors' reference at
  github.com/mit-han-lab/fouroversix, rule ``mse``, of equals 6).
* IF4: a block is E2M1, or INT4 times 6/7, under the same E4M3 scale ``amax / 6``; the sign bit
  of the scale says which (J. Cook et al., "Adaptive Block-Scaled Data Types",
  arXiv:2603.28765, same reference, of equals E2M1).
* ``IF4/8th``, ``E2M3|INT6/8th``, ``E2M5|INT8/8th``: the same choice under the fine scale below,
  each element under the best bias of its own, of equals the float; a bias has 128 values, so
  that a bit of its byte is left for the element.  Biases are counted below the highest of their
  element's, which flatters these peers where both kinds lie in a tensor.
* MX+: MX whose largest element, always in the top octave, spends its exponent field on
  mantissa (J. Lee et al., "MX+", MICRO 2025, arXiv:2510.14557).  Counted here: one byte a
  block for the place of that element, of which 5 bits are used.  Of equals the first.
* Fine scale: any element under the block bias of PAL, in 1/8 octave, 16 octaves below the
  tensor's top at most, of the least squared error among -4..+2 steps around the one that
  puts the largest magnitude at the element's top; for tapered elements, which are finest at
  no fixed place, around the best whole octave first.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from pal_units.compiled import in_pieces
from verif.baselines.blocks import Quantiser, Values, best, split
from verif.baselines.elements import (
    E2M1,
    E2M3,
    E2M5,
    FP4_E2M1,
    FP6_E2M3,
    FP8_E4M3,
    INT4,
    INT6,
    INT8,
    LOG_TAKUM8,
    POSIT8,
    TAKUM8,
    Element,
    FloatFormat,
)
from verif.baselines.nearest import least_biases
from verif.baselines.scales import e4m3_scales, elements, kept_biases, tensor_scale

#: Largest block scale of Four Over Six: 1.5 times any below it is still an E4M3 number.
FOUR_OVER_SIX_TOP = 256.0
#: Steps around the nearest bias that the search tries, as PAL's encoder does below 8 bits.
STEPS = (0, 1, -1, 2, -2, -3, -4)
#: Octaves above 1.0 at which the largest magnitude of a block of tapered elements may lie.
TAPERED_TOPS = range(7)


def four_over_six_parts(x: Values) -> tuple[Values, Values, float]:
    """Elements ``(..., blocks, 16)``, their E4M3 scales ``(..., blocks, 1)``, the tensor's scale.

    A number is ``element * (scale * tensor)``.
    """
    blocks, amax = split(x, 16)
    tensor = tensor_scale(float(np.abs(x).max()), E2M1.largest, FOUR_OVER_SIX_TOP)
    six, four = (e4m3_scales(amax, target, tensor) for target in (6.0, 4.0))
    errors = [
        ((elements(blocks, E2M1, s * tensor) * (s * tensor) - blocks) ** 2).sum(-1, keepdims=True)
        for s in (six, four)
    ]
    scale = np.where(errors[1] < errors[0], four, six)
    return elements(blocks, E2M1, scale * tensor), scale, tensor


def four_over_six(x: Values) -> Values:
    """NVFP4 with blocks scaled to 6 or to 4."""
    values, scale, tensor = four_over_six_parts(x)
    return (values * (scale * tensor)).reshape(np.shape(x))


def int_or_float4(x: Values) -> Values:
    """IF4: blocks of E2M1 or of integers, one E4M3 scale for 16 elements."""
    blocks, amax = split(x, 16)
    tensor = tensor_scale(float(np.abs(x).max()), E2M1.largest)
    scale = e4m3_scales(amax, E2M1.largest, tensor) * tensor
    step = scale * (E2M1.largest / INT4.largest)
    return best(
        blocks, [elements(blocks, e, s) * s for e, s in ((E2M1, scale), (INT4, step))]
    ).reshape(np.shape(x))


def fine_chosen(x: Values, elements: Sequence[Element], block: int = 32) -> Values:
    """The element of least squared error for each block, each under the best bias of its own."""
    blocks, _ = split(x, block)
    rounded = [fine_scaled(x, element, block).reshape(blocks.shape) for element in elements]
    return best(blocks, rounded).reshape(np.shape(x))


def mx_plus(x: Values, fmt: FloatFormat) -> Values:
    """Microscaling whose largest element of 32 has the exponent's bits as mantissa."""
    blocks, amax = split(x, 32)
    element = fmt.element
    exponent = np.frexp(amax)[1] - 1 - element.emax
    scaled = np.ldexp(blocks, -exponent)
    values = element.round(scaled)
    place = np.abs(blocks).argmax(axis=-1)[..., None]
    largest = np.take_along_axis(scaled, place, -1)
    steps = 1 << (fmt.exponent_bits + fmt.mantissa_bits)
    fine = np.minimum(np.rint(np.abs(largest) / 2.0**element.emax * steps), 2 * steps - 1)
    fine = np.copysign(fine / steps * 2.0**element.emax, largest)
    np.put_along_axis(values, place, np.where(largest == 0, 0.0, fine), -1)
    return np.ldexp(values, exponent).reshape(np.shape(x))


def fine_scaled(x: Values, element: Element, block: int = 32) -> Values:
    """An element under PAL's block bias; ``element`` is finest right below its top."""
    values, bias = fine_parts(x, element, block)
    return (values * np.exp2(bias / 8)).reshape(np.shape(x))


def fine_parts(x: Values, element: Element, block: int = 32) -> tuple[Values, Values]:
    """Elements ``(..., blocks, block)`` of ``fine_scaled`` and biases ``(..., blocks, 1)``, in
    1/8 octave; blocks of zeros have the least bias."""
    return _searched(x, block, element, (np.log2(element.largest),))


def tapered_scaled(x: Values, element: Element, block: int = 32) -> Values:
    """An element that is finest somewhere above 1.0, under PAL's block bias."""
    values, bias = _searched(x, block, element, tuple(map(float, TAPERED_TOPS)))
    return (values * np.exp2(bias / 8)).reshape(np.shape(x))


def _searched(
    x: Values, block: int, element: Element, tops: tuple[float, ...]
) -> tuple[Values, Values]:
    blocks, amax = split(x, block)
    flat = np.ascontiguousarray(blocks.reshape(-1, block))
    nearest = np.floor(8 * (np.log2(amax.reshape(-1, 1)) - np.array(tops)) + 0.5)
    bias = _least(flat, nearest, element.levels, element.middles)
    bias = _least(flat, bias[:, None] + np.array(STEPS), element.levels, element.middles)
    bias = kept_biases(flat, bias).reshape(amax.shape)
    return element.round(blocks / np.exp2(bias / 8)), bias


def _least(blocks, biases, levels, middles):
    """Of the biases of each block ``(N, candidates)``, in 1/8 octave, that of least error."""
    out = np.empty(len(blocks))
    in_pieces(
        least_biases,
        len(blocks),
        blocks.size * biases.shape[1],
        blocks,
        np.exp2(biases / 8),
        biases,
        levels,
        middles,
        out,
    )
    return out


#: A share of 8 bits for a block of 32.
_BYTE = 8 / 32
ADAPTIVE = (
    *(
        Quantiser(f"{e.name}/8th", e.bits + _BYTE, partial(fine_scaled, element=e))
        for e in (INT8, E2M5)
    ),
    *(
        Quantiser(f"{e.name}/8th", e.bits + _BYTE, partial(tapered_scaled, element=e))
        for e in (POSIT8, TAKUM8, LOG_TAKUM8)
    ),
    *(
        Quantiser(f"{e.name}/8th", e.bits + _BYTE, partial(fine_scaled, element=e))
        for e in (E2M3, INT6)
    ),
    *(
        Quantiser(f"{f.name}|{i.name}/8th", f.bits + _BYTE, partial(fine_chosen, elements=(f, i)))
        for f, i in ((E2M5, INT8), (E2M3, INT6))
    ),
    *(
        Quantiser(f"MXFP{f.bits}-{f.name}+", f.bits + 2 * _BYTE, partial(mx_plus, fmt=f))
        for f in (FP8_E4M3, FP6_E2M3, FP4_E2M1)
    ),
    Quantiser("NVFP4-4/6", 4.5, four_over_six),
    Quantiser("IF4", 4.5, int_or_float4),
    Quantiser("E2M1/8th/16", 4.5, partial(fine_scaled, element=E2M1, block=16)),
    Quantiser("IF4/8th", 4.5, partial(fine_chosen, elements=(E2M1, INT4), block=16)),
)
