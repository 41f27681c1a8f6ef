"""Operands of a dot unit: real numbers as codes of its format, with their block biases."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pal_units.formats import BETA_MIN, BIAS_PER_OCTAVE
from verif.baselines.adaptive import fine_parts, four_over_six_parts
from verif.baselines.elements import E2M1, E4M3, Element

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Operands:
    """Codes ``(rows, K)``, block scales ``(rows, K / block)`` and what a value of 1.0 of the
    format stands for under a block scale of 1.

    ``biases`` are block scales as they are stored: in 1/8 octave, at most 0, or codes of E4M3.
    """

    codes: NDArray[np.int64]
    biases: NDArray[np.int64]
    scale: float
    block: int


#: Turns real numbers ``(rows, K)`` into operands; the blocks lie along K.
Encoder = Callable[[Array], Operands]


#: Octaves that a block of MX can be down: as far as PAL's biases of whole octaves reach.
OCTAVES_DOWN = -BETA_MIN // BIAS_PER_OCTAVE


def microscaling(element: Element, block: int = 32) -> Encoder:
    """MX: a power of two for each block (OCP MX v1.0, section 6.3)."""

    def encoded(x: Array) -> Operands:
        blocks = x.reshape(len(x), -1, block)
        amax = np.abs(blocks).max(axis=-1)
        exponent = np.where(amax > 0, np.frexp(amax)[1] - 1 - element.emax, -(1 << 20))
        top = int(exponent.max())
        down = np.clip(exponent - top, -OCTAVES_DOWN, 0)
        values = element.round(np.ldexp(blocks, -(top + down)[..., None]))
        return Operands(
            codes_of(values, element).reshape(x.shape), BIAS_PER_OCTAVE * down, 2.0**top, block
        )

    return encoded


def fine_scaled(element: Element, block: int = 32) -> Encoder:
    """PAL's block bias, in 1/8 octave, searched as the accuracy study's ``/8th`` peers do."""

    def encoded(x: Array) -> Operands:
        values, bias = fine_parts(x, element, block)
        top = float(bias.max())
        # Blocks of zeros have the least bias; without any other all are at the top.
        return Operands(
            codes_of(values, element).reshape(x.shape),
            (bias - top).astype(np.int64)[..., 0],
            float(np.exp2(top / BIAS_PER_OCTAVE)),
            block,
        )

    return encoded


def nvfp4() -> Encoder:
    """E2M1 under E4M3 scales of 16 elements, four over six, as the study's ``NVFP4-4/6``."""

    def encoded(x: Array) -> Operands:
        values, scale, tensor = four_over_six_parts(x)
        return Operands(
            codes_of(values, E2M1).reshape(x.shape), codes_of(scale, E4M3)[..., 0], tensor, 16
        )

    return encoded


def tensor_scaled(element: Element) -> Encoder:
    """One scale that puts the largest magnitude at the format's."""

    def encoded(x: Array) -> Operands:
        scale = float(np.abs(x).max()) / element.largest or 1.0
        return Operands(
            codes_of(element.round(x / scale), element),
            np.zeros((len(x), 1), np.int64),
            scale,
            x.shape[1],
        )

    return encoded


def codes_of(values: Array, element: Element) -> NDArray[np.int64]:
    """Codes of values that the format has: sign and magnitude, or two's complement."""
    if element.name.startswith("INT"):
        steps = np.rint(values / element.levels[1]).astype(np.int64)
        return steps & ((1 << element.bits) - 1)
    magnitude = np.searchsorted(element.levels, np.abs(values))
    return magnitude | np.where(np.signbit(values) & (magnitude > 0), 1 << (element.bits - 1), 0)
