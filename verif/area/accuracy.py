"""SQNR of dot products as a unit computes them, its truncations included."""

import numpy as np
from numpy.typing import NDArray

from verif.area.operands import Array
from verif.area.units import Unit
from verif.baselines.accumulators import dot_accumulators
from verif.numerics.distributions import DISTRIBUTIONS, Sizes, data, sqnr_db

#: The accuracy study's.
SIZES = Sizes()


def dots(unit: Unit, a: Array, b: Array) -> Array:
    """Dot products of the rows of ``a`` and ``b``, shape ``(len(a), len(b))``."""
    total, scale = accumulators(unit, a, b)
    lacking = unit.lacking * (a.shape[1] // unit.lanes)
    return (total * 2.0**-unit.guard_bits + lacking) * (unit.unit * scale)


def accumulators(unit: Unit, a: Array, b: Array) -> tuple[NDArray[np.int64], float]:
    """What the unit accumulates for the rows of ``a`` and ``b``, and the operands' scale."""
    assert unit.products
    x, w = unit.encode(a), unit.encode(b)
    biases = [v.biases if unit.blocked else np.zeros((len(v.codes), 1), np.int64) for v in (x, w)]
    total = dot_accumulators(
        x.codes,
        biases[0],
        w.codes,
        biases[1],
        np.ascontiguousarray(unit.products()),
        x.block if unit.blocked else a.shape[1],
        unit.lanes,
        unit.guard_bits,
        unit.offset,
    )
    return total, x.scale * w.scale


def dot_sqnr_db(unit: Unit, distribution: str = "gaussian", sizes: Sizes = SIZES) -> float:
    """SQNR in dB of ``sizes.dots^2`` dot products of ``sizes.length`` numbers.

    The numbers are those of the accuracy study.
    """
    if distribution not in DISTRIBUTIONS:
        raise ValueError(
            f"distribution must be one of {', '.join(DISTRIBUTIONS)}, not {distribution!r}"
        )
    a, b = (data(distribution, (sizes.dots, sizes.length), seed) for seed in (2, 3))
    return sqnr_db(a @ b.T, dots(unit, a, b))
