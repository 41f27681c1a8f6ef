"""Parts of the README that are written from results: between two comments that name them."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill as fill_text

README = Path(__file__).parents[2] / "README.md"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row has the headings.  A stroke in a cell is escaped."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [cells[0], ["---"] * len(rows[0]), *cells[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def wrapped(sentence: str, bullet: str = "") -> str:
    """A paragraph, or an item of a list, in lines of at most 100 characters."""
    return fill_text(
        sentence,
        100,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_on_hyphens=False,
        break_long_words=False,
    )


def listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join((", ".join(items[:-1]), items[-1])) if len(items) > 1 else "".join(items)


def _ends(name: str) -> tuple[str, str]:
    return f"<!-- {name}: written by make docs -->\n", f"\n<!-- end of {name} -->"


def part(name: str) -> str:
    """What the README says between the comments.  Raises ``ValueError`` if it has none."""
    text = README.read_text()
    start, end = _ends(name)
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"{README.name} must have one part {name!r}")
    return text.split(start)[1].split(end)[0]


def fill(name: str, text: str) -> None:
    """Write a part of the README."""
    start, end = _ends(name)
    README.write_text(
        README.read_text().replace(f"{start}{part(name)}{end}", f"{start}{text}{end}")
    )
