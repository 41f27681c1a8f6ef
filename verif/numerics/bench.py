"""Speed of the numpy library beside numpy itself: ``make bench``.

Prints, and writes to ``build/bench.json``, seconds (the best of three) and ratios to a
numpy operation of the same size in the same run.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pal_units import encode, matmul
from pal_units.formats import FORMATS, PAL8T, PAL8U

#: Rows and columns of what is encoded: 16 M values.
ENCODED = (4096, 4096)
#: Side of the square matrices that are multiplied.
SIDE = 1024


def _seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Least wall time of some rounds, after one that compiles."""
    work()
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def measure(console: Console) -> list[dict]:
    """Rows of what was done, its seconds, and the peer's."""
    rng = np.random.default_rng(0)
    rows = []

    def add(what: str, peer: str, work: Callable[[], object], other: float) -> None:
        with console.status(what):
            seconds = _seconds(work)
        rows.append(
            {
                "what": what,
                "seconds": seconds,
                "peer": peer,
                "peer_seconds": other,
                "ratio": seconds / other,
            }
        )

    x = rng.standard_normal(ENCODED, np.float32)
    cast = _seconds(lambda: x.astype(np.float16))
    for fmt in FORMATS.values():
        add(
            f"encode {fmt.name}, {x.size / 1e6:.1f} M values",
            "float32 to float16",
            partial(encode, x, fmt),
            cast,
        )
    a, b = rng.standard_normal((2, SIDE, SIDE), np.float32)
    product = _seconds(lambda: a @ b)
    for fmt in (PAL8T, PAL8U):
        left, right = encode(a, fmt), encode(b, fmt, axis=0)
        add(
            f"exact matmul {fmt.name}, {SIDE}^3",
            "float32 matmul",
            partial(matmul, left, right),
            product,
        )
    return rows


def main() -> None:
    """Measure, print and write."""
    console = Console(stderr=True)
    rows = measure(console)
    table = Table(title=f"best of 3, {os.cpu_count()} cores")
    for heading in ("what", "seconds", "numpy", "its seconds", "ratio"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["what"],
            f"{row['seconds']:.3f}",
            row["peer"],
            f"{row['peer_seconds']:.4f}",
            f"{row['ratio']:.1f}",
        )
    Console(width=100).print(table)
    path = Path("build/bench.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps(
            {"command": "make bench", "python": sys.version.split()[0], "rows": rows}, indent=1
        )
    )


if __name__ == "__main__":
    main()
