"""``docs/units/``: a page a unit, from its docstring, its ports and its synthesised area.

Run ``python -m verif.pages.unit_pages`` to write them.  ``docs/units/area.json`` has the
areas, each with a digest of the hardware that it is the area of: only what changed is synthesised.
Tests compare the pages with the code, and the digests with its hardware.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from amaranth.back import rtlil
from amaranth.hdl import UnusedElaboratable
from amaranth.lib import wiring
from rich.console import Console
from rich.progress import track

from pal_units.dot_params import DOT_PARAMS
from pal_units.formats import ADAPTIVE, FORMATS, PAL8T, PAL8U, PAL16, Format
from pal_units.rtl.accumulator import Accumulator16, Linear16
from pal_units.rtl.adder import Adder, FusedMultiplyAdd
from pal_units.rtl.adder16 import Adder16, FusedMultiplyAdd16
from pal_units.rtl.block_encoder import BlockEncoder, CodebookEncoder
from pal_units.rtl.codebook import ByteDecoder, CodebookDecoder, OperandDecoder
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
from spu.arch.files import replace_files
from spu.command.tables import markdown
from verif.pages.contracts import markdown as contract
from verif.pages.contracts import ports, source, summary
from verif.pages.stamps import FLOW

FOLDER = Path(__file__).parents[2] / "docs" / "units"
AREAS = FOLDER / "area.json"
SMALL = tuple(f for f in FORMATS.values() if f.n <= 8)

Maker = Callable[[], wiring.Component]
#: NAND2 equivalents and digest of the hardware by unit and configuration, and the flow's digest.
Areas = dict[str, dict[str, tuple[float, str]]]


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
    UnitPage(
        FloatToPal,
        {
            **_each(FloatToPal, *FORMATS.values()),
            "PAL8T, bfloat16": lambda: FloatToPal(PAL8T, "bfloat16"),
        },
    ),
    UnitPage(
        PalToFloat,
        {**_each(PalToFloat, *SMALL), "PAL8T, bfloat16": lambda: PalToFloat(PAL8T, "bfloat16")},
    ),
    UnitPage(IntToPal, _each(IntToPal, *FORMATS.values())),
    UnitPage(PalToInt, _each(PalToInt, *SMALL)),
    UnitPage(Unblock, _each(Unblock, *SMALL)),
    UnitPage(
        ReblockUnit,
        {
            **_each(lambda f: ReblockUnit((f,), 4, 8), *SMALL),
            "all of them": lambda: ReblockUnit(SMALL, 4, 8),
        },
    ),
    UnitPage(Widener, {"all of 8, 6 and 4 bits": lambda: Widener(SMALL)}),
    UnitPage(IntegerLog, {"24 bits": lambda: IntegerLog(24), "32 bits": lambda: IntegerLog(32)}),
    UnitPage(
        AccumulatorEncoder, {"32-bit accumulator": lambda: AccumulatorEncoder(DOT_PARAMS["PAL8T"])}
    ),
    UnitPage(
        DotUnit, _each(lambda f: DotUnit(f, DOT_PARAMS[f.name], 16), *SMALL, *ADAPTIVE.values())
    ),
    UnitPage(ByteDecoder, _each(ByteDecoder, *ADAPTIVE.values())),
    UnitPage(
        CodebookDecoder, _each(lambda f: CodebookDecoder(f, f.fraction_bits), *ADAPTIVE.values())
    ),
    UnitPage(
        OperandDecoder,
        _each(lambda f: OperandDecoder((f,), DOT_PARAMS[f.name], 8), *ADAPTIVE.values()),
    ),
    UnitPage(CodebookEncoder, _each(CodebookEncoder, *ADAPTIVE.values())),
    UnitPage(BlockEncoder, _each(BlockEncoder, *ADAPTIVE.values())),
    UnitPage(
        DotMatrix,
        {
            "PAL8T and PAL8U, 8 lanes, 4 columns": lambda: DotMatrix(
                (PAL8T, PAL8U), DOT_PARAMS["PAL8T"], 8, 4
            )
        },
    ),
)


def page(unit: UnitPage, areas: dict[str, tuple[float, str]]) -> str:
    """The page of a unit as Markdown."""
    name = unit.component.__name__
    makers = unit.configurations
    first = next(iter(makers.values()))()
    rows = [
        [label, str(make().latency), f"{areas[label][0]:.0f}"] for label, make in makers.items()
    ]
    parts = [
        f"# {name}\n",
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
        name = unit.component.__name__
        rows.append([f"[{name}]({name}.md)", summary(unit.component)])
    return "# Units\n\nWritten by `make docs`; do not edit.\n\n" + markdown(["unit", "what"], rows)


def texts(areas: Areas) -> dict[Path, str]:
    """Every page by its file."""
    return {
        FOLDER / "README.md": index(),
        **{u.path: page(u, areas[u.component.__name__]) for u in UNITS},
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
        name = unit.component.__name__
        for label, make in unit.configurations.items():
            digest = hardware(make)
            if not same_flow or kept.get(name, {}).get(label, (0, ""))[1] != digest:
                yield name, label, make, digest


def main() -> None:
    """Synthesise what changed and write the pages."""
    warnings.simplefilter("ignore", UnusedElaboratable)  # ports alone are wanted of many
    flow, kept = load()
    sources = FLOW.sources()
    for name, label, make, digest in track(
        list(stale(flow, kept)), "synthesis", console=Console(stderr=True)
    ):
        kept.setdefault(name, {})[label] = (area(make), digest)
    areas = {
        u.component.__name__: {
            label: kept[u.component.__name__][label] for label in u.configurations
        }
        for u in UNITS
    }
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
