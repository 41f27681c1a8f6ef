"""What every fit of codebooks shares: the data, what is maximised, assignment and single moves.

Codebooks of profile A (``fit``) and of LO-BCQ (``cluster``) are fitted to the same values by the
same search: blocks take the codebooks and the scale of least squared error (*assignment*), a
*design* moves the levels of each codebook to the values that chose them, in turn, and at last
single levels move by one while that gains.  What is maximised is the mean over the distributions of
the SQNR in dB, so that errors are weighted by the noise of their distribution.  Only the design
differs, and the grid that levels lie on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pal_units.compiled import compiled, in_pieces
from verif.baselines import nearest
from verif.baselines.nearest import padded_middles, place
from verif.numerics.distributions import data

#: Distributions that levels are fitted to; all others, and all tensors of networks, are for tests.
FITTED_ON = ("gaussian", "laplace", "outliers", "uniform")
#: Seed of what levels are fitted to; the study has others.
SEED = 11
#: Numbers of each distribution.
VALUES = 1 << 16
#: Least gain in dB that counts as one.
GAIN_DB = 1e-6

Levels = NDArray[np.float64]
Book = TypeVar("Book")
_SOURCES = (Path(__file__), Path(nearest.__file__))


def parts(length: int, values: int = VALUES) -> list[Levels]:
    """Blocks ``(N, length)`` of each distribution of ``FITTED_ON``."""
    return [data(d, (values // 1024, 1024), SEED).reshape(-1, length) for d in FITTED_ON]


@dataclass(frozen=True)
class Assignment:
    """What blocks chose: scales ``(N,)``, codebooks ``(N, blocks that choose)``.

    ``weight`` is what a squared error relative to its scale counts, ``quality`` in dB.
    """

    scale: Levels
    book: NDArray[np.int64]
    weight: Levels
    noise: Levels
    quality: float


class Sample:
    """Blocks, and what codebooks do to them.

    Parameters
    ----------
    groups: blocks ``(N, length)`` of each distribution, equally many.
    scales: those that each block of all groups tries, ``(N, candidates)``; of equals the first.
    chosen: values that choose a codebook together, a divisor of ``length``.
    """

    def __init__(self, groups: Sequence[Levels], scales: Levels, chosen: int) -> None:
        self.blocks = np.ascontiguousarray(np.concatenate(groups))
        self.scales, self.chosen = scales, chosen
        self.signal = np.array([(group**2).sum() for group in groups])

    def of_group(self, figures: Levels) -> Levels:
        """A figure of each group as one of each block."""
        return np.repeat(figures, len(self.blocks) // len(self.signal))

    def noise(self, errors: Levels) -> Levels:
        """Sum of each group's errors."""
        return errors.reshape(len(self.signal), -1).sum(axis=1)

    def quality(self, errors: Levels) -> float:
        """Mean SQNR in dB of squared errors ``(N,)``."""
        return float(10 * np.log10(self.signal / self.noise(errors)).mean())

    def assign(self, levels: Levels) -> Assignment:
        """Give each block the scale and the codebooks of ``(codebooks, levels)``, ascending."""
        count, length = self.blocks.shape
        error, at = np.empty(count), np.empty(count, np.int64)
        book = np.empty((count, length // self.chosen), np.int64)
        in_pieces(
            _search,
            count,
            self.blocks.size * len(levels),
            self.blocks,
            self.scales,
            levels,
            padded_middles(levels),
            error,
            at,
            book,
        )
        scale = np.take_along_axis(self.scales, at[:, None], 1)[:, 0]
        noise = self.noise(error)
        weight = scale**2 / self.of_group(noise)
        return Assignment(scale, book, weight, noise, self.quality(error))

    def measure(self, levels: Levels) -> Levels:
        """Squared errors ``(N, candidates, blocks that choose)`` under the better of the rows."""
        count, length = self.blocks.shape
        out = np.empty((count, self.scales.shape[1], length // self.chosen))
        work = out.size * self.chosen
        middles = padded_middles(levels)
        in_pieces(_measure, count, work, self.blocks, self.scales, levels, middles, out)
        return out


def alternate(
    sample: Sample,
    levels: Levels,
    design: Callable[[Assignment, Levels], Levels],
    rounds: int,
    gain_db: float = -np.inf,
) -> Levels:
    """Levels after rounds of assignment and design, as long as each gains so much."""
    best, kept = -np.inf, levels
    for _ in range(rounds):
        found = sample.assign(levels)
        if found.quality <= best + gain_db:
            break
        best, kept = found.quality, levels
        levels = design(found, levels)
    return kept


def descend(
    sample: Sample,
    books: Sequence[Book],
    levels: Callable[[Book], Levels],
    moved: Callable[[Book, int, int], Book | None],
    places: int,
) -> tuple[float, list[Book]]:
    """Codebooks whose single levels moved by one as long as any such move gains; their quality.

    ``levels`` are the rows of a codebook, one or with its mirror; ``moved(book, place, change)``
    is a codebook with one of its ``places`` moved, None where it cannot be.
    """
    found = list(books)
    errors = np.stack([sample.measure(levels(book)) for book in found])
    best = sample.quality(_least(errors.min(axis=0)))
    improved = True
    while improved:
        improved = False
        for k in range(len(found)):
            others = np.delete(errors, k, axis=0).min(axis=0, initial=np.inf)
            for at in range(places):
                for change in (1, -1):
                    book = moved(found[k], at, change)
                    if book is None:
                        continue
                    tried = sample.measure(levels(book))
                    quality = sample.quality(_least(np.minimum(tried, others)))
                    if quality > best + GAIN_DB:
                        best, found[k], errors[k], improved = quality, book, tried, True
                        break
    return best, found


def _least(errors: Levels) -> Levels:
    """Error of each block under its best scale."""
    least: Levels = errors.sum(axis=2).min(axis=1)
    return least


@compiled(sources=_SOURCES)
def _search(start, stop, blocks, scales, levels, middles, error, at, book):
    """Error, scale and codebooks of each block, of the least squared error; the first of equals."""
    count = book.shape[1]
    chosen = blocks.shape[1] // count
    books = np.zeros(count, np.int64)
    scaled = np.empty(chosen)
    for i in range(start, stop):
        error[i] = np.inf
        at[i] = 0
        book[i] = 0
        for j in range(scales.shape[1]):
            step = scales[i, j]
            square = step * step
            total = 0.0
            for b in range(count):
                for e in range(chosen):
                    scaled[e] = blocks[i, b * chosen + e] / step
                least = np.inf
                for k in range(len(levels)):
                    sum_k = 0.0
                    for v in scaled:
                        difference = levels[k, place(v, middles[k])] - v
                        sum_k += difference * difference
                        if sum_k >= least or (total + sum_k) * square >= error[i]:  # it only grows
                            sum_k = np.inf
                            break
                    if sum_k < least:
                        least = sum_k
                        books[b] = k
                total += least
                if total == np.inf:
                    break
            total *= square
            if total < error[i]:
                error[i] = total
                at[i] = j
                book[i] = books


@compiled(sources=_SOURCES)
def _measure(start, stop, blocks, scales, levels, middles, out):
    """Squared error of the better of the rows of ``levels``."""
    chosen = blocks.shape[1] // out.shape[2]
    for i in range(start, stop):
        for j in range(scales.shape[1]):
            step = scales[i, j]
            for b in range(out.shape[2]):
                least = np.inf
                for k in range(len(levels)):
                    total = 0.0
                    for e in range(b * chosen, (b + 1) * chosen):
                        v = blocks[i, e] / step
                        total += (levels[k, place(v, middles[k])] - v) ** 2
                        if total >= least:
                            break
                    least = min(least, total)
                out[i, j, b] = least * step * step
