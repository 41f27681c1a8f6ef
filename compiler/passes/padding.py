"""Whether padding changes what becomes of a sample: measured, in float64.

It is not proved from the graph.  Samples of several lengths and magnitudes are computed as a model
is for their own length and a single row, and padded, in rows side by side, as a bucket is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from compiler.errors import CompileError
from spu.arch.errors import InputError
from spu.arch.package.buckets import BATCH, Buckets
from spu.arch.package.inputs import of_program
from spu.arch.package.program import Program
from spu.arch.package.rows import stay_apart
from spu.arch.package.values import real_values

#: Lengths of a bucket that are tried, all if there are no more; and samples of each.
MOST_LENGTHS, PROBES = 16, 4
#: Magnitudes of random real numbers, of the largest of the samples, else as they are: small ones
#: show a pad that counts in a maximum, large ones a sum, and masks that are too small.
OF_SAMPLES, AS_THEY_ARE = (0.3, 1e-3, 1.0, 0.03), (1.0, 1e-3, 1e3, 30.0)
#: Difference of an output by padding, of its largest magnitude, that is rounding: float64 of sums
#: in another order is off by some 1e-13, a mask of -10 in an exponent by 5e-5.
TOLERANCE = 1e-9

Sets = Sequence[Mapping[str, NDArray]]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Checked:
    """How many padded samples were compared with their own sizes, how many lengths they had, and
    the largest difference, of the largest magnitude of an output."""

    samples: int
    lengths: int
    difference: float


def probes(grid: Sequence[Sizes], padded: bool) -> list[tuple[int, dict[str, int]]]:
    """Buckets by number, with sizes of samples that they are to hold, rows by themselves.

    Of several lengths one at a time is changed, beside all others at their least and their most.
    """
    names = [n for n in grid[0] if n != BATCH]
    rows = {BATCH: 1} if BATCH in grid[0] else {}
    found = []
    for number, sizes in enumerate(grid):
        choices = []
        for n in names:
            smaller = [s[n] for s in grid if s[n] < sizes[n]]
            choices.append(spread(max(smaller, default=0) + 1, sizes[n]) if padded else (sizes[n],))
        tried = {tuple(c[end] for c in choices) for end in (0, -1)}
        for place, lengths in enumerate(choices):
            for length, end in product(lengths, (0, -1)):
                each = [c[end] for c in choices]
                each[place] = length
                tried.add(tuple(each))
        found += [(number, rows | dict(zip(names, each, strict=True))) for each in sorted(tried)]
    return found


class Padding:
    """Compares padded samples with what they are alone; ``program``: of sizes by name.

    ``samples``: inputs by name that show what values these have.  Every second sample that is tried
    is of them; in the others real numbers are random, but for those of masks, which are 0 and 1 in
    all samples.  Without samples all are random.
    """

    def __init__(
        self,
        buckets: Buckets,
        program: Callable[[Sizes], Program],
        samples: Sets,
        progress: Callable[[str], None],
    ) -> None:
        self.buckets, self.program, self.samples = buckets, program, samples
        self.progress, self.rng, self.number = progress, np.random.default_rng(0), 0
        self.tops = {
            name: max(float(np.abs(x).max(initial=0.0)) for x in values)
            for name in (samples[0] if samples else ())
            for values in [[np.asarray(each[name]) for each in samples]]
            if not all(((x == 0) | (x == 1)).all() for x in values)
        }

    def check(self, tried: Sequence[tuple[int, Sizes]]) -> Checked:
        """Raises ``CompileError`` for a difference that is no rounding, for rows that do not stay
        apart, and for inputs of integers without samples."""
        count, worst = 0, 0.0
        for number, sizes in tried:
            self.progress(f"padding, {', '.join(f'{n} {size}' for n, size in sizes.items())}")
            rows = self.buckets.rows(number)
            self._check_rows(number, rows)
            own = self.program(sizes)
            samples = [self._sample(own) for _ in range(-(-PROBES // rows) * rows)]
            for first in range(0, len(samples), rows):
                taken = samples[first : first + rows]
                worst = max(worst, self._compared(number, sizes, own, taken))
            count += len(samples)
        return Checked(count, len({tuple(sizes.items()) for _, sizes in tried}), worst)

    def _check_rows(self, number: int, rows: int) -> None:
        inputs = self.buckets.inputs.items()
        names = [name for name, axes in inputs if BATCH in axes]
        if rows > 1 and not stay_apart(self.program(self.buckets.sizes[number]), names):
            raise CompileError(
                f"a batch of {rows} does not take each row by itself, as rows of buckets must be"
            )
        shared = [name for name, axes in inputs if BATCH not in axes]
        if rows > 1 and shared:
            raise CompileError(
                f"input {shared[0]!r} has no open first dimension: buckets of {rows} rows cannot "
                "tell whose it is"
            )

    def _compared(
        self, number: int, sizes: Sizes, own: Program, samples: list[dict[str, NDArray]]
    ) -> float:
        """The largest difference of samples that are the rows of a run from ``own`` of each."""
        joined = {name: np.concatenate([s[name] for s in samples]) for name in samples[0]}
        if len(samples) == 1:
            joined = samples[0]
        padded = real_outputs(
            self.program(self.buckets.sizes[number]), self.buckets.padded(joined, number)
        )
        worst = 0.0
        for row, sample in enumerate(samples):
            for name, wanted in real_outputs(own, sample).items():
                got = self.buckets.true_part(name, padded[name], sizes)
                if BATCH in self.buckets.outputs[name]:
                    got = got[row : row + 1]
                difference = relative_difference(got, wanted)
                if difference > (TOLERANCE if wanted.dtype.kind == "f" else 0.0):
                    raise CompileError(self._told(name, number, sizes, difference))
                worst = max(worst, difference)
        return worst

    def _told(self, name: str, number: int, sizes: Sizes, difference: float) -> str:
        of = ", ".join(f"{n} {size}" for n, size in sizes.items())
        into = ", ".join(f"{n} {size}" for n, size in self.buckets.sizes[number].items())
        pads = ", ".join(f"{n}={value:g}" for n, value in self.buckets.pads.items())
        return (
            f"output {name!r} of a sample ({of}) in a bucket ({into}) differs by {difference:.3g} "
            "of its largest magnitude from that of the sample alone"
            + (f": what is padded with {pads} has an effect" if pads else "")
            + ("" if self.samples else "; --calibrate shows how large inputs and what masks are")
        )

    def _sample(self, program: Program) -> dict[str, NDArray]:
        """Inputs of a program: those that are given, cut or repeated to its lengths, or random."""
        shapes = {name: program.shape(i) for name, i in program.inputs.items()}
        self.number += 1
        found = {}
        if self.samples:
            each = self.samples[int(self.rng.integers(len(self.samples)))]
            row = int(self.rng.integers(1 << 31))
            found = {n: _fitted(np.asarray(x), shapes[n], row) for n, x in each.items()}
            if self.number % 2:
                return of_program(program, found)
        scale = (OF_SAMPLES if self.samples else AS_THEY_ARE)[self.number // 2 % 4]
        for name, i in program.inputs.items():
            if not program.is_real(i) and not self.samples:
                raise CompileError(
                    f"input {name!r} is {program.tensors[i].dtype}, of which values are not known: "
                    "--calibrate gives samples to try padding with"
                )
            if program.is_real(i) and (not self.samples or name in self.tops):
                top = self.tops.get(name, 1.0)
                found[name] = scale * top * self.rng.normal(size=shapes[name])
        return of_program(program, found)


def relative_difference(got: NDArray, wanted: NDArray) -> float:
    """The largest, of the largest finite magnitude that is wanted; of integers as they are."""
    if got.shape != wanted.shape:
        return float("inf")
    most = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0) if wanted.dtype.kind == "f" else 1
    with np.errstate(invalid="ignore"):
        equal = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        off = np.where(equal, 0.0, np.abs(got.astype(np.float64) - wanted))
    off = np.where(np.isnan(off), np.inf, off)
    return float(off.max(initial=0.0) / (most or 1.0))


def spread(least: int, most: int) -> tuple[int, ...]:
    """Lengths from the least to the most, all or ``MOST_LENGTHS``: both ends with their
    neighbours, the middle with its own, and some at random."""
    every = range(least, most + 1)
    if len(every) <= MOST_LENGTHS:
        return tuple(every)
    middle = (least + most) // 2
    chosen = {least, least + 1, middle, middle + 1, most - 2, most - 1, most}
    others = np.random.default_rng(most).permutation([n for n in every if n not in chosen])
    return tuple(sorted({*chosen, *map(int, others[: MOST_LENGTHS - len(chosen)])}))


def real_outputs(program: Program, given: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Outputs in float64, and of integers; raises ``CompileError`` for inputs without any."""
    try:
        values, _ = real_values(program, of_program(program, given))
    except InputError as error:
        raise CompileError(f"padding cannot be tried: {error}") from None
    return {name: values[i] for name, i in program.outputs.items()}


def _fitted(values: NDArray, shape: tuple[int, ...], row: int) -> NDArray:
    """A row of an array, cut or repeated to a shape."""
    if values.ndim and shape[0] < len(values):
        start = row % (len(values) - shape[0] + 1)
        values = values[start : start + shape[0]]
    for axis, size in enumerate(shape):
        values = np.take(values, np.arange(size) % values.shape[axis], axis)
    return values
