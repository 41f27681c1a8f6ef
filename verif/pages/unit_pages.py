"""``docs/units/``: a page a unit, from its docstring, its ports and its synthesised area.

Run ``python -m verif.pages.unit_pages`` to write them.  ``docs/units/area.json`` has the
areas, each with a digest of the hardware that it is the area of: only what changed is synthesised.
Tests compare the pages with the code, and the digests with its hardware.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from amaranth.back import rtlil
from amaranth.hdl import UnusedElaboratable
from rich.console import Console
from rich.progress import track

from rtl.liberty import neutral
from rtl.synthesis import synthesise
from spu.arch.files import replace_files
from spu.command.tables import markdown
from verif.pages.contracts import markdown as contract
from verif.pages.contracts import ports, source, summary
from verif.pages.stamps import FLOW
from verif.units.catalogue import UNITS, Maker, Unit

FOLDER = Path(__file__).parents[2] / "docs" / "units"
AREAS = FOLDER / "area.json"

#: NAND2 equivalents and digest of the hardware by unit and configuration, and the flow's digest.
Areas = dict[str, dict[str, tuple[float, str]]]


def page(unit: Unit, areas: dict[str, tuple[float, str]]) -> str:
    """The page of a unit as Markdown."""
    makers = unit.configurations
    first = next(iter(makers.values()))()
    rows = [
        [label, str(make().latency), f"{areas[label][0]:.0f}"] for label, make in makers.items()
    ]
    parts = [
        f"# {unit.name}\n",
        f"`{source(unit.component)}`. Written by `make docs`; do not edit.\n",
        *contract(unit.component),
        f"\n## Ports ({next(iter(makers))})\n",
        markdown(["port", "direction", "bits"], ports(first.signature)),
        "## Area\n",
        "NAND2 equivalents of all logic, tables and flip-flops (`rtl/synthesis.py`; no process, no "
        "timing target), with the latency in cycles of that configuration.\n",
        markdown(["configuration", "latency", "NAND2"], rows),
    ]
    return "\n".join(parts)


def index() -> str:
    """The list of pages."""
    rows = []
    for unit in UNITS:
        rows.append([f"[{unit.name}]({unit.name}.md)", summary(unit.component)])
    return "# Units\n\nWritten by `make docs`; do not edit.\n\n" + markdown(["unit", "what"], rows)


def texts(areas: Areas) -> dict[Path, str]:
    """Every page by its file."""
    return {
        FOLDER / "README.md": index(),
        **{FOLDER / f"{u.name}.md": page(u, areas[u.name]) for u in UNITS},
    }


def area(make: Maker) -> float:
    """NAND2 equivalents of a configuration, by the first recipe."""
    return synthesise(make(), neutral(), recipes=1).gate_equivalents


def hardware(make: Maker) -> str:
    """Digest of what is synthesised."""
    text = rtlil.convert(make(), name="unit", emit_src=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load() -> tuple[str, Areas]:
    """The flow's digest and the areas as they are kept."""
    kept = json.loads(AREAS.read_text())
    return kept.pop("flow"), kept


def stale(flow: str, kept: Areas) -> Iterator[tuple[str, str, Maker, str]]:
    """Unit, configuration, maker and digest of those whose area is not that of the code."""
    same_flow = flow == FLOW.sources()
    for unit in UNITS:
        for label, make in unit.configurations.items():
            digest = hardware(make)
            if not same_flow or kept.get(unit.name, {}).get(label, (0, ""))[1] != digest:
                yield unit.name, label, make, digest


def main() -> None:
    """Synthesise what changed and write the pages."""
    warnings.simplefilter("ignore", UnusedElaboratable)  # ports alone are wanted of many
    flow, kept = load()
    sources = FLOW.sources()
    for name, label, make, digest in track(
        list(stale(flow, kept)), "synthesis", console=Console(stderr=True)
    ):
        kept.setdefault(name, {})[label] = (area(make), digest)
    areas = {u.name: {label: kept[u.name][label] for label in u.configurations} for u in UNITS}
    lines = [
        f"{json.dumps(name)}: {json.dumps(value)}"
        for name, value in [("flow", sources), *areas.items()]
    ]
    files = {AREAS: "{\n" + ",\n".join(lines) + "\n}\n", **texts(areas)}
    replace_files({path: partial(_write, text) for path, text in files.items()})


def _write(text: str, sink: BinaryIO) -> None:
    sink.write(text.encode())


if __name__ == "__main__":
    main()
