"""``spu perf PACKAGE``: time of a compiled model on a chip, step by step."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from perf.chips import Chip, chip, names
from perf.events.chain import Simulation
from perf.events.jobs import jobs_of
from perf.report import BOUNDS, Report, report
from perf.sweep import RESULTS, points, sweep, values
from perf.timeline import timeline
from spu.arch.files import check_file, replace_file
from spu.arch.package.pipeline import Pipeline
from spu.command.common import BadInput, check_kept, console
from spu.command.tables import output, table
from spu.engine.command import package_of

#: Steps that the table shows.
_TOP = 12


def package(
    directory: Annotated[Path, typer.Argument(help="Directory that spu compile wrote.")],
    chip_name: Annotated[
        str,
        typer.Option(
            "--chip", metavar="NAME|FILE", help=f"{', '.join(names())}, or a file *.toml."
        ),
    ] = "ideal",
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Another value of a field of the chip."),
    ] = None,
    vectors: Annotated[
        int, typer.Option(min=1, help="Vectors that a pipeline takes in a run.")
    ] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    timeline_file: Annotated[
        Path | None, typer.Option("--timeline", help="Loading and runs for Perfetto, as JSON.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Longest steps that the table shows.")] = _TOP,
    swept: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="FIELD=VALUES",
            help="A,B,... or FIRST:LAST:COUNT; several for all combinations.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="The sweep's rows, as CSV.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Processes of a sweep.", show_default="all cores")
    ] = None,
) -> None:
    """Predict time, bytes and bounds of a compiled model on a chip, step by step.

    Example: spu perf build/digits --chip ddr4 --timeline digits.json
    """
    for path in (timeline_file, out):
        if path:
            check_file(path)
            check_kept([path], directory.glob("*") if directory.is_dir() else [])
    if out and not swept:
        raise BadInput("--output: takes the rows of --sweep, which is not there")
    if swept and (as_json or timeline_file):
        raise BadInput(f"{'--json' if as_json else '--timeline'}: of one chip, not of --sweep")
    around = chip(chip_name).changed(dict(map(_setting, given or [])))
    if swept:
        _sweep(directory, vectors, around, swept, out, cores)
        return
    model = package_of(directory, "spu perf")
    with_runs = report(Simulation(jobs_of(model, vectors), around))
    if timeline_file:
        text = json.dumps(timeline(with_runs))
        replace_file(timeline_file, lambda sink: sink.write(text.encode()))
    if as_json:
        print(json.dumps(with_runs.data(), indent=1))
        return
    count = vectors if isinstance(model, Pipeline) else None
    _show(with_runs, top, count)


def _setting(text: str) -> tuple[str, Any]:
    """A field and its value; numbers are numbers."""
    name, found, value = text.partition("=")
    if not found or not name:
        raise BadInput(f"--set {text}: must be FIELD=VALUE")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def _show(made: Report, top: int, vectors: int | None) -> None:
    """Totals in lines, the longest steps in a table."""
    total, arch, screen = made.total, made.jobs.arch, output()

    def say(line: str) -> None:
        screen.print(line, markup=False, highlight=False)

    of = f" of {vectors} vectors" if vectors else ""
    clock, seconds = made.chip.clock_mhz, made.seconds
    time = f", {_time(seconds)} at {clock:g} MHz" if seconds is not None else ""
    say(f"{arch.name}, {made.chip.label}: {made.cycles:,} cycles{of}{time}")
    parts = {
        "executed": total.executed,
        "held on input": total.held_input,
        "held on output": total.held_output,
        "waiting for programs": total.idle,
    }
    after = made.cycles - total.cycles
    say(
        ", ".join(f"{cycles:,} {name}" for name, cycles in parts.items())
        + (f", {after:,} until the last word has left" if after else "")
    )
    rate = total.macs / made.cycles if made.cycles else 0
    peak = arch.peak_macs_per_cycle
    say(
        f"{total.runs:,} runs, {total.macs:,} MACs: {rate:.1f} of {peak} a cycle "
        f"({100 * rate / peak:.1f} %)"
    )
    say(
        f"{total.bytes:,} bytes: {total.words_in:,} words in, {total.words_out:,} out, "
        f"{total.load_words:,} words of program files"
    )
    alone = ", ".join(f"{name} {total.bounds[name]:,}" for name in BOUNDS)
    say(f"bound by {total.binds}; cycles that each would take alone: {alone}")
    longest = sorted(made.steps, key=lambda step: -step.cycles)[:top]
    if not longest:
        return
    head = ("step", "node", "runs", "cycles", "executed", "held", "idle", "bytes", "MACs", "bound")
    rows = [
        (
            s.number,
            s.node,
            s.runs,
            *(f"{n:,}" for n in (s.cycles, s.executed, s.held_input + s.held_output, s.idle)),
            *(f"{n:,}" for n in (s.bytes, s.macs)),
            s.binds,
        )
        for s in longest
    ]
    title = f"the {len(longest)} longest of {len(made.steps)} steps"
    screen.print(table(title, head, rows), markup=False, highlight=False)


def _time(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 1e-9:.3g} ns"


def _sweep(
    directory: Path,
    vectors: int,
    around: Chip,
    swept: Sequence[str],
    out: Path | None,
    cores: int | None,
) -> None:
    """Rows of a sweep, as CSV: the fields, then ``RESULTS``."""
    from rich.progress import Progress

    fields = [values(each) for each in swept]
    wanted = points(fields)
    chips = [around.changed(point) for point in wanted]
    arch = package_of(directory, "spu perf").arch
    for each in chips:
        each.check(arch)
    text = io.StringIO()
    sheet = csv.writer(text, lineterminator="\n")
    sheet.writerow([*(name for name, _ in fields), *RESULTS])
    with Progress(console=console, transient=True) as shown:
        task = shown.add_task("chips", total=len(chips))
        found = sweep(
            directory, vectors, chips, cores, lambda done: shown.update(task, completed=done)
        )
        for point, row in zip(wanted, found, strict=True):
            sheet.writerow([*point.values(), *(row[name] for name in RESULTS)])
    if out:
        replace_file(out, lambda sink: sink.write(text.getvalue().encode()))
    else:
        print(text.getvalue(), end="")
