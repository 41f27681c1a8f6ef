"""``spu compile``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from compiler.command.buckets import compile_several
from compiler.command.model import (
    Fixed,
    Pads,
    SeveralBatches,
    SeveralDims,
    naming,
    parse_batches,
    parse_numbers,
    parse_several,
)
from compiler.strategies import STRATEGIES
from spu.arch.files import check_directory
from spu.command.common import BadInput, check_alone, check_kept, check_own, remark, working
from spu.command.extras import require
from spu.command.options import Arch, DataFormat, WeightFormat, array, data_format, weight_format

StrategyName = StrEnum("StrategyName", {name: name for name in STRATEGIES})  # type: ignore[misc]


def compile_command(
    model: Annotated[Path, typer.Argument(help="ONNX file.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="Directory for the program.")],
    arch: Arch = "basic",
    fmt: DataFormat = None,
    weights: WeightFormat = None,
    strategy: Annotated[
        StrategyName,
        typer.Option(
            help="One program for a whole chain of dense layers, or a program for each step; auto "
            "takes what needs fewer cycles for the batch."
        ),
    ] = StrategyName["auto"],
    input_max: Annotated[
        float | None,
        typer.Option(
            help="Largest magnitude of any input of a chain of dense layers.", show_default="1"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the placement search.")] = 0,
    batch: SeveralBatches = None,
    dim: SeveralDims = None,
    pad: Pads = None,
    fix: Fixed = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Inputs whose magnitudes set the tensor biases: a file (.npy, .npz), of one "
            "set or of many along a first axis, or a directory of such files."
        ),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option(
            help="Share of the magnitudes of each tensor and set of inputs that the tensor biases "
            "hold; what is above may saturate.",
            show_default="100",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="dB that the outputs keep on these inputs, with 4, 6 or 8 bits for each product."
        ),
    ] = None,
    keep_float: Annotated[
        bool | None,
        typer.Option(
            "--keep-float/--codes-alone",
            help="Keep the model's own weights beside their codes, as spu compare --against float "
            "takes them.",
            show_default="those of up to 16 MiB",
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache",
            help="Take a package that was made before of the same, and keep it.",
        ),
    ] = True,
) -> None:
    """Map an ONNX model: a chain of dense layers as one pipeline, others as a program a step.

    Example: spu compile verif/digits/digits.onnx --arch basic -o build/digits
    """
    require("onnx")
    if percentile is not None and calibrate is None:
        raise BadInput("--percentile is of the inputs of --calibrate")
    tiles, several = array(arch), parse_several(dim)
    pads, numbers = parse_numbers("--pad", pad), parse_numbers("--fix", fix)
    batches = parse_batches(batch)
    buckets = bool(pads) or any(len(each) > 1 for each in (batches, *several.values()))
    number_format, of_weights = data_format(tiles, fmt), weight_format(tiles, weights)
    from spu.arch.package.buckets import BUCKETS
    from spu.arch.package.manifest import ARRAYS, MAPPING, PROGRAM, PROGRAMS, REPORT

    check_directory(out, (PROGRAM, REPORT, ARRAYS))
    check_directory(out / PROGRAMS)
    check_kept(
        (*(out / name for name in (PROGRAM, REPORT, ARRAYS)), *(out / PROGRAMS).glob("*.spub")),
        (model, calibrate),
    )
    check_alone(out, MAPPING, "spu map")
    check_alone(
        out, *((REPORT, "spu compile") if buckets else (BUCKETS, "spu compile --batch N,N"))
    )
    check_own(out)
    try:
        model.open("rb").close()
    except OSError as error:
        raise BadInput(f"{model}: cannot be read: {error.strerror}") from None
    from compiler import cache as made_before
    from spu.command.arrays import array_files

    meant: dict[str, Any] = {
        "strategy": strategy.value,
        "fmt": number_format,
        "seed": seed,
        "input_max": input_max,
        "budget": budget,
        "weights": of_weights,
    }
    if buckets:
        if keep_float is not None:
            raise BadInput("--keep-float and --codes-alone are of a model of one size")
        sizes = (batches, several, pads)
        compile_several(model, out, tiles, sizes, numbers, calibrate, percentile, meant)
        return
    size = {
        "batch": batches[0] if batches else None,
        "dims": {name: each[0] for name, each in several.items()},
    }
    options = meant | size | {"percentile": percentile, "keep_float": keep_float, "fix": numbers}
    options |= {"fmt": number_format.name, "weights": of_weights and of_weights.name}
    samples = array_files(calibrate) if calibrate else []
    key = made_before.key_of(model, tiles, samples, options) if cache else None
    told = made_before.copied(key, out) if key else None
    if told is None:
        told = _compiled(
            model, out, tiles, key, calibrate, percentile, keep_float, size, numbers, **meant
        )
    for line in told.notes:
        remark(line)
    print(f"{out / told.file}: {told.line}")


def _compiled(
    model: Path,
    out: Path,
    tiles: Any,
    key: str | None,
    calibrate: Path | None,
    percentile: float | None,
    keep_float: bool | None,
    sizes: dict[str, Any],
    numbers: dict[str, float],
    **options: Any,
) -> Any:
    """Compile a model and write the package; returns what there is to tell."""
    # This takes seconds to load: what is refused without it is refused before.
    from compiler import cache as made_before
    from compiler.build import compile_model, probes_of
    from compiler.front.fixed import fixed
    from compiler.front.lower import lower
    from compiler.front.onnx_graph import read
    from compiler.passes.samples import Samples
    from spu.arch.package.store import save
    from spu.command.arrays import read_sets

    with naming(model):
        source = fixed(read(model), numbers)
        program = lower(source, model.stem, **sizes)
        given = None
        if calibrate is not None:
            sets = tuple(read_sets(calibrate, program))
            given = Samples(sets, 100.0 if percentile is None else percentile)
        with working("compiling") as note:
            made = compile_model(
                program,
                tiles,
                calibrate=given,
                probes=probes_of(source, model.stem, **sizes),
                progress=note,
                **options,
            )
        report = save(made, out, keep_float)
    file, line = _line(made, report, given, options["budget"])
    told = made_before.Told(tuple(report["notes"]), file, line)
    if key:
        made_before.keep(key, out, told)
    return told


def _line(made: Any, report: dict[str, Any], given: Any, budget: float | None) -> tuple[str, str]:
    """The file, or the directory, that was made, and what there is to say of it."""
    from compiler.passes.formats import formats_text, quality
    from spu.arch.package.manifest import PROGRAM
    from spu.arch.package.pipeline import Pipeline

    if isinstance(made, Pipeline):
        return PROGRAM, (
            f"{len(made.content)} bytes, II {report['ii']} "
            f"(bounds {', '.join(f'{k} {v}' for k, v in report['ii_bounds'].items())}), "
            f"span {report['span']} cycles, {report['macs_per_cycle']:.1f} of "
            f"{report['peak_macs_per_cycle']} MACs per cycle; pipeline: "
            f"{report['strategy']['why']}"
        )
    kinds = [step["kind"] for step in report["steps"]]
    return "", (
        f"{kinds.count('map')} elementwise steps by {len(report['kernels'])} kernels, "
        f"{kinds.count('product')} products, {report['bytes']} bytes, {report['cycles']} "
        f"cycles; inputs {_tops(made)}"
        + (
            ""
            if budget is None or given is None
            else f"; {formats_text(made.formats.values())}, "
            f"{quality(made, given):.1f} dB on the calibration inputs"
        )
        + f"; in steps: {report['strategy']['why']}"
    )


def _tops(compiled: Any) -> str:
    """Magnitudes that inputs may have: one number, or one for each input of real numbers."""
    program = compiled.program
    tops = {
        name: f"{2.0 ** (compiled.bias(i) / 8):g}"
        for name, i in program.inputs.items()
        if program.is_real(i)
    }
    if not tops:
        return "of integers" if program.inputs else "none"
    same = len(set(tops.values())) == 1
    each = next(iter(tops.values())) if same else ", ".join(f"{t} ({n})" for n, t in tops.items())
    return f"of magnitudes up to {each}"
