"""Fits the codebooks of profile A and writes ``pal_units/codebooks.py``.

``python -m verif.numerics.fit`` fits all of them, some minutes; the same bits every time.

Data and search are those of ``fitting``; the design is that of means (S. P. Lloyd, "Least squares
quantization in PCM", IEEE Trans. IT-28, 1982), each block under the codebook and bias of least
squared error.  Levels then go to the nearest point of the log grid, and are moved on it one by one
while that helps.  The best of several beginnings is taken.
"""

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pal_units import codebooks
from pal_units.codebook import (
    BIAS_WINDOW,
    LAMBDA_LIMIT,
    SPREAD_CLASSES,
    SPREAD_LIMIT,
    SPREAD_UNITS,
    spread_shift,
)
from pal_units.compiled import compiled
from pal_units.formats import BIAS_PER_OCTAVE
from spu.arch.files import replace_file
from verif.baselines import nearest
from verif.baselines.nearest import padded_middles, place
from verif.numerics.fitting import (
    FITTED_ON,
    VALUES,
    Assignment,
    Levels,
    Sample,
    alternate,
    descend,
    parts,
)

#: Beginnings that are tried: exponents of the first codebook's levels and of the last one's.
BEGINNINGS = ((0.8, 2.0), (0.9, 1.6), (0.7, 2.5), (1.0, 2.0))
#: Rounds of assignment and means.
ROUNDS = 81

#: Bias steps above the least that does not clip, in 1/8 octave, for the encoder in hardware.
PICK_STEPS = tuple(range(-7, 2))

#: Distances of the positive and of the negative levels of a codebook, by ascending magnitude.
Book = tuple[tuple[int, ...], tuple[int, ...]]
Picks = list[tuple[int, int]]


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
    chosen: numbers that choose a codebook together; 0 for all of a block.
    bias_step: biases are multiples of it, in 1/8 octave.
    window: biases that are tried, as steps from the nearest to the largest magnitude.
    """

    n: int
    fraction_bits: int
    block: int
    books: int
    extra: bool
    mirrored: bool
    zones: tuple[tuple[int, int], ...]
    values: int = VALUES
    moves: bool = True
    chosen: int = 0
    bias_step: int = 1
    window: tuple[int, int] = BIAS_WINDOW


#: The formats by name; ``docs/decisions/adaptive.md`` has what else was tried.
SHAPES = {
    "PAL4A": Shape(4, 3, 16, 4, True, True, ((16, 1), (16, 2))),
    "PAL6A": Shape(6, 4, 32, 4, False, False, ((64, 1),), moves=False),
    "PAL8A": Shape(8, 6, 32, 4, False, False, ((64, 1),), 1 << 18, False),
}


def biases(shape: Shape, blocks: Levels) -> Levels:
    """Biases ``(N, candidates)`` that blocks try, in 1/8 octave, the highest first."""
    peak = np.abs(blocks).max(axis=1, keepdims=True)
    near = np.floor(BIAS_PER_OCTAVE * np.log2(np.where(peak > 0, peak, 1.0)) + 0.5)
    (low, high), step = shape.window, shape.bias_step
    # Of a coarse step one above the window too, so that something does not clip.
    count = (high - low) // step + 1 + (step > 1)
    return np.ceil((near + low) / step) * step + step * np.arange(count)[::-1]


def sample(shape: Shape, groups: Sequence[Levels] | None = None) -> Sample:
    """What a shape is fitted to, or other groups of blocks."""
    groups = groups or parts(shape.block, shape.values)
    candidates = biases(shape, np.concatenate(groups))
    scales = np.exp2(candidates / BIAS_PER_OCTAVE)
    return Sample(groups, scales, shape.chosen or shape.block)


def means(values: Sample, shape: Shape, found: Assignment, levels: Levels) -> Levels:
    """Levels of the codebooks, mirrored ones not counted, moved to the weighted means of the
    values that are rounded to them; those of nothing stay.  ``levels`` are those of all selectors,
    as what comes back."""
    total = np.zeros((2, *levels.shape))
    middles = padded_middles(levels)
    _sums(values.blocks, found.scale, found.book, found.weight, middles, total)
    sums, weights = total
    if shape.mirrored:
        sums = sums[: shape.books] - sums[shape.books :, ::-1]
        weights = weights[: shape.books] + weights[shape.books :, ::-1]
    if not shape.extra:
        sums, weights = sums - sums[:, ::-1], weights + weights[:, ::-1]
    before = levels[: shape.books]
    moved = np.sort(np.where(weights > 0, sums / np.maximum(weights, 1e-300), before), axis=1)
    moved[:, (1 << (shape.n - 1)) - 1] = 0.0
    return whole_set(moved, shape)


@compiled(sources=(Path(__file__), Path(nearest.__file__)))
def _sums(blocks, scale, book, weight, middles, totals):
    """Weighted sums of the scaled values of each level, and of the weights."""
    chosen = blocks.shape[1] // book.shape[1]
    for i in range(len(blocks)):
        for e in range(blocks.shape[1]):
            row = book[i, e // chosen]
            v = blocks[i, e] / scale[i]
            at = place(v, middles[row])
            totals[0, row, at] += weight[i] * v
            totals[1, row, at] += weight[i]


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


def on_grid(levels: Levels, shape: Shape) -> list[Book]:
    """Codebooks whose levels are the nearest of the grid.

    The top of a codebook goes to the highest place that a change of the bias leaves.
    """
    zero = (1 << (shape.n - 1)) - 1
    step = max((1 << shape.fraction_bits) * shape.bias_step // BIAS_PER_OCTAVE, 1)
    books: list[Book] = []
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
        books.append((tuple(sides[0]), tuple(sides[1])))
    return books


def off_grid(books: Sequence[Book], shape: Shape) -> Levels:
    """Signed levels of all selectors, ascending."""
    unit = 2.0**shape.fraction_bits
    rows = [
        [*(-np.exp2(-np.array(n[::-1]) / unit)), 0.0, *np.exp2(-np.array(p) / unit)]
        for p, n in books
    ]
    return whole_set(np.array(rows), shape)


def moved(shape: Shape, book: Book, place: int, change: int) -> Book | None:
    """A codebook with one distance changed, in both signs if they are equal; None if that leaves
    the order of its levels or the grid."""
    sides = [list(side) for side in book]
    side, at = (0, place) if place < len(sides[0]) else (1, place - len(sides[0]))
    row = sides[side]
    row[at] += change
    above = row[at + 1] if at + 1 < len(row) else -1
    below = row[at - 1] if at else LAMBDA_LIMIT
    if not above < row[at] < below:
        return None
    return tuple(sides[0]), tuple(sides[1] if shape.extra else sides[0])


def descended(values: Sample, books: Sequence[Book], shape: Shape) -> tuple[float, list[Book]]:
    """Codebooks no level of which gains by a move on the grid, and their mean SQNR in dB."""
    places = len(books[0][0]) + (len(books[0][1]) if shape.extra else 0)
    return descend(
        values, books, lambda book: off_grid([book], shape), partial(moved, shape), places
    )


def alternated(
    values: Sample, shape: Shape, beginnings: Sequence[tuple[float, float]] = BEGINNINGS
) -> tuple[float, list[Book]]:
    """The best codebooks that the beginnings lead to, and their mean SQNR in dB."""
    found = []
    for first, last in beginnings:
        levels = whole_set(beginning(shape, first, last), shape)
        levels = alternate(values, levels, partial(means, values, shape), ROUNDS)
        books = on_grid(levels[: shape.books], shape)
        found.append((values.assign(off_grid(books, shape)).quality, books))
    return max(found, key=lambda pair: pair[0])


def fit_picks(values: Sample, books: Sequence[Book], shape: Shape) -> Picks:
    """For each class of spread the codebook and the bias step of the least weighted error."""
    noise = values.of_group(values.assign(off_grid(books, shape)).noise)
    magnitude = np.abs(values.blocks)
    peak = magnitude.max(axis=1, keepdims=True)
    used = peak[:, 0] > 0
    blocks, magnitude, peak = values.blocks[used], magnitude[used], peak[used]
    with np.errstate(divide="ignore"):
        distance = np.floor(SPREAD_UNITS * np.log2(peak / magnitude))
    spread = np.minimum(distance, SPREAD_LIMIT).sum(axis=1).astype(int) >> spread_shift(shape.block)
    negative = (blocks < 0).sum(axis=1) > shape.block // 2
    turned = np.where((negative & shape.mirrored)[:, None], -blocks, blocks)
    least = np.ceil(BIAS_PER_OCTAVE * np.log2(peak) - 1e-9)
    scales = np.exp2((least + np.array(PICK_STEPS)) / BIAS_PER_OCTAVE)
    tried = Sample([turned], scales, shape.block)
    totals = np.zeros((SPREAD_CLASSES, shape.books, len(PICK_STEPS)))
    for book, levels in enumerate(off_grid(books, shape)[: shape.books]):
        errors = tried.measure(levels[None])[:, :, 0] / noise[used, None]
        for j in range(len(PICK_STEPS)):
            totals[:, book, j] = np.bincount(spread, errors[:, j], SPREAD_CLASSES)
    picks = []
    for i in range(SPREAD_CLASSES):
        seen = np.flatnonzero(totals.sum(axis=(1, 2)))
        closest = totals[seen[np.abs(seen - i).argmin()]]  # of a class that no block had
        book, j = divmod(int(closest.argmin()), len(PICK_STEPS))
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


def text(found: dict[str, tuple[list[Book], Picks]]) -> str:
    """The module that holds codebooks and picks of formats, as ``ruff format`` has it."""
    parts = [HEAD.format(names=f"{', '.join(FITTED_ON[:-1])} and {FITTED_ON[-1]}")]
    for name, (books, picks) in found.items():
        shape = SHAPES[name]
        positive, negative = ([list(book[side]) for book in books] for side in (0, 1))
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


def fitted(name: str) -> tuple[list[Book], Picks]:
    """Codebooks and picks of a format, fitted anew."""
    shape = SHAPES[name]
    values = sample(shape)
    _, books = alternated(values, shape)
    if shape.moves:
        _, books = descended(values, books, shape)
    return books, fit_picks(values, books, shape)


def main() -> None:
    """Fit all formats and write them."""
    argparse.ArgumentParser(
        description=f"Fit {', '.join(SHAPES)}, some minutes, and write {CODEBOOKS.name} anew."
    ).parse_args()
    found = {}
    for name in SHAPES:
        print(f"{name} ...", flush=True)
        found[name] = fitted(name)
    replace_file(CODEBOOKS, lambda sink: sink.write(text(found).encode()))
    print(f"wrote {CODEBOOKS}")


if __name__ == "__main__":
    main()
