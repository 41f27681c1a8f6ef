"""Plots of the comparison: area by unit, and area against accuracy."""

from pathlib import Path

from verif.figures import Figures

#: Points of type.
_LABEL_SIZE = 7


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats: less area (first) and more decibels (second)."""
    best: list[tuple[float, float]] = []
    for area, decibels in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or decibels > best[-1][1]:
            best.append((area, decibels))
    return best


def draw(results: dict, folder: Path) -> list[Path]:
    """Write each plot as PNG and SVG into ``folder``; returns the files.

    Raises ``MissingPackage``.
    """
    figures = Figures(folder, f"{results['command']}, {results['library']}")
    pyplot, save = figures.pyplot, figures.save

    rows = [row for row in results["rows"] if not row["variant"] and row["lanes"] > 1]
    figure, panel = pyplot.subplots(figsize=(9, 8))
    names = [row["unit"] for row in rows]
    panel.barh(names, [row["ge_per_lane"] for row in rows],
               color=["tab:red" if n.startswith("PAL") else "tab:blue" for n in names])
    panel.invert_yaxis()
    panel.set(xlabel="NAND2 equivalents a lane, gates, smallest area", title="16-lane dot units")
    panel.grid(alpha=0.3, axis="x")
    save(figure, "area")

    rated = [row for row in rows if row["dot_sqnr_db"] is not None]
    figure, panel = pyplot.subplots(figsize=(9, 6))
    for i, row in enumerate(sorted(rated, key=lambda r: r["ge_per_lane"])):
        point = row["ge_per_lane"], row["dot_sqnr_db"]
        panel.plot(*point, "o", color="tab:red" if row["unit"].startswith("PAL") else "tab:blue",
                   fillstyle="full" if row["scale"].startswith("block") else "none")
        panel.annotate(row["unit"], point, fontsize=_LABEL_SIZE, xytext=(4, (3, -9)[i % 2]),
                       textcoords="offset points")
    panel.plot(*zip(*front([(r["ge_per_lane"], r["dot_sqnr_db"]) for r in rated]), strict=True),
               color="gray", linewidth=1, zorder=0)
    panel.set(xlabel="NAND2 equivalents a lane", ylabel="SQNR of dot products, dB, Gaussian data",
              title="filled: block scale, hollow: one scale a tensor; line: Pareto front")
    panel.grid(alpha=0.3)
    save(figure, "area_accuracy")
    return figures.written
