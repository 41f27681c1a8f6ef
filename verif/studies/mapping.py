"""Map many dataflow graphs: ``make mapping``, or ``GRAPHS=DIR`` for the JSON files of a directory.

Every mapping is executed on tokens before it counts.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compiler.errors import CompileError
from compiler.ir.dataflow import Dataflow, from_json, load
from compiler.map.loop.mapper import grid_architecture, map_dataflow, prepare
from verif.pages.stamps import MAPPING
from verif.stimulus import dataflows
from verif.stimulus.loops import LOOPS

#: Rows and columns, columns with memory, unit latency.
SETTINGS = (
    (4, "all", True),
    (4, "both", True),
    (4, "all", False),
    (6, "all", True),
    (8, "all", True),
)
#: Setting of the large graphs.
LARGE = (8, "all", True)
#: Settings of the two hundred loops.
MANY = ((4, "all", True), (4, "both", True), (4, "all", False))
HEAD = ("graph", "operations", "MII", "proven", "II", "latency", "seconds")


def rows(
    graphs: Sequence[Dataflow], size: int, memory: str, unit_latency: bool, console: Console
) -> list[list]:
    """A row of ``HEAD`` for each graph."""
    arch, out = grid_architecture(size, size, memory), []
    for graph in graphs:
        with console.status(f"{graph.name} on {arch.name}"):
            start = time.process_time()
            try:
                report = map_dataflow(graph, arch, unit_latency).report()
            except CompileError as error:
                console.print(str(error), markup=False, highlight=False)
                out.append(
                    [
                        graph.name,
                        len(graph.operations),
                        "-",
                        "-",
                        "-",
                        "-",
                        round(time.process_time() - start, 1),
                    ]
                )
                continue
        out.append(
            [
                graph.name,
                report["operations"],
                report["mii"],
                report["bound"],
                report["ii"],
                report["latency"],
                round(time.process_time() - start, 1),
            ]
        )
    return out


def summary(table: Sequence[Sequence]) -> str:
    """How many reach the usual bound and the proven one, and how long that takes."""
    mapped = [row for row in table if row[4] != "-"]
    usual, proven = (sum(row[k] == row[4] for row in mapped) for k in (2, 3))
    seconds = [row[-1] for row in table] or [0]
    return (
        f"{len(mapped)} of {len(table)} mapped and executed, {usual} at the MII, {proven} "
        f"proven best; median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s"
    )


def main() -> None:
    """Tables on the screen, of own graphs on a page."""
    console, sources = Console(), MAPPING.sources()
    paths = [p for directory in sys.argv[1:] for p in sorted(Path(directory).glob("*.json"))]
    graphs = [load(p) for p in paths] or [from_json(graph) for graph in dataflows.SMALL]
    with console.status("compiling the search, once on a machine"):
        prepare()
    parts = [_section("", graphs, *setting, console) for setting in SETTINGS]
    if not paths:
        graphs = [from_json(graph) for graph in dataflows.LARGE]
        parts.append(_section("Large graphs: ", graphs, *LARGE, console))
        loops = [from_json(graph) for graph in LOOPS]
        parts += [_section("Two hundred loops: ", loops, *setting, console) for setting in MANY]
        MAPPING.write(
            "# Mapping of dataflow graphs\n\nWritten by `make mapping` from the graphs of "
            "`verif/stimulus/dataflows.py` and `verif/stimulus/loops.py`. MII is the usual bound "
            "of the graph as given, proven the least II that the array allows; seconds are of a "
            "processor.\n\n" + "\n\n".join(parts) + "\n",
            sources,
        )
        console.print(f"wrote {MAPPING.path}")


def _section(
    head: str,
    graphs: Sequence[Dataflow],
    size: int,
    memory: str,
    unit_latency: bool,
    console: Console,
) -> str:
    """Map graphs, show a table, return it as Markdown."""
    found = rows(graphs, size, memory, unit_latency, console)
    title = (
        f"{head}{size}x{size}, memory in {memory} columns, "
        f"{'unit' if unit_latency else 'real'} latency"
    )
    table = Table(*HEAD, title=title)
    for row in found:
        table.add_row(*map(str, row))
    console.print(table)
    console.print(summary(found))
    lines = [HEAD, ("---",) * len(HEAD), *found]
    return f"## {title}\n\n{summary(found)}.\n\n" + "\n".join(
        "| " + " | ".join(map(str, line)) + " |" for line in lines
    )


if __name__ == "__main__":
    main()
