"""``docs/units/``: a page a unit, from its docstring, its ports and its synthesised area.

Run ``python -m verif.unit_pages`` to synthesise and write them; a test compares the pages
with the code and the areas of ``docs/units/area.json``.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from amaranth.hdl import Shape
from amaranth.lib import data, wiring
from rich.progress import track

from pal_units.formats import DOT_PARAMS, FORMATS, PAL8T, PAL8U, PAL16, Format
from pal_units.rtl.accumulator import Accumulator16, Linear16
from pal_units.rtl.adder import Adder, FusedMultiplyAdd
from pal_units.rtl.adder16 import Adder16, FusedMultiplyAdd16
from pal_units.rtl.convert import FloatToPal, IntToPal, PalToFloat, PalToInt, Unblock
from pal_units.rtl.decoder import ElementDecoder
from pal_units.rtl.elementwise import (
    Comparator,
    Divider,
    Multiplier,
    ReciprocalSquareRoot,
    SquareRoot,
)
from pal_units.rtl.encoder import ElementEncoder, MagnitudeEncoder
from pal_units.rtl.log import AccumulatorEncoder, IntegerLog
from pal_units.rtl.matrix import DotMatrix, DotUnit
from pal_units.rtl.reblock import ReblockUnit
from pal_units.rtl.transcendental import Exponential, Logarithm
from pal_units.rtl.widen import Widener
from rtl.liberty import neutral
from rtl.synthesis import synthesise

FOLDER = Path(__file__).parents[1] / "docs" / "units"
AREAS = FOLDER / "area.json"
SMALL = tuple(f for f in FORMATS.values() if f.n <= 8)

Maker = Callable[[], wiring.Component]


@dataclass(frozen=True)
class UnitPage:
    """A unit with the configurations that its page gives areas of."""

    component: type[wiring.Component]
    configurations: dict[str, Maker]

    @property
    def path(self) -> Path:
        """File of the page."""
        return FOLDER / f"{self.component.__name__}.md"


def _each(component: Callable[[Format], wiring.Component], *formats: Format) -> dict[str, Maker]:
    return {f.name: partial(component, f) for f in formats}


UNITS = (
    UnitPage(ElementDecoder, _each(lambda f: ElementDecoder((f,), f.fraction_bits), *SMALL)),
    UnitPage(MagnitudeEncoder, _each(lambda f: MagnitudeEncoder(f, 10, 16), *SMALL)),
    UnitPage(ElementEncoder, _each(lambda f: ElementEncoder(f, 10, 17), *SMALL)),
    UnitPage(Multiplier, _each(Multiplier, *FORMATS.values())),
    UnitPage(Divider, _each(Divider, *FORMATS.values())),
    UnitPage(SquareRoot, _each(SquareRoot, *FORMATS.values())),
    UnitPage(ReciprocalSquareRoot, _each(ReciprocalSquareRoot, *FORMATS.values())),
    UnitPage(Comparator, _each(Comparator, *FORMATS.values())),
    UnitPage(Adder, _each(Adder, *SMALL)),
    UnitPage(Adder16, {PAL16.name: Adder16}),
    UnitPage(FusedMultiplyAdd, _each(FusedMultiplyAdd, *SMALL)),
    UnitPage(Linear16, {PAL16.name: Linear16}),
    UnitPage(Accumulator16, {"4 lanes": lambda: Accumulator16(4)}),
    UnitPage(FusedMultiplyAdd16, {PAL16.name: FusedMultiplyAdd16}),
    UnitPage(Exponential, _each(Exponential, *FORMATS.values())),
    UnitPage(Logarithm, _each(Logarithm, *FORMATS.values())),
    UnitPage(FloatToPal, {**_each(FloatToPal, *FORMATS.values()),
                          "PAL8T, bfloat16": lambda: FloatToPal(PAL8T, "bfloat16")}),
    UnitPage(PalToFloat, {**_each(PalToFloat, *SMALL),
                          "PAL8T, bfloat16": lambda: PalToFloat(PAL8T, "bfloat16")}),
    UnitPage(IntToPal, _each(IntToPal, *FORMATS.values())),
    UnitPage(PalToInt, _each(PalToInt, *SMALL)),
    UnitPage(Unblock, _each(Unblock, *SMALL)),
    UnitPage(ReblockUnit, {**_each(lambda f: ReblockUnit((f,), 4, 8), *SMALL),
                           "all of them": lambda: ReblockUnit(SMALL, 4, 8)}),
    UnitPage(Widener, {"all of 8, 6 and 4 bits": lambda: Widener(SMALL)}),
    UnitPage(IntegerLog, {"24 bits": lambda: IntegerLog(24), "32 bits": lambda: IntegerLog(32)}),
    UnitPage(AccumulatorEncoder, {
        "32-bit accumulator": lambda: AccumulatorEncoder(DOT_PARAMS["PAL8T"])}),
    UnitPage(DotUnit, _each(lambda f: DotUnit(f, DOT_PARAMS[f.name], 16), *SMALL)),
    UnitPage(DotMatrix, {"PAL8T and PAL8U, 8 lanes, 4 columns": lambda: DotMatrix(
        (PAL8T, PAL8U), DOT_PARAMS["PAL8T"], 8, 4)}),
)


def _shape(shape: object) -> str:
    if isinstance(shape, data.ArrayLayout):
        return f"{shape.length} x {_shape(shape.elem_shape)}"
    if isinstance(shape, data.StructLayout):
        return ", ".join(f"{name}: {_shape(field.shape)}" for name, field in shape)
    cast = Shape.cast(shape)
    return f"{'signed ' if cast.signed else ''}{cast.width}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _markdown(docstring: str) -> Iterator[str]:
    """Docstring sections as Markdown: headings, lists, examples and pictures fenced."""
    lines = inspect.cleandoc(docstring).splitlines()
    headings = {i for i in range(len(lines) - 1)
                if lines[i] and set(lines[i + 1]) == {"-"} and len(lines[i]) == len(lines[i + 1])}
    section, example = "", False
    for i, line in enumerate(lines):
        if i in headings:
            section = line
            yield f"## {line}\n"
        elif i - 1 in headings:
            continue
        elif section == "Example" and (line.startswith(">>>") or example):
            if not example:
                yield "```python"
            example = bool(line)
            yield line if example else "```\n"
        elif section in ("Parameters", "Members", "Raises") and line and not line.startswith(" "):
            yield f"* {line}"
        else:
            yield line.replace("::", ":") if line.endswith("::") else line
    if example:
        yield "```"


def page(unit: UnitPage, areas: dict[str, float]) -> str:
    """The page of a unit as Markdown."""
    makers = unit.configurations
    first = next(iter(makers.values()))()
    source = Path(inspect.getfile(unit.component)).relative_to(FOLDER.parents[1])
    ports = [[f"`{name}`", "in" if member.flow is wiring.In else "out", _shape(member.shape)]
             for name, member in first.signature.members.items()]
    rows = [[label, str(make().latency), f"{areas[label]:.0f}"] for label, make in makers.items()]
    parts = [
        f"# {unit.component.__name__}\n",
        f"`{source}`. Written by `make docs`; do not edit.\n",
        *_markdown(unit.component.__doc__ or ""),
        f"\n## Ports ({next(iter(makers))})\n",
        _table(["port", "direction", "bits"], ports),
        "## Area\n",
        "NAND2 equivalents of all logic, tables and flip-flops (`rtl/synthesis.py`; no process, no "
        "timing target), with the latency in cycles of that configuration.\n",
        _table(["configuration", "latency", "NAND2"], rows),
    ]
    return "\n".join(parts)


def index() -> str:
    """The list of pages."""
    rows = []
    for unit in UNITS:
        name = unit.component.__name__
        summary = inspect.cleandoc(unit.component.__doc__ or "").splitlines()[0]
        rows.append([f"[{name}]({name}.md)", summary])
    return "# Units\n\nWritten by `make docs`; do not edit.\n\n" + _table(["unit", "what"], rows)


def texts(areas: dict[str, dict[str, float]]) -> dict[Path, str]:
    """Every page by its file."""
    return {FOLDER / "README.md": index(),
            **{u.path: page(u, areas[u.component.__name__]) for u in UNITS}}


def area(make: Maker) -> float:
    """NAND2 equivalents of a configuration, by the first recipe."""
    return synthesise(make(), neutral(), recipes=1).gate_equivalents


def main() -> None:
    """Synthesise every configuration and write the pages."""
    tasks = [(u.component.__name__, label, make) for u in UNITS
             for label, make in u.configurations.items()]
    found = [(name, label, area(make))
             for name, label, make in track(tasks, description="synthesis")]
    areas = {name: {label: area for _, label, area in group}
             for name, group in groupby(found, key=lambda f: f[0])}
    FOLDER.mkdir(exist_ok=True)
    AREAS.write_text(json.dumps(areas, indent=1) + "\n")
    for path, text in texts(areas).items():
        path.write_text(text)


if __name__ == "__main__":
    main()
