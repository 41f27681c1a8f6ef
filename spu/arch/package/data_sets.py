"""Data sets cut into what a model takes in one run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spu.arch.errors import InputError
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import Program


@dataclass(frozen=True)
class Cut:
    """Inputs by name of ``count`` runs, each cut from ``given`` when it is asked for.

    ``stacked``: inputs whose sets lie along an axis of their own, in front.  ``rows``: of inputs
    that are cut along their first axis, how many a run has.  Other inputs are the same in all runs.
    ``filled``: rows that the last run lacks repeat the last one that is given; else it is shorter.
    """

    given: Mapping[str, NDArray]
    count: int = 1
    stacked: frozenset[str] = frozenset()
    rows: Mapping[str, int] = field(default_factory=dict)
    filled: bool = True

    @property
    def lacking(self) -> int:
        """Rows that fill up the last run, the same number for all inputs that are cut."""
        each = (self.count * rows - len(self.given[name]) for name, rows in self.rows.items())
        return max(each, default=0) if self.filled else 0

    def __iter__(self) -> Iterator[dict[str, NDArray]]:
        for number in range(self.count):
            yield {name: self._part(name, number) for name in self.given}

    def _part(self, name: str, number: int) -> NDArray:
        values = self.given[name]
        if name in self.stacked:
            return np.asarray(values[number if len(values) > 1 else 0])
        if name not in self.rows:
            return values
        rows = self.rows[name]
        part = np.asarray(values[number * rows : (number + 1) * rows])
        if not self.filled or len(part) == rows:
            return part
        return np.concatenate([part, np.repeat(part[-1:], rows - len(part), 0)])


def cut(model: Program | Pipeline, given: Mapping[str, NDArray]) -> Cut:
    """The runs that inputs of a model by name are: one, or many along a first axis of all arrays.

    An array may be as the program takes it, which is one set; have an axis more in front, of sets;
    or be longer along its first axis than the program's: then sets are cut from it.  One of a
    single axis is cut only beside others with as many rows, in a run and in all: alone, its length
    would be a mistake more often.  All arrays have as many sets, but for those of one, which belong
    to all.  Arrays of other names and shapes are one set, which no model takes, see ``inputs``.

    Raises ``InputError`` for arrays of different numbers of sets, or of rows where a set has as
    many of each.
    """
    given = {name: x if isinstance(x, np.ndarray) else np.asarray(x) for name, x in given.items()}
    if isinstance(model, Pipeline):
        return _of_pipeline(model, given)
    shapes = {name: model.shape(i) for name, i in model.inputs.items() if name in given}
    stacked = {
        name
        for name, shape in shapes.items()
        if given[name].ndim == len(shape) + 1
        and given[name].shape[1:] == shape
        and len(given[name])
    }
    longer = {
        name: shape[0]
        for name, shape in shapes.items()
        if shape
        and given[name].ndim == len(shape)
        and given[name].shape[1:] == shape[1:]
        and 0 < shape[0] != len(given[name]) > 0
    }
    wide = {name for name in longer if len(shapes[name]) > 1}
    known = {(longer[name], len(given[name])) for name in wide}
    rows = {n: each for n, each in longer.items() if n in wide or (each, len(given[n])) in known}
    counts = {name: len(given[name]) for name in stacked if len(given[name]) > 1}
    counts |= {name: -(-len(given[name]) // each) for name, each in rows.items()}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} {counts[name]}" for name in given if name in counts)
        raise InputError(f"must have as many sets of all inputs, not {each}")
    totals = {each: {len(given[n]) for n in rows if rows[n] == each} for each in rows.values()}
    if any(len(lengths) > 1 for lengths in totals.values()):
        told = ", ".join(f"{name} {len(given[name])}" for name in given if name in rows)
        raise InputError(f"must have as many rows of all inputs, not {told}")
    return Cut(given, next(iter(counts.values()), 1), frozenset(stacked), rows)


def _of_pipeline(model: Pipeline, given: Mapping[str, NDArray]) -> Cut:
    """Of vectors in a model's shape or flat, as many as a run takes at most."""
    io, values = model.report["io"], given.get(model.input)
    least, most = io["vectors"]
    tails = (tuple(io["input_shape"]), (io["inputs"],))
    if values is None or values.ndim < 2 or not len(values):
        return Cut(given)
    if values.shape[1:] in tails:
        if least <= len(values) <= most:
            return Cut(given)
        count = -(-len(values) // most)
        return Cut(given, count, rows={model.input: most}, filled=least == most)
    if values.shape[2:] in tails and least <= values.shape[1] <= most:
        return Cut(given, len(values), stacked=frozenset((model.input,)))
    return Cut(given)
