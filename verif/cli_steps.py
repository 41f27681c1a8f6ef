"""``spu compile`` and ``spu run`` for models that are sequences of programs."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from compiler.tensors.compiled import Compiled, Kernel, Work, compile_program
from compiler.tensors.expressions import least_magnitude
from compiler.tensors.lower import lower
from compiler.tensors.onnx_graph import read
from compiler.tensors.program import Program, node_name
from compiler.tensors.store import ARRAYS, KIND, PROGRAMS, REPORT, load, save
from pal_units.formats import PAL8T, PAL8U, Format
from rtl.simulator import LONG, SHORT
from spu.arch.files import Writer, check_directory, replace_files
from spu.arch.params import Architecture
from spu.engine.rtl_run import check_rtl, workplace
from verif.array_files import arrays_writer, read_arrays
from verif.budget import choose_formats, formats_text, quality
from verif.cli_common import BadInput, check_kept, console, working
from verif.tensors import Engine, GoldenEngine, RtlEngine, held, run

__all__ = ["KIND", "compile_steps", "run_steps"]

#: Cycles in RTL from which a build of another simulator pays: 1,988 of the digits perceptron on
#: ``basic`` take 25 s in the one for short runs and 17 s in the other, whose build takes 88 s.
MANY = 20_000


def arrays(path: Path, program: Program) -> dict[str, NDArray[np.float64]]:
    """Inputs of a program: an ``.npz`` by name, or an ``.npy`` for the only one.

    Raises ``BadInput`` for other names, shapes or types, and for NaN and infinities.
    """
    given = read_arrays(path, next(iter(program.inputs), ""))
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
    check_kept((out / REPORT, out / ARRAYS, *(out / PROGRAMS).glob("*.spub")), (path, calibrate))
    if budget is not None and (calibrate is None or fmt not in (PAL8T, PAL8U)):
        raise BadInput("a budget takes inputs to measure with (--calibrate), and a --format of 8 "
                       "bits to begin with")
    program = lower(read(path), path.stem, batch, dims)
    known = dict[Work, Kernel]()
    given = None if calibrate is None else arrays(calibrate, program)
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


def remark(line: str) -> None:
    """A line for the user beside the result."""
    console.print(Text(f"spu: note: {line}"))


def _tops(compiled: Compiled) -> str:
    """Magnitudes that inputs may have: one number, or one for each input."""
    tops = {name: f"{2.0 ** (compiled.bias(i) / 8):g}"
            for name, i in compiled.program.inputs.items()}
    if len(set(tops.values())) == 1:
        return next(iter(tops.values()))
    return ", ".join(f"{top} ({name})" for name, top in tops.items())


def run_steps(directory: Path, inputs: Path, out: Path, rtl: bool, stats: Path | None
              ) -> tuple[str, dict[str, int]]:
    """Run on inputs and save the outputs; returns what happened in a line, and saturated elements
    by node."""
    compiled = load(directory)
    given = arrays(inputs, compiled.program)
    for name, i in compiled.program.inputs.items():
        top = 2.0 ** (compiled.bias(i) / 8)
        most = np.abs(held(compiled, i, given[name])).max(initial=0)
        if most > top:
            raise BadInput(f"{inputs}: {name} has magnitude {most:g}, the program takes up to "
                           f"{top:g}; spu compile --calibrate sets it")
        least, some = least_magnitude(compiled.bias(i)), np.abs(given[name][given[name] != 0])
        if 2 * int((small := some < least / 2).sum()) > some.size:
            remark(f"{name}: {int(small.sum())} of {some.size} elements are below {least:.3g} and "
                   "become zero; spu compile --calibrate sets it")
    if rtl:
        check_rtl(compiled.arch)
    effort = LONG if sum(compiled.cycles().values()) > MANY else SHORT
    with working("running") as note, workplace() if rtl else nullcontext() as work:
        engine: Engine = (RtlEngine(compiled.arch, work=work, effort=effort) if work else
                          GoldenEngine(compiled.arch))
        results = run(compiled, engine, given,
                      lambda done, total: note(f"step {done} of {total}"))
    files: dict[Path, Writer] = {out: arrays_writer(out, results)}
    if stats:
        text = json.dumps({"cycles": engine.cycles, "runs": engine.runs, "saturated": {
            node_name(label): count for label, count in engine.nodes.items()}}, indent=1)
        files[stats] = lambda sink: sink.write(text.encode() + b"\n")
    replace_files(files)
    shapes = ", ".join(f"{name} {values.shape}" for name, values in results.items())
    return f"{out}: {shapes} in {engine.cycles} cycles of {engine.runs} runs", dict(engine.nodes)
