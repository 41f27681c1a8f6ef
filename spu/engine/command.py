"""``spu run``."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from spu.arch.errors import InputError
from spu.arch.files import check_file, replace_files
from spu.command.common import BadInput, about, check_kept, remark, report_saturated, working
from spu.command.extras import require
from spu.command.options import SimName

EngineName = StrEnum("EngineName", ["golden", "rtl"])
#: Cycles in RTL from which a build of another simulator pays: 1,988 of the digits perceptron on
#: ``basic`` take 25 s in the one for short runs and 17 s in the other, whose build takes 88 s.
MANY = 20_000


def run(
    directory: Annotated[Path, typer.Argument(help="Directory that spu compile wrote.")],
    inputs: Annotated[
        Path,
        typer.Option(
            "--input", help="Input vectors, (n, inputs), .npy; or all inputs by name, .npz."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Outputs, .npy or .npz.")],
    engine: Annotated[
        EngineName, typer.Option(help="What executes the program.")
    ] = EngineName.golden,
    stats: Annotated[Path | None, typer.Option("--json", help="Counters as JSON.")] = None,
    sim: Annotated[
        SimName | None, typer.Option(help="Simulator of the RTL engine.", show_default="verilator")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A failed check (exit code 1) if "
            "limits of range, not rounding, cost elements; outputs "
            "are written.",
        ),
    ] = False,
) -> None:
    """Run a compiled program on input vectors.

    The RTL engine also compares every link in every cycle with the golden model; a
    difference is a failed check (exit code 1) and no output is written.

    Example: spu run build/digits --engine golden --input x.npy -o y.npy --json stats.json
    """
    check_engine(engine, sim)
    check_outputs(directory, [out, *([stats] if stats else [])], [inputs])
    if out.suffix not in ("", ".npy", ".npz"):
        raise BadInput(f"{out}: outputs are .npy or .npz")
    package = package_of(directory, "spu run")
    taken = inputs_of(package, inputs)
    with engine_for(package, engine == EngineName.rtl, str(sim or "verilator")) as ready:
        print(_run(package, ready, inputs, taken, out, stats))
    report_saturated(ready.nodes, strict)


def check_engine(engine: EngineName, sim: SimName | None) -> None:
    """Raise what an engine lacks, or a simulator that it has no use for."""
    if sim is not None and engine != EngineName.rtl:
        raise BadInput(f"--sim {sim}: of --engine rtl, not of {engine}")
    if engine == EngineName.rtl:
        require("sim", but=("verilator",))  # which Icarus and simulators that were built do without


def check_outputs(directory: Path, outs: Sequence[Path], read: Iterable[Path | None]) -> None:
    """Raise unless each file can be written, and is neither another one nor what is read."""
    from spu.arch.package.manifest import ARRAYS, PROGRAM, PROGRAMS, REPORT

    for out in outs:
        check_file(out)
    places = [out.resolve() for out in outs]
    if twice := [out for out, place in zip(outs, places, strict=True) if places.count(place) > 1]:
        raise BadInput(f"{twice[0]}: outputs need a file each")
    package = (
        *(directory / n for n in (PROGRAM, REPORT, ARRAYS)),
        *(directory / PROGRAMS).glob("*.spub"),
    )
    check_kept(outs, (*read, *package))


def package_of(directory: Path, command: str) -> Any:
    """The compiled model in a directory."""
    from spu.arch.package.manifest import MAPPING, REPORT
    from spu.arch.package.store import load

    if not (directory / REPORT).exists():
        found = "holds what spu map wrote" if (directory / MAPPING).exists() else f"no {REPORT}"
        raise BadInput(f"{directory}: {found}; {command} takes what spu compile wrote")
    return load(directory)


def inputs_of(package: Any, path: Path) -> Any:
    """Inputs from a file as the model takes them; before a simulator is built for them."""
    from spu.arch.package import inputs
    from spu.command.arrays import read_arrays

    given = read_arrays(path, next(iter(inputs.names(package)), ""))
    with about(path):
        taken = inputs.checked(package, given)
    for line in inputs.remarks(package, taken):
        remark(line)
    return taken


def _run(package: Any, engine: Any, path: Path, taken: Any, out: Path, stats: Path | None) -> str:
    """Run on the inputs of a file and save the outputs; returns what happened in a line."""
    from spu.arch.package.pipeline import Pipeline
    from spu.arch.package.program import node_name
    from spu.command.arrays import arrays_writer
    from spu.engine.run import run as run_package

    with working("running") as note:
        try:
            results = run_package(
                package, engine, taken, lambda done, total: note(f"step {done} of {total}")
            )
        except InputError as error:
            raise BadInput(f"{path}: {error}") from None
    files = {out: arrays_writer(out, results)}
    if stats:
        text = json.dumps(
            {
                **(
                    {"vectors": len(next(iter(results.values())))}
                    if isinstance(package, Pipeline)
                    else {}
                ),
                "engine": type(engine).__name__.removesuffix("Engine").lower(),
                "cycles": engine.cycles,
                "runs": engine.runs,
                "saturated": {node_name(label): count for label, count in engine.nodes.items()},
                **(engine.counters if engine.runs == 1 else {}),
            },
            indent=1,
        )
        files[stats] = lambda sink: sink.write(text.encode() + b"\n")
    replace_files(files)
    shapes = ", ".join(f"{name} {values.shape}" for name, values in results.items())
    runs = "a run" if engine.runs == 1 else f"{engine.runs} runs"
    return f"{out}: {shapes} in {engine.cycles} cycles of {runs}"


@contextmanager
def engine_for(package: Any, rtl: bool, sim: str) -> Iterator[Any]:
    """The engine, with a directory to work in."""
    from spu.arch.package.compiled import Package

    if not rtl:
        from spu.engine.array import GoldenEngine

        yield GoldenEngine(package.arch)
        return
    from rtl.simulator import LONG, SHORT
    from spu.engine.rtl_engine import RtlEngine
    from spu.engine.rtl_run import check_rtl, workplace

    many = isinstance(package, Package) and sum(package.cycles().values()) > MANY
    effort = LONG if many else SHORT
    check_rtl(package.arch, sim, effort=effort)
    with workplace() as work:
        engine = RtlEngine(package.arch, work=work, effort=effort, sim=sim)
        with working("building the simulator"):
            engine.prepare()
        yield engine
