"""What was tried for profile A: ``python -m verif.studies.codebooks``, some minutes.

Writes the tables of ``docs/decisions/adaptive.md``.  Every row is a shape that is fitted by
alternation alone, as ``verif.numerics.fit`` begins, to ``VALUES`` numbers of each distribution and
from two beginnings, so that formats, which are fitted longer, end a little above their rows.  It
is measured on the values of the accuracy study.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from pal_units.formats import BIAS_PER_OCTAVE
from verif.numerics import MissingPackage, fit, minilm
from verif.numerics.distributions import data
from verif.numerics.fit import Shape
from verif.numerics.fitting import Levels, Sample
from verif.numerics.tensors import cut
from verif.pages.readme import markdown_table
from verif.pages.stamps import TRIED

#: Numbers of each distribution that rows are fitted to.
VALUES = 1 << 14
#: Numbers that they are measured on: as many as the accuracy study has.
MEASURED = (128, 1024)
#: Window of biases where blocks below one bias choose apart: that of LO-BCQ's peer.
WIDE = (-8, 6)
#: Headings of distributions.
SHORT = {"student-t3": "t3"}

Zones = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Row:
    """A row of a table: what it is called, its shape, and whether a format is made of it."""

    cells: tuple[str, ...]
    shape: Shape
    chosen: bool = False


def four(
    books: int,
    bits: int = 3,
    step: int = 1,
    extra: bool = True,
    mirrored: bool = False,
    block: int = 16,
    chosen: int = 0,
) -> Shape:
    """A shape of 4 bits; ``bits``: of the grid."""
    window = WIDE if chosen else fit.BIAS_WINDOW
    return Shape(4, bits, block, books, extra, mirrored, (), VALUES, False, chosen, step, window)


def wide(n: int, books: int, bits: int) -> Shape:
    """A symmetric shape of 6 or 8 bits."""
    return Shape(n, bits, 32, books, False, False, (), VALUES, False)


def _row4(label: str, grid: int, step: str, shape: Shape, chosen: bool = False) -> Row:
    return Row((label, f"1/{grid} octave", step), shape, chosen)


FOUR = (
    _row4("2, symmetric", 4, "1/8", four(2, 2, extra=False)),
    _row4("4, symmetric", 4, "1/8", four(4, 2, extra=False)),
    _row4("4, symmetric", 8, "1/8", four(4, extra=False)),
    _row4("8, symmetric", 8, "1/4", four(8, step=2, extra=False)),
    _row4("16, symmetric", 8, "1/2", four(16, step=4, extra=False)),
    _row4("2 and mirrors, 16 levels", 8, "1/8", four(2, mirrored=True)),
    _row4("4 and mirrors, 16 levels", 8, "1/8", four(4, mirrored=True), True),
    _row4("the same", 16, "1/8", four(4, 4, mirrored=True)),
    _row4("8 without mirrors, 16 levels", 8, "1/8", four(8)),
    _row4("8 and mirrors, 16 levels", 8, "1/4", four(8, step=2, mirrored=True)),
    _row4("32 and mirrors, 16 levels", 8, "1", four(32, step=8, mirrored=True)),
    _row4("8 a sub-block of 8, bias for 64", 8, "1/8", four(8, block=64, chosen=8)),
    _row4("4 a sub-block of 8, bias for 32", 8, "1/8", four(4, block=32, chosen=8)),
)
#: Bias codes of two shapes of the first table.
ZONES: tuple[tuple[str, Zones, Shape], ...] = (
    ("32 of 1/8", ((32, 1),), FOUR[6].shape),
    ("32 of 1/4", ((32, 2),), FOUR[6].shape),
    ("16 of 1/8, 16 of 1/4", ((16, 1), (16, 2)), FOUR[6].shape),
    ("16 of 1/8, 8 of 1/4, 8 of 1/2", ((16, 1), (8, 2), (8, 4)), FOUR[6].shape),
    ("16 of 1/8, 8 of 1/4, 8 of 1", ((16, 1), (8, 2), (8, 8)), FOUR[6].shape),
    ("64 of 1/8 (a bit more)", ((64, 1),), FOUR[6].shape),
    ("64 of 1/8, 2 and mirrors", ((64, 1),), FOUR[5].shape),
)
WIDER = tuple(
    Row((f"{n}, {books}", f"1/{1 << bits} octave"), wide(n, books, bits), chosen)
    for n, books, bits, chosen in (
        (6, 1, 4, False),
        (6, 2, 4, False),
        (6, 4, 3, False),
        (6, 4, 4, True),
        (6, 4, 5, False),
        (8, 1, 6, False),
        (8, 4, 5, False),
        (8, 4, 6, True),
        (8, 4, 7, False),
    )
)
#: Codes an octave of a codebook of 8 bits that is not fitted.
TAPERED = (64, 32, 16, 8, 4, 2, 1)
TAPERED_SHAPE = wide(8, 1, 6)


@cache
def levels(shape: Shape) -> Levels:
    """Levels of all selectors of a shape, fitted."""
    values = fit.sample(shape)
    return fit.off_grid(fit.alternated(values, shape, fit.BEGINNINGS[:2])[1], shape)


def tapered() -> Levels:
    """Levels of ``TAPERED``, of both signs, zero among them."""
    steps = [64 // count for count in TAPERED for _ in range(count)]
    distance = np.cumsum([0, *steps[:-1]])
    side = np.exp2(-distance / 64)
    return np.array([[*-side, 0.0, *side[::-1]]])


def decibels(x: Levels, shape: Shape, books: Levels, zones: Zones = ()) -> float:
    """SQNR of a tensor ``(..., K)``, its biases those of ``zones`` below the highest or all."""
    blocks = x.reshape(-1, shape.block)
    values = fit.sample(shape, [blocks])
    if zones:
        wanted = np.rint(BIAS_PER_OCTAVE * np.log2(values.assign(books).scale))
        used = np.abs(blocks).max(axis=1) > 0
        top = wanted[used].max()
        steps = np.cumsum([0, *(step for count, step in zones for _ in range(count))][:-1])
        values = Sample([blocks], within(fit.biases(shape, blocks), top, steps), values.chosen)
    return float(10 * np.log10((x**2).sum() / values.assign(books).noise[0]))


def within(biases: Levels, top: float, steps: Levels) -> Levels:
    """Scales of the nearest biases at or below each that codes name, ``steps`` below the top.

    What that takes out of the window is tried only if nothing is left in it.
    """
    code = np.searchsorted(steps, top - biases).clip(0, len(steps) - 1)
    named = top - steps[code]
    named = np.where(named < biases[:, -1:], named[:, :1], named)
    return np.exp2(named / BIAS_PER_OCTAVE)


def measured(shape: Shape, books: Levels, names: Sequence[str], zones: Zones = ()) -> list[str]:
    """SQNR on distributions, as tables have it."""
    return [f"{decibels(data(d, MEASURED, 1), shape, books, zones):.1f}" for d in names]


def networks() -> dict[str, list[Levels]]:
    """Weights of the sentence encoder's layers and what comes into them, cut."""
    found: dict[str, list[Levels]] = {"weights": [], "inputs": []}
    for layer, (inputs, weights) in minilm.layers().items():
        found["weights"].append(cut(weights, f"{layer}.weight"))
        if not layer.endswith((".key", ".value")):  # those of the query
            found["inputs"].append(cut(inputs, f"{layer}.input"))
    return found


def first() -> Iterator[list[str]]:
    """What was tried at 4 bits, the headings first."""
    names = ["gaussian", "laplace", "student-t3", "lognormal", "outliers", "uniform"]
    yield ["codebooks", "grid", "bias steps", *map(_short, names)]
    for row in FOUR:
        yield [*_bold(row), *measured(row.shape, levels(row.shape), names)]


def second() -> Iterator[list[str]]:
    """Bias codes of the byte of a block."""
    names = ["gaussian", "laplace", "student-t3", "lognormal", "outliers"]
    tensors = networks()
    yield ["bias codes", "reach", *map(_short, names), *tensors]
    committed = fit.SHAPES["PAL4A"].zones
    for label, zones, shape in ZONES:
        books = levels(shape)
        reach = (sum(n * step for n, step in zones) - zones[-1][1]) / BIAS_PER_OCTAVE
        means = [
            np.mean([decibels(x, shape, books, zones) for x in group]) for group in tensors.values()
        ]
        yield [
            f"**{label}**" if zones == committed else label,
            f"{reach:.1f}",
            *measured(shape, books, names, zones),
            *(f"{mean:.1f}" for mean in means),
        ]


def third() -> Iterator[list[str]]:
    """What was tried at 6 and 8 bits."""
    names = ["gaussian", "laplace", "student-t3", "lognormal", "outliers", "uniform", "integers"]
    yield ["bits, codebooks", "grid", *map(_short, names)]
    for row in WIDER:
        yield [*_bold(row), *measured(row.shape, levels(row.shape), names)]
    label = f"8, codes an octave {', '.join(map(str, TAPERED))}"
    yield [label, "1/64 octave", *measured(TAPERED_SHAPE, tapered(), names)]


def _short(name: str) -> str:
    return SHORT.get(name, name)


def _bold(row: Row) -> list[str]:
    return [f"**{row.cells[0]}**" if row.chosen else row.cells[0], *row.cells[1:]]


def text() -> str:
    """The tables, and what they are."""
    return f"""4 bits in blocks of 16, at 4.5 bits, biases unlimited:

{markdown_table(list(first()))}

The bias of "4 and mirrors" has 5 bits. Reach in octaves, the same data, and the mean over weights
and inputs of the sentence encoder's layers, for which nothing was fitted:

{markdown_table(list(second()))}

6 and 8 bits in blocks of 32, symmetric, biases unlimited:

{markdown_table(list(third()))}
"""


def main() -> int:
    """Fit, measure and write the tables."""
    argparse.ArgumentParser(
        description=f"Write the tables of {TRIED.label}, some minutes."
    ).parse_args()
    sources = TRIED.sources()
    try:
        minilm.require()
    except MissingPackage as error:
        print(error, file=sys.stderr)
        return 2
    TRIED.write(text(), sources)
    print(f"wrote {TRIED.label}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
