"""Queries as they arrive: drawn at random, or of a trace file."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import UserError

COLUMNS = ("seconds", "input_tokens", "output_tokens")
#: Seconds over which the rate of a trace counts as one.
_SPAN = 60.0
#: Lengths that stand for all others in simulations by rounds.
_LENGTHS = 4096
_DAY = 86400.0


class LoadError(UserError):
    """A trace that is none, or a load that cannot be."""


@dataclass(frozen=True)
class Query:
    """When it arrives, in seconds, and its tokens."""

    seconds: float
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Load:
    """Queries a second by spans of time, and lengths that are equally likely.

    ``edges``: seconds, one more than ``rates``; ``inputs`` and ``outputs``: tokens.
    """

    edges: NDArray[np.float64]
    rates: NDArray[np.float64]
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]

    @property
    def seconds(self) -> float:
        """How long queries arrive."""
        return float(self.edges[-1])

    @property
    def expected(self) -> float:
        """Queries in all, expected."""
        return float(np.sum(self.rates * np.diff(self.edges)))

    def between(self, start: float, end: float) -> float:
        """Queries expected from one time to another."""
        return float(
            np.interp(end, self.edges, self._sums) - np.interp(start, self.edges, self._sums)
        )

    @property
    def _sums(self) -> NDArray[np.float64]:
        return np.concatenate(([0.0], np.cumsum(self.rates * np.diff(self.edges))))

    def queries(self, seed: int) -> Iterator[Query]:
        """Queries of a Poisson process of these rates, in order; the same for a seed."""
        made = np.random.default_rng(seed)
        for (start, end), rate in zip(pairwise(self.edges), self.rates, strict=True):
            count = made.poisson(rate * (end - start))
            for seconds in np.sort(made.uniform(start, end, count)):
                each = made.integers(len(self.inputs))
                yield Query(float(seconds), int(self.inputs[each]), int(self.outputs[each]))


def poisson(
    rate: float,
    seconds: float,
    inputs: float,
    outputs: float,
    spread: float = 0.0,
    swing: float = 0.0,
    seed: int = 1,
) -> Load:
    """A load of ``rate`` queries a second for ``seconds``, of lengths with these means.

    ``spread``: standard deviation of a length's logarithm, normal.  ``swing``: 0 to 1, how far the
    rate rises and falls over a day, as a sine with its mean at the start.  Raises ``LoadError``.
    """
    for name, number in (("rate", rate), ("seconds", seconds)):
        if not 0 < number < math.inf:
            raise LoadError(f"{name}: must be a positive number, not {number}")
    for name, number in (("inputs", inputs), ("outputs", outputs)):
        if not 1 <= number < 1e7:
            raise LoadError(f"{name}: must be from 1 to 10 million tokens, not {number}")
    for name, number, most in (("spread", spread, 3.0), ("swing", swing, 1.0)):
        if not 0 <= number <= most:
            raise LoadError(f"{name}: must be from 0 to {most:.0f}, not {number}")
    made = np.random.default_rng(seed)
    edges = np.linspace(0.0, seconds, max(1, math.ceil(seconds / _SPAN)) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    rates = rate * (1 + swing * np.sin(2 * np.pi * middles / _DAY))
    lengths = [_lengths(mean, spread, made) for mean in (inputs, outputs)]
    return Load(edges, rates, *lengths)


def trace(path: Path) -> tuple[list[Query], Load]:
    """Queries of a CSV file with columns ``COLUMNS`` (others are ignored), in the order of time,
    and the load that they are.

    Raises ``LoadError`` with file and line for what is none; ``OSError``.
    """
    found: list[Query] = []
    with path.open(newline="", encoding="utf-8-sig") as source:
        try:
            reader = csv.DictReader(source)
            head = reader.fieldnames or []
            if missing := [name for name in COLUMNS if name not in head]:
                raise LoadError(
                    f"{path}: line 1: no column {missing[0]}; needs {', '.join(COLUMNS)}"
                )
            found.extend(_query(f"{path}: line {reader.line_num}", row) for row in reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise LoadError(f"{path}: {error}") from None
    if not found:
        raise LoadError(f"{path}: has no query")
    found.sort(key=lambda query: query.seconds)
    end = found[-1].seconds + 1e-3
    edges = np.linspace(0.0, end, max(1, math.ceil(end / _SPAN)) + 1)
    counts, _ = np.histogram([query.seconds for query in found], edges)
    inputs = np.array([query.inputs for query in found])
    outputs = np.array([query.outputs for query in found])
    return found, Load(edges, counts / np.diff(edges), inputs, outputs)


def _query(where: str, row: dict[str, str | None]) -> Query:
    """Raises ``LoadError``."""
    numbers = []
    for name in COLUMNS:
        try:
            numbers.append(float(row[name] or ""))
        except ValueError:
            raise LoadError(f"{where}: {name} must be a number, not {row[name]!r}") from None
    seconds, inputs, outputs = numbers
    if not 0 <= seconds < 1e9:
        raise LoadError(f"{where}: seconds must be from 0 to 1e9, not {seconds}")
    for name, number in zip(COLUMNS[1:], (inputs, outputs), strict=True):
        if not 1 <= number < 1e7 or number != int(number):
            raise LoadError(
                f"{where}: {name} must be a whole number from 1 to 10 million, not {number}"
            )
    return Query(seconds, int(inputs), int(outputs))


def _lengths(mean: float, spread: float, made: np.random.Generator) -> NDArray[np.int64]:
    """Lengths with a mean: quantiles of the logarithm's normal density, in random order."""
    if spread == 0:
        return np.array([max(1, round(mean))])
    normal = np.sort(made.standard_normal(_LENGTHS))
    lengths = np.exp(spread * normal)
    return made.permutation(
        np.maximum(np.rint(lengths * mean / lengths.mean()), 1).astype(np.int64)
    )
