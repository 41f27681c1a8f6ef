"""Plots of the study; each carries the command that made it."""

from pathlib import Path

from verif.numerics import claims
from verif.numerics.distributions import DISTRIBUTIONS
from verif.pages.figures import Figures


def _colour(name: str, results: dict) -> str:
    if name in claims.added(results):
        return "tab:green"
    return "tab:red" if name.startswith("PAL") else "tab:blue"


def _bits(results: dict, highest: float) -> tuple[float, float]:
    """Where an axis of bits begins and ends: that of the study, or further."""
    found = claims.bits(results).values()
    return min(3.8, min(found) - 0.2), max(highest, max(found) + 0.2)


def draw(results: dict, folder: Path) -> list[Path]:
    """Write each plot as PNG and SVG into ``folder``; returns the files.

    Raises ``MissingPackage``.
    """
    figures = Figures(folder, results["command"])
    pyplot, save = figures.pyplot, figures.save

    figure, grid = pyplot.subplots(2, len(DISTRIBUTIONS) // 2, figsize=(21, 11), sharey=True)
    for panel, distribution in zip(grid.flat, DISTRIBUTIONS, strict=True):
        for row in results["rows"]:
            if row["distribution"] == distribution and not row["rotated"] and row["sqnr_db"]:
                panel.plot(
                    row["bits_per_element"],
                    row["sqnr_db"],
                    "o",
                    color=_colour(row["format"], results),
                )
                panel.annotate(
                    row["format"],
                    (row["bits_per_element"], row["sqnr_db"]),
                    fontsize=6,
                    xytext=(3, 2),
                    textcoords="offset points",
                )
        panel.set(title=distribution, xlabel="bits per element", xlim=_bits(results, 9.6))
        panel.grid(alpha=0.3)
    for panels in grid:
        panels[0].set_ylabel("SQNR of values, dB")
    save(figure, "sqnr")

    figure, panel = pyplot.subplots(figsize=(8, 5))
    for name in dict.fromkeys(row["format"] for row in results["length_rows"]):
        rows = [r for r in results["length_rows"] if r["format"] == name and r["dot_sqnr_db"]]
        if not rows:  # nothing is lost
            continue
        panel.semilogx(
            [r["length"] for r in rows],
            [r["dot_sqnr_db"] for r in rows],
            ".-",
            base=2,
            color=_colour(name, results),
            alpha=0.8,
        )
        panel.annotate(
            name,
            (rows[-1]["length"], rows[-1]["dot_sqnr_db"]),
            fontsize=6,
            xytext=(4, -2),
            textcoords="offset points",
        )
    panel.set(
        xlabel="length of the dot product", ylabel="SQNR of dot products, dB", title="Gaussian data"
    )
    panel.grid(alpha=0.3)
    save(figure, "dot_length")

    if results["network_rows"]:
        figure, panel = pyplot.subplots(figsize=(8, 5))
        for row in results["network_rows"]:
            if row["embedding_sqnr_db"] is None:
                continue
            panel.plot(
                row["bits_per_element"],
                row["embedding_sqnr_db"],
                "o",
                color=_colour(row["format"], results),
            )
            panel.annotate(
                row["format"],
                (row["bits_per_element"], row["embedding_sqnr_db"]),
                fontsize=7,
                xytext=(4, 2),
                textcoords="offset points",
            )
        panel.set(
            xlabel="bits per element",
            ylabel="SQNR of sentence embeddings, dB",
            title=f"{results['network_rows'][0]['model']}, 36 linear layers",
            xlim=_bits(results, 9.4),
        )
        panel.grid(alpha=0.3)
        save(figure, "minilm")
    return figures.written
