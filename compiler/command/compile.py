"""``spu compile``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from compiler.command.model import Batch, Dims, naming, parse_dims
from pal_units.formats import FORMATS, PAL8T, PAL8U, Format
from spu.arch.files import check_directory
from spu.arch.params import MATRIX_FORMATS, Architecture
from spu.command.common import BadInput, check_alone, check_kept, check_own, remark, working
from spu.command.extras import require
from spu.command.options import Arch, FormatName, array


def compile_command(
    model: Annotated[Path, typer.Argument(help="ONNX file.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Directory for the program.")],
    arch: Arch = "basic",
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
    require("onnx")
    from compiler.driver import compile_file
    from spu.arch.package.manifest import MAPPING, PROGRAM, REPORT
    from spu.arch.package.store import save

    tiles = array(arch)
    if steps:
        with naming(model):
            print(_compile_steps(model, tiles, FORMATS[fmt], out, batch, calibrate, budget, seed,
                                 parse_dims(dim)))
        return
    if calibrate or budget is not None or dim or batch is not None:
        raise typer.BadParameter("--calibrate, --budget, --dim and --batch take --steps")
    with working("compiling") as note, naming(model):
        check_directory(out, (PROGRAM, REPORT))
        check_kept((out / PROGRAM, out / REPORT), (model,))
        check_alone(out, MAPPING, "spu map")
        check_own(out)
        compiled = compile_file(model, tiles, FORMATS[fmt], input_max, seed, note)
        save(compiled.package, out)
    report = compiled.report
    print(f"{out / PROGRAM}: {len(compiled.content)} bytes, II {report['ii']} "
          f"(bounds {', '.join(f'{k} {v}' for k, v in report['ii_bounds'].items())}), "
          f"span {report['span']} cycles, {report['macs_per_cycle']:.1f} of "
          f"{report['peak_macs_per_cycle']} MACs per cycle")


def _compile_steps(path: Path, arch: Architecture, fmt: Format, out: Path, batch: int | None,
                   calibrate: Path | None, budget: float | None, seed: int,
                   dims: Mapping[str, int]) -> str:
    """Compile and save; returns what happened in a line."""
    from compiler.tensors.compile import compile_program
    from compiler.tensors.formats import choose_formats, formats_text, quality
    from compiler.tensors.lower import lower
    from compiler.tensors.onnx_graph import read
    from spu.arch.package.manifest import ARRAYS, MAPPING, PROGRAMS, REPORT
    from spu.arch.package.store import save
    from spu.command.arrays import read_inputs

    check_directory(out, (REPORT, ARRAYS))
    check_directory(out / PROGRAMS)
    check_kept((out / REPORT, out / ARRAYS, *(out / PROGRAMS).glob("*.spub")), (path, calibrate))
    check_alone(out, MAPPING, "spu map")
    check_own(out)
    if budget is not None and (calibrate is None or fmt not in (PAL8T, PAL8U)):
        raise BadInput("a budget takes inputs to measure with (--calibrate), and a --format of 8 "
                       "bits to begin with")
    program = lower(read(path), path.stem, batch, dims)
    known: dict[Any, Any] = {}
    given = None if calibrate is None else read_inputs(calibrate, program)
    with working("compiling") as note:
        compiled = compile_program(program, arch, fmt, seed=seed, known=known, progress=note,
                                   calibrate=given)
        if budget is not None and given is not None:
            formats = choose_formats(compiled, given, budget, lambda done, total: note(
                f"format of product {done + 1} of {total}"))
            compiled = compile_program(program, arch, fmt, seed=seed, known=known, formats=formats,
                                       progress=note, calibrate=given)
    report = save(compiled, out)
    for line in compiled.ranges.notes:
        remark(line)
    kinds = [step["kind"] for step in report["steps"]]
    return (f"{out}: {kinds.count('map')} elementwise steps by {len(report['kernels'])} kernels, "
            f"{kinds.count('product')} products, {report['bytes']} bytes, {report['cycles']} "
            f"cycles; inputs of magnitudes up to {_tops(compiled)}"
            + ("" if budget is None or given is None else
               f"; {formats_text(compiled.formats.values())}, "
               f"{quality(compiled, given):.1f} dB on the calibration inputs"))


def _tops(compiled: Any) -> str:
    """Magnitudes that inputs may have: one number, or one for each input."""
    tops = {name: f"{2.0 ** (compiled.bias(i) / 8):g}"
            for name, i in compiled.program.inputs.items()}
    if len(set(tops.values())) == 1:
        return next(iter(tops.values()))
    return ", ".join(f"{top} ({name})" for name, top in tops.items())
