"""Square matrix products on ``basic`` in RTL: ``make squares``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from spu.arch.params import CONFIGS, Architecture
from verif.rtl_engine import BUILD, build_rtl

SIZES = (128, 256, 384, 512)


def run_squares(arch: Architecture, sizes: Sequence[int], work: Path) -> list[dict]:
    """Rows of the table; raises ``SimulationError`` for a wrong result or cycle."""
    work.mkdir(parents=True, exist_ok=True)
    result = work / "squares.json"
    result.unlink(missing_ok=True)
    build_rtl(arch).run("verif.square_bench", work, expected=1, environment={
        "SPU_SQUARES": json.dumps({"arch": asdict(arch), "sizes": list(sizes)}),
        "SPU_RESULT": str(result.resolve())})
    return list(json.loads(result.read_text()))


def main() -> None:
    """The sizes of the arguments, or ``SIZES``."""
    console = Console()
    table = Table("size", "programs", "cycles", "of these idle", "ideal", "share of ideal",
                  title="square products on basic, PAL8T, in RTL")
    with console.status("running"):
        rows = run_squares(CONFIGS["basic"], [int(a) for a in sys.argv[1:]] or SIZES,
                           BUILD / "squares")
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("size", "programs", "cycles", "idle", "ideal")),
                      f"{100 * row['share']:.1f} %")
    console.print(table)


if __name__ == "__main__":
    main()
