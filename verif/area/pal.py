"""Datapaths of PAL formats."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from pal_units import PalArray, encode, kernels, octaves_below
from pal_units.compiled import in_pieces
from pal_units.dot_params import DotParams
from pal_units.formats import BIAS_PER_OCTAVE, ZERO_BLOCK, Format
from pal_units.model import edge
from pal_units.rtl.codebook import operand_layout
from verif.area.datapaths import Array, Coded, Codes, Datapath, remembered, repeated
from verif.baselines.rtl.pal import PalEdge, PalProducts, scale_layout


def pal(fmt: Format, params: DotParams) -> Datapath:
    """The datapath of a PAL format that keeps so many bits, biases at the edge."""
    layout, said = operand_layout((fmt,), params), scale_layout(fmt)
    limit = f", {params.operand_octaves} octaves" if params.operand_octaves else ""
    return Datapath(
        fmt.name,
        f"L{params.antilog_bits} k{params.product_bits} g{params.guard_bits}{limit}",
        fmt.n + 8 / fmt.block,
        layout.size + said.size / fmt.block,
        fmt.block,
        params.guard_bits,
        partial(PalEdge, fmt, params),
        partial(PalProducts, fmt, params),
        partial(_encoded, fmt=fmt, params=params),
        partial(_said, fmt=fmt),
        partial(_accumulated, fmt=fmt, params=params),
        2.0 ** -octaves_below(params),
        nan=1 << said["nan"].offset if fmt.has_nan else 0,
    )


def _encoded(x: Array, fmt: Format, params: DotParams) -> Coded:
    a = remembered(_codes(fmt), x)
    blocks = a.codes.reshape(len(x), -1, fmt.block)
    found = edge.operand(blocks, a.biases, fmt, params)
    if found.nan.any():
        raise ValueError("operands of studies are numbers")
    layout = operand_layout((fmt,), params)
    absent = found.sign == 0
    bits = np.where(absent, 0, found.log)
    bits = bits | (found.sign < 0).astype(np.int64) << layout["negative"].offset
    bits = (bits | absent.astype(np.int64) << layout["zero"].offset).reshape(x.shape)
    return Coded(
        a.codes.astype(np.int64),
        a.biases.astype(np.int64),
        bits,
        2.0 ** (a.tensor_bias / BIAS_PER_OCTAVE),
    )


@cache
def _codes(fmt: Format) -> Callable[[Array], PalArray]:
    return lambda x: encode(x, fmt)


def _said(coded: Coded, lanes: int, fmt: Format) -> Codes:
    octaves, zero = block_octaves(coded.biases, fmt)
    said, layout = octaves, scale_layout(fmt)
    if "zero" in layout.members:
        said = said | zero.astype(np.int64) << layout["zero"].offset
    return repeated(said, fmt.block, lanes, coded.codes.shape[1])


def block_octaves(biases: Codes, fmt: Format) -> tuple[Codes, NDArray[np.bool_]]:
    """Octaves that blocks are down, from their biases or bytes; whether they are all zeros."""
    if fmt.codebooks is not None:
        beta = fmt.codebooks.split(biases)[1]
        empty = np.zeros(biases.shape, bool)
    else:
        beta, empty = biases, biases == ZERO_BLOCK
    return np.where(empty, 0, np.maximum(-beta, 0) // BIAS_PER_OCTAVE).astype(np.int64), empty


def _accumulated(
    a: Coded, b: Coded, lanes: int, exact: bool, fmt: Format, params: DotParams
) -> NDArray[np.int64]:
    layout, length = operand_layout((fmt,), params), a.operands.shape[1]
    step = fmt.block if exact else lanes
    sides = []
    for coded in (a, b):
        log = coded.operands & (1 << layout["lam"].width) - 1
        negative, zero = (coded.operands >> layout[n].offset & 1 for n in ("negative", "zero"))
        octaves, _ = block_octaves(coded.biases, fmt)
        per_step = repeated(octaves, fmt.block, step, length)
        signs = (1 - 2 * negative) * (1 - zero)
        sides.append([v.astype(np.int32) for v in (log, signs, per_step)])
    (log_a, sign_a, octaves_a), (log_b, sign_b, octaves_b) = sides
    out = np.zeros((len(log_a), len(log_b)), np.int64)
    magnitudes = edge.magnitudes(np.arange(2 << layout["lam"].width), params)
    in_pieces(
        kernels.accumulate_logs,
        len(log_a),
        log_a.size * len(log_b),
        log_a,
        sign_a,
        octaves_a,
        np.ascontiguousarray(log_b.T),
        np.ascontiguousarray(sign_b.T),
        np.ascontiguousarray(octaves_b.T),
        magnitudes,
        step,
        params.guard_bits,
        np.zeros(1, np.int64),
        out,
    )
    return out
