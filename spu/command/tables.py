"""Tables as a person reads them: on the screen, in files and pipes, and on pages."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table

#: Columns of an output that is no terminal: nothing is cut there.
_WIDE = 10_000


def output() -> Console:
    """The standard output: as wide as the terminal, and unlimited in a file or a pipe."""
    return Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=_WIDE)


def table(title: str, head: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """A table for a console."""
    made = Table(*head, title=title)
    for row in rows:
        made.add_row(*map(str, row))
    return made


def show(*things: RenderableType) -> None:
    """Print tables and lines on the standard output, each in full."""
    console = output()
    for thing in things:
        console.print(thing, markup=False, highlight=False)


def markdown(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table for a page; ends with a new line."""
    lines = [list(head), ["---"] * len(head), *(list(map(str, row)) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
