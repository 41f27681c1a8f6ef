"""Which elements of results lie above the top of PAL16: what the units clamp, and tiles count.

An element counts if the nearest code on a scale without an end would lie above the top; NaN
does not.  That is found without looking at how a unit clamps: where a result is at the top, the
operation is done again below a top that lies ``RAISED`` octaves higher, and sums of two terms
are taken as logs.  ACC and dot products count, besides, where a sum left its accumulator.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pal_units import model
from pal_units.formats import PAL16, Format
from pal_units.model.log16 import add_logs
from spu.arch.context import LOG_OPS, Op
from spu.arch.params import Architecture
from spu.model import units
from spu.model import words as w
from spu.model.words import Words

#: Octaves by which the top is raised.
RAISED = 2
#: Magnitudes above this one were above the top before.
_FORMER_TOP = PAL16.m_max - (RAISED << PAL16.fraction_bits)
#: One-cycle operations whose results can lie above the top.
_CLAMPED = (*LOG_OPS, Op.EXP2, Op.LOG2, Op.UNBLOCK)

#: Elements of each word, or None if there are none at all.
Counts = NDArray[np.int64] | None


def _count(results: Words, above: Callable[[], NDArray[np.bool_]]) -> Counts:
    """Elements of valid words at the top that ``above`` says were above it."""
    at_top = w.lanes(results) & PAL16.m_max == PAL16.m_max
    return (at_top & above()).sum(axis=-1) if at_top.any() else None


def _above(raised: Words) -> NDArray[np.bool_]:
    return w.lanes(raised) & PAL16.m_max > _FORMER_TOP


def vector(
    results: Words, op: Op, a: Words, b: Words, c: Words, mode: dict, part: int, fmt: Format
) -> Counts:
    """Elements of the words of ``units.vector``."""
    if op not in _CLAMPED:
        return None
    return _count(results, lambda: _above(units.vector(op, a, b, c, mode, part, fmt, RAISED)))


def drained(results: Words, drains: Sequence[tuple], arch: Architecture) -> Counts:
    """Elements of the words of ``units.drained``."""
    return _count(results, lambda: _above(units.drained(drains, arch, RAISED)))


def accumulated(results: Words, sums: units.Accumulators, offset: int) -> Counts:
    """Elements of the words of ``units.Accumulators.add``."""
    return _count(results, lambda: _above(sums.handed(offset, RAISED)))


def sums(results: Words, op: Op, a: Words, b: Words, c: Words, offset: NDArray[np.int64]) -> Counts:
    """Elements of the words of ``units.sums``."""
    return _count(
        results,
        lambda: _sums_above(op, w.lanes(a), w.lanes(b), w.lanes(c), np.asarray(offset)[..., None]),
    )


def _sums_above(
    op: Op, a: Words, b: Words, c: Words, offset: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Where sums are above the top, of those that are neither zero nor NaN."""
    if op is Op.LANE_SUM:
        total = model.linear16(a).sum(axis=-1, keepdims=True)
        codes = model.encode_linear(total, False, offset - 16 * RAISED)
        return codes & PAL16.m_max > _FORMER_TOP
    x, y, z = (v.astype(np.int64) for v in (a, b, c))
    factor, addend = (y, z) if op is Op.FMA else (np.full_like(y, PAL16.m_max), y)
    (mx, mf, ma), (sx, sf, sa) = (
        [v & PAL16.m_max for v in (x, factor, addend)],
        [v > PAL16.m_max for v in (x, factor, addend)],
    )
    product, added = mx + mf - PAL16.m_max, ma - offset * 64
    total, _, _ = add_logs(product, sx != sf, added, sa != (op is Op.SUB))
    total = np.where((mx == 0) | (mf == 0), added, np.where(ma == 0, product, total))
    return total > PAL16.m_max
