"""Systolic cycles beside SCALE-Sim: ``make scalesim``.

SCALE-Sim (PyPI ``scalesim``) needs another numpy than this project, so that it runs in an
environment of its own, as a program: ``python -m verif.studies.scalesim PYTHON``, with that
environment's interpreter.
"""

import csv
import subprocess
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from perf.systolic import cycles
from spu.command.common import fail
from spu.command.tables import show, table
from verif.stimulus.systolic_cases import Case, cases

#: Products that are run, and seed.
COUNT, SEED = 20, 0
_CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def _key(case: Case) -> tuple[str, int, int]:
    return case.dataflow, case.rows, case.columns


def scalesim_cycles(python: Path, given: list[Case]) -> dict[Case, int]:
    """Cycles that SCALE-Sim reports of each, computing alone: its memories hold everything.

    Raises ``subprocess.CalledProcessError`` where it fails.
    """
    found = {}
    for _, group in groupby(sorted(set(given), key=_key), _key):
        members = list(group)
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            (work / "run.cfg").write_text(
                _CONFIG.format(
                    rows=members[0].rows,
                    columns=members[0].columns,
                    dataflow=members[0].dataflow.value,
                )
            )
            lines = [f"product{i}, {c.m}, {c.n}, {c.k}," for i, c in enumerate(members)]
            (work / "products.csv").write_text("\n".join(["Layer, M, N, K,", *lines, ""]))
            (work / "layout.csv").write_text("none\n")
            command = "scalesim.scale -c run.cfg -t products.csv -l layout.csv -i gemm -p out -s N"
            subprocess.run(
                [str(python), "-m", *command.split()], cwd=work, check=True, capture_output=True
            )
            report = (work / "out" / "run" / "COMPUTE_REPORT.csv").read_text().splitlines()
        rows = list(csv.DictReader(report, skipinitialspace=True))
        for case, row in zip(members, rows, strict=True):
            found[case] = int(row["Total Cycles"])
    return found


def main(
    python: Annotated[Path, typer.Argument(help="Interpreter that has scalesim.")],
    count: Annotated[int, typer.Option(min=1, help="Products.")] = COUNT,
) -> None:
    """Compare ``perf.systolic`` with SCALE-Sim on random products; a difference is a failure."""
    given = cases(count, SEED)
    measured = scalesim_cycles(python.absolute(), given)
    rows, wrong = [], 0
    for case in given:
        predicted = cycles(case.dataflow, case.m, case.n, case.k, case.rows, case.columns)
        wrong += predicted != measured[case]
        sizes = f"{case.m} x {case.k} x {case.n}", f"{case.rows} x {case.columns}"
        rows.append((case.dataflow.value, *sizes, f"{predicted}", f"{measured[case]}"))
    head = ("stationary", "m x k x n", "array", "cycles", "SCALE-Sim")
    show(table("systolic arrays", head, rows))
    if wrong:
        fail(f"{wrong} of {count} products differ from SCALE-Sim", 1)


if __name__ == "__main__":
    typer.run(main)
