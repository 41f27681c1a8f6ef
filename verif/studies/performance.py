"""Matrix products in RTL, and the speed of simulation: ``make performance``.

Writes ``docs/performance.md``.  Cycles are exact and the same everywhere; the speed of
simulation is that of the machine, RTL and golden model in one run.
"""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from compiler.map.product.gemm import gemm
from rtl.simulator import SHORT, THREADED
from spu.arch import bitstream
from spu.arch.params import BLOCK, CONFIGS, Architecture
from spu.engine import codec
from spu.engine.rtl_run import BUILD, build_rtl
from spu.engine.streams import input_streams
from spu.model.array import GoldenArray
from spu.model.words import Stream
from verif.benches.gemm_bench import operands
from verif.digits.data import MODEL, split
from verif.pages.readme import listed
from verif.pages.stamps import PERFORMANCE
from verif.stimulus.chains import pipeline

#: Rows, depth, outputs.
SHAPES = (
    (64, 256, 64),
    (256, 256, 64),
    (64, 512, 64),
    (64, 384, 64),
    (64, 128, 64),
    (128, 128, 128),
    (64, 256, 128),
    (64, 256, 256),
    (64, 256, 32),
    (64, 64, 64),
    (64, 32, 64),
    (100, 200, 60),
    (196, 128, 128),
    (8, 256, 64),
    (1, 256, 64),
)
#: The product whose simulation is timed, the cycles that are, and the golden model's batch.
TIMED, CYCLES, BATCH = (512, 256, 64), 2500, 64
#: Share of the peak that counts as reached.
FULL = 0.9
_NUMBER = {1: "one", 2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Workload:
    """A program of one region with the inputs of as many iterations as it is run for."""

    name: str
    image: bitstream.Image
    inputs: dict[int, Stream]
    outputs: list[int]
    iterations: int
    words_per_iteration: int

    def first(self, iterations: int) -> dict[int, Stream]:
        """Inputs of the first iterations."""
        return {
            c: words[: iterations * self.words_per_iteration] for c, words in self.inputs.items()
        }


def product_workload(arch: Architecture) -> Workload:
    """A matrix product that keeps all matrix units busy."""
    x, weight = operands(*TIMED)
    plan = gemm(arch, weight, TIMED[0])
    assert plan.image is not None
    return Workload(
        f"product of {' x '.join(map(str, TIMED))}",
        plan.image,
        input_streams(plan, x),
        sorted(plan.results),
        plan.rounds,
        plan.ii * plan.steps,
    )


def digits_workload(arch: Architecture) -> Workload:
    """The digits model on all held-out images."""
    compiled = pipeline(MODEL, arch)
    x = split()[2]
    inputs = codec.encode_inputs(x, compiled.report, arch)
    outputs = [int(c) for c in compiled.report["io"]["output_words"]]
    words = len(next(iter(inputs.values()))) // len(x)
    return Workload("digits model", compiled.image, inputs, outputs, len(x), words)


def run_shapes(
    arch: Architecture, shapes: Sequence[Sequence[int]], work: Path, effort: int = SHORT
) -> list[dict]:
    """Rows of the table, from the RTL; raises ``SimulationError`` for a wrong result."""
    result = work / "gemm.json"
    result.unlink(missing_ok=True)
    build_rtl(arch, effort=effort).run(
        "verif.benches.gemm_bench",
        work,
        expected=1,
        environment={
            "SPU_GEMM": json.dumps({"arch": asdict(arch), "shapes": [list(s) for s in shapes]}),
            "SPU_RESULT": str(result.resolve()),
        },
    )
    return list(json.loads(result.read_text()))


def rtl_speed(arch: Architecture, workload: Workload, work: Path) -> float:
    """Cycles a second of the RTL."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "program.spub").write_bytes(bitstream.encode(workload.image))
    (work / "speed.json").write_text(
        json.dumps(
            {
                "arch": asdict(arch),
                "iterations": workload.iterations,
                "cycles": CYCLES,
                "outputs": workload.outputs,
                "inputs": {
                    c: [[f"{d:x}", b] for d, b in words] for c, words in workload.inputs.items()
                },
            }
        )
    )
    build_rtl(arch, effort=THREADED).run(
        "verif.benches.speed_bench", work, expected=1, environment={"SPU_JOB": str(work.resolve())}
    )
    return float(CYCLES / json.loads((work / "seconds.json").read_text()))


def golden_speed(workload: Workload, batch: int) -> float:
    """Cycles a second of the golden model, those of all runs of the batch together."""
    golden = GoldenArray(workload.image, batch)
    rolls = [
        {
            c: list(np.roll(np.array(words, object), -i * workload.words_per_iteration, axis=0))
            for c, words in workload.first(workload.iterations // 4).items()
        }
        for i in range(batch)
    ]
    streams = [
        {c: [(int(d), int(b)) for d, b in words] for c, words in run.items()} for run in rolls
    ]
    golden.run(
        [
            {c: words[: 4 * workload.words_per_iteration] for c, words in run.items()}
            for run in streams
        ],
        4,
        keep_links=False,
    )  # compiles, fills tables
    start = time.monotonic()
    result = golden.run(streams, workload.iterations // 4, keep_links=False)
    return batch * result.cycles / (time.monotonic() - start)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [list(head), ["---"] * len(head), *([str(c) for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def binds(rows: list[dict], arch: Architecture) -> Iterator[str]:
    """What keeps products from the peak, of what the rows show; ``FULL`` of it counts as reached.

    Raises ``ValueError`` if rows show something else than what is written here.
    """
    full = [row for row in rows if (row["steady"] or 0) >= FULL]
    rest = [row for row in rows if row["steady"] and row["steady"] < FULL]
    outputs = rows[0]["shape"][2]
    depth = min(row["shape"][1] for row in full if row["shape"][2] == outputs)
    shallow = [row for row in rest if row["shape"][1] < depth and row["shape"][2] == outputs]
    odd = [row for row in rest if row["shape"][1] > depth]
    if any(row["shape"][1] % depth for row in full) or any(
        not row["shape"][1] % depth or row["ii"] >= full[0]["ii"] for row in odd
    ):
        raise ValueError(f"depths of multiples of {depth} alone should reach {FULL:.0%}")
    if shallow:
        shares = {f"{100 * row['steady']:.0f} %" for row in shallow}
        share = "half" if shares == {"50 %"} else listed(sorted(shares))
        yield (
            f"* **results**, where a row takes few cycles: {_NUMBER[arch.cols]} output streams "
            f"carry {arch.cols * arch.lanes16} PAL16 results a cycle,\n  so that depths below "
            f"{depth} cannot keep all tiles busy with {outputs} outputs ("
            f"{f' and{chr(10)}  '.join(' x '.join(map(str, r['shape'])) for r in shallow)} use "
            f"{share} of them);"
        )
    if odd:
        yield (
            f"* **depths** that are no multiple of {depth} leave short initiation intervals, "
            "whose few slots must\n  carry the results of every tile;"
        )
    yield f"* **padding**, of depths to blocks of {BLOCK} and of outputs to {arch.columns};"
    hidden = statistics.median(row["cycles"] - row["ideal_cycles"] for row in full)
    yield (
        f"* **few rows**: fill and drain of some {round(hidden, -1):.0f} cycles are not hidden "
        "behind anything."
    )


def text(rows: list[dict], speeds: dict[str, tuple[float, float]]) -> str:
    """The page; ``speeds``: cycles a second in RTL and of all runs of the golden batch."""
    basic = CONFIGS["basic"]
    shapes = _table(
        (
            "rows x depth x outputs",
            "streams",
            "II",
            "passes",
            "cycles",
            "held on input",
            "held on output",
            "ideal",
            "steady %",
            "end to end %",
        ),
        [
            (
                " x ".join(map(str, row["shape"])),
                row["streams"],
                row["ii"],
                row["passes"],
                row["cycles"],
                row["held_input"],
                row["held_output"],
                row["ideal_cycles"],
                _percent(row["steady"]),
                _percent(row["end_to_end"]),
            )
            for row in rows
        ],
    )
    simulation = _table(
        ("program", "RTL", f"golden model, batch of {BATCH}", "ratio"),
        [
            (name, f"{one:,.0f}", f"{many:,.0f}", f"{many / one:.1f}")
            for name, (one, many) in speeds.items()
        ],
    )
    return f"""# Performance

Written by `make performance`.

## Matrix products on `basic`

PAL8T operands, PAL16 results, weights in the tiles, in RTL under Verilator. Every result word
is that of the PAL model, every cycle count that of the compiler. *Ideal*: all multiplications
at the peak of {basic.peak_macs_per_cycle} a cycle. *Steady*: a run less one of half its rows, so
without fill and drain. *Held*: cycles in which a stream made the region wait.

{shapes}

What binds where less than {100 * FULL:.0f} % is reached:

{chr(10).join(binds(rows, basic))}

## Speed of simulation

Cycles a second on `basic`, in one run on this machine: RTL under Verilator with cocotb at the AXI
ends only, and the golden model, all runs of the batch together.

{simulation}

What was done to raise them. *RTL*: each tile kind is compiled once, as a library; a tile is
evaluated once a cycle instead of five times, because its outputs are registers
(`rtl.verilate.spare_evaluations`); tiles are spread over the cores; only ports and links of the
top are visible to cocotb, nothing of the tiles, so that their wires are optimised away; the clock
is made by the simulator, not by Python; words wait as one frame and are one integer each; streams
that are not used have no driver. *Golden model*: all tiles of a region and all
runs of a batch lie in one array; contexts are sorted by unit once a program; equal sums of
several tiles are one call; the inner loop of the matrix unit is compiled (numba).
"""


def main() -> None:
    """Run everything and write the page."""
    console, arch, work = Console(), CONFIGS["basic"], BUILD / "performance"
    sources = PERFORMANCE.sources()
    console.print(f"... {len(SHAPES)} matrix products in RTL")
    rows = run_shapes(arch, SHAPES, work, THREADED)
    speeds = {}
    for workload in (digits_workload(arch), product_workload(arch)):
        console.print(f"... speed of simulation: {workload.name}")
        speeds[workload.name] = (rtl_speed(arch, workload, work), golden_speed(workload, BATCH))
    PERFORMANCE.write(text(rows, speeds), sources)
    console.print(f"wrote {PERFORMANCE.path}")
    console.print(
        f"{rows[0]['shape']}: steady {_percent(rows[0]['steady'])} %, end to end "
        f"{_percent(rows[0]['end_to_end'])} %"
    )
    for name, (one, many) in speeds.items():
        console.print(
            f"{name}: RTL {one:,.0f} cycles/s, golden model {many:,.0f} in a batch "
            f"({many / one:.1f} times)"
        )


if __name__ == "__main__":
    main()
