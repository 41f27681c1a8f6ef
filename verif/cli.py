"""The ``spu`` command: exit code 0 ok, 1 failed check, 2 usage or bad input."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from compiler.assembly import assemble_text, assembly
from compiler.dataflow.mapped import MAPPING
from compiler.disassemble import disassemble
from compiler.driver import compile_file
from pal_units.formats import FORMATS
from rtl.simulator import SIMULATORS
from spu.arch import bitstream
from spu.arch.files import check_directory, check_file, replace_file
from spu.arch.package.compiled import Package
from spu.arch.package.manifest import ARRAYS, PROGRAM, PROGRAMS, REPORT
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.store import load, save
from spu.arch.params import CONFIGS, MATRIX_FORMATS
from verif.cli_check import Batch, Dims, check, naming, parse_dims
from verif.cli_common import (
    EXIT_FAILED,
    ArchName,
    BadInput,
    Commands,
    about,
    check_kept,
    console,
    report_saturated,
    version,
    working,
)
from verif.cli_mapping import explain, map_command
from verif.cli_steps import compile_steps, run_model
from verif.cli_studies import area, fpga, numerics
from verif.explain import load as load_mapping
from verif.program_files import read_any, read_program
from verif.tables import show

app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None,
                  pretty_exceptions_enable=False, invoke_without_command=True,
                  context_settings={"help_option_names": ["-h", "--help"]})
FormatName = StrEnum("FormatName", {f.name: f.name for f in MATRIX_FORMATS})  # type: ignore[misc]
SimName = StrEnum("SimName", {n: n for n in SIMULATORS})  # type: ignore[misc]
EngineName = StrEnum("EngineName", ["golden", "rtl"])

Arch = Annotated[ArchName, typer.Option("--arch", help="Architecture to use.")]


@app.callback()
def spu(context: typer.Context,
        _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True,
                                        help="Print the version.")] = False) -> None:
    """Compile, run and inspect programs for the SPU array.

    Exit codes: 0 ok, 1 a check failed, 2 usage or bad input, 70 an error of this program.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def _pipeline(directory: Path) -> Pipeline:
    """The one program of a compiled directory."""
    package = load(directory)
    if isinstance(package, Package):
        raise BadInput(f"{directory}: holds a program for each step; name a file in it")
    return package


@app.command("compile")
def compile_command(
    model: Annotated[Path, typer.Argument(help="ONNX file.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Directory for the program.")],
    arch: Arch = ArchName["basic"],
    fmt: Annotated[FormatName, typer.Option("--format", help="Number format.")] =
        FormatName[MATRIX_FORMATS[0].name],
    input_max: Annotated[float, typer.Option(help="Largest magnitude of any input.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the placement search.")] = 0,
    steps: Annotated[bool, typer.Option("--steps", help="A program for each step, rather than "
                                        "one for a whole chain of dense layers.")] = False,
    batch: Batch = None,
    dim: Dims = None,
    calibrate: Annotated[Path | None, typer.Option(
        help="Inputs (.npy, .npz) whose magnitudes set the tensor bias (--steps).")] = None,
    budget: Annotated[float | None, typer.Option(
        help="dB that the outputs keep on these inputs, with 4, 6 or 8 bits for each product "
             "(--steps).")]
        = None,
) -> None:
    """Map an ONNX model: one pipelined program, or with --steps a program for each step.

    Example: spu compile verif/digits/digits.onnx --arch basic -o build/digits
    """
    if steps:
        with naming(model):
            print(compile_steps(model, CONFIGS[arch], FORMATS[fmt], out, batch, calibrate, budget,
                                seed, parse_dims(dim)))
        return
    if calibrate or budget is not None or dim or batch is not None:
        raise typer.BadParameter("--calibrate, --budget, --dim and --batch take --steps")
    with working("compiling") as note, naming(model):
        check_directory(out, (PROGRAM, REPORT))
        check_kept((out / PROGRAM, out / REPORT), (model,))
        compiled = compile_file(model, CONFIGS[arch], FORMATS[fmt], input_max, seed, note)
        save(compiled.package, out)
    report = compiled.report
    print(f"{out / PROGRAM}: {report['bytes']} bytes, II {report['ii']} "
          f"(bounds {', '.join(f'{k} {v}' for k, v in report['ii_bounds'].items())}), "
          f"span {report['span']} cycles, {report['macs_per_cycle']:.1f} of "
          f"{report['peak_macs_per_cycle']} MACs per cycle")


@app.command()
def run(
    directory: Annotated[Path, typer.Argument(help="Directory that spu compile wrote.")],
    inputs: Annotated[Path, typer.Option("--input", help="Input vectors, (n, inputs), .npy; or all "
                                           "inputs by name, .npz.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Outputs, .npy or .npz.")],
    engine: Annotated[EngineName, typer.Option(help="What executes the program.")] =
        EngineName.golden,
    stats: Annotated[Path | None, typer.Option("--json", help="Counters as JSON.")] = None,
    sim: Annotated[SimName, typer.Option(help="Simulator of the RTL engine.")] =
        SimName["verilator"],
    strict: Annotated[bool, typer.Option("--strict", help="A failed check (exit code 1) if "
                                         "limits of range, not rounding, cost elements; outputs "
                                         "are written.")] = False,
) -> None:
    """Run a compiled program on input vectors.

    The RTL engine also compares every link in every cycle with the golden model; a
    difference is a failed check (exit code 1) and no output is written.

    Example: spu run build/digits --engine golden --input x.npy -o y.npy --json stats.json
    """
    check_file(out)
    if stats:
        check_file(stats)
        if stats.resolve() == out.resolve():
            raise BadInput(f"{out}: outputs and counters need a file each")
    check_kept((out, *([stats] if stats else [])), (
        inputs, *(directory / name for name in (PROGRAM, REPORT, ARRAYS)),
        *(directory / PROGRAMS).glob("*.spub")))
    if not (directory / REPORT).exists():
        found = "holds what spu map wrote" if (directory / MAPPING).exists() else f"no {REPORT}"
        raise BadInput(f"{directory}: {found}; spu run takes what spu compile wrote")
    text, saturated = run_model(load(directory), inputs, out, engine == EngineName.rtl, sim, stats)
    print(text)
    report_saturated(saturated, strict)


@app.command()
def disasm(
    program: Annotated[Path, typer.Argument(
        help="Directory that spu compile or spu map wrote, or a program file for --arch.")],
    arch: Arch = ArchName["basic"],
    as_assembly: Annotated[bool, typer.Option(
        "--assembly", help="Every row, as spu asm takes it.")] = False,
) -> None:
    """Print a program as text: streams, contexts, registers, constants, weights.

    Example: spu disasm build/digits
    """
    image = _image(program) if program.is_dir() else read_program(program, CONFIGS[arch])[1]
    for line in (assembly if as_assembly else disassemble)(image):
        print(line)


def _image(directory: Path) -> bitstream.Image:
    """What the program in a directory configures, whichever command wrote it."""
    if (directory / REPORT).exists():
        return _pipeline(directory).image
    if not (directory / PROGRAM).exists():
        raise BadInput(f"{directory}: has no {PROGRAM}; give a directory that spu compile or spu "
                       "map -o wrote, or a program file with --arch")
    if (directory / MAPPING).exists():
        return read_any(directory / PROGRAM, load_mapping(directory).grids)
    try:
        return read_any(directory / PROGRAM)
    except BadInput as error:
        raise BadInput(f"{error}; {directory} has no {REPORT} or {MAPPING} that names another"
                       ) from None


@app.command()
def asm(
    source: Annotated[Path, typer.Argument(help="Assembly, as spu disasm --assembly prints it.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Program file.")],
    arch: Arch = ArchName["basic"],
) -> None:
    """Assemble a program file.

    Example: spu asm program.txt --arch basic -o program.spub
    """
    check_file(out)
    check_kept((out,), (source,))
    try:
        text = source.read_text()
    except UnicodeDecodeError:
        raise BadInput(f"{source}: not text") from None
    with about(source):
        content = bitstream.encode(assemble_text(text, CONFIGS[arch]))
    replace_file(out, lambda sink: sink.write(content))
    print(f"{out}: {len(content)} bytes")


@app.command("rtl")
def rtl_command(
    out: Annotated[Path, typer.Option("-o", "--output", help="Verilog file to write.")],
    arch: Arch = ArchName["basic"],
) -> None:
    """Emit the Verilog of an array, top module spu.

    Example: spu rtl --arch basic -o spu.v
    """
    from rtl.emit import spu_verilog

    with working("emitting Verilog"):
        check_file(out)
        text = spu_verilog(CONFIGS[arch])
        replace_file(out, lambda sink: sink.write(text.encode()))
    print(f"{out}: {len(text.splitlines())} lines")


@app.command()
def sim(
    arch: Arch = ArchName["basic"],
    simulator: Annotated[SimName, typer.Option("--sim", help="Simulator.")] = SimName["verilator"],
    images: Annotated[int | None, typer.Option(min=1, max=360, help="Held-out images; all 360 "
                                               "by default, 4 with Icarus.")] = None,
    fmt: Annotated[FormatName, typer.Option("--format", help="Number format.")] =
        FormatName[MATRIX_FORMATS[0].name],
    seed: Annotated[int, typer.Option(min=0, help="Seed of placement and stalls.")] = 0,
    waves: Annotated[bool, typer.Option("--waves", help="Leave run/waves.fst.")] = False,
    stall_share: Annotated[float, typer.Option(
        min=0, max=0.99, help="Share of pauses at both ends of each stream.")] = 0.0,
    program: Annotated[Path | None, typer.Option(
        help="Load this .spub instead of the one just compiled.")] = None,
    verilog: Annotated[Path | None, typer.Option(
        "--rtl", help="Simulate this Verilog instead of the one just emitted.")] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Directory for results.")] =
        Path("build/sim"),
) -> None:
    """Classify held-out digits on the array in RTL and compare with the golden model.

    Writes summary.json; exit code 1 if anything differs.

    Example: spu sim --arch basic --images 20
    """
    from verif.simulate import WRITTEN, Job, simulate, table

    job = Job(CONFIGS[arch], sim=str(simulator), images=images, fmt=str(fmt), seed=seed,
              waves=waves, stall_share=stall_share, program=program, verilog=verilog, out=out)
    check_kept((out / name for name in WRITTEN), (program, verilog))
    outcome = simulate(job, console)
    show(table(outcome, job))
    for failure in outcome.failures:
        console.print(f"FAILED {failure}", style="red", highlight=False, markup=False)
    if outcome.failures:
        raise typer.Exit(EXIT_FAILED)
    console.print("PASSED: RTL, golden model and compiler agree on every word and cycle",
                  style="green")


for study in (numerics, area, fpga):
    app.command()(study)
app.command("map")(map_command)
app.command()(explain)
app.command()(check)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
