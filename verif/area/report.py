"""Tables of the comparison: for the terminal, for ``docs/area.md`` and for the README."""

import json
from collections.abc import Iterator
from pathlib import Path

from verif.area import bars, claims
from verif.area.accuracy import SIZES
from verif.area.bars import Row, moved
from verif.area.plots import draw
from verif.area.shapes import DOT16, MATRIX16
from verif.area.study import FINALISTS, LOSS_DB, LOSSES
from verif.pages import stamps
from verif.pages.readme import fill, markdown_table, wrapped
from verif.pages.stamps import AREA

#: The results that the page was written from, and those of processes.
BASELINE = AREA.path.with_name("area.json")
PROCESSES = {
    "IHP SG13G2, 130 nm": Path("build/area-ihp.json"),
    "SkyWater sky130 hd, 130 nm": Path("build/area-sky130.json"),
}
#: Formats of the README's table: PAL's and the peers of the bars.
_SHOWN = tuple(dict.fromkeys(name for bar in bars.BARS for name in (*bar.pals, *bar.peers)))

__all__ = ["moved", "tables", "text"]


def tables(results: dict) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows, the first one the headings, of each table.

    With a library of a process there are matrices alone, and no fronts of dot units beside them.
    """
    yield f"PAL against its peers, {MATRIX16.name}", list(bars.verdict_rows(results))
    yield "Units", list(bars.unit_rows(results))
    if {DOT16.name, MATRIX16.name} <= {row["shape"] for row in results["rows"]}:
        yield "Fronts of area against accuracy", list(bars.front_rows(results))
    yield f"Parts of {results['parts'][0]['arch']}", list(bars.part_rows(results))


def ratio_rows(studies: dict[str, dict]) -> Iterator[Row]:
    """Heading, then a row a pair: the ratio of areas, both lean, in each library."""
    yield ["PAL", "peer", *studies, "spread"]
    for same in zip(*(bars.verdicts(study) for study in studies.values()), strict=True):
        ratios = [v.equal_loss for v in same]
        yield [
            same[0].pal,
            same[0].peer,
            *(f"{r:.3f}" for r in ratios),
            f"{max(ratios) - min(ratios):.3f}",
        ]


def process_text(results: dict, processes: dict[str, dict]) -> str:
    """The whole of ``docs/area_processes.md``: the same units in real libraries."""
    sections = [
        "# Areas in two processes",
        "Written by `make docs` from the results of `make area LIBERTY=...` with each library; do "
        "not edit. Units and rules are those of [area.md](area.md).",
        "**Ratios of areas of lean matrices in each library**",
        markdown_table(list(ratio_rows({"no process": results, **processes}))),
    ]
    for name, found in processes.items():
        sections += [
            f"### {name}\n\nNAND2 equivalents are areas over that of the library's smallest NAND2; "
            f"delays in {found['units']['delay']}, energies in {found['units']['energy']}.",
            *(f"**{title}**\n\n{markdown_table(rows)}" for title, rows in list(tables(found))[:2]),
        ]
    return "\n\n".join(sections) + "\n"


def text(results: dict) -> str:
    """The whole of ``docs/area.md``."""
    sections = [f"**{title}**\n\n{markdown_table(rows)}" for title, rows in tables(results)]
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    losses = ", ".join(f"{loss:g}" for loss in LOSSES)
    return f"""# Area, delay, energy and accuracy

Written by `make docs` from the results of `make area`; do not edit. {versions}.

Is a log unit really smaller? PAL and its peers in the same structure, cut by one search, everything
counted: decoders, corrections, weight and result registers, accumulators.

* **Shapes**: `dot16` is a dot unit of 16 lanes with one accumulator register; what decodes its
  operands counts 1/16 for each, as at the edges of an array of such units. `matrix8x8` and
  `matrix16x16` multiply a slice of 8 or 16 numbers with as many slices of weights a cycle: one edge
  decodes the slice into registers for all columns; weights come decoded into registers; a column
  has its pipeline, its accumulator with overflow flags, and a result register, as in the array's
  own matrix unit (`pal_units/rtl/block_accumulator.py`).
* **Equal rules**: what depends on one operand alone is done at an edge, for peers too: fields of
  floating-point codes, Booth's digits, Winograd's corrections, octaves of a block. Same heap of
  bits, same headroom (sums of 1024 full-scale products), same flow. The smallest netlist of every
  row was simulated with its edge, on real operands, zeros, NaN and sums that leave the accumulator,
  and gave its model's results and flags; of netlists that were mapped for speed only areas and
  delays are known.
* **Cuts**: of PAL bits of a product, of the antilog, guard bits, octaves of operands; of integers
  the lowest columns of Booth's rows, with a constant for their mean; of floats the window below the
  largest product, cut off or jammed; of scales in 1/8 octave their bits (8 to 4), and of what
  multiplies by them or by NVFP4's the columns (0 to 8 left out); of every block scale guard bits.
  `default` keeps all that PAL keeps by default, and floats a window of 15 bits or the exact
  product. `lean` is the smallest unit that loses at most {LOSS_DB:g} dB of dot SQNR on Gaussian
  data against that; further points of the fronts lose at most {losses} dB. All settings of which
  nothing more can be cut alone are synthesised as dot units of 4 lanes by one recipe, the best
  {FINALISTS} as ones of 16; the smallest counts.
* **Peers' scales**: `MX-` and MXINT8 a power of two for 32 elements; `/8th` PAL's own block bias in
  1/8 octave, searched as PAL's, which multiplies the sum of a slice; NVFP4-4/6 E4M3 numbers for 16;
  INT8 alone one scale a tensor. `Winograd` is the inner product with half the multipliers.
* **Area**: NAND2 equivalents a multiply-accumulate, smallest of three abc recipes. Without a
  process a gate counts its transistors (`rtl/gates.py`), a NAND2 4.
* **Delay**: fastest of three recipes, adders of logarithmic depth, buffered and sized; logic of the
  slowest stage, without flip-flops.
* **Energy**: transitions of the mapped netlists times the capacitance that each drives, what cells
  consume inside, and all clock pins; zero delay. Streams: Gaussian, the second layer of the digits
  model, a linear layer of all-MiniLM-L6-v2; the median.
* **Dot SQNR**: {SIZES.dots}^2 dot products of length {SIZES.length} as the unit computes them, on
  Gaussian data, a Student-t distribution and data with outliers ([accuracy](accuracy.md)).
* **Judged**: a bar is met if the unit of some PAL format that is as accurate as asked is as small
  as asked, against the peer's lean unit under either scale. `both lean` are the lean units of both;
  `at equal SQNR and margin` is the smallest unit of PAL that is above the peer's lean one by the
  margin; clocks and energies are judged of that unit.

What to read from it:

{chr(10).join(wrapped(line, "* ") for line in claims.sentences(results))}

![Area of matrix units](figures/area.svg)
![Dot units: area against accuracy](figures/area_dot16.svg)
![Matrix units: area against accuracy](figures/area_matrix16x16.svg)

Any Liberty file: `make area LIBERTY=path/to/cells.lib` (`area` in the JSON is in its unit). A file
that is missing, truncated or lacks a flip-flop is one line and exit code 2. An ECP5: `make fpga`.

{chr(10).join(s + chr(10) for s in sections)}"""


def readme(results: dict) -> str:
    """The part of the README that is about area: the bars, and a row a format."""
    reached = claims.met(results)
    missed = [name for name, good in reached.items() if not good]
    rows = [
        [
            "format, lean",
            "bits",
            "NAND2 a MAC, matrix 16 x 16",
            "dot SQNR, dB",
            f"fastest, {results['units']['delay']}",
            "energy, of MXINT8's",
        ]
    ]
    units = bars.lean(results)
    whole = bars.median_energy(units["MXINT8"])
    for name in sorted(_SHOWN, key=lambda n: (-units[n]["bits_per_element"], n[:3] != "PAL")):
        row = units[name]
        rows.append(
            [
                f"**{name}**" if name.startswith("PAL") else name,
                f"{row['bits_per_element']:g}",
                f"{row['ge_per_mac']:.0f}",
                f"{row['dot_sqnr_db']:.1f}",
                f"{row['fo4']:.0f}" if row["fo4"] else "-",
                f"{bars.median_energy(row) / whole:.2f}",
            ]
        )
    said = (
        f"Matrix units of 16 x 16, cut by one search, without a process, everything counted: "
        f"{len(reached) - len(missed)} of the project's {len(reached)} bars of area are met"
        + (f" (missed: {'; '.join(missed)})" if missed else "")
        + " ([docs/area.md](docs/area.md) has rules, verdicts and fronts); in accuracy alone PAL "
        "is above its peers on most data and below on some "
        "([docs/accuracy.md](docs/accuracy.md#where-pal-loses))."
    )
    return f"{wrapped(said)}\n\n{markdown_table(rows)}"


def main() -> None:
    """Write the page, its figures, the README's part and the baseline from ``build/area.json``."""
    results = stamps.results(Path("build/area.json"), AREA)
    if results is None:
        return
    processes = {
        name: json.loads(path.read_text()) for name, path in PROCESSES.items() if path.exists()
    }
    AREA.write(text(results), results["sources"])
    if len(processes) == len(PROCESSES):
        BASELINE.with_name("area_processes.md").write_text(process_text(results, processes))
    BASELINE.write_text(json.dumps(results, indent=1) + "\n")
    fill("area", readme(results))
    draw(results, AREA.path.parent / "figures", ("svg",))


if __name__ == "__main__":
    main()
