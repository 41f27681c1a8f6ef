"""Docstrings as Markdown, for mkdocstrings."""

import inspect
import re
from typing import Any

import griffe

#: Sections whose lines are items.
_LISTS = ("Parameters", "Members", "Raises", "Returns", "Attributes")
_HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.M)


def markdown(docstring: str) -> str:
    """Sections as words in bold, their items as lists, examples between fences."""
    lines, section, example = [], "", False
    for line in _HEADING.sub("\0\\1", inspect.cleandoc(docstring)).splitlines():
        if line.startswith("\0"):
            section = line[1:]
            lines.append(f"**{section}**\n")
        elif line.startswith(">>>") or example:
            lines += ([] if example else ["```python"]) + [line or "```\n"]
            example = bool(line)
        elif section in _LISTS and line:
            lines.append(f"    {line}" if line.startswith(" ") else f"* {line}")
        else:
            lines.append(f"{line[:-1]}\n" if line.endswith("::") else line)
    return "\n".join([*lines, "```"] if example else lines)


class Docstrings(griffe.Extension):
    """Griffe's event for each object that it reads."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
