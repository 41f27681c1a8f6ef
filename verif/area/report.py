"""Tables of the comparison: for the terminal and for ``docs/area.md``."""

import json
from collections.abc import Iterator
from pathlib import Path

from verif.area import bars, claims
from verif.area.accuracy import SIZES
from verif.area.bars import Row, moved
from verif.area.edges import EDGE
from verif.area.plots import draw
from verif.pages import stamps
from verif.pages.readme import markdown_table, wrapped
from verif.pages.stamps import AREA

#: The results that the page was written from, and those of processes.
BASELINE = AREA.path.with_name("area.json")
PROCESSES = {
    "IHP SG13G2, 130 nm": Path("build/area-ihp.json"),
    "SkyWater sky130 hd, 130 nm": Path("build/area-sky130.json"),
}

__all__ = ["moved", "tables", "text"]


def tables(results: dict) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows, the first one the headings, of each table."""
    yield "Areas against the bars, peers uncut", list(bars.area_rows(results))
    yield "Energies against the bars, peers uncut", list(bars.energy_rows(results))
    yield "Units", list(bars.unit_rows(results))
    yield "Smallest area at equal delay", list(bars.target_rows(results))
    variants = list(bars.variant_rows(results))
    if len(variants) > 1:
        yield "Variants that were tried", variants
    yield f"Parts of {results['parts'][0]['arch']}", list(bars.part_rows(results))


def process_text(results: dict, processes: dict[str, dict]) -> str:
    """The whole of ``docs/area_processes.md``: the same units in real libraries."""
    sections = [
        "# Areas in two processes",
        "Written by `make docs` from the results of `make area "
        "LIBERTY=...` with each library; do not edit. Peers are uncut, as in "
        "[area.md](area.md).",
        "**Ratios of areas in each library**",
        markdown_table(list(bars.ratio_rows({"no process": results, **processes}))),
    ]
    for name, found in processes.items():
        sections += [
            f"### {name}\n\nNAND2 equivalents are areas over that of the library's smallest NAND2; "
            f"delays in {found['units']['delay']}, energies in {found['units']['energy']}.",
            *(f"**{title}**\n\n{markdown_table(rows)}" for title, rows in list(tables(found))[:4]),
        ]
    return "\n\n".join(sections) + "\n"


def text(results: dict) -> str:
    """The whole of ``docs/area.md``."""
    sections = [f"**{title}**\n\n{markdown_table(rows)}" for title, rows in tables(results)]
    claims.check_settings(results)
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    return f"""# Area, delay and energy

Written by `make docs` from the results of `make area VARIANTS=1`; do not edit. {versions}.

Is a log unit really smaller? Every unit here takes 16 pairs of codes a cycle and adds their
products to one accumulator register: same flow, same heap of bits, same headroom (sums of 1024
full-scale products), no other registers. Each is verified exactly against its own model, and every
mapped netlist was simulated on real operands and gave the model's results.

* **Area**: NAND2 equivalents, smallest of three abc recipes, full adders as gates; beside it with
  the full adders of the heap as cells. Without a process a gate counts its transistors
  (`rtl/gates.py`), a NAND2 4.
* **Delay**: fastest of three recipes from small to fast, adders of logarithmic depth, buffered and
  sized; logic only, without flip-flops. Area x delay: the least product among them, a lane.
* **Energy**: transitions of the mapped netlist times the capacitance that each drives and what
  cells consume inside; zero delay, and with glitches (every gate one unit of time, an upper bound).
  Streams: Gaussian, the second layer of the digits model, a linear layer of all-MiniLM-L6-v2.
* **Dot SQNR**: dot products of length {SIZES.length} as the unit computes them, truncations
  included, on Gaussian data, a Student-t distribution and data with outliers
  ([accuracy](accuracy.md)).
* **Peers**: Booth integers; floating-point products exact or in a window of 12 bits below the
  largest. `MX-` and `MXINT8` have PAL's own block scale in whole octaves (bias adder
  and shifter before the accumulator, 8 guard bits), the others one scale a tensor and nothing to
  compute for it. E3M4 is no standard's: all codes are numbers.
* **PAL**: `default` keeps enough bits for data with outliers; `lean` is as small as Gaussian data
  allow. `PAL8T-oct` is PAL8T with block biases in whole octaves: another format, with a row of
  its own in [accuracy](accuracy.md). `decoded` takes decoded elements: in an array the decoders
  stand at the edges, and "decoders shared by {EDGE}" counts a share of them, for both operands.

**Peers are uncut here while PAL is lean.** [lean.md](lean.md) cuts both by one search, and is the
page to judge by: what is met below need not be met there. The tables for two processes are in
[area_processes.md](area_processes.md).

What to read from it:

{chr(10).join(wrapped(line, "* ") for line in _read(results))}

How PAL became smaller: the sum of products is registered instead of each product; a product's least
bit is always 1, so that a sign inverts bits and adds nothing; block biases shift whole octaves and
their fraction adds to the log, where a multiplier was; U has biases in octaves only; the antilog's
entries share the factor that rounds them best, at P = L = 3 Mitchell's antilog without a table; the
shifter takes its largest step first. Tried and dropped, because larger or no smaller: signs applied
before the shifter, fine steps first, one flag for zero and NaN. The rows of variants below are the
rest.

![Area of 16-lane dot units](figures/area.svg)
![Area against accuracy](figures/area_accuracy.svg)

Any Liberty file: `make area LIBERTY=path/to/cells.lib` (`area` in the JSON is in its unit). A file
that is missing, truncated or lacks a flip-flop is one line and exit code 2. An ECP5: `make fpga`.

{chr(10).join(s + chr(10) for s in sections)}"""


def _read(results: dict) -> Iterator[str]:
    """What the page says of its tables."""
    shares = results["shares"]
    yield from (f"**Areas**, peers uncut: {sentence}" for sentence in claims.verdicts(results))
    yield f"**Delay**: {claims.delays(results)}"
    yield f"**Heavy tails**: {claims.tails(results)}"
    yield f"**Energy**, peers uncut: {claims.energies(results)}"
    yield (
        f"**Fixed-point accumulation** can be had by floating point too; NAND2 a lane: "
        f"{claims.accumulation(results)}."
    )
    yield (
        f"**Tiles** of `{results['parts'][0]['arch']}`: {shares['overhead']:.1%} of the logic "
        f"are neither matrix unit, vector unit nor memory (asked: at most "
        f"{bars.OVERHEAD_LIMIT:.0%}). Control state (contexts, constants, configuration "
        f"registers, address generators, sequencer) is {shares['control']:.1%}, or "
        f"{shares['control_with_contexts']:.1%} if every bit of context memory counted as a "
        f"flip-flop; crossbar, registers, links and guards are {shares['crossbar']:.1%} (asked: "
        f"at most {bars.CONTROL_LIMIT:.0%} each)."
    )


def main() -> None:
    """Write the page, its figures and the baseline from ``build/area.json``."""
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
    draw(results, AREA.path.parent / "figures", ("svg",))


if __name__ == "__main__":
    main()
