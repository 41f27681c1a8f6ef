"""``spu compile`` and ``spu run`` for models that are sequences of programs."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compiler.files import Writer, check_directory, replace_files
from compiler.tensors.compiled import (
    DEFAULT_BIAS,
    Kernel,
    bias_for,
    compile_program,
)
from compiler.tensors.expressions import Expression
from compiler.tensors.lower import lower
from compiler.tensors.onnx_graph import read
from compiler.tensors.program import Program
from compiler.tensors.store import ARRAYS, KIND, PROGRAMS, REPORT, load, save
from compiler.tensors.values import real_values
from pal_units.formats import PAL8T, PAL8U, Format
from spu.arch.params import Architecture
from verif.budget import choose_formats, formats_text, quality
from verif.cli_common import BadInput, working
from verif.rtl_engine import check_rtl, workplace
from verif.tensors import Engine, GoldenEngine, RtlEngine, run

__all__ = ["KIND", "compile_steps", "run_steps"]


def arrays(path: Path, program: Program) -> dict[str, NDArray[np.float64]]:
    """Inputs of a program: an ``.npz`` by name, or an ``.npy`` for the only one.

    Raises ``BadInput`` for other names, shapes or types, and for NaN and infinities.
    """
    try:
        file = np.load(path, allow_pickle=False)
        given = dict(file) if hasattr(file, "files") else {next(iter(program.inputs), ""): file}
    except (ValueError, EOFError, KeyError):
        raise BadInput(f"{path}: not an .npy or .npz file of numbers") from None
    if given.keys() != program.inputs.keys():
        raise BadInput(f"{path}: has {sorted(given)}, the inputs are {sorted(program.inputs)}")
    for name, values in given.items():
        shape = program.shape(program.inputs[name])
        if values.dtype.kind not in "fiu":
            raise BadInput(f"{path}: {name} must be real numbers, not {values.dtype}")
        if values.shape != shape:
            raise BadInput(f"{path}: {name} must have shape {shape}, not {values.shape}; "
                           "spu compile --batch and --dim set the sizes that a model leaves open")
        if not np.isfinite(values).all():
            raise BadInput(f"{path}: {name} holds NaN or infinities")
    return {name: values.astype(np.float64) for name, values in given.items()}


def compile_steps(path: Path, arch: Architecture, fmt: Format, out: Path, batch: int | None,
                  calibrate: Path | None, budget: float | None, seed: int,
                  dims: Mapping[str, int]) -> str:
    """Compile and save; returns what happened in a line."""
    check_directory(out, (REPORT, ARRAYS))
    check_directory(out / PROGRAMS)
    if budget is not None and (calibrate is None or fmt not in (PAL8T, PAL8U)):
        raise BadInput("a budget takes inputs to measure with (--calibrate), and a --format of 8 "
                       "bits to begin with")
    program = lower(read(path), path.stem, batch, dims)
    bias, known = DEFAULT_BIAS, dict[tuple[Expression, int], Kernel]()
    given = {} if calibrate is None else arrays(calibrate, program)
    if calibrate is not None:
        bias = bias_for(real_values(program, given)[1])
    with working("compiling") as note:
        compiled = compile_program(program, arch, fmt, bias, seed, known, progress=note)
        if budget is not None:
            formats = choose_formats(compiled, given, budget, lambda done, total: note(
                f"format of product {done + 1} of {total}"))
            compiled = compile_program(program, arch, fmt, bias, seed, known, formats, note)
    report = save(compiled, out)
    kinds = [step["kind"] for step in report["steps"]]
    return (f"{out}: {kinds.count('map')} elementwise steps by {len(report['kernels'])} kernels, "
            f"{kinds.count('product')} products, {report['bytes']} bytes, {report['cycles']} "
            f"cycles; magnitudes up to {2.0 ** (bias / 8):g}"
            + ("" if budget is None else f"; {formats_text(compiled.formats.values())}, "
               f"{quality(compiled, given):.1f} dB on the calibration inputs"))


def run_steps(directory: Path, inputs: Path, out: Path, rtl: bool, stats: Path | None) -> str:
    """Run on inputs and save the outputs; returns what happened in a line."""
    compiled = load(directory)
    given, top = arrays(inputs, compiled.program), 2.0 ** (compiled.bias / 8)
    for name, values in given.items():
        if values.size and np.abs(values).max() > top:
            raise BadInput(f"{inputs}: {name} has magnitude {np.abs(values).max():g}, the program "
                           f"takes up to {top:g}; spu compile --calibrate sets it")
    if rtl:
        check_rtl(compiled.arch)
    with working("running") as note, workplace() if rtl else nullcontext() as work:
        engine: Engine = (RtlEngine(compiled.arch, work=work) if work else
                          GoldenEngine(compiled.arch))
        results = run(compiled, engine, given,
                      lambda done, total: note(f"step {done} of {total}"))
    only = next(iter(results.values()))
    files: dict[Path, Writer] = {out: lambda sink: np.savez(sink, allow_pickle=False, **results)
                                 if len(results) > 1 or out.suffix == ".npz"
                                 else np.save(sink, only)}
    if stats:
        text = json.dumps({"cycles": engine.cycles, "runs": engine.runs}, indent=1)
        files[stats] = lambda sink: sink.write(text.encode() + b"\n")
    replace_files(files)
    shapes = ", ".join(f"{name} {values.shape}" for name, values in results.items())
    return f"{out}: {shapes} in {engine.cycles} cycles of {engine.runs} runs"
