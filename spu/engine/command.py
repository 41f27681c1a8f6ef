"""``spu run``."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from spu.arch.files import check_file, replace_files
from spu.command.common import BadInput, about, check_kept, remark, report_saturated, working
from spu.command.extras import require
from spu.command.options import SimName

EngineName = StrEnum("EngineName", ["golden", "rtl", "chip"])
#: Cycles in RTL from which a build of another simulator pays: 1,988 of the digits perceptron on
#: ``basic`` take 25 s in the one for short runs and 17 s in the other, whose build takes 88 s.
MANY = 20_000


def run(
    directory: Annotated[Path, typer.Argument(help="Directory that spu compile wrote.")],
    inputs: Annotated[
        Path,
        typer.Option(
            "--input",
            help="Input vectors, (n, inputs), .npy; or all inputs by name, .npz; any number of "
            "samples along the first axis, or a directory of such files.",
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
    clock: Annotated[
        float | None,
        typer.Option(metavar="MHZ", help="Clock of the array, for its samples a second."),
    ] = None,
    latency: Annotated[
        int | None,
        typer.Option(
            metavar="CYCLES",
            help="Of the memory of the chip engine, from address to data; 100 if not said.",
        ),
    ] = None,
    bandwidth: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES", help="That the chip engine's memory moves a cycle; 32 if not said."
        ),
    ] = None,
) -> None:
    """Run a compiled program on input vectors, or on a data set.

    The RTL engine also compares every link in every cycle with the golden model; a
    difference is a failed check (exit code 1) and no output is written.

    The chip engine runs the array's programs from memory: its cycles are those from doorbells to
    interrupts, with loading and the words' way through the bus.

    Example: spu run build/digits --engine golden --input x.npy -o y.npy --json stats.json
    """
    check_engine(engine, sim)
    memory = check_memory(engine, latency, bandwidth)
    if clock is not None and not 0 < clock < float("inf"):
        raise BadInput(f"--clock {clock:g}: must be a positive number of MHz")
    from spu.command.arrays import array_files

    files = array_files(inputs)
    check_outputs(directory, [out, *([stats] if stats else [])], files)
    if out.suffix not in ("", ".npy", ".npz"):
        raise BadInput(f"{out}: outputs are .npy or .npz")
    package = package_of(directory, "spu run")
    check_names(package, out)
    sources = sources_of(package, files)
    whole = planned(package, sources)
    with engine_for(package, engine, str(sim or "verilator"), memory) as ready:
        print(_run(package, ready, sources, whole, out, stats, clock))
    report_saturated(ready.nodes, strict)


def check_engine(engine: EngineName, sim: SimName | None) -> None:
    """Raise what an engine lacks, or a simulator that it has no use for."""
    if sim is not None and engine != EngineName.rtl:
        raise BadInput(f"--sim {sim}: of --engine rtl, not of {engine}")
    if engine == EngineName.rtl:
        require("sim", but=("verilator",))  # which Icarus and simulators that were built do without


def check_memory(engine: EngineName, latency: int | None, bandwidth: int | None) -> dict[str, int]:
    """What is said of the chip engine's memory; raises what it cannot be, or has no use for."""
    given = {"latency_cycles": latency, "bytes_per_cycle": bandwidth}
    said = {name: value for name, value in given.items() if value is not None}
    if said and engine != EngineName.chip:
        option = "--latency" if latency is not None else "--bandwidth"
        raise BadInput(f"{option}: of --engine chip, not of {engine}")
    if said:
        from spu.arch.external import ExternalMemory
        from spu.arch.memory import MemoryEngine

        bus = MemoryEngine()
        try:
            ExternalMemory(bus.beat_bytes, **said).check(bus)
        except ValueError as error:
            raise BadInput(f"--engine chip: {error}") from None
    return said


def check_outputs(directory: Path, outs: Sequence[Path], read: Iterable[Path | None]) -> None:
    """Raise unless each file can be written, and is neither another one nor what is read."""
    from spu.arch.package.buckets import BUCKETS
    from spu.arch.package.manifest import ARRAYS, PROGRAM, PROGRAMS, REPORT

    for out in outs:
        check_file(out)
    places = [out.resolve() for out in outs]
    if twice := [out for out, place in zip(outs, places, strict=True) if places.count(place) > 1]:
        raise BadInput(f"{twice[0]}: outputs need a file each")
    package = (
        *(directory / n for n in (PROGRAM, REPORT, ARRAYS)),
        *(directory / PROGRAMS).glob("*.spub"),
        *(directory.rglob("*") if (directory / BUCKETS).exists() else ()),
    )
    check_kept(outs, (*read, *package))


def package_of(directory: Path, command: str) -> Any:
    """The compiled model in a directory; for ``spu run`` its buckets, where it holds such."""
    from spu.arch.package import buckets
    from spu.arch.package.manifest import MAPPING, REPORT
    from spu.arch.package.store import load

    if not directory.is_dir():
        found = "is no directory" if directory.exists() else "no such directory"
        raise BadInput(f"{directory}: {found}; {command} takes what spu compile wrote")
    if (directory / buckets.BUCKETS).exists():
        if command == "spu run":
            return buckets.load(directory)
        names = sorted(path.parent.name for path in directory.glob(f"*/{REPORT}"))
        raise BadInput(
            f"{directory}: holds buckets, {command} takes one of them: {', '.join(names)}"
        )
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


def check_names(package: Any, out: Path) -> None:
    """Raise ``BadInput`` for an ``.npy`` of several outputs."""
    from spu.engine.data import output_names

    names = output_names(package)
    if len(names) > 1 and out.suffix == ".npy":
        raise BadInput(
            f"{out}: holds one array, the model has outputs {', '.join(names)}; "
            f"{out.with_suffix('.npz').name} holds all"
        )


def sources_of(package: Any, files: Sequence[Path]) -> list[Any]:
    """Files of a data set; one alone is read once, the others as often as they are needed."""
    from spu.command.arrays import read_arrays
    from spu.engine.data import Source, input_names

    only = next(iter(input_names(package)), "")
    if len(files) == 1:
        given = read_arrays(files[0], only)
        return [Source(str(files[0]), lambda: given)]
    return [Source(str(path), partial(read_arrays, path, only)) for path in files]


def planned(package: Any, sources: Sequence[Any]) -> Any:
    """What a data set is to a model, with remarks on it."""
    from spu.engine.data import plan

    with working("reading"):
        whole = plan(package, sources)
    for lines in whole.small.values():
        others = f" (and {len(lines) - 1} runs like it)" if len(lines) > 1 else ""
        remark(lines[0] + others)
    if whole.filling:
        remark(
            f"{whole.filling} row{'s' * (whole.filling != 1)} that {whole.samples} samples leave "
            "empty repeat others; what becomes of them is dropped"
        )
    return whole


def _run(
    package: Any,
    engine: Any,
    sources: Sequence[Any],
    whole: Any,
    out: Path,
    stats: Path | None,
    clock: float | None,
) -> str:
    """Run on a data set and save the outputs; returns what happened in a line."""
    from spu.arch.package.pipeline import Pipeline
    from spu.arch.package.program import node_name
    from spu.command.arrays import arrays_writer
    from spu.engine.data import run_all

    begin = time.monotonic()
    with working("running") as note:

        def progress(samples: int, done: int, total: int) -> None:
            step = f"step {done} of {total}" if total else ""
            if whole.runs == 1:
                note(step)
                return
            told = [f"sample {samples} of {whole.samples}"]
            if samples:
                each = (time.monotonic() - begin) / samples
                told.append(f"{each:.3g} s each, {(whole.samples - samples) * each:.0f} s left")
            note(", ".join([*told, *([step] if step else [])]))

        results = run_all(package, engine, sources, whole, progress)
    seconds = time.monotonic() - begin
    files = {out: arrays_writer(out, results)}
    each = engine.cycles / whole.samples
    if stats:
        text = json.dumps(
            {
                **({"vectors": whole.samples} if isinstance(package, Pipeline) else {}),
                "samples": whole.samples,
                "sets": whole.runs,
                "engine": type(engine).__name__.removesuffix("Engine").lower(),
                "cycles": engine.cycles,
                "cycles_per_sample": each,
                **(
                    {}
                    if clock is None
                    else {"clock_mhz": clock, "samples_per_second": _rate(each, clock)}
                ),
                "runs": engine.runs,
                "seconds": round(seconds, 3),
                "saturated": {node_name(label): count for label, count in engine.nodes.items()},
                **(engine.counters if engine.runs == 1 else {}),
                **engine.totals(),
            },
            indent=1,
        )
        files[stats] = lambda sink: sink.write(text.encode() + b"\n")
    replace_files(files)
    shapes = ", ".join(f"{name} {values.shape}" for name, values in results.items())
    runs = "a run" if engine.runs == 1 else f"{engine.runs} runs"
    told = f"{out}: {shapes} in {engine.cycles} cycles of {runs}"
    if whole.runs > 1 or clock is not None:
        samples = "a sample" if whole.samples == 1 else f"{whole.samples} samples"
        told += f"; {samples}, {each:.1f} cycles each"
    if clock is not None:
        rate = "no cycles" if not each else f"{_rate(each, clock):.6g} samples/s"
        told += f", {rate} at {clock:g} MHz{'' if engine.loads else ' without loading'}"
    return told


def _rate(cycles: float, clock: float) -> float | None:
    """Samples a second of an array of so many MHz; None of samples that take no cycle."""
    return clock * 1e6 / cycles if cycles else None


@contextmanager
def engine_for(
    package: Any, engine: EngineName, sim: str, memory: Mapping[str, Any] = {}
) -> Iterator[Any]:
    """The engine, with a directory to work in; ``memory``: of ``ChipEngine``."""
    from spu.arch.package.buckets import Buckets
    from spu.arch.package.compiled import Package

    package = package.packages[-1] if isinstance(package, Buckets) else package
    if engine == EngineName.chip:
        from spu.engine.chip_engine import ChipEngine

        yield ChipEngine(package.arch, **memory)
        return
    if engine == EngineName.golden:
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
        ready = RtlEngine(package.arch, work=work, effort=effort, sim=sim)
        with working("building the simulator"):
            ready.prepare()
        yield ready
