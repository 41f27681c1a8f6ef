"""Square matrix products on ``basic`` in RTL: ``make squares``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from rtl.simulator import LONG
from spu.arch.params import CONFIGS, Architecture
from spu.command.tables import markdown, show, table
from spu.engine.rtl_run import BUILD, build_rtl
from verif.pages.stamps import SQUARES

SIZES = (128, 256, 384, 512)
HEAD = ("size", "programs", "cycles", "of these idle", "ideal", "share of ideal")


def run_squares(arch: Architecture, sizes: Sequence[int], work: Path) -> list[dict]:
    """Rows of the table; raises ``SimulationError`` for a wrong result or cycle."""
    work.mkdir(parents=True, exist_ok=True)
    result = work / "squares.json"
    result.unlink(missing_ok=True)
    build_rtl(arch, effort=LONG).run(
        "verif.benches.square_bench",
        work,
        expected=1,
        environment={
            "SPU_SQUARES": json.dumps({"arch": asdict(arch), "sizes": list(sizes)}),
            "SPU_RESULT": str(result.resolve()),
        },
    )
    return list(json.loads(result.read_text()))


def main() -> None:
    """The sizes of the arguments on the screen; ``SIZES``, on the page as well."""
    sizes, sources = [int(a) for a in sys.argv[1:]], SQUARES.sources()
    with Console(stderr=True).status("running"):
        found = run_squares(CONFIGS["basic"], sizes or SIZES, BUILD / "squares")
    rows = [
        [
            *(f"{row[name]:,}" for name in ("size", "programs", "cycles", "idle", "ideal")),
            f"{100 * row['share']:.1f} %",
        ]
        for row in found
    ]
    show(table("square products on basic, PAL8T, in RTL", HEAD, rows))
    if not sizes:
        SQUARES.write(markdown(HEAD, rows), sources)
        show(f"wrote {SQUARES.path}")


if __name__ == "__main__":
    main()
