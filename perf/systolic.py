"""Cycles of matrix products on systolic arrays, in closed form and by shifting the words.

``y = x w`` with ``x`` (M, K) and ``w`` (K, N) on R rows and C columns of multipliers.  What is
stationary gives the dataflow its name: outputs, weights, or inputs.  A product is cut into folds,
each of which fills the array once and takes as long as any other, a smaller one too; folds follow
each other without overlap.  That is the machine of SCALE-Sim (A. Samajdar et al., "A Systematic
Methodology for Characterizing Scalability of DNN Accelerators using SCALE-Sim", ISPASS 2020), and
so are the closed forms; the cycle less is that tool's convention: it gives the number of the last
cycle.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import UserError


class Dataflow(StrEnum):
    """What stays in the multipliers, by SCALE-Sim's names."""

    OUTPUT = "os"
    WEIGHT = "ws"
    INPUT = "is"


def _sizes(dataflow: Dataflow, m: int, n: int, k: int) -> tuple[int, int, int]:
    """What lies along rows and columns of the array, and what streams past."""
    return {Dataflow.OUTPUT: (m, n, k), Dataflow.WEIGHT: (k, n, m), Dataflow.INPUT: (k, m, n)}[
        dataflow
    ]


def _check(rows: int, columns: int, m: int, n: int, k: int) -> None:
    for name, size in (("rows", rows), ("columns", columns), ("m", m), ("n", n), ("k", k)):
        if size < 1:
            raise UserError(f"{name} must be at least 1, not {size}")


def folds(dataflow: Dataflow, m: int, n: int, k: int, rows: int, columns: int) -> int:
    """Times that a product fills the array; ``UserError`` for a size below 1."""
    _check(rows, columns, m, n, k)
    along_rows, along_columns, _ = _sizes(dataflow, m, n, k)
    return -(-along_rows // rows) * -(-along_columns // columns)


def cycles(dataflow: Dataflow, m: int, n: int, k: int, rows: int, columns: int) -> int:
    """Number of the last cycle of a product, by the closed form.

    Stationary weights or inputs are shifted in first, which takes a cycle a row.
    Raises ``UserError`` for a size below 1.
    """
    *_, streamed = _sizes(dataflow, m, n, k)
    filling = 0 if dataflow is Dataflow.OUTPUT else rows
    fold = filling + streamed + rows + columns - 2
    return folds(dataflow, m, n, k, rows, columns) * fold - 1


def simulate(
    dataflow: Dataflow, x: NDArray[np.int64], w: NDArray[np.int64], rows: int, columns: int
) -> tuple[NDArray[np.int64], int]:
    """The product, by words that move from multiplier to multiplier, and its last cycle's number.

    ``x`` (M, K), ``w`` (K, N).  Folds at the edges are filled up with zeros, which take their time.
    """
    (m, k), n = x.shape, w.shape[1]
    _check(rows, columns, m, n, k)
    if dataflow is Dataflow.INPUT:  # the transposed product, with inputs in the place of weights
        transposed, last = simulate(Dataflow.WEIGHT, w.T, x.T, rows, columns)
        return transposed.T, last
    stay = dataflow is Dataflow.OUTPUT
    x = _filled(x, rows, 1) if stay else _filled(x, 1, rows)
    w = _filled(w, 1, columns) if stay else _filled(w, rows, columns)
    out, total = np.zeros((x.shape[0], w.shape[1]), np.int64), 0
    for first in range(0, len(x) if stay else len(w), rows):
        taken = slice(first, first + rows)
        for column in range(0, w.shape[1], columns):
            across = slice(column, column + columns)
            if stay:
                out[taken, across], spent = _outputs_stay(x[taken], w[:, across])
            else:
                part, spent = _weights_stay(x[:, taken], w[taken, across])
                out[:, across] += part
            total += spent
    return out[:m, :n], total - 1


def _filled(x: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    return np.pad(x, ((0, -x.shape[0] % rows), (0, -x.shape[1] % columns)))


def _outputs_stay(x: NDArray[np.int64], w: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """A fold of ``x`` (rows, K) and ``w`` (K, columns), and its cycles."""
    (rows, depth), columns = x.shape, w.shape[1]
    # Words and whether there is one, in each multiplier.
    east, south = (np.zeros((2, rows, columns), np.int64) for _ in range(2))
    sums, met = (np.zeros((rows, columns), np.int64) for _ in range(2))
    row, column, cycle = np.arange(rows), np.arange(columns), 0
    while met.min() < depth:
        east[:, :, 1:], south[:, 1:] = east[:, :, :-1].copy(), south[:, :-1].copy()
        east[:, :, 0] = _entering(x.T, cycle - row, row)
        south[:, 0] = _entering(w, cycle - column, column)
        sums += east[0] * south[0]
        met += east[1] & south[1]
        cycle += 1
    return sums, cycle


def _weights_stay(x: NDArray[np.int64], w: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """A fold of ``x`` (M, rows) and ``w`` (rows, columns), and its cycles."""
    (count, rows), columns = x.shape, w.shape[1]
    held, cycle = np.zeros((rows, columns), np.int64), 0
    for entering in w[::-1]:  # the last row goes the longest way
        held[1:] = held[:-1].copy()
        held[0] = entering
        cycle += 1
    east, south = (np.zeros((2, rows, columns), np.int64) for _ in range(2))
    row, begun = np.arange(rows), cycle
    sums, left = np.zeros((count, columns), np.int64), np.zeros(columns, np.int64)
    while left.min() < count:
        east[:, :, 1:], south[:, 1:] = east[:, :, :-1].copy(), south[:, :-1].copy()
        east[:, :, 0] = _entering(x, cycle - begun - row, row)
        south[:, 0] = 0
        south[0] += east[0] * held
        south[1] = east[1]
        leaving = np.flatnonzero(south[1, -1])
        sums[left[leaving], leaving] = south[0, -1, leaving]
        left[leaving] += 1
        cycle += 1
    return sums, cycle


def _entering(
    words: NDArray[np.int64], which: NDArray[np.int64], lane: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Word ``which`` of each lane and 1, or zeros where there is none; ``words`` (words, lanes)."""
    there = (which >= 0) & (which < len(words))
    return np.stack([np.where(there, words[which.clip(0, len(words) - 1), lane], 0), there])
