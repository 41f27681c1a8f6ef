"""Fits the codebooks of profile A and writes ``pal_units/codebooks.py``.

``python -m verif.numerics.fit`` fits all of them, some minutes; the same bits every time.

Levels are fitted to blocks of the distributions ``FITTED_ON`` by alternating assignment and means
(S. P. Lloyd, "Least squares quantization in PCM", IEEE Trans. IT-28, 1982), each block under the
codebook and bias of least squared error.  What is maximised is the mean over the distributions of
the signal-to-noise ratio in dB, so that errors are weighted by the noise of their distribution.
Levels then go to the nearest point of the log grid, and are moved on it one by one while that
helps.  The best of several beginnings is taken.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pal_units import adaptive, codebooks, kernels
from pal_units.codebook import (
    BIAS_WINDOW,
    LAMBDA_LIMIT,
    SPREAD_CLASSES,
    SPREAD_LIMIT,
    SPREAD_UNITS,
    spread_shift,
)
from pal_units.compiled import compiled, in_pieces
from pal_units.formats import BIAS_PER_OCTAVE
from spu.arch.files import replace_file
from verif.numerics.distributions import data

#: Distributions that levels are fitted to; all others, and all tensors of networks, are for tests.
FITTED_ON = ("gaussian", "laplace", "outliers", "uniform")
#: Seed of what levels are fitted to; the study has others.
SEED = 11
#: Beginnings that are tried: exponents of the first codebook's levels and of the last one's.
BEGINNINGS = ((0.8, 2.0), (0.9, 1.6), (0.7, 2.5), (1.0, 2.0))

#: Bias steps above the least that does not clip, in 1/8 octave, for the encoder in hardware.
PICK_STEPS = tuple(range(-7, 2))

Levels = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """What is fitted: the outline of a format.

    Parameters
    ----------
    n, fraction_bits, block: as in ``Format``.
    books: codebooks, mirrored ones not counted.
    extra: one positive level more than negative; otherwise levels are symmetric.
    mirrored: each codebook also negated.
    zones: bias zones of ``Codebooks``.
    values: numbers of each distribution.
    moves: whether levels are moved one by one at last; of many levels each move gains little.
    """

    n: int
    fraction_bits: int
    block: int
    books: int
    extra: bool
    mirrored: bool
    zones: tuple[tuple[int, int], ...]
    values: int = 1 << 16
    moves: bool = True


#: The formats by name; ``docs/accuracy.md`` has what else was tried.
SHAPES = {
    "PAL4A": Shape(4, 3, 16, 4, True, True, ((16, 1), (16, 2))),
    "PAL6A": Shape(6, 4, 32, 4, False, False, ((64, 1),), 1 << 16, False),
    "PAL8A": Shape(8, 6, 32, 4, False, False, ((64, 1),), 1 << 18, False),
}


class Fit:
    """Blocks to fit to, and what a set of levels does to them."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        groups = [
            data(d, (shape.values // 1024, 1024), SEED).reshape(-1, shape.block) for d in FITTED_ON
        ]
        self.blocks = np.concatenate(groups)
        self.group = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
        self.power = np.array([float((g**2).sum()) for g in groups])
        peak = np.abs(self.blocks).max(axis=1, keepdims=True)
        near = np.floor(BIAS_PER_OCTAVE * np.log2(np.where(peak > 0, peak, 1.0)) + 0.5)
        self.nearest = near.astype(np.int32)
        self.selector = np.zeros(self.nearest.shape, np.int64)
        self.bias = self.nearest.astype(np.int64)
        self.error = np.zeros(len(self.blocks))

    def assign(self, levels: Levels) -> float:
        """Give each block its codebook and bias; the mean SQNR in dB over the distributions."""
        low, high = BIAS_WINDOW
        self.selector, code = adaptive.chosen(
            self.blocks,
            self.nearest + np.int32(high),
            self.nearest,
            self.shape.block,
            levels,
            kernels.book_cells(levels),
            np.arange(high - low + 1),
        )
        self.bias = self.nearest + high - code
        self.scale = np.exp2(self.bias / BIAS_PER_OCTAVE)
        in_pieces(
            _errors,
            len(self.blocks),
            self.blocks.size,
            self.blocks,
            self.scale[:, 0],
            self.selector[:, 0],
            levels,
            self.error,
        )
        self.noise = np.bincount(self.group, self.error, len(self.power))
        return float((10 * np.log10(self.power / self.noise)).mean())

    def means(self, levels: Levels) -> Levels:
        """Levels of the codebooks, mirrored ones not counted, moved to the weighted means of the
        values that are rounded to them; those of nothing stay."""
        shape, every = self.shape, whole_set(levels, self.shape)
        weight = self.scale[:, 0] ** 2 / self.noise[self.group]
        total = np.zeros((2, *every.shape))
        _sums(self.blocks, self.scale[:, 0], self.selector[:, 0], weight, every, total)
        values, weights = total
        if shape.mirrored:
            values = values[: shape.books] - values[shape.books :, ::-1]
            weights = weights[: shape.books] + weights[shape.books :, ::-1]
        if not shape.extra:
            values, weights = values - values[:, ::-1], weights + weights[:, ::-1]
        moved = np.sort(np.where(weights > 0, values / np.maximum(weights, 1e-300), levels), axis=1)
        moved[:, (1 << (shape.n - 1)) - 1] = 0.0
        return moved


@compiled
def _errors(start, stop, blocks, scale, selector, levels, out):
    """Squared error of each block under its codebook and scale."""
    middles = (levels[:, 1:] + levels[:, :-1]) / 2
    for i in range(start, stop):
        total = 0.0
        for v in blocks[i]:
            row = selector[i]
            nearest = levels[row, np.searchsorted(middles[row], v / scale[i])] * scale[i]
            total += (nearest - v) ** 2
        out[i] = total


@compiled
def _sums(blocks, scale, selector, weight, levels, totals):
    """Weighted sums of the scaled values of each level, and of the weights."""
    middles = (levels[:, 1:] + levels[:, :-1]) / 2
    for i in range(len(blocks)):
        row = selector[i]
        for value in blocks[i]:
            v = value / scale[i]
            place = np.searchsorted(middles[row], v)
            totals[0, row, place] += weight[i] * v
            totals[1, row, place] += weight[i]


def beginning(shape: Shape, first: float, last: float) -> Levels:
    """Signed levels whose magnitudes are powers of equal steps, ascending, zero among them."""
    magnitudes = (1 << (shape.n - 1)) - 1
    rows = []
    for power in np.linspace(first, last, shape.books):
        negative = (np.arange(1, magnitudes + 1) / magnitudes) ** power
        count = magnitudes + shape.extra
        positive = (np.arange(1, count + 1) / count) ** power
        rows.append(np.concatenate([-negative[::-1], [0.0], positive]))
    return np.array(rows)


def whole_set(levels: Levels, shape: Shape) -> Levels:
    """The levels of all selectors."""
    return np.concatenate([levels, -levels[:, ::-1]]) if shape.mirrored else levels


def lloyd(fit: Fit, levels: Levels, rounds: int = 80) -> Levels:
    """Levels after rounds of assignment and means."""
    for _ in range(rounds):
        fit.assign(whole_set(levels, fit.shape))
        levels = fit.means(levels)
    return levels


def on_grid(levels: Levels, shape: Shape) -> list[list[list[int]]]:
    """Distances of positive and of negative levels of each codebook, by ascending magnitude.

    The top of a codebook goes to the highest place that a change of the bias leaves.
    """
    zero, step = (1 << (shape.n - 1)) - 1, (1 << shape.fraction_bits) // BIAS_PER_OCTAVE
    books = []
    for row in levels:
        sides = []
        for magnitudes in (row[zero + 1 :], -row[:zero][::-1]):
            distance = -np.log2(np.maximum(magnitudes, 1e-6)) * (1 << shape.fraction_bits)
            sides.append([int(v) for v in np.rint(distance)])
        lift = min(side[-1] for side in sides) // step * step
        sides = [[v - lift for v in side] for side in sides]
        for side in sides:
            for i in reversed(range(len(side) - 1)):
                side[i] = max(side[i], side[i + 1] + 1)
        books.append(sides)
    return books


def off_grid(books: list[list[list[int]]], shape: Shape) -> Levels:
    """Signed levels of distances."""
    unit = 2.0**shape.fraction_bits
    return np.array(
        [
            np.concatenate(
                [
                    -np.exp2(-np.array(negative[::-1]) / unit),
                    [0.0],
                    np.exp2(-np.array(positive) / unit),
                ]
            )
            for positive, negative in books
        ]
    )


def descend(fit: Fit, books: list[list[list[int]]]) -> tuple[float, list[list[list[int]]]]:
    """Distances moved by one unit while that raises the SQNR, and that SQNR."""
    shape = fit.shape

    def score() -> float:
        return fit.assign(whole_set(off_grid(books, shape), shape))

    best = score()
    improved = True
    while improved:
        improved = False
        for positive, negative in books:
            for side in (positive,) if not shape.extra else (positive, negative):
                for i in range(len(side)):
                    for change in (1, -1):
                        kept = side[i]
                        side[i] += change
                        above = side[i + 1] if i + 1 < len(side) else -1
                        below = side[i - 1] if i else LAMBDA_LIMIT
                        if above < side[i] < below:
                            if not shape.extra:
                                negative[i] = side[i]
                            found = score()
                            if found > best + 1e-6:
                                best, improved = found, True
                                break
                        side[i] = kept
                        if not shape.extra:
                            negative[i] = kept
    return best, books


def fit_books(shape: Shape) -> tuple[float, list[list[list[int]]]]:
    """The best codebooks found for an outline, and their mean SQNR on what they are fitted to."""
    fit = Fit(shape)
    found = []
    for first, last in BEGINNINGS:
        books = on_grid(lloyd(fit, beginning(shape, first, last)), shape)
        found.append((fit.assign(whole_set(off_grid(books, shape), shape)), books))
    best, books = max(found, key=lambda pair: pair[0])
    return descend(fit, books) if shape.moves else (best, books)


def fit_picks(fit: Fit, books: list[list[list[int]]]) -> list[tuple[int, int]]:
    """For each class of spread the codebook and the bias step of the least weighted error."""
    shape = fit.shape
    levels = whole_set(off_grid(books, shape), shape)
    fit.assign(levels)
    magnitude = np.abs(fit.blocks)
    peak = magnitude.max(axis=1, keepdims=True)
    used = peak[:, 0] > 0
    blocks, magnitude, peak = fit.blocks[used], magnitude[used], peak[used]
    weight = (1 / fit.noise)[fit.group[used]]
    with np.errstate(divide="ignore"):
        distance = np.floor(SPREAD_UNITS * np.log2(peak / magnitude))
    spread = np.minimum(distance, SPREAD_LIMIT).sum(axis=1).astype(int) >> spread_shift(shape.block)
    negative = (blocks < 0).sum(axis=1) > shape.block // 2
    turned = np.where((negative & shape.mirrored)[:, None], -blocks, blocks)
    least = np.ceil(BIAS_PER_OCTAVE * np.log2(peak[:, 0]) - 1e-9)
    totals = np.zeros((SPREAD_CLASSES, shape.books, len(PICK_STEPS)))
    error = np.zeros(len(blocks))
    for j, step in enumerate(PICK_STEPS):
        scale = np.exp2((least + step) / BIAS_PER_OCTAVE)
        for book in range(shape.books):
            row = np.full(len(blocks), book)
            in_pieces(_errors, len(blocks), blocks.size, turned, scale, row, levels, error)
            totals[:, book, j] = np.bincount(spread, error * weight, SPREAD_CLASSES)
    picks = []
    for i in range(SPREAD_CLASSES):
        seen = np.flatnonzero(totals.sum(axis=(1, 2)))
        nearest = totals[seen[np.abs(seen - i).argmin()]]  # of a class that no block had
        book, j = divmod(int(nearest.argmin()), len(PICK_STEPS))
        picks.append((book, PICK_STEPS[j]))
    return picks


#: Written by ``main``.
CODEBOOKS = Path(codebooks.__file__)
HEAD = '''"""Codebooks of the formats of profile A, written by ``python -m verif.numerics.fit``.

Fitted to {names} data.  A row a codebook: distances
below the block's top in units of the format's grid, by ascending magnitude.
"""

from pal_units.codebook import Codebooks, Rows


def _rows(text: str) -> Rows:
    return tuple(tuple(int(v) for v in row.split()) for row in text.split("/"))


#: By name of the format.
CODEBOOKS = {{}}
'''


def text(found: dict[str, tuple[list[list[list[int]]], list[tuple[int, int]]]]) -> str:
    """The module that holds codebooks and picks of formats, as ``ruff format`` has it."""
    parts = [HEAD.format(names=f"{', '.join(FITTED_ON[:-1])} and {FITTED_ON[-1]}")]
    for name, (books, picks) in found.items():
        shape = SHAPES[name]
        positive, negative = ([book[side] for book in books] for side in (0, 1))
        parts.append(f'_positive = _rows("""\n{_lines(positive)}\n""")\n')
        if shape.extra:
            parts.append(f'_negative = _rows("""\n{_lines(negative)}\n""")\n')
        pairs = _lines([list(pair) for pair in picks])
        parts.append(f'_picks = _rows("""\n{pairs}\n""")\n')
        parts.append(
            f'CODEBOOKS["{name}"] = Codebooks(_positive, '
            f"{'_negative' if shape.extra else '_positive'}, {shape.mirrored}, {shape.zones}, "
            "_picks)\n"
        )
    return "".join(parts)


def _lines(rows: list[list[int]]) -> str:
    """Rows of integers with a stroke between them, in lines of at most 100 characters."""
    joined = " / ".join(" ".join(map(str, row)) for row in rows)
    return textwrap.fill(joined, 100)


def fitted(name: str) -> tuple[list[list[list[int]]], list[tuple[int, int]]]:
    """Codebooks and picks of a format, fitted anew."""
    shape = SHAPES[name]
    _, books = fit_books(shape)
    return books, fit_picks(Fit(shape), books)


def main() -> None:
    """Fit all formats and write them."""
    found = {}
    for name in SHAPES:
        print(f"{name} ...", flush=True)
        found[name] = fitted(name)
    replace_file(CODEBOOKS, lambda sink: sink.write(text(found).encode()))
    print(f"wrote {CODEBOOKS}")


if __name__ == "__main__":
    main()
