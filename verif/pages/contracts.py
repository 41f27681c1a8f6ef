"""Contracts of components as Markdown: docstrings, ports, bundles."""

import inspect
from collections.abc import Iterator
from pathlib import Path

from amaranth.hdl import Shape
from amaranth.lib import data, wiring

ROOT = Path(__file__).parents[2]
#: Sections of a docstring whose lines are items.
_LISTS = ("Parameters", "Members", "Raises", "Contract")


def bits(shape: object) -> str:
    """A port's shape in words."""
    if isinstance(shape, data.ArrayLayout):
        return f"{shape.length} x {bits(shape.elem_shape)}"
    if isinstance(shape, data.StructLayout):
        return ", ".join(f"{name}: {bits(field.shape)}" for name, field in shape)
    cast = Shape.cast(shape)
    return f"{'signed ' if cast.signed else ''}{cast.width}"


def ports(signature: wiring.Signature) -> list[list[str]]:
    """Name, direction and bits of every port; those of a bundle behind its name and a dot."""
    return [
        [
            f"`{'.'.join(map(str, path))}`",
            "in" if member.flow is wiring.In else "out",
            bits(member.shape),
        ]
        for path, member in signature.members.flatten()
        if member.is_port
    ]


def summary(documented: type) -> str:
    """First line of a docstring."""
    return inspect.cleandoc(documented.__doc__ or "").splitlines()[0]


def source(documented: type) -> str:
    """Its file, relative to the checkout."""
    return str(Path(inspect.getfile(documented)).relative_to(ROOT))


def sections(docstring: str) -> dict[str, list[str]]:
    """Lines of a docstring by section; those above the first section under an empty name."""
    lines = inspect.cleandoc(docstring).splitlines()
    found: dict[str, list[str]] = {"": []}
    name = ""
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else ""
        if line and set(following) == {"-"} and len(line) == len(following):
            name = line
            found[name] = []
        elif not (i and set(line) == {"-"} and len(line) == len(lines[i - 1])):
            found[name].append(line)
    return found


def markdown(component: type) -> Iterator[str]:
    """Docstring sections as Markdown: headings, lists, examples and pictures fenced.

    The first example begins with the import of the component.
    """
    imported = f"\n>>> from {component.__module__} import {component.__name__}"
    for section, lines in sections(component.__doc__ or "").items():
        if section:
            yield f"## {section}\n"
        example = False
        for line in lines:
            if section == "Example" and (line.startswith(">>>") or example):
                if not example:
                    yield "```python" + imported
                    imported = ""
                example = bool(line)
                yield line if example else "```\n"
            elif section in _LISTS and line and not line.startswith(" "):
                yield f"* {line}"
            else:
                yield line.replace("::", ":") if line.endswith("::") else line
        if example:
            yield "```"
