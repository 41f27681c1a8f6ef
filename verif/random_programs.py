"""Random programs in RTL and golden model: ``make random``, or one plan as JSON.

``python -m verif.random_programs PLAN`` runs a plan (see ``random_bench.Plan``), with waves of
the top level in ``build/random``.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rtl.simulator import LONG, SHORT
from spu.arch.params import CONFIGS, Architecture, from_parameters
from spu.engine.rtl_run import BUILD, build_rtl
from verif.benches.random_bench import Figures, Plan

#: Programs of a short run; more pay for the other simulator: on ``2x2`` it takes 25 processor
#: seconds more to build, and 20 programs take 3 s less.
FEW = 150
#: Arrays that random programs run on: every tile kind, both word widths, one or two regions, all
#: formats of data that products take, weights decoded and as codes.
#: Their matrix units are small, since those of ``basic`` have tests of their own.
ARRAYS = {
    a.name: a
    for a in (
        Architecture(
            "2x2", ("MM",) * 2, lanes=4, columns=2, contexts=16, memory_words=16, weight_rows=16
        ),
        Architecture(
            "3x5",
            ("MmvaV", "mMaVm", "VavmM"),
            lanes=4,
            columns=4,
            contexts=8,
            memory_words=8,
            weight_rows=8,
            stream_words=4,
        ),
        Architecture(
            "4x4",
            ("MmmM", "VmvM") * 2,
            lanes=8,
            columns=4,
            contexts=8,
            memory_words=16,
            weight_rows=8,
            formats=("PAL8U", "PAL6A", "PAL8T"),
            bits="default",
            decoded_weights=False,
        ),
        Architecture(
            "two regions",
            ("Mmm", "MVm"),
            lanes=2,
            columns=1,
            contexts=8,
            memory_words=8,
            weight_rows=8,
            regions=("001", "001"),
            formats=("PAL8U", "PAL4A", "PAL6U", "PAL4U"),
            decoded_weights=False,
        ),
        Architecture(
            "two rows",
            ("mM", "Mm"),
            lanes=8,
            columns=2,
            contexts=8,
            memory_words=16,
            weight_rows=8,
            stream_words=4,
            regions=("00", "11"),
            formats=("PAL8T",),
        ),
        Architecture(
            "wide",
            ("Mm",),
            lanes=16,
            columns=8,
            contexts=8,
            memory_words=8,
            weight_rows=8,
            data_bits=128,
            formats=("PAL4A",),
            bits="default",
        ),
        CONFIGS["basic"],
    )
}


def run_plan(plan: Plan, work: Path, waves: bool = False) -> Figures:
    """Run a plan; raises ``SimulationError`` with the first difference."""
    build = build_rtl(
        from_parameters(plan.arch), waves=waves, effort=LONG if plan.count > FEW else SHORT
    )
    result = work / "figures.json"
    result.unlink(missing_ok=True)
    build.run(
        "verif.benches.random_bench",
        work,
        expected=1,
        environment={"SPU_RANDOM": json.dumps(asdict(plan)), "SPU_RESULT": str(result.resolve())},
    )
    return Figures(**json.loads(result.read_text()))


def table(rows: dict[str, Figures]) -> Table:
    """Figures of several arrays."""
    out = Table(title="random programs: RTL = golden model")
    for name in ("array", *asdict(Figures())):
        out.add_column(name.replace("_", " "), justify="right")
    for name, figures in rows.items():
        out.add_row(
            name,
            *(f"{v:.0f}" if isinstance(v, float) else f"{v:,}" for v in asdict(figures).values()),
        )
    return out


def main() -> None:
    """Run a plan given as JSON, or ``count`` programs on every array."""
    console = Console()
    if len(sys.argv) > 1 and sys.argv[1].startswith("{"):
        plan = Plan(**json.loads(sys.argv[1]))
        console.print(table({plan.arch["name"]: run_plan(plan, BUILD / "random", waves=True)}))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    rows = {}
    for name, arch in ARRAYS.items():
        console.print(f"... {count} programs on {name}")
        rows[name] = run_plan(Plan(asdict(arch), 0, count), BUILD / "random" / name)
    console.print(table(rows))


if __name__ == "__main__":
    main()
