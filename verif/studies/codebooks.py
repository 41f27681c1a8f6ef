"""Codebooks of LO-BCQ (``verif/baselines/codebooks.py``) for the distributions of the study.

``python -m verif.studies.codebooks`` prints ``verif/baselines/clustered.py``.

As the authors do (arXiv:2502.05376), blocks are clustered from seeds as of k-means++, and then
assignment of blocks and design of each cluster's codebook alternate.  What is maximised
is the mean of the SQNR in dB over ``DISTRIBUTIONS``: each one's squared errors are divided by
its noise of the round before.  More than the authors' Lloyd-Max steps, so that the
peer is not held back by its fit:

* a design is the best of all: levels are multiples of 1/4 and in the end of 1, found by dynamic
  programming over the errors between two consecutive levels (J. D. Bruce, "Optimum
  quantization", MIT, 1965);
* the scale of ``/8th`` is searched anew with every assignment;
* single levels move by 1 as long as any such move gains, blocks and scales assigned anew at each;
* of several seeds the best counts.
"""

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled, in_pieces
from verif.baselines.blocks import Values
from verif.baselines.codebooks import BLOCK, LIMIT, Codebooks, e4m3_scales, fine_biases
from verif.numerics.distributions import data

DISTRIBUTIONS = ("gaussian", "laplace", "outliers", "uniform")
#: Not the seed of the study: codebooks are not fitted to the values that they are judged by.
SEED = 11
VALUES = 1 << 16
#: Levels of a codebook.
LEVELS = 16
#: Parts of 1 that levels are multiples of, one after the other.
GRAINS = (4, 1)
#: Rounds of assignment and design at most; most end sooner.
ROUNDS = 40
#: Blocks among which the seeds of clusters are drawn.
DRAWN = 4096
#: Codebooks by name: length of arrays, codebooks, seeds tried.
SETS = {
    "LO-BCQ/64": (64, 8, 6),
    "LO-BCQ/32": (32, 4, 6),
    "LO-BCQ/64/8th": (64, 8, 3),
    "LO-BCQ/32/8th": (32, 4, 3),
}

Books = tuple[tuple[int, ...], ...]


class Data:
    """Values to fit to, in arrays ``(N, length)``, equally many of each distribution.

    Parameters
    ----------
    length: values with one scale.
    fine: whether scales are searched in 1/8 octave; else they are E4M3.
    """

    def __init__(self, length: int, fine: bool):
        parts = [data(d, (VALUES // 1024, 1024), SEED).reshape(-1, length) for d in DISTRIBUTIONS]
        amax = [np.abs(part).max(axis=1, keepdims=True) for part in parts]
        self.signal = np.array([(part**2).sum() for part in parts])
        self.arrays = np.ascontiguousarray(np.concatenate(parts))
        self.scales = np.concatenate(
            [np.exp2(fine_biases(a, LIMIT) / 8) if fine else e4m3_scales(a, a.max()) for a in amax]
        )

    def noise(self, errors: Values) -> Values:
        """Sum of each distribution's errors."""
        return errors.reshape(len(self.signal), -1).sum(axis=1)

    def quality(self, errors: Values) -> float:
        """Mean SQNR in dB."""
        return float(10 * np.log10(self.signal / self.noise(errors)).mean())


def fit(name: str) -> Books:
    """The best codebooks of a name that its seeds lead to."""
    length, count, seeds = SETS[name]
    values = Data(length, name.endswith("/8th"))
    found = []
    for seed in range(seeds):
        books = _seeded(values, count, np.random.default_rng(seed))
        for before, grain in zip((1, *GRAINS), GRAINS, strict=False):
            books = _alternate(values, _rescaled(books, grain / before), grain)
        found.append(_descend(values, books))
    return max(found, key=lambda pair: pair[0])[1]


def _seeded(values: Data, count: int, rng: np.random.Generator) -> Books:
    """Designs for clusters of sorted blocks around seeds that are drawn far from each other."""
    scale = values.scales[:, :1]
    blocks = np.sort((values.arrays / scale).reshape(-1, BLOCK), axis=1)
    drawn = blocks[rng.choice(len(blocks), DRAWN, replace=False)]
    seeds = [drawn[0]]
    while len(seeds) < count:
        away = np.min([((drawn - s) ** 2).sum(axis=1) for s in seeds], axis=0)
        seeds.append(drawn[rng.choice(DRAWN, p=away / away.sum())])
    cluster = np.argmin([((blocks - s) ** 2).sum(axis=1) for s in seeds], axis=0)
    weight = np.repeat(1 / values.signal, len(scale) // len(values.signal)) * scale[:, 0] ** 2
    moments = np.zeros((count, 3, 4 * LIMIT))
    _gather(values.arrays, scale[:, 0], weight, cluster.reshape(len(scale), -1), moments)
    return tuple(design(m) for m in moments)


def _rescaled(books: Books, factor: float) -> Books:
    return tuple(tuple(int(v) for v in np.rint(np.array(b) * factor)) for b in books)


def _alternate(values: Data, books: Books, grain: int) -> Books:
    """Assignment and design until nothing gains, with levels in parts of 1."""
    limit = LIMIT * grain
    scales = values.scales / grain
    best = -np.inf
    kept = books
    for _ in range(ROUNDS):
        error, place, book = Codebooks(books, limit, BLOCK).search(values.arrays, scales)
        quality = values.quality(error)
        if quality <= best + 1e-4:
            break
        best, kept = quality, books
        scale = np.take_along_axis(scales, place[:, None], 1)[:, 0]
        noise = values.noise(error)
        weight = scale**2 / np.repeat(noise, len(error) // len(noise))
        moments = np.zeros((len(books), 3, 4 * limit))
        _gather(values.arrays, scale, weight, book, moments)
        books = tuple(design(m) if m[0].any() else b for m, b in zip(moments, books, strict=True))
    return kept


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


def _descend(values: Data, books: Books) -> tuple[float, Books]:
    """Levels move by 1 while that gains; the mean SQNR in dB and the codebooks."""
    errors = np.stack([_errors(values, book) for book in books])
    best = values.quality(_least(errors[0], errors[1:].min(axis=0)))
    found = list(books)
    tried_since = 0
    while True:
        for k in range(len(found)):
            others = np.delete(errors, k, axis=0).min(axis=0)
            for place in range(LEVELS):
                for step in (1, -1):
                    tried_since += 1
                    book = list(found[k])
                    book[place] += step
                    if abs(book[place]) > LIMIT or len(set(book)) < LEVELS:
                        continue
                    moved = _errors(values, tuple(book))
                    quality = values.quality(_least(moved, others))
                    if quality > best + 1e-6:
                        best, found[k], errors[k] = quality, tuple(book), moved
                        tried_since = 0
            if tried_since >= 2 * LEVELS * len(found):
                return best, tuple(found)


def _errors(values: Data, book: tuple[int, ...]) -> Values:
    """Squared errors ``(N, candidate scales, blocks)`` under one codebook."""
    count, length = values.arrays.shape
    out = np.empty((count, values.scales.shape[1], length // BLOCK))
    table = Codebooks((book,), LIMIT, BLOCK).table[:, 0]
    in_pieces(_measure, count, out.size * BLOCK, values.arrays, values.scales, table, out)
    return out


@compiled
def _measure(start, stop, arrays, scales, table, out):
    limit = len(table) // 8
    block = arrays.shape[1] // out.shape[2]
    for i in range(start, stop):
        for j in range(scales.shape[1]):
            step = scales[i, j]
            for b in range(out.shape[2]):
                total = 0.0
                for e in range(b * block, (b + 1) * block):
                    value = arrays[i, e] / step
                    twice = 2 * min(max(value, -limit), limit)
                    row = int(np.floor(twice) + np.ceil(twice)) + 4 * limit
                    total += (table[row] - value) ** 2
                out[i, j, b] = total * step * step


def _least(errors: Values, others: Values) -> Values:
    """Error of each array under its best scale, each block under the better."""
    return np.minimum(errors, others).sum(axis=2).min(axis=1)


def text() -> str:
    """The whole of ``verif/baselines/clustered.py``."""
    lines = [
        '"""Codebooks of LO-BCQ, printed by ``python -m verif.studies.codebooks``; do not edit."""',
        "",
        "CLUSTERED: dict[str, tuple[tuple[int, ...], ...]] = {",
    ]
    for name in SETS:
        lines += [f'    "{name}": (', *(f"        {book}," for book in fit(name)), "    ),"]
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    print(text(), end="")
