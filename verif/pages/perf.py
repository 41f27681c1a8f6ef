"""Tables of ``docs/perf.md``: machines, and constants with their errors; part of ``make docs``."""

import tomllib
from dataclasses import fields
from pathlib import Path

from perf.gemm import Constants
from perf.machines import Machine, machine, names
from perf.stacks import PATH as STACKS
from perf.stacks import stacks
from verif.pages.readme import markdown_table

PATH = Path(__file__).parents[2] / "docs" / "perf.md"


def parts() -> dict[str, str]:
    """Tables by the name of their place in the page."""
    return {"machines": _machines(), "errors": _errors(), "constants": _constants()}


def filled(text: str) -> str:
    """The page with its tables, each between two comments.  ``ValueError`` if one has no place."""
    for name, table in parts().items():
        start, end = f"<!-- {name}: written by make docs -->\n", f"\n<!-- end of {name} -->"
        head, _, rest = text.partition(start)
        _, found, tail = rest.partition(end)
        if not found:
            raise ValueError(f"{PATH.name} has no part {name!r}")
        text = head + start + table + end + tail
    return text


def _machines() -> str:
    rows = [["machine", "is", "peak", "memory", "bandwidth", "links", "limit", "sources"]]
    for each in (machine(name) for name in names()):
        rows.append([f"`{each.name}`", each.label, *_numbers(each), _sources(each)])
    return markdown_table(rows)


def _numbers(each: Machine) -> list[str]:
    def listed(table: str, unit: float, symbol: str) -> str:
        found = each.numbers[table].items()
        return ", ".join(f"{name} {q.value / unit:,.5g}" for name, q in found) + (
            f" {symbol}" if found else ""
        )

    if each.architecture is not None:
        macs = each.architecture.peak_macs_per_cycle
        return [f"{macs} MACs a cycle", "", "", "", ""]
    memory, power = each.numbers["memory"], each.numbers["power"]
    return [
        listed("peak", 1e12, "TFLOP/s"),
        f"{memory['bytes'].value / 1e9:,.4g} GB",
        f"{memory['bandwidth'].value / 1e12:.4g} TB/s",
        listed("links", 1e9, "GB/s"),
        f"{power['watts'].value:g} W" if power else "",
    ]


def _sources(each: Machine) -> str:
    titles = {q.source: q.year for table in each.numbers.values() for q in table.values()}
    return "; ".join(f"{title} ({year})" for title, year in titles.items()) or "spu/arch/params.py"


def _errors() -> str:
    rows = [["device", "software", "format", "products", "pairs", "time, %", "energy, large, %"]]
    for each in tomllib.loads(STACKS.read_text())["stack"]:
        held = each["held_out"]
        energy = f"{held['joules']:.1f} of {held['large']}" if "joules" in held else "not measured"
        rows.append(
            [
                *(each[name] for name in ("device", "framework", "dtype")),
                f"{held['points']:,}",
                str(held["pairs"]),
                f"{held['mape']:.1f}",
                energy,
            ]
        )
    return markdown_table(rows)


def _constants() -> str:
    found = [(f"{s.device.name} {s.dtype}", s) for s in stacks()]
    rows = [["constant", *(name for name, _ in found)]]
    for field in fields(Constants):
        values = [getattr(s.constants, field.name) for _, s in found]
        rows.append([f"`{field.name}`", *("" if v is None else f"{v:.3g}" for v in values)])
    for name in ("idle_watts", "pj_per_flop", "pj_per_byte"):
        rows.append(
            [f"`{name}`"]
            + [
                f"{getattr(s.energy, name):.3g}" + ("" if s.energy.measured else " *")
                for _, s in found
            ]
        )
    return markdown_table(rows)


def main() -> None:
    """Write the tables into the page."""
    PATH.write_text(filled(PATH.read_text()))


if __name__ == "__main__":
    main()
