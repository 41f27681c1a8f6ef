"""Codebooks of LO-BCQ (``verif/baselines/codebooks.py``) for the distributions of the study.

``python -m verif.numerics.cluster`` prints ``verif/baselines/clustered.py``.

As the authors do (arXiv:2502.05376), blocks are clustered from seeds as of k-means++, and then
assignment of blocks and design of each cluster's codebook alternate.  What is fitted to, and the
search, are those of profile A (``fitting``).  More than the authors' Lloyd-Max steps, so that the
peer is not held back by its fit:

* a design is the best of all: levels are multiples of 1/4 and in the end of 1, found by dynamic
  programming over the errors between two consecutive levels (J. D. Bruce, "Optimum
  quantization", MIT, 1965);
* the scale of ``/8th`` is searched anew with every assignment;
* single levels move by 1 as long as any such move gains, blocks and scales assigned anew at each;
* of several seeds the best counts.
"""

import argparse
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled
from verif.baselines.blocks import Values
from verif.baselines.codebooks import BLOCK, LIMIT, fine_biases
from verif.baselines.scales import e4m3_scales, tensor_scale
from verif.numerics.fitting import Assignment, Sample, alternate, descend, parts

#: Levels of a codebook.
LEVELS = 16
#: Parts of 1 that levels are multiples of, one after the other.
GRAINS = (4, 1)
#: Rounds of assignment and design at most; most end sooner, where one gains less than so much.
ROUNDS, ROUND_DB = 40, 1e-4
#: Blocks among which the seeds of clusters are drawn.
DRAWN = 4096
#: Codebooks by name: length of arrays, codebooks, seeds tried.
SETS = {
    "LO-BCQ/64": (64, 8, 6),
    "LO-BCQ/32": (32, 4, 6),
    "LO-BCQ/64/8th": (64, 8, 3),
    "LO-BCQ/32/8th": (32, 4, 3),
}

Book = tuple[int, ...]
Books = tuple[Book, ...]


def sample(length: int, fine: bool) -> Sample:
    """Arrays of ``length`` values with one scale: searched in 1/8 octave, or that of E4M3."""
    groups = parts(length)
    scales = []
    for group in groups:
        amax = np.abs(group).max(axis=1, keepdims=True)
        tensor = tensor_scale(float(amax.max()), LIMIT)
        scales.append(
            np.exp2(fine_biases(amax, LIMIT) / 8)
            if fine
            else e4m3_scales(amax, LIMIT, tensor) * tensor
        )
    return Sample(groups, np.concatenate(scales), BLOCK)


def fit(name: str) -> Books:
    """The best codebooks of a name that its seeds lead to."""
    length, count, seeds = SETS[name]
    values = sample(length, name.endswith("/8th"))
    found = []
    for seed in range(seeds):
        books = _seeded(values, count, np.random.default_rng(seed))
        for before, grain in zip((1, *GRAINS), GRAINS, strict=False):
            levels = np.rint(np.array(books) * grain / before) / grain
            levels = alternate(values, levels, partial(_designs, values, grain), ROUNDS, ROUND_DB)
            books = tuple(tuple(int(v) for v in row) for row in np.rint(levels * grain))
        found.append(descend(values, books, as_levels, moved, LEVELS))
    return tuple(max(found, key=lambda pair: pair[0])[1])


def as_levels(book: Book) -> Values:
    """The row of a codebook."""
    return np.array([book], np.float64)


def moved(book: Book, place: int, change: int) -> Book | None:
    """A codebook with one level moved, None beyond the limit or onto another level."""
    found = (*book[:place], book[place] + change, *book[place + 1 :])
    return found if abs(found[place]) <= LIMIT and len(set(found)) == LEVELS else None


def _seeded(values: Sample, count: int, rng: np.random.Generator) -> Books:
    """Designs for clusters of sorted blocks around seeds that are drawn far from each other."""
    scale = values.scales[:, :1]
    blocks = np.sort((values.blocks / scale).reshape(-1, BLOCK), axis=1)
    drawn = blocks[rng.choice(len(blocks), DRAWN, replace=False)]
    seeds = [drawn[0]]
    while len(seeds) < count:
        away = np.min([((drawn - s) ** 2).sum(axis=1) for s in seeds], axis=0)
        seeds.append(drawn[rng.choice(DRAWN, p=away / away.sum())])
    cluster = np.argmin([((blocks - s) ** 2).sum(axis=1) for s in seeds], axis=0)
    weight = values.of_group(1 / values.signal) * scale[:, 0] ** 2
    moments = np.zeros((count, 3, 4 * LIMIT))
    _gather(values.blocks, scale[:, 0], weight, cluster.reshape(len(scale), -1), moments)
    return tuple(design(m) for m in moments)


def _designs(values: Sample, grain: int, found: Assignment, levels: Values) -> Values:
    """The best levels in parts of 1 for the blocks of each codebook; those of no block stay."""
    moments = np.zeros((len(levels), 3, 4 * LIMIT * grain))
    _gather(values.blocks, found.scale / grain, found.weight, found.book, moments)
    return np.array(
        [
            np.array(design(m)) / grain if m[0].any() else row
            for m, row in zip(moments, levels, strict=True)
        ]
    )


@compiled
def _gather(arrays, scales, weights, books, moments):
    """Weights, weighted values and squares in each half of 1, by codebook."""
    cells = moments.shape[2]
    for i in range(arrays.shape[0]):
        for e in range(arrays.shape[1]):
            value = arrays[i, e] / scales[i]
            cell = min(max(int(np.floor(2 * value)) + cells // 2, 0), cells - 1)
            book = books[i, e * books.shape[1] // arrays.shape[1]]
            moments[book, 0, cell] += weights[i]
            moments[book, 1, cell] += weights[i] * value
            moments[book, 2, cell] += weights[i] * value * value


def design(moments: Values, count: int = LEVELS) -> tuple[int, ...]:
    """The ``count`` integers of least squared error for values of moments ``(3, cells)``.

    Cells are halves of 1 between the largest negative and the largest positive level.
    """
    sums = np.concatenate([np.zeros((3, 1)), np.cumsum(moments, axis=1)], axis=1)
    cells = moments.shape[1]
    place = np.arange(cells // 2 + 1)
    level = place - cells // 4

    def error(begin: NDArray, end: NDArray, to: NDArray) -> Values:
        weight, value, square = sums[:, end] - sums[:, begin]
        return square - 2 * to * value + to * to * weight

    low, high = place[:, None], place[None, :]
    between = np.where(
        low < high,
        error(2 * low, low + high, level[:, None]) + error(low + high, 2 * high, level[None, :]),
        np.inf,
    )
    least = error(0 * place, 2 * place, level)
    ways = []
    for _ in range(count - 1):
        paths = least[:, None] + between
        ways.append(paths.argmin(axis=0))
        least = paths.min(axis=0)
    last = int((least + error(2 * place, np.full_like(place, cells), level)).argmin())
    found = [last]
    for way in reversed(ways):
        found.append(int(way[found[-1]]))
    return tuple(int(level[p]) for p in reversed(found))


def text() -> str:
    """The whole of ``verif/baselines/clustered.py``."""
    lines = [
        '"""Codebooks of LO-BCQ, printed by ``python -m verif.numerics.cluster``; do not edit."""',
        "",
        "CLUSTERED: dict[str, tuple[tuple[int, ...], ...]] = {",
    ]
    for name in SETS:
        lines += [f'    "{name}": (', *(f"        {book}," for book in fit(name)), "    ),"]
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    argparse.ArgumentParser(
        description="Fit the codebooks of LO-BCQ, some minutes; print their module."
    ).parse_args()
    print(text(), end="")
