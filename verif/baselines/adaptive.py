"""Peers that choose for each block: Four Over Six, IF4, MX+, and elements under PAL's scale.

* NVFP4-4/6: NVFP4 whose block goes to 6 or to 4, whichever has the less squared error; the
  tensor scale is ``amax / (6 * 256)``, so that both scales are E4M3 numbers (J. Cook et al.,
  "Four Over Six", arXiv:2512.02010, and the authors' reference at
  github.com/mit-han-lab/fouroversix, rule ``mse``, of equals 6).
* IF4: a block is E2M1, or INT4 times 6/7, under the same E4M3 scale ``amax / 6``; the sign bit
  of the scale says which (J. Cook et al., "Adaptive Block-Scaled Data Types",
  arXiv:2603.28765, same reference, of equals E2M1).  IF4/8th: the same choice under the fine
  scale below, each element under the best bias of its own; a bias has 128 values, so that a
  bit of its byte is left for the element.
* MX+: MX whose largest element, always in the top octave, spends its exponent field on
  mantissa (J. Lee et al., "MX+", MICRO 2025, arXiv:2510.14557).  Counted here: one byte a
  block for the place of that element, of which 5 bits are used.  Of equals the first.
* Fine scale: any element under the block bias of PAL, in 1/8 octave, 16 octaves below the
  tensor's top at most, of the least squared error among -4..+2 steps around the one that
  puts the largest magnitude at the element's top; for tapered elements, which are finest at
  no fixed place, around the best whole octave first.
"""

from functools import partial

import numpy as np

from pal_units.compiled import compiled, in_pieces
from verif.baselines.blocks import Quantiser, Values, best, split
from verif.baselines.elements import (
    E2M1,
    E2M3,
    E2M5,
    E4M3,
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

#: Largest block scale of Four Over Six: 1.5 times any below it is still an E4M3 number.
FOUR_OVER_SIX_TOP = 256.0
#: Steps around the nearest bias that the search tries, as PAL's encoder does below 8 bits.
STEPS = (0, 1, -1, 2, -2, -3, -4)
#: Octaves above 1.0 at which the largest magnitude of a block of tapered elements may lie.
TAPERED_TOPS = range(7)
#: Least bias of a block below the tensor's, in 1/8 octave: that of an int8.
BIAS_MIN = -127


def _scales(amax: Values, tensor: float, target: float) -> Values:
    """E4M3 block scales that put ``amax`` at ``target``, in units of the tensor's."""
    return E4M3.round(amax / target / tensor)


def _scaled(blocks: Values, element: Element, scale: Values) -> Values:
    """Blocks divided by their scales and rounded; 0 under a scale of 0."""
    return element.round(np.where(scale == 0, 0.0, blocks) / np.where(scale == 0, 1.0, scale))


def _tensor_scale(x: Values, top: float) -> float:
    return float(np.float32(np.abs(x).max() / (E2M1.largest * top))) or 1.0


def four_over_six_parts(x: Values) -> tuple[Values, Values, float]:
    """Elements ``(..., blocks, 16)``, their E4M3 scales ``(..., blocks, 1)``, the tensor's scale.

    A number is ``element * (scale * tensor)``.
    """
    blocks, amax = split(x, 16)
    tensor = _tensor_scale(x, FOUR_OVER_SIX_TOP)
    six, four = (_scales(amax, tensor, target) for target in (6.0, 4.0))
    errors = [
        ((_scaled(blocks, E2M1, s * tensor) * (s * tensor) - blocks) ** 2).sum(-1, keepdims=True)
        for s in (six, four)
    ]
    scale = np.where(errors[1] < errors[0], four, six)
    return _scaled(blocks, E2M1, scale * tensor), scale, tensor


def four_over_six(x: Values) -> Values:
    """NVFP4 with blocks scaled to 6 or to 4."""
    elements, scale, tensor = four_over_six_parts(x)
    return (elements * (scale * tensor)).reshape(np.shape(x))


def int_or_float4(x: Values) -> Values:
    """IF4: blocks of E2M1 or of integers, one E4M3 scale for 16 elements."""
    blocks, amax = split(x, 16)
    tensor = _tensor_scale(x, E4M3.largest)
    scale = _scales(amax, tensor, E2M1.largest) * tensor
    step = scale * (E2M1.largest / INT4.largest)
    return best(
        blocks, [_scaled(blocks, e, s) * s for e, s in ((E2M1, scale), (INT4, step))]
    ).reshape(np.shape(x))


def fine_int_or_float4(x: Values) -> Values:
    """IF4 under PAL's block bias, 16 elements."""
    blocks, _ = split(x, 16)
    rounded = [fine_scaled(x, element, 16).reshape(blocks.shape) for element in (E2M1, INT4)]
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
    elements, bias = fine_parts(x, element, block)
    return (elements * np.exp2(bias / 8)).reshape(np.shape(x))


def fine_parts(x: Values, element: Element, block: int = 32) -> tuple[Values, Values]:
    """Elements ``(..., blocks, block)`` of ``fine_scaled`` and biases ``(..., blocks, 1)``, in
    1/8 octave; blocks of zeros have the least bias."""
    return _searched(x, block, element, (np.log2(element.largest),))


def tapered_scaled(x: Values, element: Element, block: int = 32) -> Values:
    """An element that is finest somewhere above 1.0, under PAL's block bias."""
    elements, bias = _searched(x, block, element, tuple(map(float, TAPERED_TOPS)))
    return (elements * np.exp2(bias / 8)).reshape(np.shape(x))


def _searched(
    x: Values, block: int, element: Element, tops: tuple[float, ...]
) -> tuple[Values, Values]:
    blocks, amax = split(x, block)
    flat = np.ascontiguousarray(blocks.reshape(-1, block))
    nearest = np.floor(8 * (np.log2(amax.reshape(-1, 1)) - np.array(tops)) + 0.5)
    bias = _least(flat, nearest, element.levels, element.middles)
    bias = _least(flat, bias[:, None] + np.array(STEPS), element.levels, element.middles)
    used = np.abs(flat).max(axis=1) > 0
    least = (bias[used].max() if used.any() else 0.0) + BIAS_MIN
    bias = np.where(used, np.maximum(bias, least), least).reshape(amax.shape)
    return element.round(blocks / np.exp2(bias / 8)), bias


def _least(blocks, biases, levels, middles):
    """Of the biases of each block ``(N, candidates)``, in 1/8 octave, that of least error.

    Which way a tie is rounded makes no difference to that.
    """
    out = np.empty(len(blocks))
    in_pieces(
        _search,
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


@compiled
def _search(start, stop, blocks, scales, biases, levels, middles, out):
    for i in range(start, stop):
        least = np.inf
        for j in range(biases.shape[1]):
            scale = scales[i, j]
            error = 0.0
            for k in range(blocks.shape[1]):
                magnitude = abs(blocks[i, k])
                nearest = levels[np.searchsorted(middles, magnitude / scale)] * scale
                error += (nearest - magnitude) ** 2
            if error < least:
                least = error
                out[i] = biases[i, j]


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
        Quantiser(f"MXFP{f.bits}-{f.name}+", f.bits + 2 * _BYTE, partial(mx_plus, fmt=f))
        for f in (FP8_E4M3, FP6_E2M3, FP4_E2M1)
    ),
    Quantiser("NVFP4-4/6", 4.5, four_over_six),
    Quantiser("IF4", 4.5, int_or_float4),
    Quantiser("E2M1/8th/16", 4.5, partial(fine_scaled, element=E2M1, block=16)),
    Quantiser("IF4/8th", 4.5, fine_int_or_float4),
)
