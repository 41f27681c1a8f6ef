"""``spu map``: dataflow graphs on grids, kernels on arrays."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from compiler.errors import CompileError
from compiler.map.loop.budget import MOST_SECONDS, SECONDS, Budget
from spu.arch.files import check_directory, replace_files
from spu.arch.operations import CONSTANT, OPERATIONS
from spu.arch.package.manifest import MAPPING, PROGRAM, REPORT
from spu.command.common import BadInput, check_alone, check_kept, remark, working
from spu.command.extras import require
from spu.command.options import array

#: As ``mapper.MEMORY_COLUMNS``, whose module takes packages that help does without.
MemoryColumns = StrEnum("MemoryColumns", ["west", "both", "all"])


def map_command(
    context: typer.Context,
    graph: Annotated[Path, typer.Argument(help="Dataflow graph, JSON.")],
    grid: Annotated[str, typer.Option(help="Rows x columns of tiles.")] = "4x4",
    memory_columns: Annotated[
        MemoryColumns, typer.Option(help="Columns whose tiles have a data memory.")
    ] = MemoryColumns["all"],
    unit_latency: Annotated[
        bool,
        typer.Option(
            "--unit-latency", help="Count the first hop of a word as part of the operation."
        ),
    ] = False,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Map a kernel of this array's own operations, in place of --grid.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the searches.")] = 0,
    seconds: Annotated[
        float,
        typer.Option(
            min=0, max=MOST_SECONDS, help="When the search is stopped, with the best that it found."
        ),
    ] = SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Directory for program.spub and mapping.json."),
    ] = None,
) -> None:
    """Map a loop body, given as a dataflow graph, and execute the program on tokens.

    Example: spu map build/dataflows/fir4.json --grid 4x4
    """
    if arch is not None:
        given = [
            f"--{name.replace('_', '-')}"
            for name in ("grid", "memory_columns", "unit_latency")
            if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        ]
        if given:
            raise BadInput(f"{', '.join(given)}: of a grid, --arch names an array")
    require("map")
    from compiler.ir.dataflow import load as load_dataflow
    from compiler.map.loop import kernels
    from compiler.map.loop.advice import smallest_change
    from compiler.map.loop.mapper import (
        NotMapped,
        grid_architecture,
        map_dataflow,
        map_kernel,
        parse_grid,
        prepare,
    )

    with working("mapping") as progress:
        if out:
            check_directory(out, (PROGRAM, MAPPING))
            check_kept((out / PROGRAM, out / MAPPING), (graph,))
            check_alone(out, REPORT, "spu compile")
            if not (out / MAPPING).exists():
                check_alone(out, PROGRAM, "spu asm")
        wanted, memory = load_dataflow(graph), str(memory_columns)
        if wanted.unread:
            told = ", ".join(f"{name} ({count})" for name, count in wanted.unread.items())
            remark(f"{graph}: members that mean nothing to spu map: {told}")
        try:
            size = parse_grid(grid)
            if 0 in size:
                raise CompileError("a grid has at least 1 row and 1 column")
            tiles = array(arch) if arch else grid_architecture(*size, memory)
        except CompileError as error:
            raise CompileError(f"--grid {grid}: {error}") from None
        other = next(
            (node for node in wanted.nodes.values() if node.op not in (CONSTANT, *OPERATIONS)), None
        )
        if arch and other:
            raise CompileError(
                f"{graph}: {other}: unknown operation; --arch takes the array's own "
                f"({', '.join(OPERATIONS)}), --grid a graph of any others"
            )
        prepare(lambda: progress("compiling the search, once for each installation"))
        budget = Budget(seconds)
        try:
            if arch is not None:
                mapped = map_kernel(wanted, tiles, seed, progress, seconds)
                kernels.check(mapped, mapped.executed)
            else:
                mapped = map_dataflow(wanted, tiles, unit_latency, seed, progress, seconds)
        except NotMapped as error:
            if arch is not None:
                raise
            if budget.left <= 0:
                raise CompileError(f"{error}; --seconds gives it more time") from None
            raise CompileError(
                f"{error}; "
                + smallest_change(wanted, *size, memory, unit_latency, seed, progress, budget.left)
            ) from None
        except CompileError as error:
            raise CompileError(f"{graph}: {error}") from None
        if out:
            details = json.dumps(mapped.details(), indent=1) + "\n"
            replace_files(
                {
                    out / PROGRAM: lambda sink: sink.write(mapped.content),
                    out / MAPPING: lambda sink: sink.write(details.encode()),
                }
            )
    report = mapped.report()
    if as_json:
        print(json.dumps(report, indent=1))
        return
    print(
        f"{report['name']}: {report['operations']} operations on {report['grid']}, "
        f"II {report['ii']} (MII {report['mii']}: resources {report['res_mii']}, cycles "
        f"{report['rec_mii']}), {'optimal' if report['optimal'] else 'not proven optimal'}, "
        f"latency {report['latency']}, {100 * report['utilisation']:.0f} % of the slots used, "
        f"{report['seconds']:.2f} s ({report['search']} search)"
    )
    print(f"bound by {report['binding']}")
    if report["added"]:
        print(
            f"added to the {report['given_operations']} operations of the graph, whose bounds "
            f"these are: {', '.join(report['added'])}"
        )
    for failure in () if report["optimal"] else report["failures"]:
        print(f"not below: {failure}")
    print(
        f"executed {report['iterations']} iterations: all "
        f"{'tokens' if arch is None else 'words'} as the graph has them"
    )
