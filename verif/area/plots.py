"""Plots of the comparison: area by unit, and area against accuracy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from verif.area.bars import lean
from verif.area.shapes import DOT16, MATRIX16
from verif.pages.figures import Figures

#: Points of type.
_LABEL_SIZE = 8
#: Kinds of number formats: colour and marker of a point, words of the legend.
_KINDS = {
    "log": ("tab:red", "o", "PAL, logarithms"),
    "integer": ("black", "s", "integers"),
    "float": ("tab:blue", "^", "floating point"),
}
#: Where a label may stand, nearest first: points of type from its mark to the right and up, and the
#: shares of its width and height that lie to the left and below.
_PLACES = [
    (x * d, y * d, left, below)
    for d in (6, 12, 18, 26, 36)
    for x, y, left, below in (
        (1, 0, 0, 0.5),
        (-1, 0, 1, 0.5),
        (0, 1, 0.5, 0),
        (0, -1, 0.5, 1),
        (1, 1, 0, 0),
        (-1, 1, 1, 0),
        (1, -1, 0, 1),
        (-1, -1, 1, 1),
        (0, 1, 0.65, 0),
        (0, -1, 0.65, 1),
        (0, 1, 0.35, 0),
        (0, -1, 0.35, 1),
    )
]
#: Labels that are all farther from their point than this have a line to it.
_NEAR = 12
#: Boxes that stand for a line when labels are placed.
_PIECES = 100
#: Left, bottom, width and height in pixels.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A unit in a plot of area against accuracy; ``label`` may be empty."""

    area: float
    decibels: float
    kind: str
    block_scale: bool
    label: str


def kind(name: str) -> str:
    """Kind of the numbers that a unit of this name takes."""
    return "log" if name.startswith("PAL") else "integer" if "INT" in name else "float"


def draw(results: dict, folder: Path, kinds: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write each plot of each kind of file into ``folder``; returns the files.

    Raises ``MissingPackage``.
    """
    figures = Figures(folder, f"{results['command']}, {results['library']}", kinds)
    _bars(figures, lean(results))
    for shape in (DOT16.name, MATRIX16.name):
        families = marks(results, shape)
        _against_accuracy(
            figures,
            f"area_{shape}",
            f"{shape}, all cut by one search",
            [mark for found in families.values() for mark in found],
            [[(m.area, m.decibels) for m in found] for found in families.values()],
            "one format, cut more or less",
        )
    return figures.written


def marks(results: dict, shape: str) -> dict[str, list[Mark]]:
    """Units of each family by area; the lean one, or else the largest, has the label."""
    found: dict[str, list[Mark]] = {}
    for row in sorted(results["rows"], key=lambda r: r["ge_per_mac"]):
        if row["shape"] == shape:
            name = row["format"]
            found.setdefault(name, []).append(
                Mark(
                    row["ge_per_mac"],
                    row["dot_sqnr_db"],
                    kind(name),
                    row["block"] > 0,
                    name if row["cut"] == "lean" else "",
                )
            )
    return found


def _bars(figures: Figures, units: dict[str, dict]) -> None:
    """Areas of lean matrices, the most accurate on top."""
    names = sorted(units, key=lambda n: -units[n]["dot_sqnr_db"])
    figure, panel = figures.pyplot.subplots(figsize=(9, 8))
    panel.barh(
        names, [units[n]["ge_per_mac"] for n in names], color=[_KINDS[kind(n)][0] for n in names]
    )
    for at, name in enumerate(names):
        panel.annotate(
            f"{units[name]['dot_sqnr_db']:.1f} dB",
            (units[name]["ge_per_mac"], at),
            textcoords="offset points",
            xytext=(3, 0),
            va="center",
            fontsize=_LABEL_SIZE,
        )
    panel.invert_yaxis()
    panel.margins(0.1, 0.01)
    panel.set(
        xlabel="NAND2 equivalents a multiply-accumulate, smallest area; dot SQNR beside",
        title=f"lean units, {MATRIX16.name}",
    )
    panel.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=len(_KINDS),
        handles=[
            figures.pyplot.Rectangle((0, 0), 1, 1, color=colour, label=words)
            for colour, _, words in _KINDS.values()
        ],
    )
    panel.grid(alpha=0.3, axis="x")
    figures.save(figure, "area")


def _against_accuracy(
    figures: Figures,
    name: str,
    title: str,
    marks: Sequence[Mark],
    lines: Sequence[Sequence[tuple[float, float]]],
    line: str,
) -> None:
    """A plot with a legend, of which ``line`` says what its lines join."""
    figure, panel = figures.pyplot.subplots(figsize=(10, 6.5))
    for points in lines:
        panel.plot(*zip(*points, strict=True), color="gray", linewidth=1, zorder=1)
    for mark in marks:
        colour, shape, _ = _KINDS[mark.kind]
        panel.plot(
            mark.area,
            mark.decibels,
            shape,
            color=colour,
            zorder=2,
            markerfacecolor=colour if mark.block_scale else "white",
        )
    panel.set(
        xlabel="area: NAND2 equivalents a multiply-accumulate (less is better)",
        ylabel="accuracy: SQNR of dot products, dB, Gaussian data (more is better)",
        title=title,
    )
    panel.margins(0.13, 0.08)
    panel.grid(alpha=0.3)
    line2d = figures.pyplot.Line2D
    legend = panel.legend(
        loc="lower right",
        fontsize=9,
        handles=[
            *(
                line2d([], [], color=colour, marker=shape, linestyle="", label=words)
                for colour, shape, words in _KINDS.values()
            ),
            line2d(
                [], [], color="gray", marker="D", linestyle="", label="filled: a scale for a block"
            ),
            line2d(
                [],
                [],
                color="gray",
                marker="D",
                linestyle="",
                markerfacecolor="white",
                label="hollow: one scale for a tensor",
            ),
            line2d([], [], color="gray", linewidth=1, label=line),
        ],
    )
    figure.canvas.draw()
    _label(panel, marks, lines, legend.get_window_extent().bounds)
    figures.save(figure, name)


def _label(
    panel: Any, marks: Sequence[Mark], lines: Sequence[Sequence[tuple[float, float]]], legend: Box
) -> None:
    """Write the labels where they overlap least, the leftmost points first."""
    pixel = panel.figure.dpi / 72
    at = {mark: panel.transData.transform((mark.area, mark.decibels)) for mark in marks}
    inside = panel.get_window_extent().bounds
    taken = [legend, *(_around(x, y, 4 * pixel) for x, y in at.values())]
    for line in lines:
        ends = panel.transData.transform(line)
        for (x, y), (to_x, to_y) in pairwise(ends):
            taken += [
                _around(x + (to_x - x) * k / _PIECES, y + (to_y - y) * k / _PIECES, pixel)
                for k in range(_PIECES)
            ]
    for mark in sorted((m for m in marks if m.label), key=lambda m: (m.area, m.decibels)):
        x, y = at[mark]
        text = panel.annotate(
            mark.label,
            (mark.area, mark.decibels),
            textcoords="offset points",
            xytext=(0, 0),
            fontsize=_LABEL_SIZE,
            color=_KINDS[mark.kind][0],
        )
        size = text.get_window_extent()
        text.remove()
        box = min(
            _places(x, y, size.width, size.height, pixel), key=lambda box: _cost(box, taken, inside)
        )
        near = _common(box, _around(x, y, _NEAR * pixel)) > 0
        panel.annotate(
            mark.label,
            (mark.area, mark.decibels),
            textcoords="offset points",
            xytext=((box[0] - x) / pixel, (box[1] - y) / pixel),
            va="bottom",
            fontsize=_LABEL_SIZE,
            color=_KINDS[mark.kind][0],
            arrowprops=None if near else {"arrowstyle": "-", "color": "gray", "linewidth": 0.5},
        )
        taken.append(box)


def _around(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, 2 * radius, 2 * radius


def _places(x: float, y: float, width: float, height: float, pixel: float) -> Iterator[Box]:
    """Boxes that a label of this size can take beside its mark."""
    for right, up, left, below in _PLACES:
        yield x + right * pixel - left * width, y + up * pixel - below * height, width, height


def _cost(box: Box, taken: Sequence[Box], inside: Box) -> int:
    """Whole pixels of a box that others take or that lie outside the axes."""
    return round(
        sum(_common(box, other) for other in taken) + box[2] * box[3] - _common(box, inside)
    )


def _common(a: Box, b: Box) -> float:
    """Pixels that two boxes share."""
    width, height = (min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    return width * height if width > 0 < height else 0.0
