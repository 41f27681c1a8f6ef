"""Tables of the comparison: for the terminal and for ``docs/area.md``."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from verif.area import bars
from verif.area.accuracy import SIZES
from verif.area.bars import Row, moved
from verif.stamps import AREA

#: The results that the page was written from, and those of processes.
BASELINE = AREA.path.with_name("area.json")
PROCESSES = {"IHP SG13G2, 130 nm": Path("build/area-ihp.json"),
             "SkyWater sky130 hd, 130 nm": Path("build/area-sky130.json")}

__all__ = ["moved", "tables", "text"]


def tables(results: dict) -> Iterator[tuple[str, list[Row]]]:
    """Title and rows, the first one the headings, of each table."""
    yield "Areas against the bars", list(bars.area_rows(results))
    yield "Energies against the bars", list(bars.energy_rows(results))
    yield "Units", list(bars.unit_rows(results))
    yield "Smallest area at equal delay", list(bars.target_rows(results))
    variants = list(bars.variant_rows(results))
    if len(variants) > 1:
        yield "Variants that were tried", variants
    yield f"Parts of {results['parts'][0]['arch']}", list(bars.part_rows(results))


def _markdown(rows: list[Row]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(r) + " |" for r in lines)


def text(results: dict, processes: dict[str, dict]) -> str:
    """The whole of ``docs/area.md``: the library without a process, and real ones beside it."""
    sections = [f"**{title}**\n\n{_markdown(rows)}" for title, rows in tables(results)]
    if processes:
        sections.append("## Processes\n\n**Ratios of areas in each library**\n\n"
                        + _markdown(list(bars.ratio_rows({"no process": results, **processes}))))
    for name, found in processes.items():
        sections += [
            f"### {name}\n\nNAND2 equivalents are areas over that of the library's smallest NAND2; "
            f"delays in {found['units']['delay']}, energies in {found['units']['energy']}.",
            *(f"**{title}**\n\n{_markdown(rows)}" for title, rows in tables(found)
              if title in ("Areas against the bars", "Energies against the bars", "Units",
                            "Smallest area at equal delay"))]
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    shares = results["shares"]
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
  largest, cut as PAL's. `MX-` and `MXINT8` have PAL's own block scale in whole octaves (bias adder
  and shifter before the accumulator, 8 guard bits), the others one scale a tensor and nothing to
  compute for it. E3M4 is no standard's: all codes are numbers.
* **PAL**: `default` keeps enough bits for data with outliers; `lean` is as small as Gaussian data
  allow. `decoded` takes decoded elements: in an array the decoders stand at the edges, and
  "decoders shared by {bars.EDGE}" counts a share of them, for both operands.

What to read from it:

* **8 bits, U**: with the block scale that PAL has, all three bars are met in area. Against peers
  without one, INT8 and E3M4 are met; windowed E4M3 is missed by 2 %. The floor there is the lane:
  log adder, shifter, signs and heap are {_ge(results, 'PAL8U lean, tensor scale')} NAND2
  without any block scale.
* **8 bits, T**: more accurate than every other 8-bit unit, MXINT8 included, so none dominates it;
  its area bar of 0.60 is missed by 0.04 against MXINT8 and by 0.07 against INT8. The floor is a
  fraction of 5 bits (6 antilog bits, 12 columns of heap); the decoders' share is 0.01.
* **6 and 4 bits**: met only like with like, peers with a block scale and the taper decoded at the
  edge. A 4 x 4 multiplier is small already, and PAL6T adds a fraction of an octave in each lane.
* **Delay**: lean PAL8U is about as fast as INT8 and the windowed floats: table and shifter stand in
  series behind the log adder. In area x delay PAL4 loses against E2M1 without a block scale, and
  PAL6T is level with E2M3.
* **Heavy tails**: lean units lose there, by the bits they save; `default` does not. Peers with one
  scale a tensor lose far more.
* **Energy** of PAL8U is half of INT8's. That of PAL6T is under its bar with a block scale in both;
  without one E2M3 is idle on much of MiniLM's data, which its tensor scale rounds to zero.
* Fixed-point accumulation, which floating point can have too, is most of the gain over float32.
* Of the logic of the tiles of `{results['parts'][0]['arch']}`, {shares['overhead']:.1%} are
  neither matrix unit, vector unit nor memory (asked: at most {bars.OVERHEAD_LIMIT:.0%}).
  Control state (contexts, constants, configuration registers, address generators, sequencer) is
  {shares['control']:.1%}, or {shares['control_with_contexts']:.1%} if every bit of context memory
  counted as a flip-flop; crossbar, registers, links and guards are {shares['crossbar']:.1%} (asked:
  at most {bars.CONTROL_LIMIT:.0%} each).

How PAL became smaller, from 723 (PAL8U) and 936 (PAL8T) NAND2 a lane of the first pipelined unit:
the sum of products is registered instead of each product; a product's least bit is always 1, so
that a sign inverts bits and adds nothing; block biases shift whole octaves and their fraction adds
to the log, where a multiplier was (44 NAND2 a lane); U has biases in octaves only; the antilog's
entries share the factor that rounds them best, at P = L = 3 Mitchell's antilog without a table; the
shifter takes its largest step first. Tried and dropped: signs applied before the shifter (1 to 5 %
larger), fine steps first (2 to 4 %), one flag for zero and NaN (no change), jamming in the float
windows (no smaller, 5 to 9 dB worse on tails). The rows of variants below are the rest.

![Area of 16-lane dot units](figures/area.svg)
![Area against accuracy](figures/area_accuracy.svg)

Any Liberty file: `make area LIBERTY=path/to/cells.lib` (`area` in the JSON is in its unit). A file
that is missing, truncated or lacks a flip-flop is one line and exit code 2. An ECP5: `make fpga`.

{chr(10).join(s + chr(10) for s in sections)}"""


def _ge(results: dict, unit: str) -> str:
    return next(f"{row['ge_per_lane']:.0f}" for row in results["rows"] if row["unit"] == unit)


def main() -> None:
    """Write the page, its figures and the baseline from ``build/area.json``."""
    results = json.loads(Path("build/area.json").read_text())
    processes = {name: json.loads(path.read_text()) for name, path in PROCESSES.items()
                 if path.exists()}
    AREA.write(text(results, processes), results["sources"])
    BASELINE.write_text(json.dumps(results, indent=1) + "\n")
    for name in ("area", "area_accuracy"):
        shutil.copy(Path("build/area") / f"{name}.svg", AREA.path.parent / "figures")


if __name__ == "__main__":
    main()
