"""What ``spu compile --steps`` and ``spu run`` do."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.text import Text

from compiler.tensors.compile import compile_program
from compiler.tensors.lower import lower
from compiler.tensors.onnx_graph import read
from pal_units.formats import PAL8T, PAL8U, Format
from rtl.simulator import LONG, SHORT
from spu.arch.files import Writer, check_directory, replace_files
from spu.arch.package.compiled import Kernel, Package, Work
from spu.arch.package.manifest import ARRAYS, PROGRAMS, REPORT
from spu.arch.package.pipeline import Pipeline
from spu.arch.package.program import node_name
from spu.arch.package.store import save
from spu.arch.params import Architecture
from spu.engine import inputs
from spu.engine.array import Engine, GoldenEngine
from spu.engine.run import run
from verif.array_files import arrays_writer, read_arrays, read_inputs
from verif.budget import choose_formats, formats_text, quality
from verif.cli_common import BadInput, about, check_kept, console, working

#: Cycles in RTL from which a build of another simulator pays: 1,988 of the digits perceptron on
#: ``basic`` take 25 s in the one for short runs and 17 s in the other, whose build takes 88 s.
MANY = 20_000


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


def remark(line: str) -> None:
    """A line for the user beside the result."""
    console.print(Text(f"spu: note: {line}"))


def _tops(compiled: Package) -> str:
    """Magnitudes that inputs may have: one number, or one for each input."""
    tops = {name: f"{2.0 ** (compiled.bias(i) / 8):g}"
            for name, i in compiled.program.inputs.items()}
    if len(set(tops.values())) == 1:
        return next(iter(tops.values()))
    return ", ".join(f"{top} ({name})" for name, top in tops.items())


def run_model(package: Package | Pipeline, path: Path, out: Path, rtl: bool, sim: str,
              stats: Path | None) -> tuple[str, dict[str, int]]:
    """Run on inputs and save the outputs; returns what happened in a line, and saturated elements
    by node."""
    given = read_arrays(path, next(iter(inputs.names(package)), ""))
    with about(path):
        given = inputs.checked(package, given)
    for line in inputs.remarks(package, given):
        remark(line)
    with working("running") as note, _engine(package, rtl, sim, note) as engine, about(path):
        results = run(package, engine, given, lambda done, total: note(f"step {done} of {total}"))
    files: dict[Path, Writer] = {out: arrays_writer(out, results)}
    if stats:
        text = json.dumps({
            "engine": "rtl" if rtl else "golden", "cycles": engine.cycles, "runs": engine.runs,
            "saturated": {node_name(label): count for label, count in engine.nodes.items()},
            **(engine.counters if engine.runs == 1 else {})}, indent=1)
        files[stats] = lambda sink: sink.write(text.encode() + b"\n")
    replace_files(files)
    shapes = ", ".join(f"{name} {values.shape}" for name, values in results.items())
    return f"{out}: {shapes} in {engine.cycles} cycles of {engine.runs} runs", dict(engine.nodes)


@contextmanager
def _engine(package: Package | Pipeline, rtl: bool, sim: str, note: Callable[[str], None]
            ) -> Iterator[Engine]:
    """The engine, with a directory to work in."""
    if not rtl:
        yield GoldenEngine(package.arch)
        return
    from spu.engine.rtl_engine import RtlEngine
    from spu.engine.rtl_run import check_rtl, workplace

    check_rtl(package.arch, sim)
    note("building the simulator, if it is not there")
    many = isinstance(package, Package) and sum(package.cycles().values()) > MANY
    with workplace() as work:
        yield RtlEngine(package.arch, work=work, effort=LONG if many else SHORT, sim=sim)
