"""Tables of lean against lean: for the terminal, for ``docs/lean.md`` and for the README."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pal_units import FORMATS, dot_params
from verif.area.bars import Row
from verif.area.edges import EDGE
from verif.area.lean import FAMILIES, PAIRS
from verif.area.plots import draw_lean
from verif.baselines.elements import FP4_E2M1, FP6_E2M3, FP8_E2M5, FP8_E3M4, FP8_E4M3
from verif.pages import stamps
from verif.pages.readme import fill, markdown_table, wrapped
from verif.pages.stamps import LEAN

#: The results that the page was written from.
BASELINE = LEAN.path.with_name("lean.json")
#: The two comparisons of a row, and what tables call them.
KINDS = {"equal_loss": "equal loss", "equal_sqnr": "equal SQNR"}


def ratio(row: dict, kind: str) -> float:
    """Area of PAL's unit over the peer's."""
    pal, peer = row[kind]
    return pal["ge_per_lane"] / peer["ge_per_lane"]


def met(row: dict, kind: str) -> bool:
    """Whether the ratio is at most the bar's."""
    return ratio(row, kind) <= row["limit"]


def tables(results: dict) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows, the first one the headings, of each table."""
    yield (
        "Lean against lean",
        [
            [
                "PAL",
                "peer",
                "bar",
                *(f"{name}{what}" for name in KINDS.values() for what in ("", ": met")),
            ],
            *(
                [
                    row["pal"],
                    row["peer"],
                    f"{row['limit']:.2f}",
                    *(
                        cell
                        for kind in KINDS
                        for cell in (f"{ratio(row, kind):.3f}", "yes" if met(row, kind) else "no")
                    ),
                ]
                for row in results["rows"]
            ),
        ],
    )
    for kind, name in KINDS.items():
        yield (
            f"Units at {name}",
            [
                [
                    "PAL's unit",
                    "NAND2 a lane",
                    "dot SQNR, dB",
                    "peer's unit",
                    "NAND2 a lane",
                    "dot SQNR, dB",
                    "uncut, dB",
                    "may lose, dB",
                    "synthesised",
                ],
                *(
                    [
                        pal["unit"],
                        f"{pal['ge_per_lane']:.1f}",
                        f"{pal['dot_sqnr_db']:.2f}",
                        peer["unit"],
                        f"{peer['ge_per_lane']:.1f}",
                        f"{peer['dot_sqnr_db']:.2f}",
                        f"{peer['uncut_dot_sqnr_db']:.2f}",
                        f"{row['loss_db']:.2f}" if kind == "equal_loss" else "-",
                        f"{pal['synthesised']} and {peer['synthesised']}",
                    ]
                    for row in results["rows"]
                    for pal, peer in [row[kind]]
                ),
            ],
        )


def verdicts(results: dict) -> Iterator[str]:
    """A sentence a PAL format: its ratios and which bars they meet, at equal loss."""
    for name in dict.fromkeys(row["pal"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["pal"] == name]
        parts = [
            f"{ratio(row, 'equal_loss'):.2f} of {row['peer']} "
            f"({'met' if met(row, 'equal_loss') else 'missed'}: {row['limit']:.2f})"
            for row in rows
        ]
        yield f"**{name}**: {', '.join(parts)}."


def counted(results: dict) -> str:
    """How many bars are met by either comparison."""
    return " and ".join(
        f"{sum(met(row, kind) for row in results['rows'])} of {len(results['rows'])} at {name}"
        for kind, name in KINDS.items()
    )


def text(results: dict) -> str:
    """The whole of ``docs/lean.md``."""
    sections = "\n\n".join(
        f"**{title}**\n\n{markdown_table(rows)}" for title, rows in tables(results)
    )
    return f"""# Lean against lean

Written by `make docs` from the results of `make area`; do not edit. Library: {results["library"]}.

How much smaller is a PAL unit than its peer, when both are cut by one rule? Units, flow and data
are those of [area.md](area.md): 16 lanes, NAND2 equivalents, dot products of 1024 Gaussian numbers.
Every unit here is RTL whose mapped netlist was simulated and gave its numpy model's results.

* **What can be cut**: of PAL bits of a product, of the antilog, guard bits, octaves of operands; of
  integers the lowest columns of Booth's rows, with a constant for their mean; of floats the window
  below the largest product, cut off or jammed; of every block scale guard bits.
{wrapped(_uncut(), "* ")}
* **Search**: from the uncut unit by single cuts, as long as the SQNR is not below a floor. All
  settings of which nothing more can be cut alone are synthesised (last column); the smallest
  counts.
* **Equal loss**: PAL keeps the SQNR of the unit that area.md calls lean; the peer may lose against
  its uncut unit what that one loses against PAL's default, and no more. What PAL8T-oct may lose is
  counted from PAL8T.
* **Equal SQNR**: both reach the lower one of the two SQNR that equal loss gave; no interpolation,
  the smallest unit that is not below counts.
* Decoders of the tapered formats are shared by {EDGE} lanes. `MX-` and `MXINT8` have a block scale
  like PAL's, the others one scale a tensor and nothing to compute for it.

{wrapped(_measured(results) + f"Bars met: {counted(results)}. At equal loss:")}

{chr(10).join(wrapped(sentence, "* ") for sentence in verdicts(results))}

![Area against accuracy, all cut by one search](figures/lean.svg)

{sections}
"""


def _uncut() -> str:
    """What the search begins from: the defaults, but for guard bits."""
    (first,) = {FAMILIES[pair.pal].uncut[2] for pair in PAIRS}
    default = {
        name: dot_params(FORMATS[name]).guard_bits
        for name in (pair.default.split()[0] for pair in PAIRS)
    }
    fewer = ", ".join(f"{name} {bits}" for name, bits in default.items() if bits < first)
    return (
        f"**Uncut** means the default of PAL and of integers, but for guard bits: every block "
        f"scale begins with {first} of them, also where the default has fewer ({fewer}). "
        f"{_windows()}"
    )


def _windows() -> str:
    """Where windows of floats begin, and which products are wider."""
    first = {
        f: FAMILIES[f"MX-{f.name}"].axes[0][0]
        for f in (FP8_E4M3, FP8_E3M4, FP8_E2M5, FP6_E2M3, FP4_E2M1)
    }
    wide = sorted(
        (f for f, bits in first.items() if bits < f.product_bits), key=lambda f: -f.product_bits
    )
    (bits,) = {first[f] for f in wide}
    others = "".join(f", {f.name} {f.product_bits}" for f in wide[1:])
    return (
        f"Windows of floats begin at {bits} bits or at the exact product, whichever is less "
        f"({wide[0].name} would take {wide[0].product_bits} bits{others})."
    )


def _measured(results: dict) -> str:
    """Which pairs the results lack, if any."""
    there = {(row["pal"], row["peer"]) for row in results["rows"]}
    missing = [f"{p.pal} and {p.peer}" for p in PAIRS if (p.pal, p.peer) not in there]
    return (
        f"Not measured yet ({len(missing)} of {len(PAIRS)} pairs): {', '.join(missing)}. "
        if missing
        else ""
    )


def _range(values: list[float]) -> str:
    return " to ".join(dict.fromkeys(f"{v:.2f}" for v in (min(values), max(values))))


def readme(results: dict) -> str:
    """The part of the README that is about area: a sentence with the ratios at equal SQNR."""
    ratios: dict[str, list[float]] = {}
    for row in results["rows"]:
        bits = re.sub(r"\D*(\d+).*", r"\1", row["pal"])
        ratios.setdefault(bits, []).append(ratio(row, "equal_sqnr"))
    smaller = sum(r < 1 for found in ratios.values() for r in found)
    shares = ", ".join(f"{_range(found)} at {bits} bits" for bits, found in ratios.items())
    return wrapped(
        f"{_measured(results)}Cut by one search to the same accuracy on Gaussian data (SQNR, "
        f"signal to quantisation noise), a dot unit of logarithms is smaller than that of its peer "
        f"in {smaller} of {len(results['rows'])} pairs of formats (ratios of areas, without a "
        f"process: {shares}); the project's own bars, which ask for less area, are met in "
        f"{counted(results)} ([docs/lean.md](docs/lean.md) has both rules), and in accuracy alone "
        f"PAL is above its peers on some data and below on other "
        f"([docs/accuracy.md](docs/accuracy.md#where-pal-loses))."
    )


def main() -> None:
    """Write the page, its figure, its data and the README's part from ``build/lean.json``."""
    results = stamps.results(Path("build/lean.json"), LEAN)
    if results is None:
        return
    LEAN.write(text(results), results["sources"])
    BASELINE.write_text(json.dumps(results, indent=1) + "\n")
    fill("area", readme(results))
    draw_lean(results, LEAN.path.parent / "figures", ("svg",))


if __name__ == "__main__":
    main()
