"""``spu compile`` for several sizes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.command.model import naming
from spu.command.common import remark, working


def compile_several(
    model: Path,
    out: Path,
    tiles: Any,
    sizes: tuple[Any, Any, Any],
    numbers: Mapping[str, float],
    calibrate: Path | None,
    percentile: float | None,
    options: Mapping[str, Any],
) -> None:
    """Compile a model for all combinations of ``sizes``: batches, dimensions and pads; ``numbers``
    by input for what is a constant."""
    from compiler.buckets import compile_buckets, input_names
    from compiler.front.fixed import fixed
    from compiler.front.onnx_graph import read
    from spu.arch.package.buckets import BUCKETS, directory_name, save
    from spu.arch.package.pipeline import Pipeline
    from spu.command.arrays import array_files, read_arrays

    with naming(model):
        source = fixed(read(model), numbers)
        first = next(iter(input_names(source)), "")
        files = [] if calibrate is None else array_files(calibrate)
        shown = [read_arrays(path, first) for path in files]
        with working("compiling") as note:
            made, checked = compile_buckets(
                source,
                model.stem,
                tiles,
                *sizes,
                shown,
                100.0 if percentile is None else percentile,
                note,
                **options,
            )
    reports = save(made, out)
    for line in dict.fromkeys(line for report in reports for line in report["notes"]):
        remark(line)
    for number, (each, package) in enumerate(zip(made.sizes, made.packages, strict=True)):
        report = reports[number]
        if isinstance(package, Pipeline):
            cycles = package.cycles(made.rows(number))
        else:
            cycles = report["cycles"]
        told = ", ".join(f"{name} {size}" for name, size in each.items())
        print(f"{out / directory_name(each)}: {told}: {report['bytes']} bytes, {cycles} cycles")
    if checked.samples:
        print(
            f"{out / BUCKETS}: {checked.samples} samples of {checked.lengths} "
            f"size{'s' * (checked.lengths != 1)} alone and in buckets: outputs differ by "
            f"{checked.difference:.2g} of their largest magnitude"
        )
