"""Peers as quantisers: element formats with their scales, along the last axis.

* MX: one E8M0 scale for 32 elements, ``2^(floor(log2 amax) - emax)`` (OCP MX v1.0,
  section 6.3); with ``clips=False`` the next power of two if the block would clip.
  MX-E3M4 and MX-E2M5 are elements of no standard under the same scale.
* NVFP4: E2M1, one E4M3 scale ``amax / 6`` for 16 elements below a float32 tensor scale
  ``amax / (6 * 448)`` (NVIDIA, "Pretraining large language models with NVFP4", 2025,
  arXiv:2509.25149, appendix).
* INT8, INT4: symmetric, one float16 scale ``amax / 127`` (``amax / 7``) for 32 elements;
  INT8/64 for 64, which costs the 8.25 bits of PAL.
* FP8: one float32 scale a tensor that puts its largest magnitude at the format's.
* posit8: no scale but a power of two a tensor that puts its root mean square at 1, where
  posits are finest.

Peers that choose among scales or elements are in ``verif/baselines/adaptive.py``, those that
choose among codebooks in ``verif/baselines/codebooks.py``.
"""

from functools import partial

import numpy as np

from pal_units import encode, matmul
from pal_units.formats import ADAPTIVE as ADAPTIVE_FORMATS
from pal_units.formats import FORMATS, PAL8T, Format
from verif.baselines.adaptive import ADAPTIVE
from verif.baselines.blocks import Quantiser, Values, split
from verif.baselines.codebooks import CODEBOOKS
from verif.baselines.elements import (
    E2M1,
    E2M3,
    E2M5,
    E3M2,
    E3M4,
    E4M3,
    E5M2,
    INT4,
    INT8,
    MXINT8,
    POSIT8,
    Element,
)
from verif.baselines.scales import e4m3_scales, elements, tensor_scale


def mx(x: Values, element: Element, clips: bool = True) -> Values:
    """Microscaling: 32 elements below a power of two."""
    blocks, amax = split(x, 32)
    exponent = np.frexp(amax)[1] - 1 - element.emax
    if not clips:
        exponent = exponent + (amax > np.ldexp(element.largest, exponent))
    return np.ldexp(element.round(np.ldexp(blocks, -exponent)), exponent).reshape(np.shape(x))


def nvfp4(x: Values) -> Values:
    """E2M1 with an E4M3 scale for 16 elements and a tensor scale."""
    blocks, amax = split(x, 16)
    tensor = tensor_scale(float(np.abs(x).max()), E2M1.largest)
    scale = e4m3_scales(amax, E2M1.largest, tensor) * tensor
    return (elements(blocks, E2M1, scale) * scale).reshape(np.shape(x))


def scaled_integer(x: Values, element: Element, block: int = 32) -> Values:
    """Symmetric integers with a float16 scale for each block."""
    blocks, amax = split(x, block)
    scale = np.maximum((amax / element.largest).astype(np.float16).astype(np.float64), 2.0**-24)
    return (element.round(blocks / scale) * scale).reshape(np.shape(x))


def tensor_scaled(x: Values, element: Element) -> Values:
    """One float32 scale a tensor, from its largest magnitude."""
    scale = np.float64(np.float32(np.abs(x).max() / element.largest)) or 1.0
    return element.round(np.asarray(x, np.float64) / scale) * scale


def posit(x: Values) -> Values:
    """posit8 around the root mean square of the tensor."""
    x = np.asarray(x, np.float64)
    power = float((x * x).mean())
    exponent = round(np.log2(power) / 2) if power else 0
    return np.ldexp(POSIT8.round(np.ldexp(x, -exponent)), exponent)


def pal(name: str, fmt: Format) -> Quantiser:
    """A PAL format along the last axis, whose dot products are those of the hardware."""

    def values(x: Values) -> Values:
        return encode(x, fmt).decode()

    def dots(x: Values, w: Values) -> Values:
        return matmul(encode(x, fmt), encode(w.T, fmt, axis=0))

    return Quantiser(name, fmt.n + 8 / fmt.block, values, dots)


#: PAL formats of the study by the name of their row: ``/16`` is a block of 16, ``-oct`` has
#: block biases in whole octaves where the format has eighths.
PAL_ROWS = {
    **{fmt.name: fmt for fmt in FORMATS.values() if fmt.n <= 8},
    "PAL8T-oct": PAL8T.with_bias_step(8),
    **{f"{fmt.name}/16": fmt.with_block(16) for fmt in FORMATS.values() if fmt.n == 4},
    **ADAPTIVE_FORMATS,
}

#: Every format of the study by name: PAL first, then its peers.
QUANTISERS = {
    q.name: q
    for q in (
        *(pal(name, fmt) for name, fmt in PAL_ROWS.items()),
        Quantiser("FP8-E4M3", 8, partial(tensor_scaled, element=E4M3)),
        Quantiser("FP8-E5M2", 8, partial(tensor_scaled, element=E5M2)),
        Quantiser("MXFP8-E4M3", 8.25, partial(mx, element=E4M3)),
        Quantiser("MXFP8-E4M3-noclip", 8.25, partial(mx, element=E4M3, clips=False)),
        Quantiser("MXFP8-E5M2", 8.25, partial(mx, element=E5M2)),
        Quantiser("MX-E3M4", 8.25, partial(mx, element=E3M4)),
        Quantiser("MX-E2M5", 8.25, partial(mx, element=E2M5)),
        Quantiser("MXINT8", 8.25, partial(mx, element=MXINT8)),
        Quantiser("INT8", 8.5, partial(scaled_integer, element=INT8)),
        Quantiser("INT8/64", 8.25, partial(scaled_integer, element=INT8, block=64)),
        Quantiser("posit8", 8, posit),
        Quantiser("MXFP6-E2M3", 6.25, partial(mx, element=E2M3)),
        Quantiser("MXFP6-E3M2", 6.25, partial(mx, element=E3M2)),
        Quantiser("MXFP4-E2M1", 4.25, partial(mx, element=E2M1)),
        Quantiser("NVFP4", 4.5, nvfp4),
        Quantiser("INT4", 4.5, partial(scaled_integer, element=INT4)),
        *ADAPTIVE,
        *CODEBOOKS,
    )
}
