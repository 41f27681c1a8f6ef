"""Plots in files: each carries the command that made it, and is the same bits every time."""

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from spu.arch.files import replace_file
from verif.numerics import MissingPackage


class Figures:
    """Writes figures into a folder, as PNG and SVG or of the given kinds.

    Raises ``MissingPackage``.

    ``pyplot`` is matplotlib's; ``written`` the files so far.
    """

    def __init__(self, folder: Path, caption: str, kinds: Sequence[str] = ("png", "svg")) -> None:
        try:
            import matplotlib
        except ImportError as error:
            raise MissingPackage(error.name) from None
        matplotlib.use("Agg")
        matplotlib.rcParams["svg.hashsalt"] = "pal-spu"
        from matplotlib import pyplot

        self.folder, self.caption, self.pyplot = folder, caption, pyplot
        self.kinds = kinds
        self.written: list[Path] = []

    def save(self, figure: Any, name: str) -> None:
        """Write a figure and forget it."""
        figure.text(0.99, 0.01, self.caption, ha="right", fontsize=7, color="gray")
        for kind in self.kinds:
            path = self.folder / f"{name}.{kind}"
            drawn = BytesIO()  # matplotlib wants to seek
            figure.savefig(
                drawn,
                format=kind,
                dpi=120,
                bbox_inches="tight",
                metadata={"Date": None} if kind == "svg" else None,
            )
            replace_file(path, partial(_put, drawn.getvalue()))
            self.written.append(path)
        self.pyplot.close(figure)


def _put(content: bytes, sink: BinaryIO) -> None:
    sink.write(content)
