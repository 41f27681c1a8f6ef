"""Blocks along the last axis, and quantisers as tables name them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Quantiser:
    """A format as a function that rounds arrays ``(..., K)`` along their last axis.

    Parameters
    ----------
    name: what tables call it.
    bits_per_element: storage with the share of block scales and of what else a block
        stores; tensor scales left out.
    round: the function; ``K`` must be a multiple of the block.
    multiply: dot products ``(M, N)`` of rows ``(M, K)`` and ``(N, K)`` as hardware has them; None
        for exact sums of rounded values, which flatters a format.
    """

    name: str
    bits_per_element: float
    round: Callable[[Values], Values]
    multiply: Callable[[Values, Values], Values] | None = None

    def dots(self, x: Values, w: Values) -> Values:
        """Dot products ``(M, N)`` of the rows of ``x`` and ``w``."""
        return self.multiply(x, w) if self.multiply else self.round(x) @ self.round(w).T


def split(x: Values, block: int) -> tuple[Values, Values]:
    """Blocks and their largest magnitudes, 1.0 for blocks of zeros.

    Raises ``ValueError`` for a last axis that blocks do not divide.
    """
    x = np.asarray(x, np.float64)
    if x.shape[-1] % block:
        raise ValueError(
            f"last axis must be a multiple of the block of {block}, shape is {x.shape}"
        )
    blocks = x.reshape(*x.shape[:-1], -1, block)
    amax = np.abs(blocks).max(axis=-1, keepdims=True)
    return blocks, np.where(amax == 0, 1.0, amax)


def best(blocks: Values, candidates: list[Values]) -> Values:
    """Of candidates for each block the one of least squared error, the first of equals."""
    errors = np.stack([((c - blocks) ** 2).sum(axis=-1) for c in candidates])
    return np.take_along_axis(np.stack(candidates), errors.argmin(axis=0)[None, ..., None], axis=0)[
        0
    ]
