"""Studies of the ``spu`` command: accuracy, area, FPGA."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from compiler.files import replace_file
from verif.cli_common import EXIT_FAILED, BadInput, console, one_line_errors
from verif.stamps import ACCURACY, AREA


def numerics(
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] =
        Path("build/numerics.json"),
    plots: Annotated[Path, typer.Option(help="Directory for plots.")] = Path("build/numerics"),
    network: Annotated[bool, typer.Option(help="Also run the sentence encoder.")] = True,
) -> None:
    """Compare the accuracy of PAL formats and their peers; writes JSON, PNG and SVG.

    Example: spu numerics --json build/numerics.json
    """
    from verif.numerics import MissingPackage
    from verif.numerics.plots import draw
    from verif.numerics.report import tables
    from verif.numerics.study import study

    with one_line_errors(), Progress(console=console, transient=True) as bar:
        task, sources = bar.add_task("numerics", total=1.0), ACCURACY.sources()
        try:
            results = study(network=network, progress=lambda what, share: bar.update(
                task, description=what, completed=share)) | {"sources": sources}
            json_path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(json_path, lambda sink: sink.write(
                json.dumps(results, indent=1).encode() + b"\n"))
            draw(results, plots)
        except MissingPackage as error:
            raise BadInput(str(error)) from None
    for title, rows in tables(results):
        table = Table(*rows[0], title=title)
        for row in rows[1:]:
            table.add_row(*row)
        Console(width=110).print(table)
    print(f"{json_path}, {plots}: written by `{results['command']}`")


def area(
    library: Annotated[Path | None, typer.Option("--liberty", help="Cell library; NAND2 "
                                                 "equivalents without a process if not given.")] =
        None,
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = Path("build/area.json"),
    plots: Annotated[Path, typer.Option(help="Directory for plots.")] = Path("build/area"),
    tried: Annotated[bool, typer.Option("--variants", help="Also what was tried on the way.")] =
        False,
    check: Annotated[Path | None, typer.Option(
        help="Results to compare with: more than 2 % of difference fails.")] = None,
) -> None:
    """Compare area, delay, energy and accuracy of dot units of PAL and its peers.

    Exit code 1 if an area moved against the results of --check.

    Example: spu area --liberty sky130hd_tt.lib --json build/area.json
    """
    from rtl import liberty
    from verif.area import report
    from verif.area.plots import draw
    from verif.area.study import study
    from verif.numerics import MissingPackage

    with one_line_errors(), Progress(console=console, transient=True) as bar:
        task = bar.add_task("area", total=1.0)
        try:
            baseline = json.loads(check.read_text()) if check else None
            if baseline is not None and not (isinstance(baseline, dict)
                                             and {"rows", "parts"} <= baseline.keys()):
                raise BadInput(f"{check}: not results of spu area")
            for remark in liberty.read(library).remarks() if library else ():
                console.print(f"{library}: {remark}", highlight=False, markup=False)
            sources = AREA.sources()
            results = study(library, tried, lambda what, share: bar.update(
                task, description=what, completed=share)) | {"sources": sources}
            json_path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(json_path, lambda sink: sink.write(
                json.dumps(results, indent=1).encode() + b"\n"))
            draw(results, plots)
        except (liberty.LibraryError, MissingPackage) as error:
            raise BadInput(str(error)) from None
        except json.JSONDecodeError:
            raise BadInput(f"{check}: not results of spu area") from None
    for title, rows in report.tables(results):
        table = Table(*rows[0], title=title)
        for row in rows[1:]:
            table.add_row(*row)
        Console(width=150).print(table)
    print(f"{json_path}, {plots}: written by `{results['command']}` with library "
          f"{results['library']}")
    if baseline and (moved := report.moved(results, baseline)):
        for line in moved:
            console.print(f"MOVED {line}", style="red", highlight=False, markup=False)
        raise typer.Exit(EXIT_FAILED)


def fpga(
    names: Annotated[list[str], typer.Argument(help="Units as `spu area` names them.")],
) -> None:
    """Place dot units on an ECP5: look-up tables, flip-flops, clock between registers.

    Example: spu fpga "PAL8U lean" INT8
    """
    from rtl.fpga import DoesNotFit, MissingFpgaTools, implement
    from verif.area.study import by_name

    units = by_name()
    with one_line_errors(), console.status("placing") as status:
        table = Table("unit", "LUT4", "flip-flops", "Fmax, MHz", title="ECP5, no hard multipliers")
        for name in names:
            if name not in units:
                raise BadInput(f"no unit {name!r}; there are {', '.join(units)}")
            status.update(f"placing {name}")
            try:
                found = implement(units[name].make())
            except (MissingFpgaTools, DoesNotFit) as error:
                raise BadInput(f"{name}: {error}") from None
            table.add_row(name, str(found.luts), str(found.flip_flops), f"{found.fmax_mhz:.1f}")
    Console(width=100).print(table)
