"""The ``spu`` command: exit code 0 ok, 1 failed check, 2 usage or bad input."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from compiler.disassemble import disassemble
from compiler.driver import PROGRAM, REPORT, compile_file, save
from compiler.errors import CompileError
from pal_units.formats import FORMATS
from rtl.simulator import SIMULATORS, SimulationError
from spu.arch import bitstream
from spu.arch.params import CONFIGS, MATRIX_FORMATS, Architecture, architecture
from verif import host
from verif.golden.array import GoldenArray, Result

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                  pretty_exceptions_enable=False,
                  help="Compile, run and inspect programs for the SPU array.")
console = Console(stderr=True, soft_wrap=True)

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2

ArchName = StrEnum("ArchName", {n: n for n in CONFIGS})  # type: ignore[misc]
FormatName = StrEnum("FormatName", {f.name: f.name for f in MATRIX_FORMATS})  # type: ignore[misc]
SimName = StrEnum("SimName", {n: n for n in SIMULATORS})  # type: ignore[misc]
EngineName = StrEnum("EngineName", ["golden", "rtl"])

Arch = Annotated[ArchName, typer.Option("--arch", help="Architecture to use.")]


class _BadInput(ValueError):
    """A file that is not what it must be."""


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn the errors that users cause into one line and an exit code."""
    try:
        yield
    except (CompileError, bitstream.BitstreamError, host.InputError, _BadInput) as error:
        _fail(str(error), EXIT_BAD_INPUT)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}", EXIT_BAD_INPUT)
    except SimulationError as error:
        _fail(str(error), EXIT_FAILED)


def _fail(message: str, code: int) -> None:
    console.print(f"spu: error: {' '.join(message.split())}", style="red", highlight=False,
                  markup=False)
    raise typer.Exit(code)


def _load(directory: Path) -> tuple[bytes, dict, Architecture]:
    """Program, report and architecture of a compiled directory."""
    content = (directory / PROGRAM).read_bytes()
    try:
        report = json.loads((directory / REPORT).read_text())
        arch = architecture(report["arch"])
    except (ValueError, KeyError, TypeError) as error:
        raise _BadInput(f"{directory / REPORT}: not a report of spu compile: {error}") from None
    return content, report, arch


@app.command("compile")
def compile_command(
    model: Annotated[Path, typer.Argument(help="ONNX file.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Directory for the program.")],
    arch: Arch = ArchName["basic"],
    fmt: Annotated[FormatName, typer.Option("--format", help="Number format.")] =
        FormatName[MATRIX_FORMATS[0].name],
    input_max: Annotated[float, typer.Option(help="Largest magnitude of any input.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the placement search.")] = 0,
) -> None:
    """Map an ONNX model: writes program.spub and report.json.

    Example: spu compile verif/digits/digits.onnx --arch basic -o build/digits
    """
    with _one_line_errors(), console.status("compiling") as status:
        compiled = compile_file(model, CONFIGS[arch], FORMATS[fmt], input_max, seed,
                                lambda note: status.update(f"compiling: {note}"))
        save(compiled, out)
    report = compiled.report
    print(f"{out / PROGRAM}: {report['bytes']} bytes, II {report['ii']} "
          f"(bounds {', '.join(f'{k} {v}' for k, v in report['ii_bounds'].items())}), "
          f"span {report['span']} cycles, {report['macs_per_cycle']:.1f} of "
          f"{report['peak_macs_per_cycle']} MACs per cycle")


@app.command()
def run(
    directory: Annotated[Path, typer.Argument(help="Directory that spu compile wrote.")],
    inputs: Annotated[Path, typer.Option("--input", help="Input vectors, (n, inputs), .npy.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Output vectors, .npy.")],
    engine: Annotated[EngineName, typer.Option(help="What executes the program.")] =
        EngineName.golden,
    stats: Annotated[Path | None, typer.Option("--json", help="Counters as JSON.")] = None,
    sim: Annotated[SimName, typer.Option(help="Simulator of the RTL engine.")] =
        SimName["verilator"],
) -> None:
    """Run a compiled program on input vectors.

    The RTL engine also compares every link in every cycle with the golden model; a
    difference is a failed check (exit code 1) and no output is written.

    Example: spu run build/digits --engine golden --input x.npy -o y.npy --json stats.json
    """
    with _one_line_errors():
        content, report, arch = _load(directory)
        try:
            x = np.load(inputs, allow_pickle=False)
        except (ValueError, EOFError):
            raise _BadInput(f"{inputs}: not an .npy file of numbers") from None
        image = bitstream.decode(content, arch).image
        words = host.encode_inputs(x, report, arch)
        golden = GoldenArray(image).run(words, len(x))
        outputs, counters = golden.outputs, {"CYCLES_0": golden.cycles, "ACTIVE_0": golden.cycles}
        if engine == EngineName.rtl:
            outputs, counters = _run_rtl(arch, content, golden, words, len(x), sim)
        result = host.decode_outputs(outputs, report, arch)
        _replace(out, lambda sink: np.save(sink, result))
        if stats:
            text = json.dumps({"engine": str(engine), "vectors": len(x), **counters}, indent=1)
            _replace(stats, lambda sink: sink.write(text.encode() + b"\n"))
    print(f"{out}: {len(result)} vectors in {counters['CYCLES_0']} cycles")


def _run_rtl(arch: Architecture, content: bytes, golden: Result, words: dict, count: int,
             sim: str) -> tuple[dict, dict]:
    from verif.rtl_engine import BUILD, build_rtl, run_rtl

    with console.status("building the simulator"):
        build = build_rtl(arch, sim)
    with console.status("running the RTL"):
        result = run_rtl(build, arch, content, golden, words, count, BUILD / "run")
    if result.difference or not result.done or result.outputs != golden.outputs:
        raise SimulationError(f"RTL and golden model differ: {result.difference or 'outputs'}")
    return result.outputs, result.counters


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file completely or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with open(temporary, "wb") as sink:
            write(sink)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@app.command()
def disasm(
    directory: Annotated[Path, typer.Argument(help="Directory that spu compile wrote.")],
) -> None:
    """Print a program as text: streams, contexts, registers, constants, weights.

    Example: spu disasm build/digits
    """
    with _one_line_errors():
        content, _, arch = _load(directory)
        for line in disassemble(bitstream.decode(content, arch).image):
            print(line)


@app.command("rtl")
def rtl_command(
    out: Annotated[Path, typer.Option("-o", "--output", help="Verilog file to write.")],
    arch: Arch = ArchName["basic"],
) -> None:
    """Emit the Verilog of an array, top module spu.

    Example: spu rtl --arch basic -o spu.v
    """
    from rtl.emit import spu_verilog

    with _one_line_errors(), console.status("emitting Verilog"):
        text = spu_verilog(CONFIGS[arch])
        _replace(out, lambda sink: sink.write(text.encode()))
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
    from verif.simulate import Job, simulate, table

    job = Job(CONFIGS[arch], sim=str(simulator), images=images, fmt=str(fmt), seed=seed,
              waves=waves, stall_share=stall_share, program=program, verilog=verilog, out=out)
    with _one_line_errors():
        outcome = simulate(job, console)
    Console(soft_wrap=True).print(table(outcome, job))
    for failure in outcome.failures:
        console.print(f"FAILED {failure}", style="red", highlight=False, markup=False)
    if outcome.failures:
        raise typer.Exit(EXIT_FAILED)
    console.print("PASSED: RTL, golden model and compiler agree on every word and cycle",
                  style="green")


@app.command()
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

    with _one_line_errors(), Progress(console=console, transient=True) as bar:
        task = bar.add_task("numerics", total=1.0)
        try:
            results = study(network=network, progress=lambda what, share: bar.update(
                task, description=what, completed=share))
            json_path.parent.mkdir(parents=True, exist_ok=True)
            _replace(json_path, lambda sink: sink.write(
                json.dumps(results, indent=1).encode() + b"\n"))
            draw(results, plots)
        except MissingPackage as error:
            raise _BadInput(str(error)) from None
    for title, rows in tables(results):
        table = Table(*rows[0], title=title)
        for row in rows[1:]:
            table.add_row(*row)
        Console(width=110).print(table)
    print(f"{json_path}, {plots}: written by `{results['command']}`")


@app.command()
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
    from rtl.liberty import LibraryError
    from verif.area import report
    from verif.area.plots import draw
    from verif.area.study import study
    from verif.numerics import MissingPackage

    with _one_line_errors(), Progress(console=console, transient=True) as bar:
        task = bar.add_task("area", total=1.0)
        try:
            baseline = json.loads(check.read_text()) if check else None
            results = study(library, tried, lambda what, share: bar.update(
                task, description=what, completed=share))
            json_path.parent.mkdir(parents=True, exist_ok=True)
            _replace(json_path, lambda sink: sink.write(
                json.dumps(results, indent=1).encode() + b"\n"))
            draw(results, plots)
        except (LibraryError, MissingPackage) as error:
            raise _BadInput(str(error)) from None
        except json.JSONDecodeError:
            raise _BadInput(f"{check}: not results of spu area") from None
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


@app.command()
def fpga(
    names: Annotated[list[str], typer.Argument(help="Units as `spu area` names them.")],
) -> None:
    """Place dot units on an ECP5: look-up tables, flip-flops, clock between registers.

    Example: spu fpga "PAL8U lean" INT8
    """
    from rtl.fpga import DoesNotFit, MissingFpgaTools, implement
    from verif.area.study import by_name

    units = by_name()
    with _one_line_errors(), console.status("placing") as status:
        table = Table("unit", "LUT4", "flip-flops", "Fmax, MHz", title="ECP5, no hard multipliers")
        for name in names:
            if name not in units:
                raise _BadInput(f"no unit {name!r}; there are {', '.join(units)}")
            status.update(f"placing {name}")
            try:
                found = implement(units[name].make())
            except (MissingFpgaTools, DoesNotFit) as error:
                raise _BadInput(f"{name}: {error}") from None
            table.add_row(name, str(found.luts), str(found.flip_flops), f"{found.fmax_mhz:.1f}")
    Console(width=100).print(table)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
