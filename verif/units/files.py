"""A unit as files: Verilog, waivers, testbench, vectors, page."""

from difflib import get_close_matches
from typing import Any

from pal_units.formats import ADAPTIVE, FORMATS, Format
from rtl.plain import plain_verilog
from spu.command.common import BadInput
from verif.units.catalogue import UNITS, Unit
from verif.units.page import page, waivers
from verif.units.testbench import compared, memory, testbench, vectors_of


def chosen(name: str, fmt: str, stages: int | None) -> tuple[Unit, Format, Any]:
    """Unit, format and component of what was asked for; raises ``BadInput``.

    Without a format that of a unit that takes one alone.
    """
    by_name = {u.name: u for u in UNITS}
    if name not in by_name:
        near = get_close_matches(name, by_name)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(by_name)}"
        raise BadInput(f"no unit {name!r}; {hint}")
    found = by_name[name]
    takes = {f.name: f for f in found.formats}
    listed = ", ".join(takes)
    if not fmt and len(takes) > 1:
        raise BadInput(f"{name}: --format must be one of {listed}")
    fmt = fmt or listed
    if fmt not in FORMATS | ADAPTIVE:
        raise BadInput(f"no format {fmt!r}; {name} takes {listed}")
    if fmt not in takes:
        raise BadInput(f"{name} takes {listed}, not {fmt}")
    try:
        return found, takes[fmt], found.make(takes[fmt], stages)
    except ValueError as error:
        raise BadInput(f"{name}: {error}".replace(f"{name}: {name}", name)) from None


def files(unit: Unit, fmt: Format, component: Any, module: str) -> dict[str, str]:
    """Texts by file name; the page comes last."""
    vectors = vectors_of(unit.case(fmt, component))
    return {
        f"{module}.v": plain_verilog(component, module),
        f"{module}.vlt": waivers(module),
        f"tb_{module}.v": testbench(vectors, module),
        f"{module}.hex": memory(vectors),
        f"{module}.md": page(unit, fmt, component, module, compared(vectors)),
    }
