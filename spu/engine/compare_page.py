"""A comparison as cells of a table, and as a page with plots, which needs no network."""

from collections.abc import Sequence
from html import escape

import numpy as np

from spu.engine.classes import Accuracy
from spu.engine.compare import Row

#: Columns of the table by reference.
HEADS = {
    "float": (
        "node",
        "operator",
        "SQNR, dB",
        "expected",
        "alone, dB",
        "max error",
        "saturated",
        "share",
        "cycles",
    ),
    "pal": ("node", "operator", "SQNR, dB", "max error", "saturated", "cycles", "differing"),
    "onnxruntime": ("node", "operator", "SQNR, dB", "max error"),
}
#: Of plots: pixels of a layer, of names, of bars, and what is left for numbers.
ROW, NAMES, BARS, NUMBERS = 22, 260, 460, 90
#: Signal to noise ratios from which on errors are of the rounding of float64, which has 2^-53.
ROUNDING_DB = 250
STYLE = """
body { font: 14px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #222 }
table { border-collapse: collapse }
th, td { padding: .15em .7em; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
svg text { font: 12px sans-serif; fill: #222 }
figure { margin: 1.5em 0; overflow-x: auto }
"""


def cells(row: Row, head: Sequence[str]) -> list[str]:
    """The text of a row under some of the columns; ``-`` for what is not known."""
    found = {
        "node": row.node,
        "operator": row.operator,
        "SQNR, dB": _decibels(row.sqnr_db),
        "expected": _decibels(row.expected_db),
        "alone, dB": _decibels(row.local_db),
        "max error": "-" if row.max_error is None else f"{row.max_error:.3g}",
        "saturated": _count(row.saturated),
        "share": "-" if row.share is None else f"{round(100 * row.share, 1) + 0.0:.1f} %",
        "cycles": _count(row.cycles),
        "differing": _count(row.differing),
    }
    return [found[name] for name in head]


def classes_text(classes: Accuracy, against: str) -> str:
    """Accuracies in a line."""
    of = "ONNX Runtime" if against == "onnxruntime" else "float"
    return (
        f"accuracy {classes.array:.4f}, of {of} {classes.reference:.4f}; "
        f"they agree on {classes.agreement:.4f}"
    )


def page(
    name: str, against: str, cycles: int, rows: Sequence[Row], classes: Accuracy | None
) -> str:
    """HTML with the table, and bars of signal to noise ratios and shares by layer."""
    head = HEADS[against]
    plots = [
        _plot("SQNR against the reference, dB", rows, [row.sqnr_db for row in rows], "#4878a8")
    ]
    if any(row.local_db is not None for row in rows):
        alone = [row.local_db for row in rows]
        plots.append(_plot("SQNR of the layer alone, dB", rows, alone, "#6a9a58"))
    if any(row.share is not None for row in rows):
        shares = [None if row.share is None else 100 * row.share for row in rows]
        title = "Share of the outputs' error that the layer causes, %"
        plots.append(_plot(title, rows, shares, "#b05848"))
    told = f"<p>{escape(classes_text(classes, against))}</p>" if classes else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{escape(name)}</title>'
        f"<style>{STYLE}</style>\n<h1>{escape(name)} against {escape(against)}</h1>"
        f"<p>{cycles} cycles.</p>{told}\n"
        + "\n".join(f"<figure>{plot}</figure>" for plot in plots)
        + f"\n<table>{_line('th', head)}"
        + "".join(_line("td", cells(row, head)) for row in rows)
        + "</table></html>\n"
    )


def _decibels(x: float | None) -> str:
    if x is None:
        return "-"
    return "exact" if x > ROUNDING_DB else f"{round(x, 1) + 0.0:.1f}"


def _count(x: int | None) -> str:
    return "-" if x is None else str(x)


def _line(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts) + "</tr>\n"


def _plot(title: str, rows: Sequence[Row], values: Sequence[float | None], colour: str) -> str:
    """Horizontal bars, a row each; none for what is not known, exact or below 0."""
    finite = [v for v in values if v is not None and np.isfinite(v) and v < ROUNDING_DB]
    most = max(finite, default=0.0) or 1.0
    parts = [f'<text x="0" y="14" font-weight="bold">{escape(title)}</text>']
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        y = ROW * (i + 1)
        short = row.node if len(row.node) <= 36 else f"...{row.node[-33:]}"
        text = _decibels(value)
        length = (
            BARS * max(value, 0.0) / most
            if value is not None and text != "exact" and np.isfinite(value)
            else 0.0
        )
        parts.append(
            f'<text x="{NAMES - 8}" y="{y + 15}" text-anchor="end">{escape(short)}'
            f"<title>{escape(row.node)}</title></text>"
            f'<rect x="{NAMES}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}" '
            f'fill="{colour}"/>'
            f'<text x="{NAMES + length + 6:.1f}" y="{y + 15}">{text}</text>'
        )
    width, height = NAMES + BARS + NUMBERS, ROW * (len(rows) + 1) + 6
    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
